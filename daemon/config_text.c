/* SPDX-License-Identifier: ISC */

/*
 * The text of budd.conf, line by line.
 *
 * inih takes a line apart: key, separator, value, comment. It gets one line at a time,
 * without its indentation, and no titles of sections, since by itself it
 *  - cuts titles at 49 bytes, and does not tell where a section starts;
 *  - tells the number of a file's first bad line only, and none to its handler;
 *  - makes an indented key a part of the one above it, without a word;
 *  - reads the rest of a long line as a line of its own.
 */
#include "daemon/config_text.h"

#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

#include "daemon/config.h"
#include "daemon/config_report.h"
#include "daemon/config_section.h"

#define BLANKS " \t\r\v\f"

struct reader {
	struct config_sections *all;
	struct config_section *section; /* NULL: before the first, or in a wrong one */
	bool any_section;
	struct config_place at; /* the line at hand */
	const char *line;       /* which starts here, without indentation */
	size_t len;             /* and has so many bytes, without trailing blanks */
	bool taken;             /* inih has it */
	int too_long; /* inih did not want it: this is how many bytes it takes */
};

#define fail(r, ...) config_error(&(r)->all->report, (r)->at, __VA_ARGS__)

/* The first bytes of the line, for "%.*s". */
static int
quoted(const struct reader *r)
{
	return (int)MIN(r->len, CONFIG_QUOTED_MAX);
}

/* Bytes of @text without its trailing blanks. */
static size_t
trimmed(const char *text, size_t len)
{
	while (len > 0 && strchr(BLANKS, text[len - 1]) != NULL)
		len--;
	return len;
}

/* The line at hand starts with [. */
static void
read_title(struct reader *r)
{
	const char *end = memchr(r->line, ']', r->len);
	const char *start, *behind;
	char *title;

	r->section = NULL;
	r->any_section = true;
	if (end == NULL) {
		fail(r, "'%.*s': the ] is missing: write it like [host] or [pool NAME]",
		    quoted(r), r->line);
		return;
	}
	behind = end + 1 + strspn(end + 1, BLANKS);
	if (behind < r->line + r->len && *behind != ';' && *behind != '#') {
		fail(r, "'%.*s': text behind the bracket: put it on a line of its own",
		    quoted(r), r->line);
		return;
	}
	start = r->line + 1 + strspn(r->line + 1, BLANKS);
	title = strndup(start, trimmed(start, (size_t)(end - start)));
	if (title == NULL)
		fail(r, "out of memory");
	else
		r->section = config_section_open(r->all, r->at, title);
	free(title);
}

/* inih's reader: the line at hand, once. */
static char *
give_line(char *buffer, int size, void *arg)
{
	struct reader *r = arg;

	if (r->taken)
		return NULL;
	r->taken = true;
	if (r->len >= (size_t)size) {
		r->too_long = size - 1;
		return NULL;
	}
	memcpy(buffer, r->line, r->len);
	buffer[r->len] = '\0';
	return buffer;
}

/* inih's handler. Returns what makes inih content: what is wrong is told here. */
static int
on_key(void *arg, const char *inih_section, const char *name, const char *value)
{
	struct reader *r = arg;

	(void)inih_section;
	if (r->section != NULL)
		config_section_set(r->all, r->section, r->at, name, value);
	else if (!r->any_section)
		fail(
		    r, "%s: no section is above it: write [host] or [pool NAME]", name);
	return 1;
}

static void
read_key(struct reader *r)
{
	int error;

	r->taken = false;
	r->too_long = 0;
	error = ini_parse_stream(give_line, r, on_key, r);
	if (r->too_long > 0)
		fail(r,
		    "'%.*s...' has %zu bytes, at most %d are read: shorten the line",
		    quoted(r), r->line, r->len, r->too_long);
	else if (error < 0) /* possible where inih was built for the heap */
		fail(r, "out of memory");
	else if (error > 0)
		fail(r,
		    "'%.*s' is no key = value: comment it out with #, or complete it",
		    quoted(r), r->line);
}

void
config_text_read(const struct config_text *text, struct config_sections *all)
{
	struct reader r = { .all = all, .at = { text->name, 0 } };
	const char *rest = text->text;
	size_t len, indent;

	if (strncmp(rest, "\xef\xbb\xbf", 3) == 0) /* what some editors put first */
		rest += 3;
	for (; *rest != '\0'; rest += len + (rest[len] == '\n')) {
		len = strcspn(rest, "\n");
		indent = strspn(rest, BLANKS);
		r.at.line++;
		r.line = rest + indent;
		r.len = trimmed(r.line, len - indent);
		if (r.len == 0 || *r.line == '#' || *r.line == ';')
			continue;
		if (*r.line == '[')
			read_title(&r);
		else
			read_key(&r);
	}
}
