/* SPDX-License-Identifier: ISC */

/* A table of aligned columns. */
#include "budctl/table.h"

#include <assert.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>

#include "budctl/command.h"
#include "budctl/terminal.h"

struct table {
	const struct column *columns;
	unsigned int count;
	char **cells; /* row by row */
	size_t used;
	size_t room;
};

struct table *
table_create(const struct column *columns, unsigned int count)
{
	struct table *t = calloc(1, sizeof(*t));

	assert(count <= TABLE_COLUMNS_MAX);
	if (t == NULL)
		err(BUDCTL_FAILED, NULL);
	t->columns = columns;
	t->count = count;
	return t;
}

void
table_add(struct table *t, const char *text)
{
	if (t->used == t->room) {
		t->room = t->room == 0 ? 64 : t->room * 2;
		t->cells = reallocarray(t->cells, t->room, sizeof(t->cells[0]));
		if (t->cells == NULL)
			err(BUDCTL_FAILED, NULL);
	}
	t->cells[t->used++] = terminal_safe(text);
}

void
table_add_number(struct table *t, unsigned long long value)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", value);
	table_add(t, text);
}

static void
measure(const struct table *t, size_t width[])
{
	for (unsigned int c = 0; c < t->count; c++)
		width[c] = terminal_width(t->columns[c].head);
	for (size_t i = 0; i < t->used; i++) {
		size_t w = terminal_width(t->cells[i]);

		if (w > width[i % t->count])
			width[i % t->count] = w;
	}
}

/* No blanks at the end of a line. */
static void
print_cell(const struct table *t, const char *text, unsigned int column, size_t width)
{
	int pad = (int)(width - terminal_width(text));
	bool last = column + 1 == t->count;

	if (t->columns[column].right)
		printf("%*s%s", pad, "", text);
	else
		printf("%s%*s", text, last ? 0 : pad, "");
	fputs(last ? "\n" : "  ", stdout);
}

static void
print_heads(const struct table *t, const size_t width[])
{
	fputs(terminal_bold_on(), stdout);
	for (unsigned int c = 0; c < t->count; c++)
		print_cell(t, t->columns[c].head, c, width[c]);
	fputs(terminal_bold_off(), stdout);
}

void
table_print(struct table *t)
{
	size_t width[TABLE_COLUMNS_MAX];

	assert(t->used % t->count == 0);
	measure(t, width);
	print_heads(t, width);
	for (size_t i = 0; i < t->used; i++) {
		print_cell(t, t->cells[i], i % t->count, width[i % t->count]);
		free(t->cells[i]);
	}
	free(t->cells);
	free(t);
}
