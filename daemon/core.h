/* SPDX-License-Identifier: ISC */

/*
 * The core: what budd decides. It is given messages, the keeper's answers and the time, and
 * acts through the operations below. It calls no socket, clock or libevent, so that the
 * tests and the simulator run the very same code as budd.
 *
 *	request, done, cancel, doorbell ---+           +--> grant, refuse
 *	pinned, unpinned (the keeper) -----+--> core --+--> pin, unpin   one slice a time
 *	time passes -----------------------+           +--> opened
 *
 * core.c has the entry points and the clockwork, serve.c whose turn it is within a pool,
 * share.c who may grow when there is not enough for all, grow.c how a pool grows and
 * shrinks, hurry.c what is asked for before there is a pool, caches.c what lies in threads'
 * caches, release.c the release pass, policy.c the rules that can be chosen, live.c what an
 * operator changes, registered.c how a block goes that a device may know, audit.c whether what
 * is pinned still is.
 */
#ifndef DAEMON_CORE_H
#define DAEMON_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/audit.h"
#include "daemon/clock.h"
#include "daemon/hurry.h"
#include "daemon/pool.h"
#include "daemon/share.h"
#include "proto/ledger_plan.h"
#include "proto/messages.h"

#define PINS_OUT_MAX \
	2u /* slices being pinned, for all pools; the keeper is never idle */

struct core;

/* What happened, for whoever watches: the log, the events of the status, the client. */
enum core_news {
	CORE_GROWN,    /* by @bytes, pool->grows_for */
	CORE_RELEASED, /* @bytes, pool->releases_for */
	CORE_PRESSURE, /* memory is short, and this pool has more than its share */
	CORE_ASKED,    /* its client is to unregister the last block, of @bytes */
	CORE_KEPT,     /* ... need not any more: the pool has it again */
};
#define CORE_NEWS_COUNT (CORE_KEPT + 1)

/* What the core asks of the world. None of them calls back into the core. */
struct core_ops {
	/* Pin the chunks [r.from, r.to), at the end of the pinned prefix; then
	 * core_pinned(). At most one of pin and unpin is under way for a pool. */
	void (*pin)(void *ctx, struct pool *p, struct chunk_range r);
	/* Give back the chunks [r.from, r.to), the end of the prefix; then
	 * core_unpinned(). */
	void (*unpin)(void *ctx, struct pool *p, struct chunk_range r);
	/* Look at the chunks [r.from, r.to) of what is pinned; then core_audited(). One
	 * at a time, of all pools. NULL if audit_ns is 0. */
	void (*audit)(void *ctx, struct pool *p, struct chunk_range r);
	void (*grant)(void *ctx, struct pool *p, uint64_t tag);
	/* @error is a positive errno */
	void (*refuse)(void *ctx, struct pool *p, uint64_t tag, int error);
	/* The base block is there (error 0), or cannot be: a positive errno. The shell
	 * closes a pool that failed. */
	void (*opened)(void *ctx, struct pool *p, int error);
	void (*tell)(void *ctx, struct pool *p, enum core_news news, uint64_t bytes);
	/* Have every processor that runs a thread of a client execute a full barrier. false:
	 * that cannot be had. */
	bool (*barrier)(void *ctx);
};

struct core_params {
	uint64_t host_wall; /* bytes, ledgers' locked pages included */
	int64_t tick_ns;
	int64_t audit_ns;       /* from one audit of the pins to the next; 0: none */
	uint32_t release_ticks; /* the sample period */
	uint32_t idle_ticks;
	uint32_t give_up_ticks; /* that a client may take to unregister a block */
	uint32_t overtaken_max;
	uint64_t user_wall;  /* bytes that all pools of a user may pin; 0: no limit */
	uint32_t user_pools; /* pools that a user may have; 0: no limit */
	uint32_t user_requests; /* that all pools of a user may queue; 0: no limit */
};

struct core_counters {
	uint64_t passes;
	uint64_t blocks_released;
};

TAILQ_HEAD(pool_list, pool);
RB_HEAD(request_deadlines, request);
RB_PROTOTYPE(request_deadlines, request, by_deadline, compare_deadlines)

struct core {
	const struct core_ops *ops;
	void *ctx;
	struct core_params params;
	struct pool_list pools; /* oldest first */
	struct request_deadlines deadlines;
	struct user_list users;
	struct group_list groups;
	uint64_t committed;  /* bytes of the host's wall that are pinned or promised */
	uint64_t hurried;    /* ... of that, for pools that are not there yet */
	uint32_t starved;    /* pools that wait for memory of others */
	uint32_t squeezes;   /* since the last tick; see share.c */
	uint32_t slices_due; /* pools that have one to be asked for */
	uint32_t pins_out;
	uint64_t rounds; /* of share_serve() */
	bool sharing;    /* in the midst of one */
	bool kept;       /* somebody fits, but waits for one before it; see share.c */
	uint32_t tick;
	struct instant now;        /* as was told last */
	struct instant next_tick;  /* INSTANT_NEVER: nothing to tick for */
	struct instant next_audit; /* INSTANT_NEVER: there is no pool */
	struct pool *auditing;     /* a slice of it is being looked at; NULL: none */
	struct core_counters counters;
	struct tally tally;
	struct ledger_plan plan; /* scratch of serve.c */
};

