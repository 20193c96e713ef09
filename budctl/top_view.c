/* SPDX-License-Identifier: ISC */

/*
 * The layout of budctl top, from above: the host, its bar, a line for trouble, the pools, the
 * chosen pool's queue and blocks, the keys. Where the frame is too low, the blocks give way
 * first, then the pools scroll; where it is too narrow, columns go, the bar last of all.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "budctl/fields.h"
#include "budctl/human.h"
#include "budctl/process.h"
#include "budctl/terminal.h"
#include "budctl/top.h"

#define HEAD_ROWS  4u /* host, bar, trouble, heads of columns */
#define TITLE_ROWS 2u /* above the blocks */
#define BAR_LEAST  12u
#define BAR_MOST   60u
#define MAP_CELLS  64u
#define BLOCK_HEAD 14u /* columns before a map */

static const cJSON *
part(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key);
}

static unsigned int
least(unsigned int a, unsigned int b)
{
	return a < b ? a : b;
}

/* "1.3G", "256K", "0": a column of figures has no room for more. */
static struct human
short_size(uint64_t bytes)
{
	struct human h = human_size(bytes);
	char *blank = strchr(h.text, ' ');

	if (blank != NULL) {
		blank[0] = bytes == 0 ? '\0' : blank[1];
		blank[1] = '\0';
	}
	return h;
}

/* --- Bars --- */

static void
put_bar(struct frame *f, unsigned int row, unsigned int column, unsigned int width,
    const uint64_t part_of[2], uint64_t whole)
{
	unsigned int cells = width > 2 ? width - 2 : 0,
		     used = terminal_cells(part_of[0], whole, cells),
		     pinned = terminal_cells(part_of[1], whole, cells);

	column = frame_put(f, row, column, LOOK_PLAIN, "[");
	for (unsigned int i = 0; i < cells; i++) {
		if (i < used)
			column = frame_put(
			    f, row, column, LOOK_USED, terminal_glyph(GLYPH_USED));
		else if (i < pinned)
			column = frame_put(
			    f, row, column, LOOK_PINNED, terminal_glyph(GLYPH_PINNED));
		else
			column = frame_put(
			    f, row, column, LOOK_DIM, terminal_glyph(GLYPH_UNUSED));
	}
	frame_put(f, row, column, LOOK_PLAIN, "]");
}

/* --- The host --- */

static uint64_t
used_of_all(const struct top_model *m)
{
	uint64_t used = 0;

	for (unsigned int i = 0; i < m->count; i++)
		used += field_number(m->pools[i], "used");
	return used;
}

static void
draw_host(struct frame *f, const struct top_model *m)
{
	const cJSON *host = part(m->status, "host");
	uint64_t wall = field_number(host, "wall"),
		 pinned = field_number(host, "pinned"), used = used_of_all(m),
		 waiting = field_number(host, "waiting");
	char text[256];
	unsigned int column;

	snprintf(text, sizeof(text),
	    "budd %s  up %s  restarts %" PRIu64 "  pools %u  by %s%s  ",
	    field_text(m->status, "version"),
	    human_seconds(field_real(m->status, "uptime_s")).text,
	    field_number(m->status, "restarts"), m->count, top_sort_name(m->sort),
	    m->reverse ? " reversed" : "");
	column = frame_put(f, 0, 0, LOOK_BOLD, text);
	snprintf(text, sizeof(text), "waiting %" PRIu64, waiting);
	frame_put(f, 0, column, waiting > 0 ? LOOK_ALARM : LOOK_PLAIN, text);
	snprintf(text, sizeof(text), "host  used %s  pinned %s  wall %s (%s) ",
	    short_size(used).text, short_size(pinned).text, short_size(wall).text,
	    human_percent(pinned, wall).text);
	column = frame_put(f, 1, 0, LOOK_PLAIN, text);
	if (f->columns >= column + BAR_LEAST)
		put_bar(f, 1, column, least(f->columns - column, BAR_MOST),
		    (const uint64_t[]){ used, pinned }, wall);
}

