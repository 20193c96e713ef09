/* SPDX-License-Identifier: ISC */

/* An arbiter without a keeper, clients or clock. */
#include "tests/fake_arbiter.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

struct instant fake_now = { 1000 * NS_PER_S };
unsigned int fake_rewinds;

/* --- What status.c and http.c need of the real one --- */

struct instant
clock_now(void)
{
	return fake_now;
}

const struct config *
arbiter_config(const struct arbiter *a)
{
	return a->spec.config;
}

void
arbiter_rewind(struct arbiter *a)
{
	(void)a;
	fake_rewinds++;
}

bool
session_has_pool(const struct session *s)
{
	return s->state != SESSION_NEW && s->state != SESSION_CREATING;
}

struct session *
session_find(struct arbiter *a, uint32_t id)
{
	struct session *s;

	TAILQ_FOREACH (s, &a->sessions, entry)
		if (s->id == id)
			return s;
	return NULL;
}

/* --- The world of the core --- */

static void
on_pin(void *ctx, struct pool *p, struct chunk_range r)
{
	struct fake *f = ctx;

	f->pinning = p;
	f->slice = r;
}

static void
on_unpin(void *ctx, struct pool *p, struct chunk_range r)
{
	struct fake *f = ctx;

	f->unpinning = p;
	f->unpin_to = r.from;
}

static void
on_grant(void *ctx, struct pool *p, uint64_t tag)
{
	(void)ctx;
	(void)p;
	(void)tag;
}

static void
on_refuse(void *ctx, struct pool *p, uint64_t tag, int error)
{
	(void)ctx;
	(void)p;
	(void)tag;
	(void)error;
}

static void
on_opened(void *ctx, struct pool *p, int error)
{
	struct session *s = p->shell;

	(void)ctx;
	ck_assert_int_eq(error, 0);
	s->state = SESSION_OPEN;
}

static void
on_tell(void *ctx, struct pool *p, enum core_news news, uint64_t bytes)
{
	(void)ctx;
	(void)p;
	(void)news;
	(void)bytes;
}

static bool
on_barrier(void *ctx)
{
	(void)ctx;
	return true;
}

static const struct core_ops ops = {
	.pin = on_pin,
	.unpin = on_unpin,
	.grant = on_grant,
	.refuse = on_refuse,
	.opened = on_opened,
	.tell = on_tell,
	.barrier = on_barrier,
};

/* The keeper pins what is asked for, up to @limit chunks. */
static void
pin_up_to(struct fake *f, uint32_t limit)
{
	while (f->pinning != NULL && f->slice.to <= limit) {
		struct pool *p = f->pinning;

		f->pinning = NULL;
		core_pinned(&f->arbiter.core, p, f->slice.to, 0, fake_now);
	}
	f->pinning = NULL;
}

void
fake_settle(struct fake *f)
{
	while (f->unpinning != NULL) {
		struct pool *p = f->unpinning;

		f->unpinning = NULL;
		core_unpinned(&f->arbiter.core, p, f->unpin_to, fake_now);
	}
}

/* --- Setting it up --- */

void
fake_init(struct fake *f)
{
	static const struct core_params params = { .host_wall = (uint64_t)4 << 30,
		.tick_ns = 500 * NS_PER_MS,
		.release_ticks = 120,
		.idle_ticks = 600 };

	*f = (struct fake){ .config = { .host.clients_max = 1000,
				.status_gid = CONFIG_NO_ID,
				.tuners_gid = CONFIG_NO_ID } };
	f->arbiter.spec = (struct arbiter_spec){ .keeper_pid = 4242,
		.host_wall = (uint64_t)4 << 30,
		.restarts = 2,
		.started = { fake_now.ns - 200 * NS_PER_S },
		.config = &f->config };
	f->arbiter.note = &f->note;
	TAILQ_INIT(&f->arbiter.sessions);
	core_init(&f->arbiter.core, &params, &ops, f);
}

static void
free_session(struct fake *f, struct session *s)
{
	core_close(&f->arbiter.core, &s->pool, fake_now);
	TAILQ_REMOVE(&f->arbiter.sessions, s, entry);
	free(s->pool.record);
	free(s->ledger);
	free(s);
}

