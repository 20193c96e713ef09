/* SPDX-License-Identifier: ISC */

/*
 * Whose turn it is within a pool.
 *
 * The requests of a pool are served first in, first out; nobody overtakes, not even a small
 * one past a large one. A grant is a turn: the client takes the buffer itself and says DONE.
 * While anybody waits or has a turn out, `queued` is set, so that all other threads of the
 * client stand behind. Several turns are out at once when a plan says that all of them fit.
 *
 * A head that does not fit makes the pool grow; at the pool's wall, empty last blocks give
 * way to one that is large enough; failing that it waits, and those that would not wait are
 * refused.
 */
#include <assert.h>
#include <errno.h>

#include "daemon/caches.h"
#include "daemon/core.h"
#include "daemon/probes.h"

static bool
plan_granted(struct core *c, const struct pool *p)
{
	const struct request *r;

	TAILQ_FOREACH (r, &p->queue.requests, entry)
		if (r->state == REQUEST_GRANTED &&
		    !ledger_plan_take(&c->plan, r->order, r->count))
			return false;
	return true;
}

static void
grant(struct core *c, struct request *r)
{
	core_set_state(c, r, REQUEST_GRANTED);
	CORE_COUNT(c, r->pool, grants);
	tally_time(&c->tally.waits, c->now.ns - r->since.ns);
	PROBE_GRANT(r->pool->id, request_bytes(r), c->now.ns - r->since.ns);
	c->ops->grant(c->ctx, r->pool, r->tag);
}

/* Gives turns while they fit; returns the first request that does not, or NULL. */
static struct request *
grant_all_that_fit(struct core *c, struct pool *p)
{
	struct request *head = queue_head(&p->queue);

	if (head == NULL)
		return NULL;
	if (ledger_plan_load(&c->plan, &p->ledger, pool_opened(p)) != 0 ||
	    !plan_granted(c, p))
		return head;
	while (head != NULL && ledger_plan_take(&c->plan, head->order, head->count)) {
		grant(c, head);
		head = queue_head(&p->queue);
	}
	return head;
}

/* What lies in threads' caches is free, too; but it costs more. */
static struct request *
grant_all_that_can_be_had(struct core *c, struct pool *p)
{
	struct request *head = grant_all_that_fit(c, p);

	if (head != NULL && caches_call_in(c, p) > 0)
		head = grant_all_that_fit(c, p);
	return head;
}

bool
turns_are_out(const struct pool *p)
{
	const struct request *r;

	TAILQ_FOREACH (r, &p->queue.requests, entry)
		if (r->state == REQUEST_GRANTED)
			return true;
	return false;
}

/* Would the head fit if the blocks above @floor were one new one that reaches the wall? */
static bool
fits_up_to_wall(
    struct core *c, const struct pool *p, const struct request *head, uint32_t floor)
{
	uint32_t wall = pool_wall_chunks(p);

	if (floor >= wall || ledger_plan_load(&c->plan, &p->ledger, floor) != 0 ||
	    ledger_plan_extend(&c->plan, wall - floor) != 0)
		return false;
	return ledger_plan_take(&c->plan, head->order, head->count);
}

/*
 * The block that would let the head in, and the mark at which it would start: the end of
 * the pool, or lower if empty blocks have to go first. 0: it has to wait for a free.
 *
 * Blocks are equal, or as large as the buffer; a rest of the wall that is smaller stays
 * unused. The exception is a head for which an empty pool would have no such block: it
 * gets what is left below the wall, provided that it fits then.
 */
static uint32_t
block_for(
    struct core *c, const struct pool *p, const struct request *head, uint32_t *startp)
{
	struct policy_view view = core_view(c, p, 0);
	uint32_t wall = view.wall, base = pool_block(p, 0).to;
	uint64_t size = request_chunks(head);
	bool odd = size > base;
	uint32_t equal = core_block(p, &policy_fixed, &view, (uint32_t)size);

	size = core_block(p, p->limits.policy, &view, (uint32_t)size);
	if (!share_fits(c, p, p->planned + (uint32_t)size))
		size = equal; /* nobody waits because a policy would like more */
	*startp = p->planned;
	if (p->planned + size <= wall)
		return (uint32_t)size;
	if (turns_are_out(p))
		return 0; /* what looks empty may be taken at any moment */
	*startp = pool_floor(p);
	if (*startp + size <= wall)
		return (uint32_t)size;
	if (odd && base + size > wall && fits_up_to_wall(c, p, head, *startp))
		return wall - *startp;
	return 0;
}

/* Would the head fit if the block that is asked back of the client stayed? */
static bool
fits_if_kept(struct core *c, const struct pool *p, const struct request *head)
{
	uint32_t opened = pool_opened(p);

	return p->phase == POOL_ASKED &&
	       ledger_plan_load(&c->plan, &p->ledger, opened) == 0 &&
	       ledger_plan_extend(&c->plan, p->planned - opened) == 0 &&
	       plan_granted(c, p) &&
	       ledger_plan_take(&c->plan, head->order, head->count);
}

/* The first request that does not fit. What a pool needs itself is not asked back of it. */
static struct request *
grant_all(struct core *c, struct pool *p)
{
	struct request *head = grant_all_that_can_be_had(c, p);

	if (head == NULL || !fits_if_kept(c, p, head))
		return head;
	registered_keep(c, p);
	return grant_all_that_fit(c, p);
}

