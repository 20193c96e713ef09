/* SPDX-License-Identifier: ISC */

/* The method, 23-28, 30, 31 and 33: the release pass, in the world's time. */
#include <stdlib.h>

#include "tests/client_process.h"
#include "tests/method/method.h"

#define HOUR_TICKS 7200u

static struct world *const w = &method_world;
static struct daemon *const d = &method_budd;

static uint32_t
blocks(const struct world_pool *p)
{
	return pool_blocks(&p->pool);
}

/* The world keeps the method's time; that budd does is for figures and a clock to tell. */
START_TEST(r23_the_countdown_is_every_half_second_for_a_minute_and_visible)
{
	struct world_pool *p;
	struct bud_pool *pool;
	double count, start;

	world_init(w, WORLD_HOST_WALL);
	p = method_pool(4, 4, 64);
	method_grow(p, 2);
	for (uint32_t left = PERIOD_TICKS; left > 0; left--) {
		ck_assert_uint_eq(p->record->tick_count, left);
		ck_assert_uint_eq(w->core.counters.passes, 0);
		world_pass_time(w, TICK_NS);
	}
	ck_assert_uint_eq(w->core.counters.passes, 1);
	ck_assert_uint_eq(p->record->tick_count, PERIOD_TICKS);
	world_fini(w);

	daemon_start(d, "");
	pool = open_pool(d, NULL);
	ck_assert_double_eq(daemon_figure(d, "host.tick_ms"), 500);
	ck_assert_double_eq(daemon_figure(d, "host.release_period_ms"), 60000);
	ck_assert_double_eq(daemon_figure(d, "host.idle_ms"), 300000);
	eventually(daemon_figure(d, "pools.0.tick_count") == PERIOD_TICKS);
	ck_assert_double_eq(daemon_figure(d, "pools.0.release_in_s"), 60);
	start = (double)now_ms();
	ck_assert_ptr_nonnull(bud_alloc(pool, 2 * MIB, 0)); /* from here on it counts */
	eventually((count = daemon_figure(d, "pools.0.tick_count")) <= 117);
	ck_assert_double_ge((double)now_ms() - start, (PERIOD_TICKS - count) * 500 - 2);
	bud_close(pool);
	daemon_stop(d);
}
END_TEST

START_TEST(r24_without_additional_blocks_there_is_nothing_to_do)
{
	struct world_pool *p = method_pool(4, 4, 64), *busy;

	world_pass_ticks(w, HOUR_TICKS);
	ck_assert_int_eq(core_next_due(&w->core).ns, INSTANT_NEVER.ns);
	busy = method_pool(4, 4, 64); /* for which passes are made */
	method_grow(busy, 1);
	world_pass_ticks(w, HOUR_TICKS);
	ck_assert_uint_eq(w->core.counters.passes, HOUR_TICKS / PERIOD_TICKS);
	ck_assert_uint_eq(p->record->tick_count, PERIOD_TICKS);
	for (int reason = RELEASE_PERIOD; reason <= RELEASE_PRESSURE; reason++)
		ck_assert_uint_eq(
		    core_release(&w->core, &p->pool, (enum release_reason)reason), 0);
	ck_assert_uint_eq(w->unpins, 0);
	ck_assert_uint_eq(p->pinned, 4);
}
END_TEST

/* Passes until @p has fewer blocks; ticks that went by, a multiple of the period. */
static uint32_t
ticks_to_a_release(const struct world_pool *p, uint32_t most)
{
	uint32_t had = blocks(p), ticks = 0;

	while (blocks(p) == had && ticks < most) {
		world_pass_ticks(w, 1);
		ticks++;
	}
	return ticks;
}

