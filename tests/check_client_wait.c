/* SPDX-License-Identifier: ISC */

/* libbud when the ledger does not have it: turns, deadlines, a budd that restarts, lies
 * or is gone; several threads. */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "bud.h"
#include "proto/wire.h"
#include "tests/fakebudd.h"

#define BASE   2u /* chunks */
#define CHUNKS 16u
#define SOON   20000 /* ms; a test that waits so long has failed */

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

static void
setup_local(void)
{
	struct bud_config c = { .size = sizeof(c), .flags = BUD_LOCAL };

	fake_init(&fake, BASE, CHUNKS);
	ck_assert_int_eq(fake_try_open(&fake, &pool, &c), 0);
}

static int64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Takes all that is open, as whole chunks. */
static void
exhaust(void **bufs)
{
	ck_assert_int_eq(bud_allocv(pool, CHUNK_SIZE, bufs, fake.opened, 0), 0);
}

static void
expect_error(int timeout_ms, int error)
{
	errno = 0;
	ck_assert_ptr_null(bud_alloc(pool, 4096, timeout_ms));
	ck_assert_int_eq(errno, error);
}

/* --- Turns --- */

START_TEST(who_finds_others_queued_asks_and_takes_at_its_turn)
{
	struct waiter w;
	uint64_t tag;

	fake_queued(&fake, true);
	waiter_start(&w, pool, 5000, SOON);
	tag = fake_expect_alloc(&fake, 5000);
	ck_assert(fake_unused(&fake)); /* though there is room, it stands behind */
	fake_grant(&fake, tag);
	fake_expect_done(&fake, tag, PROTO_USED);
	ck_assert_ptr_nonnull(waiter_join(&w));
	ck_assert_uint_eq(bud_usable_size(pool, w.buf), 8192);
}
END_TEST

START_TEST(who_finds_nothing_is_served_from_a_new_block)
{
	void *bufs[BASE];
	struct waiter w;
	uint64_t tag;

	exhaust(bufs);
	waiter_start(&w, pool, CHUNK_SIZE, SOON);
	tag = fake_expect_alloc(&fake, CHUNK_SIZE);
	fake_grow(&fake, 1);
	fake_grant(&fake, tag);
	fake_expect_done(&fake, tag, PROTO_USED);
	ck_assert_ptr_eq(waiter_join(&w), (char *)bufs[0] + BASE * CHUNK_SIZE);
}
END_TEST

START_TEST(a_turn_that_fails_keeps_its_place)
{
	void *bufs[BASE];
	struct waiter w;
	uint64_t tag;

	exhaust(bufs);
	waiter_start(&w, pool, 4096, SOON);
	tag = fake_expect_alloc(&fake, 4096);
	fake_grant(&fake, tag);
	fake_expect_done(&fake, tag, PROTO_FAILED);
	fake_queued(&fake, true);
	bud_free(pool, bufs[1]);
	fake_expect(&fake, PROTO_DOORBELL, NULL);
	fake_grant(&fake, tag);
	fake_expect_done(&fake, tag, PROTO_USED);
	ck_assert_ptr_eq(waiter_join(&w), bufs[1]);
}
END_TEST

static void *
alloc_three(void *arg)
{
	static void *bufs[3];

	(void)arg;
	return bud_allocv(pool, CHUNK_SIZE, bufs, 3, SOON) == 0 ? bufs : NULL;
}

START_TEST(a_turn_of_several_takes_all_or_none)
{
	void *bufs[BASE], *got;
	pthread_t thread;
	union proto_msg m;

	exhaust(bufs);
	ck_assert_int_eq(pthread_create(&thread, NULL, alloc_three, NULL), 0);
	fake_expect(&fake, PROTO_ALLOC, &m);
	ck_assert_uint_eq(m.alloc.count, 3);
	bud_free(pool, bufs[0]);
	bud_free(pool, bufs[1]);
	fake_grant(&fake, m.alloc.tag);
	fake_expect_done(&fake, m.alloc.tag, PROTO_FAILED);
	ck_assert(fake_unused(&fake)); /* the two were put back */
	fake_grow(&fake, 1);
	fake_grant(&fake, m.alloc.tag);
	fake_expect_done(&fake, m.alloc.tag, PROTO_USED);
	pthread_join(thread, &got);
	ck_assert_ptr_nonnull(got);
	ck_assert_uint_eq(
	    ledger_count_free(&fake.ledger, (struct chunk_range){ 0, BASE + 1 }), 0);
}
END_TEST

