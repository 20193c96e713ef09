/* SPDX-License-Identifier: ISC */

/*
 * What keeper and arbiter say to each other, over a socket pair, as records of one size.
 *
 * keeper -> arbiter                          arbiter -> keeper
 *   SESSION id, slot, peer, pool               CREATE id, heap, chunks, name
 *     + socket, pidfd [, ledger]               PIN id, from, to      one slice
 *   READY     all that there was is yours      UNPIN id, from, to    one slice
 *   CREATED id, error + ledger                 WELCOME id, the client's message
 *   PINNED id, pinned, error                     (the keeper adds the descriptors)
 *   UNPINNED id, pinned                        END id                session and pool
 *   UNWELCOMED id, error
 *   AUDITED id, what was not locked, error     AUDIT id, from, to    one slice
 *   RELOAD host_wall + configuration           another configuration
 *     [, sources of pressure]                  RELOAD               say it again later
 *   PING foreign                               PONG waiting        it is alive
 *                                              UNTAKEN id, error    it cannot be served now
 *
 * PIN of a base's first slice may follow CREATE at once: if that fails, so does this.
 *
 * The keeper answers CREATE, PIN, UNPIN and AUDIT, in their order, each once, and a WELCOME
 * that the client cannot be sent; answers about a
 * session that the arbiter has ended meanwhile are passed over.
 *
 * An arbiter that is short of descriptors or memory says UNTAKEN to a SESSION: one without a
 * pool is refused then, by the keeper, which has its socket; one with a pool comes again. So
 * does a RELOAD to which it says RELOAD.
 */
#ifndef DAEMON_CHANNEL_H
#define DAEMON_CHANNEL_H

#include <stdint.h>
#include <sys/types.h>

#include "proto/messages.h"

#define CHANNEL_FDS_MAX 3u  /* socket, pidfd, ledger; configuration, two sources */
#define CHANNEL_COMMAND 16u /* bytes of a command's name, with its NUL */

enum channel_type {
	CHANNEL_SESSION = 1,
	CHANNEL_READY,
	CHANNEL_CREATED,
	CHANNEL_PINNED,
	CHANNEL_UNPINNED,
	CHANNEL_RELOAD,
	CHANNEL_CREATE,
	CHANNEL_PIN,
	CHANNEL_UNPIN,
	CHANNEL_WELCOME,
	CHANNEL_END,
	CHANNEL_AUDIT,
	CHANNEL_AUDITED,
	CHANNEL_PING,
	CHANNEL_PONG,
	CHANNEL_UNWELCOMED,
	CHANNEL_UNTAKEN,
};

struct channel_msg {
	uint32_t type;
	uint32_t id;   /* of the session, and so of its pool; never used twice */
	uint32_t slot; /* of the table, and of the records */
	int32_t error; /* CREATED, PINNED, AUDITED, UNWELCOMED, UNTAKEN: an errno */
	uint32_t from; /* PIN, UNPIN, AUDIT: chunks */
	uint32_t to;
	uint32_t chunks;     /* CREATE, SESSION: length of the memory; 0: no pool yet */
	uint32_t pinned;     /* PINNED, UNPINNED, SESSION: the prefix */
	uint32_t heap;       /* CREATE, SESSION: enum heap_kind */
	uint32_t ahead;      /* PIN: nobody waits for it, or behind it */
	uint32_t page_shift; /* PINNED: of the pages that were got */
	uint32_t holes;      /* AUDITED: pages, as struct heap_found */
	uint32_t unlocked;
	pid_t pid; /* SESSION: the peer, as the kernel told it */
	uid_t uid;
	gid_t gid;
	char command[CHANNEL_COMMAND]; /* SESSION: of the peer, for the log */
	uint64_t host_wall;            /* RELOAD: bytes */
	int64_t read_at;               /* RELOAD: when; ns of an instant */
	uint32_t sources; /* RELOAD: of pressure, a bit each: there is a descriptor */
	uint32_t talking; /* RELOAD: ... and it is one that talks */
	uint32_t foreign; /* PING: pools of another budd, which the keeper holds */
	uint64_t waiting; /* PONG: requests that queue, of all pools */
	char name[PROTO_NAME_SIZE]; /* CREATE, SESSION: of the pool */
	struct proto_welcome welcome;
};

/* A message of the keeper's with its descriptors, which stay the keeper's. */
struct channel_mail {
	struct channel_msg msg;
	int fds[CHANNEL_FDS_MAX];
	unsigned int nfds;
};

#endif
