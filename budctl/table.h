/* SPDX-License-Identifier: ISC */

/* A table of aligned columns. Cells are given row by row; none may be missing. */
#ifndef BUDCTL_TABLE_H
#define BUDCTL_TABLE_H

#include <stdbool.h>

#define TABLE_COLUMNS_MAX 16u

struct table;

struct column {
	const char *head;
	bool right; /* aligned, for figures */
};

struct table *table_create(const struct column *columns, unsigned int count);
/** table_add() - the next cell; made safe for a terminal */
void table_add(struct table *t, const char *text);
/** table_add_number() - the next cell */
void table_add_number(struct table *t, unsigned long long value);
/** table_print() - on stdout, and free it */
void table_print(struct table *t);

#endif
