/* SPDX-License-Identifier: ISC */

/* The core: requests, from ALLOC to DONE or CANCEL. */
#include "daemon/core.h"

#include <errno.h>

static int
compare_deadlines(const struct request *a, const struct request *b)
{
	if (a->deadline.ns != b->deadline.ns)
		return a->deadline.ns < b->deadline.ns ? -1 : 1;
	return a < b ? -1 : a > b; /* any order will do, as long as it is one */
}

RB_GENERATE(request_deadlines, request, by_deadline, compare_deadlines)

static void
count_waiting(struct core *c, struct pool *p, int by)
{
	level_move(&p->waiting, by, c->now);
	level_move(&c->tally.waiting, by, c->now);
}

void
core_set_state(struct core *c, struct request *r, enum request_state state)
{
	bool timed = r->deadline.ns != INSTANT_NEVER.ns && state != r->state;

	if (state != r->state)
		count_waiting(c, r->pool, state == REQUEST_WAITING ? 1 : -1);
	if (timed && state == REQUEST_GRANTED)
		RB_REMOVE(request_deadlines, &c->deadlines, r);
	r->state = state;
	if (timed && state == REQUEST_WAITING)
		RB_INSERT(request_deadlines, &c->deadlines, r);
}

void
core_forget(struct core *c, struct request *r)
{
	if (r->state == REQUEST_WAITING)
		count_waiting(c, r->pool, -1);
	if (r->state == REQUEST_WAITING && r->deadline.ns != INSTANT_NEVER.ns)
		RB_REMOVE(request_deadlines, &c->deadlines, r);
	r->pool->user->requests--;
	queue_remove(&r->pool->queue, r);
}

void
core_refuse(struct core *c, struct request *r, int error)
{
	struct pool *p = r->pool;
	uint64_t tag = r->tag;

	if (error == ETIMEDOUT)
		CORE_COUNT(c, p, timeouts);
	else if (error != ECANCELED)
		CORE_COUNT(c, p, refused);
	core_forget(c, r);
	c->ops->refuse(c->ctx, p, tag, error);
}

/* More than the pool could ever hold, or than a section allows in one piece. */
static bool
never_met(const struct core *c, const struct pool *p, const struct proto_alloc *alloc)
{
	uint64_t wall = pool_wall_chunks(p) * CHUNK_SIZE, size;

	if (wall > c->params.host_wall)
		wall = c->params.host_wall;
	if (alloc->size_bytes > p->limits.max_buffer || alloc->size_bytes > wall)
		return true;
	size = FRAME_SIZE << ledger_order(alloc->size_bytes);
	return size > wall / alloc->count;
}

static struct request *
enqueue(
    struct core *c, struct pool *p, const struct proto_alloc *alloc, struct instant now)
{
	struct request *r = queue_add(&p->queue, alloc->tag);

	if (r == NULL)
		return NULL;
	p->user->requests++;
	r->pool = p;
	r->order = ledger_order(alloc->size_bytes);
	r->count = alloc->count;
	count_waiting(c, p, 1);
	r->try = alloc->timeout_ms == 0;
	r->since = p->is_heir ? (struct instant){ p->place.since } : now;
	p->is_heir = p->keeps_queued = false; /* it is here, and stands for itself */
	r->deadline = INSTANT_NEVER;
	if (alloc->timeout_ms > 0) {
		r->deadline = instant_add(now, alloc->timeout_ms * NS_PER_MS);
		RB_INSERT(request_deadlines, &c->deadlines, r);
	}
	return r;
}

static void
refuse_unqueued(struct core *c, struct pool *p, uint64_t tag, int error)
{
	CORE_COUNT(c, p, refused);
	c->ops->refuse(c->ctx, p, tag, error);
}

static bool
too_many_requests(const struct core *c, const struct pool *p)
{
	return p->queue.length >= PROTO_REQUESTS_MAX ||
	       (c->params.user_requests != 0 &&
		   p->user->requests >= c->params.user_requests);
}

void
core_request(
    struct core *c, struct pool *p, const struct proto_alloc *alloc, struct instant now)
{
	core_is_now(c, now);
	if (queue_find(&p->queue, alloc->tag) != NULL)
		return; /* said twice, to be sure */
	tally_size(&c->tally.sizes, FRAME_SIZE << ledger_order(alloc->size_bytes),
	    alloc->count);
	if (never_met(c, p, alloc)) {
		refuse_unqueued(c, p, alloc->tag, EMSGSIZE);
		return;
	}
	if (too_many_requests(c, p) || enqueue(c, p, alloc, now) == NULL) {
		refuse_unqueued(c, p, alloc->tag, ENOMEM);
		return;
	}
	serve(c, p, now);
}

void
core_done(struct core *c, struct pool *p, uint64_t tag, enum proto_outcome outcome,
    struct instant now)
{
	struct request *r = queue_find(&p->queue, tag);

	if (r == NULL)
		return;
	core_is_now(c, now);
	if (outcome == PROTO_USED)
		core_forget(c, r);
	else
		core_set_state(c, r, REQUEST_WAITING);
	serve(c, p, now);
}

void
core_cancel(struct core *c, struct pool *p, uint64_t tag, struct instant now)
{
	struct request *r = queue_find(&p->queue, tag);

	if (r == NULL)
		return;
	core_is_now(c, now);
	if (r->state == REQUEST_GRANTED)
		core_forget(c, r); /* the GRANT that crossed it is the answer */
	else
		core_refuse(c, r, ECANCELED);
	serve(c, p, now);
}

void
core_resumed(struct core *c, struct pool *p, struct instant now)
{
	p->resumed = true;
	core_wind(c, p, now);
}

void
core_doorbell(struct core *c, struct pool *p, struct instant now)
{
	core_is_now(c, now);
	serve(c, p, now);
}