START_TEST(a_refusal_ends_the_wait_with_its_errno)
{
	void *bufs[BASE];
	struct waiter w;

	exhaust(bufs);
	waiter_start(&w, pool, 4096, -1);
	fake_refuse(&fake, fake_expect_alloc(&fake, 4096), EMSGSIZE);
	ck_assert_ptr_null(waiter_join(&w));
	ck_assert_int_eq(w.error, EMSGSIZE);
	fake_expect_nothing(&fake);
}
END_TEST

START_TEST(a_free_rings_only_while_somebody_queues)
{
	void *bufs[BASE];

	exhaust(bufs);
	bud_free(pool, bufs[0]);
	fake_expect_nothing(&fake);
	fake_queued(&fake, true);
	bud_free(pool, bufs[1]);
	fake_expect(&fake, PROTO_DOORBELL, NULL);
	fake_expect_nothing(&fake);
}
END_TEST

START_TEST(threads_ask_in_the_order_of_their_tags)
{
	struct waiter w[4];
	uint64_t tag, last = 0;

	fake_queued(&fake, true);
	for (int i = 0; i < 4; i++)
		waiter_start(&w[i], pool, 4096, SOON);
	for (int i = 0; i < 4; i++) {
		tag = fake_expect_alloc(&fake, 4096);
		ck_assert_uint_gt(tag, last);
		last = tag;
	}
	for (uint64_t t = last - 3; t <= last; t++)
		fake_grant(&fake, t);
	for (int i = 0; i < 4; i++)
		ck_assert_ptr_nonnull(waiter_join(&w[i]));
}
END_TEST

/* Whichever thread reads the socket: the turns come in any order, and each finds its
 * own. The reader may be the first to leave, or the last. */
START_TEST(turns_in_any_order_reach_their_threads)
{
	uint64_t tags[5], swap;
	struct waiter w[5];
	int j;

	srandom((unsigned int)_i);
	fake_queued(&fake, true);
	for (int i = 0; i < 5; i++) {
		waiter_start(&w[i], pool, FRAME_SIZE << i, -1);
		tags[i] = fake_expect_alloc(&fake, FRAME_SIZE << i);
	}
	for (int i = 4; i > 0; i--) {
		j = (int)random() % (i + 1);
		swap = tags[i];
		tags[i] = tags[j];
		tags[j] = swap;
	}
	for (int i = 0; i < 5; i++) {
		fake_grant(&fake, tags[i]);
		fake_expect_done(&fake, tags[i], PROTO_USED);
	}
	for (int i = 0; i < 5; i++) {
		ck_assert_ptr_nonnull(waiter_join(&w[i]));
		ck_assert_uint_eq(bud_usable_size(pool, w[i].buf), FRAME_SIZE << i);
	}
}
END_TEST

/* --- Deadlines --- */

START_TEST(a_deadline_is_kept_and_budd_is_told)
{
	int64_t start = now_ms();
	void *bufs[BASE];
	uint64_t tag;

	exhaust(bufs);
	expect_error(20, ETIMEDOUT);
	ck_assert_int_ge(now_ms() - start, 20);
	ck_assert_int_lt(now_ms() - start, SOON);
	tag = fake_expect_alloc(&fake, 4096);
	fake_expect_cancel(&fake, tag);
}
END_TEST

START_TEST(a_grant_that_comes_late_is_answered_and_takes_nothing)
{
	void *bufs[BASE];
	struct waiter w;
	uint64_t late, tag;

	exhaust(bufs);
	expect_error(1, ETIMEDOUT);
	late = fake_expect_alloc(&fake, 4096);
	fake_expect_cancel(&fake, late);
	bud_free(pool, bufs[0]);
	bud_free(pool, bufs[1]);
	fake_grant(&fake, late);
	fake_refuse(&fake, late, ECANCELED); /* not both, but either may come */

	fake_queued(&fake, true);
	waiter_start(&w, pool, 4096, SOON);
	tag = fake_expect_alloc(&fake, 4096);
	fake_expect_done(&fake, late, PROTO_USED);
	ck_assert(fake_unused(&fake));
	fake_grant(&fake, tag);
	fake_expect_done(&fake, tag, PROTO_USED);
	ck_assert_ptr_nonnull(waiter_join(&w));
}
END_TEST

