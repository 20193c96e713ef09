/* SPDX-License-Identifier: ISC */

/*
 * The pool behind malloc().
 *
 * libbud allocates for itself: a thread that is inside it (`held`) gets nothing from the
 * pool, or it would wait for its own lock. The copy of libbud in this library is our own,
 * so that a program that links libbud as well cannot be inside ours without us.
 *
 * Nothing waits in the pool's queue: with a timeout of 0 the pool may grow, which takes a
 * round trip, or says no. After a no, requests of that size and above go elsewhere at
 * once, until a buffer as large as that came back, or some time has passed: a program at
 * its wall does not ask budd at each malloc().
 *
 * When budd has gone for good (a restart that kept no pools), the buffers that are out
 * stay what they are, without being locked; a new pool is opened as soon as there is
 * somebody to open it at. What comes back to the old one is punched out and not used
 * again.
 */
#include "preload/pinned.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "preload/arena.h"
#include "preload/snapshot.h"

#define RETRY_MS   1000u /* after budd could not be reached */
#define REFUSED_MS 100u  /* after budd had nothing for us */

#define NOTHING_REFUSED 0xffu

static struct settings settings;
static bool enabled;
static _Atomic(struct arena *) current; /* where buffers come from; NULL: nowhere yet */
static _Atomic bool opening;            /* a thread is at it; others do without */
static _Atomic uint64_t retry_ms;       /* not before that time again */
/* Milliseconds << 8 | order: until then, nothing of that order or above. */
static _Atomic uint64_t refused = NOTHING_REFUSED;
/* Buffers that came back while their thread was held, linked through their first word. */
static _Atomic(void *) kept;
static struct bud_pool *parents[ARENAS_MAX]; /* structs of libbud's to be given back */
static unsigned int parents_count;

static __thread unsigned int held __attribute__((tls_model("initial-exec")));

void
pinned_hold(void)
{
	held++;
}

void
pinned_resume(void)
{
	held--;
}

static uint64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* --- Opening --- */

/* Where the pool is mapped: the place of one of its buffers tells. */
static struct arena *
enter_arena(struct bud_pool *pool)
{
	struct arena *a = NULL;
	uint64_t offset;
	struct stat st;
	void *p;
	int fd;

	if ((p = bud_alloc(pool, 1, 0)) == NULL)
		return NULL;
	if (bud_locate(pool, p, &fd, &offset) == 0 && fstat(fd, &st) == 0)
		a = arena_add(pool, (uintptr_t)p - offset, (size_t)st.st_size);
	bud_free(pool, p);
	return a;
}

static struct arena *
open_pool(void)
{
	const struct bud_config config = { .size = sizeof(config),
		.pool = settings.pool,
		.base = settings.base,
		.add = settings.add,
		.wall = settings.wall };
	struct bud_pool *pool;
	struct arena *a;
	int r;

	while (parents_count > 0)
		bud_close(parents[--parents_count]);
	if (arena_at(ARENAS_MAX - 1) != NULL)
		return NULL;
	if ((r = bud_open(&pool, &config)) != 0) {
		if (settings.verbose)
			note("no pool: %s; libc serves instead", strerror(-r));
		return NULL;
	}
	if ((a = enter_arena(pool)) == NULL) {
		bud_close(pool);
		return NULL;
	}
	snapshot_pool_opened();
	if (settings.verbose)
		note("pool \"%s\" is open: %zu bytes of addresses from %p on",
		    settings.pool, a->size, (void *)a->start);
	return a;
}

/* A first pool, or one after @old, whose budd has gone. */
static struct arena *
open_another(struct arena *old)
{
	struct arena *a = NULL;

	if (now_ms() < atomic_load(&retry_ms) || atomic_exchange(&opening, true))
		return NULL;
	if (atomic_load(&current) == old && (a = open_pool()) != NULL) {
		if (old != NULL)
			atomic_store(&old->abandoned, true);
		atomic_store(&refused, NOTHING_REFUSED);
		atomic_store(&current, a);
	} else {
		atomic_store(&retry_ms, now_ms() + RETRY_MS);
	}
	atomic_store(&opening, false);
	return a;
}

/* --- Taking --- */

