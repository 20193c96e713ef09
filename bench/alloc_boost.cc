/* SPDX-License-Identifier: ISC */

/* boost::interprocess: a heap in shared memory of a fixed size. */
#include <boost/interprocess/managed_shared_memory.hpp>

#include "bench/loop.h"

namespace ipc = boost::interprocess;

static ipc::managed_shared_memory *heap;
static char name[64];

static void
setup(void)
{
	snprintf(name, sizeof(name), "bud-bench-%d", (int)getpid());
	heap = new ipc::managed_shared_memory(ipc::create_only, name, 1536 * MIB);
	/* Mapped already; the name is only in the way. */
	ipc::shared_memory_object::remove(name);
}

static void
setup_thread(void)
{
}

static inline void *
take(size_t size)
{
	return heap->allocate(size, std::nothrow);
}

static inline void
give(void *buf, size_t size)
{
	(void)size;
	heap->deallocate(buf);
}
