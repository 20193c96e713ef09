/* SPDX-License-Identifier: ISC */

/*
 * Requests: what the ledger could not meet at once.
 *
 *	NEW --enter, start--> WAITING --end--> ENDED
 *	 |                                       ^
 *	 +------------- end ---------------------+
 *
 * Invariants, under the pool's lock:
 *   R1  `waiting` holds exactly the WAITING ones, in the order of their tags, which is
 *       the order in which they came: nobody overtakes;
 *   R2  budd was told of a prefix of `waiting`; `unsent` is the first one behind it;
 *   R3  `ended` holds exactly the ENDED ones whose callback has not begun, and event_fd
 *       is readable exactly while there are any, or events or blocks to be told;
 *   R4  bud__request_end() alone makes a request ENDED, once.
 *
 * While budd is there, it says whose turn it is. When it is away, bud__serve_local()
 * does, with the same rule: first in, first out, a large one at the head waits.
 */
#include "client/request.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "client/link.h"

int
bud__tag_cmp(const struct bud__request *a, const struct bud__request *b)
{
	return (a->tag > b->tag) - (a->tag < b->tag);
}

int
bud__deadline_cmp(const struct bud__request *a, const struct bud__request *b)
{
	if (a->deadline_ns != b->deadline_ns)
		return a->deadline_ns > b->deadline_ns ? 1 : -1;
	return bud__tag_cmp(a, b);
}

RB_GENERATE(bud__tags, bud__request, by_tag, bud__tag_cmp)
RB_GENERATE(bud__deadlines, bud__request, by_deadline, bud__deadline_cmp)

int64_t
bud__now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* --- Taking, all or none --- */

/* `entered` and `left`: who stands between order[] and the map, for whatever reason, is seen.
 * See ledger_is_quiet(). */
int
bud__give_frame(struct bud_pool *pool, uint32_t frame)
{
	struct ledger_header *h = pool->ledger.header;
	int r;

	atomic_fetch_add(&h->entered, 1);
	r = ledger_give(&pool->ledger, frame);
	atomic_fetch_add(&h->left, 1);
	return r;
}

static void
put_back(struct bud_pool *pool, const uint32_t *frames, uint32_t count)
{
	/* An error would mean that somebody wrote over the ledger; then the next
	 * bud_free() of that buffer says so. */
	for (uint32_t i = 0; i < count; i++)
		(void)bud__give_frame(pool, frames[i]);
}

bool
bud__take_frames(struct bud_pool *pool, unsigned int order, uint32_t count,
    uint32_t *frames, bool *belledp)
{
	uint32_t last = ((uint32_t)1 << order) - 1; /* frame of a buffer */
	struct ledger_header *h = pool->ledger.header;
	uint32_t n = 0;

	atomic_fetch_add(&h->entered, 1);
	while (n < count && ledger_take(&pool->ledger, order, &frames[n]) == 0)
		n++;
	atomic_fetch_add(&h->left, 1);
	if (n < count) {
		put_back(pool, frames, n);
		return false;
	}
	for (uint32_t i = 0; i < count; i++)
		if (ledger_claim_mark(&pool->ledger, frames[i] + last))
			*belledp = true;
	return true;
}

/* --- A request's life --- */

struct bud__request *
bud__request_create(const struct bud__want *want)
{
	struct bud__request *r;
	pthread_condattr_t attr;

	r = calloc(1, sizeof(*r) + want->count * sizeof(r->frames[0]));
	if (r == NULL)
		return NULL;
	r->want = *want;
	r->deadline_ns = BUD__NEVER;
	if (want->timeout_ms > 0)
		r->deadline_ns = bud__now_ns() + (int64_t)want->timeout_ms * 1000000;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&r->cond, &attr);
	pthread_condattr_destroy(&attr);
	return r;
}

void
bud__request_free(struct bud__request *r)
{
	pthread_cond_destroy(&r->cond);
	free(r);
}

void
bud__request_enter(struct bud_pool *pool, struct bud__request *r)
{
	static _Atomic uint64_t last_tag;

	/* Under the lock, so that R1 holds; of the whole process, so that a handle
	 * names one request of one pool. */
	r->tag = atomic_fetch_add(&last_tag, 1) + 1;
	RB_INSERT(bud__tags, &pool->tags, r);
}

