/* SPDX-License-Identifier: ISC */

/*
 * The ledger: which frames of a pool are free. Shared by the client, whose threads take
 * and give, and budd, which opens, closes and counts. ledger.c tells how and why it
 * holds.
 */
#ifndef PROTO_LEDGER_H
#define PROTO_LEDGER_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEDGER_MAGIC   0x007265676465626cULL
#define LEDGER_VERSION 4u /* of the layout; raised with every change of it */

#define FRAME_SHIFT  12u
#define FRAME_SIZE   ((uint64_t)1 << FRAME_SHIFT) /* 4 KiB */
#define CHUNK_FRAMES 64u
#define CHUNK_SIZE   (FRAME_SIZE * CHUNK_FRAMES) /* 256 KiB: a word of the free map */
#define CHUNK_ORDER  6u                          /* a buffer of this order is a chunk */
#define ORDER_MAX    28u /* 1 TiB: the largest buffer, and wall */
#define CHUNKS_MAX   ((uint32_t)1 << (ORDER_MAX - CHUNK_ORDER))

/* What order[] says of a frame. Where a buffer of order k starts: k + 1, and in the higher bits
 * the last ones of the tick in which it was taken from the map. */
#define LEDGER_NONE 0x00u /* no buffer starts here */
#define LEDGER_MOVING \
	0x20u /* budd took a buffer out of a cache, and gave it to the map */
#define LEDGER_INNER     0x40u /* first frame of a later chunk of a large buffer */
#define LEDGER_CLOSED    0x60u /* first frame of a chunk nobody used since it was opened */
#define LEDGER_SIZE_BITS 5u
#define LEDGER_MARK(order, tick) \
	((uint8_t)(((order) + 1u) | (tick) << LEDGER_SIZE_BITS))

#define LEDGER_MARK_NONE UINT32_MAX /* low_mark: growing ahead is not armed */

/* Thread caches (cache.h): threads beyond do without. The first ones stand beside the header, and
 * their pages are locked; the others stand behind all else, hot while their threads run, and
 * cost a fault if they were not. */
#define LEDGER_CACHES        256u
#define LEDGER_CACHES_AT     2048u /* byte where the first begins: see ledger.c */
#define LEDGER_CACHE_SIZE    4672u
#define LEDGER_CACHES_LOCKED 3u

/* One cache line for each kind of reader. budd alone writes it, but for the
 * last line, which is the client's. */
struct ledger_header {
	uint64_t magic;
	uint32_t version;
	uint32_t chunks; /* that the arrays have room for */
	uint32_t caches; /* thread caches that may be used: LEDGER_CACHES or 0 */
	uint32_t reserved;

	_Alignas(64) _Atomic uint32_t queued; /* somebody waits: stand behind, ring */
	_Atomic uint32_t open;                /* chunks below may have been opened */
	_Atomic uint32_t tick;
	_Atomic uint32_t low_mark; /* taking a frame from here on claims it and rings */

	_Alignas(64) _Atomic uint64_t base; /* figures for bud_stat(), bytes */
	_Atomic uint64_t add;
	_Atomic uint64_t wall;
	_Atomic uint64_t pinned;
	_Atomic uint32_t blocks;
	_Atomic uint32_t waiting;

	_Alignas(64) _Atomic uint32_t caches_used; /* caches below may be in use */
	_Atomic uint32_t
	    entered; /* times that a thread went into the map past its cache */
	_Atomic uint32_t left; /* ... and came out of it */
};
static_assert(sizeof(struct ledger_header) == 256, "layout of the ledger");

/* What is known of a chunk, but for order[]. */
struct ledger_chunk {
	_Atomic uint64_t free;       /* a bit for each frame */
	_Atomic uint32_t stamp;      /* tick of the last take from the map */
	_Atomic uint32_t generation; /* times that it was opened */
};
static_assert(sizeof(struct ledger_chunk) == 16, "layout of the ledger");

struct bud_inline_cache;

/* A view of a mapped ledger. `chunks` and `caches` are the viewer's own knowledge, never the
 * header's. */
