/* SPDX-License-Identifier: ISC */

/* The core in a fake world: opening, requests, growth, walls, deadlines, deaths. */
#include "daemon/core.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>

#include "tests/world.h"

#define CHUNKS(n) ((n)*CHUNK_SIZE)
#define FOR_EVER  (-1)

static struct world world, *const w = &world;

static void
setup(void)
{
	world_init(w, WORLD_HOST_WALL);
}

static void
teardown(void)
{
	world_check(w);
	world_fini(w);
}

static struct world_pool *
open_pool(uint32_t base, uint32_t add, uint32_t wall)
{
	struct world_pool *p = world_open(w, base, add, wall);

	ck_assert_ptr_nonnull(p);
	ck_assert(p->opened);
	return p;
}

/* A pool with no frame free. */
static struct world_pool *
open_full_pool(uint32_t base, uint32_t add, uint32_t wall)
{
	struct world_pool *p = open_pool(base, add, wall);

	while (world_take(p, CHUNK_SIZE))
		;
	return p;
}

static enum world_state
state(const struct world_pool *p, uint64_t tag)
{
	return world_request(p, tag)->state;
}

static void
must_be_refused(const struct world_pool *p, uint64_t tag, int error)
{
	ck_assert_int_eq(state(p, tag), WORLD_REFUSED);
	ck_assert_int_eq(world_request(p, tag)->error, error);
}

static void
set_host_wall(uint64_t bytes)
{
	struct core_params params = w->core.params;

	params.host_wall = bytes;
	core_set_params(&w->core, &params, w->now);
}

static void
say_again(struct world_pool *p, uint64_t tag, uint64_t size)
{
	struct proto_alloc alloc = { .tag = tag, .size_bytes = size, .count = 1 };

	core_request(&w->core, &p->pool, &alloc, w->now);
}

/* --- Opening --- */

START_TEST(the_base_is_pinned_at_opening_slice_by_slice)
{
	struct pool_limits limits = world_limits(10, 4, 64);
	struct world_pool *p = world_open_unsettled(w, &limits, NULL);

	for (uint32_t from = 0; from < 10; from += heap_kind_slice(HEAP_PAGE)) {
		ck_assert_int_eq(p->question, WORLD_PIN);
		ck_assert_uint_eq(p->range.from, from);
		ck_assert_uint_eq(p->range.to, from + heap_kind_slice(HEAP_PAGE) < 10
						   ? from + heap_kind_slice(HEAP_PAGE)
						   : 10);
		ck_assert_uint_eq(pool_opened(&p->pool), from);
		ck_assert(!p->opened);
		world_step(w);
		world_check(w);
	}
	ck_assert(p->opened);
	ck_assert_int_eq(p->question, WORLD_NOTHING);
	ck_assert_uint_eq(pool_blocks(&p->pool), 1);
}
END_TEST

START_TEST(pools_take_turns_at_the_keeper)
{
	struct pool_limits limits = world_limits(8, 4, 64);
	struct world_pool *a = world_open_unsettled(w, &limits, NULL);
	struct world_pool *b = world_open_unsettled(w, &limits, NULL);

	world_step(w);
	world_step(w);
	ck_assert_uint_eq(a->pinned, heap_kind_slice(HEAP_PAGE));
	ck_assert_uint_eq(b->pinned, heap_kind_slice(HEAP_PAGE));
}
END_TEST

START_TEST(a_base_has_to_fit_into_the_hosts_wall)
{
	struct pool_limits limits = world_limits(4, 4, 64);
	struct world_pool *p = open_pool(4, 4, 64);
	uint64_t charge = pool_charge(&p->pool, 4);
	int error = 0;

	ck_assert_uint_eq(w->core.committed, charge);
	set_host_wall(2 * charge - 1);
	ck_assert_ptr_null(world_open_unsettled(w, &limits, &error));
	ck_assert_int_eq(error, -ENOSPC);
	set_host_wall(2 * charge);
	ck_assert_ptr_nonnull(world_open_unsettled(w, &limits, &error));
}
END_TEST

/* What would be hurried, if it were asked for. */
static uint32_t
hurry(const struct pool_limits *limits)
{
	struct hurry h;
	uint32_t chunks = core_hurry(&w->core, &h, limits, 64);

	world_check(w);
	core_unhurry(&w->core, &h, w->now);
	world_check(w);
	return chunks;
}

START_TEST(a_base_is_hurried_where_it_is_sure_to_be_next)
{
	struct pool_limits limits = world_limits(10, 4, 64), small = limits;
	uint32_t slice = heap_kind_slice(HEAP_PAGE);
	struct core_params *params = &w->core.params;
	struct world_pool *p = open_pool(10, 4, 64);
	uint64_t charge = pool_charge(&p->pool, 10);

	small.base = CHUNKS(slice - 1);
	ck_assert_uint_eq(hurry(&limits), slice);
	ck_assert_uint_eq(hurry(&small), slice - 1);
	set_host_wall(2 * charge - 1);
	ck_assert_uint_eq(hurry(&limits), 0);
	set_host_wall(2 * charge);
	ck_assert_uint_eq(hurry(&limits), slice);
	params->user_wall = 2 * charge - 1;
	ck_assert_uint_eq(hurry(&limits), 0);
	params->user_wall = 2 * charge;
	params->user_pools = 1;
	ck_assert_uint_eq(hurry(&limits), 0);
	params->user_pools = 2;
	ck_assert_uint_eq(hurry(&limits), slice);
	limits.group_wall = CHUNKS(64);
	ck_assert_uint_eq(hurry(&limits), 0);
}
END_TEST

START_TEST(no_base_is_hurried_past_what_is_being_pinned)
{
	struct pool_limits limits = world_limits(10, 4, 64);

	ck_assert_ptr_nonnull(world_open_unsettled(w, &limits, NULL));
	ck_assert_uint_eq(hurry(&limits), 0);
	world_settle(w);
	ck_assert_uint_ne(hurry(&limits), 0);
}
END_TEST

#define STORM 8

/* Of STORM that come in one instant. */
static unsigned int
hurry_all(struct hurry *h, const struct pool_limits *limits)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < STORM; i++)
		n += core_hurry(&w->core, &h[i], limits, 64) != 0;
	world_check(w);
	return n;
}

static void
unhurry_all(struct hurry *h)
{
	for (unsigned int i = 0; i < STORM; i++)
		core_unhurry(&w->core, &h[i], w->now);
	world_check(w);
	ck_assert_uint_eq(w->core.committed, 0);
	ck_assert(LIST_EMPTY(&w->core.users));
}

START_TEST(what_is_hurried_in_one_instant_stays_within_each_limit)
{
	struct pool_limits limits = world_limits(10, 4, 64);
	uint64_t charge = CHUNKS(10) + ledger_resident(64, 10);
	struct core_params *params = &w->core.params;
	struct hurry h[STORM];

	ck_assert_uint_eq(hurry_all(h, &limits), STORM);
	ck_assert_uint_eq(w->core.committed, STORM * charge);
	unhurry_all(h);
	set_host_wall(3 * charge);
	ck_assert_uint_eq(hurry_all(h, &limits), 3);
	unhurry_all(h);
	params->user_wall = 2 * charge;
	ck_assert_uint_eq(hurry_all(h, &limits), 2);
	limits.uid = 77; /* another's is not touched by that */
	ck_assert_uint_eq(hurry(&limits), heap_kind_slice(HEAP_PAGE));
	unhurry_all(h);
	params->user_pools = 1;
	ck_assert_uint_eq(hurry_all(h, &limits), 1);
	unhurry_all(h);
}
END_TEST

