/* SPDX-License-Identifier: ISC */

/*
 * What the memory cgroup that we are in leaves us. A page that budd pins is charged to it, and
 * can be taken from nobody; at the limit the kernel does not fail the call, it kills the
 * process. So the host's wall has to keep below it.
 */
#ifndef DAEMON_CGROUP_H
#define DAEMON_CGROUP_H

#include <stdint.h>

#define CGROUP_OF_SELF "/proc/self/cgroup"
#define CGROUP_ROOT    "/sys/fs/cgroup"

/** cgroup_memory_limit() - the smallest limit of the cgroup and of those it lies in: of both
 * versions, memory.high among them, as it stops whoever goes beyond
 * @self:	what the kernel says of a process, as CGROUP_OF_SELF
 * @root:	where the hierarchies are mounted, as CGROUP_ROOT
 * Return: bytes; UINT64_MAX: none, or it cannot be read */
uint64_t cgroup_memory_limit(const char *self, const char *root);

/** cgroup_room() - what may be pinned where @limit is the limit: the rest is for budd itself and
 * for what lies in its sockets; at least half of it */
uint64_t cgroup_room(uint64_t limit);

#endif
