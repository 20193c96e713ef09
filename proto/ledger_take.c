/* SPDX-License-Identifier: ISC */

/*
 * The client's side of the ledger: taking and giving, one buffer or many. ledger.c has the
 * argument.
 */
#include "proto/ledger.h"
#include "proto/ledger_word.h"

/* --- Taking --- */

/* Chunks worth looking at. The header's count is only a bound from above; ours is firm.
 */
static uint32_t
chunks_to_scan(const struct ledger *l)
{
	uint32_t open = atomic_load_explicit(&l->header->open, memory_order_relaxed);

	return open < l->chunks ? open : l->chunks;
}

static int
take_within_chunk(struct ledger *l, unsigned int order, uint32_t *framep)
{
	uint32_t n = chunks_to_scan(l), tick = ledger_tick(l);

	for (uint32_t c = 0; c < n; c++) {
		uint64_t word = atomic_load_explicit(
		    &ledger_chunk(l, c)->free, memory_order_relaxed);
		int bit;

		while ((bit = run_find(word, order)) >= 0) {
			if (!atomic_compare_exchange_weak_explicit(
				&ledger_chunk(l, c)->free, &word,
				word & ~(run_mask(order) << bit), memory_order_acquire,
				memory_order_relaxed))
				continue;
			*framep = c * CHUNK_FRAMES + (uint32_t)bit;
			set_order(l, *framep, LEDGER_MARK(order, tick));
			stamp_chunk(l, c, tick);
			return 0;
		}
	}
	return LEDGER_E_FULL;
}

static void
give_whole(struct ledger *l, struct chunk_range r)
{
	for (uint32_t c = r.from; c < r.to; c++)
		atomic_fetch_or(&ledger_chunk(l, c)->free, UINT64_MAX);
}

/* Takes the chunks [first, first + n), or puts back what it took and says where it
 * lost. */
static bool
take_row(struct ledger *l, uint32_t first, uint32_t n, uint32_t *lostp)
{
	for (uint32_t i = 0; i < n; i++) {
		if (take_whole(l, first + i))
			continue;
		give_whole(l, (struct chunk_range){ first, first + i });
		*lostp = first + i;
		return false;
	}
	return true;
}

static int
take_chunks(struct ledger *l, unsigned int order, uint32_t from, uint32_t *framep)
{
	uint32_t n = ledger_order_chunks(order), end = chunks_to_scan(l), run = 0, lost;
	uint32_t tick = ledger_tick(l);

	for (uint32_t c = from; c < end; c++) {
		if (atomic_load_explicit(&ledger_chunk(l, c)->free,
			memory_order_relaxed) != UINT64_MAX) {
			run = 0;
			continue;
		}
		if (++run < n)
			continue;
		if (!take_row(l, c + 1 - n, n, &lost)) {
			run = c - lost;
			continue;
		}
		for (uint32_t i = c + 1 - n; i <= c; i++) {
			set_order(l, i * CHUNK_FRAMES, LEDGER_INNER);
			stamp_chunk(l, i, tick);
		}
		*framep = (c + 1 - n) * CHUNK_FRAMES;
		set_order(l, *framep, LEDGER_MARK(order, tick));
		return 0;
	}
	return LEDGER_E_FULL;
}

int
ledger_take(struct ledger *l, unsigned int order, uint32_t *framep)
{
	assert(order <= ORDER_MAX);
	if (order <= CHUNK_ORDER)
		return take_within_chunk(l, order, framep);
	return take_chunks(l, order, 0, framep);
}

/* Up to @want runs of one word by one swap; returns their first bits. */
static uint64_t
take_runs(
    struct ledger *l, uint32_t chunk, unsigned int order, uint32_t want, uint32_t tick)
{
	uint64_t word =
	    atomic_load_explicit(&ledger_chunk(l, chunk)->free, memory_order_relaxed);
	uint64_t starts;

	/* Aligned runs do not overlap, so that the product has no carry. */
	while ((starts = lowest_bits(run_starts(word, order), want)) != 0)
		if (atomic_compare_exchange_weak_explicit(&ledger_chunk(l, chunk)->free,
			&word, word & ~(starts * run_mask(order)), memory_order_acquire,
			memory_order_relaxed)) {
			stamp_chunk(l, chunk, tick);
			return starts;
		}
	return 0;
}

static uint32_t
take_in_words(struct ledger *l, unsigned int order, uint32_t want,
    struct chunk_range *r, uint32_t *frames)
{
	uint32_t n = 0, tick = ledger_tick(l);