START_TEST(what_was_promised_is_kept_though_the_walls_come_down)
{
	struct pool_limits limits = world_limits(10, 4, 64);
	uint64_t wall = w->core.params.host_wall;
	struct world_pool *p;
	struct hurry h;

	ck_assert_uint_ne(core_hurry(&w->core, &h, &limits, 64), 0);
	set_host_wall(1);
	w->core.params.user_wall = 1;
	ck_assert_ptr_nonnull(p = world_open_hurried(w, &limits, &h));
	ck_assert_ptr_null(h.user);
	ck_assert_uint_eq(w->core.committed, pool_charge(&p->pool, 10));
	ck_assert_uint_eq(w->core.hurried, 0);
	set_host_wall(wall);
	w->core.params.user_wall = 0;
	world_settle(w);
	world_check(w);
	ck_assert(p->opened);
}
END_TEST

START_TEST(what_is_hurried_is_not_there_for_others_until_it_is_given_back)
{
	struct pool_limits limits = world_limits(4, 4, 64);
	struct world_pool *p = open_pool(4, 4, 64);
	struct hurry h;
	uint64_t tag;

	set_host_wall(2 * pool_charge(&p->pool, 4) + CHUNKS(1));
	ck_assert_uint_ne(core_hurry(&w->core, &h, &limits, 64), 0);
	while (world_take(p, CHUNK_SIZE))
		continue;
	tag = world_ask(w, p, CHUNK_SIZE, 1, -1);
	world_settle(w);
	ck_assert_int_eq(world_request(p, tag)->state, WORLD_ASKED);
	core_unhurry(&w->core, &h, w->now);
	world_settle(w);
	ck_assert_int_eq(world_request(p, tag)->state, WORLD_TURN);
	world_check(w);
}
END_TEST

START_TEST(what_was_hurried_is_not_asked_for_again)
{
	struct pool_limits limits = world_limits(10, 4, 64);
	uint32_t slice = heap_kind_slice(HEAP_PAGE);
	struct hurry h;
	struct world_pool *p;

	ck_assert_uint_eq(core_hurry(&w->core, &h, &limits, 64), slice);
	ck_assert_ptr_nonnull(p = world_open_hurried(w, &limits, &h));
	world_check(w);
	ck_assert_uint_eq(w->pins, 0);
	world_step(w);
	ck_assert_int_eq(p->question, WORLD_PIN);
	ck_assert_uint_eq(p->range.from, slice);
	world_settle(w);
	world_check(w);
	ck_assert(p->opened);
	ck_assert_int_eq(p->open_error, 0);
}
END_TEST

START_TEST(what_was_hurried_and_cannot_be_pinned_is_told)
{
	struct pool_limits limits = world_limits(2, 4, 64);
	struct world_pool *p;
	struct hurry h;

	ck_assert_uint_eq(core_hurry(&w->core, &h, &limits, 64), 2);
	ck_assert_ptr_nonnull(p = world_open_hurried(w, &limits, &h));
	world_fail_pin(w, 1, ENOMEM);
	world_settle(w);
	ck_assert(!p->opened);
	ck_assert_int_eq(p->open_error, ENOMEM);
	world_check(w);
	world_close(w, p);
	ck_assert_uint_eq(w->core.committed, 0);
}
END_TEST

START_TEST(a_base_that_cannot_be_pinned_is_told_and_the_pool_can_be_closed)
{
	struct pool_limits limits = world_limits(8, 4, 64);
	struct world_pool *p = world_open_unsettled(w, &limits, NULL);

	world_fail_pin(
	    w, 1 + (unsigned int)_i, ENOMEM); /* the first slice, the second */
	world_settle(w);
	ck_assert(!p->opened);
	ck_assert_int_eq(p->open_error, ENOMEM);
	(void)world_ask(w, p, CHUNKS(8), 1, 0);
	world_pass_ticks(w, 3);
	world_check(w);
	world_close(w, p);
	ck_assert_uint_eq(w->core.committed, 0);
}
END_TEST

START_TEST(a_request_before_the_base_is_there_waits_for_it)
{
	struct pool_limits limits = world_limits(8, 4, 64);
	struct world_pool *p = world_open_unsettled(w, &limits, NULL);
	uint64_t small = world_ask(w, p, 1, 1, 0),
		 large = world_ask(w, p, CHUNKS(8), 1, 0);

	ck_assert_int_eq(state(p, small), WORLD_ASKED);
	world_step(w);
	ck_assert_int_eq(state(p, small), WORLD_TURN); /* from the first slice */
	ck_assert_int_eq(state(p, large), WORLD_ASKED);
	world_answer_all(w);
	ck_assert_int_eq(state(p, large), WORLD_USED); /* by growing */
}
END_TEST

/* --- Requests and growth --- */

START_TEST(what_fits_is_granted_at_once_and_the_queue_is_empty_after_done)
{
	struct world_pool *p = open_pool(4, 4, 64);
	uint64_t tag = world_ask(w, p, CHUNKS(4), 1, FOR_EVER);

	ck_assert_int_eq(state(p, tag), WORLD_TURN);
	ck_assert(ledger_queued(&p->pool.ledger));
	ck_assert(!world_take(p, 1)); /* everybody else stands behind */
	ck_assert(world_answer(w, p));
	ck_assert_int_eq(state(p, tag), WORLD_USED);
	ck_assert(!ledger_queued(&p->pool.ledger));
	ck_assert_uint_eq(pool_blocks(&p->pool), 1);
}
END_TEST

START_TEST(a_pool_grows_by_an_equal_block_when_nothing_fits)
{
	struct world_pool *p = open_full_pool(4, 6, 64);
	uint64_t tag = world_ask(w, p, 1, 1, FOR_EVER);

	ck_assert_int_eq(p->question, WORLD_PIN);
	ck_assert_uint_eq(p->pool.planned, 10);
	world_step(w);
	ck_assert_int_eq(state(p, tag), WORLD_TURN); /* as soon as its slice is open */
	world_answer_all(w);
	ck_assert_uint_eq(pool_blocks(&p->pool), 2);
	ck_assert_uint_eq(pool_opened(&p->pool), 10);
	ck_assert_uint_eq(p->held[p->nheld - 1], 4 * CHUNK_FRAMES); /* from the block */
	ck_assert_uint_eq(p->record->counters.grown, 1);
}
END_TEST

START_TEST(a_block_is_at_least_as_large_as_the_request)
{
	struct world_pool *p = open_full_pool(4, 4, 64);
	uint64_t one = world_ask(w, p, CHUNKS(16), 1, FOR_EVER), many;

	world_answer_all(w);
	ck_assert_int_eq(state(p, one), WORLD_USED);
	ck_assert_uint_eq(p->pool.planned, 20);
	many = world_ask(w, p, CHUNK_SIZE / 2, 17, FOR_EVER);
	world_answer_all(w);
	ck_assert_int_eq(state(p, many), WORLD_USED);
	ck_assert_uint_eq(p->pool.planned, 29); /* 17 halves are 9 chunks */
	ck_assert_uint_eq(p->nheld, 4 + 1 + 17);
}
END_TEST

START_TEST(a_new_block_may_continue_the_free_end_of_the_last_one)
{
	struct world_pool *p = open_pool(4, 4, 64);
	uint64_t tag;

	ck_assert(world_take(p, CHUNKS(2)));
	tag = world_ask(w, p, CHUNKS(4), 1, FOR_EVER);
	world_step(w);
	world_answer_all(w);
	ck_assert_int_eq(state(p, tag), WORLD_USED);
	ck_assert_uint_eq(p->held[1], 2 * CHUNK_FRAMES); /* across the two blocks */
}
END_TEST

START_TEST(a_rest_of_the_wall_smaller_than_a_block_stays_unused)
{
	struct world_pool *p = open_full_pool(4, 4, 11);
	uint64_t tag = world_ask(w, p, CHUNKS(4), 1, FOR_EVER);

	world_answer_all(w);
	ck_assert_int_eq(state(p, tag), WORLD_USED);
	tag = world_ask(w, p, 1, 1, FOR_EVER);
	world_answer_all(w);
	ck_assert_int_eq(state(p, tag), WORLD_ASKED);
	ck_assert_uint_eq(p->pool.planned, 8);
	world_check_quiet(w);
}
END_TEST

