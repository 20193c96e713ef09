/* SPDX-License-Identifier: ISC */

/* Walls that pools share, limits of users, pressure, and deadlines. */
#include <errno.h>

#include "tests/sim_check.h"

static struct world *const w = &sim_world;

static enum world_state
state(const struct world_pool *p, uint64_t tag)
{
	return world_request(p, tag)->state;
}

static struct world_pool *
open_in_group(uint32_t base, uint32_t wall_total, uid_t uid)
{
	struct pool_limits limits = sim_limits(base, 4, 200, uid, 1);

	limits.group = "shared";
	limits.group_wall = CHUNKS(wall_total);
	return sim_pool(&limits);
}

static uint64_t
ask_and_answer(struct world_pool *p, uint32_t chunks, int32_t timeout_ms)
{
	uint64_t tag = world_ask(w, p, CHUNKS(chunks), 1, timeout_ms);

	w->now.ns++; /* no two messages come at the same instant */
	world_answer_all(w);
	return tag;
}

START_TEST(a_group_keeps_its_wall)
{
	struct world_pool *a = open_in_group(4, 20, 1), *b = open_in_group(4, 20, 2);
	struct pool_limits limits = a->pool.limits;
	int error = 0;

	sim_hungry((struct world_pool *[]){ a, b }, 2);
	ck_assert_uint_eq(a->pool.planned + b->pool.planned, 20);
	ck_assert_ptr_null(world_open_unsettled(w, &limits, &error));
	ck_assert_int_eq(error, -ENOSPC);
	world_close(w, a);
	world_answer_all(w);
	sim_hungry(&b, 1);
	ck_assert_uint_eq(b->pool.planned, 20);
}
END_TEST

START_TEST(a_group_serves_first_come_first_served)
{
	struct world_pool *a = open_in_group(4, 24, 1), *b = open_in_group(4, 24, 2),
			  *c = open_in_group(4, 24, 3);
	uint64_t first, second;

	sim_fill(a);
	sim_fill(b);
	sim_fill(c);
	(void)ask_and_answer(c, 8, 0); /* 20 of 24 */
	first = ask_and_answer(a, 8, FOR_EVER);
	second = ask_and_answer(b, 4, FOR_EVER); /* would fit */
	world_pass_ticks(w, 20);
	world_answer_all(w);
	ck_assert_int_eq(state(a, first), WORLD_ASKED);
	ck_assert_int_eq(state(b, second), WORLD_ASKED);
	world_check_quiet(w);
	if (_i == 0)
		world_give_all(w, c);
	else
		world_cancel(w, a, first);
	if (_i == 0) /* c's block goes when it was idle for a period; then all fit */
		world_pass_ticks(w, w->core.params.release_ticks + 2);
	world_answer_all(w);
	ck_assert_int_eq(state(a, first), _i == 0 ? WORLD_USED : WORLD_REFUSED);
	ck_assert_int_eq(state(b, second), WORLD_USED);
}
END_TEST

START_TEST(whoever_waits_for_its_group_or_user_holds_up_nobody_else)
{
	struct pool_limits limits = sim_limits(4, 4, 400, 1, 64);
	struct world_pool *p, *other;
	uint64_t tag;

	w->core.params.user_wall = CHUNKS(110);
	if (_i == 0) {
		limits.group = "shared";
		limits.group_wall = CHUNKS(8);
	} else {
		limits.base = CHUNKS(102);
	}
	p = sim_pool(&limits); /* its weight lets it stand before all others */
	sim_fill(p);
	(void)ask_and_answer(p, 4, 0);
	tag = ask_and_answer(p, 4, FOR_EVER);
	limits = sim_limits(4, 4, 400, 7, 1);
	other = sim_pool(&limits);
	sim_fill(other);
	for (int i = 0; i < 25; i++)
		ck_assert_int_eq(state(other, ask_and_answer(other, 4, 0)), WORLD_USED);
	ck_assert_int_eq(state(p, tag), WORLD_ASKED);
	ck_assert_uint_eq(other->told[CORE_PRESSURE], 0); /* it could not help */
}
END_TEST

START_TEST(a_group_at_its_wall_does_not_keep_the_host_from_serving_others)
{
	struct world_pool *p = open_in_group(4, 8, 1), *hog = sim_hog(4, 10), *q;
	struct pool_limits limits = sim_limits(4, 4, 100, 2, 1);
	uint64_t tag;

	q = sim_pool(&limits);
	sim_fill(p);
	sim_fill(q);
	(void)ask_and_answer(p, 4, 0);
	sim_host_wall(w->core.committed);
	(void)ask_and_answer(
	    p, 4, FOR_EVER); /* of its group; before q in order, or not */
	tag = ask_and_answer(q, 1, FOR_EVER);
	sim_give_last_block(hog);
	world_pass_ticks(w, 2);
	world_answer_all(w);
	ck_assert_int_eq(state(q, tag), WORLD_USED);
}
END_TEST

