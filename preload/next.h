/* SPDX-License-Identifier: ISC */

/*
 * The allocator behind ours: libc's, or what the program links instead (jemalloc).
 *
 * dlsym() finds it, and may itself allocate: what is asked for meanwhile comes from a
 * little static memory, which is never given back.
 */
#ifndef PRELOAD_NEXT_H
#define PRELOAD_NEXT_H

#include <stddef.h>
#include <sys/types.h>

struct next {
	void *(*malloc)(size_t size);
	void *(*calloc)(size_t count, size_t size);
	void *(*realloc)(void *p, size_t size);
	void (*free)(void *p);
	int (*posix_memalign)(void **pp, size_t align, size_t size);
	void *(*aligned_alloc)(size_t align, size_t size);
	void *(*memalign)(size_t align, size_t size);
	void *(*valloc)(size_t size);
	void *(*pvalloc)(size_t size);
	size_t (*usable_size)(void *p);
	pid_t (*fork)(void);
};

/** next_get() - the allocator behind ours; finds it at the first call */
const struct next *next_get(void);

#endif
