/* SPDX-License-Identifier: ISC */

/* Thread caches: the owner's side, what budd takes, and what a death leaves behind. Threads
 * are played: a test does what one would do, up to whatever point. */
#include <check.h>
#include <stdlib.h>

#include "daemon/caches.h"
#include "proto/cache.h"
#include "tests/world.h"

#define BASE 4u /* chunks */
#define ADD  4u
#define WALL 64u /* 16 MiB: 4 KiB x 64 would be the most of one size */

static struct world w;
static struct world_pool *p;
static struct ledger *l;
static struct bud_inline_cache *cache;
static uint32_t bad;

static void
use_caches(uint32_t n)
{
	atomic_store(&l->header->caches_used, n);
	for (uint32_t i = 0; i < n; i++)
		cache_setup(ledger_cache(l, i), WALL * CHUNK_SIZE);
}

static void
setup(void)
{
	world_init(&w, 1024 * CHUNK_SIZE);
	p = world_open(&w, BASE, ADD, WALL);
	l = &p->pool.ledger;
	cache = ledger_cache(l, 0);
	use_caches(2);
}

static void
teardown(void)
{
	world_close(&w, p);
	world_fini(&w);
}

/* Fills a stack of @c to the half, as its owner would. */
static uint32_t
refill(struct bud_inline_cache *c, unsigned int order)
{
	uint32_t from = 0, n;

	ck_assert_uint_eq(cache_claim(c) & CACHE_TAKER, 0);
	n = cache_refill(l, c, order, BUD_INLINE_SLOTS, &from);
	cache_leave(c);
	return n;
}

/* @n additional blocks, and nobody holds anything. */
static void
grow_by(uint32_t n)
{
	uint32_t blocks = pool_blocks(&p->pool) + n;

	while (pool_blocks(&p->pool) < blocks) {
		while (world_take(p, CHUNK_SIZE))
			continue;
		world_ask(&w, p, CHUNK_SIZE, 1, -1);
		world_answer_all(&w);
	}
	world_give_all(&w, p);
	ck_assert_uint_eq(pool_blocks(&p->pool), blocks);
}

static enum world_state
state_of(uint64_t tag)
{
	return world_request(p, tag)->state;
}

/* Asks for all of the base, which is all of the pool. */
static uint64_t
ask_for_all(void)
{
	p->pool.limits.wall = BASE * CHUNK_SIZE;
	return world_ask(&w, p, BASE * CHUNK_SIZE, 1, -1);
}

static uint64_t
free_frames(void)
{
	return ledger_count_free(l, (struct chunk_range){ 0, pool_opened(&p->pool) });
}

/* --- The owner --- */

START_TEST(capacities_follow_the_wall)
{
	/* A 32nd of the wall is 512 KiB; one buffer at least up to a 16th, 1 MiB. */
	ck_assert_uint_eq(cache->stack[0].capacity, BUD_INLINE_SLOTS);
	ck_assert_uint_eq(cache->stack[4].capacity, 8);
	ck_assert_uint_eq(cache->stack[6].capacity, 2);
	ck_assert_uint_eq(cache->stack[8].capacity, 1);
	cache_setup(cache, CHUNK_SIZE);
	ck_assert_uint_eq(cache->stack[0].capacity, 2);
	ck_assert_uint_eq(cache->stack[2].capacity, 1);
	ck_assert_uint_eq(cache->stack[3].capacity, 0);
}
END_TEST

START_TEST(a_refill_takes_half_of_a_stack_the_lowest_address_on_top)
{
	ck_assert_uint_eq(refill(cache, 0), BUD_INLINE_SLOTS / 2);
	ck_assert_uint_eq(cache->stack[0].frame[cache->stack[0].count - 1], 0);
	ck_assert_uint_eq(free_frames(), BASE * CHUNK_FRAMES - BUD_INLINE_SLOTS / 2);
	ck_assert(ledger_check(l, BASE));       /* for the map they are buffers */
	ck_assert_uint_eq(refill(cache, 0), 0); /* it is not empty */
}
END_TEST

