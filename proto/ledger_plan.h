/* SPDX-License-Identifier: ISC */

/*
 * A plan: would these buffers fit, all of them, taken in this order? A copy of the free
 * map, on which takes are tried out with the very rules of ledger_take().
 */
#ifndef PROTO_LEDGER_PLAN_H
#define PROTO_LEDGER_PLAN_H

#include "proto/ledger.h"

struct ledger_plan {
	uint64_t *words;
	uint32_t chunks;   /* copied */
	uint32_t capacity; /* room in words */
	uint32_t
	    from[ORDER_MAX + 1]; /* chunk below which nothing of an order is left */
};

/** ledger_plan_load() - copy the map of the first @opened chunks; 0 or -ENOMEM */
int ledger_plan_load(struct ledger_plan *p, const struct ledger *l, uint32_t opened);
/** ledger_plan_extend() - as if @chunks free ones followed; 0 or -ENOMEM */
int ledger_plan_extend(struct ledger_plan *p, uint32_t chunks);
/** ledger_plan_add_cached() - as if all caches were emptied; what is beyond the copy, or more
 * than it, is passed over */
void ledger_plan_add_cached(struct ledger_plan *p, const struct ledger *l);
/** ledger_plan_take() - take @count buffers of @order from the copy; false: not all fit
 */
bool ledger_plan_take(struct ledger_plan *p, unsigned int order, uint32_t count);
/** ledger_plan_largest() - bytes of the largest buffer that the range, within what was copied, could
 * give; 0: none */
uint64_t ledger_plan_largest(const struct ledger_plan *p, struct chunk_range r);
void ledger_plan_fini(struct ledger_plan *p);

#endif
