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
 * So of each group one stands in line, its oldest; of those each user puts its first
 * forward; and these compete. That is one order, in which nobody stands before each other
 * in a circle, as three could if each two were compared by themselves. elect() finds who
 * stands for whom; all else looks at each pool once.
 *
 * A pool whose block does not fit does not hold up those whose smaller one does, lest memory
 * lie fallow; but one that asks for no more than its share is overtaken `overtaken_max`
 * times and then no more: what becomes free is kept for it. Whoever wants as much or more
 * than the one before it waits in any case: that one lacks little, a page of its ledger.
 */
#include "daemon/share.h"

#include "daemon/core.h"
#include "daemon/squeeze.h"

/* New ones that starve have others squeezed at once, a few a tick: it looks at all pools. */
#define SQUEEZES_A_TICK 8

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

enum shortage
share_shortage(const struct core *c, const struct pool *p, uint32_t planned)
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
	return share_shortage(c, p, planned) == SHORT_OF_NOTHING;
}

int
share_compare(uint64_t a, uint32_t wa, uint64_t b, uint32_t wb)
{
	uint64_t left = a / 1024 * wb, right = b / 1024 * wa;

	return left < right ? -1 : left > right;
}

static bool
waits_longer(const struct pool *a, const struct pool *b)
{
	return a->place.since != b->place.since ? a->place.since < b->place.since
						: a->id < b->id;
}

/* Among the pools of one user. */
static bool
before_within_user(const struct pool *a, const struct pool *b)
{
	int r = share_compare(a->charged + a->place.ask * CHUNK_SIZE, a->limits.weight,
	    b->charged + b->place.ask * CHUNK_SIZE, b->limits.weight);

	return r != 0 ? r < 0 : waits_longer(a, b);
}

static bool
stands_in_line(const struct pool *p, uint64_t round)
{
	return p->place.starved && p->round != round &&
	       (p->group == NULL || p->group->oldest == p);
}

/* Who stands for whom: of each group the one that has waited longest, of each user the
 * first of those; of all that starve and were not looked at in @round. */
#define ANY_ROUND UINT64_MAX

static void
elect(struct core *c, uint64_t round)
{
	struct group *g;
	struct user *u;
	struct pool *p;

	LIST_FOREACH (g, &c->groups, entry)
		g->oldest = NULL;
	LIST_FOREACH (u, &c->users, entry)
		u->first = NULL;
	TAILQ_FOREACH (p, &c->pools, entry)
		if (p->place.starved && p->round != round && (g = p->group) != NULL &&
		    (g->oldest == NULL || waits_longer(p, g->oldest)))
			g->oldest = p;
	TAILQ_FOREACH (p, &c->pools, entry)
		if (stands_in_line(p, round) &&
		    (p->user->first == NULL || before_within_user(p, p->user->first)))
			p->user->first = p;
}

/* Both were put forward by their users, or stand in line behind the one who was. */
static bool
before(const struct pool *a, const struct pool *b)
{
	const struct user *u = a->user, *v = b->user;
	int r;

	if (u == v)
		return before_within_user(a, b);
	r = share_compare(u->charge + u->first->place.ask * CHUNK_SIZE, u->weight,
	    v->charge + v->first->place.ask * CHUNK_SIZE, v->weight);
	return r != 0 ? r < 0 : waits_longer(u->first, v->first);
}

bool
share_before(struct core *c, const struct pool *a, const struct pool *b)
{
	if (a->group != NULL && a->group == b->group)
		return waits_longer(a, b);
	elect(c, ANY_ROUND);
	return before(a->group != NULL ? a->group->oldest : a,
	    b->group != NULL ? b->group->oldest : b);
}