START_TEST(a_thread_that_expires_leaves_the_socket_to_another)
{
	struct waiter brief, patient;
	uint64_t first, second;
	void *bufs[BASE];

	exhaust(bufs);
	waiter_start(&brief, pool, 4096, 20);
	first = fake_expect_alloc(&fake, 4096);
	waiter_start(&patient, pool, 8192, -1);
	second = fake_expect_alloc(&fake, 8192);
	fake_expect_cancel(&fake, first);
	ck_assert_ptr_null(waiter_join(&brief));
	ck_assert_int_eq(brief.error, ETIMEDOUT);
	bud_free(pool, bufs[0]);
	fake_grant(&fake, second);
	fake_expect_done(&fake, second, PROTO_USED);
	ck_assert_ptr_nonnull(waiter_join(&patient));
}
END_TEST

static void
on_alarm(int signo)
{
	(void)signo;
}

START_TEST(signals_do_not_end_a_wait)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct itimerval often = { { 0, 500 }, { 0, 500 } },
			 off = { { 0, 0 }, { 0, 0 } };
	void *bufs[BASE];
	int64_t start;

	exhaust(bufs);
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	start = now_ms();
	expect_error(30, ETIMEDOUT);
	ck_assert_int_ge(now_ms() - start, 30);
	setitimer(ITIMER_REAL, &off, NULL);
}
END_TEST

START_TEST(a_timeout_of_zero_asks_budd_which_may_grow)
{
	void *bufs[BASE];
	union proto_msg m;
	struct waiter w;

	exhaust(bufs);
	waiter_start(&w, pool, 4096, 0);
	fake_expect(&fake, PROTO_ALLOC, &m);
	ck_assert_int_eq(m.alloc.timeout_ms, 0);
	fake_grow(&fake, 1);
	fake_grant(&fake, m.alloc.tag);
	fake_expect_done(&fake, m.alloc.tag, PROTO_USED);
	ck_assert_ptr_nonnull(waiter_join(&w));

	waiter_start(&w, pool, CHUNK_SIZE, 0);
	fake_refuse(&fake, fake_expect_alloc(&fake, CHUNK_SIZE), EAGAIN);
	ck_assert_ptr_null(waiter_join(&w));
	ck_assert_int_eq(w.error, EAGAIN);
}
END_TEST

START_TEST(local_with_a_timeout_of_zero_asks_nobody)
{
	void *bufs[BASE];

	fake_queued(&fake, true);
	expect_error(0, EAGAIN);
	fake_queued(&fake, false);
	exhaust(bufs);
	expect_error(0, EAGAIN);
	fake_expect_nothing(&fake);
}
END_TEST

START_TEST(local_with_a_timeout_waits_as_always)
{
	struct waiter w;
	uint64_t tag;

	fake_queued(&fake, true);
	waiter_start(&w, pool, 4096, SOON);
	tag = fake_expect_alloc(&fake, 4096);
	fake_grant(&fake, tag);
	fake_expect_done(&fake, tag, PROTO_USED);
	ck_assert_ptr_nonnull(waiter_join(&w));
}
END_TEST

/* --- budd restarts, lies, goes --- */