struct ledger {
	void *base; /* of the mapping */
	struct ledger_header *header;
	struct ledger_chunk *first; /* those of higher chunks stand before it */
	_Atomic uint8_t *order;
	struct bud_inline_cache *near; /* the first LEDGER_CACHES_LOCKED */
	struct bud_inline_cache *far;  /* the others */
	uint32_t chunks;
	uint32_t caches; /* LEDGER_CACHES, or 0: there are none to be used */
};

static inline struct ledger_chunk *
ledger_chunk(const struct ledger *l, uint32_t chunk)
{
	return l->first - chunk;
}

/* A range of chunks [from, to). */
struct chunk_range {
	uint32_t from;
	uint32_t to;
};

/* Bytes [from, to) of a ledger's memfd. */
struct ledger_span {
	size_t from;
	size_t to;
};

/* Sizes and addresses. */

/** ledger_size() - bytes of a ledger for @chunks chunks: a multiple of the page size */
size_t ledger_size(uint32_t chunks);
/** ledger_span() - the pages that tell of the chunks below @used, and of the first one, the header
 * and the first caches in any case: they must be locked while those chunks are open
 * @chunks:	that the ledger has room for */
struct ledger_span ledger_span(uint32_t chunks, uint32_t used);
/** ledger_below() - of those of the chunks below @to what stands before those of the chunks below
 * @from: the pages of their struct ledger_chunk */
struct ledger_span ledger_below(uint32_t chunks, uint32_t from, uint32_t to);
/** ledger_above() - ... and what stands behind them: those of order[] */
struct ledger_span ledger_above(uint32_t chunks, uint32_t from, uint32_t to);
/** ledger_resident() - bytes of ledger_span() */
size_t ledger_resident(uint32_t chunks, uint32_t used);
/** ledger_attach() - view a mapping of ledger_size(@chunks) bytes at @base
 * @caches:	LEDGER_CACHES, or 0: as if there were none */
void ledger_attach(struct ledger *l, void *base, uint32_t chunks, uint32_t caches);
/** ledger_init() - budd writes the header of a new ledger, whose pages are all zero */
void ledger_init(struct ledger *l);
/** ledger_cache() - the cache with this number, below LEDGER_CACHES */
struct bud_inline_cache *ledger_cache(const struct ledger *l, uint32_t i);
/** ledger_cache_number() - its number */
uint32_t ledger_cache_number(const struct ledger *l, const struct bud_inline_cache *c);
/** ledger_order() - the order of the smallest buffer that holds @size_bytes >= 1 */
unsigned int ledger_order(uint64_t size_bytes);
/** ledger_order_chunks() - chunks that a buffer of @order occupies, at least 1 */
uint32_t ledger_order_chunks(unsigned int order);

/* The client's side. Lock-free; any thread. Each looks at no word beyond l->chunks. */

#define LEDGER_E_FULL    1 /* ledger_take: no free run of that order */
#define LEDGER_E_FOREIGN 2 /* ledger_give: no buffer starts at that frame */
#define LEDGER_E_TWICE   3 /* ledger_give: that buffer is free already */

/**
 * ledger_take() - take a buffer of 2^@order frames, the lowest address first
 * @framep:	receives its first frame; written on success only
 *
 * Above CHUNK_ORDER it may put back chunks in passing: then look at ledger_queued()
 * afterwards, as after ledger_give(), whatever it returned.
 *
 * Return: 0 or LEDGER_E_FULL
 */
int ledger_take(struct ledger *l, unsigned int order, uint32_t *framep);
/**
 * ledger_give() - give back the buffer that starts at @frame; then look at
 * ledger_queued()
 *
 * Return: 0, LEDGER_E_FOREIGN or LEDGER_E_TWICE
 */
int ledger_give(struct ledger *l, uint32_t frame);
/**
 * ledger_take_many() - take up to @want buffers of one order, a swap for each word
 * @fromp:	chunk to begin at; what is below is looked at last. Receives where to begin next
 * @frames:	receives their first frames, the lowest first but for what lay below *@fromp
 *
 * Return: how many; above CHUNK_ORDER see ledger_take()
 */
uint32_t ledger_take_many(struct ledger *l, unsigned int order, uint32_t want,
    uint32_t *fromp, uint32_t *frames);
