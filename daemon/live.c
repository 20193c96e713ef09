/* SPDX-License-Identifier: ISC */

/* What an operator changes in a living pool. Part of the core. */
#include <assert.h>
#include <errno.h>

#include "daemon/caches.h"
#include "daemon/core.h"

static void
refuse_what_is_never_met(struct core *c, struct pool *p)
{
	uint64_t wall = pool_wall_chunks(p) * CHUNK_SIZE;
	struct request *r, *next;

	TAILQ_FOREACH_SAFE (r, &p->queue.requests, entry, next)
		if (r->state == REQUEST_WAITING && request_bytes(r) > wall)
			core_refuse(c, r, EMSGSIZE);
}

/* From the last one down: blocks that are empty, while the pool is above its wall. */
static uint32_t
empty_above_wall(const struct pool *p)
{
	uint32_t end = p->planned, wall = pool_wall_chunks(p), n = 0;

	for (uint32_t i = pool_blocks(p); i > 1 && end > wall; i--, n++) {
		uint32_t from = end - p->record->block[i - 1].chunks;

		if (!ledger_is_empty(&p->ledger, (struct chunk_range){ from, end }))
			break;
		end = from;
	}
	return n;
}

void
core_trim(struct core *c, struct pool *p)
{
	uint32_t n;

	if (p->phase == POOL_STEADY && pool_blocks(p) > 1 &&
	    p->planned > pool_wall_chunks(p))
		caches_call_in(c, p);
	n = empty_above_wall(p);
	if (n > 0 && p->phase == POOL_STEADY && !turns_are_out(p) &&
	    shrink_start(c, p, RELEASE_WALL))
		p->to_release = n - 1;
}

uint64_t
core_set_wall(struct core *c, struct pool *p, uint64_t wall, struct instant now)
{
	uint64_t pinned = p->pinned * CHUNK_SIZE;

	assert(wall >= p->limits.base && wall <= p->limits.wall_max);
	core_is_now(c, now);
	p->limits.wall = p->record->wall = wall;
	refuse_what_is_never_met(c, p);
	share_forget(c, p); /* what it asks for may be another now: serve() says */
	core_trim(c, p);
	serve(c, p, now);
	share_serve(c, now);
	return pinned > wall ? pinned - wall : 0;
}

void
core_set_add(struct core *c, struct pool *p, uint64_t add, struct instant now)
{
	assert(add >= CHUNK_SIZE && add <= p->limits.wall_max);
	p->limits.add = p->record->add = add;
	serve(c, p, now);
}

void
core_set_weight(struct core *c, struct pool *p, uint32_t weight, struct instant now)
{
	assert(weight > 0);
	p->limits.weight = p->record->weight = weight;
	core_weigh_user(c, p->user);
	share_serve(c, now);
}

void
core_set_policy(struct pool *p, const struct policy *policy)
{
	p->limits.policy = policy;
	p->record->policy = policy_number(policy);
}

void
core_set_keep_idle(struct pool *p, bool keep_idle)
{
	p->limits.keep_idle = keep_idle;
	p->record->keep_idle = keep_idle;
}
