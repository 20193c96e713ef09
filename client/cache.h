/* SPDX-License-Identifier: ISC */

/* The caches of this process's threads; bud-inline.h has what a hit does. */
#ifndef CLIENT_CACHE_H
#define CLIENT_CACHE_H

#include "client/pool.h"
#include "proto/cache.h"

/* What the library remembers of a cache, beside what lies in the ledger. */
struct bud__cache {
	_Atomic(struct bud_inline_thread *) owner; /* NULL: nobody's */
	/* The owner's, from here on. */
	uint32_t tick;                    /* of all that is in it */
	uint32_t from[BUD_INLINE_ORDERS]; /* where to refill from */
	uint32_t hunger
	    [BUD_INLINE_ORDERS]; /* refills since it was emptied: batches double */
	bool flushed[BUD_INLINE_ORDERS]; /* since the last refill */
};

/* What has to be said after a call. */
struct bud__news {
	bool belled; /* low_mark was claimed: ring */
	bool gave;   /* something went to the map: bud__gave() */
};

/** bud__caches_create() - a new pool: its id, and no cache in use; 0 or -ENOMEM */
int bud__caches_create(struct bud_pool *pool);
void bud__caches_free(struct bud_pool *pool);
/** bud__caches_forked() - in the child: no thread has a cache of this pool any more */
void bud__caches_forked(struct bud_pool *pool);
/** bud__caches_end() - budd is away: from now on nobody keeps anything back, and what lay in
 * caches is in the map. Whoever is in the midst of a hit sees to it himself. May be called
 * with the pool locked */
void bud__caches_end(struct bud_pool *pool);

/**
 * bud__cache_take() - a buffer out of the thread's cache, refilled if need be
 * @framep:	written on success only
 * @news:	is added to
 *
 * The caller has seen that nobody waits. What is delivered is populated.
 *
 * Return: true; or false: there is no cache to be had, or nothing in the map for it
 */
bool bud__cache_take(struct bud_pool *pool, unsigned int order, uint32_t *framep,
    struct bud__news *news);
/** bud__cache_give() - into the thread's cache; the caller has bud__gave() look afterwards
 * Return: false: the map has to take it, as whatever was taken in another tick */
bool bud__cache_give(struct bud_pool *pool, uint32_t frame, unsigned int order);
/** bud__cache_yield() - empty the thread's cache; the caller has bud__gave() look afterwards
 * Return: there was something in it, or still is, because somebody takes from it */
bool bud__cache_yield(struct bud_pool *pool);
/** bud__cache_frames() - frames that all caches hold */
uint64_t bud__cache_frames(const struct bud_pool *pool);

#endif
