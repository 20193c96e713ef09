/* SPDX-License-Identifier: ISC */

/* Page tables ahead of use: a fault costs several calls of this. */
#ifndef DAEMON_POPULATE_H
#define DAEMON_POPULATE_H

#include <stddef.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_READ  22 /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

/** populate() - whole pages, of a writable mapping; what is missed costs faults */
static inline void
populate(void *addr, size_t size)
{
	madvise(addr, size, MADV_POPULATE_WRITE);
}

/** populate_shared() - ... of a shared mapping whose pages are there: a look at one maps those around
 * it as well, and writable, where a write maps but itself */
static inline void
populate_shared(void *addr, size_t size)
{
	madvise(addr, size, MADV_POPULATE_READ);
}

#endif
