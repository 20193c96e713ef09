/* SPDX-License-Identifier: ISC */

#include "preload/arena.h"

#include <sys/mman.h>

static struct arena arenas[ARENAS_MAX];
static _Atomic unsigned int count; /* released by arena_add() for arena_find() */

struct arena *
arena_add(struct bud_pool *pool, uintptr_t start, size_t size)
{
	unsigned int n = atomic_load(&count);
	struct arena *a = &arenas[n];
	void *order;

	if (n == ARENAS_MAX)
		return NULL;
	/* A byte a page; what is never used of it is never there. */
	order = mmap(NULL, size / ARENA_PAGE, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (order == MAP_FAILED)
		return NULL;
	*a = (struct arena){ .start = start,
		.size = size,
		.pool = pool,
		.order = order,
		.order_size = size / ARENA_PAGE };
	atomic_store_explicit(&count, n + 1, memory_order_release);
	return a;
}

struct arena *
arena_at(unsigned int i)
{
	return i < atomic_load_explicit(&count, memory_order_acquire) ? &arenas[i]
								      : NULL;
}

struct arena *
arena_find(const void *p)
{
	unsigned int i = atomic_load_explicit(&count, memory_order_acquire);

	while (i-- > 0)
		if ((uintptr_t)p - arenas[i].start < arenas[i].size)
			return &arenas[i];
	return NULL;
}

unsigned int
arena_order_of(size_t size)
{
	size_t pages = (size - 1) / ARENA_PAGE;

	return pages == 0 ? 0 : (unsigned int)(64 - __builtin_clzl(pages));
}

static size_t
page_of(const struct arena *a, const void *p)
{
	return ((uintptr_t)p - a->start) / ARENA_PAGE;
}

void
arena_enter(struct arena *a, const void *p, unsigned int order)
{
	size_t page = page_of(a, p), end = page + ((size_t)1 << order);
	size_t top = atomic_load_explicit(&a->top, memory_order_relaxed);

	atomic_store_explicit(
	    &a->order[page], (uint8_t)(order + 1), memory_order_relaxed);
	while (top < end && !atomic_compare_exchange_weak(&a->top, &top, end))
		;
}

int
arena_leave(struct arena *a, const void *p)
{
	size_t page = page_of(a, p);
	int order;

	if ((uintptr_t)p % ARENA_PAGE != 0)
		return -1;
	order = atomic_load_explicit(&a->order[page], memory_order_relaxed) - 1;
	atomic_store_explicit(&a->order[page], 0, memory_order_relaxed);
	return order;
}

size_t
arena_bytes(const struct arena *a, const void *p)
{
	int order;

	if ((uintptr_t)p % ARENA_PAGE != 0)
		return 0;
	order =
	    atomic_load_explicit(&a->order[page_of(a, p)], memory_order_relaxed) - 1;
	return order < 0 ? 0 : ARENA_PAGE << order;
}

size_t
arena_next(const struct arena *a, size_t *fromp)
{
	size_t end = a->size / ARENA_PAGE, top = atomic_load(&a->top);
	size_t page = *fromp / ARENA_PAGE, first;
	uint8_t order;

	if (end > top)
		end = top;
	while (page < end &&
	       atomic_load_explicit(&a->order[page], memory_order_relaxed) == 0)
		page++;
	first = page;
	while (page < end && (order = atomic_load_explicit(
				  &a->order[page], memory_order_relaxed)) != 0)
		page += (size_t)1 << (order - 1);
	*fromp = first * ARENA_PAGE;
	return (page < end ? page - first : end > first ? end - first : 0) * ARENA_PAGE;
}

void
arena_inherit(struct arena *a, size_t size)
{
	a->pool = NULL;
	a->size = size;
}

static void
arena_unmap(struct arena *a)
{
	munmap((void *)(uintptr_t)a->order, a->order_size); /* casts _Atomic away */
	if (a->size > 0)
		munmap((void *)a->start, a->size);
}

void
arena_drop_empty(void)
{
	unsigned int kept = 0, n = atomic_load(&count);
	size_t from;

	for (unsigned int i = 0; i < n; i++) {
		from = 0;
		if (arenas[i].pool == NULL && arena_next(&arenas[i], &from) == 0)
			arena_unmap(&arenas[i]);
		else if (kept++ != i)
			arenas[kept - 1] = arenas[i];
	}
	atomic_store(&count, kept);
}
