/* SPDX-License-Identifier: ISC */

/*
 * A session: one connection of a client, and the pool that was opened on it.
 *
 *	      HELLO          created        base pinned
 *	NEW ---------> CREATING ------> OPENING ------> OPEN ---> DEAF
 *	 |                |                |             |          |
 *	 | hung up, timeout, misbehaviour, refused       | CLOSE    | the process is gone
 *	 v                v                v             v          v
 *	end <-------------+----------------+-------------+----------+
 *
 * A session whose client has memory ends when its socket has hung up and its process is
 * gone, or at once by CLOSE. DEAF: it misbehaved, or hung up and lives; nobody listens to
 * it any more, and its memory stays. SHUNNED: an earlier arbiter's, and the core does not
 * even know its pool (blame.h); it ends with its process.
 */
#ifndef DAEMON_SESSION_H
#define DAEMON_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "daemon/arbiter.h"
#include "daemon/channel.h"
#include "daemon/hurry.h"
#include "daemon/pool.h"

enum session_state {
	SESSION_NEW,
	SESSION_CREATING,
	SESSION_OPENING,
	SESSION_OPEN,
	SESSION_DEAF,
	SESSION_SHUNNED,
};

struct session {
	TAILQ_ENTRY(session) entry;
	struct arbiter *arbiter;
	enum session_state state;
	uint32_t id;
	uint32_t slot;
	int sock;
	int pidfd; /* -1 where the kernel has none */
	pid_t pid;
	uid_t uid;
	gid_t gid;
	bool gone;          /* the process */
	bool resuming;      /* told RESTARTED, and has not said RESUMED yet */
	uint32_t watching;  /* PROTO_EVENT_*, that the client wants to be told of */
	uint32_t hurried;   /* chunks of the base, asked for together with the memory */
	struct hurry hurry; /* ... until there is a pool that counts them */
	int open_error;     /* why the base could not be pinned; a positive errno */
	int grow_error;     /* why the latest slice could not be; 0: it was */
	const char *broken; /* why it is to be dropped, from the loop; or NULL */
	char name[PROTO_NAME_SIZE]; /* of the pool, as the client said it */
	char section[PROTO_NAME_SIZE];
	char command[PROTO_COMMAND_SIZE]; /* as the client says, or /proc; or "?" */
	uint64_t refusals;                /* of requests, that nobody was told of */
	int refusal;                      /* the last one's positive errno */
	struct instant refusals_told;
	struct pool_limits limits;
	struct pool pool; /* from OPENING on */
	void *ledger;     /* its mapping; NULL: none */
	size_t ledger_size;
	struct outq *out;
	struct event *on_sock;
	struct event *on_pid;
	struct event *later; /* the HELLO's deadline; then, the end of what broke */
};

/** session_create() - a connection that the keeper accepted, or one of an earlier arbiter
 * @msg:	CHANNEL_SESSION; msg->chunks != 0: it has a pool, and @ledger is its memfd
 * @sock, @pidfd, @ledger: become the session's; -1: none
 * Return: 0 or a negative errno; the descriptors are consumed either way */
int session_create(
    struct arbiter *a, const struct channel_msg *msg, int sock, int pidfd, int ledger);
/** session_start() - listen to it; a pool of an earlier arbiter is told RESTARTED */
void session_start(struct session *s);
/** session_at() - the one that the keeper has in @slot, if it is still that of @id; or NULL */
struct session *session_at(struct arbiter *a, uint32_t slot, uint32_t id);
/** session_find() - looks at all of them; or NULL */
struct session *session_find(struct arbiter *a, uint32_t id);

/* The keeper's answers. */
void session_on_created(struct session *s, int error, int ledger);
void session_on_pinned(struct session *s, const struct channel_msg *msg);
void session_on_unpinned(struct session *s, uint32_t pinned);
void session_on_audited(struct session *s, const struct channel_msg *msg);

/** session_refuse() - the answer to a HELLO that cannot be met, and the end */
void session_refuse(struct session *s, int error, const char *reason);

/** session_has_pool() - it is a pool that the core knows */
bool session_has_pool(const struct session *s);
/** session_free() - let go of everything here; tells the keeper nothing */
void session_free(struct session *s);

extern const struct core_ops
    session_core_ops; /* ctx: struct arbiter; pool->shell: session */

#endif
