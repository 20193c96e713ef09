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
 * Taking and giving are in ledger_take.c, opening and closing in ledger_chunk.c.
 *
 * Everything here may be scribbled on by the client: budd takes every index from its
 * own tables, reads each word once into a local, and bounds each loop by its own
 * counts.
 */
#include "proto/ledger.h"

#include "proto/cache.h"
#include "proto/ledger_word.h"

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

/* The caches begin in the midst of the header's page, which has room. At the start of one the words
 * that a hit writes would lie as far into a page as those of order[] that it reads, where the
 * lowest buffers are in use; and processors that compare the low bits of addresses alone, in
 * order to know which load needs the store before it, take one for the other. */
static size_t
array_offset(uint32_t chunks, enum ledger_array array)
{
	size_t offset =
	    page_round(LEDGER_CACHES_AT + LEDGER_CACHES * LEDGER_CACHE_SIZE);

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

	bytes = page_round(LEDGER_CACHES_AT + LEDGER_CACHES_LOCKED * LEDGER_CACHE_SIZE);
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
	l->cache = (void *)(p + LEDGER_CACHES_AT);
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

/* --- What it says --- */

uint32_t
ledger_tick(const struct ledger *l)
{
	return atomic_load_explicit(&l->header->tick, memory_order_relaxed);
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

bool
ledger_queued(const struct ledger *l)
{
	return atomic_load(&l->header->queued) != 0;
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

/* --- Counting --- */

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