START_TEST(r25_the_last_block_must_be_empty_and_idle_for_five_minutes)
{
	struct world_pool *p = method_pool(4, 4, 64);
	uint32_t ticks;

	method_grow(p, 2);
	method_empty(p, 0);
	method_empty(p, 1);
	while (p->nheld > 1) /* a single buffer in the last block */
		world_give(w, p, 0);
	world_pass_ticks(w, HOUR_TICKS);
	ck_assert_uint_eq(blocks(p), 3);
	/* It was allocated long ago: its block is idle as soon as it is empty. */
	world_give_all(w, p);
	ck_assert_uint_le(ticks_to_a_release(p, HOUR_TICKS), PERIOD_TICKS);
	ck_assert_uint_eq(blocks(p), 2);
	/* One that is allocated for a moment keeps it for five minutes. */
	method_fill(p);
	world_give_all(w, p);
	ticks = ticks_to_a_release(p, HOUR_TICKS);
	ck_assert_uint_ge(ticks, IDLE_TICKS);
	ck_assert_uint_lt(ticks, IDLE_TICKS + PERIOD_TICKS);
	ck_assert_uint_eq(blocks(p), 1);
}
END_TEST

START_TEST(r26_the_block_before_the_last_must_be_idle_too_and_may_be_the_base)
{
	struct world_pool *p = method_pool(4, 4, 64);
	uint32_t ticks;

	method_grow(p, 2);
	method_empty(p, 2);
	world_pass_ticks(w, HOUR_TICKS);
	ck_assert_uint_eq(blocks(p), 3); /* the first additional one is full */
	method_empty(p, 1);
	world_pass_ticks(w, HOUR_TICKS);
	ck_assert_uint_eq(blocks(p), 2); /* now the base is the one before the last */
	method_empty(p, 0);
	for (int i = 0; i < 10; i++) { /* empty, and not idle */
		ck_assert(world_take(p, 1));
		world_give_all(w, p);
		world_pass_ticks(w, IDLE_TICKS - 1);
	}
	ck_assert(world_take(p, 1));
	world_give_all(w, p);
	ck_assert_uint_eq(blocks(p), 2);
	ticks = ticks_to_a_release(p, HOUR_TICKS);
	ck_assert_uint_ge(ticks, IDLE_TICKS);
	ck_assert_uint_lt(ticks, IDLE_TICKS + PERIOD_TICKS);
	ck_assert_uint_eq(blocks(p), 1);
}
END_TEST

START_TEST(r27_only_the_last_block_goes_and_one_a_pass)
{
	struct world_pool *p = method_pool(4, 4, 64);

	method_grow(p, 4);
	for (uint32_t i = 0; i < 4; i++)
		method_empty(p, i);
	world_pass_ticks(w, HOUR_TICKS);
	ck_assert_uint_eq(blocks(p), 5); /* those below the last one wait for it */
	world_give_all(w, p);
	for (uint32_t left = 4; left > 0; left--) {
		struct chunk_range last = pool_block(&p->pool, left);
		uint64_t passes = w->core.counters.passes;

		ck_assert_uint_le(
		    ticks_to_a_release(p, IDLE_TICKS + PERIOD_TICKS), PERIOD_TICKS);
		ck_assert_uint_eq(w->core.counters.passes, passes + 1);
		ck_assert_uint_eq(blocks(p), left);
		ck_assert_uint_eq(p->pinned, last.from);
		ck_assert_uint_eq(w->unpins, 5 - left);
	}
}
END_TEST

START_TEST(r28_the_base_is_never_released)
{
	struct world_pool *p = method_pool(4, 4, 64);

	for (int reason = RELEASE_PERIOD; reason <= RELEASE_PRESSURE; reason++) {
		method_grow(p, 3);
		world_give_all(w, p);
		for (int i = 0; i < 5; i++) {
			world_pass_ticks(w, IDLE_TICKS);
			core_release(&w->core, &p->pool, (enum release_reason)reason);
			world_settle(w);
		}
		world_pass_ticks(w, HOUR_TICKS);
		ck_assert_uint_eq(blocks(p), 1);
		ck_assert_uint_eq(p->pinned, 4);
		ck_assert_uint_eq(pool_opened(&p->pool), 4);
		ck_assert(world_take(p, CHUNKS(4)));
		world_give_all(w, p);
	}
}
END_TEST

