/* SPDX-License-Identifier: ISC */

/* budctl explain: why a pool waits, and what would help. */
#include "budctl/explain.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "budctl/command.h"
#include "budctl/fields.h"
#include "budctl/find.h"
#include "budctl/http.h"
#include "budctl/terminal.h"

static void
print_safe(const char *before, const char *text, const char *after)
{
	char *safe = terminal_safe(text);

	printf("%s%s%s", before, safe, after);
	free(safe);
}

static void
print_remedy(const cJSON *remedy)
{
	const char *command = field_text(remedy, "command");

	if (command[0] != '\0') {
		print_safe("    ", command, "\n");
		print_safe("        ", field_text(remedy, "effect"), "\n");
	} else {
		print_safe("    ", field_text(remedy, "effect"), "\n");
	}
}

static void
print_answer(const cJSON *answer)
{
	const cJSON *who = cJSON_GetObjectItemCaseSensitive(answer, "pool"), *item;
	const cJSON *remedies = cJSON_GetObjectItemCaseSensitive(answer, "remedies");

	printf("%spool %" PRIu64, terminal_bold_on(), field_number(who, "id"));
	print_safe(" '", field_text(who, "name"), "'");
	print_safe(": ", field_text(answer, "summary"), "");
	printf("%s\n", terminal_bold_off());
	cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(answer, "facts"))
		print_safe("  ", cJSON_GetStringValue(item), "\n");
	if (cJSON_GetArraySize(remedies) > 0)
		puts("what would help:");
	cJSON_ArrayForEach (item, remedies)
		print_remedy(item);
}

enum budctl_exit
explain_command(const struct options *o, char *const args[])
{
	cJSON *pool, *status, *answer;
	enum budctl_exit code = find_pool(o->socket, args[0], &pool);

	if (code != BUDCTL_OK)
		return code;
	code = http_get(o->socket, "/v1/status", &status);
	if (code == BUDCTL_OK) {
		answer = explain_pool(pool, status);
		if (o->json)
			fields_print(answer);
		else
			print_answer(answer);
		cJSON_Delete(answer);
		cJSON_Delete(status);
	}
	cJSON_Delete(pool);
	return code;
}
