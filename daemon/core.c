/* SPDX-License-Identifier: ISC */

/* The core: what it starts with, and its clockwork. */
#include "daemon/core.h"

#include <assert.h>
#include <errno.h>

#include "daemon/caches.h"

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
	uint64_t charge = u->hurried, pinned = 0;
	uint32_t pools = u->hurries, requests = 0;

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
	uint64_t sum = c->hurried, hurried = 0;
	uint32_t starved = 0, out = 0, due = 0;

	TAILQ_FOREACH (p, &c->pools, entry) {
		if (!pool_check(p) || p->charged != pool_charge(p, p->planned))
			return false;
		sum += p->charged;
		starved += p->place.starved;
		out += p->slices_out;
		due += p->slice_due;
	}
	LIST_FOREACH (u, &c->users, entry) {
		if (!check_user(c, u))
			return false;
		hurried += u->hurried;
	}
	return sum == c->committed && hurried == c->hurried && starved == c->starved &&
	       out == c->pins_out && due == c->slices_due;
}