static bool
was_refused(unsigned int order)
{
	uint64_t r = atomic_load_explicit(&refused, memory_order_relaxed);

	return order >= (r & 0xff) && now_ms() < r >> 8;
}

static void
refuse(unsigned int order)
{
	atomic_store(&refused, (now_ms() + REFUSED_MS) << 8 | order);
}

static void *
take(struct arena *a, size_t size, unsigned int order)
{
	void *p = bud_alloc(a->pool, size, 0);

	if (p != NULL)
		arena_enter(a, p, order);
	return p;
}

static void *
take_or_open(size_t size, unsigned int order)
{
	struct arena *a = atomic_load_explicit(&current, memory_order_acquire);
	void *p;

	if (a == NULL && (a = open_another(NULL)) == NULL)
		return NULL;
	if ((p = take(a, size, order)) != NULL)
		return p;
	if (errno == ENOTCONN && (a = open_another(a)) != NULL &&
	    (p = take(a, size, order)) != NULL)
		return p;
	refuse(order);
	return NULL;
}

void *
pinned_alloc(size_t size)
{
	unsigned int order;
	int saved;
	void *p;

	if (held > 0 || !enabled || size > PTRDIFF_MAX)
		return NULL;
	order = arena_order_of(size);
	if (was_refused(order))
		return NULL;
	saved = errno;
	held++;
	p = take_or_open(size, order);
	held--;
	errno = saved;
	return p;
}

/* --- Giving back --- */

__attribute__((noreturn, cold)) static void
bad_pointer(const void *p)
{
	note("free() of %p: no large block starts there, or it is free already", p);
	abort();
}

/* What is inherited is given back to the system; the range stays ours. */
static void
give(struct arena *a, void *p, size_t bytes)
{
	if (a->pool == NULL)
		madvise(p, bytes, MADV_DONTNEED);
	else if (atomic_load_explicit(&a->abandoned, memory_order_relaxed))
		madvise(p, bytes, MADV_REMOVE);
	else
		bud_free(a->pool, p);
}

static void
keep(void *p)
{
	void *first = atomic_load(&kept);

	do {
		*(void **)p = first;
	} while (!atomic_compare_exchange_weak(&kept, &first, p));
}

static void
free_one(void *p)
{
	struct arena *a = arena_find(p);
	int order = arena_leave(a, p);

	if (order < 0)
		bad_pointer(p);
	give(a, p, ARENA_PAGE << order);
	if ((unsigned int)order >=
	    (atomic_load_explicit(&refused, memory_order_relaxed) & 0xff))
		atomic_store(&refused, NOTHING_REFUSED);
}

static void
free_kept(void)
{
	void *p = atomic_exchange(&kept, NULL), *next;

	for (; p != NULL; p = next) {
		next = *(void **)p;
		free_one(p);
	}
}

bool
pinned_free(void *p)
{
	int saved;

	if (arena_find(p) == NULL)
		return false;
	if (held > 0) {
		(void)pinned_bytes(p);
		keep(p);
		return true;
	}
	saved = errno;
	held++;
	free_one(p);
	if (atomic_load_explicit(&kept, memory_order_relaxed) != NULL)
		free_kept();
	held--;
	errno = saved;
	return true;
}

/* --- Asking --- */

bool
pinned_owns(const void *p)
{
	return arena_find(p) != NULL;
}

size_t
pinned_bytes(const void *p)
{
	size_t bytes = arena_bytes(arena_find(p), p);

	if (bytes == 0)
		bad_pointer(p);
	return bytes;
}

/* --- Beginning, and fork --- */

void
pinned_init(const struct settings *s)
{
	settings = *s;
	enabled = true;
}

/*
 * What another thread had begun in the parent does not go on here. libbud's structs of the
 * pools are closed later: its own handler of the fork, which makes that safe, runs after
 * ours.
 */
void
pinned_forked(void)
{
	struct arena *a;

	for (unsigned int i = 0; (a = arena_at(i)) != NULL; i++)
		if (a->pool != NULL && parents_count < ARENAS_MAX)
			parents[parents_count++] = a->pool;
	atomic_store(&current, NULL);
	atomic_store(&opening, false);
	atomic_store(&retry_ms, 0);
	atomic_store(&refused, NOTHING_REFUSED);
	atomic_store(&kept, NULL);
}
