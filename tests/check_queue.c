/* SPDX-License-Identifier: ISC */

/* The queue of one pool. */
#include "daemon/queue.h"

#include <check.h>
#include <stdlib.h>

#include "proto/ledger.h"
#include "proto/messages.h"

static struct queue queue, *const q = &queue;

static void
setup(void)
{
	queue_init(q);
}

static void
teardown(void)
{
	while (!TAILQ_EMPTY(&q->requests))
		queue_remove(q, TAILQ_FIRST(&q->requests));
}

static struct request *
add(uint64_t tag)
{
	struct request *r = queue_add(q, tag);

	ck_assert_ptr_nonnull(r);
	r->count = 1;
	return r;
}

START_TEST(a_new_queue_is_empty)
{
	ck_assert_uint_eq(q->length, 0);
	ck_assert_ptr_null(queue_head(q));
	ck_assert_ptr_null(queue_find(q, 0));
	ck_assert_uint_eq(queue_bytes(q), 0);
	ck_assert_int_eq(queue_oldest_ms(q, (struct instant){ NS_PER_S }), 0);
}
END_TEST

START_TEST(requests_stand_in_the_order_of_their_arrival_whatever_their_tags)
{
	static const uint64_t tags[] = { 5, 1, UINT64_MAX, 3 };

	for (int i = 0; i < 4; i++)
		(void)add(tags[i]);
	for (int i = 0; i < 4; i++) {
		ck_assert_uint_eq(queue_head(q)->tag, tags[i]);
		queue_remove(q, queue_head(q));
	}
	ck_assert_uint_eq(q->length, 0);
}
END_TEST

START_TEST(a_request_is_found_by_its_tag_until_it_is_removed)
{
	struct request *a = add(1), *b = add(2);

	ck_assert_ptr_eq(queue_find(q, 1), a);
	ck_assert_ptr_eq(queue_find(q, 2), b);
	ck_assert_ptr_null(queue_find(q, 3));
	queue_remove(q, a);
	ck_assert_ptr_null(queue_find(q, 1));
	ck_assert_ptr_eq(queue_find(q, 2), b);
}
END_TEST

START_TEST(the_head_is_the_first_without_a_turn)
{
	struct request *a = add(1), *b = add(2);

	ck_assert_ptr_eq(queue_head(q), a);
	a->state = REQUEST_GRANTED;
	ck_assert_ptr_eq(queue_head(q), b);
	b->state = REQUEST_GRANTED;
	ck_assert_ptr_null(queue_head(q));
	a->state = REQUEST_WAITING; /* its place was kept */
	ck_assert_ptr_eq(queue_head(q), a);
}
END_TEST

START_TEST(the_oldest_counts_from_when_it_came_while_it_waits)
{
	struct request *a = add(1), *b = add(2);
	struct instant now = { 500 * NS_PER_MS };

	a->since = (struct instant){ 100 * NS_PER_MS };
	b->since = (struct instant){ 499 * NS_PER_MS + 1 };
	ck_assert_int_eq(queue_oldest_ms(q, now), 400);
	a->state = REQUEST_GRANTED;
	ck_assert_int_eq(queue_oldest_ms(q, now), 0);
	b->since = (struct instant){ now.ns + 1 }; /* no time runs backwards */
	ck_assert_int_eq(queue_oldest_ms(q, now), 0);
}
END_TEST

START_TEST(bytes_are_those_of_all_buffers_as_they_will_be)
{
	struct request *a = add(1), *b = add(2);

	a->order = 0;
	a->count = 3;
	b->order = 7;
	b->state = REQUEST_GRANTED; /* it stands in the queue all the same */
	ck_assert_uint_eq(request_bytes(a), 3 * FRAME_SIZE);
	ck_assert_uint_eq(request_bytes(b), 2 * CHUNK_SIZE);
	ck_assert_uint_eq(queue_bytes(q), 3 * FRAME_SIZE + 2 * CHUNK_SIZE);
}
END_TEST

START_TEST(chunks_are_rounded_up_over_all_buffers)
{
	struct request *r = add(1);

	r->order = 0;
	r->count = CHUNK_FRAMES;
	ck_assert_uint_eq(request_chunks(r), 1);
	r->count = CHUNK_FRAMES + 1;
	ck_assert_uint_eq(request_chunks(r), 2);
	r->order = CHUNK_ORDER;
	r->count = 3;
	ck_assert_uint_eq(request_chunks(r), 3);
	r->order = ORDER_MAX;
	r->count = PROTO_COUNT_MAX;
	ck_assert_uint_eq(request_chunks(r), (uint64_t)CHUNKS_MAX * PROTO_COUNT_MAX);
}
END_TEST

START_TEST(any_history_matches_a_plain_list)
{
	uint64_t model[64], tag;
	uint32_t n = 0, i;

	srandom((unsigned int)_i);
	for (int step = 0; step < 2000; step++) {
		tag = 1 + (uint64_t)random() % 100;
		for (i = 0; i < n && model[i] != tag; i++)
			;
		ck_assert_int_eq(queue_find(q, tag) != NULL, i < n);
		if (i < n) {
			queue_remove(q, queue_find(q, tag));
			for (n--; i < n; i++)
				model[i] = model[i + 1];
		} else if (n < 64) {
			(void)add(tag);
			model[n++] = tag;
		}
		ck_assert_uint_eq(q->length, n);
		if (n > 0)
			ck_assert_uint_eq(queue_head(q)->tag, model[0]);
	}
}
END_TEST

START_TEST(an_instant_too_far_away_is_never)
{
	struct instant late = { INT64_MAX - 1 };

	ck_assert_int_eq(instant_add(late, 1).ns, INSTANT_NEVER.ns);
	ck_assert_int_eq(instant_add(late, 2).ns, INSTANT_NEVER.ns);
	ck_assert(instant_before(late, INSTANT_NEVER));
	ck_assert(!instant_before(late, late));
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("queue");
	TCase *t = tcase_create("queue");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_new_queue_is_empty);
	tcase_add_test(
	    t, requests_stand_in_the_order_of_their_arrival_whatever_their_tags);
	tcase_add_test(t, a_request_is_found_by_its_tag_until_it_is_removed);
	tcase_add_test(t, the_head_is_the_first_without_a_turn);
	tcase_add_test(t, the_oldest_counts_from_when_it_came_while_it_waits);
	tcase_add_test(t, bytes_are_those_of_all_buffers_as_they_will_be);
	tcase_add_test(t, chunks_are_rounded_up_over_all_buffers);
	tcase_add_loop_test(t, any_history_matches_a_plain_list, 0, 10);
	tcase_add_test(t, an_instant_too_far_away_is_never);
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