bool
share_concerns(const struct core *c, const struct pool *q, const struct pool *p)
{
	switch (share_shortage(c, p, p->planned + p->place.ask)) {
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

/* After elect(): does @q starve for what @p is about to take, and is its turn before @p's? */
static bool
competes_before(const struct core *c, const struct pool *q, const struct pool *p)
{
	return q != p && stands_in_line(q, ANY_ROUND) && before(q, p) &&
	       share_concerns(c, p, q);
}

/* Somebody before @p cannot have its block yet, and came earlier to the group, or wants no
 * more, or has been overtaken often enough. */
static bool
must_wait_for_another(const struct core *c, const struct pool *p)
{
	const struct pool *q;

	if (!stands_in_line(p, ANY_ROUND))
		return true;
	TAILQ_FOREACH (q, &c->pools, entry)
		if ((q->overtaken >= c->params.overtaken_max ||
			q->place.ask <= p->place.ask) &&
		    competes_before(c, q, p))
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
		ask = q->place.ask * CHUNK_SIZE;
		if (q->user == p->user)
			q->overtaken +=
			    q->charged + ask <= unit_within * q->limits.weight;
		else
			q->overtaken += q->user->charge + ask <= unit * q->user->weight;
		q->record->overtaken = q->overtaken;
	}
}

static void
set_starved(struct core *c, struct pool *p, bool starved)
{
	if (!starved && !p->place.starved)
		return;
	c->starved += (uint32_t)starved - (uint32_t)p->place.starved;
	p->place.starved = starved;
	p->record->since = p->place.since;
	atomic_store(&p->record->ask, starved ? p->place.ask : 0);
	if (!starved) {
		p->overtaken = p->record->overtaken = 0;
		p->is_heir = false;
	}
}

static bool
has_moved(const struct place *was, const struct place *is)
{
	return was->starved != is->starved || was->ask != is->ask ||
	       was->since != is->since;
}

bool
share_admit(struct core *c, struct pool *p, uint32_t planned)
{
	uint32_t ask = planned - p->planned;
	struct place was = p->place;
	bool fits = share_fits(c, p, planned);

	share_join(c, p, ask);
	if (fits && c->starved > 1)
		elect(c, ANY_ROUND);
	if (!fits || (c->starved > 1 && must_wait_for_another(c, p))) {
		c->kept |= fits;
		if (has_moved(&was, &p->place) && c->squeezes++ < SQUEEZES_A_TICK)
			share_squeeze(c);
		return false;
	}
	if (c->starved > 1)
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
		if (q != p && q->place.starved && share_concerns(c, p, q))
			return true;
	return false;
}

void
share_join(struct core *c, struct pool *p, uint32_t ask)
{
	const struct request *head = queue_head(&p->queue);

	p->place.ask = ask;
	p->place.since = head != NULL ? head->since.ns : INT64_MAX;
	set_starved(c, p, true);
}

void
share_forget(struct core *c, struct pool *p)
{
	set_starved(c, p, false);
}

/* Long enough for a client to ask again. One that does not holds nobody up longer. */
#define HEIR_NS NS_PER_S

void
share_inherit(struct core *c, struct pool *p, struct instant now)
{
	uint32_t ask = atomic_load(&p->record->ask);

	if (ask == 0 || ask > p->ledger.chunks - p->planned)
		return;
	p->place.ask = ask;
	p->place.since = p->record->since;
	p->overtaken = p->record->overtaken;
	p->is_heir = true;
	p->heir_until = instant_add(now, HEIR_NS);
	set_starved(c, p, true);
}

void
share_disinherit(struct core *c, struct pool *p, struct instant now)
{
	if (!p->is_heir || instant_before(now, p->heir_until))
		return;
	set_starved(c, p, false);
	share_serve(c, now);
}

/* Its block would fit, if only after empty ones of its own have gone. */
static bool
could_fit(const struct core *c, const struct pool *p)
{
	return share_fits(c, p, p->planned + p->place.ask) ||
	       share_fits(c, p, pool_floor(p) + p->place.ask);
}

/* The first in order among those that were not looked at yet in this round, and whose block
 * would fit. */
static struct pool *
next_to_serve(struct core *c, uint64_t round)
{
	struct pool *best = NULL, *p;

	elect(c, round);
	TAILQ_FOREACH (p, &c->pools, entry)
		if (stands_in_line(p, round) && (best == NULL || before(p, best)) &&
		    could_fit(c, p))
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

	while (c->starved > 0 && (p = next_to_serve(c, round)) != NULL) {
		p->round = round;
		serve(c, p, now);
		again |= one_waits && !p->place.starved;
		one_waits |= p->place.starved;
	}
	return again;
}

void
share_serve(struct core *c, struct instant now)
{
	if (c->starved == 0 || c->sharing)
		return;
	c->sharing = true; /* serve() of one may end in here again */
	c->kept = false;
	while (serve_round(c, now))
		; /* each time fewer starve */
	c->sharing = false;
	share_squeeze(c);
}

void
share_moved(
    struct core *c, const struct pool *p, const struct place *was, struct instant now)
{
	if (was->starved && has_moved(was, &p->place) && (c->kept || p->group != NULL))
		share_serve(c, now);
}

/* Those that starve are of few kinds: for the host's memory, a user's, a group's. Of each,
 * only the first has others squeezed. */
static struct pool *
first_for_host(struct core *c)
{
	struct pool *first = NULL, *p;

	TAILQ_FOREACH (p, &c->pools, entry)
		if (stands_in_line(p, ANY_ROUND) &&
		    (first == NULL || before(p, first)) &&
		    share_shortage(c, p, p->planned + p->place.ask) == SHORT_OF_HOST)
			first = p;
	return first;
}

/* Among a user's the first in line is first for the user's memory, too, if that is what it
 * lacks; so is a group's oldest. */
static bool
is_first_of_user_or_group(const struct core *c, const struct pool *p)
{
	enum shortage what;

	if (p->user->first != p && (p->group == NULL || p->group->oldest != p))
		return false;
	what = share_shortage(c, p, p->planned + p->place.ask);
	return (what == SHORT_OF_USER && p->user->first == p) ||
	       (what == SHORT_OF_GROUP && p->group->oldest == p);
}

void
share_squeeze(struct core *c)
{
	struct pool *host, *p;

	if (c->starved == 0) {
		squeeze_is_over(c);
		return;
	}
	elect(c, ANY_ROUND);
	host = first_for_host(c);
	TAILQ_FOREACH (p, &c->pools, entry)
		if (p == host || (p->place.starved && is_first_of_user_or_group(c, p)))
			squeeze_for(c, p);
}
