/* SPDX-License-Identifier: ISC */

/* Changes to a living budd: bodies that may be hostile, and what they do. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/policy.h"
#include "daemon/tune.h"
#include "tests/fake_arbiter.h"

static struct fake fake;
static struct session *first; /* base 4 chunks, one block of 8 */
static struct tune_why why;

static void
setup(void)
{
	fake_init(&fake);
	first = fake_add(&fake, "media", 4, 8);
	fake_grow(&fake, first, 8, 8);
	fake_rewinds = 0;
}

static void
teardown(void)
{
	fake_settle(&fake);
	fake_fini(&fake);
}

#define MIB ((uint64_t)1 << 20)

#define SAYS(part)     \
	ck_assert_msg( \
	    strstr(why.text, part) != NULL, "'%s' is not in: %s", part, why.text)

/* --- Bodies --- */

static int
read_pool(const char *body, struct tune_pool *t)
{
	why.text[0] = '\0';
	return tune_read_pool(body, strlen(body), t, &why);
}

static int
read_host(const char *body, struct tune_host *t)
{
	why.text[0] = '\0';
	return tune_read_host(body, strlen(body), t, &why);
}

START_TEST(body_of_a_pool_has_any_of_its_keys)
{
	struct tune_pool t;

	ck_assert_int_eq(read_pool("{}", &t), 0);
	ck_assert_uint_eq(t.given, 0);
	ck_assert_int_eq(read_pool(" {\"wall\" : 268435456}\r\n", &t), 0);
	ck_assert_uint_eq(t.given, 1u << TUNE_POOL_WALL);
	ck_assert_uint_eq(t.wall, 256 * MIB);
	ck_assert_int_eq(read_pool("{\"policy\":\"several\",\"check_idle\":false,"
				   "\"weight\":1000,\"add\":262144,\"wall\":3e6}",
			     &t),
	    0);
	ck_assert_uint_eq(t.given, 31);
	ck_assert_ptr_eq(t.policy, &policy_several);
	ck_assert(!t.check_idle);
	ck_assert_uint_eq(t.weight, 1000);
	ck_assert_uint_eq(t.wall, 3000000);
}
END_TEST

START_TEST(body_of_the_host_has_any_of_its_keys)
{
	struct tune_host t;

	ck_assert_int_eq(
	    read_host("{\"wall\":1048576,\"tick_ms\":3600000,\"release_period_ms\":1,"
		      "\"idle_ms\":31536000000,\"overtaken_max\":0,\"user_wall\":0,"
		      "\"user_pools\":10000,\"user_requests\":1000000}",
		&t),
	    0);
	ck_assert_uint_eq(t.given, 255);
	ck_assert_uint_eq(t.idle_ms, 31536000000);
	ck_assert_uint_eq(t.user_requests, 1000000);
}
END_TEST

START_TEST(release_needs_no_body)
{
	struct tune_release t;

	ck_assert_int_eq(tune_read_release("", 0, &t, &why), 0);
	ck_assert_uint_eq(t.given, 0);
	ck_assert_int_eq(tune_read_release(" \n", 2, &t, &why), 0);
	ck_assert_int_eq(tune_read_release("{}", 2, &t, &why), 0);
	ck_assert_uint_eq(t.given, 0);
	ck_assert_int_eq(tune_read_release("{\"pool\":4294967295}", 19, &t, &why), 0);
	ck_assert_uint_eq(t.pool, UINT32_MAX);
	ck_assert_int_eq(tune_read_release("{\"pool\":4294967296}", 19, &t, &why), -1);
	ck_assert_int_eq(tune_read_release("[]", 2, &t, &why), -1);
	ck_assert_int_eq(tune_read_release("\0", 1, &t, &why), -1);
}
END_TEST

