/* SPDX-License-Identifier: ISC */

/*
 * How a pool grows and shrinks: slice by slice through the keeper, so that pools take turns
 * and nobody waits for another's gigabyte. A slice opens as soon as it is pinned.
 */
#include <assert.h>
#include <errno.h>

#include "daemon/core.h"
#include "daemon/probes.h"

/* Whose slice is next: one that has none under way; else as share.c, of what is pinned. */
static bool
slice_before(const struct pool *a, const struct pool *b)
{
	uint64_t sa = pool_slice(a) * CHUNK_SIZE, sb = pool_slice(b) * CHUNK_SIZE;
	uint64_t ua = a->user->pinned + sa, ub = b->user->pinned + sb;
	uint64_t pa = a->pinned * CHUNK_SIZE + sa, pb = b->pinned * CHUNK_SIZE + sb;

	if (a->slices_out != b->slices_out)
		return a->slices_out < b->slices_out;
	if (a->user != b->user && ua * b->user->weight != ub * a->user->weight)
		return ua * b->user->weight < ub * a->user->weight;
	return pa * b->limits.weight < pb * a->limits.weight;
}

static void
set_slice_due(struct core *c, struct pool *p, bool due)
{
	c->slices_due += (uint32_t)due - (uint32_t)p->slice_due;
	p->slice_due = due;
}

/* Up to which chunk the keeper was asked to pin. */
static uint32_t
asked_to(const struct pool *p)
{
	return p->slices_out > 0 ? p->asked : p->pinned;
}

/* After one that failed the keeper refuses those behind it, and no other is asked for. */
static void
see_what_is_due(struct core *c, struct pool *p)
{
	set_slice_due(c, p,
	    p->pin_error == 0 && asked_to(p) < p->planned &&
		p->slices_out < pool_slices(p));
}

static struct pool *
next_to_pin(struct core *c)
{
	struct pool *best = NULL, *p;

	if (c->slices_due == 0)
		return NULL;
	TAILQ_FOREACH (p, &c->pools, entry)
		if (p->slice_due && (best == NULL || slice_before(p, best)))
			best = p;
	return best;
}

static void
pin_slice(struct core *c, struct pool *p)
{
	struct chunk_range r = { asked_to(p), p->planned };

	if (r.to - r.from > pool_slice(p))
		r.to = r.from + pool_slice(p);
	p->asked = r.to;
	p->slices_out++;
	c->pins_out++;
	see_what_is_due(c, p);
	c->ops->pin(c->ctx, p, r);
}

/* A few at a time, so that who comes next is decided late, by what all have by then. */
static void
pin_slices(struct core *c)
{
	struct pool *p;

	while (c->pins_out < PINS_OUT_MAX && (p = next_to_pin(c)) != NULL)
		pin_slice(c, p);
}

void
grow_forget(struct core *c, struct pool *p)
{
	c->pins_out -= p->slices_out;
	p->slices_out = 0;
	set_slice_due(c, p, false);
	pin_slices(c);
}

void
grow_start(struct core *c, struct pool *p, uint32_t chunks, enum grow_reason reason)
{
	p->grows_for = reason;
	p->grows_since = c->now;
	pool_add_block(p, chunks);
	core_account(c, p);
	pool_publish(p, c->tick); /* stamps of the new chunks start at this tick */
	see_what_is_due(c, p);
	pin_slices(c);
}

/*
 * Headroom: low_mark is armed `headroom` before the end of what is open. Whoever takes a
 * buffer from there on claims it and rings; then the policy is asked for a block. It is
 * armed again once that is there. Nobody grows ahead while others starve.
 */
static void
arm_mark(struct pool *p, const struct policy_view *v)
{
	uint32_t opened = pool_opened(p),
		 mark = opened > v->headroom ? opened - v->headroom : 0;

	p->mark_armed = true;
	p->mark_passed = false;
	atomic_store(&p->ledger.header->low_mark, mark * CHUNK_FRAMES);
}