void core_init(struct core *c, const struct core_params *params,
    const struct core_ops *ops, void *ctx);
/** core_freeze() - nobody is served any more, whatever becomes free: pools outlive this core,
 * and what it would begin now, another would have to finish */
void core_freeze(struct core *c);
/** core_fini() - every pool must have been closed */
void core_fini(struct core *c);
/** core_set_params() - after the configuration was read again */
void core_set_params(
    struct core *c, const struct core_params *params, struct instant now);

/**
 * core_open() - a new pool: pins its base block
 * @p:		pool_init()ed, with an empty record; the caller's, until core_close()
 * @h:		what was hurried for it, or nothing; is nothing afterwards, if it was opened
 *
 * Return: 0, and ops->opened() follows; -ENOSPC if the base does not fit into the host's
 * wall, its user's or its group's; -EDQUOT if its user has too many pools; -ENOMEM
 */
int core_open(struct core *c, struct pool *p, struct hurry *h);
/** core_adopt() - a pool of an earlier arbiter, of which @pinned chunks are pinned; what
 * was half done is finished
 * Return: 0 or -ENOMEM */
int core_adopt(struct core *c, struct pool *p, uint32_t pinned, struct instant now);
/** core_close() - the pool is gone, with all that it held; its requests end unanswered */
void core_close(struct core *c, struct pool *p, struct instant now);
/** core_drop_requests() - the client is not listened to any more; its memory stays */
void core_drop_requests(struct core *c, struct pool *p, struct instant now);

/* What a client says; already validated as messages. */

/** core_request() - ALLOC: is answered by grant or refuse, at once or later */
void core_request(struct core *c, struct pool *p, const struct proto_alloc *alloc,
    struct instant now);
void core_done(struct core *c, struct pool *p, uint64_t tag, enum proto_outcome outcome,
    struct instant now);
void core_cancel(struct core *c, struct pool *p, uint64_t tag, struct instant now);
void core_doorbell(struct core *c, struct pool *p, struct instant now);
/** core_resumed() - RESUMED: after an arbiter's death; what it waits for it asks again now */
void core_resumed(struct core *c, struct pool *p, struct instant now);

/** core_register() - the client registers its memory with devices from now on, or does not
 * any more: then it has given up whatever it was asked for */
void core_register(struct core *c, struct pool *p, bool registers);
/** core_gave_up() - GAVE-UP: it has unregistered the block that it was asked for as @ask */
void core_gave_up(struct core *c, struct pool *p, uint64_t offset, uint32_t ask);

/* What the keeper answers; error is a positive errno. */

void core_pinned(
    struct core *c, struct pool *p, uint32_t pinned, int error, struct instant now);
void core_unpinned(struct core *c, struct pool *p, uint32_t pinned, struct instant now);

/* What an operator changes in a living pool. */

/** core_set_wall() - at most the length of its memory. Raising it serves the queue at once;
 * lowering it below what is pinned stops growth and releases what is empty
 * Return: bytes that are pinned above it for the time being */
uint64_t core_set_wall(
    struct core *c, struct pool *p, uint64_t wall, struct instant now);
void core_set_add(struct core *c, struct pool *p, uint64_t add, struct instant now);
void core_set_weight(
    struct core *c, struct pool *p, uint32_t weight, struct instant now);
void core_set_policy(struct pool *p, const struct policy *policy);
/** core_set_keep_idle() - no release pass for this pool */
void core_set_keep_idle(struct pool *p, bool keep_idle);

/** core_release() - the release pass of one pool, now
 * @reason:	RELEASE_PERIOD to RELEASE_PRESSURE
 * Return: blocks that are being given back, or will be */
uint32_t core_release(struct core *c, struct pool *p, enum release_reason reason);

/** release_is_due() - would the pass give a block back now? */
bool release_is_due(const struct core *c, const struct pool *p);

/** core_next_due() - when core_run() has something to do; INSTANT_NEVER: never */
struct instant core_next_due(const struct core *c);
/** core_run() - deadlines and ticks that are due */
void core_run(struct core *c, struct instant now);

