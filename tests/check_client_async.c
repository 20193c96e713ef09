/* SPDX-License-Identifier: ISC */

/* libbud for event loops: bud_request(), bud_cancel(), bud_fd(), bud_dispatch(). */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bud.h"
#include "proto/wire.h"
#include "tests/fakebudd.h"

#define BASE   4u /* chunks */
#define CHUNKS 16u
#define SOON   20000 /* ms; a test that waits so long has failed */
#define FULL   2000  /* requests; more than a socket takes */

static struct fakebudd fake;
static struct bud_pool *pool;

static void
setup(void)
{
	fake_init(&fake, BASE, CHUNKS);
	pool = fake_open(&fake);
}

static void
teardown(void)
{
	bud_close(pool);
	fake_fini(&fake);
}

/* What a callback was told. */
struct answer {
	unsigned int calls;
	void *buf;
	int error;
	struct bud_request *request;
};

static void
on_granted(void *buf, int error, void *arg)
{
	struct answer *a = arg;

	a->calls++;
	a->buf = buf;
	a->error = error;
}

static void
request(struct answer *a, size_t size, int timeout_ms)
{
	*a = (struct answer){ 0 };
	ck_assert_int_eq(
	    bud_request(pool, size, timeout_ms, 0, on_granted, a, &a->request), 0);
	ck_assert_uint_eq(a->calls, 0);
}

static bool
readable(int wait_ms)
{
	struct pollfd p = { .fd = bud_fd(pool), .events = POLLIN };

	return poll(&p, 1, wait_ms) == 1;
}

/* Runs the loop of a program until the callback came. */
static void
dispatch_until(const struct answer *a)
{
	while (a->calls == 0) {
		ck_assert(readable(SOON));
		ck_assert_int_ge(bud_dispatch(pool), 0);
	}
	ck_assert_uint_eq(a->calls, 1);
}

/* --- One request --- */

START_TEST(a_request_that_can_be_met_is_told_from_dispatch_alone)
{
	struct answer a;

	ck_assert(!readable(0));
	ck_assert_int_eq(bud_dispatch(pool), 0);
	request(&a, 5000, 0);
	ck_assert(readable(0));
	ck_assert_int_eq(bud_dispatch(pool), 1);
	ck_assert_uint_eq(a.calls, 1);
	ck_assert_int_eq(a.error, 0);
	ck_assert_uint_eq(bud_usable_size(pool, a.buf), 8192);
	ck_assert(!readable(0));
	ck_assert_int_eq(bud_dispatch(pool), 0);
	fake_expect_nothing(&fake);
}
END_TEST

START_TEST(what_is_wrong_at_once_is_returned)
{
	struct answer a = { 0 };

	ck_assert_int_eq(bud_request(pool, 0, 0, 0, on_granted, &a, NULL), -EINVAL);
	ck_assert_int_eq(bud_request(pool, 1, -2, 0, on_granted, &a, NULL), -EINVAL);
	ck_assert_int_eq(bud_request(pool, 1, 0, 2, on_granted, &a, NULL), -EINVAL);
	ck_assert_int_eq(bud_request(pool, 1, 0, 0, NULL, &a, NULL), -EINVAL);
	ck_assert_int_eq(
	    bud_request(pool, SIZE_MAX, 0, 0, on_granted, &a, NULL), -EMSGSIZE);
	ck_assert_int_eq(bud_dispatch(pool), 0);
	ck_assert_uint_eq(a.calls, 0);
}
END_TEST

START_TEST(a_queued_request_is_called_back_at_its_turn)
{
	struct answer a;
	uint64_t tag;

	fake_queued(&fake, true);
	request(&a, 4096, -1);
	tag = fake_expect_alloc(&fake, 4096);
	ck_assert(!readable(0));
	fake_grant(&fake, tag);
	dispatch_until(&a);
	ck_assert_ptr_nonnull(a.buf);
	fake_expect_done(&fake, tag, PROTO_USED);
	ck_assert(!readable(0));
}
END_TEST

START_TEST(a_refused_request_is_told_why)
{
	struct answer a;

	fake_queued(&fake, true);
	request(&a, 4096, 0);
	fake_refuse(&fake, fake_expect_alloc(&fake, 4096), EAGAIN);
	dispatch_until(&a);
	ck_assert_ptr_null(a.buf);
	ck_assert_int_eq(a.error, -EAGAIN);
}
END_TEST

