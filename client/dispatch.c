/* SPDX-License-Identifier: ISC */

/*
 * Requests with a callback. They end like the others, but nobody sleeps on them: the
 * program polls bud_fd(), an epoll descriptor over
 *   - the socket: something came from budd, or a full socket has room again;
 *   - event_fd: a callback is due, whoever found out (R3 in request.c);
 *   - timer_fd: the earliest deadline, which must hold without budd, too.
 * and then calls bud_dispatch(), which alone runs callbacks (and bud_close()).
 *
 * A callback runs without a lock and may call anything, bud_close() included: each
 * bud_dispatch() leaves a note of itself with its thread, for bud_close() to find.
 */
#include "client/dispatch.h"

#include <assert.h>
#include <errno.h>
#include <sys/timerfd.h>

#include "client/alloc.h"
#include "client/link.h"
#include "client/request.h"
#include "client/wait.h"
#include "client/watch.h"

/* A bud_dispatch() of this thread. */
struct visit {
	struct bud_pool *pool; /* NULL: closed by a callback */
	struct visit *outer;
};

static _Thread_local struct visit *visits;

unsigned int
bud__dispatch_abandon(struct bud_pool *pool)
{
	unsigned int n = 0;

	for (struct visit *v = visits; v != NULL; v = v->outer)
		if (v->pool == pool) {
			v->pool = NULL;
			n++;
		}
	return n;
}

/* --- Deadlines --- */

