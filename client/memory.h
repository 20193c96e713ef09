/* SPDX-License-Identifier: ISC */

/* The pool's two mappings, and which of their pages are populated here. */
#ifndef CLIENT_MEMORY_H
#define CLIENT_MEMORY_H

#include "client/pool.h"

/** bud__memory_map() - map both memfds whole; pool->memory_size is set
 * Return: 0, or a negative errno; bud__memory_unmap() undoes the half of it, too */
int bud__memory_map(struct bud_pool *pool, int memory_fd, int ledger_fd);
void bud__memory_unmap(struct bud_pool *pool);

/** bud__memory_populate() - have page tables for a buffer (and its neighbours) that is
 * new to us */
void bud__memory_populate(struct bud_pool *pool, struct chunk_range r);

/* Chunks that a leaf of pool->seen tells of: 64 MiB. Where there is none, none is populated. */
#define BUD__SEEN_CHUNKS 256u

static inline uint32_t
bud__memory_seen(const struct bud_pool *pool, uint32_t chunk)
{
	_Atomic uint32_t *leaf = atomic_load_explicit(
	    &pool->seen[chunk / BUD__SEEN_CHUNKS], memory_order_acquire);

	return leaf == NULL ? 0
			    : atomic_load_explicit(&leaf[chunk % BUD__SEEN_CHUNKS],
				  memory_order_relaxed);
}

/* Is there something to populate? On the way of each buffer out of the map: three loads. */
static inline bool
bud__memory_is_new(const struct bud_pool *pool, uint32_t chunk)
{
	return atomic_load_explicit(&ledger_chunk(&pool->ledger, chunk)->generation,
		   memory_order_relaxed) != bud__memory_seen(pool, chunk);
}

/* The chunks below which any may be open; never beyond our mapping. */
static inline uint32_t
bud__memory_open(const struct bud_pool *pool)
{
	uint32_t open =
	    atomic_load_explicit(&pool->ledger.header->open, memory_order_relaxed);

	return open < pool->ledger.chunks ? open : pool->ledger.chunks;
}

#endif
