/* SPDX-License-Identifier: ISC */

/*
 * Any texts are a configuration or an error, and never a crash; a NUL byte ends the first
 * and starts its drop-in. Not in the default build:
 *
 *   clang -std=gnu17 -D_GNU_SOURCE -DSYSCONFDIR='"/etc"' -I. -g \
 *       -fsanitize=fuzzer,address,undefined $(pkg-config --cflags libbsd-overlay inih) \
 *       tests/fuzz_config.c daemon/config*.c daemon/policy.c \
 *       $(pkg-config --libs libbsd-overlay inih)
 *
 * What config.h promises of an accepted text is asserted in config_check.c.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An error says so: -1 and a line, or 0 and a configuration with a "default". */
static void
parse(const char *text, const char *dropin, FILE *errors)
{
	const struct config_text texts[] = { { "budd.conf", text },
		{ "dropin.conf", dropin } };
	struct config *c = NULL;
	long before = ftell(errors);
	int r = config_parse(&c, texts, 2, errors);

	if (r == 0 && strcmp(config_pool_find(c, "")->name, CONFIG_DEFAULT_POOL) != 0)
		abort();
	if (r != 0 && (c != NULL || ftell(errors) == before))
		abort();
	config_free(c);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 2), *said = NULL;
	size_t said_len = 0;
	FILE *errors = open_memstream(&said, &said_len);

	if (text == NULL || errors == NULL)
		abort();
	if (size > 0)
		memcpy(text, data, size);
	text[size] = text[size + 1] = '\0';
	parse(text, text + strlen(text) + 1, errors);
	fclose(errors);
	free(said);
	free(text);
	return 0;
}
