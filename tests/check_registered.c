/* SPDX-License-Identifier: ISC */

/* Pools whose memory is registered with devices: a block is asked back before it goes. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>

#include "tests/world.h"

#define PERIOD  10u /* ticks between passes */
#define IDLE    25u /* ticks without an allocation */
#define GIVE_UP 5u  /* ticks to unregister in */
#define MUCH    1000u

static struct world world, *const w = &world;
static struct world_pool *p;

static void
setup(void)
{
	world_init(w, WORLD_HOST_WALL);
	w->core.params.release_ticks = PERIOD;
	w->core.params.idle_ticks = IDLE;
	w->core.params.give_up_ticks = GIVE_UP;
	p = world_open(w, 4, 4, 64);
	ck_assert_ptr_nonnull(p);
}

static void
teardown(void)
{
	world_check(w);
	world_fini(w);
}

static uint32_t
blocks(void)
{
	return pool_blocks(&p->pool);
}

static uint64_t
asked(void)
{
	return p->told[CORE_ASKED];
}

/* @pool with a base and @n additional blocks of 4 chunks, all of them full. */
static void
fill(struct world_pool *pool, uint32_t n)
{
	while (world_take(pool, CHUNK_SIZE))
		;
	for (uint32_t i = 0; i < 4 * n; i++) {
		(void)world_ask(w, pool, CHUNK_SIZE, 1, 0);
		world_answer_all(w);
	}
	ck_assert_uint_eq(pool_blocks(&pool->pool), 1 + n);
}

static void
pass_until_asked(uint64_t n)
{
	for (uint32_t i = 0; i < MUCH && asked() < n; i++)
		world_pass_ticks(w, 1);
	ck_assert_uint_eq(asked(), n);
}

/* @n additional blocks, empty, of a client that registers; the last one is asked back. */
static void
have_asked(uint32_t n)
{
	fill(p, n);
	core_register(&w->core, &p->pool, true);
	world_give_all(w, p);
	pass_until_asked(1);
	ck_assert_int_eq(p->pool.phase, POOL_ASKED);
}

static void
give_up(uint64_t chunk, uint32_t ask)
{
	core_gave_up(&w->core, &p->pool, chunk * CHUNK_SIZE, ask);
	world_settle(w);
}

START_TEST(nobody_is_asked_who_registers_nothing)
{
	fill(p, 2);
	world_give_all(w, p);
	world_pass_ticks(w, MUCH);
	ck_assert_uint_eq(asked(), 0);
	ck_assert_uint_eq(blocks(), 1);
}
END_TEST

START_TEST(a_block_is_asked_back_and_goes_when_it_was_given_up)
{
	have_asked(2);
	ck_assert_uint_eq(w->unpins, 0);
	ck_assert_uint_eq(p->pool.pinned, 12);
	ck_assert(!world_take(p, 9 * CHUNK_SIZE)); /* it is closed */
	give_up(8, p->record->asks);
	ck_assert_uint_eq(blocks(), 2);
	ck_assert_uint_eq(p->pool.pinned, 8);
	ck_assert_uint_eq(p->told[CORE_RELEASED], 1);
	ck_assert_uint_eq(p->told[CORE_KEPT], 0);
	ck_assert_uint_eq(p->record->kept, 0);
}
END_TEST

START_TEST(one_that_never_answers_has_its_block_again_and_is_asked_a_period_later)
{
	have_asked(1);
	world_pass_ticks(w, GIVE_UP - 1);
	ck_assert_int_eq(p->pool.phase, POOL_ASKED);
	world_pass_ticks(w, 1);
	ck_assert_int_eq(p->pool.phase, POOL_STEADY);
	ck_assert_uint_eq(p->told[CORE_KEPT], 1);
	ck_assert_uint_eq(p->record->kept, 1);
	ck_assert_uint_eq(blocks(), 2);
	ck_assert_uint_eq(w->unpins, 0);
	ck_assert_uint_eq(core_release(&w->core, &p->pool, RELEASE_OPERATOR), 0);
	ck_assert_uint_eq(core_release(&w->core, &p->pool, RELEASE_PRESSURE), 0);
	world_pass_ticks(w, PERIOD - 1);
	ck_assert_uint_eq(asked(), 1);
	world_pass_ticks(w, 2 * PERIOD);
	ck_assert_uint_ge(asked(), 2);
	ck_assert(world_take(p, 8 * CHUNK_SIZE) || p->pool.phase == POOL_ASKED);
}
END_TEST

START_TEST(a_kept_block_serves_as_before)
{
	have_asked(1);
	world_pass_ticks(w, GIVE_UP);
	for (int i = 0; i < 8; i++)
		ck_assert(world_take(p, CHUNK_SIZE));
	ck_assert(!world_take(p, CHUNK_SIZE));
	ck_assert_uint_eq(p->pool.pinned, 8);
}
END_TEST