void
grow_ahead(struct core *c, struct pool *p)
{
	struct policy_view v;
	uint32_t chunks;

	if (p->limits.headroom == 0 || p->phase != POOL_STEADY || !p->welcome)
		return;
	if (p->mark_armed &&
	    atomic_load(&p->ledger.header->low_mark) == LEDGER_MARK_NONE)
		p->mark_passed = true;
	v = core_view(c, p, 0);
	chunks = core_block(p, p->limits.policy, &v, 0);
	if (v.planned + chunks > v.wall || v.blocks == RECORD_BLOCKS_MAX) {
		p->mark_passed = p->mark_armed = false; /* nothing to grow into */
		return;
	}
	if (!p->mark_armed) {
		arm_mark(p, &v);
		return;
	}
	if (!p->limits.policy->grows_ahead(&v) || share_is_wanted(c, p) ||
	    c->tick < p->retry_tick || !share_fits(c, p, v.planned + chunks))
		return;
	p->mark_armed = p->mark_passed = false;
	grow_start(c, p, chunks, GROW_HEADROOM);
}

static void
count_growth(struct core *c, struct pool *p, uint64_t bytes)
{
	int64_t ns = c->now.ns - p->grows_since.ns;

	CORE_COUNT(c, p, grown);
	if (p->grows_for == GROW_RESTART) /* that began in another's time */
		ns = 0;
	else
		tally_time(&c->tally.growths, ns);
	PROBE_GROW(p->id, bytes, ns);
}

static void
tell_grown(struct core *c, struct pool *p)
{
	uint64_t bytes = p->record->block[pool_blocks(p) - 1].chunks * CHUNK_SIZE;

	count_growth(c, p, bytes);
	c->ops->tell(c->ctx, p, CORE_GROWN, bytes);
}

static void
end_growth(struct core *c, struct pool *p)
{
	p->phase = POOL_STEADY;
	if (!p->welcome) {
		p->welcome = true;
		pool_publish(
		    p, c->tick); /* a client may ask as soon as it is welcome */
		c->ops->opened(c->ctx, p, 0);
	} else {
		tell_grown(c, p);
	}
}

/* What was pinned stays, as a smaller block; no other try before the next tick. */
static void
give_up_growth(struct core *c, struct pool *p, int error)
{
	uint32_t blocks = pool_blocks(p);

	p->pin_error = 0;
	pool_drop_rest(p);
	core_account(c, p);
	if (p->welcome && pool_blocks(p) == blocks)
		tell_grown(c, p);
	p->retry_tick = c->tick + 1;
	if (!p->welcome)
		c->ops->opened(c->ctx, p, error);
}

static void
set_pinned(struct pool *p, uint32_t pinned)
{
	p->user->pinned += pinned * CHUNK_SIZE - p->pinned * CHUNK_SIZE;
	p->pinned = pinned;
}

/* No slice is under way any more, and one of them failed. */
static void
core_not_pinned(struct core *c, struct pool *p, struct instant now)
{
	give_up_growth(c, p, p->pin_error);
	if (p->welcome)
		serve(c, p, now);
	share_serve(c, now); /* the rest was promised to us */
}

void
core_pinned(
    struct core *c, struct pool *p, uint32_t pinned, int error, struct instant now)
{
	assert(p->phase == POOL_GROWING && p->slices_out > 0);
	core_is_now(c, now);
	p->slices_out--;
	c->pins_out--;
	if (p->pin_error == 0)
		p->pin_error = error;
	if (error == 0) {
		set_pinned(p, pinned);
		pool_open_to(p, pinned);
	}
	see_what_is_due(c, p);
	if (p->pinned == p->planned)
		end_growth(c, p);
	if (p->pin_error == 0)
		serve(c, p, now);
	else if (p->slices_out == 0)
		core_not_pinned(c, p, now);
	pin_slices(c);
}

