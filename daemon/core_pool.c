/* SPDX-License-Identifier: ISC */

/* The core: pools come and go, and what they count for their users and the host. */
#include "daemon/core.h"

#include <errno.h>

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

static int
may_open(const struct core *c, const struct pool *p, uint32_t base)
{
	if (c->params.user_pools != 0 && p->user->pools > c->params.user_pools)
		return -EDQUOT;
	return share_fits(c, p, base) ? 0 : -ENOSPC;
}

int
core_open(struct core *c, struct pool *p, struct hurry *h)
{
	uint32_t base = to_chunks(p->limits.base);
	int r = core_join(c, p);

	if (r != 0)
		return r;
	if (h->user != NULL)
		hurry_take(c, h, p); /* it was promised */
	else if ((r = may_open(c, p, base)) != 0) {
		leave(c, p);
		return r;
	}
	p->record->tick_count = c->params.release_ticks;
	grow_start(c, p, base, GROW_BASE);
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