START_TEST(every_size_is_refilled_and_flushed)
{
	unsigned int order = (unsigned int)_i;

	ck_assert_uint_eq(refill(cache, order), (cache->stack[order].capacity + 1) / 2);
	ck_assert(ledger_check(l, BASE));
	cache_claim(cache);
	ck_assert_int_eq(cache_empty(l, cache, &bad), 0);
	cache_leave(cache);
	ck_assert_uint_eq(free_frames(), BASE * CHUNK_FRAMES);
	ck_assert(ledger_check(l, BASE));
}
END_TEST

START_TEST(a_flush_gives_the_older_ones)
{
	uint32_t newest;

	refill(cache, 0);
	newest = cache->stack[0].frame[cache->stack[0].count - 1];
	cache_claim(cache);
	ck_assert_int_eq(cache_flush(l, cache, 0, 3, &bad), 0);
	cache_leave(cache);
	ck_assert_uint_eq(cache->stack[0].count, 3);
	ck_assert_uint_eq(cache->stack[0].frame[2], newest);
	ck_assert_uint_eq(free_frames(), BASE * CHUNK_FRAMES - 3);
}
END_TEST

START_TEST(a_buffer_that_was_given_twice_is_found_when_the_cache_empties)
{
	refill(cache, 0);
	cache->stack[0].frame[4] = cache->stack[0].frame[9];
	cache_claim(cache);
	ck_assert_int_ne(cache_empty(l, cache, &bad), 0);
	ck_assert_uint_eq(bad, cache->stack[0].frame[9]);
}
END_TEST

START_TEST(a_refill_begins_where_the_last_one_ended_and_looks_below_in_the_end)
{
	uint32_t from = BASE - 1;

	cache_claim(cache);
	ck_assert_uint_eq(
	    cache_refill(l, cache, 0, BUD_INLINE_SLOTS, &from), BUD_INLINE_SLOTS / 2);
	ck_assert_uint_eq(from, BASE - 1); /* there is more in that one */
	ck_assert_uint_eq(cache->stack[0].frame[26] / CHUNK_FRAMES, BASE - 1);
	from = BASE; /* the end */
	ck_assert_uint_eq(cache_refill(l, cache, 4, BUD_INLINE_SLOTS, &from), 4);
	ck_assert_uint_lt(cache->stack[4].frame[3] / CHUNK_FRAMES, BASE - 1);
	cache_leave(cache);
}
END_TEST

START_TEST(owner_and_taker_exclude_each_other)
{
	refill(cache, 0);
	ck_assert(cache_seize(cache));
	ck_assert(!cache_seize(cache));
	ck_assert_uint_eq(cache_claim(cache) & CACHE_TAKER, CACHE_TAKER);
	ck_assert_uint_eq(cache->stop & CACHE_OWNER, 0);
	ck_assert_uint_eq(cache->entries % 2, 0); /* it is outside again */
	cache_lower(cache, CACHE_TAKER);
	ck_assert_uint_eq(cache_claim(cache), 0);
	ck_assert(!cache_seize(cache));
	ck_assert_uint_eq(cache_leave(cache), 0);
	ck_assert(cache_seize(cache));
}
END_TEST

START_TEST(a_map_is_quiet_unless_somebody_is_in_it)
{
	uint32_t before, after;

	ck_assert(ledger_is_quiet(l, &before));
	cache_claim(cache);
	ck_assert(!ledger_is_quiet(l, &after));
	cache_leave(cache);
	ck_assert(ledger_is_quiet(l, &after));
	ck_assert_uint_ne(before, after); /* somebody was there meanwhile */
	atomic_fetch_add(&l->header->entered, 1);
	ck_assert(!ledger_is_quiet(l, &after));
	atomic_fetch_add(&l->header->left, 1);
	ck_assert(ledger_is_quiet(l, &after));
}
END_TEST

/* --- budd --- */

START_TEST(what_is_cached_counts_as_free)
{
	refill(cache, 0);
	refill(ledger_cache(l, 1), 4);
	ck_assert_uint_eq(pool_used(&p->pool), 0);
	ck_assert_uint_eq(caches_frames(&p->pool), BUD_INLINE_SLOTS / 2 + 4 * 16);
}
END_TEST