START_TEST(what_was_not_asked_is_not_given_up)
{
	fill(p, 2);
	world_give_all(w, p);
	give_up(8, 0);
	give_up(8, 1);
	core_register(&w->core, &p->pool, true);
	give_up(8, 1);
	ck_assert_uint_eq(w->unpins, 0);
	pass_until_asked(1);
	give_up(0, p->record->asks);
	give_up(4, p->record->asks);
	give_up(12, p->record->asks);
	give_up(8, p->record->asks + 1);
	ck_assert_uint_eq(w->unpins, 0);
	give_up(8, p->record->asks);
	ck_assert_uint_eq(blocks(), 2);
}
END_TEST

START_TEST(an_answer_given_twice_counts_once)
{
	have_asked(2);
	core_gave_up(&w->core, &p->pool, 8 * CHUNK_SIZE, p->record->asks);
	give_up(8, p->record->asks);
	give_up(8, p->record->asks);
	give_up(4, p->record->asks);
	ck_assert_uint_eq(blocks(), 2);
	ck_assert_uint_eq(p->told[CORE_RELEASED], 1);
}
END_TEST

/* The client may have registered the block again in between. */
START_TEST(a_late_answer_is_none_to_the_next_question)
{
	uint32_t first;

	have_asked(1);
	first = p->record->asks;
	pass_until_asked(2);
	ck_assert_int_eq(p->pool.phase, POOL_ASKED);
	give_up(4, first);
	ck_assert_int_eq(p->pool.phase, POOL_ASKED);
	give_up(4, p->record->asks);
	ck_assert_uint_eq(blocks(), 1);
}
END_TEST

START_TEST(what_a_pool_needs_itself_is_not_asked_back)
{
	uint64_t tag;

	have_asked(1);
	for (int i = 0; i < 4; i++)
		ck_assert(world_take(p, CHUNK_SIZE));
	tag = world_ask(w, p, CHUNK_SIZE, 1, -1);
	ck_assert_int_eq(world_request(p, tag)->state, WORLD_TURN);
	ck_assert_uint_eq(p->told[CORE_KEPT], 1);
	ck_assert_uint_eq(p->record->kept, 0); /* nobody was late */
	world_answer_all(w);
	ck_assert_uint_eq(p->pool.pinned, 8);
	ck_assert_uint_eq(w->unpins, 0);
}
END_TEST

START_TEST(what_the_closed_block_could_not_serve_waits_for_the_answer)
{
	uint64_t tag;

	world_close(w, p);
	p = world_open(w, 4, 4, 12);
	have_asked(1);
	ck_assert(world_take(p, CHUNK_SIZE));
	tag = world_ask(w, p, 8 * CHUNK_SIZE, 1, -1); /* wants a block of 8 instead */
	ck_assert_int_eq(world_request(p, tag)->state, WORLD_ASKED);
	ck_assert_int_eq(p->pool.phase, POOL_ASKED);
	give_up(4, p->record->asks);
	world_answer_all(w);
	ck_assert_int_eq(world_request(p, tag)->state, WORLD_USED);
}
END_TEST

START_TEST(a_client_that_is_not_listened_to_keeps_what_it_registered)
{
	have_asked(2);
	world_drop(w, p);
	ck_assert_int_eq(p->pool.phase, POOL_STEADY);
	world_pass_ticks(w, MUCH);
	ck_assert_uint_eq(asked(), 1);
	ck_assert_uint_eq(w->unpins, 0);
}
END_TEST

START_TEST(who_registers_nothing_any_more_has_given_up)
{
	have_asked(2);
	core_register(&w->core, &p->pool, false);
	world_settle(w);
	ck_assert_uint_eq(blocks(), 2);
	world_pass_ticks(w, MUCH);
	ck_assert_uint_eq(blocks(), 1);
	ck_assert_uint_eq(asked(), 1);
}
END_TEST

START_TEST(several_blocks_of_a_pass_are_asked_one_after_the_other)
{
	fill(p, 3);
	core_register(&w->core, &p->pool, true);
	world_give_all(w, p);
	ck_assert_uint_eq(core_release(&w->core, &p->pool, RELEASE_PRESSURE), 3);
	for (uint32_t i = 3; i > 0; i--) {
		ck_assert_uint_eq(blocks(), 1 + i);
		give_up(4 * i, p->record->asks);
	}
	ck_assert_uint_eq(blocks(), 1);
	ck_assert_uint_eq(asked(), 3);
}
END_TEST

START_TEST(a_pass_ends_with_a_block_that_is_kept)
{
	fill(p, 3);
	core_register(&w->core, &p->pool, true);
	world_give_all(w, p);
	core_release(&w->core, &p->pool, RELEASE_PRESSURE);
	for (uint32_t i = 0; i < GIVE_UP; i++)
		world_pass_ticks(w, 1);
	ck_assert_uint_eq(blocks(), 4);
	ck_assert_uint_eq(p->pool.to_release, 0);
}
END_TEST