/* Of a pool: what is wrong, and what has to be told of it. */
static const struct {
	const char *body;
	const char *told;
} wrong[] = {
	{ "", "JSON object" },
	{ "null", "JSON object" },
	{ "[]", "JSON object" },
	{ "7", "JSON object" },
	{ "\"wall\"", "JSON object" },
	{ "{", "JSON object" },
	{ "{\"wall\"}", "JSON object" },
	{ "{\"wall\":}", "JSON object" },
	{ "{\"wall\":1 048576}", "JSON object" },
	{ "{\"wall\":NaN}", "JSON object" },
	{ "{\"wall\":Infinity}", "JSON object" },
	{ "{\"wall\":0x100000}", "JSON object" },
	{ "{\"weight\":3}{\"weight\":4}", "JSON object" },
	{ "{\"weight\":3} x", "JSON object" },
	{ "{\"weight\":3,}", "JSON object" },
	{ "{'weight':3}", "JSON object" },
	{ "{\"weight\\u0000x\":3}", "JSON object" },
	{ "{\"policy\":\"fixed\\u0000x\"}", "JSON object" },
	{ "{\"Wall\":1048576}", "Wall: there is no such key; known are wall, add" },
	{ "{\"\":1}", "no such key" },
	{ "{\"user_wall\":1048576}", "no such key" },
	{ "{\"weight\":3,\"weight\":3}", "weight: is given twice" },
	{ "{\"wall\":null}", "wall: null is no number" },
	{ "{\"wall\":\"256M\"}", "wall: \"256M\" is no number" },
	{ "{\"wall\":true}", "wall: true is no number" },
	{ "{\"wall\":[1048576]}", "wall: an array is no number" },
	{ "{\"wall\":{}}", "wall: an object is no number" },
	{ "{\"wall\":-1}", "wall: -1 is out of range: give 262144 to" },
	{ "{\"wall\":0}", "wall: 0 is out of range" },
	{ "{\"wall\":262143}", "wall: 262143 is out of range" },
	{ "{\"wall\":1048576.5}", "wall: 1048576.5 is no whole number" },
	{ "{\"wall\":9007199254740992}", "wall: 9007199254740992 is out of range" },
	{ "{\"wall\":1e300}", "is out of range" },
	{ "{\"wall\":1e400}", "wall: inf is out of range" },
	{ "{\"wall\":-1e400}", "wall: -inf is out of range" },
	{ "{\"add\":0}", "add: 0 is out of range: give 262144 to" },
	{ "{\"add\":262145}",
	    "add: 262145 is no multiple of 262144 (256K): give 524288" },
	{ "{\"weight\":0}", "weight: 0 is out of range: give 1 to 1000" },
	{ "{\"weight\":1001}", "weight: 1001 is out of range: give 1 to 1000" },
	{ "{\"check_idle\":1}", "check_idle: 1 is neither true nor false" },
	{ "{\"check_idle\":\"yes\"}", "check_idle: \"yes\" is neither" },
	{ "{\"policy\":\"Several\"}",
	    "policy: \"Several\" is none: give one of fixed" },
	{ "{\"policy\":\"\"}", "policy: \"\" is none" },
	{ "{\"policy\":7}", "policy: 7 is none" },
};
#define WRONG ((int)(sizeof(wrong) / sizeof(wrong[0])))

START_TEST(wrong_body_is_refused_whole_with_key_value_and_limits)
{
	struct tune_pool t = { .given = 77 };

	ck_assert_int_eq(read_pool(wrong[_i].body, &t), -1);
	SAYS(wrong[_i].told);
	ck_assert_uint_eq(t.given, 77);
}
END_TEST

static const struct {
	const char *body;
	const char *told;
} wrong_host[] = {
	{ "{\"wall\":1048575}", "wall: 1048575 is out of range: give 1048576" },
	{ "{\"tick_ms\":0}", "tick_ms: 0 is out of range: give 1 to 3600000" },
	{ "{\"tick_ms\":3600001}", "tick_ms: 3600001 is out of range" },
	{ "{\"tick_ms\":0.5}", "tick_ms: 0.5 is no whole number" },
	{ "{\"idle_ms\":31536000001}", "idle_ms: 31536000001 is out of range" },
	{ "{\"overtaken_max\":10001}", "overtaken_max: 10001" },
	{ "{\"user_wall\":1}", "user_wall: 1 is out of range: give 1048576" },
	{ "{\"user_wall\":-0.5}", "or 0: no limit" },
	{ "{\"user_pools\":10001}", "user_pools: 10001" },
	{ "{\"user_requests\":1000001}", "user_requests: 1000001" },
	{ "{\"weight\":1}", "weight: there is no such key" },
};
#define WRONG_HOST ((int)(sizeof(wrong_host) / sizeof(wrong_host[0])))

START_TEST(wrong_body_of_the_host_is_refused_too)
{
	struct tune_host t;

	ck_assert_int_eq(read_host(wrong_host[_i].body, &t), -1);
	SAYS(wrong_host[_i].told);
}
END_TEST

