/* SPDX-License-Identifier: ISC */

/*
 * The ledger as budd reads it: a core with two pools whose clients may write anything
 * there, at any moment, and say anything that is a message. Whatever they do, the core's
 * own books stay right, the walls hold, and no byte beside a ledger is touched.
 *
 * The input is a program: bytes are steps and what they need. libFuzzer: tests/fuzz.sh;
 * without it: fuzz_main.c.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/core.h"

#define POOLS     2u
#define CHUNKS    24u /* of each pool's memory */
#define HOST_WALL (40 * CHUNK_SIZE)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum question {
	NOTHING,
	PIN,
	UNPIN,
};

struct side {
	struct pool pool;
	struct record *record;
	unsigned char *ledger;
	enum question question; /* to the keeper */
	struct chunk_range range;
	uint32_t pinned; /* as the keeper knows it */
	bool audit;      /* it was asked to look */
};

struct program {
	const uint8_t *at;
	size_t left;
};

static struct core core;
static struct side sides[POOLS];
static struct instant now;

static void
must(bool holds)
{
	if (!holds)
		abort();
}

static uint32_t
next(struct program *in, unsigned int bytes)
{
	uint32_t value = 0;

	for (; bytes > 0 && in->left > 0; bytes--, in->left--)
		value = value << 8 | *in->at++;
	return value;
}

/* --- What the core does --- */

static void
on_pin(void *ctx, struct pool *p, struct chunk_range r)
{
	struct side *s = p->shell;

	(void)ctx;
	must(s->question == NOTHING && r.from == s->pinned && r.to > r.from);
	must(r.to - r.from <= pool_slice(p) && r.to <= p->planned);
	s->question = PIN;
	s->range = r;
}

static void
on_unpin(void *ctx, struct pool *p, struct chunk_range r)
{
	struct side *s = p->shell;

	(void)ctx;
	must(s->question == NOTHING && r.to == s->pinned && r.to > r.from);
	must(r.from >= pool_block(p, 0).to);
	s->question = UNPIN;
	s->range = r;
}

static void
on_audit(void *ctx, struct pool *p, struct chunk_range r)
{
	struct side *s = p->shell;

	(void)ctx;
	must(!s->audit && r.to > r.from && r.to <= s->pinned);
	s->audit = true;
}

static void
on_grant(void *ctx, struct pool *p, uint64_t tag)
{
	struct side *s = p->shell;

	(void)ctx;
	must(tag != 0);
	must(s->pinned > 0);
}

static void
on_refuse(void *ctx, struct pool *p, uint64_t tag, int error)
{
	must(error > 0);
	on_grant(ctx, p, tag);
}

static void
on_opened(void *ctx, struct pool *p, int error)
{
	(void)ctx;
	must(error == 0 || p->pinned == 0);
}

static void
on_tell(void *ctx, struct pool *p, enum core_news news, uint64_t bytes)
{
	(void)ctx;
	(void)p;
	must((news == CORE_PRESSURE) == (bytes == 0));
}

static bool
on_barrier(void *ctx)
{
	(void)ctx;
	return true;
}

static const struct core_ops ops = { on_pin, on_unpin, on_audit, on_grant, on_refuse,
	on_opened, on_tell, on_barrier };

/* --- Steps --- */

static void
answer_keeper(struct side *s)
{
	enum question q = s->question;

	if (s->audit) {
		s->audit = false;
		core_audited(
		    &core, &s->pool, &(struct audit_found){ 1, s->range.to }, 0);
	}
	if (q == NOTHING)
		return;
	s->question = NOTHING;
	s->pinned = q == PIN ? s->range.to : s->range.from;
	if (q == PIN)
		core_pinned(&core, &s->pool, s->pinned, 0, now);
	else
		core_unpinned(&core, &s->pool, s->pinned, now);
}

static void
request(struct side *s, struct program *in)
{
	struct proto_alloc alloc = { .tag = 1 + next(in, 1) % 32 };

	alloc.size_bytes = (uint64_t)1 << next(in, 1) % 40;
	alloc.size_bytes += next(in, 1);
	alloc.count = 1 + next(in, 1) % PROTO_COUNT_MAX;
	alloc.timeout_ms = (int32_t)(next(in, 1) % 8) - 1;
	core_request(&core, &s->pool, &alloc, now);
}

/* A run of one byte, or bytes of the input, anywhere. */
static void
scribble(struct side *s, struct program *in)
{
	size_t size = ledger_size(CHUNKS), at = next(in, 3) % size, n = next(in, 2);
	bool same = next(in, 1) % 2 == 0;
	int byte = (int)next(in, 1);

	n = n < size - at ? n : size - at;
	if (same)
		memset(s->ledger + at, byte, n);
	for (size_t i = 0; !same && i < n && i < 16; i++)
		s->ledger[at + i] = (unsigned char)next(in, 1);
}

/* All of the free map: claims everything free, or nothing, or anything. */
static void
claim(struct side *s, struct program *in)
{
	uint32_t how = next(in, 1), word = next(in, 4);

	for (uint32_t c = 0; c < CHUNKS; c++)
		atomic_store(&ledger_chunk(&s->pool.ledger, c)->free,
		    how % 3 == 0   ? UINT64_MAX
		    : how % 3 == 1 ? 0
				   : (uint64_t)word << how % 32);
}