static void
draw_trouble(struct frame *f, const struct top_model *m)
{
	if (m->lost)
		frame_put(f, 2, 0, LOOK_ALARM,
		    "budd does not answer: this is what it said last");
	else if (m->count == 0)
		frame_put(f, 2, 0, LOOK_PLAIN, "no pool is open");
}

/* --- Pools --- */

enum column {
	COLUMN_ID,
	COLUMN_NAME,
	COLUMN_USER,
	COLUMN_COMMAND,
	COLUMN_USED,
	COLUMN_PINNED,
	COLUMN_WALL,
	COLUMN_BAR,
	COLUMN_WAIT,
	COLUMN_SINCE,
};
#define COLUMNS (COLUMN_SINCE + 1)

static const struct {
	const char *head;
	unsigned int width;
	bool right;
	unsigned int from; /* shown on frames of so many columns */
} columns[COLUMNS] = {
	[COLUMN_ID] = { "ID", 5, true, 30 },
	[COLUMN_NAME] = { "NAME", 12, false, 0 },
	[COLUMN_USER] = { "USER", 8, false, 90 },
	[COLUMN_COMMAND] = { "COMMAND", 15, false, 110 },
	[COLUMN_USED] = { "USED", 6, true, 50 },
	[COLUMN_PINNED] = { "PINNED", 6, true, 60 },
	[COLUMN_WALL] = { "WALL", 6, true, 60 },
	[COLUMN_BAR] = { "USED/PINNED/WALL", 0, false, 0 }, /* what is left */
	[COLUMN_WAIT] = { "WAIT", 5, true, 30 },
	[COLUMN_SINCE] = { "SINCE", 7, true, 70 },
};

struct layout {
	unsigned int from[COLUMNS];
	unsigned int to[COLUMNS]; /* the same: it is not shown */
};

static struct layout
lay_out(unsigned int width)
{
	struct layout l;
	unsigned int taken = 0, at = 0, w;

	for (unsigned int i = 0; i < COLUMNS; i++)
		if (width >= columns[i].from && i != COLUMN_BAR)
			taken += columns[i].width + 1;
	for (unsigned int i = 0; i < COLUMNS; i++) {
		w = width >= columns[i].from ? columns[i].width : 0;
		if (i == COLUMN_BAR)
			w = width >= taken + BAR_LEAST ? least(width - taken, BAR_MOST)
						       : 0;
		l.from[i] = at;
		l.to[i] = at + w;
		at += w > 0 ? w + 1 : 0;
	}
	return l;
}

static void
put_cell(struct frame *f, const struct layout *l, unsigned int row, enum column c,
    enum frame_look look, const char *text)
{
	char cut[64];

	if (l->from[c] == l->to[c])
		return;
	if (columns[c].right) {
		frame_put_right(f, row, l->from[c], l->to[c], look, text);
		return;
	}
	/* Cut by bytes, and by columns where the next one is written over it. */
	snprintf(cut, sizeof(cut), "%s", text);
	frame_put(f, row, l->from[c], look, cut);
	for (unsigned int i = l->to[c]; i < f->columns && row < f->rows; i++)
		f->cells[(size_t)row * f->columns + i] =
		    (struct frame_cell){ L' ', LOOK_PLAIN };
}

static void
draw_heads(struct frame *f, const struct layout *l)
{
	for (unsigned int i = 0; i < COLUMNS; i++)
		put_cell(
		    f, l, HEAD_ROWS - 1, (enum column)i, LOOK_BOLD, columns[i].head);
}

static struct human
number(uint64_t value)
{
	struct human h;

	snprintf(h.text, sizeof(h.text), "%" PRIu64, value);
	return h;
}

static struct human
since(const cJSON *queue)
{
	uint64_t s = field_number(queue, "oldest_ms") / 1000;
	struct human h = { "" };

	if (field_number(queue, "length") == 0)
		return h;
	if (s < 3600)
		snprintf(
		    h.text, sizeof(h.text), "%" PRIu64 ":%02" PRIu64, s / 60, s % 60);
	else
		snprintf(h.text, sizeof(h.text), "%" PRIu64 "h%02" PRIu64, s / 3600,
		    s % 3600 / 60);
	return h;
}