START_TEST(long_names_are_cut_in_what_is_told)
{
	char body[8192] = "{\"", *end = body + 2;
	struct tune_pool t;

	memset(end, 'k', 8000);
	strlcpy(end + 8000, "\":1}", 100);
	ck_assert_int_eq(read_pool(body, &t), -1);
	ck_assert_uint_lt(strlen(why.text), sizeof(why.text) - 1);
	strlcpy(body, "{\"policy\":\"", sizeof(body));
	memset(body + strlen(body), 'p', 8000);
	strlcpy(body + 8011, "\"}", 100);
	ck_assert_int_eq(read_pool(body, &t), -1);
	SAYS("give one of fixed, several");
}
END_TEST

START_TEST(body_is_read_to_its_size_and_no_further)
{
	struct tune_pool t;
	char *body = malloc(12); /* without a NUL, so that a sanitizer sees */

	ck_assert_ptr_nonnull(body);
	memcpy(body, "{\"weight\":3}", 12);
	ck_assert_int_eq(tune_read_pool(body, 12, &t, &why), 0);
	ck_assert_int_eq(tune_read_pool(body, 11, &t, &why), -1);
	ck_assert_int_eq(tune_read_pool(body, 0, &t, &why), -1);
	free(body);
}
END_TEST

/* @depth brackets, in a body of the largest size and of one byte more. */
START_TEST(deep_and_large_bodies_are_refused)
{
	char *body = malloc(TUNE_BODY_MAX + 1);
	struct tune_pool t;

	ck_assert_ptr_nonnull(body);
	memset(body, '[', TUNE_BODY_MAX);
	ck_assert_int_eq(tune_read_pool(body, TUNE_BODY_MAX, &t, &why), -1);
	memcpy(body, "{\"a\":", 5);
	ck_assert_int_eq(tune_read_pool(body, TUNE_BODY_MAX, &t, &why), -1);
	memset(body, ' ', TUNE_BODY_MAX + 1);
	memcpy(body, "{}", 2);
	ck_assert_int_eq(tune_read_pool(body, TUNE_BODY_MAX, &t, &why), 0);
	ck_assert_int_eq(tune_read_pool(body, TUNE_BODY_MAX + 1, &t, &why), -1);
	free(body);
}
END_TEST

/* --- Pools --- */

static int
tune(const char *body)
{
	struct tune_pool t;

	ck_assert_int_eq(read_pool(body, &t), 0);
	return tune_pool(first, &t, 0, &why);
}

START_TEST(pool_takes_all_that_is_given_and_keeps_the_rest)
{
	const struct pool_limits *l = &first->pool.limits;

	ck_assert_int_eq(tune("{\"wall\":67108864,\"weight\":8}"), 0);
	ck_assert_uint_eq(l->wall, 64 * MIB);
	ck_assert_uint_eq(l->weight, 8);
	ck_assert_uint_eq(l->add, 8 * CHUNK_SIZE);
	ck_assert(!l->keep_idle);
	ck_assert_int_eq(
	    tune("{\"check_idle\":false,\"policy\":\"growing\",\"add\":4194304}"), 0);
	ck_assert(l->keep_idle);
	ck_assert_ptr_eq(l->policy, &policy_growing);
	ck_assert_uint_eq(l->add, 4 * MIB);
	ck_assert_uint_eq(l->wall, 64 * MIB);
	ck_assert_int_eq(tune("{\"check_idle\":true}"), 0);
	ck_assert(!l->keep_idle);
	ck_assert_mem_eq(&first->limits, l, sizeof(*l));
}
END_TEST

START_TEST(timer_is_set_after_each_change)
{
	ck_assert_int_eq(tune("{\"weight\":8}"), 0);
	ck_assert_uint_eq(fake_rewinds, 1);
	ck_assert_int_eq(tune("{\"wall\":1048576}"), 0);
	ck_assert_uint_eq(fake_rewinds, 2);
}
END_TEST

START_TEST(wall_lies_between_base_and_wall_max)
{
	ck_assert_int_eq(tune("{\"wall\":1048575}"), -1);
	SAYS("wall: 1048575 is out of range: give 1048576");
	ck_assert_int_eq(tune("{\"wall\":1048576}"), 0);
	ck_assert_int_eq(tune("{\"wall\":1073741824}"), 0);
	ck_assert_int_eq(tune("{\"wall\":1073741825}"), -1);
	SAYS("to 1073741824 (wall_max");
	ck_assert_uint_eq(first->pool.limits.wall, 1024 * MIB);
}
END_TEST