START_TEST(r30_bursts_within_the_idle_period_cause_no_release_and_no_regrowth)
{
	struct world_pool *p = method_pool(4, 4, 64);
	uint64_t pins;

	method_grow(p, 5);
	pins = w->pins;
	for (uint32_t pause = 1; pause < IDLE_TICKS; pause += 23) {
		world_give_all(w, p);
		world_pass_ticks(w, pause);
		ck_assert_uint_eq(blocks(p), 6);
		method_fill(p);
		ck_assert_uint_eq(p->nheld, 24);
		world_pass_ticks(w, pause % 7);
	}
	ck_assert_uint_eq(w->unpins, 0);
	ck_assert_uint_eq(w->pins, pins);
}
END_TEST

static const struct {
	int64_t tick_ns;
	uint32_t release_ticks;
	uint32_t idle_ticks;
} times[] = {
	{ NS_PER_MS, 10, 40 },
	{ NS_PER_MS, 1, 7 },
	{ 500 * NS_PER_MS, 20, 7200 },
	{ 2 * NS_PER_S, 30, 1 },
	{ 500 * NS_PER_MS, 240, 0 },
};

START_TEST(r31_other_periods_and_idle_times_can_be_set)
{
	struct world_pool *p = method_pool(4, 4, 64);
	struct core_params params = w->core.params;
	int64_t start, ns;
	uint32_t ticks;

	method_grow(p, 1);
	world_pass_ticks(w, 3);
	params.tick_ns = times[_i].tick_ns;
	params.release_ticks = times[_i].release_ticks;
	params.idle_ticks = times[_i].idle_ticks;
	core_set_params(&w->core, &params, w->now);
	world_pass_time(w, 2 * TICK_NS); /* the tick that was under way is over */
	world_settle(w);
	while (p->record->tick_count != params.release_ticks)
		world_pass_ticks(w, 1);
	world_give_all(w, p);
	method_fill(p);
	world_give_all(w, p);
	start = w->now.ns;
	ticks = ticks_to_a_release(p, 100000);
	ns = w->now.ns - start;
	ck_assert_uint_eq(blocks(p), 1);
	ck_assert_uint_ge(ticks, params.idle_ticks);
	ck_assert_uint_le(ticks, params.idle_ticks + params.release_ticks);
	ck_assert_uint_eq(ticks % params.release_ticks, 0); /* at a pass */
	ck_assert_int_eq(ns, ticks * params.tick_ns);
}
END_TEST

START_TEST(r33_a_flag_takes_a_pool_out_of_the_pass)
{
	struct pool_limits limits = world_limits(4, 4, 64);
	struct world_pool *kept, *other = method_pool(4, 4, 64);

	limits.keep_idle = true;
	ck_assert_ptr_nonnull(kept = world_open_with(w, &limits));
	method_grow(kept, 3);
	method_grow(other, 3);
	world_give_all(w, kept);
	world_give_all(w, other);
	world_pass_ticks(w, 2 * HOUR_TICKS);
	ck_assert_uint_eq(blocks(kept), 4);
	ck_assert_uint_eq(blocks(other), 1);
	kept->pool.limits.keep_idle = false;
	world_pass_ticks(w, 2 * HOUR_TICKS);
	ck_assert_uint_eq(blocks(kept), 1);
}
END_TEST

void
method_release(Suite *s)
{
	TCase *t = method_core(s, "release pass");

	tcase_add_test(t, r24_without_additional_blocks_there_is_nothing_to_do);
	tcase_add_test(t, r25_the_last_block_must_be_empty_and_idle_for_five_minutes);
	tcase_add_test(
	    t, r26_the_block_before_the_last_must_be_idle_too_and_may_be_the_base);
	tcase_add_test(t, r27_only_the_last_block_goes_and_one_a_pass);
	tcase_add_test(t, r28_the_base_is_never_released);
	tcase_add_test(
	    t, r30_bursts_within_the_idle_period_cause_no_release_and_no_regrowth);
	tcase_add_loop_test(t, r31_other_periods_and_idle_times_can_be_set, 0,
	    (int)SIZEOF_ARRAY(times));
	tcase_add_test(t, r33_a_flag_takes_a_pool_out_of_the_pass);
	t = method_daemon(s, "release pass, budd");
	tcase_add_test(
	    t, r23_the_countdown_is_every_half_second_for_a_minute_and_visible);
}
