/* SPDX-License-Identifier: ISC */

/* The method, 17-22: the wall, and the queue. */
#include <errno.h>

#include "daemon/config.h"
#include "tests/method/method.h"

static struct world *const w = &method_world;

/* The world aborts if ever a chunk beyond the wall is pinned. */
START_TEST(r17_the_wall_is_never_exceeded_and_is_kept_in_bytes_and_in_mib)
{
	struct pool_limits limits = world_limits(6, 4, 23);
	struct world_pool *p;
	uint64_t tag;

	limits.wall = CHUNKS(23) - 1; /* the last chunk is not below it as a whole */
	ck_assert_ptr_nonnull(p = world_open_with(w, &limits));
	for (uint32_t i = 0; i < 60; i++) {
		tag = world_ask(w, p, CHUNK_SIZE, 1, 0);
		world_answer_all(w);
		world_pass_ticks(w, 1);
		ck_assert_uint_le(CHUNKS(p->pinned), limits.wall);
		ck_assert_uint_le(CHUNKS(p->pool.planned), limits.wall);
	}
	ck_assert_int_eq(world_request(p, tag)->error, EAGAIN);
	ck_assert_uint_eq(p->pinned, 22); /* the base and four blocks of 4 */
	world_give_all(w, p);
	tag =
	    world_ask(w, p, CHUNKS(32), 1, FOR_EVER); /* which no pool like it holds */
	ck_assert_int_eq(world_request(p, tag)->error, EMSGSIZE);
	ck_assert_uint_eq(p->pool.limits.wall, CHUNKS(23) - 1);
	ck_assert_uint_eq(atomic_load(&p->pool.ledger.header->wall), CHUNKS(23) - 1);
	ck_assert_uint_eq(config_wall_mib(CHUNKS(23) - 1), 6); /* of 5.75 MiB */
	ck_assert_uint_eq(config_wall_mib(5 * MIB + MIB / 2), 6);
	ck_assert_uint_eq(config_wall_mib(5 * MIB + MIB / 2 - 1), 5);
	ck_assert_uint_eq(config_wall_mib(5 * MIB), 5);
}
END_TEST

START_TEST(r18_each_client_has_a_pool_and_a_wall_of_its_own)
{
	struct world_pool *full = method_pool(4, 4, 8), *free = method_pool(4, 4, 32);
	uint64_t waiting[3], tag;

	method_grow(full, 1);
	for (int i = 0; i < 3; i++)
		waiting[i] = method_ask(full, 2);
	world_answer_all(w);
	for (uint32_t i = 0; i < 4; i++) /* without asking, as if nobody waited */
		ck_assert(world_take(free, CHUNK_SIZE));
	for (uint32_t i = 4; i < 32; i++) {
		tag = world_ask(w, free, CHUNK_SIZE, 1, 0);
		world_answer_all(w);
		ck_assert_int_eq(method_state(free, tag), WORLD_USED);
	}
	ck_assert_uint_eq(free->pinned, 32);
	ck_assert_uint_eq(full->pinned, 8);
	world_give_all(w, free);
	world_pass_ticks(w, 10); /* what it frees is not for another pool's queue */
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(method_state(full, waiting[i]), WORLD_ASKED);
	ck_assert_uint_eq(full->pool.queue.length, 3);
	ck_assert_uint_eq(free->pool.queue.length, 0);
	world_close(w, full);
	ck_assert(world_take(free, CHUNKS(32)));
}
END_TEST

START_TEST(r19_at_the_wall_a_request_queues_until_memory_becomes_available)
{
	struct world_pool *p = method_pool(4, 4, 8);
	uint64_t tag, queued;

	method_grow(p, 1);
	queued = p->record->counters.queued;
	tag = method_ask(p, 1);
	for (uint32_t hours = 0; hours < 3; hours++) {
		world_pass_ticks(w, 7200);
		ck_assert_int_eq(method_state(p, tag), WORLD_ASKED);
	}
	ck_assert_uint_eq(p->pool.queue.length, 1);
	ck_assert_uint_eq(p->pinned, 8);
	world_give(w, p, 5);
	ck_assert_int_eq(method_state(p, tag), WORLD_TURN);
	world_answer_all(w);
	ck_assert_int_eq(method_state(p, tag), WORLD_USED);
	ck_assert_uint_eq(p->record->counters.queued, queued + 1);
}
END_TEST