START_TEST(restarted_has_all_that_wait_sent_again_in_order)
{
	union proto_msg m;
	struct waiter w[3];
	uint64_t tags[3];
	void *bufs[BASE];

	exhaust(bufs);
	for (int i = 0; i < 3; i++) {
		waiter_start(&w[i], pool, 4096, i == 1 ? SOON : -1);
		tags[i] = fake_expect_alloc(&fake, 4096);
	}
	bud_free(pool, bufs[0]);
	fake_grant(&fake, tags[0]);
	fake_expect_done(&fake, tags[0], PROTO_USED);
	fake_restarted(&fake);
	fake_expect(&fake, PROTO_RESUMED, NULL);
	fake_expect(&fake, PROTO_ALLOC, &m);
	ck_assert_uint_eq(m.alloc.tag, tags[1]);
	ck_assert_int_gt(m.alloc.timeout_ms, 0);
	ck_assert_int_le(m.alloc.timeout_ms, SOON); /* what is left of it */
	fake_expect(&fake, PROTO_ALLOC, &m);
	ck_assert_uint_eq(m.alloc.tag, tags[2]);
	ck_assert_int_eq(m.alloc.timeout_ms, -1);
	fake_expect_nothing(&fake);
	fake_grant(&fake, tags[1]);
	fake_grant(&fake, tags[2]);
	for (int i = 0; i < 3; i++)
		ck_assert_ptr_nonnull(waiter_join(&w[i]));
}
END_TEST

/* One bad message each: the client lets go of budd, and lives on what it has. */
START_TEST(a_budd_that_misbehaves_is_away)
{
	union proto_msg m;
	struct waiter w;
	void *bufs[BASE];
	size_t size;

	exhaust(bufs);
	waiter_start(&w, pool, CHUNK_SIZE, -1);
	fake_expect(&fake, PROTO_ALLOC, NULL);
	switch (_i) {
	case 0:
		proto_init(&m, PROTO_GRANT); /* tag 0 */
		break;
	case 1:
		proto_init(&m, PROTO_REFUSE); /* error 0 */
		m.refuse.tag = 1;
		break;
	case 2:
		proto_init(&m, PROTO_ALLOC); /* in this direction? */
		break;
	case 3:
		m = fake.answer; /* welcomed twice */
		break;
	case 4:
		proto_init(&m, PROTO_RESTARTED);
		m.header.type = 99;
		break;
	case 5:
		proto_init(&m, PROTO_REFUSE); /* of the connection */
		m.refuse.error = EPROTO;
		break;
	}
	size = m.header.size;
	if (_i == 6) {
		proto_init(&m, PROTO_GRANT);
		size = m.header.size - 1;
	}
	ck_assert_int_eq(wire_send(fake.conn, &m, size, NULL, 0), 0);
	/* It hangs up, and serves itself. */
	while (wire_recv(fake.conn, &m, sizeof(m), &size, NULL, 0) == WIRE_E_AGAIN)
		sched_yield();
	bud_free(pool, bufs[1]);
	ck_assert_ptr_eq(waiter_join(&w), bufs[1]);
	expect_error(1, ENOTCONN);
}
END_TEST

START_TEST(descriptors_out_of_turn_are_misbehaviour)
{
	union proto_msg m;
	struct waiter w;
	void *bufs[BASE];
	size_t size;

	exhaust(bufs);
	waiter_start(&w, pool, 4096, -1);
	proto_init(&m, PROTO_GRANT);
	m.tag.tag = fake_expect_alloc(&fake, 4096);
	ck_assert_int_eq(
	    wire_send(fake.conn, &m, m.header.size, &fake.memory_fd, 1), 0);
	while (wire_recv(fake.conn, &m, sizeof(m), &size, NULL, 0) == WIRE_E_AGAIN)
		sched_yield();
	bud_free(pool, bufs[0]);
	ck_assert_ptr_eq(waiter_join(&w), bufs[0]);
}
END_TEST

START_TEST(without_budd_what_is_mapped_works_on)
{
	void *bufs[BASE];
	int64_t start;

	fake_hang_up(&fake);
	exhaust(bufs);
	expect_error(0, ENOTCONN);
	start = now_ms();
	expect_error(20, ENOTCONN); /* it might have been freed meanwhile */
	ck_assert_int_ge(now_ms() - start, 20);
	bud_free(pool, bufs[0]);
	ck_assert_ptr_eq(bud_alloc(pool, 4096, 0), bufs[0]);
	bud_free(pool, bufs[0]);
	bud_free(pool, bufs[1]);
	ck_assert(fake_unused(&fake));
}
END_TEST

