/* SPDX-License-Identifier: ISC */

/*
 * The connection to budd.
 *
 * Nothing here waits. What the socket does not take now is kept and sent later, by
 * whoever comes first: the thread that sleeps on the socket (bud__flush() has it watch
 * for room, too), bud_dispatch(), the next request or the next bell. A DONE that were
 * lost would leave the pool's queue standing for ever, so DONE and CANCEL are kept as
 * notes. The order on the wire is: notes, oldest first; then requests by their tags.
 *
 * A grant is a turn, not a buffer. Whoever reads it takes the buffer on behalf of the
 * request at once, and answers: DONE used, or DONE failed if another thread was faster;
 * then the request keeps its place and budd grants again.
 *
 * Whatever budd says that it must not say ends the connection as its death would: what
 * is mapped works on.
 */
#include "client/link.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "client/cache.h"
#include "client/debug.h"
#include "client/request.h"
#include "client/watch.h"
#include "proto/wire.h"

#define READ_MAX 64u /* messages at a time: the lock is held meanwhile */

/* --- Out --- */

int
bud__send(struct bud_pool *pool, const union proto_msg *msg)
{
	int r;

	if (!bud__owns_descriptors(pool))
		return WIRE_E_CLOSED;
	r = wire_send(pool->sock, msg, msg->header.size, NULL, 0);
	if (r == 0 && pool->debug)
		bud__debug_message("->", msg);
	if (r == -ENOBUFS || r == -ENOMEM)
		return WIRE_E_AGAIN;
	return r < 0 ? WIRE_E_CLOSED : r;
}

/* Does the socket have to be watched for room? Takes effect on a sleeping reader. */
static void
set_full(struct bud_pool *pool, bool full)
{
	struct epoll_event ev = { .events = full ? EPOLLIN | EPOLLOUT : EPOLLIN };

	if (atomic_load(&pool->full) == full)
		return;
	atomic_store(&pool->full, full);
	(void)epoll_ctl(pool->io_epoll, EPOLL_CTL_MOD, pool->sock, &ev);
}

static int
send_note(struct bud_pool *pool, const struct bud__note *n)
{
	union proto_msg msg;

	proto_init(&msg, n->type);
	if (n->type == PROTO_DONE) {
		msg.done.tag = n->tag;
		msg.done.outcome = n->outcome;
	} else if (n->type == PROTO_WATCH) {
		msg.watch.mask = n->outcome;
	} else if (n->type == PROTO_HINT) {
		msg.hint.hint = n->outcome;
	} else if (n->type == PROTO_GAVE_UP) {
		msg.block.offset = n->tag;
		msg.block.ask = n->outcome;
	} else {
		msg.tag.tag = n->tag;
	}
	return bud__send(pool, &msg);
}

static int
send_notes(struct bud_pool *pool)
{
	size_t i = 0;
	int r = 0;

	while (i < pool->notes_count && (r = send_note(pool, &pool->notes[i])) == 0)
		i++;
	pool->notes_count -= i;
	if (i > 0)
		memmove(pool->notes, pool->notes + i,
		    pool->notes_count * sizeof(pool->notes[0]));
	return r;
}

/* Of what remains of a timeout: 0 would mean something else. */
static int32_t
remaining_ms(const struct bud__request *r)
{
	int64_t ms;

	if (r->deadline_ns == BUD__NEVER)
		return r->want.timeout_ms;
	ms = (r->deadline_ns - bud__now_ns() + 999999) / 1000000;
	return ms < 1 ? 1 : (int32_t)ms;
}

static int
send_request(struct bud_pool *pool, const struct bud__request *r)
{
	union proto_msg msg;

	proto_init(&msg, PROTO_ALLOC);
	msg.alloc.tag = r->tag;
	msg.alloc.size_bytes = r->want.size_bytes;
	msg.alloc.count = r->want.count;
	msg.alloc.timeout_ms = remaining_ms(r);
	return bud__send(pool, &msg);
}

static int
send_requests(struct bud_pool *pool)
{
	struct bud__request *r;
	int error;

	/* More than budd allows wait here: nobody is refused for being one too many. */
	while ((r = pool->unsent) != NULL && pool->sent_count < PROTO_REQUESTS_MAX) {
		if ((error = send_request(pool, r)) != 0)
			return error;
		r->sent = true;
		pool->sent_count++;
		pool->unsent = TAILQ_NEXT(r, entry);
	}
	return 0;
}