/* What the status asks. */
static uint64_t
largest_free(const struct pool *p)
{
	struct ledger_plan plan = { 0 };
	uint64_t bytes;

	must(ledger_plan_load(&plan, &p->ledger, pool_opened(p)) == 0);
	bytes = ledger_plan_largest(&plan, (struct chunk_range){ 0, pool_opened(p) });
	ledger_plan_fini(&plan);
	return bytes;
}

static void
look(const struct side *s)
{
	const struct pool *p = &s->pool;
	struct chunk_range all = { 0, pool_opened(p) };

	must(pool_used(p) <= all.to * CHUNK_SIZE);
	must(pool_floor(p) <= p->planned);
	must(pool_idle_blocks(p, core.tick, 1) <= pool_blocks(p));
	must(largest_free(p) <= all.to * CHUNK_SIZE);
	if (all.to > 0)
		ledger_idle_ticks(&p->ledger, all, core.tick);
	ledger_check(&p->ledger, all.to);
	for (uint32_t c = 0; c < all.to; c++)
		ledger_chunk_is_open(&p->ledger, c);
	release_is_due(&core, p);
}

/* A client that registers its memory, or does not, and gives up what it was asked for, or
 * anything else. */
static void
registrations(struct side *s, struct program *in)
{
	uint32_t how = next(in, 1);
	uint64_t offset = pool_opened(&s->pool) * CHUNK_SIZE;

	if (how % 4 == 0)
		core_register(&core, &s->pool, how / 4 % 2 == 0);
	else
		core_gave_up(&core, &s->pool, how % 4 == 1 ? how : offset,
		    s->record->asks + (how / 4 % 2));
}

static void
step(struct program *in)
{
	uint32_t what = next(in, 1);
	struct side *s = &sides[what >> 4 & 1];

	switch (what & 15) {
	case 0:
	case 1:
		request(s, in);
		break;
	case 2:
		core_done(&core, &s->pool, 1 + next(in, 1) % 32, PROTO_USED, now);
		break;
	case 3:
		core_done(&core, &s->pool, 1 + next(in, 1) % 32, PROTO_FAILED, now);
		break;
	case 4:
		core_cancel(&core, &s->pool, 1 + next(in, 1) % 32, now);
		break;
	case 5:
		core_doorbell(&core, &s->pool, now);
		break;
	case 6:
	case 7:
		answer_keeper(s);
		break;
	case 8:
	case 9:
		scribble(s, in);
		break;
	case 10:
	case 11:
		claim(s, in);
		break;
	case 12:
		now = instant_add(now, next(in, 1) * NS_PER_MS);
		core_run(&core, now);
		break;
	case 13:
		core_release(&core, &s->pool, (enum release_reason)(next(in, 1) % 4));
		break;
	case 14:
		if (next(in, 1) % 2 == 0) {
			registrations(s, in);
			break;
		}
		core_set_wall(&core, &s->pool,
		    (2 + next(in, 1) % (CHUNKS - 1)) * CHUNK_SIZE, now);
		break;
	default:
		look(s);
		break;
	}
}

/* --- Life --- */

/* Once for all inputs: a ledger is of a megabyte, most of it thread caches, and to get that
 * from the kernel page by page took four fifths of the time. */
static void
have_memory(struct side *s)
{
	if (s->ledger != NULL)
		return;
	s->record = malloc(sizeof(*s->record));
	s->ledger = aligned_alloc(4096, ledger_size(CHUNKS));
	must(s->record != NULL && s->ledger != NULL);
}

static void
open_side(struct side *s, uint32_t id)
{
	const struct pool_limits limits = { .base = 2 * CHUNK_SIZE,
		.add = CHUNK_SIZE,
		.wall = CHUNKS * CHUNK_SIZE,
		.wall_max = CHUNKS * CHUNK_SIZE,
		.max_buffer = CHUNKS * CHUNK_SIZE,
		.headroom = id * CHUNK_SIZE,
		.uid = id };
	struct hurry none = { 0 };
	struct ledger l;

	*s = (struct side){ .record = s->record, .ledger = s->ledger };
	memset(s->record, 0, sizeof(*s->record));
	memset(s->ledger, 0, ledger_size(CHUNKS));
	ledger_attach(&l, s->ledger, CHUNKS, LEDGER_CACHES);
	ledger_init(&l);
	pool_init(&s->pool, id, &limits, &l, s->record);
	s->pool.shell = s;
	must(core_open(&core, &s->pool, &none) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct core_params params = { .host_wall = HOST_WALL,
		.tick_ns = 5 * NS_PER_MS,
		.audit_ns = 50 * NS_PER_MS,
		.release_ticks = 4,
		.idle_ticks = 2,
		.give_up_ticks = 2,
		.overtaken_max = 3 };
	struct program in = { data, size };

	now = (struct instant){ NS_PER_S };
	core_init(&core, &params, &ops, NULL);
	for (uint32_t i = 0; i < POOLS; i++) {
		have_memory(&sides[i]);
		open_side(&sides[i], i);
	}
	for (uint32_t i = 0; i < POOLS; i++)
		answer_keeper(&sides[i]);
	while (in.left > 0) {
		step(&in);
		must(core_check(&core));
		must(core.committed <= HOST_WALL);
	}
	for (uint32_t i = 0; i < POOLS; i++)
		core_close(&core, &sides[i].pool, now);
	must(core.committed == 0);
	core_fini(&core);
	return 0;
}