START_TEST(without_budd_a_stale_queue_does_not_stop_us)
{
	void *p;

	fake_queued(&fake, true);
	fake_hang_up(&fake);
	ck_assert_ptr_nonnull(p = bud_alloc(pool, 4096, 0));
	bud_free(pool, p);
	ck_assert_ptr_nonnull(p = bud_alloc(pool, 4096, -1));
	bud_free(pool, p);
	ck_assert(fake_unused(&fake));
}
END_TEST

START_TEST(a_timeout_of_zero_ends_when_budd_goes)
{
	void *bufs[BASE];
	struct waiter w;

	exhaust(bufs);
	waiter_start(&w, pool, 4096, 0);
	fake_expect_alloc(&fake, 4096);
	fake_hang_up(&fake);
	ck_assert_ptr_null(waiter_join(&w));
	ck_assert_int_eq(w.error, ENOTCONN);
}
END_TEST

START_TEST(without_budd_frees_serve_who_waits_in_order)
{
	struct waiter large, small;
	void *bufs[BASE];

	exhaust(bufs);
	waiter_start(&large, pool, 2 * CHUNK_SIZE, -1);
	fake_expect_alloc(&fake, 2 * CHUNK_SIZE);
	fake_queued(&fake, true);
	waiter_start(&small, pool, 4096, -1);
	fake_expect_alloc(&fake, 4096);
	fake_hang_up(&fake);
	bud_free(pool, bufs[0]);
	/* Enough for the small one, which must not overtake; nor may a third, not even
	 * when the ledger says that nobody waits. */
	expect_error(10, ENOTCONN);
	fake_queued(&fake, false);
	expect_error(10, ENOTCONN);
	ck_assert_uint_eq(
	    ledger_count_free(&fake.ledger, (struct chunk_range){ 0, BASE }),
	    CHUNK_FRAMES);
	bud_free(pool, bufs[1]);
	ck_assert_ptr_eq(waiter_join(&large), bufs[0]);
	bud_free(pool, large.buf);
	ck_assert_ptr_eq(waiter_join(&small), bufs[0]);
}
END_TEST

/* --- Closing --- */

START_TEST(close_sends_waiting_threads_away)
{
	struct waiter w[3];
	void *bufs[BASE];

	exhaust(bufs);
	for (int i = 0; i < 3; i++) {
		waiter_start(&w[i], pool, 4096, i == 0 ? 100 * SOON : -1);
		fake_expect_alloc(&fake, 4096);
	}
	if (_i == 1)
		fake_hang_up(&fake);
	bud_close(pool);
	for (int i = 0; i < 3; i++) {
		ck_assert_ptr_null(waiter_join(&w[i]));
		ck_assert_int_eq(w[i].error, ECANCELED);
	}
	if (_i == 0)
		fake_expect(&fake, PROTO_CLOSE, NULL);
	fake_fini(&fake);
}
END_TEST

/* --- Many threads --- */

#define THREADS 4
#define ROUNDS  300

/* A budd with a queue: one turn at a time, first in, first out. */
struct server {
	pthread_t thread;
	uint64_t queue[64];
	unsigned int head, tail;
	bool out;    /* the head has its turn */
	int64_t end; /* hang up after so many messages; -1: never */
};

static void
serve_turn(struct server *s)
{
	union proto_msg m;

	if (s->out || s->head == s->tail)
		return;
	proto_init(&m, PROTO_GRANT);
	m.tag.tag = s->queue[s->head % 64];
	s->out = true;
	(void)wire_send(fake.conn, &m, m.header.size, NULL, 0);
}

static void
serve_message(struct server *s, const union proto_msg *m)
{
	switch (m->header.type) {
	case PROTO_ALLOC:
		s->queue[s->tail++ % 64] = m->alloc.tag;
		ledger_set_queued(&fake.ledger, true);
		break;
	case PROTO_DONE:
		s->out = false;
		if (m->done.outcome == PROTO_FAILED)
			return; /* until somebody frees, and rings */
		s->head++;
		if (s->head == s->tail)
			ledger_set_queued(&fake.ledger, false);
		break;
	}
	serve_turn(s);
}

