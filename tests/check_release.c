/* SPDX-License-Identifier: ISC */

/* The release pass: one idle block a pass, and one empty block stays. */
#include <check.h>
#include <stdlib.h>

#include "tests/world.h"

#define PERIOD  10u /* ticks between passes */
#define IDLE    25u /* ticks without an allocation */
#define SETTLED 1000u

static struct world world, *const w = &world;
static struct world_pool *p;

/* A base and @blocks additional ones of 4 chunks, all of them full. */
static void
grow(uint32_t blocks)
{
	while (world_take(p, CHUNK_SIZE))
		;
	for (uint32_t i = 0; i < 4 * blocks; i++) {
		(void)world_ask(w, p, CHUNK_SIZE, 1, 0);
		world_answer_all(w);
	}
	ck_assert_uint_eq(pool_blocks(&p->pool), 1 + blocks);
	ck_assert_uint_eq(p->nheld, 4 * (1 + blocks));
}

static void
setup(void)
{
	world_init(w, WORLD_HOST_WALL);
	w->core.params.release_ticks = PERIOD;
	w->core.params.idle_ticks = IDLE;
	p = world_open(w, 4, 4, 64);
	ck_assert_ptr_nonnull(p);
}

static void
teardown(void)
{
	world_check(w);
	world_fini(w);
}

/* Gives back what lies in block @index. */
static void
empty_block(uint32_t index)
{
	struct chunk_range r = pool_block(&p->pool, index);

	for (uint32_t i = p->nheld; i-- > 0;) {
		uint32_t c = p->held[i] / CHUNK_FRAMES;

		if (c >= r.from && c < r.to)
			world_give(w, p, i);
	}
	ck_assert(ledger_is_empty(&p->pool.ledger, r));
}

static uint32_t
blocks(void)
{
	return pool_blocks(&p->pool);
}

START_TEST(the_last_block_goes_when_it_and_the_one_before_it_are_idle)
{
	grow(2);
	empty_block(2);
	empty_block(1);
	world_pass_ticks(w, SETTLED);
	ck_assert_uint_eq(blocks(), 2);
	ck_assert_uint_eq(p->pool.pinned, 8);
	ck_assert_uint_eq(p->record->counters.released, 1);
	ck_assert_uint_eq(w->core.counters.blocks_released, 1);
}
END_TEST

START_TEST(one_empty_block_stays_while_the_one_before_it_is_used)
{
	grow(2);
	empty_block(2);
	world_pass_ticks(w, SETTLED);
	ck_assert_uint_eq(blocks(), 3);
}
END_TEST

START_TEST(a_base_full_of_long_lived_buffers_keeps_the_first_additional_block)
{
	grow(1);
	empty_block(1);
	world_pass_ticks(w, SETTLED);
	ck_assert_uint_eq(blocks(), 2);
	empty_block(0);
	world_pass_ticks(w, SETTLED);
	ck_assert_uint_eq(blocks(), 1);
}
END_TEST

START_TEST(the_base_never_goes_and_then_nothing_ticks)
{
	grow(3);
	world_give_all(w, p);
	world_pass_ticks(w, SETTLED);
	ck_assert_uint_eq(blocks(), 1);
	ck_assert_uint_eq(p->pool.pinned, 4);
	ck_assert_int_eq(core_next_due(&w->core).ns, INSTANT_NEVER.ns);
	ck_assert(world_take(p, CHUNK_SIZE * 4));
}
END_TEST

START_TEST(a_pass_releases_one_block)
{
	grow(4);
	world_give_all(w, p);
	world_pass_ticks(w, SETTLED / PERIOD * PERIOD - 1);
	ck_assert_uint_eq(blocks(), 1);
	ck_assert_uint_eq(w->unpins, 4);
	teardown();
	setup();
	w->core.params.idle_ticks = 0;
	grow(4);
	world_give_all(w, p);
	for (uint32_t left = 4; left > 0; left--) {
		world_pass_ticks(w, PERIOD - 1);
		ck_assert_uint_eq(blocks(), 1 + left);
		world_pass_ticks(w, 1);
		ck_assert_uint_eq(blocks(), left);
	}
}
END_TEST

START_TEST(the_pass_comes_when_the_countdown_is_at_zero)
{
	grow(1);
	ck_assert_uint_eq(p->record->tick_count, PERIOD);
	for (uint32_t left = PERIOD - 1; left > 0; left--) {
		world_pass_ticks(w, 1);
		ck_assert_uint_eq(p->record->tick_count, left);
	}
	ck_assert_uint_eq(w->core.counters.passes, 0);
	world_pass_ticks(w, 1);
	ck_assert_uint_eq(w->core.counters.passes, 1);
	ck_assert_uint_eq(p->record->tick_count, PERIOD);
}
END_TEST

START_TEST(a_block_is_idle_after_the_idle_period_and_not_a_tick_earlier)
{
	grow(1);
	world_give_all(w, p);
	w->core.tick += IDLE - 1;
	ck_assert(!release_is_due(&w->core, &p->pool));
	w->core.tick++;
	ck_assert(release_is_due(&w->core, &p->pool));
}
END_TEST

START_TEST(a_burst_shorter_than_the_idle_period_costs_no_block)
{
	grow(3);
	for (int burst = 0; burst < 20; burst++) {
		world_give_all(w, p);
		world_pass_ticks(w, IDLE - 1);
		ck_assert_uint_eq(blocks(), 4);
		while (world_take(p, CHUNK_SIZE))
			;
		ck_assert_uint_eq(p->nheld, 16);
	}
	ck_assert_uint_eq(w->unpins, 0);
	ck_assert_uint_eq(w->pins, 4);
}
END_TEST