START_TEST(a_waiter_gets_what_others_cache_before_the_pool_grows)
{
	uint64_t tag;

	refill(cache, 0);
	refill(ledger_cache(l, 1), 4);
	tag = world_ask(&w, p, BASE * CHUNK_SIZE, 1, -1);
	ck_assert_uint_eq(w.barriers, 1);
	ck_assert_int_eq(state_of(tag), WORLD_TURN);
	ck_assert_uint_eq(pool_blocks(&p->pool), 1);
	ck_assert_uint_eq(free_frames(), BASE * CHUNK_FRAMES);
	ck_assert_uint_eq(cache->stack[0].count, 0);
	ck_assert_uint_eq(cache->stop, CACHE_QUEUED);
}
END_TEST

START_TEST(one_that_is_busy_is_left_alone_and_taken_when_it_rings)
{
	uint64_t tag;

	refill(cache, 0);
	cache->busy = 1; /* in the midst of a hit */
	tag = ask_for_all();
	ck_assert_int_eq(state_of(tag), WORLD_ASKED);
	ck_assert_uint_eq(cache->stack[0].count, BUD_INLINE_SLOTS / 2);
	ck_assert_uint_eq(cache->stop & CACHE_TAKER, 0);
	cache->busy = 0;
	core_doorbell(&w.core, &p->pool, w.now);
	ck_assert_int_eq(state_of(tag), WORLD_TURN);
}
END_TEST

START_TEST(one_whose_owner_is_at_it_is_left_alone)
{
	refill(cache, 0);
	cache_claim(cache);
	ck_assert_int_eq(state_of(ask_for_all()), WORLD_ASKED);
	ck_assert_uint_eq(cache_leave(cache) & CACHE_QUEUED, CACHE_QUEUED);
}
END_TEST

START_TEST(nothing_is_kept_while_somebody_waits_and_again_afterwards)
{
	uint64_t tag;

	ck_assert(world_take(p, 1));
	tag = ask_for_all();
	ck_assert_uint_eq(ledger_cache(l, 1)->stop, CACHE_QUEUED);
	world_cancel(&w, p, tag);
	ck_assert_uint_eq(ledger_cache(l, 1)->stop, 0);
}
END_TEST

START_TEST(an_idle_thread_keeps_nothing_longer_than_two_ticks)
{
	grow_by(1);
	refill(cache, 0);
	world_pass_ticks(&w, 1);
	ck_assert_uint_eq(cache->stop, CACHE_TICK);
	ck_assert_uint_gt(cache->stack[0].count, 0);
	world_pass_ticks(&w, 1);
	ck_assert_uint_eq(cache->stack[0].count, 0);
	ck_assert_uint_eq(cache->stop, CACHE_TICK);
}
END_TEST

START_TEST(a_block_that_is_empty_but_for_caches_is_released)
{
	uint32_t from = BASE;

	grow_by(2);
	cache_claim(cache);
	cache_refill(l, cache, 0, BUD_INLINE_SLOTS, &from);
	cache_leave(cache);
	ck_assert_uint_ge(cache->stack[0].frame[0], BASE * CHUNK_FRAMES);
	ck_assert(caches_fill_last_block(&p->pool) || pool_blocks(&p->pool) == 3);
	from = BASE + ADD;
	cache_claim(ledger_cache(l, 1));
	cache_refill(l, ledger_cache(l, 1), 0, BUD_INLINE_SLOTS, &from);
	cache_leave(ledger_cache(l, 1));
	ck_assert(caches_fill_last_block(&p->pool));
	ck_assert_uint_gt(core_release(&w.core, &p->pool, RELEASE_PRESSURE), 0);
	world_settle(&w);
	ck_assert_uint_eq(pool_blocks(&p->pool), 1);
	ck_assert(ledger_check(l, BASE));
}
END_TEST

