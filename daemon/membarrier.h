/* SPDX-License-Identifier: ISC */

/* A barrier on every processor that runs a thread of a client which registered for it. */
#ifndef DAEMON_MEMBARRIER_H
#define DAEMON_MEMBARRIER_H

#include <linux/membarrier.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

/** membarrier_is_there() - false: clients are told to use no thread caches */
static inline bool
membarrier_is_there(void)
{
	long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);

	return commands > 0 && (commands & MEMBARRIER_CMD_GLOBAL_EXPEDITED) != 0;
}

static inline bool
membarrier_all(void)
{
	return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0;
}

#endif
