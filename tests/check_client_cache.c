/* SPDX-License-Identifier: ISC */

/* libbud's thread caches, against a budd that does what a test says. */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bud-inline.h"
#include "proto/cache.h"
#include "tests/fakebudd.h"

#define BASE   8u /* chunks, all of the memory */
#define FRAMES (BASE * 64u)

static struct fakebudd fake;
static struct bud_pool *pool;
static struct bud_inline_cache *cache; /* this thread's, once it has one */

static void
setup(void)
{
	unsetenv("BUD_DEBUG");
	fake_init_caching(&fake, BASE, BASE);
	pool = fake_open(&fake);
	cache = ledger_cache(&fake.ledger, 0);
}

static void
teardown(void)
{
	bud_close(pool);
	fake_fini(&fake);
}

static uint64_t
in_map(void)
{
	return ledger_count_free(&fake.ledger, (struct chunk_range){ 0, BASE });
}

static uint64_t
cached(void)
{
	return cached_frames(&fake.ledger, BASE, (struct chunk_range){ 0, BASE });
}

static uint64_t
used(void)
{
	struct bud_stat stat = { .size = sizeof(stat) };

	ck_assert_int_eq(bud_stat(pool, &stat), 0);
	return stat.used;
}

static void *
must_alloc(size_t size)
{
	void *buf = bud_alloc(pool, size, 0);

	ck_assert_ptr_nonnull(buf);
	return buf;
}

/* --- Hits --- */

START_TEST(what_is_freed_is_the_next_one_and_the_map_does_not_hear_of_it)
{
	void *buf = must_alloc(4096);
	uint64_t map = in_map();

	bud_free(pool, buf);
	ck_assert_uint_eq(in_map(), map);
	ck_assert_uint_eq(cached(), 1);
	ck_assert_uint_eq(used(), 0);
	ck_assert_ptr_eq(must_alloc(4096), buf);
	ck_assert_uint_eq(used(), 4096);
	fake_expect_nothing(&fake);
}
END_TEST

START_TEST(calls_and_inline_calls_mix)
{
	void *buf = must_alloc(4096);

	bud_free_inline(pool, buf);
	ck_assert_ptr_eq(bud_alloc_inline(pool, 1, 0), buf);
	bud_free(pool, buf);
	ck_assert_ptr_eq(bud_alloc_inline(pool, 4096, 0), buf);
	bud_free_inline(pool, buf);
	bud_free_inline(pool, NULL);
	ck_assert_ptr_null(bud_alloc_inline(pool, 0, 0));
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_ptr_null(bud_alloc_inline(pool, SIZE_MAX, 0));
	ck_assert_int_eq(errno, EMSGSIZE);
}
END_TEST

START_TEST(sizes_are_those_of_the_calls)
{
	for (unsigned int k = 0; k < 7; k++) {
		for (int more = -1; more <= 1; more++) {
			size_t size = ((size_t)4096 << k) + (size_t)more;
			void *buf = must_alloc(size), *again;
			size_t usable = bud_usable_size(pool, buf);

			ck_assert_uint_ge(usable, size);
			ck_assert(k == 0 || usable / 2 < size);
			bud_free_inline(pool, buf);
			again = bud_alloc_inline(pool, size, 0);
			ck_assert_uint_eq(bud_usable_size(pool, again), usable);
			bud_free_inline(pool, again);
		}
	}
}
END_TEST

START_TEST(who_holds_much_and_frees_nothing_gets_it_side_by_side)
{
	char *first = must_alloc(4096);

	/* Batches of one, two and four. */
	for (size_t i = 1; i < 7; i++)
		ck_assert_ptr_eq(must_alloc(4096), first + i * 4096);
	ck_assert_uint_eq(cached(), 0);
}
END_TEST

START_TEST(all_of_the_pool_can_be_had)
{
	static void *bufs[FRAMES];

	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < FRAMES; i++)
			bufs[i] = must_alloc(4096);
		ck_assert_uint_eq(used(), FRAMES * 4096);
		for (unsigned int i = 0; i < FRAMES; i++)
			bud_free(pool, bufs[i]);
		ck_assert_uint_eq(used(), 0);
	}
	/* ... and then, what is cached of small ones does not stand in the way. */
	ck_assert_uint_gt(cached(), 0);
	ck_assert_ptr_nonnull(must_alloc(BASE * CHUNK_SIZE));
	fake_expect_nothing(&fake);
}
END_TEST

