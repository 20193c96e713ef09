/* SPDX-License-Identifier: ISC */

/* The core: entry points and clockwork. */
#include "daemon/core.h"

#include <assert.h>
#include <errno.h>

static int
compare_deadlines(const struct request *a, const struct request *b)
{
	if (a->deadline.ns != b->deadline.ns)
		return a->deadline.ns < b->deadline.ns ? -1 : 1;
	return a < b ? -1 : a > b; /* any order will do, as long as it is one */
}

RB_PROTOTYPE(request_deadlines, request, by_deadline, compare_deadlines)
RB_GENERATE(request_deadlines, request, by_deadline, compare_deadlines)

void
core_init(struct core *c, const struct core_params *params, const struct core_ops *ops,
    void *ctx)
{
	*c = (struct core){ .ops = ops, .ctx = ctx, .params = *params };
	TAILQ_INIT(&c->pools);
	RB_INIT(&c->deadlines);
	c->next_tick = INSTANT_NEVER;
}

void
core_fini(struct core *c)
{
	assert(TAILQ_EMPTY(&c->pools));
	ledger_plan_fini(&c->plan);
}

void
core_set_params(struct core *c, const struct core_params *params, struct instant now)
{
	struct pool *p;

	c->params = *params;
	TAILQ_FOREACH (p, &c->pools, entry)
		if (p->record->tick_count > params->release_ticks)
			p->record->tick_count = params->release_ticks;
	if (c->next_tick.ns != INSTANT_NEVER.ns)
		c->next_tick = instant_add(now, params->tick_ns);
	serve_starved(c, now);
}

/* --- Pools come and go --- */

int
core_open(struct core *c, struct pool *p)
{
	uint32_t base = (uint32_t)(p->limits.base / CHUNK_SIZE);

	if (!grow_fits_host(c, p, base))
		return -ENOSPC;
	TAILQ_INSERT_TAIL(&c->pools, p, entry);
	c->committed += pool_charge(p, 0);
	p->record->tick_count = c->params.release_ticks;
	grow_start(c, p, base);
	return 0;
}

static void
forget_all(struct core *c, struct pool *p)
{
	while (!TAILQ_EMPTY(&p->queue.requests))
		core_forget(c, TAILQ_FIRST(&p->queue.requests));
}

void
core_drop_requests(struct core *c, struct pool *p, struct instant now)
{
	forget_all(c, p);
	serve(c, p, now);
}

void
core_close(struct core *c, struct pool *p, struct instant now)
{
	forget_all(c, p);
	TAILQ_REMOVE(&c->pools, p, entry);
	c->committed -= pool_charge(p, p->planned);
	serve_starved(c, now);
}

/* --- Requests --- */

void
core_set_state(struct core *c, struct request *r, enum request_state state)
{
	bool timed = r->deadline.ns != INSTANT_NEVER.ns && state != r->state;

	if (timed && state == REQUEST_GRANTED)
		RB_REMOVE(request_deadlines, &c->deadlines, r);
	r->state = state;
	if (timed && state == REQUEST_WAITING)
		RB_INSERT(request_deadlines, &c->deadlines, r);
}

void
core_forget(struct core *c, struct request *r)
{
	if (r->state == REQUEST_WAITING && r->deadline.ns != INSTANT_NEVER.ns)
		RB_REMOVE(request_deadlines, &c->deadlines, r);
	queue_remove(&r->pool->queue, r);
}

void
core_refuse(struct core *c, struct request *r, int error)
{
	struct pool *p = r->pool;
	uint64_t tag = r->tag;

	if (error == ETIMEDOUT)
		p->record->counters.timeouts++;
	else if (error != ECANCELED)
		p->record->counters.refused++;
	core_forget(c, r);
	c->ops->refuse(c->ctx, p, tag, error);
}

/* More than the pool could ever hold, or than a section allows in one piece. */
static bool
never_met(const struct pool *p, const struct proto_alloc *alloc)
{
	uint64_t wall = pool_wall_chunks(p) * CHUNK_SIZE, size;

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
	r->pool = p;
	r->order = ledger_order(alloc->size_bytes);
	r->count = alloc->count;
	r->try = alloc->timeout_ms == 0;
	r->since = now;
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
	p->record->counters.refused++;
	c->ops->refuse(c->ctx, p, tag, error);
}

void
core_request(
    struct core *c, struct pool *p, const struct proto_alloc *alloc, struct instant now)
{
	if (queue_find(&p->queue, alloc->tag) != NULL)
		return; /* said twice, to be sure */
	if (never_met(p, alloc)) {
		refuse_unqueued(c, p, alloc->tag, EMSGSIZE);
		return;
	}
	if (p->queue.length >= PROTO_REQUESTS_MAX ||
	    enqueue(c, p, alloc, now) == NULL) {
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
	core_refuse(c, r, ECANCELED);
	serve(c, p, now);
}

void
core_doorbell(struct core *c, struct pool *p, struct instant now)
{
	serve(c, p, now);
}

/* --- Time --- */

static bool
needs_tick(const struct pool *p)
{
	return pool_blocks(p) > 1 || p->queue.length > 0;
}

void
core_wind(struct core *c, struct instant now)
{
	const struct pool *p;

	if (c->next_tick.ns != INSTANT_NEVER.ns)
		return;
	TAILQ_FOREACH (p, &c->pools, entry) {
		if (needs_tick(p)) {
			c->next_tick = instant_add(now, c->params.tick_ns);
			return;
		}
	}
}

struct instant
core_next_due(const struct core *c)
{
	struct request *r = RB_MIN(
	    request_deadlines, (struct request_deadlines *)(uintptr_t)&c->deadlines);

	if (r != NULL && instant_before(r->deadline, c->next_tick))
		return r->deadline;
	return c->next_tick;
}

static void
run_deadlines(struct core *c, struct instant now)
{
	struct request *r;

	while ((r = RB_MIN(request_deadlines, &c->deadlines)) != NULL &&
	       !instant_before(now, r->deadline)) {
		struct pool *p = r->pool;

		core_refuse(c, r, ETIMEDOUT);
		serve(c, p, now);
	}
}

static void
tick_pool(struct core *c, struct pool *p, struct instant now)
{
	pool_publish(p, c->tick);
	if (p->record->tick_count > 0)
		p->record->tick_count--;
	if (p->record->tick_count == 0) {
		p->record->tick_count = c->params.release_ticks;
		c->counters.passes++;
		release_pass(c, p);
	}
	serve(c, p, now); /* a doorbell may have been lost, a failed pin may work now */
}

static void
run_tick(struct core *c, struct instant now)
{
	struct pool *p;

	if (instant_before(now, c->next_tick))
		return;
	c->next_tick = INSTANT_NEVER;
	c->tick++;
	TAILQ_FOREACH (p, &c->pools, entry)
		if (needs_tick(p))
			tick_pool(c, p, now);
	core_wind(c, now);
}

void
core_run(struct core *c, struct instant now)
{
	run_deadlines(c, now);
	run_tick(c, now);
}

bool
core_check(const struct core *c)
{
	const struct pool *p;
	uint64_t sum = 0;

	TAILQ_FOREACH (p, &c->pools, entry) {
		if (!pool_check(p))
			return false;
		sum += pool_charge(p, p->planned);
	}
	return sum == c->committed;
}
