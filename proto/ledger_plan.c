/* SPDX-License-Identifier: ISC */

/* Plans: takes that are tried out on a copy of the free map. */
#include "proto/ledger_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/cache.h"
#include "proto/ledger_word.h"

static int
plan_reserve(struct ledger_plan *p, uint32_t chunks)
{
	uint64_t *words;

	if (chunks <= p->capacity)
		return 0;
	if ((words = reallocarray(p->words, chunks, sizeof(*words))) == NULL)
		return -ENOMEM;
	p->words = words;
	p->capacity = chunks;
	return 0;
}

int
ledger_plan_load(struct ledger_plan *p, const struct ledger *l, uint32_t opened)
{
	assert(opened <= l->chunks);
	if (plan_reserve(p, opened) != 0)
		return -ENOMEM;
	for (uint32_t c = 0; c < opened; c++)
		p->words[c] = atomic_load(&ledger_chunk(l, c)->free);
	p->chunks = opened;
	memset(p->from, 0, sizeof(p->from));
	return 0;
}

int
ledger_plan_extend(struct ledger_plan *p, uint32_t chunks)
{
	if (plan_reserve(p, p->chunks + chunks) != 0)
		return -ENOMEM;
	for (uint32_t c = 0; c < chunks; c++)
		p->words[p->chunks++] = UINT64_MAX;
	memset(p->from, 0, sizeof(p->from)); /* a row may begin before what is new */
	return 0;
}

void
ledger_plan_add_cached(struct ledger_plan *p, const struct ledger *l)
{
	struct cached w;
	unsigned int order;
	uint32_t frame;

	cached_begin(&w, l, p->chunks);
	while (cached_next(&w, &order, &frame))
		for (uint32_t c = frame / CHUNK_FRAMES;
		     c < frame / CHUNK_FRAMES + ledger_order_chunks(order); c++)
			if (c < p->chunks)
				p->words[c] |= mask_at(frame, order);
	memset(p->from, 0, sizeof(p->from));
}

/* What is taken is never put back, so that nobody looks twice where nothing was left: thousands
 * of takes cost one walk over the map for each order. */
static bool
plan_take_one(struct ledger_plan *p, unsigned int order)
{
	uint32_t n = ledger_order_chunks(order), run = 0;
	int bit;

	for (uint32_t c = p->from[order]; c < p->chunks; c++) {
		p->from[order] = c;
		if (order <= CHUNK_ORDER) {
			if ((bit = run_find(p->words[c], order)) < 0)
				continue;
			p->words[c] &= ~(run_mask(order) << bit);
			return true;
		}
		run = p->words[c] == UINT64_MAX ? run + 1 : 0;
		if (run < n)
			continue;
		memset(&p->words[c + 1 - n], 0, n * sizeof(p->words[0]));
		return true;
	}
	return false;
}

bool
ledger_plan_take(struct ledger_plan *p, unsigned int order, uint32_t count)
{
	while (count > 0 && plan_take_one(p, order))
		count--;
	return count == 0;
}

/* The largest order, beyond @order, that the word has a run of; else @order. */
static int
larger_order(uint64_t word, int order)
{
	while (
	    order < (int)CHUNK_ORDER && run_find(word, (unsigned int)(order + 1)) >= 0)
		order++;
	return order;
}

uint64_t
ledger_plan_largest(const struct ledger_plan *p, struct chunk_range r)
{
	uint32_t run = 0, longest = 0;
	int order = -1;

	for (uint32_t c = r.from; c < r.to; c++) {
		run = p->words[c] == UINT64_MAX ? run + 1 : 0;
		longest = run > longest ? run : longest;
		order = larger_order(p->words[c], order);
	}
	if (longest > 1)
		return CHUNK_SIZE << (31 - __builtin_clz(longest));
	return order < 0 ? 0 : FRAME_SIZE << order;
}

void
ledger_plan_fini(struct ledger_plan *p)
{
	free(p->words);
	*p = (struct ledger_plan){ 0 };
}