/* The arbiter writes the tick, and then tells every cache. */
static void
pass_tick(uint32_t tick)
{
	atomic_store(&fake.ledger.header->tick, tick);
	cache_raise(ledger_cache(&fake.ledger, 0), CACHE_TICK);
}

START_TEST(what_is_taken_out_of_a_cache_has_the_stamp_of_its_tick)
{
	void *buf = must_alloc(4096);

	bud_free(pool, buf);
	pass_tick(77);
	ck_assert_uint_ne(atomic_load(&ledger_chunk(&fake.ledger, 0)->stamp), 77);
	ck_assert_ptr_eq(must_alloc(4096), buf);
	ck_assert_uint_eq(atomic_load(&ledger_chunk(&fake.ledger, 0)->stamp), 77);
}
END_TEST

/* Else it could be taken again without a stamp of this tick. */
START_TEST(what_was_taken_in_another_tick_is_not_cached)
{
	void *old = must_alloc(4096), *young;

	pass_tick(77);
	young = must_alloc(4096);
	bud_free(pool, young);
	ck_assert_uint_eq(cached(), 1);
	bud_free(pool, old);
	ck_assert_uint_eq(cached(), 1);
	ck_assert_uint_eq(used(), 0);
	/* Likewise where a tick has passed that nobody told us of. */
	old = must_alloc(4096);
	atomic_store(&fake.ledger.header->tick, 78);
	bud_free(pool, must_alloc(8192));
	bud_free(pool, old);
	ck_assert_uint_eq(cached(), 2);
}
END_TEST

/* --- Somebody waits --- */

START_TEST(while_somebody_waits_a_free_goes_to_the_map_with_all_that_is_kept)
{
	void *a = must_alloc(4096), *b = must_alloc(4096);
	union proto_msg msg;

	bud_free(pool, a);
	ck_assert_uint_gt(cached(), 0);
	fake_queued(&fake, true);
	bud_free(pool, b);
	fake_expect(&fake, PROTO_DOORBELL, &msg);
	ck_assert_uint_eq(cached(), 0);
	ck_assert_uint_eq(in_map(), FRAMES);
	fake_queued(&fake, false);
	bud_free(pool, must_alloc(4096));
	ck_assert_uint_eq(cached(), 1);
}
END_TEST

START_TEST(an_owner_that_was_left_alone_in_a_hit_empties_its_cache_and_rings)
{
	void *buf = must_alloc(4096);
	union proto_msg msg;

	bud_free(pool, buf);
	fake_queued(&fake, true); /* budd found us busy */
	bud_inline_stopped(pool); /* what the end of the hit then calls */
	fake_expect(&fake, PROTO_DOORBELL, &msg);
	ck_assert_uint_eq(in_map(), FRAMES);
	ck_assert_uint_eq(cached(), 0);
	fake_queued(&fake, false);
}
END_TEST

START_TEST(while_budd_takes_from_it_the_owner_does_without)
{
	void *buf = must_alloc(4096), *other;

	bud_free(pool, buf);
	ck_assert(cache_seize(cache));
	other = must_alloc(4096);
	ck_assert_ptr_ne(other, buf);
	bud_free(pool, other);
	ck_assert_uint_eq(cached(), 1);
	cache_lower(cache, CACHE_TAKER);
	ck_assert_ptr_eq(must_alloc(4096), buf);
}
END_TEST

static void
on_buffer(void *buf, int error, void *arg)
{
	(void)buf;
	*(int *)arg = error;
}

START_TEST(who_may_not_empty_its_cache_because_of_a_taker_rings)
{
	union proto_msg msg;
	int error = 1;

	bud_free(pool, must_alloc(4096));
	fake_queued(&fake, true);
	ck_assert(cache_seize(cache)); /* and it found us in a hit */
	ck_assert_int_eq(
	    bud_request(pool, 8192, 0, BUD_LOCAL, on_buffer, &error, NULL), 0);
	fake_expect(&fake, PROTO_DOORBELL, &msg);
	cache_lower(cache, CACHE_TAKER);
	ck_assert_int_eq(bud_dispatch(pool), 1);
	ck_assert_int_eq(error, -EAGAIN);
	fake_queued(&fake, false);
}
END_TEST

