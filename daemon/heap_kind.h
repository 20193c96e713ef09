/* SPDX-License-Identifier: ISC */

/*
 * The kinds of memory that a pool can be made of. Part of the core, which has to know in
 * what units a pool grows.
 */
#ifndef DAEMON_HEAP_KIND_H
#define DAEMON_HEAP_KIND_H

#include <stdint.h>

enum heap_kind {
	HEAP_PAGE, /* pages of 4 KiB */
	HEAP_THP,  /* pages of 2 MiB where the kernel gives them, else smaller ones */
	HEAP_HUGE, /* pages of 2 MiB out of those that the host has reserved (hugetlb) */
};

#define HEAP_KINDS       3u
#define HEAP_LARGE_SHIFT 21u /* of a page of 2 MiB */

/** heap_kind_find() - by its name in budd.conf; 0, or -1: there is none */
int heap_kind_find(const char *name, enum heap_kind *kindp);
/** heap_kind_name() - "page", "thp", "huge" */
const char *heap_kind_name(enum heap_kind kind);
/** heap_kind_chunks() - whatever is pinned or given back, and where it starts, is a multiple
 * of this: 1, or the chunks of a large page */
uint32_t heap_kind_chunks(enum heap_kind kind);
/** heap_kind_slice() - chunks that are pinned, or given back, before it is another pool's turn */
uint32_t heap_kind_slice(enum heap_kind kind);
/** heap_kind_slice_max() - the same where the pages of the heap are known to be large */
uint32_t heap_kind_slice_max(enum heap_kind kind);

#endif
