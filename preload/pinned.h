/* SPDX-License-Identifier: ISC */

/*
 * Large blocks out of a pool of this process, which is opened when the first is asked for.
 * Any thread; nothing here waits for memory.
 */
#ifndef PRELOAD_PINNED_H
#define PRELOAD_PINNED_H

#include <stdbool.h>
#include <stddef.h>

#include "preload/settings.h"

#define PINNED_ALIGN_MAX ((size_t)256 << 10) /* a larger buffer is aligned to that */

/** pinned_init() - from now on pools may be opened; once, before there are threads */
void pinned_init(const struct settings *s);
/** pinned_alloc() - a buffer of at least @size >= 1 bytes, aligned to its size up to
 * PINNED_ALIGN_MAX; it may hold what its last user left
 * Return: NULL where somebody else has to serve it; errno stays as it was */
void *pinned_alloc(size_t size);
/** pinned_free() - give a buffer back; false: @p is none of ours
 * A pointer into the middle of a buffer, or to one that is free, aborts the process. */
bool pinned_free(void *p);
/** pinned_owns() - @p points into a pool, or what was inherited of one */
bool pinned_owns(const void *p);
/** pinned_bytes() - how large the buffer at @p is; aborts as pinned_free() does */
size_t pinned_bytes(const void *p);

/** pinned_hold() - this thread gets nothing from the pool, and gives nothing to it, until
 * pinned_resume(); they nest */
void pinned_hold(void);
void pinned_resume(void);
/** pinned_forked() - in the child: the pools were the parent's */
void pinned_forked(void);

#endif
