/* SPDX-License-Identifier: ISC */

/* What was asked for before there was a pool. */
#include "daemon/hurry.h"

#include <assert.h>
#include <stddef.h>

#include "daemon/core.h"

static bool
may_hurry(const struct core *c, const struct pool_limits *limits, uint64_t charge)
{
	const struct user *u = user_find(&c->users, limits->uid);
	uint64_t charged = u != NULL ? u->charge : 0;
	uint32_t pools = u != NULL ? u->pools : 0;

	return c->pins_out == 0 && c->slices_due == 0 && limits->group_wall == 0 &&
	       c->committed + charge <= c->params.host_wall &&
	       (c->params.user_wall == 0 || charged + charge <= c->params.user_wall) &&
	       (c->params.user_pools == 0 || pools < c->params.user_pools);
}

uint32_t
core_hurry(
    struct core *c, struct hurry *h, const struct pool_limits *limits, uint32_t chunks)
{
	uint32_t base = (uint32_t)(limits->base / CHUNK_SIZE),
		 slice = heap_kind_slice(limits->heap);
	uint64_t charge = base * CHUNK_SIZE + ledger_resident(chunks, base);

	*h = (struct hurry){ 0 };
	if (!may_hurry(c, limits, charge) ||
	    (h->user = user_get(&c->users, limits->uid)) == NULL)
		return 0;
	h->charge = charge;
	h->chunks = base < slice ? base : slice;
	h->user->hurries++;
	h->user->hurried += charge;
	h->user->charge += charge;
	c->hurried += charge;
	c->committed += charge;
	return h->chunks;
}

static void
end_hurry(struct core *c, struct hurry *h)
{
	c->committed -= h->charge;
	c->hurried -= h->charge;
	h->user->charge -= h->charge;
	h->user->hurried -= h->charge;
	h->user->hurries--;
	user_put(h->user);
	*h = (struct hurry){ 0 };
}

void
core_unhurry(struct core *c, struct hurry *h, struct instant now)
{
	if (h->user == NULL)
		return;
	core_is_now(c, now);
	end_hurry(c, h);
	share_serve(c, now); /* somebody may have waited for just that */
}

void
hurry_take(struct core *c, struct hurry *h, struct pool *p)
{
	assert(h->user == p->user);
	p->asked = h->chunks;
	p->slices_out++;
	c->pins_out++;
	end_hurry(c, h);
}
