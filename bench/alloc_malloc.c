/* SPDX-License-Identifier: ISC */

/* malloc() and free(): of the C library, or of whatever LD_PRELOAD puts in their place. */
#include "bench/loop.h"

static void
setup(void)
{
}

static void
setup_thread(void)
{
}

static inline void *
take(size_t size)
{
	return malloc(size);
}

static inline void
give(void *buf, size_t size)
{
	(void)size;
	free(buf);
}
