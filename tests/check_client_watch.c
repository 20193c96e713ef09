/* SPDX-License-Identifier: ISC */

/* libbud: bud_watch() and bud_hint(). */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "bud.h"
#include "tests/fakebudd.h"

#define SOON 20000 /* ms */

static struct fakebudd fake;
static struct bud_pool *pool;

struct told {
	unsigned int calls;
	unsigned int events;
	uint64_t bytes;
};

static void
setup(void)
{
	fake_init(&fake, 4, 16);
	pool = fake_open(&fake);
}

static void
teardown(void)
{
	bud_close(pool);
	fake_fini(&fake);
}

static void
on_event(unsigned int event, uint64_t bytes, void *arg)
{
	struct told *t = arg;

	t->calls++;
	t->events |= event;
	t->bytes += bytes;
}

static void
on_event_unwatch(unsigned int event, uint64_t bytes, void *arg)
{
	on_event(event, bytes, arg);
	ck_assert_int_eq(bud_watch(pool, 0, NULL, NULL), 0);
}

static bool
readable(int wait_ms)
{
	struct pollfd p = { .fd = bud_fd(pool), .events = POLLIN };

	return poll(&p, 1, wait_ms) == 1;
}

static void
send_event(uint32_t event, uint64_t bytes)
{
	union proto_msg m;

	proto_init(&m, PROTO_EVENT);
	m.event.event = event;
	m.event.bytes = bytes;
	fake_send(&fake, &m);
}

static void
expect_watch(uint32_t mask)
{
	union proto_msg m;

	fake_expect(&fake, PROTO_WATCH, &m);
	ck_assert_uint_eq(m.watch.mask, mask);
}

START_TEST(watching_tells_budd_the_mask)
{
	struct told t = { 0 };

	ck_assert_int_eq(bud_watch(pool, BUD_PRESSURE | BUD_GROWN, on_event, &t), 0);
	expect_watch(BUD_PRESSURE | BUD_GROWN);
	ck_assert_int_eq(bud_watch(pool, 0, NULL, NULL), 0);
	expect_watch(0);
}
END_TEST

START_TEST(an_event_is_told_from_dispatch_alone)
{
	struct told t = { 0 };

	ck_assert_int_eq(bud_watch(pool, BUD_GROWN, on_event, &t), 0);
	send_event(BUD_GROWN, 4096);
	ck_assert(readable(SOON));
	ck_assert_uint_eq(t.calls, 0);
	ck_assert_int_eq(bud_dispatch(pool), 1);
	ck_assert_uint_eq(t.calls, 1);
	ck_assert_uint_eq(t.events, BUD_GROWN);
	ck_assert_uint_eq(t.bytes, 4096);
	ck_assert(!readable(0));
}
END_TEST

START_TEST(events_of_a_kind_that_come_together_are_told_as_one)
{
	struct told t = { 0 };

	ck_assert_int_eq(bud_watch(pool, BUD_GROWN | BUD_RELEASED, on_event, &t), 0);
	for (int i = 0; i < 10; i++)
		send_event(BUD_GROWN, 10);
	send_event(BUD_RELEASED, 7);
	ck_assert(readable(SOON));
	ck_assert_int_eq(bud_dispatch(pool), 2);
	ck_assert_uint_eq(t.events, BUD_GROWN | BUD_RELEASED);
	ck_assert_uint_eq(t.bytes, 107);
	ck_assert(!readable(0));
}
END_TEST

START_TEST(an_event_that_is_not_watched_is_passed_over)
{
	struct told t = { 0 };

	ck_assert_int_eq(bud_watch(pool, BUD_GROWN, on_event, &t), 0);
	send_event(BUD_PRESSURE, 0);
	ck_assert(readable(SOON));
	ck_assert_int_eq(bud_dispatch(pool), 0);
	ck_assert_uint_eq(t.calls, 0);
	ck_assert(!readable(0));
}
END_TEST

START_TEST(a_callback_may_end_the_watching)
{
	struct told t = { 0 };

	ck_assert_int_eq(
	    bud_watch(pool, BUD_GROWN | BUD_RELEASED, on_event_unwatch, &t), 0);
	expect_watch(BUD_GROWN | BUD_RELEASED);
	send_event(BUD_GROWN, 1);
	ck_assert(readable(SOON));
	ck_assert_int_eq(bud_dispatch(pool), 1);
	expect_watch(0);
	send_event(BUD_RELEASED, 1);
	ck_assert(readable(SOON));
	ck_assert_int_eq(bud_dispatch(pool), 0);
	ck_assert_uint_eq(t.calls, 1);
}
END_TEST

