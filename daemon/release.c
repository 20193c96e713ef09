/* SPDX-License-Identifier: ISC */

/*
 * The release pass. By the fixed rule the last additional block goes if it has no buffer in
 * it and has had none allocated for the idle period, and the block before it, which may be
 * the base, is likewise empty and idle. One block a pass; so one empty block always stays
 * as headroom, and bursts do not thrash. The base block never goes. Other policies may give
 * back several; other events than the period may waive the idle time.
 */
#include "daemon/caches.h"
#include "daemon/core.h"

/* As it is set, but large enough for the wall to be reached in the blocks that are left. */
static uint32_t
chunks_to_add(const struct pool *p)
{
	uint32_t add = (uint32_t)(p->limits.add / CHUNK_SIZE),
		 wall = pool_wall_chunks(p),
		 left = wall > p->planned ? wall - p->planned : 0,
		 blocks = RECORD_BLOCKS_MAX - pool_blocks(p),
		 least = blocks > 0 ? (left + blocks - 1) / blocks : left;

	return add > least ? add : least;
}

struct policy_view
core_view(const struct core *c, const struct pool *p, uint32_t idle_ticks)
{
	return (struct policy_view){ .blocks = pool_blocks(p),
		.idle_blocks = pool_idle_blocks(p, c->tick, idle_ticks),
		.planned = p->planned,
		.wall = pool_wall_chunks(p),
		.add = chunks_to_add(p),
		.headroom =
		    (uint32_t)((p->limits.headroom + CHUNK_SIZE - 1) / CHUNK_SIZE),
		.mark_passed = p->mark_passed };
}

uint32_t
core_block(const struct pool *p, const struct policy *policy,
    const struct policy_view *v, uint32_t need)
{
	return pool_whole(p, policy->block(v, need));
}

static uint32_t
blocks_to_release(
    const struct core *c, const struct pool *p, enum release_reason reason)
{
	bool by_rule = reason == RELEASE_PERIOD;
	struct policy_view v = core_view(c, p, by_rule ? c->params.idle_ticks : 0);

	if (by_rule)
		return p->limits.policy->releases(&v);
	if (v.idle_blocks == v.blocks)
		v.idle_blocks--; /* the base never goes */
	if (reason == RELEASE_PRESSURE || v.idle_blocks == 0)
		return v.idle_blocks;
	return policy_several.releases(&(struct policy_view){
	    .blocks = v.blocks, .idle_blocks = core_view(c, p, 0).idle_blocks });
}

uint32_t
core_release(struct core *c, struct pool *p, enum release_reason reason)
{
	uint32_t n;

	if (p->phase != POOL_STEADY || pool_blocks(p) < 2 || turns_are_out(p) ||
	    (p->limits.keep_idle && reason == RELEASE_PERIOD))
		return 0;
	caches_call_in(c, p); /* what threads keep must not keep a block */
	n = blocks_to_release(c, p, reason);
	if (n == 0 || !shrink_start(c, p, reason))
		return 0;
	p->to_release = n - 1;
	return n;
}

bool
release_is_due(const struct core *c, const struct pool *p)
{
	return p->phase == POOL_STEADY && pool_blocks(p) > 1 && !p->limits.keep_idle &&
	       blocks_to_release(c, p, RELEASE_PERIOD) > 0;
}
