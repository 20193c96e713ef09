/* SPDX-License-Identifier: ISC */

/*
 * What the program calls: malloc() and its kin. Requests from the threshold on go to the
 * pool; what it does not serve, and all the rest, to the next allocator. A pointer tells
 * by its address whose it is.
 */
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "preload/next.h"
#include "preload/pinned.h"
#include "preload/settings.h"
#include "preload/snapshot.h"

/* Until our constructor has run, the next allocator serves everything. */
static size_t threshold = SIZE_MAX;

__attribute__((constructor)) static void
start(void)
{
	struct settings s;

	(void)next_get();
	settings_read(&s);
	snapshot_init(s.verbose);
	pinned_init(&s);
	threshold = s.threshold;
}

void *
malloc(size_t size)
{
	void *p;

	if (size >= threshold && (p = pinned_alloc(size)) != NULL)
		return p;
	return next_get()->malloc(size);
}

void *
calloc(size_t count, size_t size)
{
	size_t bytes;
	void *p;

	if (!__builtin_mul_overflow(count, size, &bytes) && bytes >= threshold &&
	    (p = pinned_alloc(bytes)) != NULL)
		return memset(p, 0, bytes);
	return next_get()->calloc(count, size);
}

void
free(void *p)
{
	if (!pinned_free(p))
		next_get()->free(p);
}

/* From one allocator to the other, or within ours: the @bytes that count are kept. */
static void *
move(void *p, size_t bytes, size_t size)
{
	void *fresh = malloc(size);

	if (fresh == NULL)
		return NULL;
	memcpy(fresh, p, bytes < size ? bytes : size);
	free(p);
	return fresh;
}

/* Of ours: it stays where it is while it fits, and fills more than a quarter. */
static void *
realloc_ours(void *p, size_t size)
{
	size_t bytes = pinned_bytes(p);
	void *fresh;

	if (size == 0) {
		free(p);
		return NULL;
	}
	if (size <= bytes && size > bytes / 4)
		return p;
	fresh = move(p, bytes, size);
	return fresh == NULL && size <= bytes ? p : fresh;
}

void *
realloc(void *p, size_t size)
{
	size_t bytes;
	void *fresh;

	if (p == NULL)
		return malloc(size);
	if (pinned_owns(p))
		return realloc_ours(p, size);
	/* What outgrows the threshold moves into the pool. What is beyond it already was
	 * refused there, and grows cheaper where it is. */
	if (size < threshold || (bytes = next_get()->usable_size(p)) >= threshold ||
	    (fresh = pinned_alloc(size)) == NULL)
		return next_get()->realloc(p, size);
	memcpy(fresh, p, bytes < size ? bytes : size);
	next_get()->free(p);
	return fresh;
}

void *
reallocarray(void *p, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(p, bytes);
}

/* NULL: not for us, or nothing to be had. */
static void *
aligned(size_t align, size_t size)
{
	if (size < threshold || align == 0 || (align & (align - 1)) != 0 ||
	    align > PINNED_ALIGN_MAX)
		return NULL;
	return pinned_alloc(size > align ? size : align);
}

int
posix_memalign(void **pp, size_t align, size_t size)
{
	void *p;

	if (align % sizeof(void *) != 0 || (p = aligned(align, size)) == NULL)
		return next_get()->posix_memalign(pp, align, size);
	*pp = p;
	return 0;
}

void *
aligned_alloc(size_t align, size_t size)
{
	void *p = aligned(align, size);

	return p != NULL ? p : next_get()->aligned_alloc(align, size);
}

void *
memalign(size_t align, size_t size)
{
	void *p = aligned(align, size);

	return p != NULL ? p : next_get()->memalign(align, size);
}

void *
valloc(size_t size)
{
	void *p = aligned(1, size); /* each buffer starts on a page */

	return p != NULL ? p : next_get()->valloc(size);
}

void *
pvalloc(size_t size)
{
	void *p = aligned(1, size);

	return p != NULL ? p : next_get()->pvalloc(size);
}

size_t
malloc_usable_size(void *p)
{
	if (p != NULL && pinned_owns(p))
		return pinned_bytes(p);
	return next_get()->usable_size(p);
}

pid_t
fork(void)
{
	if (!snapshot_possible()) {
		errno = ENOMEM;
		return -1;
	}
	return next_get()->fork();
}