/* What keeps the first request of a pool from its turn. */
enum core_why {
	WHY_NOTHING,   /* nobody waits */
	WHY_SOON,      /* nothing: it is being seen to */
	WHY_GROWING,   /* a block for it is being pinned */
	WHY_RELEASING, /* a block is on its way back; then it is looked at again */
	WHY_PINNING,   /* pages could not be pinned; the next try is at the next tick */
	WHY_TURN,      /* the client has turns that it has not used yet */
	WHY_WALL,      /* the pool's */
	WHY_BLOCKS,    /* the pool has as many blocks as there may be */
	WHY_SECTION,   /* the wall that its section shares */
	WHY_USER,      /* the wall of its user */
	WHY_HOST,      /* the host's */
	WHY_ORDER,     /* there would be room, that is kept for others before it */
};

/* The block that would let it in, if the pool's own wall allows one. Chunks. */
struct core_wants {
	uint32_t from; /* where it would start, empty last blocks having gone */
	uint32_t chunks;
};

/** core_why() - why the first request of @p waits; nothing is changed but scratch memory
 * @w:	receives what would let it in, for WHY_SECTION to WHY_ORDER; else zeros */
enum core_why core_why(struct core *c, const struct pool *p, struct core_wants *w);
/** core_wall_for() - the lowest wall of its own that would let the first request in, or what
 * it has if there is none; bytes */
uint64_t core_wall_for(const struct core *c, const struct pool *p);

/** core_check() - invariants of the core and of its pools; for tests and debug builds */
bool core_check(const struct core *c);

/* Between the core's own files. */

/** serve() - grant whatever can be had, start to grow for what cannot, leave the rest */
void serve(struct core *c, struct pool *p, struct instant now);
/** turns_are_out() - a granted request has not been answered with DONE */
bool turns_are_out(const struct pool *p);
/** core_set_state() - a turn given, or failed; the deadline ends the waiting, never a turn,
 * which is an answer */
void core_set_state(struct core *c, struct request *r, enum request_state state);
/** core_forget() - end a request without an answer */
void core_forget(struct core *c, struct request *r);
/** core_refuse() - end a request with @error, a positive errno */
void core_refuse(struct core *c, struct request *r, int error);

/** core_account() - after `planned` changed: what host, user and group count for the pool */
void core_account(struct core *c, struct pool *p);
/** core_weigh_user() - after a pool of its came, went or changed its weight */
void core_weigh_user(const struct core *c, struct user *u);
/** core_trim() - give back empty last blocks that lie above a wall which was lowered */
void core_trim(struct core *c, struct pool *p);
/** core_join() - a pool gets its user and group, and is counted; 0 or -ENOMEM */
int core_join(struct core *c, struct pool *p);
/** core_view() - the pool as its policy sees it */
struct policy_view core_view(
    const struct core *c, const struct pool *p, uint32_t idle_ticks);
/** core_block() - chunks of the next block by @policy, in whole pages of the pool's heap;
 * the request that wants it, if there is one, needs @need */
uint32_t core_block(const struct pool *p, const struct policy *policy,
    const struct policy_view *v, uint32_t need);

/* One more of what both the pool and the host count. */
#define CORE_COUNT(c, p, what) ((c)->tally.sum.what++, (p)->record->counters.what++)

/** core_is_now() - what is counted from here on happens now; each entry point says so */
void core_is_now(struct core *c, struct instant now);

/** core_settle() - try again for a pool whose past is not clear yet */
void core_settle(struct core *c, struct pool *p);
/** grow_start() - add a block of @chunks; its slices are pinned in turn with others' */
void grow_start(
    struct core *c, struct pool *p, uint32_t chunks, enum grow_reason reason);
/** grow_ahead() - add a block before anybody asks, if the policy says so; arm low_mark */
void grow_ahead(struct core *c, struct pool *p);
/** grow_forget() - the pool is going away, in the midst of whatever it does */
void grow_forget(struct core *c, struct pool *p);
/** shrink_start() - close the last additional block and give its first slice back, or ask a
 * client that registers it; false: the client took something in it just now, or kept it when
 * it was asked last */
bool shrink_start(struct core *c, struct pool *p, enum release_reason reason);
/** shrink_go() - the last block is closed, and no device knows it */
void shrink_go(struct core *c, struct pool *p);

/** registered_may_go() - the last block can be given back, or asked for */
bool registered_may_go(const struct core *c, const struct pool *p);
/** registered_ask() - the last block was closed: ask the client to unregister it */
void registered_ask(struct core *c, struct pool *p);
/** registered_keep() - it is the client's again; serve() is the caller's to call */
void registered_keep(struct core *c, struct pool *p);
/** registered_tick() - has a deadline come? */
void registered_tick(struct core *c, struct pool *p);

/** core_wind() - after anything happened to a pool: set the tick going if it needs one, and
 * the audit */
void core_wind(struct core *c, const struct pool *p, struct instant now);

#endif
