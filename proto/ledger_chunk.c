/* SPDX-License-Identifier: ISC */

/*
 * budd's side of the ledger: opening and closing chunks, and moving what lay in a cache to the
 * map, each in steps of which a death in the midst can be told. ledger.c has the argument.
 */
#include "proto/ledger.h"
#include "proto/ledger_word.h"

/* --- Opening and closing --- */

void
ledger_open_chunk(struct ledger *l, uint32_t chunk)
{
	assert(chunk < l->chunks);
	set_order(l, chunk * CHUNK_FRAMES, LEDGER_CLOSED);
	stamp_chunk(l, chunk, ledger_tick(l));
	atomic_fetch_add_explicit(
	    &ledger_chunk(l, chunk)->generation, 1, memory_order_relaxed);
	atomic_exchange(&ledger_chunk(l, chunk)->free, UINT64_MAX);
}

bool
ledger_close_chunk(struct ledger *l, uint32_t chunk)
{
	assert(chunk < l->chunks);
	if (!take_whole(l, chunk))
		return false;
	set_order(l, chunk * CHUNK_FRAMES, LEDGER_CLOSED);
	return true;
}

void
ledger_reopen_chunk(struct ledger *l, uint32_t chunk)
{
	assert(chunk < l->chunks);
	atomic_fetch_or(&ledger_chunk(l, chunk)->free, UINT64_MAX);
}

bool
ledger_chunk_is_open(const struct ledger *l, uint32_t chunk)
{
	uint8_t order = atomic_load(&l->order[chunk * CHUNK_FRAMES]);

	assert(chunk < l->chunks);
	if (atomic_load(&ledger_chunk(l, chunk)->free) != 0)
		return true;
	return order != LEDGER_CLOSED && order != LEDGER_NONE;
}

/* --- Out of a cache --- */

bool
ledger_give_begin(struct ledger *l, uint32_t frame, unsigned int order)
{
	uint32_t first = frame / CHUNK_FRAMES;

	if (ledger_order_at(l, frame) != (int)order)
		return false; /* it was given twice, or never taken */
	set_order(l, frame, LEDGER_MOVING);
	for (uint32_t c = first + 1; c < first + ledger_order_chunks(order); c++)
		set_order(l, c * CHUNK_FRAMES, LEDGER_MOVING);
	return true;
}

void
ledger_give_end(struct ledger *l, uint32_t frame, unsigned int order)
{
	uint32_t first = frame / CHUNK_FRAMES;

	for (uint32_t c = first; c < first + ledger_order_chunks(order); c++)
		atomic_fetch_or(&ledger_chunk(l, c)->free, mask_at(frame, order));
}

/* Does @frame lie within a buffer that starts below it in its chunk? */
static bool
lies_within(const struct ledger *l, uint32_t frame)
{
	uint32_t first = frame - frame % CHUNK_FRAMES;

	for (uint32_t f = first; f < frame; f++) {
		int order = ledger_order_at(l, f);

		if (order >= 0 && f + ((uint64_t)1 << order) > frame)
			return true;
	}
	return false;
}

void
ledger_give_cancel(struct ledger *l, uint32_t frame, unsigned int order)
{
	uint32_t first = frame / CHUNK_FRAMES;

	for (uint32_t c = first + 1; c < first + ledger_order_chunks(order); c++)
		set_order(l, c * CHUNK_FRAMES, LEDGER_INNER);
	set_order(l, frame, LEDGER_MARK(order, ledger_tick(l)));
}

/* One that is marked as moving, and has no bit in the map, was not given yet, unless a
 * larger buffer was taken since, which begins before it. */
uint32_t
ledger_give_missing(const struct ledger *l, uint32_t frame, unsigned int order)
{
	uint32_t first = frame / CHUNK_FRAMES, missing = 0;

	for (uint32_t i = 0; i < ledger_order_chunks(order); i++) {
		uint32_t f = i == 0 ? frame : (first + i) * CHUNK_FRAMES;

		if (atomic_load(&l->order[f]) == LEDGER_MOVING &&
		    (atomic_load(&ledger_chunk(l, first + i)->free) &
			mask_at(f, order)) == 0 &&
		    !lies_within(l, f))
			missing |= 1u << i;
	}
	return missing;
}

void
ledger_give_rest(struct ledger *l, uint32_t frame, unsigned int order, uint32_t missing)
{
	uint32_t first = frame / CHUNK_FRAMES;

	for (uint32_t i = 0; i < ledger_order_chunks(order); i++)
		if ((missing >> i & 1) != 0)
			atomic_fetch_or(
			    &ledger_chunk(l, first + i)->free, mask_at(frame, order));
}