/**
 * ledger_give_many() - ledger_give() @n buffers; neighbours in one word by one or
 * @givenp:	receives how many of them are given; the next one is at fault
 *
 * Return: as ledger_give()
 */
int ledger_give_many(
    struct ledger *l, const uint32_t *frames, uint32_t n, uint32_t *givenp);
/** ledger_order_at() - the order of the buffer that starts at @frame, -1 if none does
 */
int ledger_order_at(const struct ledger *l, uint32_t frame);
/** ledger_tick() - the tick, as budd tells it; all above mark and stamp with it */
uint32_t ledger_tick(const struct ledger *l);
/** ledger_is_of_tick() - the buffer of @order at @frame was taken from the map in this tick, or
 * eight, sixteen, ... before: its chunk's stamp is this tick */
bool ledger_is_of_tick(
    const struct ledger *l, uint32_t frame, unsigned int order, uint32_t tick);
/** ledger_queued() - somebody waits; sequentially consistent, see ledger.c */
bool ledger_queued(const struct ledger *l);
/** ledger_claim_mark() - @frame is at or beyond low_mark, and the caller is the one to
 * ring */
bool ledger_claim_mark(struct ledger *l, uint32_t frame);

/* budd's side. Every index comes from budd's own tables; every loop is bounded by them.
 */

/** ledger_open_chunk() - make a pinned chunk's frames free, under a new generation */
void ledger_open_chunk(struct ledger *l, uint32_t chunk);
/** ledger_close_chunk() - take a whole, free chunk away from the client; false: it is
 * used */
bool ledger_close_chunk(struct ledger *l, uint32_t chunk);
/** ledger_reopen_chunk() - put back a chunk that was closed just now, generation
 * unchanged */
void ledger_reopen_chunk(struct ledger *l, uint32_t chunk);
/**
 * ledger_is_quiet() - no thread stands between the map and order[], in which it says what it
 * took, or what it is about to give
 * @entriesp:	receives how often threads went there so far: nobody has been there between
 *		two looks that both find it quiet and the same number
 */
bool ledger_is_quiet(const struct ledger *l, uint32_t *entriesp);
/** ledger_chunk_is_open() - after a death in the midst of opening or closing this chunk:
 * was it open, or is it? Right where nobody stands in between: ledger_is_quiet() */
bool ledger_chunk_is_open(const struct ledger *l, uint32_t chunk);
/** ledger_set_queued() - raise or lower `queued`, and CACHE_QUEUED in all caches; after
 * raising it, look at the map again */
void ledger_set_queued(struct ledger *l, bool queued);
/** ledger_give_begin() - a buffer of @order that came out of a cache is to be given to the map
 * Return: false: there is no such buffer, and nothing to give */
bool ledger_give_begin(struct ledger *l, uint32_t frame, unsigned int order);
void ledger_give_end(struct ledger *l, uint32_t frame, unsigned int order);
/** ledger_give_cancel() - ... is in its cache still: as if it had not begun */
void ledger_give_cancel(struct ledger *l, uint32_t frame, unsigned int order);
/** ledger_give_missing() - after a death between begin and end: which of its chunks were not
 * given, as bits. Right where the ledger is quiet */
uint32_t ledger_give_missing(
    const struct ledger *l, uint32_t frame, unsigned int order);
/** ledger_give_rest() - give those */
void ledger_give_rest(
    struct ledger *l, uint32_t frame, unsigned int order, uint32_t missing);
/** ledger_is_empty() - no buffer in the range at this moment */
bool ledger_is_empty(const struct ledger *l, struct chunk_range r);
/** ledger_count_free() - free frames in the range */
uint64_t ledger_count_free(const struct ledger *l, struct chunk_range r);
/** ledger_idle_ticks() - ticks since the newest allocation in the range; a stamp of the
 * future is as new as @tick */
uint32_t ledger_idle_ticks(const struct ledger *l, struct chunk_range r, uint32_t tick);
/** ledger_check() - what must hold of the opened chunks when no thread is in the midst
 * of a call; for tests and debug builds */
bool ledger_check(const struct ledger *l, uint32_t opened);

#endif