void
bud__flush(struct bud_pool *pool)
{
	int r;

	if (atomic_load(&pool->away))
		return;
	r = send_notes(pool);
	if (r == 0)
		r = send_requests(pool);
	if (r == WIRE_E_CLOSED)
		bud__away(pool);
	else
		set_full(pool, r == WIRE_E_AGAIN);
}

void
bud__note(struct bud_pool *pool, enum proto_type type, uint64_t tag, uint32_t outcome)
{
	struct bud__note *n = pool->notes;

	if (atomic_load(&pool->away))
		return;
	if (pool->notes_count == pool->notes_capacity) {
		n = reallocarray(n, pool->notes_capacity * 2 + 8, sizeof(*n));
		if (n == NULL) {
			bud__away(pool); /* better than a queue that stands still */
			return;
		}
		pool->notes = n;
		pool->notes_capacity = pool->notes_capacity * 2 + 8;
	}
	n[pool->notes_count++] =
	    (struct bud__note){ .type = type, .tag = tag, .outcome = outcome };
	bud__flush(pool);
}

/* --- The bell --- */

static int
send_bell(struct bud_pool *pool)
{
	union proto_msg msg;

	proto_init(&msg, PROTO_DOORBELL);
	return bud__send(pool, &msg);
}

void
bud__ring_locked(struct bud_pool *pool)
{
	if (!atomic_load(&pool->away) && send_bell(pool) == WIRE_E_CLOSED)
		bud__away(pool);
}

void
bud__ring(struct bud_pool *pool)
{
	bool full = atomic_load(&pool->full);
	int cancel = bud__hold_cancel();

	/* A full socket is full of messages, and each of them is a bell. */
	if (full || send_bell(pool) == WIRE_E_CLOSED) {
		pthread_mutex_lock(&pool->lock);
		if (full)
			bud__flush(pool);
		else
			bud__away(pool);
		pthread_mutex_unlock(&pool->lock);
	}
	bud__resume_cancel(cancel);
}

void
bud__gave_locked(struct bud_pool *pool)
{
	if (atomic_load(&pool->away))
		bud__serve_local(pool);
	else if (ledger_queued(&pool->ledger))
		bud__ring_locked(pool);
}

/* Nobody here waits, so nobody reads, and yet `queued` is up: it may be that of a dead arbiter,
 * whose heir lowers it when it has our answer to its RESTARTED. */
static void
hear_out(struct bud_pool *pool)
{
	int cancel = bud__hold_cancel();

	pthread_mutex_lock(&pool->lock);
	if (!pool->reading && !atomic_load(&pool->away))
		bud__read(pool);
	pthread_mutex_unlock(&pool->lock);
	bud__resume_cancel(cancel);
}

void
bud__gave(struct bud_pool *pool)
{
	/* Both loads are sequentially consistent and follow the give's
	 * read-modify-write: see bud__away(), and ledger.c on `queued`. */
	if (atomic_load(&pool->away)) {
		pthread_mutex_lock(&pool->lock);
		/* Whoever ended the caches had the lock: if that kept us out of ours, in which
		 * it had found us at work, and nobody looks there again, now we get in. */
		bud__cache_yield(pool);
		bud__serve_local(pool);
		pthread_mutex_unlock(&pool->lock);
	} else if (ledger_queued(&pool->ledger)) {
		bud__ring(pool);
		if (atomic_load(&pool->settling))
			hear_out(pool);
	}
}

/* --- budd is away --- */

void
bud__detach(struct bud_pool *pool)
{
	/* A socket that has hung up is readable for ever: nobody could sleep any more. */
	if (!bud__owns_descriptors(pool))
		return;
	(void)epoll_ctl(pool->io_epoll, EPOLL_CTL_DEL, pool->sock, NULL);
}