START_TEST(what_a_client_makes_up_is_passed_over)
{
	static const uint32_t frames[] = { 0, 1, 3, BASE * CHUNK_FRAMES,
		BASE * CHUNK_FRAMES - 1, UINT32_MAX, UINT32_MAX - 1, 1u << 31 };

	atomic_store(&l->header->caches_used, UINT32_MAX);
	for (uint32_t i = 0; i < LEDGER_CACHES; i++)
		for (unsigned int k = 0; k < BUD_INLINE_ORDERS; k++) {
			ledger_cache(l, i)->stack[k].count =
			    i % 2 == 0 ? UINT32_MAX : 54;
			for (uint32_t n = 0; n < BUD_INLINE_SLOTS; n++)
				ledger_cache(l, i)->stack[k].frame[n] =
				    frames[(i + k + n) % 8];
		}
	for (unsigned int i = 0; i < 3; i++)
		ck_assert(world_take(p, 1)); /* frame 2 is in no cache */
	ck_assert_int_eq(state_of(ask_for_all()), WORLD_ASKED);
	ck_assert_uint_le(pool_used(&p->pool), BASE * CHUNK_SIZE);
	for (uint32_t c = BASE; c < l->chunks; c++)
		ck_assert_uint_eq(atomic_load(&ledger_chunk(l, c)->free), 0);
	/* ... and costs a bounded number of barriers. */
	for (unsigned int i = 0; i < 1000; i++) {
		for (uint32_t k = 0; k < LEDGER_CACHES; k++)
			ledger_cache(l, k)->stack[0].count = 1;
		core_doorbell(&w.core, &p->pool, w.now);
	}
	ck_assert_uint_le(w.barriers, 66);
	atomic_store(&l->header->caches_used, 0);
}
END_TEST

/* All caches full of buffers that lie in the pool. */
static void
claim_what_there_is_in_every_cache(void)
{
	atomic_store(&l->header->caches_used, LEDGER_CACHES);
	for (uint32_t i = 0; i < LEDGER_CACHES; i++)
		for (unsigned int k = 0; k < BUD_INLINE_ORDERS; k++) {
			ledger_cache(l, i)->stack[k].count = BUD_INLINE_SLOTS;
			for (uint32_t n = 0; n < BUD_INLINE_SLOTS; n++)
				ledger_cache(l, i)->stack[k].frame[n] = 0;
		}
}

static uint32_t
entries_claimed(void)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < LEDGER_CACHES; i++)
		for (unsigned int k = 0; k < BUD_INLINE_ORDERS; k++)
			n += ledger_cache(l, i)->stack[k].count;
	return n;
}

START_TEST(no_more_is_read_of_caches_than_the_pool_has)
{
	struct cached walk;
	unsigned int order;
	uint32_t frame, before, read = 0;

	claim_what_there_is_in_every_cache();
	cached_begin(&walk, l, BASE);
	while (cached_next(&walk, &order, &frame))
		read += 1u << order;
	ck_assert_uint_gt(read, BASE * CHUNK_FRAMES - (1u << (BUD_INLINE_ORDERS - 1)));
	ck_assert_uint_le(read, BASE * CHUNK_FRAMES);
	ck_assert_uint_eq(caches_frames(&p->pool), read);

	/* ... or is taken out of them by one call. */
	before = entries_claimed();
	p->pool.call_in = true;
	caches_call_in(&w.core, &p->pool);
	ck_assert_uint_lt(entries_claimed(), before);
	ck_assert_uint_ge(entries_claimed(), before - BASE * CHUNK_FRAMES);
	atomic_store(&l->header->caches_used, 0);
}
END_TEST

/* The most that there can be: nothing in the map, all of it in caches. */
START_TEST(all_of_a_pool_in_caches_is_counted_and_taken)
{
	unsigned int k = 0;
	uint32_t frame, n = 0;

	use_caches(LEDGER_CACHES);
	while (ledger_take(l, k, &frame) == 0) {
		struct bud_inline_stack *s = &ledger_cache(l, n % 7)->stack[k];

		s->frame[s->count++] = frame;
		k = n++ < 7 ? k + 1 : 0; /* 1 + 2 + ... + 128, and 1 */
	}
	ck_assert_uint_eq(free_frames(), 0);
	ck_assert_uint_eq(caches_frames(&p->pool), BASE * CHUNK_FRAMES);
	ck_assert_uint_eq(pool_used(&p->pool), 0);
	ck_assert_uint_eq(caches_call_in(&w.core, &p->pool), n);
	ck_assert_uint_eq(free_frames(), BASE * CHUNK_FRAMES);
}
END_TEST