/* A wall raised by far: the record has room for so many blocks and no more. */
START_TEST(blocks_are_as_large_as_the_wall_needs_them_to_be_reached)
{
	const uint32_t base = 1, add = 1, wall = 2 * RECORD_BLOCKS_MAX;
	struct world_pool *p = open_full_pool(base, add, wall);

	while (p->pool.planned < wall) {
		uint64_t tag = world_ask(w, p, CHUNKS(1), 1, FOR_EVER);

		world_answer_all(w);
		ck_assert_int_eq(state(p, tag), WORLD_USED);
	}
	ck_assert_uint_eq(
	    p->record->block[1].chunks, 3); /* of 2047 chunks in 1023 blocks */
	ck_assert_uint_le(pool_blocks(&p->pool), RECORD_BLOCKS_MAX);
}
END_TEST

/* --- Order --- */

START_TEST(nobody_overtakes_not_even_a_small_one_a_large_one)
{
	struct world_pool *p = open_full_pool(4, 4, 4);
	uint64_t large, small;

	world_give(w, p, 0);
	large = world_ask(w, p, CHUNKS(2), 1, FOR_EVER);
	small = world_ask(w, p, 1, 1, FOR_EVER);
	ck_assert_int_eq(state(p, large), WORLD_ASKED);
	ck_assert_int_eq(state(p, small), WORLD_ASKED);
	world_give_all(w, p);
	ck_assert_int_eq(state(p, large), WORLD_TURN);
	ck_assert_int_eq(state(p, small), WORLD_TURN);
	ck_assert_uint_eq(p->turns[0], large);
}
END_TEST

START_TEST(requests_are_served_in_the_order_of_their_arrival)
{
	struct world_pool *p = open_full_pool(4, 4, 4);
	uint64_t tag[4];

	for (int i = 0; i < 4; i++)
		tag[i] = world_ask(w, p, CHUNK_SIZE, 1, FOR_EVER);
	for (int i = 0; i < 4; i++) {
		ck_assert_int_eq(state(p, tag[i]), WORLD_ASKED);
		world_give(w, p, 0);
		ck_assert_int_eq(state(p, tag[i]), WORLD_TURN);
		ck_assert(world_answer(w, p));
	}
}
END_TEST

START_TEST(several_turns_are_out_when_their_sum_fits)
{
	struct world_pool *p = open_pool(4, 4, 4);
	uint64_t a = world_ask(w, p, CHUNKS(2), 1, FOR_EVER);
	uint64_t b = world_ask(w, p, CHUNK_SIZE, 2, FOR_EVER);
	uint64_t c = world_ask(w, p, 1, 1, FOR_EVER);

	ck_assert_int_eq(state(p, a), WORLD_TURN);
	ck_assert_int_eq(state(p, b), WORLD_TURN);
	ck_assert_int_eq(state(p, c), WORLD_ASKED);
	ck_assert(world_answer(w, p) && world_answer(w, p));
	ck_assert_uint_eq(p->nheld, 3);
}
END_TEST

START_TEST(whoever_fails_at_a_turn_keeps_the_place)
{
	struct world_pool *p = open_pool(4, 4, 4);
	uint64_t first, second;

	first = world_ask(w, p, CHUNKS(2), 1, FOR_EVER);
	ck_assert(
	    world_take_regardless(p, CHUNKS(4))); /* looked at `queued` too early */
	second = world_ask(w, p, 1, 1, FOR_EVER);
	ck_assert(world_answer(w, p));
	ck_assert_int_eq(state(p, first), WORLD_ASKED);
	ck_assert_int_eq(state(p, second), WORLD_ASKED);
	world_give_all(w, p);
	ck_assert_uint_eq(p->turns[0], first);
	world_answer_all(w);
	ck_assert_int_eq(state(p, first), WORLD_USED);
	ck_assert_int_eq(state(p, second), WORLD_USED);
}
END_TEST

START_TEST(a_turn_that_failed_for_no_reason_is_given_again)
{
	struct world_pool *p = open_pool(4, 4, 4);
	uint64_t tag = world_ask(w, p, 1, 1, FOR_EVER);

	world_fail_turn(w, p);
	ck_assert_int_eq(state(p, tag), WORLD_TURN);
	ck_assert_uint_eq(w->grants, 2);
}
END_TEST

START_TEST(what_is_said_of_an_unknown_tag_is_ignored)
{
	struct world_pool *p = open_pool(4, 4, 4);

	core_done(&w->core, &p->pool, 77, PROTO_USED, w->now);
	core_done(&w->core, &p->pool, 77, PROTO_FAILED, w->now);
	core_cancel(&w->core, &p->pool, 77, w->now);
	ck_assert_uint_eq(w->grants + w->refusals, 0);
	ck_assert(!ledger_queued(&p->pool.ledger));
}
END_TEST

START_TEST(an_alloc_said_again_is_ignored)
{
	struct world_pool *p = open_full_pool(4, 4, 4);
	uint64_t tag = world_ask(w, p, 1, 1, FOR_EVER);

	say_again(p, tag, 1);
	say_again(p, tag, CHUNKS(99)); /* whatever it says the second time */
	ck_assert_uint_eq(p->pool.queue.length, 1);
	world_give(w, p, 0);
	ck_assert_int_eq(state(p, tag), WORLD_TURN);
	say_again(p, tag, 1);
	ck_assert_uint_eq(p->pool.queue.length, 1);
	ck_assert_uint_eq(w->grants, 1);
	ck_assert_uint_eq(w->refusals, 0);
}
END_TEST

START_TEST(a_cancelled_request_lets_the_next_one_in)
{
	struct world_pool *p = open_full_pool(4, 4, 4);
	uint64_t large, small;

	world_give(w, p, 0);
	large = world_ask(w, p, CHUNKS(2), 1, FOR_EVER);
	small = world_ask(w, p, 1, 1, FOR_EVER);
	world_cancel(w, p, large);
	must_be_refused(p, large, ECANCELED);
	ck_assert_int_eq(state(p, small), WORLD_TURN);
	ck_assert_uint_eq(p->record->counters.refused, 0);
}
END_TEST

START_TEST(a_cancelled_turn_is_over_and_what_it_reserved_goes_to_the_next)
{
	struct world_pool *p = open_pool(4, 4, 4);
	uint64_t first = world_ask(w, p, CHUNKS(4), 1, 60000);
	uint64_t second = world_ask(w, p, CHUNKS(4), 1, FOR_EVER);

	ck_assert_int_eq(state(p, first), WORLD_TURN);
	world_cancel(w, p, first);
	must_be_refused(p, first, ECANCELED);
	ck_assert_int_eq(state(p, second), WORLD_TURN);
	core_done(&w->core, &p->pool, first, PROTO_USED, w->now); /* it crossed */
	ck_assert_int_eq(state(p, second), WORLD_TURN);
}
END_TEST

START_TEST(a_client_not_listened_to_leaves_no_request_behind)
{
	struct world_pool *p = open_full_pool(4, 4, 4);

	(void)world_ask(w, p, 1, 1, 1000);
	(void)world_ask(w, p, 1, 1, FOR_EVER);
	world_drop(w, p);
	ck_assert_uint_eq(p->pool.queue.length, 0);
	ck_assert(!ledger_queued(&p->pool.ledger));
	world_pass_time(w, 2 * NS_PER_S);
	ck_assert_uint_eq(w->refusals, 0);
}
END_TEST

/* --- What is refused --- */

