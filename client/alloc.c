/* SPDX-License-Identifier: ISC */

/*
 * Allocating and freeing.
 *
 * The fast path is the thread's cache, in the lines of bud-inline.h. Beyond it: look at
 * `queued`, refill the cache from the map or take from the map, see whether the chunk is new
 * to us. No lock, no system call, no word to budd. Whoever finds nothing, or finds that
 * others queue, gives back what it keeps, and waits (wait.c).
 *
 * Everything that makes memory free looks at `queued` afterwards (bud__gave()). That is
 * bud_free(), and also a take of several buffers or chunks that lost one on its way and
 * put back the others.
 */
#include "client/alloc.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cache.h"
#include "client/link.h"
#include "client/memory.h"
#include "client/wait.h"

int
bud__check(struct bud_pool *pool, size_t size, unsigned int count, int timeout_ms,
    unsigned int flags, struct bud__want *want)
{
	if (atomic_load_explicit(&pool->forked, memory_order_relaxed))
		return -EINVAL;
	if (size == 0 || timeout_ms < -1 || count == 0 || count > BUD_COUNT_MAX)
		return -EINVAL;
	if (size > pool->max_buffer)
		return -EMSGSIZE;
	*want = (struct bud__want){
		.size_bytes = size,
		.order = ledger_order(size),
		.count = count,
		.timeout_ms = timeout_ms,
		.local = timeout_ms == 0 && ((pool->flags | flags) & BUD_LOCAL) != 0,
	};
	return 0;
}

/*
 * budd's flag; or, when it is away, ours. All requests in a pool's queue are this process's
 * own, and budd's flag stays up until it has heard of the DONE of the last one. Whoever asked
 * because of that would raise it again, for ever: so then we know better (`settling`).
 */
static bool
somebody_waits(const struct bud_pool *pool)
{
	if (atomic_load_explicit(&pool->away, memory_order_relaxed))
		return atomic_load(&pool->crowded);
	return ledger_queued(&pool->ledger) &&
	       (atomic_load(&pool->crowded) || !atomic_load(&pool->settling));
}

static bool
is_cached(const struct bud__want *want)
{
	return want->count == 1 && want->order < BUD_INLINE_ORDERS;
}

/* What a thread keeps of other sizes may be what it lacks. */
static bool
take(struct bud_pool *pool, const struct bud__want *want, uint32_t *frames,
    struct bud__news *news)
{
	if (is_cached(want) && bud__cache_take(pool, want->order, frames, news))
		return true;
	/* Chunks, or buffers, may be put back on the way to others. */
	news->gave = news->gave || want->order > CHUNK_ORDER || want->count > 1;
	if (bud__take_frames(pool, want->order, want->count, frames, &news->belled))
		return true;
	if (!bud__cache_yield(pool))
		return false;
	news->gave = true;
	return bud__take_frames(pool, want->order, want->count, frames, &news->belled);
}

bool
bud__take_now(struct bud_pool *pool, const struct bud__want *want, uint32_t *frames,
    bool *belledp)
{
	struct bud__news news = { false, false };
	bool taken = false;

	if (somebody_waits(pool))
		news.gave = bud__cache_yield(pool);
	else
		taken = take(pool, want, frames, &news);
	if (news.gave)
		bud__gave(pool);
	*belledp = news.belled;
	return taken;
}

void *
bud__deliver(struct bud_pool *pool, unsigned int order, uint32_t frame)
{
	struct chunk_range r = { .from = frame / CHUNK_FRAMES };

	r.to = r.from + ledger_order_chunks(order);
	for (uint32_t c = r.from; c < r.to; c++)
		if (bud__memory_is_new(pool, c)) {
			bud__memory_populate(pool, (struct chunk_range){ c, r.to });
			break;
		}
	return pool->memory + frame * FRAME_SIZE;
}

/* Takes now, or waits; and then the bell, since what is behind the mark need not be there
 * before what is in front of it is mapped: budd may want the processor that we are on. */
static int
get(struct bud_pool *pool, const struct bud__want *want, uint32_t *frames, void **bufs)
{
	bool belled, taken = bud__take_now(pool, want, frames, &belled);
	int r = taken ? 0 : bud__wait(pool, want, frames);

	for (unsigned int i = 0; r == 0 && i < want->count; i++)
		bufs[i] = bud__deliver(pool, want->order, frames[i]);
	if (belled)
		bud__ring(pool);
	return r;
}

/* Not inline: the fast path then needs no registers saved. */
static __attribute__((noinline)) void *
alloc_beyond(struct bud_pool *pool, size_t size, int timeout_ms)
{
	struct bud__want want;
	uint32_t frame;
	void *buf;
	int r;

	if ((r = bud__check(pool, size, 1, timeout_ms, 0, &want)) != 0 ||
	    (r = get(pool, &want, &frame, &buf)) != 0) {
		errno = -r;
		return NULL;
	}
	return buf;
}

void *
bud_alloc(struct bud_pool *pool, size_t size, int timeout_ms)
{
	void *buf = bud_inline_take(pool, size);

	return __builtin_expect(buf != NULL, 1) ? buf
						: alloc_beyond(pool, size, timeout_ms);
}

int
bud_allocv(
    struct bud_pool *pool, size_t size, void **bufs, unsigned int count, int timeout_ms)
{
	uint32_t frames[BUD_COUNT_MAX];
	struct bud__want want;
	int r;

	if (bufs == NULL)
		return -EINVAL;
	if ((r = bud__check(pool, size, count, timeout_ms, 0, &want)) != 0)
		return r;
	return get(pool, &want, frames, bufs);
}

/* --- Freeing --- */