static void
draw_pool(struct frame *f, const struct layout *l, unsigned int row, const cJSON *pool)
{
	const cJSON *queue = part(pool, "queue");
	uint64_t waiting = field_number(queue, "length"),
		 used = field_number(pool, "used"),
		 pinned = field_number(pool, "pinned"),
		 wall = field_number(pool, "wall");
	enum frame_look look = waiting > 0 ? LOOK_ALARM : LOOK_PLAIN;
	uint64_t whole = wall > pinned ? wall : pinned;

	put_cell(f, l, row, COLUMN_ID, look, number(field_number(pool, "id")).text);
	put_cell(f, l, row, COLUMN_NAME, look, field_text(pool, "name"));
	put_cell(
	    f, l, row, COLUMN_USER, look, human_user(field_number(pool, "uid")).text);
	put_cell(f, l, row, COLUMN_COMMAND, look, process_name(pool).text);
	put_cell(f, l, row, COLUMN_USED, look, short_size(used).text);
	put_cell(f, l, row, COLUMN_PINNED, look, short_size(pinned).text);
	put_cell(f, l, row, COLUMN_WALL, look, short_size(wall).text);
	if (l->to[COLUMN_BAR] > l->from[COLUMN_BAR])
		put_bar(f, row, l->from[COLUMN_BAR],
		    l->to[COLUMN_BAR] - l->from[COLUMN_BAR],
		    (const uint64_t[]){ used, pinned }, whole);
	put_cell(f, l, row, COLUMN_WAIT, look, number(waiting).text);
	put_cell(f, l, row, COLUMN_SINCE, look, since(queue).text);
}

/* Scrolled as little as shows the chosen one. */
static void
scroll(struct top_model *m, unsigned int rows)
{
	if (m->chosen < m->first)
		m->first = m->chosen;
	if (rows > 0 && m->chosen >= m->first + rows)
		m->first = m->chosen - rows + 1;
	if (m->first + rows > m->count)
		m->first = m->count > rows ? m->count - rows : 0;
}

static void
draw_pools(struct frame *f, struct top_model *m, unsigned int rows)
{
	struct layout l = lay_out(f->columns);

	scroll(m, rows);
	draw_heads(f, &l);
	for (unsigned int i = 0; i < rows && m->first + i < m->count; i++) {
		draw_pool(f, &l, HEAD_ROWS + i, m->pools[m->first + i]);
		if (m->first + i == m->chosen)
			f->marked = HEAD_ROWS + i;
	}
}

/* --- The chosen pool --- */

static unsigned int
count_blocks(const struct top_model *m)
{
	return (unsigned int)cJSON_GetArraySize(part(m->detail, "blocks"));
}

static void
draw_title(struct frame *f, const cJSON *pool, unsigned int row)
{
	const char *why = field_text(pool, "why");
	bool waits = strcmp(why, "nothing") != 0 && why[0] != '\0';
	char text[256];
	unsigned int column;

	snprintf(text, sizeof(text),
	    "pool %" PRIu64
	    " '%s'  largest free %s  in caches %s  had to queue %" PRIu64 "  ",
	    field_number(pool, "id"), field_text(pool, "name"),
	    short_size(field_number(pool, "largest_free")).text,
	    short_size(field_number(part(pool, "caches"), "bytes")).text,
	    field_number(part(pool, "counters"), "queued"));
	column = frame_put(f, row, 0, LOOK_BOLD, text);
	snprintf(text, sizeof(text), "waits for: %s", why);
	if (waits)
		frame_put(f, row, column, LOOK_ALARM, text);
}

/* Of the cells [from, to) of a map, one: the fullest, since what is used is to be seen. */
static char
merged(const char *map, unsigned int from, unsigned int to)
{
	char best = 'x';

	for (unsigned int i = from; i < to; i++)
		if (map[i] != 'x' && (best == 'x' || map[i] > best))
			best = map[i];
	return best;
}

