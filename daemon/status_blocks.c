/* SPDX-License-Identifier: ISC */

/*
 * The blocks of a pool, as JSON.
 *
 * They are walked once, and each word of the free map is counted once. What a ledger says
 * is the client's word: it is shown, and never used as an index; all bounds come from the
 * pool's record.
 */
#include "daemon/status_blocks.h"

#include "daemon/core.h"
#include "daemon/json.h"

double
status_seconds(const struct core *c, uint64_t ticks)
{
	return (double)ticks * (double)c->params.tick_ns / (double)NS_PER_S;
}

/* A block, and what its ledger said in one look. */
struct block_view {
	uint32_t index;
	struct chunk_range whole;
	struct chunk_range open; /* the part of it that the client may use */
	uint64_t free;           /* bytes */
};

static uint64_t
range_bytes(struct chunk_range r)
{
	return (r.to - r.from) * CHUNK_SIZE;
}

static uint64_t
block_used(const struct block_view *b)
{
	return range_bytes(b->open) - b->free;
}

static uint32_t
least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* How many of the frames [from, to) of the pool are free. */
static uint64_t
count_free_frames(const struct ledger_plan *map, uint64_t from, uint64_t to)
{
	uint64_t count = 0;

	for (uint64_t f = from, end; f < to; f = end) {
		uint64_t word = map->words[f / CHUNK_FRAMES];
		unsigned int first = f % CHUNK_FRAMES, n;

		end = f - first + CHUNK_FRAMES;
		end = end < to ? end : to;
		n = (unsigned int)(end - f);
		word = word >> first << (CHUNK_FRAMES - n);
		count += (uint64_t)__builtin_popcountll(word);
	}
	return count;
}

/* pool_block() walks from the base each time; this goes on from @from, the block before. */
static struct block_view
block_look(
    const struct pool *p, const struct ledger_plan *map, uint32_t index, uint32_t from)
{
	uint32_t to = from + p->record->block[index].chunks, opened = pool_opened(p);
	struct block_view b = { .index = index,
		.whole = { from, to },
		.open = { least(from, opened), least(to, opened) } };

	b.free = count_free_frames(map, (uint64_t)b.open.from * CHUNK_FRAMES,
		     (uint64_t)b.open.to * CHUNK_FRAMES) *
		 FRAME_SIZE;
	return b;
}

static uint64_t
block_idle_ticks(const struct pool *p, const struct block_view *b, uint32_t tick)
{
	if (b->open.from == b->open.to)
		return 0; /* no chunk, so no stamp */
	return ledger_idle_ticks(&p->ledger, b->open, tick);
}

/* Eighths, rounded up, so that one small buffer is seen in the largest cell. */
static char
cell_digit(uint64_t used, uint64_t frames)
{
	return (char)('0' + (used * 8 + frames - 1) / frames);
}

/* What one cell shows of the frames [from, to), those below @opened being open. */
static char
cell(const struct ledger_plan *map, uint64_t from, uint64_t to, uint64_t opened)
{
	uint64_t end = to < opened ? to : opened;

	if (end <= from)
		return 'x';
	return cell_digit(end - from - count_free_frames(map, from, end), end - from);
}

/* A block of n chunks has 64 x n frames: 64 cells of n frames. */
static void
draw_map(char *cells, const struct ledger_plan *map, const struct block_view *b)
{
	uint64_t frames = b->whole.to - b->whole.from,
		 from = (uint64_t)b->whole.from * CHUNK_FRAMES,
		 opened = (uint64_t)b->open.to * CHUNK_FRAMES;

	for (uint32_t i = 0; i < STATUS_MAP_CELLS; i++, from += frames)
		cells[i] = cell(map, from, from + frames, opened);
	cells[STATUS_MAP_CELLS] = '\0';
}

static bool
put_map(cJSON *object, const struct ledger_plan *map, const struct block_view *b)
{
	char cells[STATUS_MAP_CELLS + 1];

	draw_map(cells, map, b);
	return json_put(object, "map", cJSON_CreateString(cells));
}

/* Of the smallest pages that the block got; 0: no slice of it is pinned yet. */
static uint64_t
page_size(const struct pool *p, uint32_t index)
{
	unsigned int shift = p->record->block[index].page_shift;

	return shift != 0 ? UINT64_C(1) << shift : 0;
}

static cJSON *
block_json(const struct core *c, const struct pool *p, const struct ledger_plan *map,
    const struct block_view *b, bool with_map)
{
	cJSON *o = cJSON_CreateObject();

	if (json_put_number(o, "index", b->index) &&
	    json_put_bool(o, "base", b->index == 0) &&
	    json_put_number(o, "offset", b->whole.from * CHUNK_SIZE) &&
	    json_put_number(o, "size", range_bytes(b->whole)) &&
	    json_put_number(o, "used", block_used(b)) &&
	    json_put_word(o, "status", block_used(b) != 0 ? "in-use" : "free") &&
	    json_put_real(
		o, "idle_s", status_seconds(c, block_idle_ticks(p, b, c->tick))) &&
	    json_put_number(o, "largest_free", ledger_plan_largest(map, b->open)) &&
	    json_put_number(o, "free", b->free) &&
	    json_put_number(o, "total_space", range_bytes(b->open)) &&
	    json_put_number(o, "chunks", b->whole.to - b->whole.from) &&
	    json_put_number(o, "page_size", page_size(p, b->index)) &&
	    (!with_map || put_map(o, map, b)))
		return o;
	cJSON_Delete(o);
	return NULL;
}

static cJSON *
all_blocks(const struct core *c, const struct pool *p, const struct ledger_plan *map,
    bool with_map, uint64_t *usedp)
{
	cJSON *blocks = cJSON_CreateArray();
	uint32_t from = 0;

	*usedp = 0;
	for (uint32_t i = 0; i < pool_blocks(p); i++) {
		struct block_view b = block_look(p, map, i, from);

		if (!json_append(blocks, block_json(c, p, map, &b, with_map))) {
			cJSON_Delete(blocks);
			return NULL;
		}
		*usedp += block_used(&b);
		from = b.whole.to;
	}
	return blocks;
}

/* Of a copy of the map, in which what lies in threads' caches is free. */
cJSON *
status_blocks(const struct core *c, const struct pool *p, bool with_map,
    uint64_t *usedp, uint64_t *largestp)
{
	struct ledger_plan map = { 0 };
	cJSON *blocks = NULL;

	if (ledger_plan_load(&map, &p->ledger, pool_opened(p)) == 0) {
		ledger_plan_add_cached(&map, &p->ledger);
		blocks = all_blocks(c, p, &map, with_map, usedp);
		*largestp = ledger_plan_largest(
		    &map, (struct chunk_range){ 0, pool_opened(p) });
	}
	ledger_plan_fini(&map);
	return blocks;
}
