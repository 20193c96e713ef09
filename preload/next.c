/* SPDX-License-Identifier: ISC */

#include "preload/next.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "preload/settings.h"

/* --- While dlsym() looks --- */

#define EARLY_SIZE  ((size_t)64 << 10)
#define EARLY_ALIGN ((size_t)16)

/* What precedes each piece. */
struct early {
	size_t size;
	size_t unused; /* keeps the alignment */
};

static _Alignas(16) char early_memory[EARLY_SIZE];
static _Atomic size_t early_used;

static void *
early_malloc(size_t size)
{
	size_t whole, at;
	struct early *e;

	if (size > EARLY_SIZE)
		return NULL;
	whole = sizeof(*e) + (size + EARLY_ALIGN - 1) / EARLY_ALIGN * EARLY_ALIGN;
	at = atomic_fetch_add(&early_used, whole);
	if (at + whole > EARLY_SIZE) {
		errno = ENOMEM;
		return NULL;
	}
	e = (struct early *)(void *)(early_memory + at);
	e->size = size;
	return e + 1;
}

static void *
early_calloc(size_t count, size_t size)
{
	/* Never used before, and never twice: zeros. */
	return size != 0 && count > EARLY_SIZE / size ? NULL
						      : early_malloc(count * size);
}

static bool
is_early(const void *p)
{
	return (uintptr_t)p - (uintptr_t)early_memory < EARLY_SIZE;
}

static size_t
early_size(const void *p)
{
	return ((const struct early *)p)[-1].size;
}

static void *
early_realloc(void *p, size_t size)
{
	size_t old = p != NULL ? early_size(p) : 0;
	void *fresh = early_malloc(size);

	if (fresh != NULL && old > 0)
		memcpy(fresh, p, old < size ? old : size);
	return fresh;
}

static void
early_free(void *p)
{
	(void)p;
}

static int
early_posix_memalign(void **pp, size_t align, size_t size)
{
	if (align > EARLY_ALIGN || (*pp = early_malloc(size)) == NULL)
		return ENOMEM;
	return 0;
}

static void *
early_memalign(size_t align, size_t size)
{
	return align > EARLY_ALIGN ? NULL : early_malloc(size);
}

static void *
early_valloc(size_t size)
{
	(void)size;
	return NULL;
}

static size_t
early_usable_size(void *p)
{
	return p != NULL ? early_size(p) : 0;
}

static const struct next early_next = {
	.malloc = early_malloc,
	.calloc = early_calloc,
	.realloc = early_realloc,
	.free = early_free,
	.posix_memalign = early_posix_memalign,
	.aligned_alloc = early_memalign,
	.memalign = early_memalign,
	.valloc = early_valloc,
	.pvalloc = early_valloc,
	.usable_size = early_usable_size,
};

/* --- Afterwards: the early pieces may still come back --- */

static struct next found;   /* as dlsym() found it */
static struct next guarded; /* what knows the early pieces, too */
static _Atomic bool ready;

static void *
guarded_realloc(void *p, size_t size)
{
	void *fresh;

	if (!is_early(p))
		return found.realloc(p, size);
	if ((fresh = found.malloc(size)) != NULL)
		memcpy(fresh, p, early_size(p) < size ? early_size(p) : size);
	return fresh;
}

static void
guarded_free(void *p)
{
	if (!is_early(p))
		found.free(p);
}

static size_t
guarded_usable_size(void *p)
{
	return is_early(p) ? early_size(p) : found.usable_size(p);
}

/* POSIX has dlsym() return functions as void *; C has no cast for it. */
#define FIND(n, member, name) find(&(n)->member, sizeof((n)->member), name)

static void
find(void *slot, size_t size, const char *name)
{
	void *symbol = dlsym(RTLD_NEXT, name);

	if (symbol == NULL) {
		note("no %s() behind bud's: cannot go on", name);
		_exit(127);
	}
	memcpy(slot, &symbol, size);
}

static void
look(struct next *n)
{
	FIND(n, malloc, "malloc");
	FIND(n, calloc, "calloc");
	FIND(n, realloc, "realloc");
	FIND(n, free, "free");
	FIND(n, posix_memalign, "posix_memalign");
	FIND(n, aligned_alloc, "aligned_alloc");
	FIND(n, memalign, "memalign");
	FIND(n, valloc, "valloc");
	FIND(n, pvalloc, "pvalloc");
	FIND(n, usable_size, "malloc_usable_size");
	FIND(n, fork, "fork");
}

const struct next *
next_get(void)
{
	static __thread bool looking __attribute__((tls_model("initial-exec")));
	struct next n;

	if (atomic_load_explicit(&ready, memory_order_acquire))
		return &guarded;
	if (looking)
		return &early_next;
	/* A second thread, if there is one so early, would find the same. */
	looking = true;
	look(&n);
	found = n;
	n.realloc = guarded_realloc;
	n.free = guarded_free;
	n.usable_size = guarded_usable_size;
	guarded = n;
	atomic_store_explicit(&ready, true, memory_order_release);
	looking = false;
	return &guarded;
}
