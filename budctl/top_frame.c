/* SPDX-License-Identifier: ISC */

/* A frame of characters. */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "budctl/terminal.h"
#include "budctl/top.h"

void
frame_init(struct frame *f, unsigned int rows, unsigned int columns)
{
	size_t count = (size_t)rows * columns;

	*f = (struct frame){ .rows = rows, .columns = columns, .marked = rows };
	if ((f->cells = calloc(count + 1, sizeof(f->cells[0]))) == NULL)
		err(BUDCTL_FAILED, NULL);
	for (size_t i = 0; i < count; i++)
		f->cells[i].c = L' ';
}

void
frame_fini(struct frame *f)
{
	free(f->cells);
}

/* Bytes of the character at @s, and what it is; what is no character is a '?'. */
static size_t
next(const char *s, wchar_t *cp)
{
	mbstate_t state = { 0 };
	size_t n = mbrtowc(cp, s, strlen(s), &state);

	if (n != (size_t)-1 && n != (size_t)-2 && n != 0 && wcwidth(*cp) > 0)
		return n;
	*cp = L'?';
	return 1;
}

unsigned int
frame_put(struct frame *f, unsigned int row, unsigned int column, enum frame_look look,
    const char *text)
{
	char *safe = terminal_safe(text);
	unsigned int width;
	wchar_t c;

	for (const char *s = safe; row < f->rows && *s != '\0'; column += width) {
		struct frame_cell *cell = &f->cells[(size_t)row * f->columns + column];

		s += next(s, &c);
		width = wcwidth(c) == 2 ? 2 : 1;
		if (column + width > f->columns)
			break;
		*cell = (struct frame_cell){ c, look };
		if (width == 2)
			cell[1] = (struct frame_cell){ 0, look };
	}
	free(safe);
	return column;
}

void
frame_put_right(struct frame *f, unsigned int row, unsigned int from, unsigned int end,
    enum frame_look look, const char *text)
{
	unsigned int width = (unsigned int)strlen(text), room = end - from;
	char cut[64];

	snprintf(cut, sizeof(cut), "%.*s", (int)room, text);
	frame_put(f, row, width < room ? end - width : from, look, cut);
}

static unsigned int
length_of(const struct frame_cell *line, unsigned int columns)
{
	while (columns > 0 && line[columns - 1].c == L' ')
		columns--;
	return columns;
}

void
frame_print(const struct frame *f)
{
	for (unsigned int row = 0; row < f->rows; row++) {
		const struct frame_cell *line = &f->cells[(size_t)row * f->columns];
		unsigned int n = length_of(line, f->columns);

		for (unsigned int i = 0; i < n; i++)
			if (line[i].c != 0)
				printf("%lc", (wint_t)line[i].c);
		putchar('\n');
	}
}