START_TEST(who_gives_past_its_cache_is_seen_to_be_inside)
{
	void *buf = must_alloc(4096);
	uint32_t before, after;

	ck_assert(ledger_is_quiet(&fake.ledger, &before));
	fake_queued(&fake, true);
	bud_free(pool, buf);
	ck_assert(ledger_is_quiet(&fake.ledger, &after));
	ck_assert_uint_ne(before, after);
	fake_queued(&fake, false);
}
END_TEST

START_TEST(who_waits_for_nothing_still_answers_the_heir_of_a_dead_arbiter)
{
	struct waiter w;
	union proto_msg msg;
	uint64_t tag;
	void *buf;

	fake_queued(&fake, true);
	waiter_start(&w, pool, 4096, -1);
	tag = fake_expect_alloc(&fake, 4096);
	fake_grant(&fake, tag);
	buf = waiter_join(&w);
	ck_assert_ptr_nonnull(buf);
	fake_expect_done(&fake, tag, PROTO_USED);
	fake_restarted(&fake); /* the DONE was lost, and `queued` is still up */
	bud_free(pool, buf);
	fake_expect(&fake, PROTO_DOORBELL, &msg);
	fake_expect(&fake, PROTO_RESUMED, &msg);
	fake_queued(&fake, false);
	bud_free(pool, must_alloc(4096));
	ck_assert_uint_eq(cached(), 1);
	fake_expect_nothing(&fake);
}
END_TEST

START_TEST(a_tick_empties_a_cache_that_is_used)
{
	void *buf = must_alloc(8192);

	bud_free(pool, must_alloc(4096));
	bud_free(pool, buf);
	cache_raise(cache, CACHE_TICK);
	ck_assert_uint_gt(cached(), 0);
	buf = must_alloc(4096);
	ck_assert_uint_eq(cached(), 0);
	ck_assert_uint_eq(cache->stop, 0);
	bud_free(pool, buf);
}
END_TEST

/* --- Threads --- */

static void *
leave_some(void *arg)
{
	void *bufs[20];

	(void)arg;
	for (unsigned int i = 0; i < 20; i++)
		bufs[i] = bud_alloc(pool, 4096, 0);
	for (unsigned int i = 0; i < 20; i++)
		bud_free(pool, bufs[i]);
	return NULL;
}

START_TEST(a_thread_that_ends_gives_all_back_and_the_next_one_has_its_cache)
{
	pthread_t thread;

	for (unsigned int i = 0; i < 3 * LEDGER_CACHES; i++) {
		ck_assert_int_eq(pthread_create(&thread, NULL, leave_some, NULL), 0);
		pthread_join(thread, NULL);
		ck_assert_uint_eq(in_map(), FRAMES);
		ck_assert_uint_eq(atomic_load(&fake.ledger.header->caches_used), 1);
	}
}
END_TEST

static pthread_barrier_t together;

static void *
hold_one(void *arg)
{
	void *buf = bud_alloc(pool, 4096, 0);

	(void)arg;
	pthread_barrier_wait(&together);
	pthread_barrier_wait(&together);
	bud_free(pool, buf);
	return NULL;
}

START_TEST(threads_beyond_the_last_cache_do_without)
{
	static pthread_t threads[LEDGER_CACHES + 4];

	pthread_barrier_init(&together, NULL, LEDGER_CACHES + 5);
	for (unsigned int i = 0; i < LEDGER_CACHES + 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, hold_one, NULL), 0);
	pthread_barrier_wait(&together);
	ck_assert_uint_eq(used(), (LEDGER_CACHES + 4) * 4096);
	ck_assert_uint_eq(atomic_load(&fake.ledger.header->caches_used), LEDGER_CACHES);
	pthread_barrier_wait(&together);
	for (unsigned int i = 0; i < LEDGER_CACHES + 4; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(in_map(), FRAMES);
	pthread_barrier_destroy(&together);
}
END_TEST

START_TEST(a_pool_that_got_the_address_of_a_closed_one_is_another)
{
	struct fakebudd other;
	struct bud_pool *second;
	void *buf;

	bud_free(pool, must_alloc(4096));
	fake_init_caching(&other, BASE, BASE);
	second = fake_open(&other);
	buf = bud_alloc(second, 4096, 0);
	ck_assert_ptr_nonnull(buf);
	bud_free(second, buf);
	ck_assert_uint_eq(used(), 0);
	bud_free(pool, must_alloc(4096)); /* in turn */
	bud_close(second);
	fake_fini(&other);
	bud_free(pool, must_alloc(4096));
	ck_assert_uint_eq(cached(), 1);
}
END_TEST

