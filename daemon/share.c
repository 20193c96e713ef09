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

/* Is memory that @q takes, or gives back, what @p starves for? */
static bool
concerns(const struct core *c, const struct pool *q, const struct pool *p)
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

#define ANY_ROUND UINT64_MAX

/* Does one of its group starve that came earlier, and was not looked at in this round? Only
 * the oldest of a group competes with others: by age within the group and by share beyond
 * it, three pools could else stand before each other in a circle. */
static bool
group_has_older(const struct core *c, const struct pool *p, uint64_t round)
{
	const struct pool *q;

	if (p->group == NULL)
		return false;
	TAILQ_FOREACH (q, &c->pools, entry)
		if (q != p && q->starved && q->group == p->group && q->round != round &&
		    share_before(c, q, p))
			return true;
	return false;
}

/* Does @q starve for what @p is about to take, and is its turn before @p's? */
static bool
competes_before(const struct core *c, const struct pool *q, const struct pool *p)
{
	return q != p && q->starved && share_before(c, q, p) && concerns(c, p, q) &&
	       !group_has_older(c, q, ANY_ROUND);
}

/* Somebody before @p cannot have its block yet, and came earlier to the group, or has been
 * overtaken often enough. While share_serve() goes through them in their order, only those
 * count that it has come to: asks that changed since may let each stand before another. */
static bool
must_wait_for_another(const struct core *c, const struct pool *p)
{
	const struct pool *q;

	if (group_has_older(c, p, ANY_ROUND))
		return true;
	TAILQ_FOREACH (q, &c->pools, entry)
		if (q->starved && q->overtaken >= c->params.overtaken_max &&
		    (!c->sharing || q->round == c->rounds) && competes_before(c, q, p))
			return true;
	return false;
}

/* The part of the host's wall that is a user's by weight. */
static uint64_t
share_of_user(const struct core *c, const struct user *u)
{
	const struct user *v;
	uint64_t weights = 0;

	LIST_FOREACH (v, &c->users, entry)
		weights += v->weight;
	return c->params.host_wall / weights * u->weight;
}

/* What a unit of weight is worth among the pools of a user, who may have been left more
 * than its share by others. */
static uint64_t
share_within_user(const struct core *c, const struct user *u)
{
	uint64_t whole = share_of_user(c, u), weights = 0;
	const struct pool *p;

	TAILQ_FOREACH (p, &c->pools, entry)
		if (p->user == u)
			weights += p->limits.weight;
	return (whole > u->charge ? whole : u->charge) / weights;
}

/* @p is served before those who compete with it. Whoever asks for no more than its share,
 * of the host or, against a pool of its own user, of what is that user's, counts it. */
static void
count_overtaken(struct core *c, const struct pool *p)
{
	uint64_t unit = share_of_user(c, p->user) / p->user->weight;
	uint64_t unit_within = share_within_user(c, p->user), ask;
	struct pool *q;

	TAILQ_FOREACH (q, &c->pools, entry) {
		if (!competes_before(c, q, p))
			continue;
		ask = q->ask * CHUNK_SIZE;
		if (q->user == p->user)
			q->overtaken +=
			    q->charged + ask <= unit_within * q->limits.weight;
		else
			q->overtaken += q->user->charge + ask <= unit * q->user->weight;
	}
}

static void
set_starved(struct core *c, struct pool *p, bool starved)
{
	c->starved += (uint32_t)starved - (uint32_t)p->starved;
	p->starved = starved;
	if (!starved)
		p->overtaken = 0;
}

static void squeeze_for(struct core *c, const struct pool *p);

bool
share_admit(struct core *c, struct pool *p, uint32_t planned)
{
	p->ask = planned - p->planned;
	if (!share_fits(c, p, planned) ||
	    (c->starved > p->starved && must_wait_for_another(c, p))) {
		set_starved(c, p, true);
		squeeze_for(c, p);
		return false;
	}
	if (c->starved > p->starved)
		count_overtaken(c, p);
	set_starved(c, p, false);
	return true;
}

bool
share_is_wanted(const struct core *c, const struct pool *p)
{
	const struct pool *q;

	if (c->starved == 0)
		return false;
	TAILQ_FOREACH (q, &c->pools, entry)
		if (q != p && q->starved && concerns(c, p, q))
			return true;
	return false;
}

