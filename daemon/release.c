/* SPDX-License-Identifier: ISC */

/*
 * The release pass, by the fixed rule: the last additional block goes if it has no buffer
 * in it and has had none allocated for the idle period, and the block before it, which may
 * be the base, is likewise empty and idle. One block a pass; so one empty block always
 * stays as headroom, and bursts do not thrash. The base block never goes.
 */
#include "daemon/core.h"

static bool
block_is_idle(const struct core *c, const struct pool *p, uint32_t index)
{
	struct chunk_range r = pool_block(p, index);

	return ledger_is_empty(&p->ledger, r) &&
	       ledger_idle_ticks(&p->ledger, r, c->tick) >= c->params.idle_ticks;
}

bool
release_is_due(const struct core *c, const struct pool *p)
{
	uint32_t n = pool_blocks(p);

	return p->phase == POOL_STEADY && n > 1 && block_is_idle(c, p, n - 1) &&
	       block_is_idle(c, p, n - 2);
}

bool
release_pass(struct core *c, struct pool *p)
{
	return release_is_due(c, p) && shrink_start(c, p);
}
