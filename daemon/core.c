/* SPDX-License-Identifier: ISC */

/* The core: entry points and clockwork. */
#include "daemon/core.h"

#include <assert.h>
#include <errno.h>

#include "daemon/caches.h"

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
	LIST_INIT(&c->users);
	LIST_INIT(&c->groups);
	c->next_tick = c->next_audit = INSTANT_NEVER;
}

void
core_is_now(struct core *c, struct instant now)
{
	if (c->tally.waiting.began.ns == 0)
		level_init(&c->tally.waiting, now);
	c->now = now;
}

void
core_freeze(struct core *c)
{
	c->sharing = true; /* share_serve() is never left */
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

	core_is_now(c, now);
	c->params = *params;
	TAILQ_FOREACH (p, &c->pools, entry)
		if (p->record->tick_count > params->release_ticks)
			p->record->tick_count = params->release_ticks;
	if (instant_before(instant_add(now, params->tick_ns), c->next_tick) &&
	    c->next_tick.ns != INSTANT_NEVER.ns)
		c->next_tick = instant_add(now, params->tick_ns);
	if (c->next_audit.ns != INSTANT_NEVER.ns && params->audit_ns != 0 &&
	    instant_before(instant_add(now, params->audit_ns), c->next_audit))
		c->next_audit = instant_add(now, params->audit_ns);
	share_serve(c, now);
}

/* --- Pools come and go --- */

void
core_account(struct core *c, struct pool *p)
{
	uint64_t charge = pool_charge(p, p->planned);
	uint64_t memory = p->planned * CHUNK_SIZE;

	c->committed += charge - p->charged;
	p->user->charge += charge - p->charged;
	if (p->group != NULL)
		p->group->charge += memory - p->charged_memory;
	p->charged = charge;
	p->charged_memory = memory;
}

void
core_weigh_user(const struct core *c, struct user *u)
{
	const struct pool *p;

	u->weight = 1;
	TAILQ_FOREACH (p, &c->pools, entry)
		if (p->user == u && p->limits.weight > u->weight)
			u->weight = p->limits.weight;
}

/* Thousands of pools of a user come and go; most weigh as little as a pool can. */
static void
weigh_one_more(const struct pool *p)
{
	if (p->limits.weight > p->user->weight)
		p->user->weight = p->limits.weight;
}

static void
weigh_one_less(const struct core *c, const struct pool *p)
{
	if (p->limits.weight > 1 && p->limits.weight == p->user->weight)
		core_weigh_user(c, p->user);
}

int
core_join(struct core *c, struct pool *p)
{
	if ((p->user = user_get(&c->users, p->limits.uid)) == NULL)
		return -ENOMEM;
	if (p->limits.group_wall != 0) {
		p->group = group_get(&c->groups, p->limits.group, p->limits.group_wall);
		if (p->group == NULL) {
			user_put(p->user);
			return -ENOMEM;
		}
	}
	TAILQ_INSERT_TAIL(&c->pools, p, entry);
	level_init(&p->waiting, c->now);
	weigh_one_more(p);
	core_account(c, p);
	return 0;
}

static void
leave(struct core *c, struct pool *p)
{
	struct user *u = p->user;

	TAILQ_REMOVE(&c->pools, p, entry);
	c->committed -= p->charged;
	u->charge -= p->charged;
	u->pinned -= p->pinned * CHUNK_SIZE;
	if (p->group != NULL) {
		p->group->charge -= p->charged_memory;
		group_put(p->group);
	}
	weigh_one_less(c, p);
	user_put(u);
}

static uint32_t
to_chunks(uint64_t bytes)
{
	return (uint32_t)(bytes / CHUNK_SIZE);
}

int
core_open(struct core *c, struct pool *p)
{
	uint32_t base = to_chunks(p->limits.base);
	int r = core_join(c, p);

	if (r != 0)
		return r;
	if (c->params.user_pools != 0 && p->user->pools > c->params.user_pools)
		r = -EDQUOT;
	else if (!share_fits(c, p, base))
		r = -ENOSPC;
	if (r != 0) {
		leave(c, p);
		return r;
	}
	p->record->tick_count = c->params.release_ticks;
	grow_start(c, p, base, GROW_BASE);
	return 0;
}