START_TEST(r20_while_anything_is_queued_a_new_request_queues_behind_it)
{
	struct world_pool *p = method_pool(4, 4, 4);
	uint64_t large, small;

	method_fill(p);
	world_give(w, p, 3);
	large = method_ask(p, 2);
	small = world_ask(w, p, 1, 1, FOR_EVER); /* there is room for it */
	world_pass_ticks(w, 10);
	ck_assert_int_eq(method_state(p, large), WORLD_ASKED);
	ck_assert_int_eq(method_state(p, small), WORLD_ASKED);
	ck_assert(!world_take(p, 1)); /* nor does the fast path overtake */
	world_give(w, p, 2);
	ck_assert_int_eq(method_state(p, large), WORLD_TURN);
	ck_assert_int_eq(method_state(p, small), WORLD_ASKED);
	ck_assert(!world_take(p, 1)); /* still not */
	world_answer_all(w);
	ck_assert_int_eq(method_state(p, large), WORLD_USED);
	world_give(w, p, 0);
	ck_assert_int_eq(method_state(p, small), WORLD_TURN);
	world_answer_all(w);
	ck_assert(world_take(p, 1));
}
END_TEST

#define MANY 500u

/* Each call returns with the request queued, and whatever comes next is heard. */
START_TEST(r21_queueing_blocks_no_intake)
{
	struct world_pool *p = method_pool(4, 4, 4), *other;
	uint64_t first = p->nrequests + 1, tag;

	method_fill(p);
	for (uint32_t i = 1; i <= MANY; i++) {
		(void)world_ask(w, p, CHUNK_SIZE, 1, FOR_EVER);
		ck_assert_uint_eq(p->pool.queue.length, i);
	}
	other = method_pool(4, 4, 8); /* opened, and served, meanwhile */
	tag = method_ask(other, 8);
	world_answer_all(w);
	ck_assert_int_eq(method_state(other, tag), WORLD_USED);
	world_cancel(w, p, first + 1);
	ck_assert_int_eq(method_state(p, first + 1), WORLD_REFUSED);
	tag = world_ask(w, p, CHUNK_SIZE, 1, 0);
	ck_assert_int_eq(world_request(p, tag)->error, EAGAIN);
	tag = world_ask(w, p, CHUNKS(5), 1, FOR_EVER);
	ck_assert_int_eq(world_request(p, tag)->error, EMSGSIZE);
	for (uint32_t i = 0; i < MANY; i++) {
		if (i == 1)
			continue; /* cancelled */
		ck_assert_int_eq(method_state(p, first + i), WORLD_ASKED);
		world_give(w, p, 0);
		world_answer_all(w);
		ck_assert_int_eq(method_state(p, first + i), WORLD_USED);
	}
	ck_assert_uint_eq(p->pool.queue.length, 0);
}
END_TEST

/* --- 22: what serves the queue --- */

/* A full pool of 4 chunks at its wall, which may be raised to 12, and in its queue: one of 2
 * chunks, three of one, one of 2. */
struct line {
	struct world_pool *p;
	uint64_t head;
	uint64_t small[3];
	uint64_t last;
};

static void
line_up(struct line *l, int32_t head_timeout_ms)
{
	struct pool_limits limits = world_limits(4, 4, 12);

	limits.wall = CHUNKS(4);
	ck_assert_ptr_nonnull(l->p = world_open_with(w, &limits));
	method_fill(l->p);
	l->head = world_ask(w, l->p, CHUNKS(2), 1, head_timeout_ms);
	for (int i = 0; i < 3; i++)
		l->small[i] = method_ask(l->p, 1);
	l->last = method_ask(l->p, 2);
	ck_assert_uint_eq(l->p->pool.queue.length, 5);
}

/* From the head on, so many have had their turn, and nobody behind them. */
static void
expect_served(const struct line *l, int from, int to)
{
	const uint64_t tags[] = { l->head, l->small[0], l->small[1], l->small[2],
		l->last };

	for (int i = from; i < (int)SIZEOF_ARRAY(tags); i++) {
		enum world_state s = method_state(l->p, tags[i]);

		ck_assert_msg((s == WORLD_TURN || s == WORLD_USED) == (i < to),
		    "the request number %d has state %d", i, s);
	}
}