START_TEST(nobody_grows_ahead_of_those_who_starve_but_of_nobody_else)
{
	struct world_pool *p = open_in_group(4, 8, 1), *q;
	struct pool_limits limits = sim_limits(4, 4, 100, 2, 1);

	limits.headroom = CHUNKS(2);
	q = sim_pool(&limits);
	sim_fill(p);
	(void)ask_and_answer(p, 4, 0);
	(void)ask_and_answer(p, 4, FOR_EVER); /* starves, of its group */
	for (uint32_t i = 0; i < 60; i++) {
		ck_assert(world_take(q, CHUNK_SIZE));
		world_settle(w);
	}
}
END_TEST

START_TEST(a_users_wall_holds_whatever_its_pools_do)
{
	struct core_params params = w->core.params;
	struct pool_limits limits = sim_limits(4, 4, 100, 1, 1);
	struct world_pool *pools[4];

	params.user_wall = CHUNKS(40);
	core_set_params(&w->core, &params, w->now);
	for (int i = 0; i < 3; i++)
		pools[i] = sim_pool(&limits);
	limits.uid = 2;
	pools[3] = sim_pool(&limits);
	sim_hungry(pools, 4);
	ck_assert_uint_le(pools[0]->pool.user->charge, params.user_wall);
	ck_assert_uint_gt(
	    pools[0]->pool.user->charge, params.user_wall - CHUNKS(4) - CHUNK_SIZE);
	ck_assert_uint_gt(pools[3]->pool.planned, 32); /* the other has as much */
	world_close(w, pools[0]);
	world_answer_all(w);
	sim_hungry(pools + 1, 3);
	ck_assert_uint_gt(
	    pools[1]->pool.user->charge, params.user_wall - CHUNKS(4) - CHUNK_SIZE);
}
END_TEST

START_TEST(a_user_has_a_bounded_number_of_pools_and_requests)
{
	struct core_params params = w->core.params;
	struct pool_limits limits = sim_limits(1, 1, 4, 1, 1);
	struct world_pool *a, *b;
	int error = 0;

	params.user_pools = 2;
	params.user_requests = 3;
	core_set_params(&w->core, &params, w->now);
	a = sim_pool(&limits);
	b = sim_pool(&limits);
	ck_assert_ptr_null(world_open_unsettled(w, &limits, &error));
	ck_assert_int_eq(error, -EDQUOT);
	limits.uid = 2;
	ck_assert_ptr_nonnull(world_open_unsettled(w, &limits, &error));
	(void)ask_and_answer(a, 4, 0);
	(void)ask_and_answer(b, 4, 0);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(state(a, ask_and_answer(a, 4, FOR_EVER)), WORLD_ASKED);
	ck_assert_int_eq(
	    world_request(b, ask_and_answer(b, 4, FOR_EVER))->error, ENOMEM);
	world_close(w, a);
	ck_assert_int_eq(state(b, ask_and_answer(b, 4, FOR_EVER)), WORLD_ASKED);
}
END_TEST

START_TEST(clients_that_hold_and_wait_end_by_their_deadlines_and_hold_up_nobody)
{
	struct pool_limits limits = sim_limits(4, 4, 100, 1, 1);
	struct world_pool *p[2], *third;
	uint64_t tag[2];

	for (int i = 0; i < 2; i++) {
		p[i] = sim_pool(&limits);
		limits.uid++;
	}
	third = sim_pool(&limits);
	sim_host_wall(w->core.committed + CHUNKS(17));
	for (int i = 0; i < 2; i++) {
		sim_fill(p[i]);
		(void)ask_and_answer(p[i], 8, 0);
	}
	for (int i = 0; i < 2; i++)
		tag[i] = ask_and_answer(p[i], 8, 5000);
	for (int i = 0; i < 9; i++) {
		ck_assert_int_eq(state(p[0], tag[0]), WORLD_ASKED);
		world_pass_ticks(w, 1);
		ck_assert_int_eq(state(third, ask_and_answer(third, 4, 0)), WORLD_USED);
		world_give_all(w, third);
	}
	world_pass_ticks(w, 2);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(world_request(p[i], tag[i])->error, ETIMEDOUT);
	ck_assert_uint_eq(w->core.starved, 0);
	world_check_quiet(w);
}
END_TEST

