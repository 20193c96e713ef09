/* SPDX-License-Identifier: ISC */

/* Values of budd.conf: text to number, and number to text. */
#include "daemon/config_value.h"

#include <errno.h>
#include <inttypes.h>
#include <libutil.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NITEMS(a) (sizeof(a) / sizeof((a)[0]))
#define DIGITS    "0123456789"

int
config_parse_size(const char *text, uint64_t *bytesp)
{
	size_t digits = strspn(text, DIGITS);
	uint64_t bytes;

	/* expand_number() also takes signs, blanks, 0x10, and what follows a unit. */
	if (digits == 0 || (text[digits] != '\0' && text[digits + 1] != '\0'))
		return -EINVAL;
	if (text[digits] != '\0' && strchr("KkMmGgTtPpEe", text[digits]) == NULL)
		return -EINVAL;
	while (text[0] == '0' && digits > 1) /* or it would be octal */
		text++, digits--;
	errno = 0; /* digits beyond 64 bits are told in errno alone */
	if (expand_number(text, &bytes) == -1 || errno == ERANGE)
		return -ERANGE;
	*bytesp = bytes;
	return 0;
}

static const struct {
	const char *name;
	int64_t ns;
} time_units[] = {
	{ "d", CONFIG_DAY },
	{ "h", CONFIG_HOUR },
	{ "min", CONFIG_MINUTE },
	{ "s", CONFIG_SECOND },
	{ "ms", CONFIG_MS },
	{ "us", CONFIG_US },
};

int
config_parse_time(const char *text, int64_t *nsp)
{
	size_t digits = strspn(text, DIGITS);
	size_t unit = 0;
	int64_t ns;

	while (unit < NITEMS(time_units) &&
	       strcmp(text + digits, time_units[unit].name) != 0)
		unit++;
	if (digits == 0 || unit == NITEMS(time_units))
		return -EINVAL;
	errno = 0;
	ns = strtoll(text, NULL, 10);
	if (errno == ERANGE || __builtin_mul_overflow(ns, time_units[unit].ns, &ns))
		return -ERANGE;
	*nsp = ns;
	return 0;
}

int
config_parse_count(const char *text, uint64_t *countp)
{
	const char *why;
	long long count;

	/* strtonum() also takes signs and blanks. */
	if (*text == '\0' || text[strspn(text, DIGITS)] != '\0')
		return -EINVAL;
	count = strtonum(text, 0, LLONG_MAX, &why);
	if (why != NULL)
		return -ERANGE;
	*countp = (uint64_t)count;
	return 0;
}

int
config_parse_bool(const char *text, bool *yesp)
{
	static const char *const words[][2] = { { "no", "yes" }, { "false", "true" },
		{ "off", "on" }, { "0", "1" } };
	size_t i;

	for (i = 0; i < 2 * NITEMS(words); i++)
		if (strcmp(text, words[i / 2][i % 2]) == 0) {
			*yesp = i % 2 == 1;
			return 0;
		}
	return -EINVAL;
}

struct config_shown
config_show_size(uint64_t bytes)
{
	static const char units[] = " KMGTPE";
	struct config_shown t;
	size_t unit = 0;

	while (bytes != 0 && bytes % CONFIG_KIB == 0 && units[unit + 1] != '\0')
		bytes /= CONFIG_KIB, unit++;
	snprintf(t.s, sizeof(t.s), "%" PRIu64 "%.*s", bytes, unit > 0, &units[unit]);
	return t;
}

struct config_shown
config_show_time(uint64_t ns)
{
	struct config_shown t;
	size_t unit = 0;

	while (unit < NITEMS(time_units) - 1 && ns % (uint64_t)time_units[unit].ns != 0)
		unit++;
	snprintf(t.s, sizeof(t.s), "%" PRIu64 "%s", ns / (uint64_t)time_units[unit].ns,
	    time_units[unit].name);
	return t;
}

struct config_shown
config_show_count(uint64_t count)
{
	struct config_shown t;

	snprintf(t.s, sizeof(t.s), "%" PRIu64, count);
	return t;
}
