/* SPDX-License-Identifier: ISC */

/*
 * How a pool grows and shrinks: slice by slice through the keeper, so that pools take turns
 * and nobody waits for another's gigabyte. A slice opens as soon as it is pinned.
 */
#include <assert.h>
#include <errno.h>

#include "daemon/core.h"

bool
grow_fits_host(const struct core *c, const struct pool *p, uint32_t planned)
{
	uint64_t others = c->committed;

	if (pool_blocks(p) > 0)
		others -= pool_charge(p, p->planned);
	return others + pool_charge(p, planned) <= c->params.host_wall;
}

static void
pin_next_slice(struct core *c, struct pool *p)
{
	struct chunk_range r = { p->pinned, p->planned };

	if (r.to - r.from > SLICE_CHUNKS)
		r.to = r.from + SLICE_CHUNKS;
	c->ops->pin(c->ctx, p, r);
}

void
grow_start(struct core *c, struct pool *p, uint32_t chunks)
{
	c->committed -= pool_charge(p, p->planned);
	pool_add_block(p, chunks);
	c->committed += pool_charge(p, p->planned);
	pool_publish(p, c->tick); /* stamps of the new chunks start at this tick */
	pin_next_slice(c, p);
}

static void
end_growth(struct core *c, struct pool *p)
{
	p->phase = POOL_STEADY;
	if (!p->welcome) {
		p->welcome = true;
		pool_publish(p, c->tick); /* a client may ask as soon as it is welcome */
		c->ops->opened(c->ctx, p, 0);
	} else {
		p->record->counters.grown++;
	}
}

/* What was pinned stays, as a smaller block; no other try before the next tick. */
static void
give_up_growth(struct core *c, struct pool *p, int error)
{
	uint32_t blocks = pool_blocks(p);

	c->committed -= pool_charge(p, p->planned);
	pool_drop_rest(p);
	c->committed += pool_charge(p, p->planned);
	p->record->counters.grown += p->welcome && pool_blocks(p) == blocks;
	p->retry_tick = c->tick + 1;
	if (!p->welcome)
		c->ops->opened(c->ctx, p, error);
}

void
core_pinned(
    struct core *c, struct pool *p, uint32_t pinned, int error, struct instant now)
{
	assert(p->phase == POOL_GROWING);
	if (error != 0) {
		give_up_growth(c, p, error);
		if (p->welcome)
			serve(c, p, now);
		serve_starved(c, now); /* the rest was promised to us */
		return;
	}
	p->pinned = pinned;
	pool_open_to(p, pinned);
	if (p->pinned < p->planned)
		pin_next_slice(c, p);
	else
		end_growth(c, p);
	serve(c, p, now);
}

static void
unpin_next_slice(struct core *c, struct pool *p, uint32_t from)
{
	struct chunk_range r = { from, p->pinned };

	if (r.to - r.from > SLICE_CHUNKS)
		r.from = r.to - SLICE_CHUNKS;
	c->ops->unpin(c->ctx, p, r);
}

bool
shrink_start(struct core *c, struct pool *p)
{
	if (!pool_close_last(p))
		return false;
	unpin_next_slice(c, p, pool_opened(p));
	return true;
}

void
core_unpinned(struct core *c, struct pool *p, uint32_t pinned, struct instant now)
{
	assert(p->phase == POOL_RELEASING);
	p->pinned = pinned;
	if (p->pinned > pool_opened(p)) {
		unpin_next_slice(c, p, pool_opened(p));
		return;
	}
	c->committed -= pool_charge(p, p->planned);
	pool_drop_block(p);
	c->committed += pool_charge(p, p->planned);
	p->record->counters.released++;
	c->counters.blocks_released++;
	serve(c, p, now);
	serve_starved(c, now);
}

/* What was half done is finished as a growth, also a release: that undoes it, and then no
 * record has to tell the two apart. */
void
core_adopt(struct core *c, struct pool *p, uint32_t pinned, struct instant now)
{
	TAILQ_INSERT_TAIL(&c->pools, p, entry);
	c->committed += pool_charge(p, p->planned);
	if (c->tick < p->record->tick)
		c->tick = p->record->tick; /* else all its stamps are of the future */
	pool_publish(p, c->tick);
	p->pinned = pinned;
	if (pool_blocks(p) == 0) { /* the death came before its base was begun */
		grow_start(c, p, (uint32_t)(p->limits.base / CHUNK_SIZE));
		return;
	}
	p->welcome = pinned >= pool_block(p, 0).to; /* else opened() is still to come */
	pool_open_to(p, pinned);
	if (p->pinned < p->planned) {
		p->phase = POOL_GROWING;
		pin_next_slice(c, p);
	}
	serve(c, p, now);
}