void
bud__away(struct bud_pool *pool)
{
	struct bud__request *r, *next;

	if (atomic_exchange(&pool->away, true))
		return;
	/* A give that did not see `away` must be seen by us: a full barrier between
	 * that store and looking at the map. (Not atomic_thread_fence(): the thread
	 * sanitizer has none.) */
	__sync_synchronize();
	pool->notes_count = 0;
	/* Wakes the thread that sleeps on the socket; it then detaches it itself. */
	if (bud__owns_descriptors(pool))
		(void)shutdown(pool->sock, SHUT_RDWR);
	if (!pool->reading)
		bud__detach(pool);
	bud__caches_end(pool);
	bud__serve_local(pool);
	TAILQ_FOREACH_SAFE (r, &pool->waiting, entry, next)
		if (r->want.timeout_ms == 0)
			bud__request_end(pool, r, -ENOTCONN);
	bud__serve_local(pool); /* who stood behind one of these */
}

/* --- In --- */

static void
on_grant(struct bud_pool *pool, uint64_t tag)
{
	struct bud__request *r, key = { .tag = tag };
	enum proto_outcome outcome = PROTO_USED;

	/* Unknown: it expired or was cancelled, and this crossed our CANCEL. */
	r = RB_FIND(bud__tags, &pool->tags, &key);
	if (r != NULL && r->state == BUD__WAITING && !bud__request_take(pool, r))
		outcome = PROTO_FAILED;
	if (TAILQ_EMPTY(&pool->waiting))
		atomic_store(&pool->settling, true);
	bud__note(pool, PROTO_DONE, tag, outcome);
}

static void
on_refuse(struct bud_pool *pool, const struct proto_refuse *m)
{
	struct bud__request *r, key = { .tag = m->tag };

	if (m->tag == 0) { /* the connection; it hangs up now */
		bud__away(pool);
		return;
	}
	r = RB_FIND(bud__tags, &pool->tags, &key);
	if (r != NULL && r->state == BUD__WAITING)
		bud__request_end(pool, r, -m->error);
}

/* budd forgot who waits, and what it was told of them. */
static void
on_restarted(struct bud_pool *pool)
{
	struct bud__request *r;

	TAILQ_FOREACH (r, &pool->waiting, entry)
		r->sent = false;
	pool->sent_count = 0;
	pool->unsent = TAILQ_FIRST(&pool->waiting);
	pool->notes_count = 0;
	bud__note(pool, PROTO_RESUMED, 0, 0); /* and then they all come, in order */
	bud__watch_again(pool);
}

static void
handle(struct bud_pool *pool, const union proto_msg *msg)
{
	switch ((enum proto_type)msg->header.type) {
	case PROTO_GRANT:
		on_grant(pool, msg->tag.tag);
		break;
	case PROTO_REFUSE:
		on_refuse(pool, &msg->refuse);
		break;
	case PROTO_RESTARTED:
		on_restarted(pool);
		break;
	case PROTO_EVENT:
		bud__watch_note(pool, &msg->event);
		break;
	case PROTO_BLOCK:
	case PROTO_RELEASE:
		bud__blocks_note(pool, &msg->block);
		break;
	case PROTO_WELCOME: /* we are welcome already */
	case PROTO_GAVE_UP:
	case PROTO_HINT:
	case PROTO_WATCH:
	case PROTO_HELLO:
	case PROTO_ALLOC:
	case PROTO_DONE:
	case PROTO_CANCEL:
	case PROTO_DOORBELL:
	case PROTO_CLOSE:
	case PROTO_RESUMED:
		bud__away(pool);
		break;
	}
}

void
bud__read(struct bud_pool *pool)
{
	union proto_msg msg;
	size_t len;
	int r;

	assert(!pool->reading);
	for (unsigned int i = 0; i < READ_MAX && !atomic_load(&pool->away); i++) {
		r = bud__owns_descriptors(pool)
			? wire_recv(pool->sock, &msg, sizeof(msg), &len, NULL, 0)
			: WIRE_E_CLOSED;
		if (r == WIRE_E_AGAIN || r == -ENOMEM || r == -ENOBUFS)
			break;
		if (r != 0 || proto_check_budd(&msg, len) != 0) {
			bud__away(pool);
			return;
		}
		if (pool->debug)
			bud__debug_message("<-", &msg);
		handle(pool, &msg);
	}
	bud__flush(pool);
}
