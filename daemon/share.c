/* SPDX-License-Identifier: ISC */

/*
 * Between pools.
 *
 * Weighted max-min shares: when a wall that pools share binds, the next block goes to the
 * user, and of that user the pool, with the smallest (pinned + asked) / weight; on a tie to
 * the one that has waited longest. A user's weight is the largest of its pools', so that
 * opening a hundred pools gains nothing. Within a group, whose pools share one wall and one
 * queue, whoever has waited longest comes first.
 *
 * A pool whose block does not fit does not hold up those whose do, lest memory lie fallow;
 * but one that asks for no more than its share is overtaken `overtaken_max` times and then
 * no more: what becomes free is kept for it.
 */
#include "daemon/share.h"

#include "daemon/core.h"

static uint64_t
more_memory(const struct pool *p, uint32_t planned)
{
	return (planned - p->planned) * CHUNK_SIZE;
}

static uint64_t
more_charge(const struct pool *p, uint32_t planned)
{
	return pool_charge(p, planned) - p->charged;
}

enum shortage {
	SHORT_OF_NOTHING,
	SHORT_OF_HOST,
	SHORT_OF_USER,
	SHORT_OF_GROUP,
};

static enum shortage
shortage(const struct core *c, const struct pool *p, uint32_t planned)
{
	uint64_t more;

	if (planned <= p->planned)
		return SHORT_OF_NOTHING;
	more = more_charge(p, planned);
	if (p->group != NULL &&
	    p->group->charge + more_memory(p, planned) > p->group->wall)
		return SHORT_OF_GROUP;
	if (c->params.user_wall != 0 && p->user->charge + more > c->params.user_wall)
		return SHORT_OF_USER;
	return c->committed + more > c->params.host_wall ? SHORT_OF_HOST
							 : SHORT_OF_NOTHING;
}

bool
share_fits(const struct core *c, const struct pool *p, uint32_t planned)
{
	return shortage(c, p, planned) == SHORT_OF_NOTHING;
}

/* Is a / wa < b / wb? In whole bytes; the product of a wall and a weight fits. */
static int
compare_ratios(uint64_t a, uint32_t wa, uint64_t b, uint32_t wb)
{
	uint64_t left = a / 1024 * wb, right = b / 1024 * wa;

	return left < right ? -1 : left > right;
}

static int64_t
waiting_since(const struct pool *p)
{
	const struct request *head = queue_head(&p->queue);

	return head != NULL ? head->since.ns : INT64_MAX;
}

bool
share_before(const struct core *c, const struct pool *a, const struct pool *b)
{
	uint64_t ask_a = a->ask * CHUNK_SIZE, ask_b = b->ask * CHUNK_SIZE;
	int r = 0;

	(void)c;
	if (a->group != NULL && a->group == b->group)
		return waiting_since(a) < waiting_since(b);
	if (a->user != b->user)
		r = compare_ratios(a->user->charge + ask_a, a->user->weight,
		    b->user->charge + ask_b, b->user->weight);
	if (r == 0)
		r = compare_ratios(a->charged + ask_a, a->limits.weight,
		    b->charged + ask_b, b->limits.weight);
	if (r == 0)
		return waiting_since(a) < waiting_since(b);
	return r < 0;
}

/* Would its user, with the block, have no more than its part of the host by weight? */
static bool
asks_within_share(const struct core *c, const struct pool *p)
{
	const struct user *u;
	uint64_t weights = 0;

	LIST_FOREACH (u, &c->users, entry)
		weights += u->weight;
	return (p->user->charge + p->ask * CHUNK_SIZE) <=
	       c->params.host_wall / weights * p->user->weight;
}

/* Somebody before @p cannot have its block yet, and has been overtaken often enough. */
static bool
must_wait_for_another(const struct core *c, const struct pool *p)
{
	const struct pool *q;

	TAILQ_FOREACH (q, &c->pools, entry)
		if (q != p && q->starved && q->overtaken >= c->params.overtaken_max &&
		    share_before(c, q, p))
			return true;
	return false;
}

static void
count_overtaken(struct core *c, const struct pool *p)
{
	struct pool *q;

	TAILQ_FOREACH (q, &c->pools, entry)
		if (q != p && q->starved && share_before(c, q, p) &&
		    asks_within_share(c, q))
			q->overtaken++;
}

static bool
group_has_older(const struct core *c, const struct pool *p)
{
	const struct pool *q;

	if (p->group == NULL)
		return false;
	TAILQ_FOREACH (q, &c->pools, entry)
		if (q != p && q->starved && q->group == p->group &&
		    share_before(c, q, p))
			return true;
	return false;
}