START_TEST(what_was_due_and_is_not_watched_any_more_is_not_told)
{
	struct told t = { 0 };

	ck_assert_int_eq(
	    bud_watch(pool, BUD_GROWN | BUD_RELEASED, on_event_unwatch, &t), 0);
	send_event(BUD_GROWN, 1);
	send_event(BUD_RELEASED, 1);
	ck_assert(readable(SOON));
	ck_assert_int_eq(bud_dispatch(pool), 1);
	ck_assert_uint_eq(t.calls, 1);
	ck_assert(!readable(0));
}
END_TEST

START_TEST(events_wake_a_loop_though_a_thread_reads_the_socket)
{
	struct told t = { 0 };
	struct waiter w;
	uint64_t tag;

	ck_assert_int_eq(bud_watch(pool, BUD_GROWN, on_event, &t), 0);
	expect_watch(BUD_GROWN);
	fake_queued(&fake, true);
	waiter_start(&w, pool, 4096, -1);
	tag = fake_expect_alloc(&fake, 4096);
	send_event(BUD_GROWN, 5);
	while (t.calls == 0) {
		ck_assert(readable(SOON));
		ck_assert_int_ge(bud_dispatch(pool), 0);
	}
	ck_assert_uint_eq(t.bytes, 5);
	fake_grant(&fake, tag);
	ck_assert_ptr_nonnull(waiter_join(&w));
}
END_TEST

START_TEST(a_restarted_budd_is_told_again_what_we_watch)
{
	struct told t = { 0 };

	ck_assert_int_eq(bud_watch(pool, BUD_PRESSURE, on_event, &t), 0);
	expect_watch(BUD_PRESSURE);
	fake_restarted(&fake);
	ck_assert(readable(SOON));
	ck_assert_int_eq(bud_dispatch(pool), 0);
	fake_expect(&fake, PROTO_RESUMED, NULL);
	expect_watch(BUD_PRESSURE);
}
END_TEST

START_TEST(watching_what_there_is_not_is_an_error)
{
	struct told t = { 0 };

	ck_assert_int_eq(bud_watch(pool, 8, on_event, &t), -EINVAL);
	ck_assert_int_eq(bud_watch(pool, BUD_GROWN, NULL, NULL), -EINVAL);
	fake_expect_nothing(&fake);
}
END_TEST

START_TEST(a_hint_reaches_budd)
{
	union proto_msg m;

	ck_assert_int_eq(bud_hint(pool, BUD_TRANSFER_END), 0);
	fake_expect(&fake, PROTO_HINT, &m);
	ck_assert_uint_eq(m.hint.hint, PROTO_TRANSFER_END);
	ck_assert_int_eq(bud_hint(pool, 0), -EINVAL);
	ck_assert_int_eq(bud_hint(pool, 2), -EINVAL);
	fake_expect_nothing(&fake);
}
END_TEST

START_TEST(without_budd_both_say_so)
{
	struct told t = { 0 };

	fake_hang_up(&fake);
	ck_assert(readable(SOON));
	ck_assert_int_eq(bud_dispatch(pool), 0);
	ck_assert_int_eq(bud_hint(pool, BUD_TRANSFER_END), -ENOTCONN);
	ck_assert_int_eq(bud_watch(pool, BUD_GROWN, on_event, &t), -ENOTCONN);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("client_watch");
	TCase *t = tcase_create("watch");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, watching_tells_budd_the_mask);
	tcase_add_test(t, an_event_is_told_from_dispatch_alone);
	tcase_add_test(t, events_of_a_kind_that_come_together_are_told_as_one);
	tcase_add_test(t, an_event_that_is_not_watched_is_passed_over);
	tcase_add_test(t, a_callback_may_end_the_watching);
	tcase_add_test(t, what_was_due_and_is_not_watched_any_more_is_not_told);
	tcase_add_test(t, events_wake_a_loop_though_a_thread_reads_the_socket);
	tcase_add_test(t, a_restarted_budd_is_told_again_what_we_watch);
	tcase_add_test(t, watching_what_there_is_not_is_an_error);
	tcase_add_test(t, a_hint_reaches_budd);
	tcase_add_test(t, without_budd_both_say_so);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