uint32_t
core_hurry(const struct core *c, const struct pool_limits *limits, uint32_t chunks)
{
	uint32_t base = to_chunks(limits->base), slice = heap_kind_slice(limits->heap);
	uint64_t charge = limits->base + ledger_resident(chunks, base);
	const struct user *u = user_find(&c->users, limits->uid);

	if (c->pins_out > 0 || c->slices_due > 0 || limits->group_wall != 0 ||
	    c->committed + charge > c->params.host_wall)
		return 0;
	if (c->params.user_wall != 0 &&
	    (u != NULL ? u->charge : 0) + charge > c->params.user_wall)
		return 0;
	if (c->params.user_pools != 0 &&
	    (u != NULL ? u->pools : 0) >= c->params.user_pools)
		return 0;
	return base < slice ? base : slice;
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
	core_is_now(c, now);
	p->deaf = true;
	forget_all(c, p);
	p->is_heir = p->keeps_queued = false;
	if (p->phase == POOL_ASKED)
		registered_keep(c, p); /* nobody answers */
	serve(c, p, now);
}

void
core_close(struct core *c, struct pool *p, struct instant now)
{
	core_is_now(c, now);
	forget_all(c, p);
	share_forget(c, p);
	audit_forget(c, p);
	leave(c, p);
	grow_forget(c, p);
	share_serve(c, now);
}

/* --- Requests --- */

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

/* --- Time --- */

static bool
needs_tick(const struct pool *p)
{
	return pool_blocks(p) > 1 || p->queue.length > 0 || p->mark_passed ||
	       p->phase == POOL_UNSETTLED || p->is_heir ||
	       (p->keeps_queued && p->resumed);
}

/* It has a clock of its own, and a slow one: a pool that does nothing is looked at, too. */
static void
wind_audit(struct core *c, struct instant now)
{
	if (c->params.audit_ns == 0 || TAILQ_EMPTY(&c->pools))
		c->next_audit = INSTANT_NEVER;
	else if (c->next_audit.ns == INSTANT_NEVER.ns)
		c->next_audit = instant_add(now, c->params.audit_ns);
}

void
core_wind(struct core *c, const struct pool *p, struct instant now)
{
	wind_audit(c, now);
	if (c->next_tick.ns == INSTANT_NEVER.ns && needs_tick(p))
		c->next_tick = instant_add(now, c->params.tick_ns);
}

struct instant
core_next_due(const struct core *c)
{
	struct request *r = RB_MIN(
	    request_deadlines, (struct request_deadlines *)(uintptr_t)&c->deadlines);

	struct instant due = c->next_tick;

	if (r != NULL && instant_before(r->deadline, due))
		due = r->deadline;
	return instant_before(c->next_audit, due) ? c->next_audit : due;
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
	core_settle(c, p);
	pool_publish(p, c->tick);
	caches_tick(c, p);
	if (p->record->tick_count > 0)
		p->record->tick_count--;
	if (p->record->tick_count == 0) {
		p->record->tick_count = c->params.release_ticks;
		c->counters.passes++;
		core_release(c, p, RELEASE_PERIOD);
	}
	if (p->phase == POOL_ASKED)
		registered_tick(c, p);
	if (p->planned > pool_wall_chunks(p))
		core_trim(c, p);
	share_disinherit(c, p, now);
	p->keeps_queued &= !p->resumed;
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
	c->squeezes = 0;
	share_squeeze(c);
	TAILQ_FOREACH (p, &c->pools, entry)
		core_wind(c, p, now);
}

static void
run_audit(struct core *c, struct instant now)
{
	if (instant_before(now, c->next_audit))
		return;
	c->next_audit = INSTANT_NEVER;
	audit_start(c);
	wind_audit(c, now);
}

void
core_run(struct core *c, struct instant now)
{
	core_is_now(c, now);
	run_deadlines(c, now);
	run_tick(c, now);
	run_audit(c, now);
}

static bool
check_user(const struct core *c, const struct user *u)
{
	const struct pool *p;
	uint64_t charge = 0, pinned = 0;
	uint32_t pools = 0, requests = 0;

	TAILQ_FOREACH (p, &c->pools, entry) {
		if (p->user != u)
			continue;
		charge += p->charged;
		pinned += p->pinned * CHUNK_SIZE;
		requests += p->queue.length;
		pools++;
	}
	return charge == u->charge && pinned == u->pinned && pools == u->pools &&
	       requests == u->requests;
}

bool
core_check(const struct core *c)
{
	const struct pool *p;
	const struct user *u;
	uint64_t sum = 0;
	uint32_t starved = 0, out = 0, due = 0;

	TAILQ_FOREACH (p, &c->pools, entry) {
		if (!pool_check(p) || p->charged != pool_charge(p, p->planned))
			return false;
		sum += p->charged;
		starved += p->place.starved;
		out += p->slices_out;
		due += p->slice_due;
	}
	LIST_FOREACH (u, &c->users, entry)
		if (!check_user(c, u))
			return false;
	return sum == c->committed && starved == c->starved && out == c->pins_out &&
	       due == c->slices_due;
}
