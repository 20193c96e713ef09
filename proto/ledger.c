/* SPDX-License-Identifier: ISC */

/*
 * The ledger: which frames of a pool are free.
 *
 * One word tells of 64 frames, a chunk; 1 is free, so that the zero pages of a new
 * ledger mean that nothing is. A buffer of 2^k frames, k <= 6, is an aligned run of
 * ones in one word: taking it is one compare-and-swap, and two free halves are one free
 * whole without anybody merging them. A larger buffer is a row of whole words. The
 * client's threads take and give, budd opens and closes, all at the same time; nobody
 * holds a lock, and nobody waits for anybody.
 *
 * Invariants, checked by ledger_check() where nobody is in the midst of a call:
 *   I1  a frame is free, or in exactly one buffer, or in a closed chunk;
 *   I2  order[f] tells k for the first frame f of every buffer of order k, LEDGER_INNER
 *       for the first frame of its later chunks, and neither anywhere else;
 *   I3  the words of closed chunks are 0, and budd alone makes them anything else.
 *
 * Who pairs with whom:
 *   - take's swap (acquire) pairs with give's or (release) and with open's exchange
 *     (release): what the last owner wrote, or budd zeroed, is seen by the next one. The
 *     generation is stored before the word, so whoever takes from a new chunk sees it.
 *   - close's swap (acquire) pairs with give's or: nobody writes to a frame after it gave
 *     it back, so a closed chunk can be punched.
 *   - order[] is written by the owner of the frame, between take and give, and so rides
 *     on the same pairs.
 *   - a stamp is a plain store, and a hint: late by an instant it makes a block look idle
 *     that was empty when its words were swapped to zero; that is harmless.
 *
 * Nobody waits unseen (wake-up): budd raises `queued` and then looks at the words; a
 * client sets a word's bits and then looks at `queued`. All four are sequentially
 * consistent and the bits are set by a read-modify-write, so at least one of them sees
 * the other. A row of chunks that is put back because one was lost counts as given.
 *
 * Everything here may be scribbled on by the client: budd takes every index from its
 * own tables, reads each word once into a local, and bounds each loop by its own
 * counts.
 */
#include "proto/ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/cache.h"

#define PAGE ((size_t)4096)

static const uint8_t element_size[LEDGER_ARRAYS] = {
	[LEDGER_FREE] = sizeof(uint64_t),
	[LEDGER_STAMP] = sizeof(uint32_t),
	[LEDGER_GENERATION] = sizeof(uint32_t),
	[LEDGER_ORDER] = CHUNK_FRAMES,
};

/* --- Sizes and addresses --- */

static size_t
page_round(size_t bytes)
{
	return (bytes + PAGE - 1) & ~(PAGE - 1);
}

static size_t
array_offset(uint32_t chunks, enum ledger_array array)
{
	size_t offset = PAGE + LEDGER_CACHES * LEDGER_CACHE_SIZE;

	for (unsigned int a = 0; a < array; a++)
		offset += page_round((size_t)chunks * element_size[a]);
	return offset;
}

size_t
ledger_size(uint32_t chunks)
{
	return array_offset(chunks, LEDGER_ARRAYS);
}

size_t
ledger_pages(
    uint32_t chunks, enum ledger_array array, uint32_t chunks_used, size_t *offsetp)
{
	*offsetp = array_offset(chunks, array);
	return page_round((size_t)chunks_used * element_size[array]);
}

size_t
ledger_resident(uint32_t chunks, uint32_t used)
{
	size_t offset, bytes;

	bytes = page_round(PAGE + LEDGER_CACHES_LOCKED * LEDGER_CACHE_SIZE);
	for (unsigned int a = 0; a < LEDGER_ARRAYS; a++)
		bytes += ledger_pages(chunks, a, used, &offset);
	return bytes;
}

void
ledger_attach(struct ledger *l, void *base, uint32_t chunks, uint32_t caches)
{
	char *p = base;

	assert(chunks <= CHUNKS_MAX && caches <= LEDGER_CACHES);
	l->header = base;
	l->free = (void *)(p + array_offset(chunks, LEDGER_FREE));
	l->stamp = (void *)(p + array_offset(chunks, LEDGER_STAMP));
	l->generation = (void *)(p + array_offset(chunks, LEDGER_GENERATION));
	l->order = (void *)(p + array_offset(chunks, LEDGER_ORDER));
	l->cache = (void *)(p + PAGE);
	l->chunks = chunks;
	l->caches = caches;
}

