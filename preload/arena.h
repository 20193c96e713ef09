/* SPDX-License-Identifier: ISC */

/*
 * Where large blocks lie: the address ranges of the pools of this process, and of those
 * that it inherited from its parent, and which buffers in them are in use.
 *
 * A pool is mapped once, whole, and its addresses never move, so that two comparisons
 * tell whether free() got one of ours. Which buffers are in use is written down here,
 * and not asked of the pool, since after fork() the child has no pool to ask.
 *
 * All functions may be called by any thread, unless they say otherwise.
 */
#ifndef PRELOAD_ARENA_H
#define PRELOAD_ARENA_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bud.h"

#define ARENA_PAGE ((size_t)4096)
#define ARENAS_MAX \
	16u /* pools of this process, and of its ancestors, in which it has
			  buffers; with that many, no further pool is opened */

struct arena {
	uintptr_t start;
	size_t size;
	struct bud_pool *pool;  /* NULL: inherited; private memory of this process */
	_Atomic bool abandoned; /* budd is away: nothing new comes from here */
	_Atomic size_t top;     /* pages below which all buffers lie, or lay */
	_Atomic uint8_t
	    *order;        /* of each page: k + 1 where a buffer of 2^k pages starts */
	size_t order_size; /* bytes of that table */
};

/** arena_add() - write down a new pool's range
 * Nobody else adds at the same time. Return: NULL if there is no room or memory. */
struct arena *arena_add(struct bud_pool *pool, uintptr_t start, size_t size);
/** arena_find() - the range in which @p lies; NULL: in none */
struct arena *arena_find(const void *p);
/** arena_at() - the arena number @i, in the order in which they were added; NULL: no
 * more */
struct arena *arena_at(unsigned int i);
/** arena_order_of() - the order of the smallest buffer that holds @size >= 1 bytes */
unsigned int arena_order_of(size_t size);
/** arena_enter() - a buffer of 2^@order pages now starts at @p */
void arena_enter(struct arena *a, const void *p, unsigned int order);
/** arena_leave() - that buffer ends; its order, or -1 if none starts at @p */
int arena_leave(struct arena *a, const void *p);
/** arena_bytes() - of the buffer that starts at @p; 0: none does */
size_t arena_bytes(const struct arena *a, const void *p);
/** arena_next() - the next run of neighbouring buffers in use
 * @fromp:	byte from which to look; receives where the run starts
 * Return: its bytes, 0: there is none. Buffers that come and go meanwhile may be missed. */
size_t arena_next(const struct arena *a, size_t *fromp);
/** arena_inherit() - in the child of a fork: @a is private memory now, of @size bytes */
void arena_inherit(struct arena *a, size_t size);
/** arena_drop_empty() - forget inherited arenas without a buffer, and unmap them; only
 * while there is one thread */
void arena_drop_empty(void);

#endif
