/* SPDX-License-Identifier: ISC */

/*
 * bud_alloc() and bud_free() without a call, for programs that count nanoseconds.
 *
 *	#include <bud-inline.h>
 *
 *	buf = bud_alloc_inline(pool, 65536, 1000);
 *	...
 *	bud_free_inline(pool, buf);
 *
 * They do what bud_alloc() and bud_free() do, and may be mixed with them at will: libbud
 * itself is compiled from these very lines. What the thread's cache cannot serve goes on
 * to the library.
 *
 * Each thread keeps a few buffers of each size in a cache of its own, which lies in memory
 * that budd shares: budd counts them as free, and takes them out when somebody else needs
 * them. A hit writes to that cache alone. What makes that safe is told in proto/cache.c; in
 * short: the owner raises `busy`, looks at
 * `stop`, works, lowers `busy` and looks at `stop` again; whoever takes from another's
 * cache raises `stop`, has every processor run a barrier (membarrier(2)), and leaves the
 * cache alone if it is busy. So the owner pays two plain stores and two loads.
 *
 * The layout below is compiled into programs. It is tied to the name of the one symbol that
 * they import, bud_inline_1: a later libbud with another layout has another symbol, and
 * gives this one no cache, so that old programs fall back to the calls.
 *
 * Not for signal handlers, like malloc().
 */
#ifndef BUD_INLINE_H
#define BUD_INLINE_H

#include <stdint.h>

#include "bud.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BUD_INLINE_ORDERS 9u   /* 4 KiB to 1 MiB; larger buffers are never cached */
#define BUD_INLINE_SLOTS  126u /* buffers of one size, at the most */

/* Buffers of one size: the first `count` of `frame` are there, the last is the next. */
struct bud_inline_stack {
	uint32_t count;
	uint32_t capacity; /* at most BUD_INLINE_SLOTS; 0: this size is not cached */
	uint32_t frame[BUD_INLINE_SLOTS]; /* 4 KiB each, from the pool's start */
};

/* A thread's cache, in the ledger. */
struct bud_inline_cache {
	uint32_t busy; /* the owner alone writes it: 1 while it is at work */
	uint32_t
	    stop; /* bits of proto/cache.h; not 0: the library has something to do */
	uint32_t entries; /* odd while the owner is in the free map, and counts */
	uint32_t reserved[13];
	struct bud_inline_stack stack[BUD_INLINE_ORDERS];
};

/* What a thread knows of the pool that it used last. */
struct bud_inline_thread {
	uint64_t pool; /* which one; ids are never used again. 0: none */
	struct bud_inline_cache *cache;
	char *memory;
	uint64_t frames;      /* of the whole memory */
	const uint8_t *order; /* of each frame: what starts there, and since when */
	uint32_t mark; /* what order[] says of a buffer of 4 KiB that was taken in this
			  tick; mark + k of one of 2^k times that */
};

extern __thread struct bud_inline_thread bud_inline_1
    __attribute__((tls_model("initial-exec")));

/* The library's part, when the thread's `stop` was raised meanwhile. The first returns the
 * buffer. */
void *bud_inline_taken(struct bud_pool *pool, uint32_t frame)
    __attribute__((returns_nonnull));
void bud_inline_stopped(struct bud_pool *pool);

/* The compiler would rather share these lines between callers than put them in. */
#define BUD_INLINE static inline __attribute__((always_inline))

/* A pool starts with its id. */
#define BUD_INLINE_MINE(t, pool)                                                      \
	__builtin_expect(                                                             \
	    (t)->pool == __atomic_load_n((const uint64_t *)(pool), __ATOMIC_RELAXED), \
	    1)

/* The owner's two ends: may he, and does somebody want him to stop. Between the store and the
 * load that follow each other no barrier is needed here: the taker has one run on this
 * processor. The compiler must keep them in order. */
#define BUD_INLINE_ENTER(c)                                 \
	(__atomic_store_n(&(c)->busy, 1, __ATOMIC_RELAXED), \
	    __atomic_signal_fence(__ATOMIC_SEQ_CST),        \
	    __builtin_expect(__atomic_load_n(&(c)->stop, __ATOMIC_ACQUIRE) == 0, 1))