START_TEST(an_end_of_waiting_lets_those_behind_it_in_at_once)
{
	struct pool_limits limits = sim_limits(1, 16, 100, 1, 1);
	struct world_pool *large = sim_pool(&limits), *small, *hog = sim_hog(4, 12);
	uint64_t first, tag = 0;

	limits = sim_limits(20, 2, 100, 2, 1);
	small = sim_pool(&limits);
	sim_fill(small);
	w->core.params.overtaken_max = 1;
	sim_host_wall(w->core.committed);
	first = ask_and_answer(large, 16, _i == 0 ? FOR_EVER : 60000);
	for (int i = 0; i < 12 && (i < 2 || state(small, tag) == WORLD_USED); i++) {
		if (i < 3)
			sim_give_last_block(hog);
		tag = ask_and_answer(small, 2, FOR_EVER);
		world_pass_ticks(w, 1);
		world_answer_all(w);
	}
	ck_assert_int_eq(state(small, tag), WORLD_ASKED); /* kept for the large one */
	if (_i == 0)
		world_cancel(w, large, first);
	else if (_i == 1)
		world_drop(w, large);
	else
		world_close(w, large);
	world_answer_all(w); /* and no tick */
	ck_assert_int_eq(state(small, tag), WORLD_USED);
}
END_TEST

START_TEST(pools_above_their_share_are_told_and_only_they)
{
	bool same_user = _i == 1;
	struct pool_limits limits = sim_limits(1, 4, 100, same_user ? 999 : 1, 1);
	struct world_pool *needy = sim_pool(&limits), *modest, *hog;

	modest = sim_pool(&limits);
	hog = sim_hog(4, 10);
	ck_assert_uint_eq(w->told[CORE_PRESSURE], 0);
	sim_host_wall(w->core.committed);
	for (uint64_t i = 1; i <= 3; i++) { /* each time that it is short */
		sim_fill(needy);
		(void)ask_and_answer(needy, 1, FOR_EVER);
		world_pass_ticks(w, 3);
		ck_assert_uint_eq(hog->told[CORE_PRESSURE], i);
		ck_assert_uint_eq(modest->told[CORE_PRESSURE], 0);
		ck_assert_uint_eq(needy->told[CORE_PRESSURE], 0);
		world_cancel(w, needy, needy->nrequests);
		world_pass_ticks(w, 3);
	}
}
END_TEST

START_TEST(under_pressure_empty_blocks_of_those_above_their_share_go_at_once)
{
	bool same_user = _i == 1;
	struct pool_limits limits = sim_limits(1, 4, 100, same_user ? 999 : 1, 1);
	struct world_pool *needy = sim_pool(&limits), *hog = sim_hog(4, 10);
	uint64_t tag;

	sim_fill(needy);
	sim_host_wall(w->core.committed);
	sim_give_last_block(hog);
	tag = ask_and_answer(needy, 1, FOR_EVER); /* not even a tick */
	ck_assert_int_eq(state(needy, tag), WORLD_USED);
	ck_assert_uint_eq(pool_blocks(&hog->pool), 10);
}
END_TEST

START_TEST(an_empty_block_below_the_share_goes_when_idle_for_a_period)
{
	struct pool_limits limits = sim_limits(1, 4, 100, 1, 1);
	struct world_pool *poor = sim_pool(&limits), *rich;
	uint64_t tag;

	limits.uid = 2;
	rich = sim_pool(&limits);
	sim_fill(poor);
	(void)ask_and_answer(poor, 1, 0);
	world_give(w, poor, poor->nheld - 1);
	sim_fill(rich);
	for (int i = 0; i < 8; i++)
		(void)ask_and_answer(rich, 4, 0);
	sim_host_wall(w->core.committed);
	tag = ask_and_answer(rich, 1, FOR_EVER);
	world_pass_ticks(w, w->core.params.release_ticks - 2);
	ck_assert_int_eq(state(rich, tag), WORLD_ASKED);
	world_pass_ticks(w, 4);
	world_answer_all(w);
	ck_assert_int_eq(state(rich, tag), WORLD_USED);
	ck_assert_uint_eq(pool_blocks(&poor->pool), 1);
}
END_TEST

TCase *
sim_walls_tcase(void)
{
	TCase *t = tcase_create("walls");

	tcase_set_timeout(t, 30);
	tcase_add_test(t, a_group_keeps_its_wall);
	tcase_add_loop_test(t, a_group_serves_first_come_first_served, 0, 2);
	tcase_add_loop_test(
	    t, whoever_waits_for_its_group_or_user_holds_up_nobody_else, 0, 2);
	tcase_add_test(
	    t, a_group_at_its_wall_does_not_keep_the_host_from_serving_others);
	tcase_add_test(t, nobody_grows_ahead_of_those_who_starve_but_of_nobody_else);
	tcase_add_test(t, a_users_wall_holds_whatever_its_pools_do);
	tcase_add_test(t, a_user_has_a_bounded_number_of_pools_and_requests);
	tcase_add_test(
	    t, clients_that_hold_and_wait_end_by_their_deadlines_and_hold_up_nobody);
	tcase_add_loop_test(t, an_end_of_waiting_lets_those_behind_it_in_at_once, 0, 3);
	tcase_add_loop_test(t, pools_above_their_share_are_told_and_only_they, 0, 2);
	tcase_add_loop_test(
	    t, under_pressure_empty_blocks_of_those_above_their_share_go_at_once, 0, 2);
	tcase_add_test(t, an_empty_block_below_the_share_goes_when_idle_for_a_period);
	return t;
}
