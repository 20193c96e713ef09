/* SPDX-License-Identifier: ISC */

/*
 * The words of the free map, bit by bit, and what is written beside them: what taking, opening,
 * counting and planning have in common.
 */
#ifndef PROTO_LEDGER_WORD_H
#define PROTO_LEDGER_WORD_H

#include "proto/ledger.h"

static inline uint64_t
run_mask(unsigned int order)
{
	return order >= CHUNK_ORDER ? UINT64_MAX : ((uint64_t)1 << (1u << order)) - 1;
}

static inline uint64_t
mask_at(uint32_t frame, unsigned int order)
{
	return run_mask(order) << frame % CHUNK_FRAMES;
}

/* The first bits of all aligned runs of 2^order ones. */
static inline uint64_t
run_starts(uint64_t word, unsigned int order)
{
	static const uint64_t starts[] = { 0xffffffffffffffffULL, 0x5555555555555555ULL,
		0x1111111111111111ULL, 0x0101010101010101ULL, 0x0001000100010001ULL,
		0x0000000100000001ULL, 0x0000000000000001ULL };

	for (unsigned int k = 0; k < order; k++)
		word &= word >> (1u << k);
	return word & starts[order];
}

/* The lowest aligned run of 2^order ones, as the number of its first bit; -1: none. */
static inline int
run_find(uint64_t word, unsigned int order)
{
	word = run_starts(word, order);
	return word == 0 ? -1 : __builtin_ctzll(word);
}

static inline uint64_t
lowest_bits(uint64_t word, uint32_t n)
{
	uint64_t rest = word;

	while (n-- > 0 && rest != 0)
		rest &= rest - 1;
	return word & ~rest;
}

static inline bool
take_whole(struct ledger *l, uint32_t chunk)
{
	uint64_t whole = UINT64_MAX;

	return atomic_compare_exchange_strong_explicit(&ledger_chunk(l, chunk)->free,
	    &whole, 0, memory_order_acquire, memory_order_relaxed);
}

static inline void
set_order(struct ledger *l, uint32_t frame, uint8_t value)
{
	atomic_store_explicit(&l->order[frame], value, memory_order_relaxed);
}

static inline void
stamp_chunk(struct ledger *l, uint32_t chunk, uint32_t tick)
{
	/* A store dirties the line for all other threads; most would store the same
	 * tick. */
	if (atomic_load_explicit(
		&ledger_chunk(l, chunk)->stamp, memory_order_relaxed) != tick)
		atomic_store_explicit(
		    &ledger_chunk(l, chunk)->stamp, tick, memory_order_relaxed);
}

#endif