/* A turn that was used counts twice until its DONE has come, which is then waited for. */
static bool
fits_but_for_turns(struct core *c, const struct pool *p, const struct request *head)
{
	return turns_are_out(p) &&
	       ledger_plan_load(&c->plan, &p->ledger, pool_opened(p)) == 0 &&
	       ledger_plan_take(&c->plan, head->order, head->count);
}

/* The head does not fit. True: something is under way that will call serve() again. */
static bool
make_room(struct core *c, struct pool *p, const struct request *head)
{
	uint32_t start, chunks;

	if (p->phase != POOL_STEADY || fits_but_for_turns(c, p, head))
		return true;
	if (!p->welcome || c->tick < p->retry_tick)
		return false;
	chunks = block_for(c, p, head, &start);
	if (chunks == 0 || pool_blocks(p) == RECORD_BLOCKS_MAX) {
		share_forget(
		    c, p); /* its own wall binds; what it asked for, others may have */
		return false;
	}
	if (!share_fits(c, p, start + chunks) && !turns_are_out(p))
		start = pool_floor(p); /* a wall that is shared may bind first */
	if (start < p->planned && share_fits(c, p, start + chunks))
		return shrink_start(c, p, RELEASE_ROOM);
	if (!share_admit(c, p, start + chunks))
		return false;
	grow_start(c, p, chunks, GROW_REQUEST);
	return true;
}

/* The walls are looked at as make_room() does, but nothing is begun. */
static enum core_why
why_no_room(struct core *c, const struct pool *p, const struct request *head,
    struct core_wants *w)
{
	uint32_t start, chunks = block_for(c, p, head, &start);

	if (pool_blocks(p) == RECORD_BLOCKS_MAX)
		return WHY_BLOCKS;
	if (chunks == 0)
		return WHY_WALL;
	*w = (struct core_wants){ start, chunks };
	switch (share_shortage(c, p, start + chunks)) {
	case SHORT_OF_GROUP:
		return WHY_SECTION;
	case SHORT_OF_USER:
		return WHY_USER;
	case SHORT_OF_HOST:
		return WHY_HOST;
	case SHORT_OF_NOTHING:
		break;
	}
	return p->place.starved ? WHY_ORDER : WHY_SOON;
}

enum core_why
core_why(struct core *c, const struct pool *p, struct core_wants *w)
{
	const struct request *head = queue_head(&p->queue);

	*w = (struct core_wants){ 0 };
	if (head == NULL)
		return p->queue.length == 0 ? WHY_NOTHING : WHY_TURN;
	switch (p->phase) {
	case POOL_STEADY:
		break;
	case POOL_GROWING:
		return WHY_GROWING;
	case POOL_ASKED:
	case POOL_RELEASING:
		return WHY_RELEASING;
	case POOL_UNSETTLED:
		return WHY_SOON;
	}
	if (fits_but_for_turns(c, p, head))
		return WHY_TURN;
	if (!p->welcome || c->tick < p->retry_tick)
		return WHY_PINNING;
	return why_no_room(c, p, head, w);
}

uint64_t
core_wall_for(const struct core *c, const struct pool *p)
{
	const struct request *head = queue_head(&p->queue);
	struct policy_view view = core_view(c, p, 0);
	uint64_t from = turns_are_out(p) ? p->planned : pool_floor(p);

	if (head == NULL)
		return p->limits.wall;
	return (from + core_block(
			   p, &policy_fixed, &view, (uint32_t)request_chunks(head))) *
	       CHUNK_SIZE;
}

static void
refuse_those_that_only_tried(struct core *c, struct pool *p)
{
	struct request *r, *next;

	TAILQ_FOREACH_SAFE (r, &p->queue.requests, entry, next)
		if (r->try && r->state == REQUEST_WAITING)
			core_refuse(c, r, EAGAIN);
}

static void
count_those_that_wait(struct core *c, struct pool *p)
{
	struct request *r;

	/* From the end, up to those that were counted before. */
	TAILQ_FOREACH_REVERSE(r, &p->queue.requests, request_list, entry)
	{
		if (r->counted)
			break;
		if (r->state == REQUEST_WAITING) {
			r->counted = true;
			CORE_COUNT(c, p, queued);
			PROBE_QUEUE(p->id, request_bytes(r), p->queue.length);
		}
	}
}

/* `queued` first, and only then a look at the map and the caches. */
static void
announce(struct pool *p)
{
	if (!p->announced)
		p->announced = p->call_in = true;
	ledger_set_queued(&p->ledger, true);
}

void
serve(struct core *c, struct pool *p, struct instant now)
{
	struct place was = p->place;
	struct request *head;

	core_is_now(c, now);
	if (p->queue.length > 0)
		announce(p);
	while ((head = grant_all(c, p)) != NULL && !make_room(c, p, head)) {
		refuse_those_that_only_tried(c, p);
		if (queue_head(&p->queue) == head)
			break; /* it waits, and so do all behind it */
	}
	if (head == NULL && !p->is_heir)
		share_forget(c, p);
	if (p->queue.length == 0)
		grow_ahead(c, p);
	count_those_that_wait(c, p);
	if (p->queue.length == 0 && !p->keeps_queued) {
		p->announced = false;
		ledger_set_queued(&p->ledger, false);
	}
	pool_publish(p, c->tick);
	core_wind(c, p, now);
	share_moved(c, p, &was, now);
}