/* --- A death in the midst of taking --- */

/* The steps of take_one(), of which the first @n are done by an arbiter that then dies. */
static void
take_some_steps(uint32_t frame, unsigned int order, int n)
{
	atomic_store(
	    &p->record->taking, (uint64_t)1 << 63 | (uint64_t)order << 32 | frame);
	if (n > 0)
		ck_assert(ledger_give_begin(l, frame, order));
	if (n > 1)
		cache_drop(cache, order);
	if (n > 2)
		ledger_give_end(l, frame, order);
}

#define STEPS 4

START_TEST(a_death_at_any_step_loses_no_buffer)
{
	unsigned int order = (unsigned int)_i / STEPS;
	int steps = _i % STEPS;
	uint32_t n, frame;

	n = refill(cache, order);
	frame = cache->stack[order].frame[cache->stack[order].count - 1];
	ck_assert(cache_seize(cache));
	take_some_steps(frame, order, steps);
	ck_assert(pool_settle(&p->pool));
	ck_assert_uint_eq(atomic_load(&p->record->taking), 0);
	ck_assert_uint_eq(cache->stop, 0);
	ck_assert_uint_eq(pool_used(&p->pool), 0); /* all is free, in the map or not */
	ck_assert_uint_eq(cache->stack[order].count, steps > 1 ? n - 1 : n);
	cache_claim(cache);
	ck_assert_int_eq(
	    cache_empty(l, cache, &bad), 0); /* and nothing is there twice */
	cache_leave(cache);
	ck_assert_uint_eq(free_frames(), BASE * CHUNK_FRAMES);
	ck_assert(ledger_check(l, BASE));
}
END_TEST

START_TEST(what_was_given_and_taken_again_is_not_given_once_more)
{
	uint32_t frame, again;
	unsigned int order = (unsigned int)_i; /* of whoever took it */

	refill(cache, 0);
	frame = cache->stack[0].frame[cache->stack[0].count - 1];
	while (cache->stack[0].count > 1) { /* all but that one go back */
		cache_claim(cache);
		ck_assert_int_eq(cache_flush(l, cache, 0, 1, &bad), 0);
		cache_leave(cache);
	}
	ck_assert(cache_seize(cache));
	take_some_steps(frame, 0, 3);
	ck_assert_int_eq(ledger_take(l, order, &again), 0);
	ck_assert_uint_eq(again, 0);
	ck_assert(pool_settle(&p->pool));
	ck_assert_uint_eq(free_frames(), BASE * CHUNK_FRAMES - (1u << order));
}
END_TEST

START_TEST(a_frame_in_the_midst_of_a_larger_buffer_is_not_given)
{
	uint32_t frame = 5, taken;

	/* Frame 5 was cached, given, and taken as a part of frames 4..7. */
	for (uint32_t f = 0; f < 8; f++)
		ck_assert_int_eq(ledger_take(l, 0, &taken), 0);
	cache_claim(cache);
	cache->stack[0].frame[0] = frame;
	cache->stack[0].count = 1;
	cache_leave(cache);
	ck_assert(cache_seize(cache));
	take_some_steps(frame, 0, 3);
	ck_assert_int_eq(ledger_give(l, 4), 0);
	ck_assert_int_eq(ledger_give(l, 6), 0);
	ck_assert_int_eq(ledger_give(l, 7), 0);
	ck_assert_int_eq(ledger_take(l, 2, &taken), 0);
	ck_assert_uint_eq(taken, 4);
	ck_assert(pool_settle(&p->pool));
	ck_assert_uint_eq(atomic_load(&ledger_chunk(l, 0)->free) & 0xff, 0);
}
END_TEST

START_TEST(nothing_is_settled_while_a_thread_is_in_the_map)
{
	refill(cache, 0);
	ck_assert(cache_seize(cache));
	take_some_steps(cache->stack[0].frame[26], 0, 2);
	cache_claim(ledger_cache(l, 1));
	ck_assert(!pool_settle(&p->pool));
	ck_assert_uint_ne(atomic_load(&p->record->taking), 0);
	cache_leave(ledger_cache(l, 1));
	ck_assert(pool_settle(&p->pool));
	ck_assert_uint_eq(pool_used(&p->pool), 0);
}
END_TEST

