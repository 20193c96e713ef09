/* SPDX-License-Identifier: ISC */

/*
 * A pool that a budd of another layout left behind. What its table says of it cannot be
 * read, but what must be done can be told from its descriptors: every page that is there is
 * locked again and stays so, until the process that has it mapped is gone. Nobody serves it:
 * the client's connection is shut, and it goes on with what it has, as when budd is away.
 */
#ifndef DAEMON_FOREIGN_H
#define DAEMON_FOREIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FOREIGN_MAPS 2u /* memory and ledger */

struct foreign_map {
	void *addr; /* NULL: none */
	size_t size;
};

struct foreign {
	int pidfd; /* -1: none */
	struct foreign_map map[FOREIGN_MAPS];
	uint64_t locked; /* bytes */
};

#define FOREIGN_EMPTY ((struct foreign){ .pidfd = -1 })

/** foreign_hold() - lock what is in @memfds, -1 for one that is not there, and shut @sock
 * @f:		FOREIGN_EMPTY
 * @sock:	is closed; -1: none
 * @pidfd:	becomes ours
 * Return: 0, or a negative errno: not all could be locked; what could be is held */
int foreign_hold(
    struct foreign *f, int sock, int pidfd, const int memfds[FOREIGN_MAPS]);
/** foreign_is_over() - its process is gone */
bool foreign_is_over(const struct foreign *f);
/** foreign_fini() - fine for an empty one */
void foreign_fini(struct foreign *f);

#endif