	for (; r->from < r->to && n < want; r->from++) {
		uint64_t starts = take_runs(l, r->from, order, want - n, tick);

		for (; starts != 0; starts &= starts - 1) {
			frames[n] =
			    r->from * CHUNK_FRAMES + (uint32_t)__builtin_ctzll(starts);
			set_order(l, frames[n++], LEDGER_MARK(order, tick));
		}
		if (n == want)
			break; /* there may be more in this one */
	}
	return n;
}

static uint32_t
take_rows(struct ledger *l, unsigned int order, uint32_t want, struct chunk_range *r,
    uint32_t *frames)
{
	uint32_t n = 0;

	while (n < want && take_chunks(l, order, r->from, &frames[n]) == 0)
		r->from = frames[n++] / CHUNK_FRAMES + ledger_order_chunks(order);
	return n;
}

uint32_t
ledger_take_many(struct ledger *l, unsigned int order, uint32_t want, uint32_t *fromp,
    uint32_t *frames)
{
	uint32_t (*take)(struct ledger *, unsigned int, uint32_t, struct chunk_range *,
	    uint32_t *) = order <= CHUNK_ORDER ? take_in_words : take_rows;
	struct chunk_range r = { *fromp, chunks_to_scan(l) };
	uint32_t n = take(l, order, want, &r, frames);

	if (n<want && * fromp> 0) {
		r = (struct chunk_range){ 0, chunks_to_scan(l) };
		n += take(l, order, want - n, &r, frames + n);
	}
	*fromp = r.from;
	return n;
}

bool
ledger_claim_mark(struct ledger *l, uint32_t frame)
{
	_Atomic uint32_t *mark = &l->header->low_mark;

	if (frame < atomic_load_explicit(mark, memory_order_relaxed))
		return false;
	return atomic_exchange(mark, LEDGER_MARK_NONE) != LEDGER_MARK_NONE;
}

/* --- Giving --- */

static int
give_chunks(struct ledger *l, uint32_t frame, unsigned int order)
{
	uint32_t first = frame / CHUNK_FRAMES, n = ledger_order_chunks(order);

	if (n > l->chunks - first)
		return LEDGER_E_FOREIGN; /* the process wrote over its own ledger */
	for (uint32_t c = first; c < first + n; c++)
		set_order(l, c * CHUNK_FRAMES, LEDGER_NONE);
	for (uint32_t c = first; c < first + n; c++)
		if (atomic_fetch_or(&ledger_chunk(l, c)->free, UINT64_MAX) != 0)
			return LEDGER_E_TWICE;
	return 0;
}

int
ledger_give(struct ledger *l, uint32_t frame)
{
	int order = ledger_order_at(l, frame);
	unsigned int bit = frame % CHUNK_FRAMES;
	uint64_t mask, before;

	if (order < 0)
		return LEDGER_E_FOREIGN;
	if ((unsigned int)order > CHUNK_ORDER)
		return give_chunks(l, frame, (unsigned int)order);
	set_order(l, frame, LEDGER_NONE);
	mask = run_mask((unsigned int)order) << bit;
	before = atomic_fetch_or(&ledger_chunk(l, frame / CHUNK_FRAMES)->free, mask);
	return (before & mask) == 0 ? 0 : LEDGER_E_TWICE;
}

/* As many of @n as lie in one word and are small enough for one or; returns their mask. */
static uint64_t
mask_of_neighbours(
    struct ledger *l, const uint32_t *frames, uint32_t n, uint32_t *takenp)
{
	uint64_t mask = 0;
	uint32_t i;

	for (i = 0; i < n && frames[i] / CHUNK_FRAMES == frames[0] / CHUNK_FRAMES;
	     i++) {
		int order = ledger_order_at(l, frames[i]);
		uint64_t run;

		if (order < 0 || (unsigned int)order > CHUNK_ORDER)
			break;
		run = run_mask((unsigned int)order) << frames[i] % CHUNK_FRAMES;
		if ((mask & run) != 0)
			break;
		set_order(l, frames[i], LEDGER_NONE);
		mask |= run;
	}
	*takenp = i;
	return mask;
}

int
ledger_give_many(struct ledger *l, const uint32_t *frames, uint32_t n, uint32_t *givenp)
{
	uint32_t i = 0, taken;
	uint64_t mask;
	int r = 0;

	for (; i < n && r == 0; i += r == 0 ? taken : 0) {
		mask = mask_of_neighbours(l, frames + i, n - i, &taken);
		if (taken == 0) {
			r = ledger_give(l, frames[i]);
			taken = 1;
		} else if ((atomic_fetch_or(
				&ledger_chunk(l, frames[i] / CHUNK_FRAMES)->free,
				mask) &
			       mask) != 0) {
			r = LEDGER_E_TWICE;
		}
	}
	*givenp = i;
	return r;
}
