/* SPDX-License-Identifier: ISC */

/* A mistake is one line, whatever bytes the file has; and a file of garbage has an end. */
#include "daemon/config_report.h"

#include <stdarg.h>

#include "daemon/config.h"

#define LINE_BYTES 512 /* of an error: two values that inih reads, and our words */

static void print(struct config_report *r, struct config_place at, const char *kind,
    const char *fmt, va_list ap) __attribute__((format(printf, 4, 0)));

static void
print(struct config_report *r, struct config_place at, const char *kind,
    const char *fmt, va_list ap)
{
	char text[LINE_BYTES];
	size_t i;

	vsnprintf(text, sizeof(text), fmt, ap);
	for (i = 0; text[i] != '\0'; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			text[i] = '?';
	if (at.line == 0)
		fprintf(r->to, "%s: %s%s\n", at.file, kind, text);
	else
		fprintf(r->to, "%s:%u: %s%s\n", at.file, at.line, kind, text);
}

void
config_error(struct config_report *r, struct config_place at, const char *fmt, ...)
{
	va_list ap;

	if (++r->errors > CONFIG_ERRORS_MAX)
		return;
	va_start(ap, fmt);
	print(r, at, "", fmt, ap);
	va_end(ap);
}

void
config_warning(struct config_report *r, struct config_place at, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print(r, at, "warning: ", fmt, ap);
	va_end(ap);
}

void
config_report_end(struct config_report *r, const char *file)
{
	if (r->errors > CONFIG_ERRORS_MAX)
		fprintf(r->to, "%s: and %u more errors: correct these first\n", file,
		    r->errors - CONFIG_ERRORS_MAX);
}