static bool
has_timer(const struct bud__request *r)
{
	return r->granted != NULL && r->deadline_ns != BUD__NEVER;
}

static void
enqueue(struct bud_pool *pool, struct bud__request *r)
{
	r->state = BUD__WAITING;
	TAILQ_INSERT_TAIL(&pool->waiting, r, entry);
	atomic_store(&pool->crowded, true);
	atomic_store(&pool->settling, false);
	if (pool->unsent == NULL)
		pool->unsent = r;
	if (has_timer(r))
		RB_INSERT(bud__deadlines, &pool->deadlines, r);
}

static void
dequeue(struct bud_pool *pool, struct bud__request *r)
{
	if (pool->unsent == r)
		pool->unsent = TAILQ_NEXT(r, entry);
	if (r->sent)
		pool->sent_count--;
	TAILQ_REMOVE(&pool->waiting, r, entry);
	atomic_store(&pool->crowded, !TAILQ_EMPTY(&pool->waiting));
	if (has_timer(r))
		RB_REMOVE(bud__deadlines, &pool->deadlines, r);
}

void
bud__request_start(struct bud_pool *pool, struct bud__request *r)
{
	assert(r->state == BUD__NEW && r->tag != 0);
	if (r->want.local && !atomic_load(&pool->away)) {
		bud__request_end(pool, r, -EAGAIN);
		return;
	}
	enqueue(pool, r);
	bud__flush(pool); /* may find out that budd is away */
	if (!atomic_load(&pool->away))
		return;
	bud__serve_local(pool);
	if (r->state == BUD__WAITING && r->want.timeout_ms == 0)
		bud__request_end(pool, r, -ENOTCONN);
}

void
bud__request_end(struct bud_pool *pool, struct bud__request *r, int result)
{
	assert(r->state != BUD__ENDED);
	if (r->state == BUD__WAITING)
		dequeue(pool, r);
	r->state = BUD__ENDED;
	r->result = result;
	if (r->granted == NULL) {
		pthread_cond_signal(&r->cond);
		return;
	}
	bud__rouse(pool);
	TAILQ_INSERT_TAIL(&pool->ended, r, entry);
	pool->ended_count++;
}

void
bud__request_stop(struct bud_pool *pool, struct bud__request *r, int result)
{
	/* Ended first: a socket that fails now must not serve it again. */
	bool told = r->sent;

	bud__request_end(pool, r, result);
	if (told)
		bud__note(pool, PROTO_CANCEL, r->tag, 0);
	/* There may be room for one more at budd; and the one behind it may fit. */
	if (atomic_load(&pool->away))
		bud__serve_local(pool);
	else
		bud__flush(pool);
}

void
bud__request_expire(struct bud_pool *pool, struct bud__request *r)
{
	bud__request_stop(pool, r, atomic_load(&pool->away) ? -ENOTCONN : -ETIMEDOUT);
}

bool
bud__request_take(struct bud_pool *pool, struct bud__request *r)
{
	bool belled = false;

	assert(r->state == BUD__WAITING);
	if (!bud__take_frames(pool, r->want.order, r->want.count, r->frames, &belled))
		return false;
	/* Ended first: the bell may find out that budd is away, and then all that still
	 * wait are served. */
	bud__request_end(pool, r, 0);
	if (belled)
		bud__ring_locked(pool);
	return true;
}

void
bud__serve_local(struct bud_pool *pool)
{
	struct bud__request *r;

	while ((r = TAILQ_FIRST(&pool->waiting)) != NULL && bud__request_take(pool, r))
		;
}

struct bud__request *
bud__take_ended(struct bud_pool *pool)
{
	struct bud__request *r = TAILQ_FIRST(&pool->ended);

	if (r == NULL)
		return NULL;
	TAILQ_REMOVE(&pool->ended, r, entry);
	RB_REMOVE(bud__tags, &pool->tags, r);
	pool->ended_count--;
	bud__calm(pool);
	return r;
}