void
share_join(struct core *c, struct pool *p, uint32_t ask)
{
	p->ask = ask;
	set_starved(c, p, true);
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
		    (best == NULL || share_before(c, p, best)) &&
		    !group_has_older(c, p, round))
			best = p;
	return best;
}

/* All of them once; true: one was served while another, looked at before it, waits, which
 * may have waited for that one alone. */
static bool
serve_round(struct core *c, struct instant now)
{
	uint64_t round = ++c->rounds;
	bool one_waits = false, again = false;
	struct pool *p;

	while (c->starved > 0 && (p = next_starved(c, round)) != NULL) {
		p->round = round;
		serve(c, p, now);
		again |= one_waits && !p->starved;
		one_waits |= p->starved;
	}
	return again;
}

void
share_serve(struct core *c, struct instant now)
{
	if (c->starved == 0 || c->sharing)
		return;
	c->sharing = true; /* serve() of one may end in here again */
	while (serve_round(c, now))
		; /* each time fewer starve */
	c->sharing = false;
}

/* --- Pressure --- */

/* Is it the first of those who starve for the same memory? */
static bool
is_first_of_its_kind(const struct core *c, const struct pool *p)
{
	enum shortage what = shortage(c, p, p->planned + p->ask);
	const struct pool *q;

	TAILQ_FOREACH (q, &c->pools, entry)
		if (q->starved && competes_before(c, q, p) &&
		    shortage(c, q, q->planned + q->ask) == what)
			return false;
	return true;
}

/* By what decides between the two: their users, or the pools of one user. */
static bool
above_share_of(const struct pool *q, const struct pool *p)
{
	uint64_t ask = p->ask * CHUNK_SIZE;

	if (q->user == p->user)
		return compare_ratios(q->charged, q->limits.weight, p->charged + ask,
			   p->limits.weight) > 0;
	return compare_ratios(q->user->charge, q->user->weight, p->user->charge + ask,
		   p->user->weight) > 0;
}

/* Whoever waits has use for an empty block, unless it starves in spite of it. */
static bool
has_use_for_blocks(const struct pool *q)
{
	return q->queue.length > 0 && (!q->starved || turns_are_out(q));
}

static bool
can_spare(const struct core *c, const struct pool *q, bool idle_only)
{
	uint32_t n = pool_blocks(q);
	struct chunk_range last;

	if (q->phase != POOL_STEADY || n < 2 || has_use_for_blocks(q))
		return false;
	last = (struct chunk_range){ q->planned - q->record->block_chunks[n - 1],
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
		if (q == p || !concerns(c, q, p))
			continue;
		if (q->phase == POOL_RELEASING)
			coming += (q->planned - pool_opened(q)) * CHUNK_SIZE;
		if (above_share_of(q, p))
			tell_pressure(c, q);
	}
	return coming;
}

/* First from those above their share, then whatever was idle for one period. One block of
 * each pool at a time, until enough for @p, the first in order, is on its way. */
static void
squeeze_for(struct core *c, const struct pool *p)
{
	uint64_t coming, wanted = p->ask * CHUNK_SIZE;
	struct pool *q;

	if (!is_first_of_its_kind(c, p))
		return;
	coming = press_upon_others(c, p);
	for (int idle_only = 0; idle_only <= 1; idle_only++) {
		TAILQ_FOREACH (q, &c->pools, entry) {
			if (coming >= wanted)
				return;
			if (q == p || !concerns(c, q, p) ||
			    (!idle_only && !above_share_of(q, p)) ||
			    !can_spare(c, q, idle_only) || !shrink_start(c, q))
				continue;
			coming += (q->planned - pool_opened(q)) * CHUNK_SIZE;
		}
	}
}

/* Those who starve squeeze when they are looked at, which the tick does, too. What is left
 * to do here: when nobody starves any more, the next shortage is news again. */
void
share_squeeze(struct core *c)
{
	struct pool *p;

	if (c->starved > 0)
		return;
	TAILQ_FOREACH (p, &c->pools, entry)
		p->told_pressure = false;
}