START_TEST(add_lies_between_a_chunk_and_wall_max)
{
	ck_assert_int_eq(tune("{\"add\":262144}"), 0);
	ck_assert_uint_eq(first->pool.limits.add, CHUNK_SIZE);
	ck_assert_int_eq(tune("{\"add\":1073741824}"), 0);
	ck_assert_int_eq(tune("{\"add\":1074003968}"), -1);
	SAYS("add: 1074003968 is out of range: give 262144 to 1073741824 (wall_max)");
}
END_TEST

START_TEST(refused_change_leaves_everything_as_it_was)
{
	struct pool_limits before = first->pool.limits;

	ck_assert_int_eq(
	    tune("{\"weight\":9,\"check_idle\":false,"
		 "\"policy\":\"several\",\"wall\":67108864,\"add\":1074003968}"),
	    -1);
	ck_assert_mem_eq(&before, &first->pool.limits, sizeof(before));
	ck_assert_uint_eq(fake_rewinds, 0);
}
END_TEST

START_TEST(raised_wall_serves_the_queue)
{
	fake_take(first, 8 * CHUNK_SIZE);
	fake_wait(&fake, first, 1, 8 * CHUNK_SIZE);
	ck_assert_uint_eq(first->pool.planned, 12);
	ck_assert_int_eq(tune("{\"wall\":67108864}"), 0);
	ck_assert_uint_gt(first->pool.planned, 12);
}
END_TEST

START_TEST(lowered_wall_releases_what_is_empty)
{
	ck_assert_int_eq(tune("{\"wall\":1048576}"), 0);
	fake_settle(&fake);
	ck_assert_uint_eq(first->pool.planned, 4);
}
END_TEST

/* --- The host --- */

static int
tune_it(const char *body)
{
	struct tune_host t;

	ck_assert_int_eq(read_host(body, &t), 0);
	return tune_host(&fake.arbiter, &t, 0, &why);
}

START_TEST(host_takes_all_that_is_given_and_keeps_the_rest)
{
	const struct core_params *p = &fake.arbiter.core.params;

	ck_assert_int_eq(tune_it("{\"wall\":2147483648,\"overtaken_max\":7,"
				 "\"user_wall\":1073741824,\"user_pools\":5,"
				 "\"user_requests\":6}"),
	    0);
	ck_assert_uint_eq(p->host_wall, 2048 * MIB);
	ck_assert_uint_eq(p->overtaken_max, 7);
	ck_assert_uint_eq(p->user_wall, 1024 * MIB);
	ck_assert_uint_eq(p->user_pools, 5);
	ck_assert_uint_eq(p->user_requests, 6);
	ck_assert_int_eq(p->tick_ns, 500 * NS_PER_MS);
	ck_assert_uint_eq(p->release_ticks, 120);
	ck_assert_uint_eq(p->idle_ticks, 600);
	ck_assert_uint_eq(fake_rewinds, 1);
}
END_TEST

START_TEST(other_tick_leaves_periods_as_long_as_they_were)
{
	const struct core_params *p = &fake.arbiter.core.params;

	ck_assert_int_eq(tune_it("{\"tick_ms\":100}"), 0);
	ck_assert_int_eq(p->tick_ns, 100 * NS_PER_MS);
	ck_assert_uint_eq(p->release_ticks, 600);
	ck_assert_uint_eq(p->idle_ticks, 3000);
	ck_assert_int_eq(tune_it("{\"idle_ms\":250,\"release_period_ms\":250}"), 0);
	ck_assert_uint_eq(p->idle_ticks, 3); /* never shorter than asked for */
	ck_assert_uint_eq(p->release_ticks, 2);
}
END_TEST

START_TEST(tick_is_at_most_the_release_period)
{
	ck_assert_int_eq(tune_it("{\"tick_ms\":60001}"), -1);
	SAYS("release_period_ms: 60000 is below tick_ms, 60001: give at least that, "
	     "or a shorter tick_ms");
	ck_assert_int_eq(tune_it("{\"tick_ms\":3600000}"), -1);
	SAYS("is below tick_ms, 3600000: ");
	ck_assert_int_eq(tune_it("{\"tick_ms\":60000}"), 0);
	ck_assert_int_eq(tune_it("{\"release_period_ms\":59999}"), -1);
	ck_assert_int_eq(tune_it("{\"release_period_ms\":59999,\"tick_ms\":59999}"), 0);
}
END_TEST

START_TEST(period_has_no_more_ticks_than_can_be_counted)
{
	ck_assert_int_eq(tune_it("{\"tick_ms\":1,\"idle_ms\":4294967296}"), -1);
	SAYS("4294967295 ticks");
	ck_assert_int_eq(tune_it("{\"tick_ms\":1,\"idle_ms\":4294967295}"), 0);
	ck_assert_uint_eq(fake.arbiter.core.params.idle_ticks, UINT32_MAX);
}
END_TEST