START_TEST(what_can_never_be_met_is_refused_at_once)
{
	struct world_pool *p = open_pool(4, 4, 10);
	uint64_t fits = world_ask(w, p, CHUNKS(8), 1, FOR_EVER);

	ck_assert_int_ne(state(p, fits), WORLD_REFUSED);
	must_be_refused(p, world_ask(w, p, CHUNKS(8) + 1, 1, FOR_EVER), EMSGSIZE);
	must_be_refused(p, world_ask(w, p, CHUNKS(10) + 1, 1, FOR_EVER), EMSGSIZE);
	must_be_refused(p, world_ask(w, p, UINT64_MAX, 1, FOR_EVER), EMSGSIZE);
	must_be_refused(p, world_ask(w, p, CHUNK_SIZE, 11, FOR_EVER), EMSGSIZE);
	must_be_refused(p, world_ask(w, p, CHUNK_SIZE - 1, 11, FOR_EVER), EMSGSIZE);
	ck_assert_int_ne(
	    state(p, world_ask(w, p, CHUNK_SIZE, 10, FOR_EVER)), WORLD_REFUSED);
	ck_assert_uint_eq(p->record->counters.refused, 5);
}
END_TEST

START_TEST(the_largest_buffer_of_a_section_binds)
{
	struct pool_limits limits = world_limits(4, 4, 64);
	struct world_pool *p;
	uint64_t tag;

	limits.max_buffer = 6 * FRAME_SIZE;
	p = world_open_unsettled(w, &limits, NULL);
	world_settle(w);
	must_be_refused(p, world_ask(w, p, 6 * FRAME_SIZE + 1, 1, FOR_EVER), EMSGSIZE);
	tag = world_ask(w, p, 6 * FRAME_SIZE, 1, FOR_EVER);
	ck_assert_int_eq(state(p, tag), WORLD_TURN);
}
END_TEST

START_TEST(whoever_would_not_wait_may_grow_the_pool)
{
	struct world_pool *p = open_full_pool(4, 4, 8);
	uint64_t tag = world_ask(w, p, CHUNKS(4), 1, 0);

	ck_assert_int_eq(state(p, tag), WORLD_ASKED);
	world_answer_all(w);
	ck_assert_int_eq(state(p, tag), WORLD_USED);
}
END_TEST

START_TEST(whoever_would_not_wait_is_refused_at_the_wall)
{
	struct world_pool *p = open_full_pool(4, 4, 7);

	must_be_refused(p, world_ask(w, p, 1, 1, 0), EAGAIN);
	ck_assert_uint_eq(p->pool.queue.length, 0);
	ck_assert_uint_eq(p->record->counters.queued, 0);
	ck_assert_uint_eq(p->record->counters.refused, 1);
}
END_TEST

START_TEST(whoever_would_not_wait_does_not_stand_behind_one_who_does)
{
	struct world_pool *p = open_full_pool(4, 4, 4);
	uint64_t waits;

	world_give(w, p, 0);
	waits = world_ask(w, p, CHUNKS(2), 1, FOR_EVER);
	must_be_refused(p, world_ask(w, p, 1, 1, 0), EAGAIN);
	ck_assert_int_eq(state(p, waits), WORLD_ASKED);
	ck_assert_uint_eq(p->record->counters.queued, 1);
}
END_TEST

START_TEST(a_pool_has_a_bounded_number_of_requests)
{
	struct world_pool *p = open_full_pool(4, 4, 4);
	uint64_t tag = 0;

	for (unsigned int i = 0; i < PROTO_REQUESTS_MAX; i++)
		tag = world_ask(w, p, 1, 1, FOR_EVER);
	ck_assert_int_eq(state(p, tag), WORLD_ASKED);
	must_be_refused(p, world_ask(w, p, 1, 1, FOR_EVER), ENOMEM);
	world_cancel(w, p, tag);
	ck_assert_int_eq(state(p, world_ask(w, p, 1, 1, FOR_EVER)), WORLD_ASKED);
	ck_assert_uint_eq(p->record->counters.queued, PROTO_REQUESTS_MAX + 1);
}
END_TEST

/* --- Deadlines --- */

START_TEST(a_deadline_ends_the_waiting_at_its_very_instant)
{
	struct world_pool *p = open_full_pool(4, 4, 4);
	struct instant due = instant_add(w->now, 100 * NS_PER_MS);
	uint64_t tag = world_ask(w, p, 1, 1, 100);

	ck_assert_int_eq(core_next_due(&w->core).ns, due.ns);
	core_run(&w->core, (struct instant){ due.ns - 1 });
	ck_assert_int_eq(state(p, tag), WORLD_ASKED);
	core_run(&w->core, due);
	must_be_refused(p, tag, ETIMEDOUT);
	ck_assert_uint_eq(p->record->counters.timeouts, 1);
	ck_assert_uint_eq(p->record->counters.refused, 0);
}
END_TEST

START_TEST(deadlines_come_in_their_order_whatever_the_order_of_the_requests)
{
	struct world_pool *p = open_full_pool(4, 4, 4);
	static const int32_t ms[] = { 300, 100, 200, 100, 400 };
	uint64_t tag[5];

	for (int i = 0; i < 5; i++)
		tag[i] = world_ask(w, p, 1, 1, ms[i]);
	for (int32_t t = 100; t <= 400; t += 100) {
		world_pass_time(w, 100 * NS_PER_MS - 1);
		for (int i = 0; i < 5; i++)
			ck_assert_int_eq(state(p, tag[i]) == WORLD_ASKED, ms[i] >= t);
		world_pass_time(w, 1);
		for (int i = 0; i < 5; i++)
			ck_assert_int_eq(state(p, tag[i]) == WORLD_ASKED, ms[i] > t);
	}
}
END_TEST

START_TEST(an_expired_head_lets_the_next_one_in)
{
	struct world_pool *p = open_full_pool(4, 4, 4);
	uint64_t large, small;

	world_give(w, p, 0);
	large = world_ask(w, p, CHUNKS(2), 1, 100);
	small = world_ask(w, p, 1, 1, 100); /* due at the same instant */
	world_pass_time(w, 100 * NS_PER_MS);
	ck_assert_int_eq(state(p, large) == WORLD_REFUSED, 1);
	ck_assert(state(p, small) == WORLD_TURN || state(p, small) == WORLD_REFUSED);
}
END_TEST

START_TEST(a_turn_has_no_deadline)
{
	struct world_pool *p = open_pool(4, 4, 4);
	uint64_t tag = world_ask(w, p, 1, 1, 100);

	world_pass_time(w, NS_PER_S);
	ck_assert_int_eq(state(p, tag), WORLD_TURN);
	world_answer_all(w);
	ck_assert_int_eq(state(p, tag), WORLD_USED);
	ck_assert_uint_eq(p->record->counters.timeouts, 0);
}
END_TEST

START_TEST(a_turn_that_failed_has_its_deadline_again)
{
	struct world_pool *p = open_pool(4, 4, 4);
	uint64_t tag = world_ask(w, p, 1, 1, 1000);

	ck_assert(world_take_regardless(p, CHUNKS(4)));
	world_pass_time(w, (1 + 998 * _i) * NS_PER_MS); /* early, late, too late */
	world_fail_turn(w, p);
	ck_assert_int_eq(state(p, tag), WORLD_ASKED);
	world_pass_time(w, 999 * NS_PER_MS);
	must_be_refused(p, tag, ETIMEDOUT);
}
END_TEST

/* --- Walls --- */

START_TEST(at_the_wall_an_empty_last_block_gives_way_to_a_larger_one)
{
	struct world_pool *p = open_full_pool(4, 4, 16);
	uint64_t tag;

	(void)world_ask(w, p, CHUNKS(4), 1, FOR_EVER);
	world_answer_all(w);
	(void)world_ask(w, p, CHUNKS(4), 1, FOR_EVER);
	world_answer_all(w);
	ck_assert_uint_eq(p->pool.planned, 12);
	tag = world_ask(w, p, CHUNKS(8), 1, FOR_EVER);
	world_answer_all(w);
	ck_assert_int_eq(state(p, tag), WORLD_ASKED); /* both blocks are used */
	world_give(w, p, p->nheld - 1);
	world_answer_all(w);
	ck_assert_int_eq(state(p, tag), WORLD_USED);
	ck_assert_uint_eq(pool_blocks(&p->pool), 3);
	ck_assert_uint_eq(p->pool.planned, 16);
	ck_assert_uint_eq(p->record->counters.released, 1);
}
END_TEST