void
ledger_init(struct ledger *l)
{
	l->header->magic = LEDGER_MAGIC;
	l->header->version = LEDGER_VERSION;
	l->header->chunks = l->chunks;
	l->header->caches = l->caches;
	atomic_store(&l->header->low_mark, LEDGER_MARK_NONE);
}

unsigned int
ledger_order(uint64_t size_bytes)
{
	uint64_t last_frame = (size_bytes - 1) >> FRAME_SHIFT;

	return last_frame == 0 ? 0 : 64u - (unsigned int)__builtin_clzll(last_frame);
}

uint32_t
ledger_order_chunks(unsigned int order)
{
	assert(order <= ORDER_MAX);
	return order <= CHUNK_ORDER ? 1 : (uint32_t)1 << (order - CHUNK_ORDER);
}

/* --- Runs within a word --- */

static uint64_t
run_mask(unsigned int order)
{
	return order >= CHUNK_ORDER ? UINT64_MAX : ((uint64_t)1 << (1u << order)) - 1;
}

/* The first bits of all aligned runs of 2^order ones. */
static uint64_t
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
static int
run_find(uint64_t word, unsigned int order)
{
	word = run_starts(word, order);
	return word == 0 ? -1 : __builtin_ctzll(word);
}

static uint64_t
lowest_bits(uint64_t word, uint32_t n)
{
	uint64_t rest = word;

	while (n-- > 0 && rest != 0)
		rest &= rest - 1;
	return word & ~rest;
}

/* --- The client's side --- */

/* Chunks worth looking at. The header's count is only a bound from above; ours is firm.
 */
static uint32_t
chunks_to_scan(const struct ledger *l)
{
	uint32_t open = atomic_load_explicit(&l->header->open, memory_order_relaxed);

	return open < l->chunks ? open : l->chunks;
}

uint32_t
ledger_tick(const struct ledger *l)
{
	return atomic_load_explicit(&l->header->tick, memory_order_relaxed);
}

static void
stamp_chunk(struct ledger *l, uint32_t chunk, uint32_t tick)
{
	/* A store dirties the line for all other threads; most would store the same
	 * tick. */
	if (atomic_load_explicit(&l->stamp[chunk], memory_order_relaxed) != tick)
		atomic_store_explicit(&l->stamp[chunk], tick, memory_order_relaxed);
}

static void
set_order(struct ledger *l, uint32_t frame, uint8_t value)
{
	atomic_store_explicit(&l->order[frame], value, memory_order_relaxed);
}

