/* SPDX-License-Identifier: ISC */

/* A pool's blocks. pool.h has the picture and the invariants. */
#include "daemon/pool.h"

#include <assert.h>

#include "daemon/caches.h"
#include "daemon/step.h"

#define QUIET_TRIES 64u

static uint32_t
to_chunks(uint64_t bytes)
{
	return (uint32_t)(bytes / CHUNK_SIZE);
}

static void
set_blocks(struct pool *p, uint32_t blocks)
{
	atomic_store(&p->record->blocks, blocks);
	step();
}

/* An arbiter that dies in the midst of this leaves a doubt, which pool_settle() resolves. */
static void
begin_move(struct pool *p, uint32_t chunk)
{
	atomic_store(&p->record->doubt, chunk + 1);
	step();
}

static void
end_move(struct pool *p, uint32_t opened)
{
	step();
	atomic_store(&p->record->opened, opened);
	step();
	atomic_store(&p->record->doubt, 0);
	step();
}

/* What the ledger says of the chunk holds if nobody was between taking it and saying so. */
static bool
settle_doubt(struct pool *p, uint32_t doubt)
{
	for (unsigned int i = 0; i < QUIET_TRIES; i++) {
		uint32_t before, after;
		bool open;

		if (!ledger_is_quiet(&p->ledger, &before))
			continue;
		open = ledger_chunk_is_open(&p->ledger, doubt - 1);
		if (!ledger_is_quiet(&p->ledger, &after) || before != after)
			continue;
		end_move(p, doubt - !open);
		return true;
	}
	return false;
}

bool
pool_settle(struct pool *p)
{
	uint32_t doubt = atomic_load(&p->record->doubt);

	return (doubt == 0 || settle_doubt(p, doubt)) && caches_settle(p);
}

void
pool_init(struct pool *p, uint32_t id, const struct pool_limits *limits,
    const struct ledger *ledger, struct record *record)
{
	*p = (struct pool){
		.id = id, .limits = *limits, .ledger = *ledger, .record = record
	};
	if (p->limits.policy == NULL)
		p->limits.policy = &policy_fixed;
	if (p->limits.weight == 0)
		p->limits.weight = 1;
	queue_init(&p->queue);
	for (uint32_t i = 0; i < pool_blocks(p); i++)
		p->planned += record->block[i].chunks;
	if (!pool_settle(p))
		p->phase = POOL_UNSETTLED;
}

uint32_t
pool_blocks(const struct pool *p)
{
	return atomic_load_explicit(&p->record->blocks, memory_order_relaxed);
}

uint32_t
pool_opened(const struct pool *p)
{
	return atomic_load_explicit(&p->record->opened, memory_order_relaxed);
}

struct chunk_range
pool_block(const struct pool *p, uint32_t index)
{
	struct chunk_range r = { 0, p->record->block[0].chunks };

	assert(index < pool_blocks(p));
	for (uint32_t i = 1; i <= index; i++) {
		r.from = r.to;
		r.to += p->record->block[i].chunks;
	}
	return r;
}

static struct chunk_range
last_block(const struct pool *p)
{
	uint32_t last = p->record->block[pool_blocks(p) - 1].chunks;

	return (struct chunk_range){ p->planned - last, p->planned };
}

struct chunk_range
pool_block_open(const struct pool *p, uint32_t index)
{
	struct chunk_range r = pool_block(p, index);
	uint32_t opened = pool_opened(p);

	r.from = r.from < opened ? r.from : opened;
	r.to = r.to < opened ? r.to : opened;
	return r;
}

uint64_t
pool_used(const struct pool *p)
{
	uint32_t opened = pool_opened(p);
	uint64_t frames = (uint64_t)opened * CHUNK_FRAMES,
		 free =
		     ledger_count_free(&p->ledger, (struct chunk_range){ 0, opened }) +
		     caches_frames(p);

	return free < frames ? (frames - free) * FRAME_SIZE : 0;
}

uint64_t
pool_charge(const struct pool *p, uint32_t chunks)
{
	return chunks * CHUNK_SIZE + ledger_resident(p->ledger.chunks, chunks);
}

/* Of the slice that was pinned last, or 0. */
static unsigned int
last_page_shift(const struct pool *p)
{
	uint32_t n = pool_blocks(p);
	unsigned int shift = n > 0 ? p->record->block[n - 1].page_shift : 0;

	return shift == 0 && n > 1 ? p->record->block[n - 2].page_shift : shift;
}

uint32_t
pool_slice(const struct pool *p)
{
	if (last_page_shift(p) >= HEAP_LARGE_SHIFT)
		return heap_kind_slice_max(p->limits.heap);
	return heap_kind_slice(p->limits.heap);
}

uint32_t
pool_slices(const struct pool *p)
{
	return last_page_shift(p) >= HEAP_LARGE_SHIFT ? 2 : 1;
}

uint32_t
pool_whole(const struct pool *p, uint32_t chunks)
{
	uint32_t page = heap_kind_chunks(p->limits.heap);

	return (chunks + page - 1) / page * page;
}

uint32_t
pool_wall_chunks(const struct pool *p)
{
	uint32_t chunks = to_chunks(p->limits.wall);

	return chunks - chunks % heap_kind_chunks(p->limits.heap);
}

