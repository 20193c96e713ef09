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

/*
 * The layout: what a small pool needs stands side by side, for each page apart costs everybody who
 * maps it a fault, and each region apart a page table; and what a larger one needs continues
 * it at both ends.
 *
 *	struct ledger_chunk of the last chunk ... of the first
 *	header
 *	the first caches
 *	order[] of the first chunk ... of the last
 *	the other caches
 *
 * order[] and the other caches start with a page; of the chunks the first 112, 28 MiB, stand in the
 * header's. So do the first caches begin in the midst of it. At the start of a page the words that a
 * hit writes would lie as far into it as those of order[] that it reads, where the lowest buffers
 * are in use; and processors that compare the low bits of addresses alone, in order to know
 * which load needs the store before it, take one for the other.
 */
#define HEADER_AT 1792u /* bytes into its page */

static_assert(HEADER_AT + sizeof(struct ledger_header) == LEDGER_CACHES_AT,
    "header and caches stand side by side");

/* --- Sizes and addresses --- */

static size_t
page_round(size_t bytes)
{
	return (bytes + PAGE - 1) & ~(PAGE - 1);
}

/* The pages before the header's that tell of the chunks below @used. */
static size_t
chunk_pages(uint32_t used)
{
	size_t bytes = used * sizeof(struct ledger_chunk);

	return bytes > HEADER_AT ? page_round(bytes - HEADER_AT) : 0;
}

static size_t
order_pages(uint32_t used)
{
	return page_round((size_t)used * CHUNK_FRAMES);
}

static size_t
order_offset(uint32_t chunks)
{
	return chunk_pages(chunks) +
	       page_round(LEDGER_CACHES_AT + LEDGER_CACHES_LOCKED * LEDGER_CACHE_SIZE);
}

static size_t
far_offset(uint32_t chunks)
{
	return order_offset(chunks) + order_pages(chunks);
}

size_t
ledger_size(uint32_t chunks)
{
	return far_offset(chunks) +
	       page_round((LEDGER_CACHES - LEDGER_CACHES_LOCKED) * LEDGER_CACHE_SIZE);
}

struct ledger_span
ledger_span(uint32_t chunks, uint32_t used)
{
	if (used == 0)
		used = 1;
	return (struct ledger_span){ chunk_pages(chunks) - chunk_pages(used),
		order_offset(chunks) + order_pages(used) };
}

struct ledger_span
ledger_below(uint32_t chunks, uint32_t from, uint32_t to)
{
	return (struct ledger_span){ ledger_span(chunks, to).from,
		ledger_span(chunks, from).from };
}

struct ledger_span
ledger_above(uint32_t chunks, uint32_t from, uint32_t to)
{
	return (struct ledger_span){ ledger_span(chunks, from).to,
		ledger_span(chunks, to).to };
}

size_t
ledger_resident(uint32_t chunks, uint32_t used)
{
	struct ledger_span s = ledger_span(chunks, used);

	return s.to - s.from;
}

void
ledger_attach(struct ledger *l, void *base, uint32_t chunks, uint32_t caches)
{
	char *p = base, *page = p + chunk_pages(chunks), *header = page + HEADER_AT;

	assert(chunks <= CHUNKS_MAX && caches <= LEDGER_CACHES);
	*l = (struct ledger){ .base = base,
		.header = (void *)header,
		.first = (struct ledger_chunk *)(void *)header - 1,
		.order = (void *)(p + order_offset(chunks)),
		.near = (void *)(page + LEDGER_CACHES_AT),
		.far = (void *)(p + far_offset(chunks)),
		.chunks = chunks,
		.caches = caches };
}

struct bud_inline_cache *
ledger_cache(const struct ledger *l, uint32_t i)
{
	return i < LEDGER_CACHES_LOCKED ? &l->near[i]
					: &l->far[i - LEDGER_CACHES_LOCKED];
}

uint32_t
ledger_cache_number(const struct ledger *l, const struct bud_inline_cache *c)
{
	return c < l->far ? (uint32_t)(c - l->near)
			  : (uint32_t)(c - l->far) + LEDGER_CACHES_LOCKED;
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
			cache_raise(ledger_cache(l, i), CACHE_QUEUED);
		else
			cache_lower(ledger_cache(l, i), CACHE_QUEUED);
}

bool
ledger_is_quiet(const struct ledger *l, uint32_t *entriesp)
{
	uint32_t left = atomic_load(&l->header->left), entered, n = ledger_caches(l);
	bool quiet = true;

	*entriesp = entered = atomic_load(&l->header->entered);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t entries =
		    __atomic_load_n(&ledger_cache(l, i)->entries, __ATOMIC_SEQ_CST);

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
		if (atomic_load(&ledger_chunk(l, c)->free) != UINT64_MAX)
			return false;
	return true;
}

uint64_t
ledger_count_free(const struct ledger *l, struct chunk_range r)
{
	uint64_t frames = 0;

	for (uint32_t c = r.from; c < r.to; c++)
		frames += (uint64_t)__builtin_popcountll(atomic_load_explicit(
		    &ledger_chunk(l, c)->free, memory_order_relaxed));
	return frames;
}

uint32_t
ledger_idle_ticks(const struct ledger *l, struct chunk_range r, uint32_t tick)
{
	uint32_t least = UINT32_MAX;

	for (uint32_t c = r.from; c < r.to; c++) {
		uint32_t stamp, idle;

		stamp = atomic_load_explicit(
		    &ledger_chunk(l, c)->stamp, memory_order_relaxed);
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
	uint64_t used = ~atomic_load(&ledger_chunk(l, c)->free), buffer;
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
		if (atomic_load(&ledger_chunk(l, c)->free) != 0)
			return false;
	return inner == 0;
}
