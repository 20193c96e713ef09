/* SPDX-License-Identifier: ISC */

/* One call that the ledger could not meet at once: a thread waits for it, or a
 * callback will be told. */
#ifndef CLIENT_REQUEST_H
#define CLIENT_REQUEST_H

#include "client/pool.h"

#define BUD__NEVER INT64_MAX /* a deadline */

enum bud__state {
	BUD__NEW,     /* nobody else knows it */
	BUD__WAITING, /* in pool->waiting */
	BUD__ENDED,   /* result is there; with a callback: in pool->ended */
};

/* What somebody asks for. */
struct bud__want {
	uint64_t size_bytes;
	unsigned int order;
	uint32_t count;
	int timeout_ms;
	bool local; /* do not ask budd; with a timeout of 0 only */
};

struct bud__request {
	RB_ENTRY(bud__request) by_tag;
	RB_ENTRY(bud__request) by_deadline;
	TAILQ_ENTRY(bud__request) entry;   /* pool->waiting or pool->ended */
	TAILQ_ENTRY(bud__request) blocked; /* pool->blocked */

	struct bud__want want;
	uint64_t tag;
	int64_t
	    deadline_ns; /* CLOCK_MONOTONIC; with a timeout of 0 budd answers at once */
	enum bud__state state;
	bool sent;
	int result; /* 0 or a negative errno */

	bud_granted_fn *granted; /* NULL: a thread waits */
	void *arg;
	pthread_cond_t cond; /* of that thread */

	uint32_t frames[]; /* want.count of them, once result is 0 */
};

int bud__tag_cmp(const struct bud__request *a, const struct bud__request *b);
int bud__deadline_cmp(const struct bud__request *a, const struct bud__request *b);
RB_PROTOTYPE(bud__tags, bud__request, by_tag, bud__tag_cmp)
RB_PROTOTYPE(bud__deadlines, bud__request, by_deadline, bud__deadline_cmp)

int64_t bud__now_ns(void);

/** bud__give_frame() - ledger_give(), and seen by ledger_is_quiet() */
int bud__give_frame(struct bud_pool *pool, uint32_t frame);
/** bud__take_frames() - take @count buffers, whoever queues; all or none
 * @belledp:	set, never cleared: low_mark was claimed, and budd must hear the bell
 *
 * What it put back, or ledger_take() did on its way, is a free: the caller has
 * bud__gave() look after it, unless it tells budd anyway.
 */
bool bud__take_frames(struct bud_pool *pool, unsigned int order, uint32_t count,
    uint32_t *frames, bool *belledp);

struct bud__request *bud__request_create(const struct bud__want *want);
void bud__request_free(struct bud__request *r);

/* From here on the pool is locked. */

/** bud__request_enter() - give it its tag: it is alive, and bud_cancel() finds it */
void bud__request_enter(struct bud_pool *pool, struct bud__request *r);
/** bud__request_start() - queue it, at budd or here; it may have ended on return */
void bud__request_start(struct bud_pool *pool, struct bud__request *r);
/** bud__request_end() - it has its result: wake its thread, or make its callback due */
void bud__request_end(struct bud_pool *pool, struct bud__request *r, int result);
/** bud__request_stop() - end one that waits, and tell budd, if budd knows of it */
void bud__request_stop(struct bud_pool *pool, struct bud__request *r, int result);
/** bud__request_expire() - its deadline has come */
void bud__request_expire(struct bud_pool *pool, struct bud__request *r);
/** bud__request_take() - it is its turn: take what it wants and end it; false: it does
 * not fit, and goes on waiting */
bool bud__request_take(struct bud_pool *pool, struct bud__request *r);
/** bud__serve_local() - budd is away: first come, first served, of what was freed */
void bud__serve_local(struct bud_pool *pool);
/** bud__take_ended() - the request whose callback is due next, no longer alive; or
 * NULL */
struct bud__request *bud__take_ended(struct bud_pool *pool);

#endif