START_TEST(host_wall_is_at_most_what_the_keeper_enforces)
{
	ck_assert_int_eq(tune_it("{\"wall\":1048576}"), 0);
	ck_assert_int_eq(tune_it("{\"wall\":4294967296,\"user_pools\":9}"), 0);
	ck_assert_int_eq(tune_it("{\"wall\":4294967297,\"user_pools\":3}"), -1);
	SAYS("wall: 4294967297 is out of range: give 1048576 to 4294967296");
	SAYS("keeper");
	ck_assert_uint_eq(fake.arbiter.core.params.user_pools, 9);
}
END_TEST

/* --- Releases --- */

static double
released(struct session *only, int pools)
{
	cJSON *json = tune_release(&fake.arbiter, only, 0);
	double blocks;

	ck_assert_ptr_nonnull(json);
	ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItem(json, "pools")), pools);
	blocks = strtod(cJSON_GetObjectItem(json, "blocks")->valuestring, NULL);
	cJSON_Delete(json);
	return blocks;
}

START_TEST(release_gives_back_what_each_pool_can_spare)
{
	struct session *second = fake_add(&fake, "other", 4, 8);

	fake_add(&fake, "third", 4, 8); /* has nothing to give */
	fake_grow(&fake, second, 8, 8);
	fake_grow(&fake, second, 8, 8);
	ck_assert_double_eq(released(NULL, 2), 3);
	ck_assert_uint_eq(fake_rewinds, 1);
	ck_assert_double_eq(released(NULL, 0), 0);
}
END_TEST

START_TEST(release_of_one_pool_leaves_the_others)
{
	struct session *second = fake_add(&fake, "other", 4, 8);

	fake_grow(&fake, second, 8, 8);
	ck_assert_double_eq(released(second, 1), 1);
	ck_assert_int_eq(first->pool.phase, POOL_STEADY);
	ck_assert_int_eq(second->pool.phase, POOL_RELEASING);
}
END_TEST

START_TEST(session_without_a_pool_is_passed_over)
{
	first->state = SESSION_NEW;
	ck_assert_double_eq(released(NULL, 0), 0);
}
END_TEST

static void
add_bodies(Suite *s)
{
	TCase *t = tcase_create("bodies");

	tcase_add_test(t, body_of_a_pool_has_any_of_its_keys);
	tcase_add_test(t, body_of_the_host_has_any_of_its_keys);
	tcase_add_test(t, release_needs_no_body);
	tcase_add_loop_test(
	    t, wrong_body_is_refused_whole_with_key_value_and_limits, 0, WRONG);
	tcase_add_loop_test(t, wrong_body_of_the_host_is_refused_too, 0, WRONG_HOST);
	tcase_add_test(t, long_names_are_cut_in_what_is_told);
	tcase_add_test(t, body_is_read_to_its_size_and_no_further);
	tcase_add_test(t, deep_and_large_bodies_are_refused);
	suite_add_tcase(s, t);
}

static void
add_changes(Suite *s)
{
	TCase *t = tcase_create("changes");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, pool_takes_all_that_is_given_and_keeps_the_rest);
	tcase_add_test(t, timer_is_set_after_each_change);
	tcase_add_test(t, wall_lies_between_base_and_wall_max);
	tcase_add_test(t, add_lies_between_a_chunk_and_wall_max);
	tcase_add_test(t, refused_change_leaves_everything_as_it_was);
	tcase_add_test(t, raised_wall_serves_the_queue);
	tcase_add_test(t, lowered_wall_releases_what_is_empty);
	tcase_add_test(t, host_takes_all_that_is_given_and_keeps_the_rest);
	tcase_add_test(t, other_tick_leaves_periods_as_long_as_they_were);
	tcase_add_test(t, tick_is_at_most_the_release_period);
	tcase_add_test(t, period_has_no_more_ticks_than_can_be_counted);
	tcase_add_test(t, host_wall_is_at_most_what_the_keeper_enforces);
	tcase_add_test(t, release_gives_back_what_each_pool_can_spare);
	tcase_add_test(t, release_of_one_pool_leaves_the_others);
	tcase_add_test(t, session_without_a_pool_is_passed_over);
	suite_add_tcase(s, t);
}

int
main(void)
{
	Suite *s = suite_create("tune");
	SRunner *r;
	int failed;

	add_bodies(s);
	add_changes(s);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
