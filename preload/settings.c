/* SPDX-License-Identifier: ISC */

#include "preload/settings.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t
bytes(const char *name, size_t otherwise)
{
	const char *text = secure_getenv(name);
	unsigned long long value;
	char *end;

	if (text == NULL || *text < '0' || *text > '9')
		return otherwise;
	value = strtoull(text, &end, 10);
	return *end == '\0' ? (size_t)value : otherwise;
}

/* Names of pools know no spaces, slashes and the like; those of programs do, and programs
 * change their own. */
static void
take_name(char *name, size_t size, const char *wanted)
{
	size_t n = 0;

	for (; wanted[n] != '\0' && n < size - 1; n++)
		name[n] = wanted[n] > ' ' && wanted[n] < 0x7f && wanted[n] != '/'
			      ? wanted[n]
			      : '_';
	name[n] = '\0';
}

void
settings_read(struct settings *s)
{
	const char *pool = secure_getenv(SETTING_POOL);

	*s = (struct settings){
		.threshold = bytes(SETTING_THRESHOLD, THRESHOLD_DEFAULT),
		.base = bytes(SETTING_BASE, 0),
		.add = bytes(SETTING_ADD, 0),
		.wall = bytes(SETTING_WALL, 0),
		.verbose = secure_getenv(SETTING_VERBOSE) != NULL,
	};
	take_name(s->pool, sizeof(s->pool),
	    pool != NULL ? pool : program_invocation_short_name);
	if (s->threshold < THRESHOLD_MIN)
		s->threshold = THRESHOLD_MIN;
}

void
note(const char *format, ...)
{
	char line[256];
	int saved = errno, n, room;
	va_list args;

	n = snprintf(line, sizeof(line),
	    "bud-run: %s[%ld]: ", program_invocation_short_name, (long)getpid());
	if (n < 0 || n >= (int)sizeof(line) - 2)
		n = 0;
	room = (int)sizeof(line) - n - 1;
	va_start(args, format);
	if (vsnprintf(line + n, (size_t)room, format, args) < 0)
		line[n] = '\0';
	va_end(args);
	strcat(line, "\n");
	if (write(STDERR_FILENO, line, strlen(line)) == -1)
		errno = saved;
	errno = saved;
}