static void
set_timer(struct bud_pool *pool)
{
	struct bud__request *r = RB_MIN(bud__deadlines, &pool->deadlines);
	int64_t at_ns = r != NULL ? r->deadline_ns : 0;
	struct itimerspec spec = {
		.it_value = { .tv_sec = (time_t)(at_ns / 1000000000),
		    .tv_nsec = (long)(at_ns % 1000000000) },
	};

	if (at_ns == pool->timer_ns)
		return;
	pool->timer_ns = at_ns;
	/* This also makes it unreadable again. */
	(void)timerfd_settime(pool->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

static void
expire(struct bud_pool *pool)
{
	struct bud__request *r;
	int64_t now_ns = bud__now_ns();

	while ((r = RB_MIN(bud__deadlines, &pool->deadlines)) != NULL &&
	       r->deadline_ns <= now_ns)
		bud__request_expire(pool, r);
}

/* --- Callbacks --- */

/* The request is the caller's own by now. */
static void
call_back(struct bud_pool *pool, struct bud__request *r)
{
	bud_granted_fn *granted = r->granted;
	void *arg = r->arg, *buf = NULL;
	int result = r->result;

	if (result == 0)
		buf = bud__deliver(pool, r->want.order, r->frames[0]);
	bud__request_free(r);
	granted(buf, result, arg);
}

int
bud_fd(struct bud_pool *pool)
{
	return atomic_load(&pool->forked) ? -EINVAL : pool->outer_epoll;
}

/* Runs callbacks of requests that have ended by now, not of those that callbacks start:
 * these might never end. Returns with the pool locked, if it is still there. */
static int
run_callbacks(struct bud_pool *pool, const struct visit *v)
{
	unsigned int due = pool->ended_count;
	struct bud__request *r;
	struct bud__block b;
	unsigned int what;
	uint64_t bytes;
	int n = 0;

	for (;;) {
		if (bud__watch_take(pool, &what, &bytes)) {
			bud_event_fn *event = pool->watch.event;
			void *arg = pool->watch.arg;

			pthread_mutex_unlock(&pool->lock);
			event(what, bytes, arg);
		} else if (bud__blocks_take(pool, &b)) {
			bud_block_fn *block = pool->blocks.block;
			void *arg = pool->blocks.arg;

			pthread_mutex_unlock(&pool->lock);
			block(b.due, pool->memory + b.offset, b.bytes, arg);
		} else if (due-- > 0 && (r = bud__take_ended(pool)) != NULL) {
			pthread_mutex_unlock(&pool->lock);
			call_back(pool, r);
		} else {
			break;
		}
		n++;
		/* Careful: the callback may have closed the pool, or forked. */
		if (v->pool == NULL || atomic_load(&pool->forked))
			return n;
		pthread_mutex_lock(&pool->lock);
	}
	bud__leave(pool);
	pthread_mutex_unlock(&pool->lock);
	return n;
}

int
bud_dispatch(struct bud_pool *pool)
{
	struct visit v = { .pool = pool, .outer = visits };
	int n;

	if (atomic_load(&pool->forked))
		return -EINVAL;
	visits = &v;
	pthread_mutex_lock(&pool->lock);
	pool->inside++;
	if (!pool->reading && !atomic_load(&pool->away))
		bud__read(pool);
	expire(pool);
	set_timer(pool);
	n = run_callbacks(pool, &v);
	visits = v.outer;
	return n;
}

void
bud__dispatch_rest(struct bud_pool *pool)
{
	struct bud__request *r;

	pthread_mutex_lock(&pool->lock);
	while ((r = bud__take_ended(pool)) != NULL) {
		pthread_mutex_unlock(&pool->lock);
		if (r->result == 0)
			r->result = -ECANCELED; /* its buffer ends with the pool */
		call_back(pool, r);
		pthread_mutex_lock(&pool->lock);
	}
	pthread_mutex_unlock(&pool->lock);
}

/* --- Asking and cancelling --- */

/* The handle that a caller gets is the tag: it names nothing else, ever. */
static struct bud_request *
handle_of(const struct bud__request *r)
{
	return (struct bud_request *)(uintptr_t)r->tag;
}

int
bud_request(struct bud_pool *pool, size_t size, int timeout_ms, unsigned int flags,
    bud_granted_fn *granted, void *arg, struct bud_request **requestp)
{
	struct bud__request *r;
	struct bud__want want;
	bool taken, belled;
	int error;

	if (granted == NULL || (flags & ~BUD_LOCAL) != 0)
		return -EINVAL;
	if ((error = bud__check(pool, size, 1, timeout_ms, flags, &want)) != 0)
		return error;
	if ((r = bud__request_create(&want)) == NULL)
		return -ENOMEM;
	r->granted = granted;
	r->arg = arg;
	taken = bud__take_now(pool, &want, r->frames, &belled);
	if (belled)
		bud__ring(pool);

	pthread_mutex_lock(&pool->lock);
	if (pool->closing) {
		/* What was taken ends with the pool. */
		pthread_mutex_unlock(&pool->lock);
		bud__request_free(r);
		return -ECANCELED;
	}
	bud__request_enter(pool, r);
	/* Before its callback can run in another thread. */
	if (requestp != NULL)
		*requestp = handle_of(r);
	if (taken)
		bud__request_end(pool, r, 0);
	else
		bud__request_start(pool, r);
	set_timer(pool);
	pthread_mutex_unlock(&pool->lock);
	return 0;
}

/* Ended, but its callback does not know yet. */
static void
take_back(struct bud_pool *pool, struct bud__request *r)
{
	bool had_buffer = r->result == 0;

	r->result = -ECANCELED;
	if (!had_buffer)
		return;
	(void)bud__give_frame(pool, r->frames[0]);
	bud__gave_locked(pool);
}

int
bud_cancel(struct bud_request *request)
{
	struct bud__request *r;
	struct bud_pool *pool;
	int error = 0;

	bud__pools_lock();
	pool = bud__pools_find((uint64_t)(uintptr_t)request, &r);
	if (pool == NULL) {
		bud__pools_unlock();
		return -ENOENT;
	}
	if (atomic_load(&pool->forked))
		error = -EINVAL;
	else if (r->granted == NULL)
		error = -ENOENT; /* a thread's: nobody was given a handle to it */
	else if (r->state == BUD__ENDED)
		take_back(pool, r);
	else
		bud__request_stop(pool, r, -ECANCELED);
	pthread_mutex_unlock(&pool->lock);
	bud__pools_unlock();
	return error;
}
