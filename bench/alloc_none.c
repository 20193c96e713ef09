/* SPDX-License-Identifier: ISC */

/* No allocator: what the loops themselves cost. */
#include "bench/loop.h"

static char *memory;

static void
setup(void)
{
	if ((memory = (char *)calloc(1, MIB)) == NULL)
		err(1, "calloc");
}

static void
setup_thread(void)
{
}

static inline void *
take(size_t size)
{
	(void)size;
	return memory;
}

static inline void
give(void *buf, size_t size)
{
	(void)size;
	look_at(buf);
}
