/* SPDX-License-Identifier: ISC */

/*
 * Thread caches as budd sees them.
 *
 * budd empties them when somebody waits, when a block could go but for them, and when their
 * thread has not touched them for a tick. Each costs a barrier on all processors that run
 * a thread of any client, so it is one for all caches of a pool, and only where something
 * seems to be in one; but after `queued` was raised the first look comes after a barrier,
 * because what a thread has just put there may not be seen without. What a client makes up
 * costs budd CALLS_MAX barriers a tick, and a look at no more buffers than its pool has room
 * for, however many its caches claim.
 *
 * A buffer goes from cache to map in steps, each a store, with a note in the record:
 *
 *	the note; marked in order[]; dropped from the cache; given; the note is struck out
 *
 * The cache stays seized when budd dies in the midst of it, so its owner does without, and
 * the next arbiter sees from the mark how far that one was.
 */
#include "daemon/caches.h"

#include "daemon/core.h"
#include "proto/cache.h"

#define CALLS_MAX   64u /* barren calls of a pool in a tick */
#define TAKEN_MAX   (BUD_INLINE_ORDERS * BUD_INLINE_SLOTS) /* of one cache at a time */
#define QUIET_TRIES 64u

/* --- The note --- */

#define NOTE_VALID ((uint64_t)1 << 63)

static uint64_t
note_of(uint32_t cache, unsigned int order, uint32_t frame)
{
	return NOTE_VALID | (uint64_t)cache << 40 | (uint64_t)order << 32 | frame;
}

static void
write_note(struct pool *p, uint64_t note)
{
	atomic_store(&p->record->taking, note);
}

/* --- Taking --- */

static bool
lies_in_pool(const struct pool *p, uint32_t frame, unsigned int order)
{
	return frame % (1u << (order < CHUNK_ORDER ? order : CHUNK_ORDER)) == 0 &&
	       (uint64_t)frame + ((uint64_t)1 << order) <=
		   (uint64_t)pool_opened(p) * CHUNK_FRAMES;
}

static bool
take_one(struct pool *p, uint32_t cache, unsigned int order, uint32_t frame)
{
	struct bud_inline_cache *c = ledger_cache(&p->ledger, cache);
	bool given = false;

	write_note(p, note_of(cache, order, frame));
	if (lies_in_pool(p, frame, order))
		given = ledger_give_begin(&p->ledger, frame, order);
	cache_drop(c, order);
	if (given)
		ledger_give_end(&p->ledger, frame, order);
	write_note(p, 0);
	return given;
}

/* @framesp: that the pool has and were not met in another cache: beyond that it is made up. */
static uint32_t
take_all(struct pool *p, uint32_t cache, uint64_t *framesp)
{
	uint32_t given = 0, frame;
	unsigned int order;

	for (uint32_t i = 0; i < TAKEN_MAX &&
			     cache_top(ledger_cache(&p->ledger, cache), &order, &frame);
	     i++) {
		if (*framesp < (uint64_t)1 << order)
			break;
		*framesp -= (uint64_t)1 << order;
		given += take_one(p, cache, order, frame);
	}
	return given;
}

struct seized {
	bool is[LEDGER_CACHES];
	uint32_t count;
};

/* One barrier, and then what is not busy. */
static uint32_t
take_seized(struct core *c, struct pool *p, const struct seized *s)
{
	uint64_t frames = (uint64_t)pool_opened(p) * CHUNK_FRAMES;
	uint32_t given = 0;
	bool fenced;

	if (s->count == 0)
		return 0;
	fenced = c->ops->barrier(c->ctx);
	for (uint32_t i = 0; i < LEDGER_CACHES; i++) {
		if (!s->is[i])
			continue;
		if (fenced && !cache_is_busy(ledger_cache(&p->ledger, i)))
			given += take_all(p, i, &frames);
		cache_lower(ledger_cache(&p->ledger, i), CACHE_TAKER);
	}
	return given;
}

static bool
anything_held(const struct pool *p)
{
	uint32_t n = ledger_caches(&p->ledger);

	for (uint32_t i = 0; i < n; i++)
		if (cache_holds(ledger_cache(&p->ledger, i)))
			return true;
	return false;
}

uint32_t
caches_call_in(struct core *c, struct pool *p)
{
	uint32_t n = ledger_caches(&p->ledger), given;
	struct seized s = { 0 };

	if (p->phase == POOL_UNSETTLED || p->calls >= CALLS_MAX ||
	    (!p->call_in && !anything_held(p)))
		return 0;
	for (uint32_t i = 0; i < n; i++)
		s.count += s.is[i] = cache_seize(ledger_cache(&p->ledger, i));
	p->call_in = false;
	given = take_seized(c, p, &s);
	p->calls += given == 0;
	return given;
}

void
caches_tick(struct core *c, struct pool *p)
{
	uint32_t n = ledger_caches(&p->ledger);
	struct seized s = { 0 };

	p->calls = 0;
	if (p->phase == POOL_UNSETTLED)
		return;
	for (uint32_t i = 0; i < n; i++) {
		struct bud_inline_cache *cache = ledger_cache(&p->ledger, i);

		if (cache_raise(cache, CACHE_TICK) && cache_holds(cache))
			s.count += s.is[i] = cache_seize(cache);
	}
	take_seized(c, p, &s);
}

/* --- After a death --- */

/* Whether the note could be settled. */
static bool
settle_note(struct pool *p, uint64_t note)
{
	uint32_t cache = (note & ~NOTE_VALID) >> 40, frame = (uint32_t)note, missing, f;
	unsigned int order = note >> 32 & 0xff, o;

	if (cache >= p->ledger.caches || order >= BUD_INLINE_ORDERS ||
	    !lies_in_pool(p, frame, order))
		return true; /* it was never in the map's reach */
	if (cache_top(ledger_cache(&p->ledger, cache), &o, &f) && o == order &&
	    f == frame) {
		ledger_give_cancel(&p->ledger, frame, order); /* it was not dropped */
		return true;
	}
	for (uint32_t i = 0; i < QUIET_TRIES; i++) {
		uint32_t before, after;

		if (!ledger_is_quiet(&p->ledger, &before))
			continue;
		missing = ledger_give_missing(&p->ledger, frame, order);
		if (!ledger_is_quiet(&p->ledger, &after) || before != after)
			continue;
		ledger_give_rest(&p->ledger, frame, order, missing);
		return true;
	}
	return false;
}

bool
caches_settle(struct pool *p)
{
	uint64_t note = atomic_load(&p->record->taking);
	uint32_t n = ledger_caches(&p->ledger);

	if (note != 0 && !settle_note(p, note))
		return false;
	write_note(p, 0);
	for (uint32_t i = 0; i < n; i++)
		cache_lower(ledger_cache(&p->ledger, i), CACHE_TAKER);
	return true;
}

/* --- Figures --- */

static uint64_t
frames_within(const struct pool *p, struct chunk_range r)
{
	return cached_frames(&p->ledger, pool_opened(p), r);
}

uint64_t
caches_frames(const struct pool *p)
{
	return frames_within(p, (struct chunk_range){ 0, pool_opened(p) });
}

bool
caches_fill_last_block(const struct pool *p)
{
	struct chunk_range last = pool_block(p, pool_blocks(p) - 1);
	uint64_t frames = (uint64_t)(last.to - last.from) * CHUNK_FRAMES,
		 used = frames - ledger_count_free(&p->ledger, last);

	return used > 0 && frames_within(p, last) >= used;
}