static int
take_within_chunk(struct ledger *l, unsigned int order, uint32_t *framep)
{
	uint32_t n = chunks_to_scan(l), tick = ledger_tick(l);

	for (uint32_t c = 0; c < n; c++) {
		uint64_t word = atomic_load_explicit(&l->free[c], memory_order_relaxed);
		int bit;

		while ((bit = run_find(word, order)) >= 0) {
			if (!atomic_compare_exchange_weak_explicit(&l->free[c], &word,
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

static bool
take_whole(struct ledger *l, uint32_t chunk)
{
	uint64_t whole = UINT64_MAX;

	return atomic_compare_exchange_strong_explicit(
	    &l->free[chunk], &whole, 0, memory_order_acquire, memory_order_relaxed);
}

static void
give_whole(struct ledger *l, struct chunk_range r)
{
	for (uint32_t c = r.from; c < r.to; c++)
		atomic_fetch_or(&l->free[c], UINT64_MAX);
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
		if (atomic_load_explicit(&l->free[c], memory_order_relaxed) !=
		    UINT64_MAX) {
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
	uint64_t word = atomic_load_explicit(&l->free[chunk], memory_order_relaxed);
	uint64_t starts;

	/* Aligned runs do not overlap, so that the product has no carry. */
	while ((starts = lowest_bits(run_starts(word, order), want)) != 0)
		if (atomic_compare_exchange_weak_explicit(&l->free[chunk], &word,
			word & ~(starts * run_mask(order)), memory_order_acquire,
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

int
ledger_order_at(const struct ledger *l, uint32_t frame)
{
	uint8_t order;

	if (frame / CHUNK_FRAMES >= l->chunks)
		return -1;
	order = atomic_load_explicit(&l->order[frame], memory_order_relaxed) &
		((1u << LEDGER_SIZE_BITS) - 1);
	return order <= ORDER_MAX + 1 ? order - 1 : -1;
}

bool
ledger_is_of_tick(
    const struct ledger *l, uint32_t frame, unsigned int order, uint32_t tick)
{
	return atomic_load_explicit(&l->order[frame], memory_order_relaxed) ==
	       LEDGER_MARK(order, tick);
}

static int
give_chunks(struct ledger *l, uint32_t frame, unsigned int order)
{
	uint32_t first = frame / CHUNK_FRAMES, n = ledger_order_chunks(order);

	if (n > l->chunks - first)
		return LEDGER_E_FOREIGN; /* the process wrote over its own ledger */
	for (uint32_t c = first; c < first + n; c++)
		set_order(l, c * CHUNK_FRAMES, LEDGER_NONE);
	for (uint32_t c = first; c < first + n; c++)
		if (atomic_fetch_or(&l->free[c], UINT64_MAX) != 0)
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
	before = atomic_fetch_or(&l->free[frame / CHUNK_FRAMES], mask);
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
		} else if ((atomic_fetch_or(&l->free[frames[i] / CHUNK_FRAMES], mask) &
			       mask) != 0) {
			r = LEDGER_E_TWICE;
		}
	}
	*givenp = i;
	return r;
}

bool
ledger_queued(const struct ledger *l)
{
	return atomic_load(&l->header->queued) != 0;
}

bool
ledger_claim_mark(struct ledger *l, uint32_t frame)
{
	_Atomic uint32_t *mark = &l->header->low_mark;

	if (frame < atomic_load_explicit(mark, memory_order_relaxed))
		return false;
	return atomic_exchange(mark, LEDGER_MARK_NONE) != LEDGER_MARK_NONE;
}

/* --- budd's side --- */

void
ledger_open_chunk(struct ledger *l, uint32_t chunk)
{
	assert(chunk < l->chunks);
	set_order(l, chunk * CHUNK_FRAMES, LEDGER_CLOSED);
	stamp_chunk(l, chunk, ledger_tick(l));
	atomic_fetch_add_explicit(&l->generation[chunk], 1, memory_order_relaxed);
	atomic_exchange(&l->free[chunk], UINT64_MAX);
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
	atomic_fetch_or(&l->free[chunk], UINT64_MAX);
}

bool
ledger_chunk_is_open(const struct ledger *l, uint32_t chunk)
{
	uint8_t order = atomic_load(&l->order[chunk * CHUNK_FRAMES]);

	assert(chunk < l->chunks);
	if (atomic_load(&l->free[chunk]) != 0)
		return true;
	return order != LEDGER_CLOSED && order != LEDGER_NONE;
}

bool
ledger_is_quiet(const struct ledger *l, uint32_t *entriesp)
{
	uint32_t left = atomic_load(&l->header->left), entered, n = ledger_caches(l);
	bool quiet = true;

	*entriesp = entered = atomic_load(&l->header->entered);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t entries =
		    __atomic_load_n(&l->cache[i].entries, __ATOMIC_SEQ_CST);

		quiet = quiet && entries % 2 == 0;
		*entriesp += entries;
	}
	return quiet && left == entered;
}

void
ledger_set_queued(struct ledger *l, bool queued)
{
	uint32_t n;

	atomic_exchange(&l->header->queued, queued);
	n = ledger_caches(l); /* after that: see cache.c on caches that are just made */
	for (uint32_t i = 0; i < n; i++)
		if (queued)
			cache_raise(&l->cache[i], CACHE_QUEUED);
		else
			cache_lower(&l->cache[i], CACHE_QUEUED);
}

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

static uint64_t
mask_at(uint32_t frame, unsigned int order)
{
	return run_mask(order) << frame % CHUNK_FRAMES;
}

void
ledger_give_end(struct ledger *l, uint32_t frame, unsigned int order)
{
	uint32_t first = frame / CHUNK_FRAMES;

	for (uint32_t c = first; c < first + ledger_order_chunks(order); c++)
		atomic_fetch_or(&l->free[c], mask_at(frame, order));
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
		    (atomic_load(&l->free[first + i]) & mask_at(f, order)) == 0 &&
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
			atomic_fetch_or(&l->free[first + i], mask_at(frame, order));
}

bool
ledger_is_empty(const struct ledger *l, struct chunk_range r)
{
	for (uint32_t c = r.from; c < r.to; c++)
		if (atomic_load(&l->free[c]) != UINT64_MAX)
			return false;
	return true;
}

uint64_t
ledger_count_free(const struct ledger *l, struct chunk_range r)
{
	uint64_t frames = 0;

	for (uint32_t c = r.from; c < r.to; c++)
		frames += (uint64_t)__builtin_popcountll(
		    atomic_load_explicit(&l->free[c], memory_order_relaxed));
	return frames;
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
ledger_largest_free(const struct ledger *l, struct chunk_range r)
{
	uint32_t run = 0, longest = 0;
	int order = -1;

	for (uint32_t c = r.from; c < r.to; c++) {
		uint64_t word = atomic_load_explicit(&l->free[c], memory_order_relaxed);

		run = word == UINT64_MAX ? run + 1 : 0;
		longest = run > longest ? run : longest;
		order = larger_order(word, order);
	}
	if (longest > 1)
		return CHUNK_SIZE << (31 - __builtin_clz(longest));
	return order < 0 ? 0 : FRAME_SIZE << order;
}

uint32_t
ledger_idle_ticks(const struct ledger *l, struct chunk_range r, uint32_t tick)
{
	uint32_t least = UINT32_MAX;

	for (uint32_t c = r.from; c < r.to; c++) {
		uint32_t stamp, idle;

		stamp = atomic_load_explicit(&l->stamp[c], memory_order_relaxed);
		idle = tick - stamp; /* ticks wrap */
		if (idle > INT32_MAX)
			idle = 0;
		least = idle < least ? idle : least;
	}
	return least;
}

/* --- Plans --- */

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
		p->words[c] = atomic_load(&l->free[c]);
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
	uint32_t n = ledger_caches(l);

	for (uint32_t i = 0; i < n; i++) {
		uint32_t frame, at = 0;
		unsigned int order;

		while (cache_at(&l->cache[i], at++, &order, &frame))
			for (uint32_t c = frame / CHUNK_FRAMES;
			     c < frame / CHUNK_FRAMES + ledger_order_chunks(order); c++)
				if (c < p->chunks)
					p->words[c] |= mask_at(frame, order);
	}
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

void
ledger_plan_fini(struct ledger_plan *p)
{
	free(p->words);
	*p = (struct ledger_plan){ 0 };
}

/* --- Checking --- */

/* The mask of the buffer whose first frame is @bit of chunk @c, or 0 if I2 does not
 * hold. */
static uint64_t
buffer_at(const struct ledger *l, uint32_t c, unsigned int bit, uint32_t *innerp)
{
	int order = ledger_order_at(l, c * CHUNK_FRAMES + bit);

	if (order < 0)
		return 0;
	if ((unsigned int)order <= CHUNK_ORDER)
		return bit % (1u << order) == 0 ? run_mask((unsigned int)order) << bit
						: 0;
	*innerp = ledger_order_chunks((unsigned int)order) - 1;
	return bit == 0 ? UINT64_MAX : 0;
}

/* Each used frame of an opened chunk belongs to one buffer, and no free frame to any.
 */
static bool
check_chunk(const struct ledger *l, uint32_t c, uint32_t *innerp)
{
	uint64_t used = ~atomic_load(&l->free[c]), buffer;
	uint8_t first = atomic_load(&l->order[c * CHUNK_FRAMES]);

	if (*innerp > 0) {
		(*innerp)--;
		return used == UINT64_MAX && first == LEDGER_INNER;
	}
	for (unsigned int bit = 0; bit < CHUNK_FRAMES; bit++) {
		if ((used >> bit & 1) == 0) {
			if (ledger_order_at(l, c * CHUNK_FRAMES + bit) >= 0)
				return false;
			continue;
		}
		buffer = buffer_at(l, c, bit, innerp);
		if (buffer == 0 || (used & buffer) != buffer)
			return false;
		bit = 63u - (unsigned int)__builtin_clzll(buffer);
	}
	return true;
}

bool
ledger_check(const struct ledger *l, uint32_t opened)
{
	uint32_t inner = 0;

	for (uint32_t c = 0; c < opened; c++)
		if (!check_chunk(l, c, &inner))
			return false;
	for (uint32_t c = opened; c < l->chunks; c++)
		if (atomic_load(&l->free[c]) != 0)
			return false;
	return inner == 0;
}