/* Where @buf lies in the pool's memory, if it does. */
static bool
offset_of(const struct bud_pool *pool, const void *buf, uint64_t *offsetp)
{
	uintptr_t start = (uintptr_t)pool->memory, p = (uintptr_t)buf;

	if (p < start || p - start >= pool->memory_size)
		return false;
	*offsetp = p - start;
	return true;
}

void
bud__bad_free(struct bud_pool *pool, const void *buf, const char *reason)
{
	char line[160];
	int n;

	n = snprintf(line, sizeof(line), "libbud: bud_free(pool %p, buffer %p): %s\n",
	    (void *)pool, buf, reason);
	if (n > 0 && write(STDERR_FILENO, line, (size_t)n) == -1)
		abort();
	abort();
}

/* The second free of a buffer finds none there, as one of a stray pointer does; the map
 * tells them apart, as well as it can be told afterwards. */
static const char *
why_foreign(const struct bud_pool *pool, uint64_t offset)
{
	uint64_t frame = offset / FRAME_SIZE;
	uint64_t word =
	    atomic_load(&ledger_chunk(&pool->ledger, frame / CHUNK_FRAMES)->free);

	if ((word >> frame % CHUNK_FRAMES & 1) != 0)
		return "it is free already";
	return "no buffer of this pool starts there";
}

static void
give(struct bud_pool *pool, void *buf, uint64_t offset)
{
	switch (bud__give_frame(pool, (uint32_t)(offset / FRAME_SIZE))) {
	case LEDGER_E_FOREIGN:
		bud__bad_free(pool, buf, why_foreign(pool, offset));
	case LEDGER_E_TWICE:
		bud__bad_free(pool, buf, "it is free already");
	}
}

static __attribute__((noinline)) void
free_beyond(struct bud_pool *pool, void *buf)
{
	uint64_t offset;
	int order;

	if (atomic_load_explicit(&pool->forked, memory_order_relaxed))
		return;
	if (!offset_of(pool, buf, &offset))
		bud__bad_free(pool, buf, "it is not in this pool");
	if (offset % FRAME_SIZE != 0)
		bud__bad_free(pool, buf, "it points into the middle of a buffer");
	order = ledger_order_at(&pool->ledger, (uint32_t)(offset / FRAME_SIZE));
	if (somebody_waits(pool))
		bud__cache_yield(pool); /* and what is given now goes to the map */
	else if (order >= 0 && order < (int)BUD_INLINE_ORDERS &&
		 bud__cache_give(
		     pool, (uint32_t)(offset / FRAME_SIZE), (unsigned int)order))
		buf = NULL;
	if (buf != NULL)
		give(pool, buf, offset);
	bud__gave(pool);
}

void
bud_free(struct bud_pool *pool, void *buf)
{
	if (buf != NULL && !bud_inline_give(pool, buf))
		free_beyond(pool, buf);
}

/* --- Asking --- */

size_t
bud_usable_size(struct bud_pool *pool, const void *buf)
{
	uint64_t offset;
	int order;

	if (atomic_load_explicit(&pool->forked, memory_order_relaxed) ||
	    !offset_of(pool, buf, &offset) || offset % FRAME_SIZE != 0)
		return 0;
	order = ledger_order_at(&pool->ledger, (uint32_t)(offset / FRAME_SIZE));
	return order < 0 ? 0 : (size_t)(FRAME_SIZE << order);
}

int
bud_locate(struct bud_pool *pool, const void *buf, int *fdp, uint64_t *offsetp)
{
	uint64_t offset;

	if (atomic_load_explicit(&pool->forked, memory_order_relaxed) ||
	    !offset_of(pool, buf, &offset) ||
	    offset / CHUNK_SIZE >= bud__memory_open(pool))
		return -EINVAL;
	*fdp = pool->memory_fd;
	*offsetp = offset;
	return 0;
}

/* Frames in buffers; what lies in a cache is in none. A chunk that is wholly used starts with a buffer, or with the
 * inside of a large one; else it is closed, and its zeros mean that nobody may use it. */
static uint64_t
frames_used(const struct bud_pool *pool)
{
	const struct ledger *l = &pool->ledger;
	uint32_t open = bud__memory_open(pool);
	uint64_t frames = 0, cached;

	for (uint32_t c = 0; c < open; c++) {
		uint64_t free = ledger_count_free(l, (struct chunk_range){ c, c + 1 });
		uint8_t first = atomic_load_explicit(
		    &l->order[c * CHUNK_FRAMES], memory_order_relaxed);

		if (free > 0 || (first != LEDGER_NONE && first != LEDGER_CLOSED))
			frames += CHUNK_FRAMES - free;
	}
	cached = bud__cache_frames(pool);
	return frames > cached ? frames - cached : 0;
}

int
bud_stat(struct bud_pool *pool, struct bud_stat *stat)
{
	const struct ledger_header *h = pool->ledger.header;
	struct bud_stat s;

	if (atomic_load_explicit(&pool->forked, memory_order_relaxed))
		return -EINVAL;
	if (stat->size < offsetof(struct bud_stat, add))
		return -EINVAL;
	s = (struct bud_stat){
		.size = stat->size,
		.base = atomic_load_explicit(&h->base, memory_order_relaxed),
		.add = atomic_load_explicit(&h->add, memory_order_relaxed),
		.wall = atomic_load_explicit(&h->wall, memory_order_relaxed),
		.pinned = atomic_load_explicit(&h->pinned, memory_order_relaxed),
		.used = frames_used(pool) * FRAME_SIZE,
		.blocks = atomic_load_explicit(&h->blocks, memory_order_relaxed),
		.waiting = atomic_load_explicit(&h->waiting, memory_order_relaxed),
	};
	/* A caller of another version has more or fewer fields. */
	memcpy(stat, &s, stat->size < sizeof(s) ? stat->size : sizeof(s));
	return 0;
}