START_TEST(a_local_request_asks_nobody)
{
	struct answer a = { 0 };

	fake_queued(&fake, true);
	ck_assert_int_eq(
	    bud_request(pool, 4096, 0, BUD_LOCAL, on_granted, &a, NULL), 0);
	ck_assert_uint_eq(a.calls, 0);
	dispatch_until(&a);
	ck_assert_int_eq(a.error, -EAGAIN);
	fake_expect_nothing(&fake);
}
END_TEST

START_TEST(deadlines_hold_with_and_without_budd)
{
	struct answer early, late;
	uint64_t tag;
	void *bufs[BASE];

	ck_assert_int_eq(bud_allocv(pool, CHUNK_SIZE, bufs, BASE, 0), 0);
	if (_i == 1)
		fake_hang_up(&fake);
	request(&late, 4096, 30);
	request(&early, 4096, 10);
	dispatch_until(&early);
	ck_assert_uint_eq(late.calls, 0);
	dispatch_until(&late);
	ck_assert_int_eq(early.error, _i == 1 ? -ENOTCONN : -ETIMEDOUT);
	ck_assert_int_eq(late.error, early.error);
	ck_assert(!readable(0));
	if (_i == 1)
		return;
	tag = fake_expect_alloc(&fake, 4096);
	fake_expect_alloc(&fake, 4096);
	fake_expect_cancel(&fake, tag + 1);
	fake_expect_cancel(&fake, tag);
}
END_TEST

/* A deadline of a request that ended otherwise leaves nothing behind. */
START_TEST(a_deadline_that_is_no_longer_due_calls_nobody)
{
	struct answer a;
	uint64_t tag;

	fake_queued(&fake, true);
	request(&a, 4096, 20);
	tag = fake_expect_alloc(&fake, 4096);
	fake_grant(&fake, tag);
	dispatch_until(&a);
	ck_assert(!readable(40));
	ck_assert_int_eq(bud_dispatch(pool), 0);
}
END_TEST

START_TEST(requests_are_served_when_budd_goes)
{
	struct answer never_waits, waits;
	void *bufs[BASE];

	ck_assert_int_eq(bud_allocv(pool, CHUNK_SIZE, bufs, BASE, 0), 0);
	request(&never_waits, 4096, 0);
	request(&waits, 4096, -1);
	fake_hang_up(&fake);
	dispatch_until(&never_waits);
	ck_assert_int_eq(never_waits.error, -ENOTCONN);
	ck_assert(!readable(0)); /* the socket that has hung up does not keep us busy */
	bud_free(pool, bufs[2]);
	dispatch_until(&waits);
	ck_assert_ptr_eq(waits.buf, bufs[2]);
}
END_TEST

/* --- Cancelling --- */

START_TEST(a_cancelled_request_is_called_back_once)
{
	struct answer a;
	uint64_t tag;

	fake_queued(&fake, true);
	request(&a, 4096, -1);
	tag = fake_expect_alloc(&fake, 4096);
	ck_assert_int_eq(bud_cancel(a.request), 0);
	ck_assert_uint_eq(a.calls, 0);
	fake_expect_cancel(&fake, tag);
	fake_grant(&fake, tag); /* it crossed */
	dispatch_until(&a);
	ck_assert_int_eq(a.error, -ECANCELED);
	fake_expect_done(&fake, tag, PROTO_USED);
	ck_assert(fake_unused(&fake));
	ck_assert_int_eq(bud_cancel(a.request), -ENOENT);
	ck_assert_int_eq(bud_dispatch(pool), 0);
	ck_assert_uint_eq(a.calls, 1);
}
END_TEST

START_TEST(a_buffer_not_yet_told_goes_back)
{
	struct answer a;

	request(&a, 4096, -1);
	fake_queued(&fake, true);
	ck_assert_int_eq(bud_cancel(a.request), 0);
	ck_assert_int_eq(bud_cancel(a.request), 0); /* it is still to be called back */
	fake_expect(&fake, PROTO_DOORBELL, NULL);
	ck_assert(fake_unused(&fake));
	dispatch_until(&a);
	ck_assert_int_eq(a.error, -ECANCELED);
	ck_assert_ptr_null(a.buf);
}
END_TEST