START_TEST(no_block_gives_way_while_a_turn_is_out)
{
	struct world_pool *p = open_full_pool(4, 4, 12);
	uint64_t small, large;

	(void)world_ask(w, p, CHUNKS(4), 1, FOR_EVER);
	world_answer_all(w);
	world_give(w, p, p->nheld - 1);
	small = world_ask(w, p, 1, 1, FOR_EVER);
	large = world_ask(w, p, CHUNKS(8), 1, FOR_EVER);
	world_settle(w);
	ck_assert_int_eq(state(p, small), WORLD_TURN);
	ck_assert_uint_eq(w->unpins, 0);
	world_answer_all(w);
	ck_assert_int_eq(state(p, small), WORLD_USED);
	ck_assert_int_eq(state(p, large), WORLD_ASKED);
	world_give(w, p, p->nheld - 1); /* the small one */
	world_answer_all(w);
	ck_assert_int_eq(state(p, large), WORLD_USED);
}
END_TEST

START_TEST(an_empty_pool_serves_a_request_of_its_whole_wall)
{
	struct world_pool *p = open_pool(4, 4, 16);
	uint64_t tag;

	for (int i = 0; i < 3; i++) { /* whatever blocks it has got by then */
		tag = world_ask(w, p, CHUNKS(16), 1, 0);
		world_answer_all(w);
		ck_assert_int_eq(state(p, tag), WORLD_USED);
		world_give_all(w, p);
		world_pass_ticks(w, 1000);
	}
	tag = world_ask(w, p, CHUNK_SIZE, 16, 0);
	world_answer_all(w);
	ck_assert_int_eq(state(p, tag), WORLD_USED);
}
END_TEST

START_TEST(a_request_of_the_whole_wall_waits_until_the_pool_is_empty)
{
	struct world_pool *p = open_full_pool(4, 4, 16);
	uint64_t tag;

	(void)world_ask(w, p, CHUNKS(4), 3, FOR_EVER);
	world_answer_all(w);
	ck_assert_uint_eq(p->pool.planned, 16);
	tag = world_ask(w, p, CHUNKS(16), 1, FOR_EVER);
	while (p->nheld > 0) {
		ck_assert_int_eq(state(p, tag), WORLD_ASKED);
		world_give(w, p, 0);
		world_answer_all(w);
		world_check(w);
		if (state(p, tag) == WORLD_USED)
			break;
	}
	ck_assert_int_eq(state(p, tag), WORLD_USED);
	ck_assert_uint_eq(p->nheld, 1);
}
END_TEST

START_TEST(the_hosts_wall_binds_until_another_pool_closes)
{
	struct world_pool *a = open_full_pool(4, 4, 64), *b = open_full_pool(4, 4, 64);
	uint64_t tag;

	set_host_wall(w->core.committed + CHUNKS(4) - 1);
	tag = world_ask(w, a, 1, 1, FOR_EVER);
	must_be_refused(b, world_ask(w, b, 1, 1, 0), EAGAIN);
	world_answer_all(w);
	ck_assert_int_eq(state(a, tag), WORLD_ASKED);
	ck_assert(a->pool.place.starved);
	world_close(w, b);
	world_answer_all(w);
	ck_assert_int_eq(state(a, tag), WORLD_USED);
	ck_assert(!a->pool.place.starved);
}
END_TEST

START_TEST(the_hosts_wall_is_met_from_both_sides)
{
	struct world_pool *p = open_full_pool(4, 4, 64);
	uint64_t more = pool_charge(&p->pool, 8) - pool_charge(&p->pool, 4);
	uint64_t tag;

	set_host_wall(w->core.committed + more - 1);
	tag = world_ask(w, p, 1, 1, FOR_EVER);
	world_settle(w);
	ck_assert_int_eq(state(p, tag), WORLD_ASKED);
	set_host_wall(w->core.committed + more); /* raised: whoever starves is served */
	world_settle(w);
	ck_assert_int_eq(state(p, tag), WORLD_TURN);
}
END_TEST

START_TEST(a_block_released_elsewhere_wakes_whoever_starves)
{
	struct world_pool *a = open_full_pool(4, 4, 64), *b = open_full_pool(4, 4, 64);
	uint64_t tag;

	(void)world_ask(w, b, CHUNKS(4), 1, FOR_EVER);
	world_answer_all(w);
	set_host_wall(w->core.committed);
	tag = world_ask(w, a, 1, 1, FOR_EVER);
	world_give_all(w, b);
	world_answer_all(w);
	ck_assert_int_eq(state(a, tag), WORLD_ASKED);
	ck_assert(shrink_start(&w->core, &b->pool, RELEASE_OPERATOR));
	world_settle(w);
	ck_assert_int_eq(state(a, tag), WORLD_TURN);
}
END_TEST

START_TEST(a_growth_that_fails_elsewhere_wakes_whoever_starves)
{
	struct world_pool *a = open_full_pool(4, 4, 64), *b = open_full_pool(4, 4, 64);
	uint64_t first, second;

	set_host_wall(
	    w->core.committed + pool_charge(&a->pool, 8) - pool_charge(&a->pool, 4));
	world_fail_pin(w, 1, ENOMEM);
	first = world_ask(w, a, 1, 1, FOR_EVER);
	second = world_ask(w, b, 1, 1, FOR_EVER);
	ck_assert(b->pool.place.starved);
	world_settle(w);
	ck_assert_int_eq(state(a, first), WORLD_ASKED);
	ck_assert_int_eq(state(b, second), WORLD_TURN);
}
END_TEST

START_TEST(no_block_gives_way_to_one_that_the_host_has_no_room_for)
{
	struct world_pool *p = open_full_pool(4, 4, 16);
	uint64_t tag;

	(void)world_ask(w, p, CHUNKS(4), 1, FOR_EVER);
	world_answer_all(w);
	(void)world_ask(w, p, CHUNKS(4), 1, FOR_EVER);
	world_answer_all(w);
	world_give(w, p, p->nheld - 1);
	set_host_wall(w->core.committed);
	tag = world_ask(w, p, CHUNKS(8), 1, FOR_EVER);
	world_answer_all(w);
	ck_assert_int_eq(state(p, tag), WORLD_ASKED);
	ck_assert_uint_eq(w->unpins, 0);
	ck_assert(p->pool.place.starved);
	set_host_wall(w->core.committed + pool_charge(&p->pool, 16) -
		      pool_charge(&p->pool, 12)); /* room for what it will be then */
	world_answer_all(w);
	ck_assert_int_eq(state(p, tag), WORLD_USED);
}
END_TEST

/* --- Pins that fail, pools that go --- */

START_TEST(
    a_block_of_which_nothing_could_be_pinned_is_dropped_and_tried_at_the_next_tick)
{
	struct world_pool *p = open_full_pool(4, 8, 64);
	uint64_t before = w->core.committed, tag;

	world_fail_pin(w, 1, ENOMEM);
	tag = world_ask(w, p, 1, 1, FOR_EVER);
	world_settle(w);
	ck_assert_int_eq(state(p, tag), WORLD_ASKED);
	ck_assert_uint_eq(pool_blocks(&p->pool), 1);
	ck_assert_uint_eq(w->core.committed, before);
	core_doorbell(&w->core, &p->pool, w->now);
	ck_assert_int_eq(p->question, WORLD_NOTHING); /* not before the tick */
	world_pass_time(w, w->core.params.tick_ns - 1);
	ck_assert_int_eq(p->question, WORLD_NOTHING);
	world_pass_time(w, 1);
	ck_assert_int_eq(p->question, WORLD_PIN);
	world_settle(w);
	ck_assert_int_eq(state(p, tag), WORLD_TURN);
	ck_assert_uint_eq(p->record->counters.grown, 1);
}
END_TEST

