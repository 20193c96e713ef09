/* SPDX-License-Identifier: ISC */

/* Growth ahead, policies, triggers of the pass, and walls that change in a living pool. */
#include <stdlib.h>

#include "tests/sim_check.h"

static struct world *const w = &sim_world;

static enum world_state
ask_and_answer(struct world_pool *p, uint32_t chunks, int32_t timeout_ms)
{
	uint64_t tag = world_ask(w, p, CHUNKS(chunks), 1, timeout_ms);

	world_answer_all(w);
	return world_request(p, tag)->state;
}

/* A base and @blocks of 4 chunks, all of them full. */
static struct world_pool *
open_grown(const struct policy *policy, uint32_t blocks, uint32_t wall)
{
	struct pool_limits limits = world_limits(4, 4, wall);
	struct world_pool *p;

	limits.policy = policy;
	p = sim_pool(&limits);
	sim_fill(p);
	while (pool_blocks(&p->pool) <= blocks) {
		ck_assert_int_eq(ask_and_answer(p, 1, 0), WORLD_USED);
		sim_fill(p);
	}
	return p;
}

/* --- An empty pool --- */

START_TEST(an_empty_pool_never_stalls_on_what_its_wall_allows)
{
	const char *const names[] = { "fixed", "several", "growing" };
	struct pool_limits limits;
	struct world_pool *p;

	srandom((unsigned int)_i);
	limits = world_limits(1 + sim_below(12), 1 + sim_below(20), 12 + sim_below(60));
	limits.policy = policy_find(names[_i % 3]);
	p = sim_pool(&limits);
	for (uint32_t i = 0; i < 60; i++) {
		unsigned int order = sim_below(12);
		uint64_t size = FRAME_SIZE << order, most = limits.wall / size;
		uint32_t count = 1 + sim_below(i % 2 == 0 ? 1 : 40);
		uint64_t tag;

		count = count < most ? count : (uint32_t)most;
		if (count == 0)
			continue;
		tag = world_ask(w, p, size, count, FOR_EVER);
		world_answer_all(w);
		ck_assert_int_eq(world_request(p, tag)->state, WORLD_USED);
		world_give_all(w, p);
		world_pass_ticks(w, sim_below(3));
		world_check(w);
	}
}
END_TEST

/* --- Growth ahead --- */

START_TEST(with_headroom_a_steadily_growing_client_never_waits_for_a_pin)
{
	struct pool_limits limits = world_limits(8, 4 + (uint32_t)_i, 200);
	struct world_pool *p;
	uint32_t left, last;

	limits.headroom = CHUNKS(4 + _i % 5);
	p = sim_pool(&limits);
	last = 200 - (200 - 8) % (4 + (uint32_t)_i); /* the rest stays unused */
	for (uint32_t taken = 0; taken < 4 * last; taken++) {
		ck_assert(world_take(p, CHUNK_SIZE / 4));
		left = p->pool.planned - taken / 4;
		ck_assert(
		    left >= limits.headroom / CHUNK_SIZE || p->pool.planned == last);
		if (taken % 4 == 0)
			(void)world_step(w); /* a slice each four buffers */
		world_check(w);
	}
	ck_assert_uint_eq(w->grants, 0);
}
END_TEST

START_TEST(without_headroom_nothing_grows_before_it_is_asked_for)
{
	struct world_pool *p = world_open(w, 8, 4, 200);

	sim_fill(p);
	world_pass_ticks(w, 10);
	ck_assert_uint_eq(p->pool.planned, 8);
}
END_TEST

START_TEST(headroom_stays_within_the_walls)
{
	struct pool_limits limits = world_limits(8, 4, 200);
	struct world_pool *p;

	limits.headroom = CHUNKS(8);
	sim_host_wall(CHUNKS(31));
	p = sim_pool(&limits);
	for (uint32_t i = 0; i < 40; i++) {
		(void)world_take(p, CHUNK_SIZE);
		world_pass_ticks(w, 1);
		world_check(w);
	}
	ck_assert_uint_eq(p->pool.planned, 28);
	ck_assert_uint_eq(p->nheld, 28);
}
END_TEST

/* --- Policies --- */