START_TEST(a_pool_that_cannot_be_settled_serves_but_neither_grows_nor_shrinks)
{
	p->pool.phase = POOL_UNSETTLED;
	atomic_store(&p->record->doubt, 1);
	cache_claim(cache); /* a thread that stands still in the map */
	ck_assert_int_eq(state_of(world_ask(&w, p, CHUNK_SIZE, 1, -1)), WORLD_TURN);
	world_ask(&w, p, BASE * CHUNK_SIZE, 1, -1);
	world_settle(&w);
	ck_assert_uint_eq(pool_blocks(&p->pool), 1);
	ck_assert_uint_eq(core_release(&w.core, &p->pool, RELEASE_PRESSURE), 0);
	world_pass_ticks(&w, 1);
	ck_assert_int_eq(p->pool.phase, POOL_UNSETTLED);
	cache_leave(cache);
	world_pass_ticks(&w, 1);
	ck_assert_int_eq(p->pool.phase, POOL_STEADY);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("cache");
	TCase *owner = tcase_create("owner"), *budd = tcase_create("budd"),
	      *death = tcase_create("death");

	tcase_add_checked_fixture(owner, setup, teardown);
	tcase_add_test(owner, capacities_follow_the_wall);
	tcase_add_test(owner, a_refill_takes_half_of_a_stack_the_lowest_address_on_top);
	tcase_add_loop_test(
	    owner, every_size_is_refilled_and_flushed, 0, (int)BUD_INLINE_ORDERS);
	tcase_add_test(owner, a_flush_gives_the_older_ones);
	tcase_add_test(
	    owner, a_buffer_that_was_given_twice_is_found_when_the_cache_empties);
	tcase_add_test(
	    owner, a_refill_begins_where_the_last_one_ended_and_looks_below_in_the_end);
	tcase_add_test(owner, owner_and_taker_exclude_each_other);
	tcase_add_test(owner, a_map_is_quiet_unless_somebody_is_in_it);
	suite_add_tcase(s, owner);

	tcase_add_checked_fixture(budd, setup, teardown);
	tcase_add_test(budd, what_is_cached_counts_as_free);
	tcase_add_test(budd, a_waiter_gets_what_others_cache_before_the_pool_grows);
	tcase_add_test(budd, one_that_is_busy_is_left_alone_and_taken_when_it_rings);
	tcase_add_test(budd, one_whose_owner_is_at_it_is_left_alone);
	tcase_add_test(budd, nothing_is_kept_while_somebody_waits_and_again_afterwards);
	tcase_add_test(budd, an_idle_thread_keeps_nothing_longer_than_two_ticks);
	tcase_add_test(budd, a_block_that_is_empty_but_for_caches_is_released);
	tcase_add_test(budd, what_a_client_makes_up_is_passed_over);
	tcase_add_test(budd, no_more_is_read_of_caches_than_the_pool_has);
	tcase_add_test(budd, all_of_a_pool_in_caches_is_counted_and_taken);
	suite_add_tcase(s, budd);

	tcase_add_checked_fixture(death, setup, teardown);
	tcase_add_loop_test(death, a_death_at_any_step_loses_no_buffer, 0,
	    (int)BUD_INLINE_ORDERS * STEPS);
	tcase_add_loop_test(death,
	    what_was_given_and_taken_again_is_not_given_once_more, 0,
	    (int)BUD_INLINE_ORDERS);
	tcase_add_test(death, a_frame_in_the_midst_of_a_larger_buffer_is_not_given);
	tcase_add_test(death, nothing_is_settled_while_a_thread_is_in_the_map);
	tcase_add_test(
	    death, a_pool_that_cannot_be_settled_serves_but_neither_grows_nor_shrinks);
	suite_add_tcase(s, death);
	return s;
}

int
main(void)
{
	SRunner *runner = srunner_create(suite());
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