START_TEST(a_block_that_was_pinned_in_part_stays_as_a_smaller_one)
{
	struct world_pool *p = open_full_pool(4, 8, 64);
	uint64_t tag;

	world_fail_pin(w, 2, EAGAIN);
	tag = world_ask(w, p, CHUNKS(8), 1, FOR_EVER);
	world_settle(w);
	ck_assert_int_eq(state(p, tag), WORLD_ASKED);
	ck_assert_uint_eq(pool_blocks(&p->pool), 2);
	ck_assert_uint_eq(p->pool.planned, 4 + heap_kind_slice(HEAP_PAGE));
	ck_assert_uint_eq(p->record->counters.grown, 1);
	world_pass_ticks(w, 1);
	ck_assert_int_eq(state(p, tag), WORLD_TURN);
}
END_TEST

/* A pool of large pages, of which one slice was pinned. */
static struct world_pool *
open_large_pool(uint32_t base, uint32_t add)
{
	struct pool_limits limits = world_limits(base, add, 4096);
	struct world_pool *p;

	limits.heap = HEAP_THP;
	p = world_open_with(w, &limits);
	pool_note_pages(&p->pool, HEAP_LARGE_SHIFT);
	while (world_take(p, CHUNK_SIZE))
		;
	return p;
}

START_TEST(two_slices_of_large_pages_are_under_way)
{
	uint32_t slice = heap_kind_slice_max(HEAP_THP);
	struct world_pool *p = open_large_pool(8, 4 * slice);
	uint64_t tag = world_ask(w, p, CHUNKS(4 * slice), 1, FOR_EVER);

	ck_assert_uint_eq(p->pool.slices_out, 2);
	world_step(w);
	ck_assert_uint_eq(pool_opened(&p->pool), 8 + slice);
	ck_assert_uint_eq(p->pool.slices_out, 2);
	world_step(w);
	ck_assert_uint_eq(p->pool.slices_out, 2);
	world_step(w);
	ck_assert_uint_eq(p->pool.slices_out, 1);
	world_step(w);
	ck_assert_int_eq(state(p, tag), WORLD_TURN);
	ck_assert_uint_eq(p->pool.slices_out, 0);
}
END_TEST

START_TEST(a_pool_without_a_slice_under_way_is_before_one_with_another)
{
	uint32_t slice = heap_kind_slice_max(HEAP_THP);
	struct world_pool *a = open_large_pool(8, 8 * slice),
			  *b = open_large_pool(80, slice);

	world_ask(w, a, CHUNKS(8 * slice), 1, FOR_EVER);
	ck_assert_uint_eq(a->pool.slices_out, 2);
	world_ask(w, b, CHUNKS(slice), 1, FOR_EVER);
	world_step(w);
	ck_assert_uint_eq(a->pool.slices_out, 1);
	ck_assert_uint_eq(b->pool.slices_out, 1);
}
END_TEST

/* 1: the first of two that are under way; the keeper refuses the second. 2: the second. */
START_TEST(of_two_slices_one_fails_and_the_rest_is_given_up_once)
{
	uint32_t slice = heap_kind_slice_max(HEAP_THP);
	struct world_pool *p = open_large_pool(8, 4 * slice);
	uint64_t tag;

	world_fail_pin(w, (unsigned int)_i, ENOMEM);
	tag = world_ask(w, p, CHUNKS(4 * slice), 1, FOR_EVER);
	world_settle(w);
	ck_assert_int_eq(state(p, tag), WORLD_ASKED);
	ck_assert_uint_eq(p->pool.planned, 8 + ((uint32_t)_i - 1) * slice);
	ck_assert_uint_eq(pool_blocks(&p->pool), (unsigned int)_i);
	world_check(w);
	world_pass_ticks(w, 1);
	ck_assert_int_eq(state(p, tag), WORLD_TURN);
}
END_TEST

START_TEST(a_pool_is_closed_with_two_slices_under_way)
{
	uint32_t slice = heap_kind_slice_max(HEAP_THP);
	struct world_pool *p = open_large_pool(8, 4 * slice),
			  *q = open_large_pool(8, 4 * slice);

	world_ask(w, p, CHUNKS(4 * slice), 1, FOR_EVER);
	world_ask(w, q, CHUNKS(4 * slice), 1, FOR_EVER);
	ck_assert_uint_eq(q->pool.slices_out, 0);
	world_close(w, p);
	ck_assert_uint_eq(q->pool.slices_out, 2);
	world_settle(w);
	ck_assert_uint_eq(pool_blocks(&q->pool), 2);
}
END_TEST

START_TEST(whoever_would_not_wait_is_refused_when_pinning_fails)
{
	struct world_pool *p = open_full_pool(4, 4, 64);
	uint64_t tag;

	world_fail_pin(w, 1, ENOMEM);
	tag = world_ask(w, p, 1, 1, 0);
	world_settle(w);
	must_be_refused(p, tag, EAGAIN);
	world_pass_ticks(w, 2);
	ck_assert_uint_eq(pool_blocks(&p->pool), 1);
}
END_TEST

START_TEST(a_pool_may_close_in_the_midst_of_anything)
{
	struct world_pool *p = open_full_pool(4, 8, 12);

	(void)world_ask(w, p, CHUNKS(8), 1, 1000);
	(void)world_ask(w, p, CHUNKS(8), 1, FOR_EVER);
	if (_i > 0)
		world_step(w); /* mid-growth */
	if (_i > 1)
		world_settle(w); /* a turn out */
	if (_i > 2) {
		world_fail_turn(w, p);
		world_drop(w, p);
		ck_assert(shrink_start(
		    &w->core, &p->pool, RELEASE_OPERATOR)); /* mid-release */
	}
	world_close(w, p);
	ck_assert_uint_eq(w->core.committed, 0);
	ck_assert_uint_eq(w->refusals, 0);
	world_pass_time(w, 2 * NS_PER_S);
	ck_assert_int_eq(core_next_due(&w->core).ns, INSTANT_NEVER.ns);
}
END_TEST

/* --- Ticks --- */

START_TEST(nothing_is_due_for_a_pool_that_neither_grew_nor_waits)
{
	struct world_pool *p = open_pool(4, 4, 8);

	ck_assert_int_eq(core_next_due(&w->core).ns, INSTANT_NEVER.ns);
	(void)world_ask(w, p, 1, 1, FOR_EVER);
	ck_assert_int_eq(
	    core_next_due(&w->core).ns, w->now.ns + w->core.params.tick_ns);
	world_answer_all(w);
	world_pass_ticks(w, 2);
	ck_assert_int_eq(core_next_due(&w->core).ns, INSTANT_NEVER.ns);
}
END_TEST

START_TEST(ticks_run_while_a_pool_has_an_additional_block_and_are_published)
{
	struct world_pool *p = open_full_pool(4, 4, 8);

	(void)world_ask(w, p, 1, 1, FOR_EVER);
	world_answer_all(w);
	world_pass_ticks(w, 50);
	ck_assert_uint_eq(w->core.tick, 50);
	ck_assert_uint_eq(atomic_load(&p->pool.ledger.header->tick), 50);
	ck_assert_int_ne(core_next_due(&w->core).ns, INSTANT_NEVER.ns);
}
END_TEST

START_TEST(a_lost_doorbell_is_made_good_by_the_tick)
{
	struct world_pool *p = open_full_pool(4, 4, 4);
	uint64_t tag = world_ask(w, p, 1, 1, FOR_EVER);

	ck_assert_int_eq(ledger_give(&p->pool.ledger, p->held[--p->nheld]), 0);
	ck_assert_int_eq(state(p, tag), WORLD_ASKED);
	world_pass_ticks(w, 1);
	ck_assert_int_eq(state(p, tag), WORLD_TURN);
}
END_TEST

/* --- Adoption; check_pool.c has the deaths between every two stores --- */

