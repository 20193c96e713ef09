/* SPDX-License-Identifier: ISC */

/*
 * The mappings of a pool: its memory, and its ledger.
 *
 * Both are mapped whole, once, though most of them is empty: budd pins more of the
 * memfd as the pool grows, and an address never changes. The memory starts at a
 * multiple of 2 MiB, or large pages in budd would be small ones here.
 *
 * A page that budd pinned is resident, but not in our page tables. Faulting each in
 * costs a hundred times what one madvise() over all of them does, so whoever takes a
 * buffer compares the generation of its chunks with the one that it populated last.
 * What is missed costs faults, never correctness.
 *
 * A child of fork() gets neither: two processes would hand out the same frames.
 */
#include "client/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define LARGE_PAGE ((size_t)2 << 20)
#define BATCH      256u /* chunks, 64 MiB: a call costs as much as dozens of large pages */
#define STEP       4u /* chunks, 1 MiB */

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#endif

static int
keep_private(void *p, size_t size)
{
	if (madvise(p, size, MADV_DONTFORK) == -1 ||
	    madvise(p, size, MADV_DONTDUMP) == -1)
		return -errno;
	return 0;
}

/* Address space of @size bytes, aligned to @align; the pages are not there. */
static char *
reserve(size_t size, size_t align)
{
	size_t head;
	char *p;

	p = mmap(NULL, size + align, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	head = (align - (uintptr_t)p % align) % align;
	if (head > 0)
		munmap(p, head);
	munmap(p + head + size, align - head);
	return p + head;
}

static int
map_memory(struct bud_pool *pool, int fd)
{
	if ((pool->memory = reserve(pool->memory_size, LARGE_PAGE)) == NULL)
		return -ENOMEM;
	if (mmap(pool->memory, pool->memory_size, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0) == MAP_FAILED)
		return -errno;
	return keep_private(pool->memory, pool->memory_size);
}

static int
map_ledger(struct bud_pool *pool, int fd)
{
	uint32_t chunks = (uint32_t)(pool->memory_size / CHUNK_SIZE);
	void *p;

	p = mmap(NULL, ledger_size(chunks), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	ledger_attach(&pool->ledger, p, chunks, 0); /* see bud__caches_create() */
	return keep_private(p, ledger_size(chunks));
}

static uint32_t
seen_leaves(const struct bud_pool *pool)
{
	return (pool->ledger.chunks + BUD__SEEN_CHUNKS - 1) / BUD__SEEN_CHUNKS;
}

static void
free_seen(struct bud_pool *pool)
{
	for (uint32_t i = 0; pool->seen != NULL && i < seen_leaves(pool); i++)
		free((void *)(uintptr_t)atomic_load(&pool->seen[i]));
	free((void *)(uintptr_t)pool->seen); /* casts _Atomic away */
	pool->seen = NULL;
}

/* The leaf of a chunk; NULL: out of memory. */
static _Atomic uint32_t *
seen_leaf(struct bud_pool *pool, uint32_t chunk)
{
	bud__seen *at = &pool->seen[chunk / BUD__SEEN_CHUNKS];
	_Atomic uint32_t *leaf = atomic_load(at), *made;

	if (leaf != NULL || (made = calloc(BUD__SEEN_CHUNKS, sizeof(*made))) == NULL)
		return leaf;
	if (atomic_compare_exchange_strong(at, &leaf, made))
		return made;
	free((void *)(uintptr_t)made); /* another thread was faster */
	return leaf;
}

/* Out of memory, it is populated again the next time. */
static void
note_seen(struct bud_pool *pool, uint32_t chunk, uint32_t generation)
{
	_Atomic uint32_t *leaf = seen_leaf(pool, chunk);

	if (leaf != NULL)
		atomic_store_explicit(
		    &leaf[chunk % BUD__SEEN_CHUNKS], generation, memory_order_relaxed);
}

int
bud__memory_map(struct bud_pool *pool, int memory_fd, int ledger_fd)
{
	int r;

	if ((r = map_memory(pool, memory_fd)) != 0 ||
	    (r = map_ledger(pool, ledger_fd)) != 0)
		return r;
	pool->seen = calloc(seen_leaves(pool), sizeof(*pool->seen));
	return pool->seen != NULL ? 0 : -ENOMEM;
}

void
bud__memory_unmap(struct bud_pool *pool)
{
	if (pool->memory != NULL)
		munmap(pool->memory, pool->memory_size);
	if (pool->ledger.base != NULL)
		munmap(pool->ledger.base, ledger_size(pool->ledger.chunks));
	free_seen(pool);
	pool->memory = NULL;
	pool->ledger.base = NULL;
}

/* Reads a byte of each page. Others may be writing to them: the value is of no use to
 * anybody. */
__attribute__((no_sanitize("thread"))) static void
touch(const volatile char *p, size_t size)
{
	for (size_t i = 0; i < size; i += FRAME_SIZE)
		(void)p[i];
}

static void
populate(char *p, size_t size)
{
	/* EINVAL: an older kernel. Other errors would kill us when touching. */
	if (madvise(p, size, MADV_POPULATE_READ) == -1 && errno == EINVAL)
		touch(p, size);
}

static void
populate_span(struct bud_pool *pool, struct ledger_span s)
{
	if (s.from < s.to)
		populate((char *)pool->ledger.base + s.from, s.to - s.from);
}

/* The pages of the ledger that tell of the chunks in @r, and of the next STEP, before they are
 * written to. The page of the first is there if it tells of a chunk that was populated
 * before. */
static void
populate_ledger(struct bud_pool *pool, struct chunk_range r)
{
	uint32_t open = bud__memory_open(pool), chunks = pool->ledger.chunks;
	size_t shared = 0;
	struct ledger_span s;

	if (r.to < open)
		r.to = open - r.to < STEP ? open : r.to + STEP;
	if (r.from == 0) {
		populate_span(pool, ledger_span(chunks, r.to));
		return;
	}
	if (bud__memory_is_new(pool, r.from - 1))
		shared = FRAME_SIZE;
	s = ledger_below(chunks, r.from, r.to);
	s.to += shared;
	populate_span(pool, s);
	s = ledger_above(chunks, r.from, r.to);
	s.from -= shared;
	populate_span(pool, s);
}

/*
 * Populates up to BATCH new chunks from @first on; returns where it stopped. The
 * generation is read before and stored after: if budd releases and opens a chunk again
 * meanwhile, it stays new.
 */
static uint32_t
populate_batch(struct bud_pool *pool, uint32_t first, uint32_t end)
{
	struct chunk_range r = { first, first };
	uint32_t generation[BATCH];

	while (r.to < end && r.to - first < BATCH && bud__memory_is_new(pool, r.to)) {
		generation[r.to - first] =
		    atomic_load_explicit(&ledger_chunk(&pool->ledger, r.to)->generation,
			memory_order_relaxed);
		r.to++;
	}
	if (r.to == first)
		return first;
	populate(pool->memory + r.from * CHUNK_SIZE, (r.to - r.from) * CHUNK_SIZE);
	populate_ledger(pool, r);
	for (uint32_t c = r.from; c < r.to; c++)
		note_seen(pool, c, generation[c - first]);
	return r.to;
}

/*
 * What lies behind the range is populated as well, up to the next multiple of STEP, for a
 * call costs as much as some pages; but no more, for it is one buffer that waits for it.
 */
void
bud__memory_populate(struct bud_pool *pool, struct chunk_range r)
{
	uint32_t open = bud__memory_open(pool), end = (r.to + STEP - 1) / STEP * STEP;
	uint32_t c = r.from;

	end = end < open ? end : open;
	end = end > r.to ? end : r.to;
	while (c < r.to || (c < end && bud__memory_is_new(pool, c)))
		c = bud__memory_is_new(pool, c) ? populate_batch(pool, c, end) : c + 1;
}