START_TEST(several_gives_back_all_idle_blocks_but_one_in_a_pass)
{
	struct world_pool *p = open_grown(&policy_several, 6, 64);

	while (p->nheld > 5) /* one in block 1 stays */
		world_give(w, p, p->nheld - 1);
	world_pass_ticks(w, 2 * 120);
	ck_assert_uint_eq(pool_blocks(&p->pool), 7); /* not idle for long enough */
	for (int i = 0; i < 4 * 120 && pool_blocks(&p->pool) == 7; i++)
		world_pass_ticks(w, 1);
	ck_assert_uint_eq(pool_blocks(&p->pool), 3);
	ck_assert_uint_eq(p->told[CORE_RELEASED], 4);
	world_pass_ticks(w, 10 * 120);
	ck_assert_uint_eq(pool_blocks(&p->pool), 3);
}
END_TEST

START_TEST(a_pass_that_was_cut_short_is_not_gone_on_with_later)
{
	struct world_pool *p = open_grown(&policy_several, 6, 28);

	world_give_all(w, p);
	(void)core_release(&w->core, &p->pool, RELEASE_OPERATOR);
	(void)world_ask(w, p, CHUNKS(16), 1, FOR_EVER); /* not now! */
	world_answer_all(w);
	ck_assert_uint_eq(p->nheld, 1);
	world_give_all(w, p);
	w->core.tick += 10000;
	ck_assert_uint_eq(p->pool.to_release, 0);
}
END_TEST

START_TEST(growing_makes_blocks_of_variable_size)
{
	struct world_pool *p = open_grown(&policy_growing, 12, 400);
	uint32_t size = 4;

	for (uint32_t i = 1; i < pool_blocks(&p->pool); i++) {
		struct chunk_range r = pool_block(&p->pool, i);
		uint32_t quarter = r.from / 4 > 4 ? r.from / 4 : 4;

		ck_assert_uint_eq(r.to - r.from, quarter);
		size = r.to - r.from;
	}
	ck_assert_uint_gt(size, 16);
	while (ask_and_answer(p, 1, 0) == WORLD_USED)
		sim_fill(p);
	ck_assert_uint_gt(p->pool.planned, 400 - 4);
}
END_TEST

/* --- Triggers --- */

START_TEST(what_ends_or_presses_releases_without_the_idle_time)
{
	static const enum release_reason reasons[] = { RELEASE_TRANSFER,
		RELEASE_OPERATOR, RELEASE_PRESSURE, RELEASE_PERIOD };
	static const uint32_t left[] = { 2, 2, 1, 7 }; /* of 7, the base being empty */
	struct world_pool *p = open_grown(NULL, 6, 64);

	p->pool.limits.keep_idle = _i >= 4;
	world_give_all(w, p);
	if (_i < 4)
		while (world_take(p, CHUNKS(4)) && p->nheld < 1) /* the base */
			;
	(void)core_release(&w->core, &p->pool, reasons[_i % 4]);
	world_settle(w);
	ck_assert_uint_eq(pool_blocks(&p->pool), left[_i % 4] - (_i >= 4 && _i < 6));
}
END_TEST

START_TEST(a_pool_that_keeps_what_is_idle_is_left_alone)
{
	struct world_pool *p = open_grown(NULL, 6, 64);

	p->pool.limits.keep_idle = true;
	world_give_all(w, p);
	world_pass_ticks(w, 3000);
	ck_assert_uint_eq(pool_blocks(&p->pool), 7);
	p->pool.limits.keep_idle = false;
	world_pass_ticks(w, 3000);
	ck_assert_uint_eq(pool_blocks(&p->pool), 1);
}
END_TEST

TCase *
sim_method_tcase(void)
{
	TCase *t = tcase_create("method");

	tcase_set_timeout(t, 30);
	sim_add_histories(
	    t, an_empty_pool_never_stalls_on_what_its_wall_allows, 100, 100);
	tcase_add_loop_test(
	    t, with_headroom_a_steadily_growing_client_never_waits_for_a_pin, 0, 12);
	tcase_add_test(t, without_headroom_nothing_grows_before_it_is_asked_for);
	tcase_add_test(t, headroom_stays_within_the_walls);
	tcase_add_test(t, several_gives_back_all_idle_blocks_but_one_in_a_pass);
	tcase_add_test(t, a_pass_that_was_cut_short_is_not_gone_on_with_later);
	tcase_add_test(t, growing_makes_blocks_of_variable_size);
	tcase_add_loop_test(
	    t, what_ends_or_presses_releases_without_the_idle_time, 0, 8);
	tcase_add_test(t, a_pool_that_keeps_what_is_idle_is_left_alone);
	return t;
}