START_TEST(a_pool_at_rest_is_adopted_as_it_is)
{
	struct world heirs;
	struct world_pool *p = open_full_pool(4, 4, 64), *q;

	(void)world_ask(w, p, CHUNKS(3), 1, FOR_EVER);
	world_answer_all(w);
	(void)world_ask(w, p, CHUNKS(64), 1, FOR_EVER);
	world_init(&heirs, WORLD_HOST_WALL);
	q = world_adopt(&heirs, p, false);
	world_check(&heirs);
	ck_assert_int_eq(q->question, WORLD_NOTHING);
	ck_assert_uint_eq(heirs.core.committed, w->core.committed);
	ck_assert(!q->opened);                     /* it was told long ago */
	ck_assert(ledger_queued(&q->pool.ledger)); /* what waits will ask again */
	core_resumed(&heirs.core, &q->pool, heirs.now);
	world_pass_ticks(&heirs, 1);
	ck_assert(!ledger_queued(&q->pool.ledger)); /* it did not */
	ck_assert_uint_eq(pool_blocks(&q->pool), 2);
	world_fini(&heirs);
}
END_TEST

START_TEST(an_heir_goes_on_with_the_ticks_of_the_dead)
{
	struct world heirs;
	struct world_pool *p = open_full_pool(4, 4, 64), *q;

	(void)world_ask(w, p, 1, 1, FOR_EVER);
	world_answer_all(w);
	world_pass_ticks(w, 100000);
	(void)world_ask(w, p, CHUNKS(8), 1, FOR_EVER); /* a stamp of late */
	world_answer_all(w);
	world_give_all(w, p);
	world_init(&heirs, WORLD_HOST_WALL);
	q = world_adopt(&heirs, p, false);
	ck_assert_uint_eq(heirs.core.tick, w->core.tick);
	world_pass_ticks(&heirs, 600 + 2 * 120);
	ck_assert_uint_lt(pool_blocks(&q->pool), 3); /* idle blocks go in their time */
	world_fini(&heirs);
}
END_TEST

START_TEST(a_base_never_begun_or_half_pinned_is_finished_by_the_heir)
{
	struct pool_limits limits = world_limits(10, 4, 64);
	struct world_pool *p = world_open_unsettled(w, &limits, NULL), *q;
	struct world heirs;

	for (int i = 0; i < _i && i < 2; i++)
		world_step(w);
	if (_i == 0)
		atomic_store(&p->record->blocks, 0);
	world_init(&heirs, WORLD_HOST_WALL);
	q = world_adopt(&heirs, p, _i == 3); /* 3: all pinned, and nobody was told */
	atomic_store(&p->record->blocks, 1);
	ck_assert_int_eq(q->opened, _i == 3);
	world_settle(&heirs);
	ck_assert(q->opened);
	ck_assert_uint_eq(pool_opened(&q->pool), 10);
	world_check(&heirs);
	world_fini(&heirs);
}
END_TEST

/* The keeper had pinned none of them, or the first, and nobody was told. */
START_TEST(an_heir_finishes_a_block_of_which_two_slices_were_under_way)
{
	uint32_t slice = heap_kind_slice_max(HEAP_THP);
	struct world_pool *p = open_large_pool(8, 4 * slice), *q;
	struct world heirs;

	(void)world_ask(w, p, CHUNKS(4 * slice), 1, FOR_EVER);
	world_step(w);
	ck_assert_uint_eq(p->pool.slices_out, 2);
	world_init(&heirs, WORLD_HOST_WALL);
	q = world_adopt(&heirs, p, _i == 1);
	ck_assert_uint_eq(q->pinned, 8 + (1 + (uint32_t)_i) * slice);
	world_settle(&heirs);
	ck_assert_uint_eq(pool_opened(&q->pool), 8 + 4 * slice);
	world_check(&heirs);
	world_fini(&heirs);
}
END_TEST

START_TEST(an_heir_that_cannot_pin_the_base_says_so)
{
	struct pool_limits limits = world_limits(10, 4, 64);
	struct world_pool *p = world_open_unsettled(w, &limits, NULL), *q;
	struct world heirs;

	world_init(&heirs, WORLD_HOST_WALL);
	q = world_adopt(&heirs, p, false);
	world_fail_pin(&heirs, 1, ENOMEM);
	world_settle(&heirs);
	ck_assert_int_eq(q->open_error, ENOMEM);
	must_be_refused(q, world_ask(&heirs, q, 1, 1, 0), EAGAIN);
	world_fini(&heirs);
}
END_TEST

/* --- Random histories --- */

#define POOLS 4
#define STEPS 2000

static struct world_pool *pools[POOLS];

static uint32_t
below(uint32_t n)
{
	return (uint32_t)random() % n;
}

static struct world_pool *
open_any(void)
{
	uint32_t base = 1 + below(8), wall = base + below(40);

	return world_open(w, base, 1 + below(8), wall);
}

static uint64_t
any_size(const struct world_pool *p)
{
	if (below(3) > 0)
		return 1 + below((uint32_t)CHUNK_SIZE);
	return CHUNKS(1 + below(pool_wall_chunks(&p->pool) + 1));
}

static void
client_step(struct world_pool *p)
{
	static const int32_t timeouts[] = { 0, FOR_EVER, FOR_EVER, 1, 700, 100000 };

	switch (below(12)) {
	case 0:
	case 1:
	case 2:
		(void)world_ask(
		    w, p, any_size(p), 1 + below(8) / 5 * below(5), timeouts[below(6)]);
		break;
	case 3:
	case 4:
		(void)world_take(p, any_size(p));
		break;
	case 5:
		if (below(4) == 0)
			(void)world_take_regardless(p, any_size(p));
		break;
	case 6:
	case 7:
	case 8:
		if (p->nheld > 0)
			world_give(w, p, below(p->nheld));
		break;
	case 9:
		if (p->nrequests > 0)
			world_cancel(w, p, 1 + (uint64_t)below((uint32_t)p->nrequests));
		break;
	case 10:
		(void)world_answer(w, p);
		break;
	default:
		if (below(20) == 0)
			world_give_all(w, p);
		else if (p->nturns > 0 && below(3) == 0)
			world_fail_turn(w, p);
	}
}

static void
come_and_go(uint32_t i)
{
	if (pools[i] != NULL && below(3) == 0) {
		world_drop(w, pools[i]);
		return;
	}
	if (pools[i] != NULL)
		world_close(w, pools[i]);
	pools[i] = open_any();
}

/* A bare cancel of a request that has ended is a message that crossed: it must not hurt. */
static void
any_step(void)
{
	uint32_t i = below(POOLS);

	if (pools[i] != NULL && pools[i]->open_error != 0) {
		world_close(w, pools[i]);
		pools[i] = NULL;
	}
	if (pools[i] == NULL || below(200) == 0)
		come_and_go(i);
	else if (below(4) == 0)
		(void)world_step(w);
	else if (below(60) == 0)
		world_pass_time(w, (int64_t)below(2000) * NS_PER_MS);
	else if (below(400) == 0)
		world_pass_ticks(w, below(1000));
	else if (below(100) == 0)
		world_fail_pin(w, 1 + below(3), ENOMEM);
	else
		client_step(pools[i]);
}

static void
live(uint32_t steps)
{
	for (uint32_t i = 0; i < steps; i++) {
		any_step();
		world_check(w);
		if (below(40) > 0)
			continue;
		world_answer_all(w);
		world_check_quiet(w);
	}
}

/* When everything is given back, everybody is served: each request has ended. */
static void
wind_up(void)
{
	world_fail_pin(w, 0, 0);
	for (uint32_t i = 0; i < POOLS; i++) {
		if (pools[i] == NULL || pools[i]->open_error != 0)
			continue;
		do {
			world_give_all(w, pools[i]);
			world_pass_ticks(w, 2);
			world_answer_all(w);
			world_check(w);
		} while (pools[i]->nheld > 0);
		ck_assert_uint_eq(pools[i]->pool.queue.length, 0);
	}
}

static void
forget_pools(void)
{
	for (uint32_t i = 0; i < POOLS; i++)
		pools[i] = NULL;
}

