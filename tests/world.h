/* SPDX-License-Identifier: ISC */

/*
 * A world for the core to live in: a clock that moves when told, a keeper that answers when
 * told, and clients that ask, take, give and answer their turns through real ledgers.
 *
 * The world is a witness, too: whatever the core may never do (ask the keeper two things at
 * once, pin beyond the walls, answer a request twice) prints a line and aborts on the spot.
 * Nothing here knows of libcheck, nor of real time, memory or randomness.
 */
#ifndef TESTS_WORLD_H
#define TESTS_WORLD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "daemon/core.h"

#define WORLD_HOST_WALL ((uint64_t)1 << 40) /* one that does not bind */

/* A request, as its client sees it. It ends once: used, refused or gone. */
enum world_state {
	WORLD_ASKED,
	WORLD_TURN, /* granted; to be answered with DONE */
	WORLD_USED,
	WORLD_REFUSED,
	WORLD_GONE, /* the client is not listened to any more */
};

struct world_request {
	enum world_state state;
	int error; /* of WORLD_REFUSED */
	unsigned int order;
	uint32_t count;
};

enum world_question {
	WORLD_NOTHING,
	WORLD_PIN,
	WORLD_UNPIN,
};

struct world;
struct world_pool;

/* For whoever wants to know at once; may be NULL, each of them. Called from within the
 * core, into which they do not call back. */
struct world_watch {
	void (*turn)(void *watcher, struct world_pool *p, uint64_t tag);
	void (*refused)(void *watcher, struct world_pool *p, uint64_t tag, int error);
	void (*told)(void *watcher, struct world_pool *p, enum core_news news);
};

struct world_pool {
	TAILQ_ENTRY(world_pool) entry;   /* of the world */
	TAILQ_ENTRY(world_pool) waiting; /* for the keeper */
	struct world *world;
	void *owner; /* of whoever made the world */
	struct pool pool;
	struct record *record;
	void *ledger;

	enum world_question question; /* what the keeper was asked */
	struct chunk_range range;
	struct chunk_range next; /* that it is to pin after it; or empty */
	uint32_t pinned;         /* as the keeper knows it */

	bool opened;
	int open_error;
	bool lowered; /* its wall, below what was pinned */

	struct world_request *requests; /* that of tag t is [t - 1 - forgotten] */
	uint64_t nrequests;             /* ever */
	uint64_t forgotten;
	uint64_t room; /* in requests */
	uint64_t told[CORE_NEWS_COUNT];
	uint64_t *turns; /* tags, oldest first */
	uint32_t nturns;
	uint32_t *held; /* first frames of the buffers that the client has */
	uint32_t nheld;
};

TAILQ_HEAD(world_pools, world_pool);

struct world {
	uint64_t barriers; /* that the core asked for */
	struct core core;
	struct instant now;
	struct world_pools pools;
	struct world_pools questions; /* oldest first */
	const struct world_watch *watch;
	void *watcher;
	bool forgetful; /* of requests that have ended; else all can be looked up */
	uint32_t next_id;
	unsigned int fail_in; /* that pin fails: 1 is the next, 0 none */
	int fail_error;
	uint64_t pins; /* asked, so far */
	uint64_t unpins;
	uint64_t grants;
	uint64_t refusals;
	uint64_t told[CORE_NEWS_COUNT]; /* by enum core_news */
};

void world_init(struct world *w, uint64_t host_wall);
/** world_fini() - closes what is still open */
void world_fini(struct world *w);

/* Pools. Sizes in chunks. */

/** world_open() - open a pool and let the keeper pin its base */
struct world_pool *world_open(
    struct world *w, uint32_t base, uint32_t add, uint32_t wall);
/** world_open_unsettled() - open a pool, the keeper still being asked; NULL and *@errorp
 * (negative) if the core would not have it */
struct world_pool *world_open_unsettled(
    struct world *w, const struct pool_limits *limits, int *errorp);
/** world_open_hurried() - open a pool for which the keeper is being asked for what core_hurry()
 * allowed already; NULL if the core would not have it */
struct world_pool *world_open_hurried(
    struct world *w, const struct pool_limits *limits, struct hurry *h);
/** world_open_with() - the same, settled; NULL if the core would not have it */
struct world_pool *world_open_with(struct world *w, const struct pool_limits *limits);
struct pool_limits world_limits(uint32_t base, uint32_t add, uint32_t wall);
void world_close(struct world *w, struct world_pool *p);
/** world_drop() - the core stops listening to the client */
void world_drop(struct world *w, struct world_pool *p);
/** world_adopt() - a pool of another world, whose arbiter died at this moment, in @w: its
 * record and ledger are copied, and its client holds what it held
 * @heard:	the keeper did what the dead had asked of it, and nobody heard the answer */
struct world_pool *world_adopt(
    struct world *w, const struct world_pool *dead, bool heard);

/* The keeper. */

/** world_step() - the keeper answers its oldest question; false: there is none */
bool world_step(struct world *w);
/** world_settle() - the keeper answers until it is asked no more */
void world_settle(struct world *w);
/** world_fail_pin() - the @nth pin from now (1: the next to be answered) fails */
void world_fail_pin(struct world *w, unsigned int nth, int error);

/* Time. */

/** world_pass_time() - move the clock by @ns, running the core at each instant due */
void world_pass_time(struct world *w, int64_t ns);
/** world_pass_ticks() - the same in ticks; the keeper settles after each */
void world_pass_ticks(struct world *w, uint32_t ticks);

/* Clients. */

/** world_ask() - ALLOC; returns its tag */
uint64_t world_ask(struct world *w, struct world_pool *p, uint64_t size_bytes,
    uint32_t count, int32_t timeout_ms);
/** world_cancel() - CANCEL */
void world_cancel(struct world *w, struct world_pool *p, uint64_t tag);
const struct world_request *world_request(const struct world_pool *p, uint64_t tag);
/** world_take() - take a buffer as a client does that asks nobody; false: none is free, or
 * somebody queues. Rings if it claimed low_mark */
bool world_take(struct world_pool *p, uint64_t size_bytes);
/** world_take_regardless() - the same by a thread that looked at `queued` too early */
bool world_take_regardless(struct world_pool *p, uint64_t size_bytes);
/** world_give() - give back the @index-th buffer held; rings if somebody queues */
void world_give(struct world *w, struct world_pool *p, uint32_t index);
/** world_give_frame() - the same for the buffer that starts at @frame */
void world_give_frame(struct world *w, struct world_pool *p, uint32_t frame);
void world_give_all(struct world *w, struct world_pool *p);
/** world_answer() - the client uses its oldest turn, or fails at it, and says so; false: it
 * has none */
bool world_answer(struct world *w, struct world_pool *p);
/** world_fail_turn() - the client fails at its oldest turn */
void world_fail_turn(struct world *w, struct world_pool *p);
/** world_answer_all() - turns and the keeper, until all is quiet */
void world_answer_all(struct world *w);

/* Judgement. */

/** world_check() - all invariants that hold at any moment; aborts with the violated one */
void world_check(const struct world *w);
/** world_check_quiet() - nobody waits in vain: to be asked when nothing is under way, and
 * the tick has looked at everything */
void world_check_quiet(struct world *w);

#endif
