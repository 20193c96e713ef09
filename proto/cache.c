/* SPDX-License-Identifier: ISC */

/*
 * Thread caches.
 *
 * A buffer in a cache is taken, as far as the free map goes: its bits are 0, and order[]
 * tells its size. The owner of the cache moves it in and out with plain stores. That a
 * waiter can have it all the same, and that nobody has it twice, hangs on one word, `stop`,
 * which is 0 while all is well, and on `busy`, which the owner raises for the time of a hit.
 *
 *	the owner, a hit		the owner, beyond a hit		a taker
 *	busy = 1			stop |= OWNER, unless TAKER	stop |= TAKER, unless OWNER
 *	stop == 0, or lower busy	refill, flush			membarrier()
 *	   and go beyond					busy == 0, or leave it alone
 *	pop or push			stop &= ~OWNER			move buffers to the map
 *	busy = 0			look at stop			stop &= ~TAKER
 *	look at stop
 *
 * Invariants:
 *   C1  at any time one party at the most works on the stacks: a hit, the owner beyond a
 *       hit, or one taker;
 *   C2  once a waiter has been announced (header.queued, then CACHE_QUEUED in every cache),
 *       what is in a cache that its owner does not touch is taken, and an owner that touches
 *       it looks at `stop` afterwards, empties it and rings.
 *
 * C1, owner beyond a hit against taker: both bits are set by compare-and-swap of one word,
 * each only while the other is not there.
 * C1, hit against taker: the hit stores busy and then loads stop; the taker stores TAKER, has
 * every processor that runs a thread of the client execute a full barrier, and then loads
 * busy. If the hit's load of stop comes before its processor's barrier, the store of busy was
 * executed before it, and the taker sees it; if after, the hit sees TAKER and does nothing.
 * A processor that does not run such a thread has passed a barrier when it stopped running it.
 * busy = 0 is a release, which pairs with the taker's acquire: it sees all of the last hit.
 * stop &= ~TAKER is a release, which pairs with the acquire of the next hit's load of stop.
 * C1, hit against owner beyond a hit: the same thread. A signal handler that allocates
 * would break that; so they must not, as with malloc().
 * C2: budd stores CACHE_QUEUED before the barrier, and only after it looks what is in a cache:
 * a push may have been in a store buffer until then. It does so once for each time that it
 * raises `queued`: from then on nothing is pushed. A hit whose second load of stop comes
 * before its processor's barrier had lowered busy before: the taker sees a cache that is not
 * busy, and all that is in it. Any other hit sees CACHE_QUEUED, and its owner empties the
 * cache itself. The owner beyond a hit clears OWNER by a read-modify-write that returns the
 * bits, so it sees CACHE_QUEUED if the taker was kept out by OWNER.
 * A cache that is made in this very moment: the owner raises header.caches_used and then
 * looks at `queued`; budd sets `queued` and then looks at caches_used; all four sequentially
 * consistent.
 *
 * Without the barrier, without either look at stop, without the claim of the taker, one of
 * them breaks: tests/models/ has each as a switch, with a store buffer. On processors that
 * reorder more than x86 does (arm64) the argument is the same, as membarrier() is defined by
 * what a full barrier at some point of each running thread does, and all else is acquire and
 * release; it has not been tested there.
 *
 * What budd takes it gives to the map one by one, with a note in its record (caches.c of the
 * daemon), so that its death in the midst of it loses nothing.
 */
#include "proto/cache.h"

#include <assert.h>

#define WALL_SHARES 32u /* one size in one cache: at the most this part of the wall */
#define WALL_TIMES  16u /* ... and no buffer that is larger than this part */

static_assert(
    sizeof(struct bud_inline_cache) == LEDGER_CACHE_SIZE, "layout of the ledger");
static_assert(BUD_INLINE_ORDERS == CHUNK_ORDER + 3, "4 KiB to 1 MiB");
static_assert(sizeof(_Atomic uint8_t) == 1 && sizeof(_Atomic uint32_t) == 4,
    "bud-inline.h reads order and stamp as plain numbers");

/* --- The owner's side --- */