START_TEST(any_history_keeps_the_invariants_and_ends_each_request_once)
{
	srandom((unsigned int)_i); /* the loop number is the seed: failures repeat */
	w->core.params.release_ticks = 1 + below(20);
	w->core.params.idle_ticks = below(40);
	forget_pools();
	live(STEPS);
	wind_up();
}
END_TEST

START_TEST(any_history_at_the_hosts_wall_keeps_the_invariants)
{
	srandom((unsigned int)_i);
	w->core.params.release_ticks = 1 + below(20);
	w->core.params.idle_ticks = below(40);
	set_host_wall(CHUNKS(20 + below(60)));
	forget_pools();
	live(STEPS);
}
END_TEST

static void
add_requests(TCase *t)
{
	tcase_add_test(
	    t, what_fits_is_granted_at_once_and_the_queue_is_empty_after_done);
	tcase_add_test(t, a_pool_grows_by_an_equal_block_when_nothing_fits);
	tcase_add_test(t, a_block_is_at_least_as_large_as_the_request);
	tcase_add_test(t, a_new_block_may_continue_the_free_end_of_the_last_one);
	tcase_add_test(t, a_rest_of_the_wall_smaller_than_a_block_stays_unused);
	tcase_add_test(t, blocks_are_as_large_as_the_wall_needs_them_to_be_reached);
	tcase_add_test(t, nobody_overtakes_not_even_a_small_one_a_large_one);
	tcase_add_test(t, requests_are_served_in_the_order_of_their_arrival);
	tcase_add_test(t, several_turns_are_out_when_their_sum_fits);
	tcase_add_test(t, whoever_fails_at_a_turn_keeps_the_place);
	tcase_add_test(t, a_turn_that_failed_for_no_reason_is_given_again);
	tcase_add_test(t, what_is_said_of_an_unknown_tag_is_ignored);
	tcase_add_test(t, an_alloc_said_again_is_ignored);
	tcase_add_test(t, a_cancelled_request_lets_the_next_one_in);
	tcase_add_test(
	    t, a_cancelled_turn_is_over_and_what_it_reserved_goes_to_the_next);
	tcase_add_test(t, a_client_not_listened_to_leaves_no_request_behind);
	tcase_add_test(t, what_can_never_be_met_is_refused_at_once);
	tcase_add_test(t, the_largest_buffer_of_a_section_binds);
	tcase_add_test(t, whoever_would_not_wait_may_grow_the_pool);
	tcase_add_test(t, whoever_would_not_wait_is_refused_at_the_wall);
	tcase_add_test(t, whoever_would_not_wait_does_not_stand_behind_one_who_does);
	tcase_add_test(t, a_pool_has_a_bounded_number_of_requests);
	tcase_add_test(t, a_deadline_ends_the_waiting_at_its_very_instant);
	tcase_add_test(
	    t, deadlines_come_in_their_order_whatever_the_order_of_the_requests);
	tcase_add_test(t, an_expired_head_lets_the_next_one_in);
	tcase_add_test(t, a_turn_has_no_deadline);
	tcase_add_loop_test(t, a_turn_that_failed_has_its_deadline_again, 0, 2);
}

static void
add_walls(TCase *t)
{
	tcase_add_test(t, at_the_wall_an_empty_last_block_gives_way_to_a_larger_one);
	tcase_add_test(t, no_block_gives_way_while_a_turn_is_out);
	tcase_add_test(t, an_empty_pool_serves_a_request_of_its_whole_wall);
	tcase_add_test(t, a_request_of_the_whole_wall_waits_until_the_pool_is_empty);
	tcase_add_test(t, the_hosts_wall_binds_until_another_pool_closes);
	tcase_add_test(t, the_hosts_wall_is_met_from_both_sides);
	tcase_add_test(t, a_block_released_elsewhere_wakes_whoever_starves);
	tcase_add_test(t, a_growth_that_fails_elsewhere_wakes_whoever_starves);
	tcase_add_test(t, no_block_gives_way_to_one_that_the_host_has_no_room_for);
	tcase_add_test(t,
	    a_block_of_which_nothing_could_be_pinned_is_dropped_and_tried_at_the_next_tick);
	tcase_add_test(t, a_block_that_was_pinned_in_part_stays_as_a_smaller_one);
	tcase_add_test(t, two_slices_of_large_pages_are_under_way);
	tcase_add_test(t, a_pool_without_a_slice_under_way_is_before_one_with_another);
	tcase_add_loop_test(
	    t, of_two_slices_one_fails_and_the_rest_is_given_up_once, 1, 3);
	tcase_add_test(t, a_pool_is_closed_with_two_slices_under_way);
	tcase_add_test(t, whoever_would_not_wait_is_refused_when_pinning_fails);
	tcase_add_loop_test(t, a_pool_may_close_in_the_midst_of_anything, 0, 4);
	tcase_add_test(t, nothing_is_due_for_a_pool_that_neither_grew_nor_waits);
	tcase_add_test(
	    t, ticks_run_while_a_pool_has_an_additional_block_and_are_published);
	tcase_add_test(t, a_lost_doorbell_is_made_good_by_the_tick);
}

static Suite *
suite(void)
{
	Suite *s = suite_create("core");
	TCase *opening = tcase_create("opening"), *requests = tcase_create("requests"),
	      *walls = tcase_create("walls"), *deaths = tcase_create("deaths"),
	      *random_use = tcase_create("random");

	tcase_add_checked_fixture(opening, setup, teardown);
	tcase_add_test(opening, the_base_is_pinned_at_opening_slice_by_slice);
	tcase_add_test(opening, pools_take_turns_at_the_keeper);
	tcase_add_test(opening, a_base_has_to_fit_into_the_hosts_wall);
	tcase_add_test(opening, a_base_is_hurried_where_it_is_sure_to_be_next);
	tcase_add_test(opening, no_base_is_hurried_past_what_is_being_pinned);
	tcase_add_test(opening, what_is_hurried_in_one_instant_stays_within_each_limit);
	tcase_add_test(opening, what_was_promised_is_kept_though_the_walls_come_down);
	tcase_add_test(
	    opening, what_is_hurried_is_not_there_for_others_until_it_is_given_back);
	tcase_add_test(opening, what_was_hurried_is_not_asked_for_again);
	tcase_add_test(opening, what_was_hurried_and_cannot_be_pinned_is_told);
	tcase_add_loop_test(opening,
	    a_base_that_cannot_be_pinned_is_told_and_the_pool_can_be_closed, 0, 2);
	tcase_add_test(opening, a_request_before_the_base_is_there_waits_for_it);

	tcase_add_checked_fixture(requests, setup, teardown);
	add_requests(requests);
	tcase_add_checked_fixture(walls, setup, teardown);
	add_walls(walls);

	tcase_add_checked_fixture(deaths, setup, teardown);
	tcase_set_timeout(deaths, 20);
	tcase_add_test(deaths, a_pool_at_rest_is_adopted_as_it_is);
	tcase_add_test(deaths, an_heir_goes_on_with_the_ticks_of_the_dead);
	tcase_add_loop_test(
	    deaths, a_base_never_begun_or_half_pinned_is_finished_by_the_heir, 0, 4);
	tcase_add_loop_test(
	    deaths, an_heir_finishes_a_block_of_which_two_slices_were_under_way, 0, 2);
	tcase_add_test(deaths, an_heir_that_cannot_pin_the_base_says_so);

	tcase_add_checked_fixture(random_use, setup, teardown);
	tcase_set_timeout(random_use, 60);
	tcase_add_loop_test(random_use,
	    any_history_keeps_the_invariants_and_ends_each_request_once, 0, 30);
	tcase_add_loop_test(
	    random_use, any_history_at_the_hosts_wall_keeps_the_invariants, 0, 20);

	suite_add_tcase(s, opening);
	suite_add_tcase(s, requests);
	suite_add_tcase(s, walls);
	suite_add_tcase(s, deaths);
	suite_add_tcase(s, random_use);
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