/* It fits one by one as long as the head fits, and what fits behind it waits. */
static void
by_a_release(void)
{
	struct line l;

	line_up(&l, FOR_EVER);
	world_give(w, l.p, 3);
	expect_served(
	    &l, 0, 0); /* a chunk: for those behind the head, had it no turn */
	world_give(w, l.p, 2);
	expect_served(&l, 0, 1);
	world_answer_all(w);
	world_give_all(w, l.p);
	expect_served(&l, 0, 4); /* three; the last one wants more than is left */
	world_answer_all(w);
	world_give_all(w, l.p);
	expect_served(&l, 0, 5);
}

static void
by_a_raised_wall(void)
{
	struct line l;

	line_up(&l, FOR_EVER);
	(void)core_set_wall(&w->core, &l.p->pool, CHUNKS(8), w->now);
	world_answer_all(w);
	expect_served(&l, 0, 3); /* four chunks more: the head, and two */
	(void)core_set_wall(&w->core, &l.p->pool, CHUNKS(12), w->now);
	world_answer_all(w);
	expect_served(&l, 0, 5);
}

static void
by_a_cancelled_head(void)
{
	struct line l;

	line_up(&l, FOR_EVER);
	world_give(w, l.p, 0);
	expect_served(&l, 0, 0);
	world_cancel(w, l.p, l.head);
	expect_served(&l, 1, 2);
}

static void
by_an_expired_head(void)
{
	struct line l;

	line_up(&l, 100); /* before the next tick */
	world_give(w, l.p, 0);
	expect_served(&l, 0, 0);
	world_pass_time(w, 100 * NS_PER_MS);
	ck_assert_int_eq(world_request(l.p, l.head)->error, ETIMEDOUT);
	expect_served(&l, 1, 2);
}

/* Another client had the host's memory, and is gone. */
static void
by_a_lost_client(void)
{
	struct world_pool *hog, *p;
	struct core_params params = w->core.params;
	uint64_t tags[3];

	hog = method_pool(4, 4, 8);
	method_grow(hog, 1);
	p = method_pool(4, 4, 12);
	params.host_wall = w->core.committed;
	core_set_params(&w->core, &params, w->now);
	method_fill(p);
	for (int i = 0; i < 3; i++)
		tags[i] = method_ask(p, 3);
	world_pass_ticks(w, 5);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(method_state(p, tags[i]), WORLD_ASKED);
	world_close(w, hog);
	world_answer_all(w);
	ck_assert_int_eq(method_state(p, tags[0]), WORLD_USED);
	ck_assert_int_eq(method_state(p, tags[1]), WORLD_USED);
	ck_assert_int_eq(method_state(p, tags[2]), WORLD_ASKED); /* its wall */
}

static void
by_an_added_block(void)
{
	struct world_pool *p = method_pool(4, 8, 12);
	uint64_t tags[9];

	method_fill(p);
	for (int i = 0; i < 9; i++)
		tags[i] = method_ask(p, 1);
	ck_assert_int_eq(method_state(p, tags[0]), WORLD_ASKED);
	ck_assert(world_step(w)); /* a slice, of four chunks, is there */
	for (int i = 0; i < 9; i++)
		ck_assert_int_eq(
		    method_state(p, tags[i]), i < 4 ? WORLD_TURN : WORLD_ASKED);
	world_answer_all(w);
	for (int i = 0; i < 9; i++)
		ck_assert_int_eq(
		    method_state(p, tags[i]), i < 8 ? WORLD_USED : WORLD_ASKED);
}

static void (*const causes[])(void) = { by_a_release, by_a_raised_wall,
	by_a_cancelled_head, by_an_expired_head, by_a_lost_client, by_an_added_block };

START_TEST(r22_the_queue_is_served_as_long_as_its_head_fits)
{
	causes[_i]();
}
END_TEST

void
method_wall(Suite *s)
{
	TCase *t = method_core(s, "wall and queue");

	tcase_add_test(
	    t, r17_the_wall_is_never_exceeded_and_is_kept_in_bytes_and_in_mib);
	tcase_add_test(t, r18_each_client_has_a_pool_and_a_wall_of_its_own);
	tcase_add_test(
	    t, r19_at_the_wall_a_request_queues_until_memory_becomes_available);
	tcase_add_test(t, r20_while_anything_is_queued_a_new_request_queues_behind_it);
	tcase_add_test(t, r21_queueing_blocks_no_intake);
	tcase_add_loop_test(t, r22_the_queue_is_served_as_long_as_its_head_fits, 0,
	    (int)SIZEOF_ARRAY(causes));
}