START_TEST(nobodys_handle_is_not_found)
{
	ck_assert_int_eq(bud_cancel(NULL), -ENOENT);
	ck_assert_int_eq(bud_cancel((struct bud_request *)(uintptr_t)12345), -ENOENT);
}
END_TEST

START_TEST(a_cancelled_head_lets_the_next_one_in)
{
	struct answer large, small;
	void *bufs[BASE];

	/* Without budd the library itself looks who is next. */
	ck_assert_int_eq(bud_allocv(pool, CHUNK_SIZE, bufs, BASE, 0), 0);
	fake_hang_up(&fake);
	request(&large, 2 * CHUNK_SIZE, -1);
	request(&small, 4096, -1);
	bud_free(pool, bufs[0]);
	ck_assert_int_eq(bud_dispatch(pool), 0);
	ck_assert_int_eq(bud_cancel(large.request), 0);
	dispatch_until(&small);
	ck_assert_ptr_eq(small.buf, bufs[0]);
	ck_assert_uint_eq(large.calls, 1);
}
END_TEST

/* --- Callbacks that call --- */

struct chain {
	unsigned int calls;
	struct bud_request *self;
	int cancelled;
};

static void
on_chain(void *buf, int error, void *arg)
{
	struct chain *c = arg;
	void *other;

	c->calls++;
	if (error == -ECANCELED)
		return;
	ck_assert_int_eq(error, 0);
	c->cancelled = bud_cancel(c->self);
	other = bud_alloc(pool, 65536, 0);
	ck_assert_ptr_nonnull(other);
	bud_free(pool, other);
	bud_free(pool, buf);
	ck_assert_int_eq(bud_request(pool, 4096, 0, 0, on_chain, c, &c->self), 0);
}

START_TEST(a_callback_may_call_anything_and_one_round_ends)
{
	struct chain c = { 0 };

	ck_assert_int_eq(bud_request(pool, 4096, 0, 0, on_chain, &c, &c.self), 0);
	/* Each callback asks for the next one: that is for the next round. */
	ck_assert_int_eq(bud_dispatch(pool), 1);
	ck_assert_uint_eq(c.calls, 1);
	ck_assert_int_eq(c.cancelled, -ENOENT);
	ck_assert(readable(0));
	ck_assert_int_eq(bud_dispatch(pool), 1);
	ck_assert_int_eq(bud_cancel(c.self), 0);
}
END_TEST

static void
on_nested(void *buf, int error, void *arg)
{
	on_granted(buf, error, arg);
	ck_assert_int_ge(bud_dispatch(pool), 0);
}

START_TEST(a_callback_may_dispatch)
{
	struct answer a[3] = { 0 };

	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(
		    bud_request(pool, 4096, 0, 0, on_nested, &a[i], NULL), 0);
	ck_assert_int_eq(bud_dispatch(pool), 1);
	for (int i = 0; i < 3; i++)
		ck_assert_uint_eq(a[i].calls, 1);
	ck_assert_int_eq(bud_dispatch(pool), 0);
}
END_TEST

static void
on_close(void *buf, int error, void *arg)
{
	on_granted(buf, error, arg);
	bud_close(pool);
}

START_TEST(a_callback_may_close_the_pool)
{
	struct answer closer = { 0 }, rest, waiting;

	ck_assert_int_eq(bud_request(pool, 4096, 0, 0, on_close, &closer, NULL), 0);
	request(&rest, 4096, 0);
	fake_queued(&fake, true);
	request(&waiting, 4096, -1);
	ck_assert_int_eq(bud_dispatch(pool), 1);
	ck_assert_uint_eq(closer.calls, 1);
	ck_assert_uint_eq(rest.calls, 1);
	ck_assert_int_eq(rest.error, -ECANCELED);
	ck_assert_uint_eq(waiting.calls, 1);
	ck_assert_int_eq(waiting.error, -ECANCELED);
	fake_fini(&fake);
}
END_TEST

static void
on_fork(void *buf, int error, void *arg)
{
	*(pid_t *)arg = fork();
	on_granted(buf, error, &(struct answer){ 0 });
}