START_TEST(a_child_has_no_cache)
{
	int status;
	pid_t child;

	bud_free(pool, must_alloc(4096));
	child = fork();
	if (child == 0)
		_exit(
		    bud_alloc_inline(pool, 4096, 0) == NULL && errno == EINVAL ? 0 : 1);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
}
END_TEST

/* --- Ends --- */

START_TEST(without_budd_nobody_keeps_anything)
{
	void *a = must_alloc(4096), *b = must_alloc(4096);

	bud_free(pool, a);
	fake_hang_up(&fake);
	ck_assert_ptr_null(bud_alloc(pool, BASE * CHUNK_SIZE, 50)); /* finds out */
	ck_assert_int_eq(errno, ENOTCONN);
	ck_assert_uint_eq(cached(), 0);
	bud_free(pool, b);
	ck_assert_uint_eq(in_map(), FRAMES);
	ck_assert_ptr_nonnull(must_alloc(BASE * CHUNK_SIZE));
}
END_TEST

/* Each ends the process with SIGABRT. */
START_TEST(a_double_free_is_found_when_the_cache_empties)
{
	void *a = must_alloc(4096), *b = must_alloc(4096);

	bud_free(pool, a);
	bud_free(pool, b);
	bud_free(pool, a);
	cache_raise(cache, CACHE_TICK);
	bud_free(pool, must_alloc(8192));
}
END_TEST

START_TEST(with_bud_debug_each_is_found_at_once)
{
	struct fakebudd other;
	struct bud_pool *careful;
	void *a, *b;

	setenv("BUD_DEBUG", "1", 1);
	fake_init_caching(&other, BASE, BASE);
	careful = fake_open(&other);
	a = bud_alloc(careful, 4096, 0);
	b = bud_alloc(careful, 4096, 0);
	bud_free(careful, a);
	bud_free(careful, b);
	bud_free(careful, a);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("client cache");
	TCase *t = tcase_create("cache");

	tcase_set_timeout(t, 30);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(
	    t, what_is_freed_is_the_next_one_and_the_map_does_not_hear_of_it);
	tcase_add_test(t, calls_and_inline_calls_mix);
	tcase_add_test(t, sizes_are_those_of_the_calls);
	tcase_add_test(t, who_holds_much_and_frees_nothing_gets_it_side_by_side);
	tcase_add_test(t, all_of_the_pool_can_be_had);
	tcase_add_test(t, what_is_taken_out_of_a_cache_has_the_stamp_of_its_tick);
	tcase_add_test(t, what_was_taken_in_another_tick_is_not_cached);
	tcase_add_test(
	    t, while_somebody_waits_a_free_goes_to_the_map_with_all_that_is_kept);
	tcase_add_test(
	    t, an_owner_that_was_left_alone_in_a_hit_empties_its_cache_and_rings);
	tcase_add_test(t, while_budd_takes_from_it_the_owner_does_without);
	tcase_add_test(t, who_may_not_empty_its_cache_because_of_a_taker_rings);
	tcase_add_test(t, who_gives_past_its_cache_is_seen_to_be_inside);
	tcase_add_test(
	    t, who_waits_for_nothing_still_answers_the_heir_of_a_dead_arbiter);
	tcase_add_test(t, a_tick_empties_a_cache_that_is_used);
	tcase_add_test(
	    t, a_thread_that_ends_gives_all_back_and_the_next_one_has_its_cache);
	tcase_add_test(t, threads_beyond_the_last_cache_do_without);
	tcase_add_test(t, a_pool_that_got_the_address_of_a_closed_one_is_another);
	tcase_add_test(t, a_child_has_no_cache);
	tcase_add_test(t, without_budd_nobody_keeps_anything);
	tcase_add_test_raise_signal(
	    t, a_double_free_is_found_when_the_cache_empties, SIGABRT);
	tcase_add_test_raise_signal(t, with_bud_debug_each_is_found_at_once, SIGABRT);
	suite_add_tcase(s, t);
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
