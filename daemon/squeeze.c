/* SPDX-License-Identifier: ISC */

/*
 * Pressure between pools: while somebody starves for memory that others have, their empty
 * last blocks go at once, first those of pools above their share, then whatever was idle
 * for one period; and those above their share are told. Nothing is taken that is in use.
 */
#include "daemon/squeeze.h"

#include "daemon/caches.h"
#include "daemon/core.h"

/* By what decides between the two: their users, or the pools of one user. */
static bool
above_share_of(const struct pool *q, const struct pool *p)
{
	uint64_t ask = p->place.ask * CHUNK_SIZE;

	if (q->user == p->user)
		return share_compare(q->charged, q->limits.weight, p->charged + ask,
			   p->limits.weight) > 0;
	return share_compare(q->user->charge, q->user->weight, p->user->charge + ask,
		   p->user->weight) > 0;
}

/* Whoever waits has use for an empty block, unless it starves in spite of it. */
static bool
has_use_for_blocks(const struct pool *q)
{
	return q->queue.length > 0 && (!q->place.starved || turns_are_out(q));
}

static bool
can_spare(struct core *c, struct pool *q, bool idle_only)
{
	uint32_t n = pool_blocks(q);
	struct chunk_range last;

	if (q->phase != POOL_STEADY || n < 2 || has_use_for_blocks(q))
		return false;
	if (caches_fill_last_block(q))
		caches_call_in(c, q);
	last = (struct chunk_range){ q->planned - q->record->block[n - 1].chunks,
		q->planned };
	return ledger_is_empty(&q->ledger, last) &&
	       (!idle_only || ledger_idle_ticks(&q->ledger, last, c->tick) >=
				  c->params.release_ticks);
}

static void
tell_pressure(struct core *c, struct pool *q)
{
	if (q->told_pressure || pool_blocks(q) < 2)
		return;
	q->told_pressure = true;
	c->ops->tell(c->ctx, q, CORE_PRESSURE, 0);
}

/* Tells those above their share; returns bytes that are on their way already. */
static uint64_t
press_upon_others(struct core *c, const struct pool *p)
{
	uint64_t coming = 0;
	struct pool *q;

	TAILQ_FOREACH (q, &c->pools, entry) {
		if (q == p || !share_concerns(c, q, p))
			continue;
		if (q->phase == POOL_RELEASING)
			coming += (q->planned - pool_opened(q)) * CHUNK_SIZE;
		if (above_share_of(q, p))
			tell_pressure(c, q);
	}
	return coming;
}

void
squeeze_for(struct core *c, const struct pool *p)
{
	uint64_t coming, wanted = p->place.ask * CHUNK_SIZE;
	struct pool *q;

	coming = press_upon_others(c, p);
	for (int idle_only = 0; idle_only <= 1; idle_only++) {
		TAILQ_FOREACH (q, &c->pools, entry) {
			if (coming >= wanted)
				return;
			if (q == p || !share_concerns(c, q, p) ||
			    (!idle_only && !above_share_of(q, p)) ||
			    !can_spare(c, q, idle_only) ||
			    !shrink_start(c, q, RELEASE_OTHERS))
				continue;
			coming += (q->planned - pool_opened(q)) * CHUNK_SIZE;
		}
	}
}

void
squeeze_is_over(struct core *c)
{
	struct pool *p;

	TAILQ_FOREACH (p, &c->pools, entry)
		p->told_pressure = false;
}
