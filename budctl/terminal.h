/* SPDX-License-Identifier: ISC */

/*
 * What goes to a terminal: texts that cannot command it, pictures in the characters that
 * its locale has, colours where there is somebody to see them.
 */
#ifndef BUDCTL_TERMINAL_H
#define BUDCTL_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BAR_CELLS     20u
#define PICTURE_CELLS 64u

/* Characters of up to 3 bytes, between brackets. */
struct picture {
	char text[2 + 3 * PICTURE_CELLS + 1];
};

/** terminal_init() - after setlocale() */
void terminal_init(void);
/** terminal_safe() - a copy, with '?' for what is no visible character; free() it */
char *terminal_safe(const char *text);
/** terminal_width() - columns that a safe text takes */
size_t terminal_width(const char *text);
/** terminal_bold_on(), terminal_bold_off() - what to print before and after; "": no
 * colours */
const char *terminal_bold_on(void);
const char *terminal_bold_off(void);
/** terminal_has_colours() - stdout is a terminal, and nobody said NO_COLOR */
bool terminal_has_colours(void);
/* What a bar is made of, one character each. */
enum glyph {
	GLYPH_USED,
	GLYPH_PINNED,
	GLYPH_UNUSED,
};
const char *terminal_glyph(enum glyph glyph);
/** terminal_cells() - how many of @all cells show @part of @whole; rounded up, so that what
 * there is, is seen */
unsigned int terminal_cells(uint64_t part, uint64_t whole, unsigned int all);
/** terminal_cell() - one of a block's map, as one character */
const char *terminal_cell(char cell);
/** terminal_bar() - BAR_CELLS cells: how much of @whole is used, and how much pinned
 * @used:	at most @pinned */
struct picture terminal_bar(uint64_t used, uint64_t pinned, uint64_t whole);
/** terminal_picture() - a block's map, see GET /v1/pools/ID */
struct picture terminal_picture(const char *map);

#endif
