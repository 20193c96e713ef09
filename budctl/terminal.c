/* SPDX-License-Identifier: ISC */

/* What goes to a terminal. */
#include "budctl/terminal.h"

#include <err.h>
#include <langinfo.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "budctl/command.h"

/* One character each. The cells' are for 0 to 8 eighths, then what is not opened. */
struct glyphs {
	const char *cells[10];
	const char *used;
	const char *pinned;
	const char *unused;
};

static const struct glyphs ascii = {
	.cells = { " ", ".", ":", "-", "=", "+", "*", "#", "@", "x" },
	.used = "#",
	.pinned = "=",
	.unused = ".",
};

static const struct glyphs unicode = {
	.cells = { "·", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█", "×" },
	.used = "█",
	.pinned = "▒",
	.unused = "·",
};

static const struct glyphs *glyphs = &ascii;
static bool colours;

void
terminal_init(void)
{
	const char *no_color = getenv("NO_COLOR");

	if (strcmp(nl_langinfo(CODESET), "UTF-8") == 0)
		glyphs = &unicode;
	colours = isatty(STDOUT_FILENO) && (no_color == NULL || no_color[0] == '\0');
}

bool
terminal_has_colours(void)
{
	return colours;
}

const char *
terminal_bold_on(void)
{
	return colours ? "\033[1m" : "";
}

const char *
terminal_bold_off(void)
{
	return colours ? "\033[0m" : "";
}

/* Bytes of the character at @s if it is one that takes space on a terminal; else 0. What
 * takes none may turn the direction of writing, or hide. */
static size_t
visible_length(const char *s, size_t left, int *columnsp)
{
	mbstate_t state = { 0 };
	wchar_t c;
	size_t n = mbrtowc(&c, s, left, &state);

	if (n == 0 || n == (size_t)-1 || n == (size_t)-2)
		return 0;
	*columnsp = wcwidth(c);
	return *columnsp > 0 ? n : 0;
}

/* Bytes of the character at @s, visible or not, at least 1. */
static size_t
length(const char *s, size_t left)
{
	mbstate_t state = { 0 };
	size_t n = mbrlen(s, left, &state);

	return n == 0 || n == (size_t)-1 || n == (size_t)-2 ? 1 : n;
}

char *
terminal_safe(const char *text)
{
	size_t left = strlen(text), n;
	char *safe = malloc(left + 1), *to = safe;
	int columns;

	if (safe == NULL)
		err(BUDCTL_FAILED, NULL);
	for (; left > 0; text += n, left -= n) {
		n = visible_length(text, left, &columns);
		if (n > 0) {
			to = mempcpy(to, text, n);
			continue;
		}
		*to++ = '?';
		n = length(text, left);
	}
	*to = '\0';
	return safe;
}

size_t
terminal_width(const char *text)
{
	size_t left = strlen(text), width = 0, n;
	int columns;

	for (; left > 0; text += n, left -= n) {
		n = visible_length(text, left, &columns);
		width += n > 0 ? (size_t)columns : 1;
		n = n > 0 ? n : 1;
	}
	return width;
}

/* --- Pictures --- */

unsigned int
terminal_cells(uint64_t part, uint64_t whole, unsigned int all)
{
	double cells = whole > 0 ? (double)part * all / (double)whole : 0;
	unsigned int n;

	if (cells >= all)
		return all;
	n = (unsigned int)cells;
	return n + ((double)n < cells);
}

const char *
terminal_glyph(enum glyph glyph)
{
	switch (glyph) {
	case GLYPH_USED:
		return glyphs->used;
	case GLYPH_PINNED:
		return glyphs->pinned;
	case GLYPH_UNUSED:
		return glyphs->unused;
	}
	return " ";
}

struct picture
terminal_bar(uint64_t used, uint64_t pinned, uint64_t whole)
{
	unsigned int u = terminal_cells(used, whole, BAR_CELLS),
		     p = terminal_cells(pinned, whole, BAR_CELLS);
	struct picture bar;
	char *to = stpcpy(bar.text, "[");

	for (unsigned int i = 0; i < BAR_CELLS; i++)
		to = stpcpy(to, terminal_glyph(i < u   ? GLYPH_USED
					       : i < p ? GLYPH_PINNED
						       : GLYPH_UNUSED));
	stpcpy(to, "]");
	return bar;
}

const char *
terminal_cell(char cell)
{
	return cell >= '0' && cell <= '8' ? glyphs->cells[cell - '0']
					  : glyphs->cells[9];
}

struct picture
terminal_picture(const char *map)
{
	struct picture p;
	char *to = stpcpy(p.text, "[");

	for (unsigned int i = 0; i < PICTURE_CELLS && map[i] != '\0'; i++)
		to = stpcpy(to, terminal_cell(map[i]));
	stpcpy(to, "]");
	return p;
}