void
cache_setup(struct bud_inline_cache *c, uint64_t wall)
{
	for (unsigned int k = 0; k < BUD_INLINE_ORDERS; k++) {
		uint64_t size = FRAME_SIZE << k, n = wall / WALL_SHARES / size;

		if (n == 0 && size <= wall / WALL_TIMES)
			n = 1;
		c->stack[k].capacity =
		    n < BUD_INLINE_SLOTS ? (uint32_t)n : BUD_INLINE_SLOTS;
	}
}

uint32_t
cache_claim(struct bud_inline_cache *c)
{
	uint32_t was = __atomic_load_n(&c->stop, __ATOMIC_RELAXED);

	/* Odd before it is claimed, even again after the last word in order[]: whoever finds
	 * it even, and the same later, knows that nobody was inside. See ledger_is_quiet(). */
	__atomic_store_n(&c->entries, c->entries + 1, __ATOMIC_RELAXED);
	while ((was & CACHE_TAKER) == 0)
		if (__atomic_compare_exchange_n(&c->stop, &was, was | CACHE_OWNER, true,
			__ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			return was;
	__atomic_store_n(&c->entries, c->entries + 1, __ATOMIC_RELEASE);
	return was;
}

void
cache_clear_tick(struct bud_inline_cache *c)
{
	__atomic_fetch_and(&c->stop, ~CACHE_TICK, __ATOMIC_RELAXED);
}

uint32_t
cache_leave(struct bud_inline_cache *c)
{
	__atomic_store_n(&c->entries, c->entries + 1, __ATOMIC_RELEASE);
	return __atomic_and_fetch(&c->stop, ~CACHE_OWNER, __ATOMIC_SEQ_CST);
}

/* budd counts what is in a cache at any time, so each word changes as one. */
static void
put(struct bud_inline_stack *s, uint32_t at, uint32_t frame)
{
	__atomic_store_n(&s->frame[at], frame, __ATOMIC_RELAXED);
}

uint32_t
cache_refill(struct ledger *l, struct bud_inline_cache *c, unsigned int order,
    uint32_t want, uint32_t *fromp)
{
	struct bud_inline_stack *s = &c->stack[order];
	uint32_t half = (s->capacity + 1) / 2, frames[BUD_INLINE_SLOTS], n;

	if (s->count > 0)
		return 0;
	n = ledger_take_many(l, order, want < half ? want : half, fromp, frames);
	for (uint32_t i = 0; i < n; i++)
		put(s, n - 1 - i, frames[i]);
	__atomic_store_n(&s->count, n, __ATOMIC_RELAXED);
	return n;
}

int
cache_flush(struct ledger *l, struct bud_inline_cache *c, unsigned int order,
    uint32_t keep, uint32_t *badp)
{
	struct bud_inline_stack *s = &c->stack[order];
	uint32_t n = s->count > keep ? s->count - keep : 0, given = 0;
	int r;

	r = ledger_give_many(l, s->frame, n, &given);
	if (r != 0)
		*badp = s->frame[given];
	for (uint32_t i = n; i < s->count; i++)
		put(s, i - n, s->frame[i]);
	__atomic_store_n(&s->count, s->count - n, __ATOMIC_RELAXED);
	return r;
}

int
cache_empty(struct ledger *l, struct bud_inline_cache *c, uint32_t *badp)
{
	int r = 0, error;

	for (unsigned int k = 0; k < BUD_INLINE_ORDERS; k++)
		if ((error = cache_flush(l, c, k, 0, badp)) != 0)
			r = error;
	return r;
}

/* --- Taking from others' --- */

uint32_t
ledger_caches(const struct ledger *l)
{
	uint32_t used = atomic_load(&l->header->caches_used);

	return used < l->caches ? used : l->caches;
}

static uint32_t
count_of(const struct bud_inline_cache *c, unsigned int order)
{
	uint32_t n = __atomic_load_n(&c->stack[order].count, __ATOMIC_RELAXED);

	return n < BUD_INLINE_SLOTS ? n : BUD_INLINE_SLOTS;
}

bool
cache_raise(struct bud_inline_cache *c, uint32_t bit)
{
	if ((__atomic_load_n(&c->stop, __ATOMIC_SEQ_CST) & bit) != 0)
		return true;
	return (__atomic_fetch_or(&c->stop, bit, __ATOMIC_SEQ_CST) & bit) != 0;
}

void
cache_lower(struct bud_inline_cache *c, uint32_t bit)
{
	if ((__atomic_load_n(&c->stop, __ATOMIC_RELAXED) & bit) != 0)
		__atomic_fetch_and(&c->stop, ~bit, __ATOMIC_SEQ_CST);
}

bool
cache_holds(const struct bud_inline_cache *c)
{
	for (unsigned int k = 0; k < BUD_INLINE_ORDERS; k++)
		if (count_of(c, k) > 0)
			return true;
	return false;
}

bool
cache_seize(struct bud_inline_cache *c)
{
	uint32_t was = __atomic_load_n(&c->stop, __ATOMIC_RELAXED);

	while ((was & (CACHE_OWNER | CACHE_TAKER)) == 0)
		if (__atomic_compare_exchange_n(&c->stop, &was, was | CACHE_TAKER, true,
			__ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			return true;
	return false;
}

bool
cache_is_busy(const struct bud_inline_cache *c)
{
	return __atomic_load_n(&c->busy, __ATOMIC_ACQUIRE) != 0;
}

bool
cache_top(const struct bud_inline_cache *c, unsigned int *orderp, uint32_t *framep)
{
	for (unsigned int k = 0; k < BUD_INLINE_ORDERS; k++) {
		uint32_t n = count_of(c, k);

		if (n == 0)
			continue;
		*orderp = k;
		*framep = __atomic_load_n(&c->stack[k].frame[n - 1], __ATOMIC_RELAXED);
		return true;
	}
	return false;
}

void
cache_drop(struct bud_inline_cache *c, unsigned int order)
{
	uint32_t n = count_of(c, order);

	if (n > 0)
		__atomic_store_n(&c->stack[order].count, n - 1, __ATOMIC_RELAXED);
}

/* --- All that is cached --- */

void
cached_begin(struct cached *w, const struct ledger *l, uint32_t opened)
{
	*w = (struct cached){ .ledger = l,
		.frames = (uint64_t)opened * CHUNK_FRAMES,
		.caches = ledger_caches(l) };
	if (w->caches > 0)
		w->left = count_of(ledger_cache(l, 0), 0);
}

static bool
next_stack(struct cached *w)
{
	if (++w->order == BUD_INLINE_ORDERS) {
		w->order = 0;
		w->cache++;
	}
	if (w->cache >= w->caches)
		return false;
	w->left = count_of(ledger_cache(w->ledger, w->cache), w->order);
	return true;
}

bool
cached_next(struct cached *w, unsigned int *orderp, uint32_t *framep)
{
	const struct bud_inline_stack *s;

	while (w->left == 0)
		if (!next_stack(w))
			return false;
	if (w->frames < (uint64_t)1 << w->order)
		return false;
	w->frames -= (uint64_t)1 << w->order;
	s = &ledger_cache(w->ledger, w->cache)->stack[w->order];
	*orderp = w->order;
	*framep = __atomic_load_n(&s->frame[--w->left], __ATOMIC_RELAXED);
	return true;
}

/* Frames of [frame, frame + 2^order) within the range. */
static uint64_t
overlap(struct chunk_range r, uint64_t frame, unsigned int order)
{
	uint64_t from = (uint64_t)r.from * CHUNK_FRAMES,
		 to = (uint64_t)r.to * CHUNK_FRAMES,
		 end = frame + ((uint64_t)1 << order);

	from = frame > from ? frame : from;
	to = end < to ? end : to;
	return from < to ? to - from : 0;
}

uint64_t
cached_frames(const struct ledger *l, uint32_t opened, struct chunk_range r)
{
	struct cached w;
	uint64_t frames = 0;
	unsigned int order;
	uint32_t frame;

	cached_begin(&w, l, opened);
	while (cached_next(&w, &order, &frame))
		frames += overlap(r, frame, order);
	return frames;
}