static void
put_map(struct frame *f, unsigned int row, unsigned int column, const char *map)
{
	unsigned int n = (unsigned int)strnlen(map, MAP_CELLS),
		     room = f->columns > column + 2 ? f->columns - column - 2 : 0,
		     cells = least(n, room);
	char cell;

	if (cells == 0)
		return;
	column = frame_put(f, row, column, LOOK_PLAIN, "[");
	for (unsigned int i = 0; i < cells; i++) {
		cell = merged(map, i * n / cells, (i + 1) * n / cells);
		column = frame_put(f, row, column,
		    cell == 'x'   ? LOOK_DIM
		    : cell == '0' ? LOOK_PINNED
				  : LOOK_USED,
		    terminal_cell(cell));
	}
	frame_put(f, row, column, LOOK_PLAIN, "]");
}

static void
draw_block(struct frame *f, const cJSON *block, unsigned int row)
{
	uint64_t size = field_number(block, "size");
	char text[64];

	snprintf(text, sizeof(text), "%4" PRIu64 " %6s %s",
	    field_number(block, "index"), short_size(size).text,
	    field_bool(block, "base") ? "b" : " ");
	frame_put(f, row, 0, LOOK_PLAIN, text);
	put_map(f, row, BLOCK_HEAD, field_text(block, "map"));
}

static void
draw_chosen(
    struct frame *f, const struct top_model *m, unsigned int row, unsigned int rows)
{
	const cJSON *blocks = part(m->detail, "blocks");
	unsigned int count = count_blocks(m), shown = rows - TITLE_ROWS;
	char text[64];

	draw_title(f, m->detail, row + 1);
	if (count > shown) {
		shown--;
		snprintf(
		    text, sizeof(text), "     ... and %u blocks more", count - shown);
		frame_put(f, row + rows - 1, 0, LOOK_DIM, text);
	}
	for (unsigned int i = 0; i < least(count, shown); i++)
		draw_block(f, cJSON_GetArrayItem(blocks, (int)i), row + TITLE_ROWS + i);
}

/* --- All of it --- */

static const char keys_text[] =
    "q quit  up/down choose  s sort  r reverse  space now  h help";

static unsigned int
chosen_rows(const struct top_model *m)
{
	return m->detail != NULL ? TITLE_ROWS + count_blocks(m) : 0;
}

unsigned int
top_view_rows(const struct top_model *m)
{
	return HEAD_ROWS + m->count + chosen_rows(m);
}

void
top_view_draw(struct frame *f, struct top_model *m, bool keys)
{
	unsigned int left = f->rows > HEAD_ROWS + keys ? f->rows - HEAD_ROWS - keys : 0;
	unsigned int below = chosen_rows(m);

	/* The pools have what they need, but at least half of it is the blocks'. */
	if (m->count + below > left)
		below = least(below, left - least(m->count, left / 2));
	if (below <= TITLE_ROWS)
		below = 0;
	draw_host(f, m);
	draw_trouble(f, m);
	draw_pools(f, m, least(m->count, left - below));
	if (below > 0)
		draw_chosen(f, m, HEAD_ROWS + least(m->count, left - below), below);
	if (keys)
		frame_put(f, f->rows - 1, 0, LOOK_DIM, keys_text);
}

void
top_view_help(struct frame *f)
{
	static const char *const lines[] = { "Keys:", "", "  q               quit",
		"  up, down, k, j  choose a pool; its blocks are drawn below",
		"  home, end       the first, the last",
		"  page up, down   ten at a time",
		"  s               sort by waiting, pinned, used, wall, name or id",
		"  r               the other way round",
		"  space           look again now",
		"  h, ?            this text; any key ends it", "",
		"A bar shows a pool up to its wall: used, pinned but free, not pinned.",
		"A pool where somebody waits is red: budctl explain POOL tells why.",
		"A block's map has a cell for each 64th of it; b is the base block." };

	for (unsigned int i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		frame_put(f, i, 0, i == 0 ? LOOK_BOLD : LOOK_PLAIN, lines[i]);
}
