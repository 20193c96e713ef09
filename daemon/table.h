/* SPDX-License-Identifier: ISC */

/*
 * The keeper's table: a slot for each session, with its pool.
 *
 * It lies in a memfd of its own, so that it can outlive the keeper. A slot becomes valid,
 * and its pool does, by one last store of `state`.
 */
#ifndef DAEMON_TABLE_H
#define DAEMON_TABLE_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/messages.h"

#define TABLE_MAGIC   0x00656c6261746462ULL
#define TABLE_VERSION 1u

enum slot_state {
	SLOT_FREE,
	SLOT_SESSION, /* connected */
	SLOT_POOL,    /* its memory exists, the client has not been told */
	SLOT_OPEN,    /* the client has its memory */
};

struct slot {
	_Atomic uint32_t state; /* enum slot_state */
	uint32_t id;
	pid_t pid;
	uid_t uid;
	gid_t gid;
	uint32_t chunks;
	_Atomic uint32_t pinned;
	char name[PROTO_NAME_SIZE];
};

struct table {
	uint64_t magic;
	uint32_t version;
	uint32_t slots;
	uint32_t last_id;
	uint32_t reserved;
	struct slot slot[];
};

/** table_create() - a table of @slots free slots; receives its memfd in @fdp
 * Return: NULL and errno */
struct table *table_create(uint32_t slots, int *fdp);
void table_free(struct table *t, int fd);

#endif
