/* SPDX-License-Identifier: ISC */

/*
 * Thread caches: a few buffers of each size in front of the free map, one cache for each
 * thread, in the ledger. What is in one counts as free, and whoever waits can have it.
 * bud-inline.h has the layout and the path that a hit takes; this is the rest. cache.c tells
 * how and why it holds.
 */
#ifndef PROTO_CACHE_H
#define PROTO_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "bud-inline.h"
#include "proto/ledger.h"

/* Bits of `stop`. budd sets and clears the first two and TAKER; the owner clears TICK, too,
 * and has OWNER. */
#define CACHE_QUEUED 0x01u /* somebody waits: keep nothing back */
#define CACHE_TICK   0x02u /* a tick has passed: give all of it back, and begin anew */
#define CACHE_OWNER  0x04u /* the owner is at it without `busy`: nobody may take */
#define CACHE_TAKER  0x08u /* somebody takes from it: the owner does without */
#define CACHE_AWAY \
	0x10u /* budd is away, and nobody else would look: not used any more */

/* The owner's side: one thread, a cache of its own. */

/** cache_setup() - set the capacities by the pool's wall; the cache is empty and nobody's */
void cache_setup(struct bud_inline_cache *c, uint64_t wall);
/** cache_claim() - begin work beyond a hit: nobody takes from it until cache_leave()
 * Return: the bits of `stop` as they were; CACHE_TAKER among them: it was not to be had */
uint32_t cache_claim(struct bud_inline_cache *c);
/** cache_clear_tick() - the tick has been heard; claimed */
void cache_clear_tick(struct bud_inline_cache *c);
/** cache_leave() - end it
 * Return: the bits that are left. With CACHE_QUEUED or CACHE_AWAY among them nothing may stay
 * in it: claim it again, empty it, and look at ledger_queued() */
uint32_t cache_leave(struct bud_inline_cache *c);
/**
 * cache_refill() - fill an empty stack of @order from the map, the lowest address on top
 * @want:	buffers; at most half of the stack are taken
 * @fromp:	chunk to begin at; receives the chunk to begin at the next time
 *
 * Claimed. Above CHUNK_ORDER look at ledger_queued() afterwards: see ledger_take().
 *
 * Return: buffers that were taken
 */
uint32_t cache_refill(struct ledger *l, struct bud_inline_cache *c, unsigned int order,
    uint32_t want, uint32_t *fromp);
/**
 * cache_flush() - give all but the newest @keep buffers of @order back to the map; then look
 * at ledger_queued()
 * @badp:	receives the frame that was free already, or is no buffer
 *
 * Claimed. Return: 0, LEDGER_E_FOREIGN or LEDGER_E_TWICE as ledger_give()
 */
int cache_flush(struct ledger *l, struct bud_inline_cache *c, unsigned int order,
    uint32_t keep, uint32_t *badp);
/** cache_empty() - flush all of it; 0, or an error as cache_flush() */
int cache_empty(struct ledger *l, struct bud_inline_cache *c, uint32_t *badp);

/* Whoever takes from others' caches: budd, and the library when budd is away. Here a cache
 * is hostile: what it says is bounded, read once, and checked against @opened. */

/** ledger_caches() - caches that may have been used; never more than there are */
uint32_t ledger_caches(const struct ledger *l);
/** cache_raise() - set a bit of `stop`; true: it was set already */
bool cache_raise(struct bud_inline_cache *c, uint32_t bit);
void cache_lower(struct bud_inline_cache *c, uint32_t bit);
/** cache_holds() - it looks as if there were something in it. Right only after a barrier */
bool cache_holds(const struct bud_inline_cache *c);
/** cache_seize() - claim it as a taker; then have all processors run a barrier, and look
 * whether it is busy. false: its owner, or another taker, is at it */
bool cache_seize(struct bud_inline_cache *c);
/** cache_is_busy() - after the barrier: its owner is in the midst of a hit: leave it alone */
bool cache_is_busy(const struct bud_inline_cache *c);
/** cache_top() - the next buffer that would go: seized, not busy
 * Return: false: there is none; else its order and frame */
bool cache_top(
    const struct bud_inline_cache *c, unsigned int *orderp, uint32_t *framep);
/** cache_drop() - remove it from the cache; the caller gives it to the map */
void cache_drop(struct bud_inline_cache *c, unsigned int order);

/* All buffers in all caches, one after another. Together they are never larger than the pool,
 * so whatever is said beyond that is made up, and not read. */
struct cached {
	const struct ledger *ledger;
	uint64_t frames;      /* what remains of the pool's */
	uint32_t caches;      /* to look at */
	uint32_t cache, left; /* where we are: `left` buffers of the stack */
	unsigned int order;
};

/** cached_begin() - @opened: chunks that the pool has */
void cached_begin(struct cached *w, const struct ledger *l, uint32_t opened);
/** cached_next() - false: there is no more; else a buffer's order and frame, unchecked */
bool cached_next(struct cached *w, unsigned int *orderp, uint32_t *framep);
/** cached_frames() - frames in all caches that lie within @r */
uint64_t cached_frames(const struct ledger *l, uint32_t opened, struct chunk_range r);

#endif