START_TEST(a_pool_that_is_closed_while_it_is_asked_leaves_nothing)
{
	have_asked(1);
	world_close(w, p);
	ck_assert_uint_eq(w->core.committed, 0);
	p = world_open(w, 4, 4, 64);
}
END_TEST

/* The arbiter dies with a question out: the next one must not take the block unasked, nor
 * the answer for one of its own. */
START_TEST(another_arbiter_knows_that_it_has_to_ask)
{
	static struct world next;
	struct world_pool *q;
	uint32_t first;

	have_asked(1);
	first = p->record->asks;
	world_init(&next, WORLD_HOST_WALL);
	next.core.params = w->core.params;
	q = world_adopt(&next, p, false);
	world_settle(&next);
	ck_assert_int_eq(q->pool.phase, POOL_STEADY);
	ck_assert_uint_eq(q->pool.pinned, 8);
	core_gave_up(&next.core, &q->pool, 4 * CHUNK_SIZE, first);
	ck_assert_uint_eq(next.unpins, 0);
	for (uint32_t i = 0; i < MUCH && q->told[CORE_ASKED] == 0; i++)
		world_pass_ticks(&next, 1);
	ck_assert_int_eq(q->pool.phase, POOL_ASKED);
	core_gave_up(&next.core, &q->pool, 4 * CHUNK_SIZE, first);
	ck_assert_int_eq(q->pool.phase, POOL_ASKED);
	core_gave_up(&next.core, &q->pool, 4 * CHUNK_SIZE, q->record->asks);
	world_settle(&next);
	ck_assert_uint_eq(pool_blocks(&q->pool), 1);
	world_check(&next);
	world_fini(&next);
}
END_TEST

/* Two pools of two users fill the host; the one that registers has an empty block. */
static struct world_pool *
someone_starves(uint64_t *tagp)
{
	struct pool_limits limits = world_limits(4, 4, 64);
	struct world_pool *other;

	limits.uid = 1;
	other = world_open_with(w, &limits);
	fill(p, 2);
	w->core.params.host_wall = w->core.committed;
	core_register(&w->core, &p->pool, true);
	world_give_all(w, p);
	while (world_take(other, CHUNK_SIZE))
		;
	*tagp = world_ask(w, other, CHUNK_SIZE, 1, -1);
	world_settle(w);
	return other;
}

START_TEST(somebody_who_starves_gets_what_was_given_up)
{
	struct world_pool *other;
	uint64_t tag;

	other = someone_starves(&tag);
	ck_assert_uint_eq(asked(), 1);
	ck_assert_int_eq(world_request(other, tag)->state, WORLD_ASKED);
	give_up(8, p->record->asks);
	world_answer_all(w);
	ck_assert_int_eq(world_request(other, tag)->state, WORLD_USED);
}
END_TEST

START_TEST(one_that_does_not_answer_harms_as_one_that_uses_its_memory)
{
	struct pool_limits limits = world_limits(4, 4, 64);
	struct world_pool *other, *third;
	uint64_t tag;

	limits.uid = 2;
	third = world_open_with(w, &limits);
	fill(third, 1);
	other = someone_starves(&tag);
	world_pass_ticks(w, MUCH);
	ck_assert_uint_ge(p->record->kept, 1);
	ck_assert_int_eq(world_request(other, tag)->state, WORLD_ASKED);
	world_give_all(w, third); /* somebody else can help */
	world_pass_ticks(w, 2 * PERIOD);
	world_answer_all(w);
	ck_assert_int_eq(world_request(other, tag)->state, WORLD_USED);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("registered");
	TCase *t = tcase_create("registered");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, nobody_is_asked_who_registers_nothing);
	tcase_add_test(t, a_block_is_asked_back_and_goes_when_it_was_given_up);
	tcase_add_test(
	    t, one_that_never_answers_has_its_block_again_and_is_asked_a_period_later);
	tcase_add_test(t, a_kept_block_serves_as_before);
	tcase_add_test(t, what_was_not_asked_is_not_given_up);
	tcase_add_test(t, an_answer_given_twice_counts_once);
	tcase_add_test(t, a_late_answer_is_none_to_the_next_question);
	tcase_add_test(t, what_a_pool_needs_itself_is_not_asked_back);
	tcase_add_test(t, what_the_closed_block_could_not_serve_waits_for_the_answer);
	tcase_add_test(t, a_client_that_is_not_listened_to_keeps_what_it_registered);
	tcase_add_test(t, who_registers_nothing_any_more_has_given_up);
	tcase_add_test(t, several_blocks_of_a_pass_are_asked_one_after_the_other);
	tcase_add_test(t, a_pass_ends_with_a_block_that_is_kept);
	tcase_add_test(t, a_pool_that_is_closed_while_it_is_asked_leaves_nothing);
	tcase_add_test(t, another_arbiter_knows_that_it_has_to_ask);
	tcase_add_test(t, somebody_who_starves_gets_what_was_given_up);
	tcase_add_test(t, one_that_does_not_answer_harms_as_one_that_uses_its_memory);
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