static void
unpin_next_slice(struct core *c, struct pool *p, uint32_t from)
{
	struct chunk_range r = { from, p->pinned };

	if (r.to - r.from > pool_slice(p))
		r.from = r.to - pool_slice(p);
	c->ops->unpin(c->ctx, p, r);
}

void
shrink_go(struct core *c, struct pool *p)
{
	p->phase = POOL_RELEASING;
	unpin_next_slice(c, p, pool_opened(p));
}

bool
shrink_start(struct core *c, struct pool *p, enum release_reason reason)
{
	if (!registered_may_go(c, p) || !pool_close_last(p))
		return false;
	p->releases_for = reason;
	if (p->record->registers)
		registered_ask(c, p);
	else
		shrink_go(c, p);
	return true;
}

/* The last block is with the system again. */
static void
end_shrinking(struct core *c, struct pool *p, struct instant now)
{
	uint64_t bytes = (p->planned - p->pinned) * CHUNK_SIZE;
	const struct request *head;

	pool_drop_block(p);
	core_account(c, p);
	p->mark_armed = false; /* it may lie beyond the end now */
	CORE_COUNT(c, p, released);
	c->counters.blocks_released++;
	PROBE_RELEASE(p->id, bytes, p->releases_for);
	c->ops->tell(c->ctx, p, CORE_RELEASED, bytes);
	if (p->to_release > 0 && p->queue.length == 0 && pool_blocks(p) > 1 &&
	    shrink_start(c, p, p->releases_for))
		p->to_release--;
	else
		p->to_release = 0; /* a pass that was cut short is over */
	if ((head = queue_head(&p->queue)) != NULL) /* others may be before it */
		share_join(c, p, (uint32_t)request_chunks(head));
	share_serve(c, now);
	serve(c, p, now);
}

void
core_unpinned(struct core *c, struct pool *p, uint32_t pinned, struct instant now)
{
	assert(p->phase == POOL_RELEASING);
	core_is_now(c, now);
	set_pinned(p, pinned);
	if (p->pinned > pool_opened(p))
		unpin_next_slice(c, p, pool_opened(p));
	else
		end_shrinking(c, p, now);
}

/* What was half done is finished as a growth, also a release: that undoes it, and then no
 * record has to tell the two apart. */
static void
finish_the_half_done(struct core *c, struct pool *p)
{
	pool_open_to(p, p->pinned);
	if (p->pinned < p->planned) {
		p->phase = POOL_GROWING;
		p->grows_for = p->welcome ? GROW_RESTART : GROW_BASE;
		see_what_is_due(c, p);
		pin_slices(c);
	} else if (!p->welcome) {
		end_growth(c, p);
	}
}

int
core_adopt(struct core *c, struct pool *p, uint32_t pinned, struct instant now)
{
	int r;

	core_is_now(c, now);
	if ((r = core_join(c, p)) != 0)
		return r;
	if (c->tick < p->record->tick)
		c->tick = p->record->tick; /* else all its stamps are of the future */
	pool_publish(p, c->tick);
	set_pinned(p, pinned);
	if (pool_blocks(p) == 0) { /* the death came before its base was begun */
		if (p->limits.base != 0)
			grow_start(
			    c, p, (uint32_t)(p->limits.base / CHUNK_SIZE), GROW_BASE);
		else
			c->ops->opened(c->ctx, p, ECANCELED);
		return 0;
	}
	p->welcome = pool_opened(p) >= pool_block(p, 0).to; /* else nobody was told */
	p->keeps_queued = p->welcome && ledger_queued(&p->ledger);
	share_inherit(c, p, now);
	if (p->phase == POOL_STEADY)
		finish_the_half_done(c, p);
	serve(c, p, now);
	return 0;
}

void
core_settle(struct core *c, struct pool *p)
{
	if (p->phase != POOL_UNSETTLED || !pool_settle(p))
		return;
	p->phase = POOL_STEADY;
	finish_the_half_done(c, p);
}
