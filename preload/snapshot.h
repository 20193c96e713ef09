/* SPDX-License-Identifier: ISC */

/*
 * fork(): the child finds its large blocks where they were, as they were.
 *
 * A pool is not mapped in the child (two processes would hand out the same buffers), and
 * its memory is shared, so that copy-on-write does not keep what the parent changes
 * later. So the parent copies, before the fork, all buffers in use into private memory of
 * its own. The child moves that memory to where the pool was, which moves page tables and
 * not bytes; the parent unmaps it. fork() takes as long as the copy does.
 *
 * The copy is made by the last of all handlers that run before a fork: whoever holds
 * locks, so that its data is whole in the child, took them before. In a program with
 * other threads, what they write without any lock may be older in the large blocks than
 * in the rest of the memory, by the time of the copy; fork() itself promises no more.
 *
 * vfork(), posix_spawn(), system() and popen() copy nothing: their children run in the
 * parent's memory until they exec. Children of a bare clone() or _Fork() do not run the
 * handlers, and have no large blocks.
 */
#ifndef PRELOAD_SNAPSHOT_H
#define PRELOAD_SNAPSHOT_H

#include <stdbool.h>

/** snapshot_init() - watch for forks; once, before anybody else does
 * @verbose:	say how much was copied, and how long it took */
void snapshot_init(bool verbose);
/** snapshot_pool_opened() - libbud's own handlers are in place now: ours go around them */
void snapshot_pool_opened(void);
/** snapshot_possible() - is there address space for the copies? false: fork() should fail
 * with ENOMEM */
bool snapshot_possible(void);

#endif
