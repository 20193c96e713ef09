/* SPDX-License-Identifier: ISC */

/*
 * budctl top in three parts: what is shown (top_model.c), how it is laid out (top_view.c)
 * on a frame of characters (top_frame.c), and the screen, the keys and the clock (top.c). A
 * frame goes to a terminal or, as text, to a script: the layout knows nothing of either.
 */
#ifndef BUDCTL_TOP_H
#define BUDCTL_TOP_H

#include <stdbool.h>
#include <stdint.h>
#include <wchar.h>

#include <cjson/cJSON.h>

#include "budctl/command.h"

/* --- A frame --- */

enum frame_look {
	LOOK_PLAIN,
	LOOK_BOLD,
	LOOK_DIM,
	LOOK_USED,   /* of a bar */
	LOOK_PINNED, /* likewise */
	LOOK_ALARM,  /* somebody waits */
};

struct frame_cell {
	wchar_t c; /* 0: the second half of the one before */
	enum frame_look look;
};

struct frame {
	unsigned int rows;
	unsigned int columns;
	unsigned int marked; /* the row that is chosen; rows: none */
	struct frame_cell *cells;
};

/** frame_init() - all blank; ends the program if there is no memory */
void frame_init(struct frame *f, unsigned int rows, unsigned int columns);
void frame_fini(struct frame *f);
/** frame_put() - a text, cut off where the frame ends
 * @text:	made safe for a terminal here
 * Return: the column behind it */
unsigned int frame_put(struct frame *f, unsigned int row, unsigned int column,
    enum frame_look look, const char *text);
/** frame_put_right() - ends before column @end; a text that is too long loses its end */
void frame_put_right(struct frame *f, unsigned int row, unsigned int from,
    unsigned int end, enum frame_look look, const char *text);
/** frame_print() - as text on stdout, without blanks at the ends of lines */
void frame_print(const struct frame *f);

/* --- What is shown --- */

enum top_sort {
	SORT_WAITING,
	SORT_PINNED,
	SORT_USED,
	SORT_WALL,
	SORT_NAME,
	SORT_ID,
};
#define TOP_SORTS (SORT_ID + 1)

struct top_model {
	cJSON *status;       /* NULL: nothing has been heard yet */
	cJSON *detail;       /* of the chosen pool, with its maps; NULL: none */
	const cJSON **pools; /* of status, in their order */
	unsigned int count;  /* of pools */
	unsigned int chosen; /* index into pools */
	uint64_t id;         /* ... and which one that is */
	unsigned int first;  /* that is seen, after scrolling */
	enum top_sort sort;
	bool reverse;
	bool lost; /* budd did not answer the last time */
};

/** top_sort_name() - "waiting", ...; top_sort_find() - and back; false: there is none */
const char *top_sort_name(enum top_sort sort);
bool top_sort_find(const char *name, enum top_sort *sortp);
/** top_model_load() - ask budd; what it does not answer leaves the model as it was, and
 * `lost` set. Nothing is told */
enum budctl_exit top_model_load(struct top_model *m, const char *socket);
/** top_model_sort() - after `sort` or `reverse` was changed; what is chosen stays so */
void top_model_sort(struct top_model *m);
/** top_model_choose() - the pool at @index, or the last one; ask for its detail again */
void top_model_choose(struct top_model *m, unsigned int index);
/** top_model_load_detail() - of the chosen pool */
void top_model_load_detail(struct top_model *m, const char *socket);
void top_model_fini(struct top_model *m);

/* --- The layout --- */

/** top_view_rows() - that show all there is */
unsigned int top_view_rows(const struct top_model *m);
/** top_view_draw() - on a blank frame of any size; scrolls so that the chosen pool is seen
 * @keys:	a last line that tells them */
void top_view_draw(struct frame *f, struct top_model *m, bool keys);
/** top_view_help() - the keys, instead of all that */
void top_view_help(struct frame *f);

#endif
