/* SPDX-License-Identifier: ISC */

/* What programs do who want pinned memory and have no pool: a locked mapping a buffer;
 * or, with -DMEMFD, one that can be passed on, as bud's can. */
#include <sys/mman.h>

#include "bench/loop.h"

static void
setup(void)
{
}

static void
setup_thread(void)
{
}

#ifdef MEMFD
static inline void *
take(size_t size)
{
	int fd = memfd_create("buffer", MFD_CLOEXEC);
	void *buf;

	if (fd == -1 || ftruncate(fd, (off_t)size) == -1)
		return NULL;
	buf = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return buf != MAP_FAILED && mlock(buf, size) == 0 ? buf : NULL;
}
#else
static inline void *
take(size_t size)
{
	void *buf = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);

	return buf != MAP_FAILED ? buf : NULL;
}
#endif

static inline void
give(void *buf, size_t size)
{
	munmap(buf, size);
}