void
fake_fini(struct fake *f)
{
	while (!TAILQ_EMPTY(&f->arbiter.sessions))
		free_session(f, TAILQ_FIRST(&f->arbiter.sessions));
	core_fini(&f->arbiter.core);
}

static struct session *
new_session(struct fake *f, const char *name)
{
	static uint32_t id = 6;
	struct session *s = calloc(1, sizeof(*s));

	ck_assert_ptr_nonnull(s);
	s->arbiter = &f->arbiter;
	s->state = SESSION_OPENING;
	s->id = ++id;
	s->pid = 77;
	s->uid = 0;
	s->gid = 5;
	strlcpy(s->name, name, sizeof(s->name));
	strlcpy(s->section, "default", sizeof(s->section));
	strlcpy(s->command, "nginx", sizeof(s->command));
	TAILQ_INSERT_TAIL(&f->arbiter.sessions, s, entry);
	return s;
}

static void
init_pool(struct session *s)
{
	struct record *record = calloc(1, sizeof(*record));
	struct ledger ledger;

	s->ledger = calloc(1, ledger_size(FAKE_CHUNKS));
	ck_assert(record != NULL && s->ledger != NULL);
	ledger_attach(&ledger, s->ledger, FAKE_CHUNKS, LEDGER_CACHES);
	ledger_init(&ledger);
	pool_init(&s->pool, s->id, &s->limits, &ledger, record);
	s->pool.shell = s;
}

static void
open_pool(struct fake *f, struct session *s, uint32_t base, uint32_t add)
{
	s->limits.base = base * CHUNK_SIZE;
	s->limits.add = add * CHUNK_SIZE;
	s->limits.wall = FAKE_CHUNKS * CHUNK_SIZE - 1000;
	s->limits.wall_max = FAKE_CHUNKS * CHUNK_SIZE;
	s->limits.max_buffer = 64 * CHUNK_SIZE;
	s->limits.headroom = CHUNK_SIZE;
	s->limits.weight = 3;
	s->limits.uid = s->uid;
	init_pool(s);
	ck_assert_int_eq(core_open(&f->arbiter.core, &s->pool, &s->hurry), 0);
	pin_up_to(f, UINT32_MAX);
	ck_assert_int_eq(s->state, SESSION_OPEN);
}

struct session *
fake_add(struct fake *f, const char *name, uint32_t base, uint32_t add)
{
	struct session *s = new_session(f, name);

	open_pool(f, s, base, add);
	return s;
}

struct session *
fake_add_to(struct fake *f, const char *name, const char *section, uint32_t wall)
{
	struct session *s = new_session(f, name);

	strlcpy(s->section, section, sizeof(s->section));
	s->limits.group = s->section;
	s->limits.group_wall = wall * CHUNK_SIZE;
	open_pool(f, s, 4, 8);
	return s;
}

struct session *
fake_add_of(struct fake *f, const char *name, uid_t uid)
{
	struct session *s = new_session(f, name);

	s->uid = uid;
	open_pool(f, s, 4, 8);
	return s;
}

void
fake_grow(struct fake *f, struct session *s, uint32_t chunks, uint32_t pinned)
{
	uint32_t limit = s->pool.planned + pinned;

	grow_start(&f->arbiter.core, &s->pool, chunks, GROW_REQUEST);
	pin_up_to(f, limit);
}

uint32_t
fake_take(struct session *s, uint64_t size)
{
	uint32_t frame;

	ck_assert_int_eq(ledger_take(&s->pool.ledger, ledger_order(size), &frame), 0);
	return frame;
}

void
fake_wait(struct fake *f, struct session *s, uint64_t tag, uint64_t size)
{
	struct proto_alloc alloc = {
		.tag = tag, .size_bytes = size, .count = 1, .timeout_ms = -1
	};

	s->pool.limits.wall = s->pool.planned * CHUNK_SIZE;
	core_request(&f->arbiter.core, &s->pool, &alloc, fake_now);
	ck_assert_ptr_nonnull(queue_find(&s->pool.queue, tag));
}