uint32_t
pool_floor(const struct pool *p)
{
	uint32_t floor = p->planned;

	for (uint32_t i = pool_blocks(p); i > 1; i--) {
		uint32_t from = floor - p->record->block[i - 1].chunks;

		if (!ledger_is_empty(&p->ledger, (struct chunk_range){ from, floor }))
			break;
		floor = from;
	}
	return floor;
}

uint32_t
pool_idle_blocks(const struct pool *p, uint32_t tick, uint32_t idle_ticks)
{
	uint32_t n = pool_blocks(p), idle = 0;

	while (idle < n) {
		struct chunk_range r = pool_block(p, n - 1 - idle);

		if (!ledger_is_empty(&p->ledger, r) ||
		    ledger_idle_ticks(&p->ledger, r, tick) < idle_ticks)
			break;
		idle++;
	}
	return idle;
}

bool
pool_check(const struct pool *p)
{
	uint32_t sum = 0, opened = pool_opened(p);

	for (uint32_t i = 0; i < pool_blocks(p); i++)
		sum += p->record->block[i].chunks;
	if (opened > p->pinned || p->pinned > p->planned || p->planned != sum)
		return false;
	if (p->phase == POOL_STEADY && p->welcome)
		return opened == p->pinned && p->pinned == p->planned && sum > 0;
	return true;
}

void
pool_add_block(struct pool *p, uint32_t chunks)
{
	uint32_t n = pool_blocks(p);

	assert(n < RECORD_BLOCKS_MAX && p->phase == POOL_STEADY && chunks > 0);
	assert(chunks <= p->ledger.chunks - p->planned);
	p->record->block[n] = (struct record_block){ .chunks = chunks };
	step();
	set_blocks(p, n + 1);
	p->planned += chunks;
	p->phase = POOL_GROWING;
}

void
pool_drop_rest(struct pool *p)
{
	uint32_t n = pool_blocks(p);
	struct chunk_range last = last_block(p);

	assert(p->phase == POOL_GROWING);
	p->planned = p->pinned;
	p->phase = POOL_STEADY;
	if (p->pinned == last.from)
		set_blocks(p, n - 1);
	else
		p->record->block[n - 1].chunks = p->pinned - last.from;
}

void
pool_note_pages(struct pool *p, unsigned int shift)
{
	struct record_block *b = &p->record->block[pool_blocks(p) - 1];

	if (shift != 0 && (b->page_shift == 0 || shift < b->page_shift))
		b->page_shift = shift & 0xff;
}

void
pool_open_to(struct pool *p, uint32_t chunks)
{
	assert(chunks <= p->pinned);
	for (uint32_t c = pool_opened(p); c < chunks; c++) {
		begin_move(p, c);
		ledger_open_chunk(&p->ledger, c);
		end_move(p, c + 1);
	}
	atomic_store(&p->ledger.header->open, chunks);
	step();
}

static void
reopen(struct pool *p, struct chunk_range r)
{
	for (uint32_t c = r.from; c < r.to; c++) {
		begin_move(p, c);
		ledger_reopen_chunk(&p->ledger, c);
		end_move(p, c + 1);
	}
}

bool
pool_close_last(struct pool *p)
{
	struct chunk_range last = last_block(p);

	assert(p->phase == POOL_STEADY && pool_blocks(p) > 1);
	if (!ledger_is_empty(&p->ledger, last))
		return false;
	for (uint32_t c = last.to; c > last.from; c--) {
		begin_move(p, c - 1);
		if (!ledger_close_chunk(&p->ledger, c - 1)) {
			end_move(p, c);
			reopen(p, (struct chunk_range){ c, last.to });
			return false;
		}
		end_move(p, c - 1);
	}
	atomic_store(&p->ledger.header->open, last.from);
	step();
	p->phase = POOL_RELEASING;
	return true;
}

void
pool_reopen_last(struct pool *p)
{
	assert(p->phase == POOL_ASKED && p->pinned == p->planned);
	reopen(p, (struct chunk_range){ pool_opened(p), p->planned });
	atomic_store(&p->ledger.header->open, p->planned);
	p->phase = POOL_STEADY;
}

void
pool_drop_block(struct pool *p)
{
	struct chunk_range last = last_block(p);

	assert(p->phase == POOL_RELEASING && p->pinned == last.from);
	set_blocks(p, pool_blocks(p) - 1);
	p->planned = last.from;
	p->phase = POOL_STEADY;
}

void
pool_publish(struct pool *p, uint32_t tick)
{
	struct ledger_header *h = p->ledger.header;

	p->record->tick = tick;
	atomic_store_explicit(&h->tick, tick, memory_order_relaxed);
	atomic_store_explicit(&h->base, p->limits.base, memory_order_relaxed);
	atomic_store_explicit(&h->add, p->limits.add, memory_order_relaxed);
	atomic_store_explicit(&h->wall, p->limits.wall, memory_order_relaxed);
	atomic_store_explicit(&h->pinned, p->pinned * CHUNK_SIZE, memory_order_relaxed);
	atomic_store_explicit(&h->blocks, pool_blocks(p), memory_order_relaxed);
	atomic_store_explicit(&h->waiting, p->queue.length, memory_order_relaxed);
}