static void
set_starved(struct core *c, struct pool *p, bool starved)
{
	c->starved += (uint32_t)starved - (uint32_t)p->starved;
	p->starved = starved;
	if (!starved)
		p->overtaken = 0;
}

bool
share_admit(struct core *c, struct pool *p, uint32_t planned)
{
	p->ask = planned - p->planned;
	if (!share_fits(c, p, planned) ||
	    (c->starved > 0 &&
		(must_wait_for_another(c, p) || group_has_older(c, p)))) {
		set_starved(c, p, true);
		return false;
	}
	if (c->starved > 0)
		count_overtaken(c, p);
	set_starved(c, p, false);
	return true;
}

void
share_forget(struct core *c, struct pool *p)
{
	set_starved(c, p, false);
}

/* The first in order among those that starve and were not looked at yet in this round. */
static struct pool *
next_starved(struct core *c, uint64_t round)
{
	struct pool *best = NULL, *p;

	TAILQ_FOREACH (p, &c->pools, entry)
		if (p->starved && p->round != round &&
		    (best == NULL || share_before(c, p, best)))
			best = p;
	return best;
}

void
share_serve(struct core *c, struct instant now)
{
	struct pool *p;
	uint64_t round;

	if (c->starved == 0 || c->sharing)
		return;
	c->sharing = true; /* serve() of one may end in here again */
	round = ++c->rounds;
	while (c->starved > 0 && (p = next_starved(c, round)) != NULL) {
		p->round = round;
		serve(c, p, now);
	}
	c->sharing = false;
}

/* --- Pressure --- */

static struct pool *
first_starved(const struct core *c)
{
	struct pool *best = NULL, *p;

	TAILQ_FOREACH (p, &c->pools, entry)
		if (p->starved && (best == NULL || share_before(c, p, best)))
			best = p;
	return best;
}

/* Would memory of @q's, given back, be any use to @p? */
static bool
helps(const struct core *c, const struct pool *q, const struct pool *p)
{
	switch (shortage(c, p, p->planned + p->ask)) {
	case SHORT_OF_GROUP:
		return q->group == p->group;
	case SHORT_OF_USER:
		return q->user == p->user;
	case SHORT_OF_HOST:
	case SHORT_OF_NOTHING:
		break;
	}
	return true;
}

static bool
above_share_of(const struct pool *q, const struct pool *p)
{
	return compare_ratios(q->user->charge, q->user->weight,
		   p->user->charge + p->ask * CHUNK_SIZE, p->user->weight) > 0;
}

static bool
can_spare(const struct core *c, const struct pool *q, bool idle_only)
{
	uint32_t n = pool_blocks(q);
	struct chunk_range last;

	if (q->phase != POOL_STEADY || n < 2 || q->queue.length > 0)
		return false;
	last = pool_block(q, n - 1);
	return ledger_is_empty(&q->ledger, last) &&
	       (!idle_only || ledger_idle_ticks(&q->ledger, last, c->tick) >=
				  c->params.release_ticks);
}

static void
tell_pressure(struct core *c, struct pool *q)
{
	if (q->told_pressure)
		return;
	q->told_pressure = true;
	c->ops->tell(c->ctx, q, CORE_PRESSURE, 0);
}

/* First from those above their share, then whatever was idle for one period. One block of
 * each pool at a time, until enough for the first in order is on its way. */
void
share_squeeze(struct core *c)
{
	const struct pool *p = first_starved(c);
	uint64_t coming = 0, wanted;
	struct pool *q;

	if (p == NULL)
		return;
	wanted = p->ask * CHUNK_SIZE;
	TAILQ_FOREACH (q, &c->pools, entry) {
		if (q->phase == POOL_RELEASING)
			coming += (q->planned - pool_opened(q)) * CHUNK_SIZE;
		if (q != p && above_share_of(q, p))
			tell_pressure(c, q);
	}
	for (int idle_only = 0; idle_only <= 1; idle_only++) {
		TAILQ_FOREACH (q, &c->pools, entry) {
			if (coming >= wanted)
				return;
			if (q == p || !helps(c, q, p) ||
			    (!idle_only && !above_share_of(q, p)) ||
			    !can_spare(c, q, idle_only) || !shrink_start(c, q))
				continue;
			coming += (q->planned - pool_opened(q)) * CHUNK_SIZE;
		}
	}
}