START_TEST(a_callback_may_fork)
{
	struct answer second;
	pid_t pid = -1;
	int status, n;

	ck_assert_int_eq(bud_request(pool, 4096, 0, 0, on_fork, &pid, NULL), 0);
	request(&second, 4096, 0);
	n = bud_dispatch(pool);
	if (pid == 0) { /* the child has no pool: the second is not called */
		bud_close(pool);
		_exit(n != 1 || second.calls != 0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	ck_assert_int_eq(n, 2);
	ck_assert_uint_eq(second.calls, 1);
}
END_TEST

START_TEST(close_runs_what_is_still_due)
{
	struct answer granted, waiting, expired;

	request(&granted, 4096, 0);
	fake_queued(&fake, true);
	request(&waiting, 4096, -1);
	request(&expired, 4096, SOON);
	bud_close(pool);
	ck_assert_uint_eq(granted.calls + waiting.calls + expired.calls, 3);
	ck_assert_int_eq(granted.error, -ECANCELED);
	ck_assert_ptr_null(granted.buf);
	ck_assert_int_eq(waiting.error, -ECANCELED);
	ck_assert_int_eq(expired.error, -ECANCELED);
	ck_assert_int_eq(bud_cancel(waiting.request), -ENOENT);
	fake_fini(&fake);
}
END_TEST

/* --- Threads and a loop together --- */

START_TEST(waiting_threads_and_a_loop_do_not_eat_each_others_turns)
{
	uint64_t tags[4], swap;
	struct waiter w[2];
	struct answer a[2];
	int j;

	srandom((unsigned int)_i);
	fake_queued(&fake, true);
	for (int i = 0; i < 2; i++) {
		waiter_start(&w[i], pool, 4096, i == 0 ? SOON : -1);
		tags[i] = fake_expect_alloc(&fake, 4096);
		request(&a[i], 8192, -1);
		tags[2 + i] = fake_expect_alloc(&fake, 8192);
	}
	for (int i = 3; i > 0; i--) {
		j = (int)random() % (i + 1);
		swap = tags[i];
		tags[i] = tags[j];
		tags[j] = swap;
	}
	for (int i = 0; i < 4; i++) {
		fake_grant(&fake, tags[i]);
		/* Not waiting for its DONE: the reader may be asleep, or we. */
		ck_assert_int_ge(bud_dispatch(pool), 0);
	}
	for (int i = 0; i < 2; i++) {
		dispatch_until(&a[i]);
		ck_assert_ptr_nonnull(a[i].buf);
	}
	for (int i = 0; i < 2; i++)
		ck_assert_ptr_nonnull(waiter_join(&w[i]));
}
END_TEST

/* --- A socket that is full --- */

static struct answer many[FULL];

static void
request_many(void)
{
	fake_queued(&fake, true);
	for (int i = 0; i < FULL; i++)
		request(&many[i], 4096, -1);
}

/* The next message, the loop running until it is there. */
static void
next_message(union proto_msg *m)
{
	struct pollfd p = { .fd = fake.conn, .events = POLLIN };
	size_t len;

	while (poll(&p, 1, 0) == 0) {
		ck_assert(readable(SOON)); /* there is room, and we know */
		ck_assert_int_eq(bud_dispatch(pool), 0);
	}
	ck_assert_int_eq(wire_recv(fake.conn, m, sizeof(*m), &len, NULL, 0), 0);
	ck_assert_int_eq(proto_check_client(m, len), 0);
}

/* Reads @n ALLOCs, which must come in the order of their tags, and DONEs between them,
 * whose tag is returned. */
static uint64_t
expect_allocs(unsigned int n, uint64_t first)
{
	uint64_t done = 0;
	union proto_msg m;

	while (n > 0) {
		next_message(&m);
		if (m.header.type == PROTO_DONE && done == 0) {
			done = m.done.tag;
			continue;
		}
		ck_assert_str_eq(proto_name(m.header.type), "ALLOC");
		ck_assert_uint_eq(m.alloc.tag, first++);
		n--;
	}
	return done;
}

static uint64_t
tag_of(const struct answer *a)
{
	return (uint64_t)(uintptr_t)a->request;
}

START_TEST(requests_beyond_a_full_socket_arrive_in_order)
{
	request_many();
	ck_assert(!readable(0)); /* no room: nothing to do */
	ck_assert_uint_eq(expect_allocs(FULL, tag_of(&many[0])), 0);
	fake_expect_nothing(&fake);
	ck_assert(!readable(0)); /* and no longer interested in room */
}
END_TEST

START_TEST(an_answer_that_a_full_socket_does_not_take_is_kept)
{
	uint64_t first = 0;

	request_many();
	first = tag_of(&many[0]);
	fake_grant(&fake, first); /* early, but budd need not wait for the others */
	ck_assert(readable(SOON));
	ck_assert_int_eq(bud_dispatch(pool), 1);
	ck_assert_int_eq(many[0].error, 0);
	ck_assert(!readable(0));
	/* It stands somewhere between the ALLOCs, and none of them is lost. */
	ck_assert_uint_eq(expect_allocs(FULL, first), first);
	fake_expect_nothing(&fake);
}
END_TEST

START_TEST(requests_beyond_budds_limit_wait_with_us)
{
	static struct answer all[PROTO_REQUESTS_MAX + 2];
	uint64_t last;

	fake_queued(&fake, true);
	for (unsigned int i = 0; i < PROTO_REQUESTS_MAX + 2; i++)
		request(&all[i], 4096, -1);
	expect_allocs(PROTO_REQUESTS_MAX, tag_of(&all[0]));
	last = tag_of(&all[PROTO_REQUESTS_MAX - 1]);
	ck_assert_int_eq(bud_dispatch(pool), 0);
	fake_expect_nothing(&fake);
	fake_refuse(&fake, last, ENOMEM);
	dispatch_until(&all[PROTO_REQUESTS_MAX - 1]);
	ck_assert_uint_eq(fake_expect_alloc(&fake, 4096), last + 1);
	fake_expect_nothing(&fake);
	/* One that budd never heard of is cancelled without a word. */
	ck_assert_int_eq(bud_cancel(all[PROTO_REQUESTS_MAX + 1].request), 0);
	fake_expect_nothing(&fake);
}
END_TEST

static Suite *
async_suite(void)
{
	Suite *s = suite_create("client: callbacks");
	TCase *tc = tcase_create("requests");

	tcase_set_timeout(tc, 10);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_request_that_can_be_met_is_told_from_dispatch_alone);
	tcase_add_test(tc, what_is_wrong_at_once_is_returned);
	tcase_add_test(tc, a_queued_request_is_called_back_at_its_turn);
	tcase_add_test(tc, a_refused_request_is_told_why);
	tcase_add_test(tc, a_local_request_asks_nobody);
	tcase_add_loop_test(tc, deadlines_hold_with_and_without_budd, 0, 2);
	tcase_add_test(tc, a_deadline_that_is_no_longer_due_calls_nobody);
	tcase_add_test(tc, requests_are_served_when_budd_goes);
	tcase_add_test(tc, a_cancelled_request_is_called_back_once);
	tcase_add_test(tc, a_buffer_not_yet_told_goes_back);
	tcase_add_test(tc, nobodys_handle_is_not_found);
	tcase_add_test(tc, a_cancelled_head_lets_the_next_one_in);
	tcase_add_test(tc, a_callback_may_call_anything_and_one_round_ends);
	tcase_add_test(tc, a_callback_may_dispatch);
	tcase_add_test(tc, a_callback_may_fork);
	tcase_add_loop_test(
	    tc, waiting_threads_and_a_loop_do_not_eat_each_others_turns, 0, 30);
	tcase_add_test(tc, requests_beyond_a_full_socket_arrive_in_order);
	tcase_add_test(tc, an_answer_that_a_full_socket_does_not_take_is_kept);
	tcase_add_test(tc, requests_beyond_budds_limit_wait_with_us);
	suite_add_tcase(s, tc);

	tc = tcase_create("end");
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, a_callback_may_close_the_pool);
	tcase_add_test(tc, close_runs_what_is_still_due);
	suite_add_tcase(s, tc);
	return s;
}

int
main(void)
{
	SRunner *sr = srunner_create(async_suite());
	int failed;

	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
