/* SPDX-License-Identifier: ISC */

/*
 * The keeper's table: a slot for each session, with its pool.
 *
 * It lies in a memfd of its own, which outlives the keeper in the manager's store (store.h).
 * A slot becomes valid, and its pool does, by one last store of `state`; `pinned` is raised
 * after pages have been locked, and lowered before they are given back. What a keeper that
 * dies between two steps leaves behind is therefore a pool that its client has not been told
 * of, and goes; or pages beyond the prefix, and these go.
 *
 * `layout` names the layout of everything that outlives a keeper: the table's, the records',
 * the ledger's. A keeper that meets another one holds those pools as they are: foreign.h.
 */
#ifndef DAEMON_TABLE_H
#define DAEMON_TABLE_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/ledger.h"
#include "proto/messages.h"

#define TABLE_MAGIC   0x00656c6261746462ULL
#define TABLE_VERSION 6u /* of table and records; raised with every change of them */
#define TABLE_LAYOUT  (TABLE_VERSION << 16 | LEDGER_VERSION << 8 | PROTO_VERSION)
#define TABLE_SLOTS   10000u

enum slot_state {
	SLOT_FREE,
	SLOT_SESSION, /* connected */
	SLOT_POOL,    /* its memory exists, the client has not been told */
	SLOT_OPEN,    /* the client has its memory */
	SLOT_FOREIGN, /* of a budd of another layout */
	SLOT_ENDING,  /* gone, but for its memory, which goes slice by slice */
};

struct slot {
	_Atomic uint32_t state; /* enum slot_state */
	uint32_t id;
	pid_t pid;
	uid_t uid;
	gid_t gid;
	uint32_t heap; /* enum heap_kind */
	uint32_t chunks;
	_Atomic uint32_t pinned;
	char name[PROTO_NAME_SIZE];
};

struct table {
	uint64_t magic;
	uint32_t layout;
	uint32_t slots;
	uint32_t last_id;
	uint32_t restarts; /* deaths of arbiters, under all keepers */
	struct slot slot[];
};

/** table_create() - a table of TABLE_SLOTS free slots; receives its memfd in @fdp
 * Return: NULL and errno */
struct table *table_create(int *fdp);
/** table_adopt() - an earlier keeper's; @fd becomes the table's on success only
 * Return: NULL: it is none, or of another layout */
struct table *table_adopt(int fd);
void table_free(struct table *t, int fd);

#endif
