/* SPDX-License-Identifier: ISC */

/*
 * A thread that waits for its turn, and which thread reads the socket.
 *
 * There is no thread of the library's own. Of those that wait, one sleeps on the socket
 * (`reading`) and handles what comes for all; the others sleep each on its own
 * condition. While it sleeps nobody else reads: it would not wake up again for a message
 * that somebody else has taken, though that message may have ended its wait. When it
 * goes, it wakes one of the others to take its place.
 *
 * What ends the sleep of the reader: a message; room in a full socket; its deadline;
 * bud__away(), which shuts the socket down; bud_close(). Nothing else may end a request
 * whose thread is the reader.
 */
#include "client/wait.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "client/link.h"

void
bud__leave(struct bud_pool *pool)
{
	pool->inside--;
	if (pool->closing)
		pthread_cond_broadcast(&pool->left);
}

static int
poll_ms(int64_t deadline_ns, int64_t now_ns)
{
	int64_t ms;

	if (deadline_ns == BUD__NEVER)
		return -1;
	ms = (deadline_ns - now_ns + 999999) / 1000000;
	return ms < INT_MAX ? (int)ms : INT_MAX;
}

static void
sleep_on_socket(struct bud_pool *pool, const struct bud__request *r, int64_t now_ns)
{
	struct epoll_event ev;

	pool->reading = true;
	pthread_mutex_unlock(&pool->lock);
	/* Errors (EINTR is the one there can be) look like a wake-up without reason. */
	(void)epoll_wait(pool->io_epoll, &ev, 1, poll_ms(r->deadline_ns, now_ns));
	pthread_mutex_lock(&pool->lock);
	pool->reading = false;
	if (atomic_load(&pool->away))
		bud__detach(pool);
	else
		bud__read(pool);
}

static void
sleep_on_condition(struct bud_pool *pool, struct bud__request *r)
{
	struct timespec until = { .tv_sec = (time_t)(r->deadline_ns / 1000000000),
		.tv_nsec = (long)(r->deadline_ns % 1000000000) };

	if (r->deadline_ns == BUD__NEVER)
		pthread_cond_wait(&r->cond, &pool->lock);
	else
		(void)pthread_cond_timedwait(&r->cond, &pool->lock, &until);
}

/* The socket has no reader any more: wake a thread that can be the next one. If it is
 * just going, too, it does the same. */
static void
hand_over(struct bud_pool *pool)
{
	struct bud__request *next = TAILQ_FIRST(&pool->blocked);

	if (next != NULL && !pool->reading)
		pthread_cond_signal(&next->cond);
}

static void
wait_for_end(struct bud_pool *pool, struct bud__request *r)
{
	int64_t now_ns;

	TAILQ_INSERT_TAIL(&pool->blocked, r, blocked);
	while (r->state == BUD__WAITING) {
		now_ns = bud__now_ns();
		if (r->deadline_ns <= now_ns)
			bud__request_expire(pool, r);
		else if (pool->reading || atomic_load(&pool->away))
			sleep_on_condition(pool, r);
		else
			sleep_on_socket(pool, r, now_ns);
	}
	TAILQ_REMOVE(&pool->blocked, r, blocked);
	hand_over(pool);
}

static int
wait_in_line(struct bud_pool *pool, const struct bud__want *want, uint32_t *frames)
{
	struct bud__request *r;
	int result;

	if ((r = bud__request_create(want)) == NULL)
		return -ENOMEM;
	pthread_mutex_lock(&pool->lock);
	if (pool->closing) {
		pthread_mutex_unlock(&pool->lock);
		bud__request_free(r);
		return -ECANCELED;
	}
	pool->inside++;
	bud__request_enter(pool, r);
	bud__request_start(pool, r);
	wait_for_end(pool, r);
	RB_REMOVE(bud__tags, &pool->tags, r);
	result = r->result;
	bud__leave(pool);
	pthread_mutex_unlock(&pool->lock);

	if (result == 0)
		memcpy(frames, r->frames, want->count * sizeof(frames[0]));
	bud__request_free(r);
	return result;
}

int
bud__wait(struct bud_pool *pool, const struct bud__want *want, uint32_t *frames)
{
	int cancel, result;

	if (want->local && !atomic_load(&pool->away))
		return -EAGAIN; /* not even a system call */
	cancel = bud__hold_cancel();
	result = wait_in_line(pool, want, frames);
	bud__resume_cancel(cancel);
	return result;
}