static void *
serve(void *arg)
{
	struct server *s = arg;
	union proto_msg m;
	size_t len;
	int r;

	while (s->end-- != 0) {
		while ((r = wire_recv(fake.conn, &m, sizeof(m), &len, NULL, 0)) ==
		       WIRE_E_AGAIN)
			sched_yield();
		if (r != 0)
			return NULL;
		serve_message(s, &m);
	}
	fake_hang_up(&fake);
	return NULL;
}

static void *
work(void *arg)
{
	unsigned int seed = (unsigned int)(uintptr_t)arg;
	uintptr_t failed = 0;

	for (int i = 0; i < ROUNDS; i++) {
		size_t size = (size_t)rand_r(&seed) % (BASE * CHUNK_SIZE) + 1;
		char *p = bud_alloc(pool, size, 10000);

		if (p == NULL) {
			failed++;
			continue;
		}
		p[0] = p[size - 1] = (char)seed; /* TSan sees it if two own it */
		bud_free(pool, p);
	}
	return (void *)failed;
}

START_TEST(threads_that_contend_are_all_served_with_and_without_budd)
{
	/* With the loop number budd dies later, or never. */
	struct server s = { .end = _i == 0 ? -1 : _i * 37 };
	pthread_t threads[THREADS];
	void *failed;

	ck_assert_int_eq(pthread_create(&s.thread, NULL, serve, &s), 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(
		    pthread_create(&threads[i], NULL, work, (void *)(i + 1)), 0);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &failed);
		ck_assert_ptr_null(failed);
	}
	ck_assert(fake_unused(&fake));
	bud_close(pool);
	pthread_join(s.thread, NULL);
	fake_fini(&fake);
}
END_TEST

static Suite *
wait_suite(void)
{
	Suite *s = suite_create("client: waiting");
	TCase *tc = tcase_create("turns");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, who_finds_others_queued_asks_and_takes_at_its_turn);
	tcase_add_test(tc, who_finds_nothing_is_served_from_a_new_block);
	tcase_add_test(tc, a_turn_that_fails_keeps_its_place);
	tcase_add_test(tc, a_turn_of_several_takes_all_or_none);
	tcase_add_test(tc, a_refusal_ends_the_wait_with_its_errno);
	tcase_add_test(tc, a_free_rings_only_while_somebody_queues);
	tcase_add_test(tc, threads_ask_in_the_order_of_their_tags);
	tcase_add_loop_test(tc, turns_in_any_order_reach_their_threads, 0, 20);
	tcase_add_test(tc, a_deadline_is_kept_and_budd_is_told);
	tcase_add_test(tc, a_grant_that_comes_late_is_answered_and_takes_nothing);
	tcase_add_test(tc, a_thread_that_expires_leaves_the_socket_to_another);
	tcase_add_test(tc, signals_do_not_end_a_wait);
	tcase_add_test(tc, a_timeout_of_zero_asks_budd_which_may_grow);
	suite_add_tcase(s, tc);

	tc = tcase_create("local");
	tcase_add_checked_fixture(tc, setup_local, teardown);
	tcase_add_test(tc, local_with_a_timeout_of_zero_asks_nobody);
	tcase_add_test(tc, local_with_a_timeout_waits_as_always);
	suite_add_tcase(s, tc);

	tc = tcase_create("budd");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, restarted_has_all_that_wait_sent_again_in_order);
	tcase_add_loop_test(tc, a_budd_that_misbehaves_is_away, 0, 7);
	tcase_add_test(tc, descriptors_out_of_turn_are_misbehaviour);
	tcase_add_test(tc, without_budd_what_is_mapped_works_on);
	tcase_add_test(tc, without_budd_a_stale_queue_does_not_stop_us);
	tcase_add_test(tc, a_timeout_of_zero_ends_when_budd_goes);
	tcase_add_test(tc, without_budd_frees_serve_who_waits_in_order);
	suite_add_tcase(s, tc);

	tc = tcase_create("many");
	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_loop_test(tc, close_sends_waiting_threads_away, 0, 2);
	tcase_add_loop_test(
	    tc, threads_that_contend_are_all_served_with_and_without_budd, 0, 8);
	suite_add_tcase(s, tc);
	return s;
}

int
main(void)
{
	SRunner *sr = srunner_create(wait_suite());
	int failed;

	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
