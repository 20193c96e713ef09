/* SPDX-License-Identifier: ISC */

/* How much may be pinned on this host at all: memory, limits, and what budd.conf says. */
#ifndef DAEMON_HOSTWALL_H
#define DAEMON_HOSTWALL_H

#include <stddef.h>
#include <stdint.h>

/**
 * hostwall_find() - the host's wall
 * @configured:	bytes; 0: half of the memory, or the limit of locked memory if that is less
 * @least:	bytes without which no pool can be opened
 * @wallp:	receives the wall
 * @why:	receives a sentence with size, limit and remedy when this fails
 *
 * A wall that the memory limit of our cgroup has no room for is cut to what it has, with a
 * warning in the log.
 *
 * Return: 0, or -ENOMEM when RLIMIT_MEMLOCK is below @configured or @least and there is no
 * CAP_IPC_LOCK, or when the cgroup has no room for @least
 */
int hostwall_find(
    uint64_t configured, uint64_t least, uint64_t *wallp, char *why, size_t why_size);

#endif