#define BUD_INLINE_LEAVE(c)                                 \
	(__atomic_store_n(&(c)->busy, 0, __ATOMIC_RELEASE), \
	    __atomic_signal_fence(__ATOMIC_SEQ_CST),        \
	    __atomic_load_n(&(c)->stop, __ATOMIC_RELAXED))

/* A buffer out of the thread's cache; NULL: the library has to look further. */
BUD_INLINE void *
bud_inline_take(struct bud_pool *pool, size_t size)
{
	struct bud_inline_thread *t = &bud_inline_1;
	/* 4 KiB << order holds it; a size of 0 gives an order that is never cached. */
	unsigned int order = 63u ^ (unsigned int)__builtin_clzll(
				       ((unsigned long long)size - 1) >> 11 | 1);
	struct bud_inline_cache *c = t->cache;
	struct bud_inline_stack *s;
	uint32_t frame, n;
	void *buf;

	if (!BUD_INLINE_MINE(t, pool) || order >= BUD_INLINE_ORDERS)
		return NULL;
	s = &c->stack[order];
	if (!BUD_INLINE_ENTER(c) ||
	    (n = __atomic_load_n(&s->count, __ATOMIC_RELAXED)) == 0) {
		__atomic_store_n(&c->busy, 0, __ATOMIC_RELEASE);
		return NULL; /* the library looks at `stop` again */
	}
	frame = __atomic_load_n(&s->frame[n - 1], __ATOMIC_RELAXED);
	__atomic_store_n(&s->count, n - 1, __ATOMIC_RELAXED);
	if (__builtin_expect(BUD_INLINE_LEAVE(c) != 0, 0))
		return bud_inline_taken(pool, frame);
	buf = t->memory + ((uint64_t)frame << 12);
	if (buf == NULL)
		__builtin_unreachable();
	return buf;
}

/* Into the thread's cache; 0: the library has to. A cache keeps what was taken in this tick alone,
 * whose chunks have its stamp, so that taking it again has nothing to write down. */
BUD_INLINE int
bud_inline_give(struct bud_pool *pool, void *buf)
{
	struct bud_inline_thread *t = &bud_inline_1;
	struct bud_inline_cache *c = t->cache;
	struct bud_inline_stack *s;
	uint64_t offset, frame;
	unsigned int order;
	uint32_t n;

	if (!BUD_INLINE_MINE(t, pool))
		return 0;
	/* A pointer that is outside, or into the middle of a frame, becomes a large one. */
	offset = (uint64_t)((char *)buf - t->memory);
	frame = offset >> 12 | offset << 52;
	if (__builtin_expect(frame >= t->frames, 0))
		return 0;
	order = __atomic_load_n(&t->order[frame], __ATOMIC_RELAXED) - t->mark;
	if (__builtin_expect(order >= BUD_INLINE_ORDERS, 0))
		return 0;
	s = &c->stack[order];
	if (!BUD_INLINE_ENTER(c) ||
	    (n = __atomic_load_n(&s->count, __ATOMIC_RELAXED)) >= s->capacity) {
		__atomic_store_n(&c->busy, 0, __ATOMIC_RELEASE);
		return 0;
	}
	__atomic_store_n(&s->frame[n], (uint32_t)frame, __ATOMIC_RELAXED);
	__atomic_store_n(&s->count, n + 1, __ATOMIC_RELAXED);
	if (__builtin_expect(BUD_INLINE_LEAVE(c) != 0, 0))
		bud_inline_stopped(pool);
	return 1;
}

/** bud_alloc_inline() - as bud_alloc() */
BUD_INLINE void *
bud_alloc_inline(struct bud_pool *pool, size_t size, int timeout_ms)
{
	void *buf = bud_inline_take(pool, size);

	return __builtin_expect(buf != NULL, 1) ? buf
						: bud_alloc(pool, size, timeout_ms);
}

/** bud_free_inline() - as bud_free() */
BUD_INLINE void
bud_free_inline(struct bud_pool *pool, void *buf)
{
	if (__builtin_expect(buf == NULL, 0))
		return;
	if (__builtin_expect(!bud_inline_give(pool, buf), 0))
		bud_free(pool, buf);
}

#ifdef __cplusplus
}
#endif

#endif
