/* SPDX-License-Identifier: ISC */

/* The kinds of memory. */
#include "daemon/heap_kind.h"

#include <stddef.h>
#include <string.h>

#define LARGE_PAGE_CHUNKS 8u /* 2 MiB */

#define SLICE_CHUNKS       4u /* 1 MiB */
#define LARGE_SLICE_CHUNKS 8u /* 2 MiB */
#define LARGE_SLICE_MAX \
	32u /* 8 MiB of large pages take as long as 1 MiB of small ones */

static const char *const names[HEAP_KINDS] = {
	[HEAP_PAGE] = "page",
	[HEAP_THP] = "thp",
	[HEAP_HUGE] = "huge",
};

int
heap_kind_find(const char *name, enum heap_kind *kindp)
{
	for (unsigned int i = 0; i < HEAP_KINDS; i++) {
		if (strcmp(names[i], name) == 0) {
			*kindp = (enum heap_kind)i;
			return 0;
		}
	}
	return -1;
}

const char *
heap_kind_name(enum heap_kind kind)
{
	return names[kind];
}

uint32_t
heap_kind_chunks(enum heap_kind kind)
{
	return kind == HEAP_PAGE ? 1 : LARGE_PAGE_CHUNKS;
}

uint32_t
heap_kind_slice(enum heap_kind kind)
{
	return kind == HEAP_PAGE ? SLICE_CHUNKS : LARGE_SLICE_CHUNKS;
}

uint32_t
heap_kind_slice_max(enum heap_kind kind)
{
	return kind == HEAP_PAGE ? SLICE_CHUNKS : LARGE_SLICE_MAX;
}
