/* SPDX-License-Identifier: ISC */

/* How much may be pinned on this host at all. */
#include "daemon/hostwall.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/cgroup.h"
#include "daemon/log.h"

static bool
may_lock_without_limit(void)
{
	struct __user_cap_header_struct header = { .version =
						       _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (syscall(SYS_capget, &header, data) == -1)
		return false;
	return (data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective &
		   CAP_TO_MASK(CAP_IPC_LOCK)) != 0;
}

static uint64_t
lock_limit(void)
{
	struct rlimit limit;

	if (may_lock_without_limit() || getrlimit(RLIMIT_MEMLOCK, &limit) == -1 ||
	    limit.rlim_cur == RLIM_INFINITY)
		return UINT64_MAX;
	return limit.rlim_cur;
}

static uint64_t
half_of_memory(void)
{
	return (uint64_t)sysconf(_SC_PHYS_PAGES) / 2 * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int
too_little(
    const char *what, uint64_t wanted, uint64_t limit, char *why, size_t why_size)
{
	snprintf(why, why_size,
	    "%s needs %" PRIu64 " bytes of locked memory, but the limit is %" PRIu64
	    " bytes: run budd with CAP_IPC_LOCK (or as root), raise the limit (ulimit "
	    "-l "
	    "%" PRIu64
	    "; LimitMEMLOCK= in its unit), or set a smaller wall in budd.conf",
	    what, wanted, limit, (wanted + 1023) / 1024);
	return -ENOMEM;
}

/* An operator who lowers MemoryMax= shall not find budd down for it, and all pools gone. */
static int
keep_within_cgroup(uint64_t least, uint64_t *wallp, char *why, size_t why_size)
{
	uint64_t limit = cgroup_memory_limit(CGROUP_OF_SELF, CGROUP_ROOT),
		 room = cgroup_room(limit);

	if (*wallp <= room)
		return 0;
	if (room < least) {
		snprintf(why, why_size,
		    "the smallest pool needs %" PRIu64
		    " bytes, but the memory limit of "
		    "budd's cgroup is %" PRIu64
		    ": raise it (MemoryMax=, MemoryHigh= in "
		    "its unit)",
		    least, limit);
		return -ENOMEM;
	}
	log_warn("hostwall",
	    "the host's wall is %" PRIu64 " bytes, and not %" PRIu64
	    ": the memory limit of budd's cgroup is %" PRIu64
	    " (MemoryMax=, MemoryHigh= in its unit), at which the kernel would kill it",
	    room, *wallp, limit);
	*wallp = room;
	return 0;
}

int
hostwall_find(
    uint64_t configured, uint64_t least, uint64_t *wallp, char *why, size_t why_size)
{
	uint64_t limit = lock_limit(), wall = configured;

	if (configured > limit)
		return too_little("the host's wall", configured, limit, why, why_size);
	if (limit < least)
		return too_little("the smallest pool", least, limit, why, why_size);
	if (wall == 0)
		wall = half_of_memory() < limit ? half_of_memory() : limit;
	if (keep_within_cgroup(least, &wall, why, why_size) != 0)
		return -ENOMEM;
	*wallp = wall;
	return 0;
}
