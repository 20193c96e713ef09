/* SPDX-License-Identifier: ISC */

/*
 * The store: descriptors that the service manager keeps for the next keeper.
 *
 *	name   what                                        since
 *	t, r   the table, the records                      the first keeper's start
 *	0-270f the socket, pidfd, memory and ledger of     its WELCOME
 *	       the pool in that slot of the table (hex)
 *	clnt   listeners; the manager's own, from its      -
 *	stat   socket units
 *
 * Names are short because all of them travel in one environment variable, of which the
 * kernel takes 128 KiB. A descriptor costs the manager more than a millisecond, so one is
 * stored when a pool has been opened, never for a mere connection.
 *
 * A manager whose store is full drops what it is sent and says nothing. So the store counts,
 * against $FDSTORE, which newer systemds set and our unit does.
 */
#ifndef DAEMON_STORE_H
#define DAEMON_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/systemd.h"

/* "LISTEN_FDNAMES=" and this many names with a colon each have 128 KiB. One more, and no
 * budd could be started any more. */
#define STORE_ROOM_MAX 26000u

#define STORE_TABLE   "t"
#define STORE_RECORDS "r"
#define STORE_CLIENTS "clnt"
#define STORE_STATUS  "stat"

struct store {
	bool present;       /* a manager takes descriptors */
	unsigned int room;  /* descriptors that it keeps */
	unsigned int count; /* that it has */
	unsigned int received_count;
	struct systemd_fd *received; /* at our start; what is not taken is closed */
};

struct store_name {
	char s[SYSTEMD_NAME_SIZE];
};

/** store_name_of() - the name for the slot of a table */
struct store_name store_name_of(uint32_t slot);
/** store_slot_of() - the slot that a name stands for; -1: none */
int32_t store_slot_of(const char *name);

/** store_init() - take in what we were started with; 0 or a negative errno */
int store_init(struct store *st);
/** store_fini() - closes what was not taken; the manager keeps its copies */
void store_fini(struct store *st);

/** store_take() - one descriptor that we were started with, now the caller's; -1: none */
int store_take(struct store *st, const char *name);

#define STORE_E_ABSENT 1 /* there is no manager */
#define STORE_E_FULL   2

/** store_keep() - have copies of @n descriptors kept
 * Return: 0, STORE_E_*, or a negative errno; then none is kept */
int store_keep(struct store *st, const char *name, const int *fds, unsigned int n);
/** store_drop() - let go of all @n that are kept under @name */
void store_drop(struct store *st, const char *name, unsigned int n);

#endif