START_TEST(a_use_in_between_starts_the_idle_period_again)
{
	grow(1);
	world_give_all(w, p);
	for (int i = 0; i < 20; i++) { /* in the base alone: the next to last counts */
		world_pass_ticks(w, IDLE - 1);
		ck_assert(world_take(p, 1));
		world_give_all(w, p);
	}
	ck_assert_uint_eq(blocks(), 2);
	world_pass_ticks(w, IDLE + PERIOD);
	ck_assert_uint_eq(blocks(), 1);
}
END_TEST

START_TEST(a_single_frame_keeps_a_block)
{
	grow(2);
	empty_block(2);
	empty_block(1);
	ck_assert(world_take(p, 1)); /* in block 1, the lowest free */
	world_pass_ticks(w, SETTLED);
	ck_assert_uint_eq(blocks(), 3);
}
END_TEST

START_TEST(a_new_block_is_not_idle_from_the_start)
{
	world_pass_ticks(w, 1);
	w->core.tick = 5000; /* other pools ticked all the time, this one did not */
	while (world_take(p, CHUNK_SIZE))
		;
	(void)world_ask(w, p, CHUNK_SIZE, 1, 0);
	world_answer_all(w);
	world_give_all(w, p);
	ck_assert_uint_eq(
	    ledger_idle_ticks(&p->pool.ledger, pool_block(&p->pool, 1), 5000), 0);
	w->core.tick += IDLE - 1;
	ck_assert(!release_is_due(&w->core, &p->pool));
}
END_TEST

START_TEST(nothing_is_released_while_the_pool_grows_or_shrinks)
{
	grow(2);
	world_give_all(w, p);
	w->core.tick += SETTLED;
	ck_assert(release_is_due(&w->core, &p->pool));
	ck_assert(core_release(&w->core, &p->pool, RELEASE_PERIOD) > 0);
	ck_assert(!release_is_due(&w->core, &p->pool));
	ck_assert(core_release(&w->core, &p->pool, RELEASE_PERIOD) == 0);
	world_settle(w);
	ck_assert(release_is_due(&w->core, &p->pool));
}
END_TEST

START_TEST(a_large_block_is_given_back_slice_by_slice_from_its_end)
{
	(void)world_ask(w, p, 10 * CHUNK_SIZE, 1, 0); /* a block of 16, in effect */
	world_answer_all(w);
	world_give_all(w, p);
	w->core.tick += SETTLED;
	ck_assert(core_release(&w->core, &p->pool, RELEASE_PERIOD) > 0);
	ck_assert_uint_eq(pool_opened(&p->pool), 4);
	for (uint32_t to = p->pinned; to > 4; to -= heap_kind_slice(HEAP_PAGE)) {
		ck_assert_int_eq(p->question, WORLD_UNPIN);
		ck_assert_uint_eq(p->range.to, to);
		world_check(w);
		world_step(w);
		if (to - 4 <= heap_kind_slice(HEAP_PAGE))
			break;
	}
	ck_assert_uint_eq(blocks(), 1);
	ck_assert_uint_eq(w->core.committed, pool_charge(&p->pool, 4));
}
END_TEST

START_TEST(a_request_during_a_release_is_served_after_it)
{
	uint64_t tag;

	grow(1);
	world_give_all(w, p);
	w->core.tick += SETTLED;
	ck_assert(core_release(&w->core, &p->pool, RELEASE_PERIOD) > 0);
	while (world_take(p, CHUNK_SIZE))
		;
	ck_assert_uint_eq(p->nheld, 4);
	tag = world_ask(w, p, 1, 1, 0);
	ck_assert_int_eq(world_request(p, tag)->state, WORLD_ASKED);
	world_answer_all(w);
	ck_assert_int_eq(world_request(p, tag)->state, WORLD_USED);
	ck_assert_uint_eq(blocks(), 2);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("release");
	TCase *t = tcase_create("release");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 20);
	tcase_add_test(t, the_last_block_goes_when_it_and_the_one_before_it_are_idle);
	tcase_add_test(t, one_empty_block_stays_while_the_one_before_it_is_used);
	tcase_add_test(
	    t, a_base_full_of_long_lived_buffers_keeps_the_first_additional_block);
	tcase_add_test(t, the_base_never_goes_and_then_nothing_ticks);
	tcase_add_test(t, a_pass_releases_one_block);
	tcase_add_test(t, the_pass_comes_when_the_countdown_is_at_zero);
	tcase_add_test(t, a_block_is_idle_after_the_idle_period_and_not_a_tick_earlier);
	tcase_add_test(t, a_burst_shorter_than_the_idle_period_costs_no_block);
	tcase_add_test(t, a_use_in_between_starts_the_idle_period_again);
	tcase_add_test(t, a_single_frame_keeps_a_block);
	tcase_add_test(t, a_new_block_is_not_idle_from_the_start);
	tcase_add_test(t, nothing_is_released_while_the_pool_grows_or_shrinks);
	tcase_add_test(t, a_large_block_is_given_back_slice_by_slice_from_its_end);
	tcase_add_test(t, a_request_during_a_release_is_served_after_it);
	suite_add_tcase(s, t);
	return s;
}

int
main(void)
{
	SRunner *runner = srunner_create(suite());
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
