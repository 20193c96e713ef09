/* SPDX-License-Identifier: ISC */

/* Deaths of arbiters: when they are many, and whose doing they are. */
#include <check.h>
#include <stdlib.h>

#include "daemon/arbiter.h"
#include "daemon/blame.h"
#include "daemon/deaths.h"
#include "daemon/record.h"

#define SLOTS 4

static struct instant
at_s(int64_t s)
{
	return (struct instant){ (1000 + s) * NS_PER_S };
}

START_TEST(three_deaths_in_ten_seconds_are_many)
{
	struct deaths d = { 0 };

	ck_assert(!deaths_are_many(&d, at_s(0)));
	deaths_note(&d, at_s(0));
	deaths_note(&d, at_s(1));
	ck_assert(!deaths_are_many(&d, at_s(1)));
	deaths_note(&d, at_s(9));
	ck_assert(deaths_are_many(&d, at_s(9)));
	ck_assert(!deaths_are_many(&d, at_s(10)));
	deaths_note(&d, at_s(10)); /* the first does not count any more */
	ck_assert(deaths_are_many(&d, at_s(10)));
	ck_assert(!deaths_are_many(&d, at_s(11)));
}
END_TEST

static struct arbiter arbiter, *const a = &arbiter;

static void
setup(void)
{
	*a = (struct arbiter){ .spec.slots = SLOTS };
	a->records = calloc(1, RECORDS_SIZE(SLOTS));
	ck_assert_ptr_nonnull(a->records);
	a->note = (struct record_note *)(void *)arbiter_record(a, SLOTS);
}

static void
teardown(void)
{
	free(a->records);
}

/* It dies while busy with a session, or is killed. */
static void
die(uint32_t session, uint32_t slot, bool fault)
{
	blame_begin(a, session, slot);
	a->spec.fault = fault;
	blame_inherit(a);
}

START_TEST(two_deaths_make_a_session_deaf_and_a_third_leaves_its_pool_alone)
{
	static const enum blame_verdict verdicts[] = { BLAME_NONE, BLAME_NONE,
		BLAME_DEAF, BLAME_SHUN, BLAME_SHUN };

	for (unsigned int i = 0; i < 5; i++) {
		ck_assert_int_eq(blame_meet(a, 7, 2), verdicts[i]);
		ck_assert_int_eq(blame_meet(a, 8, 3), BLAME_NONE);
		die(7, 2, true);
	}
}
END_TEST

START_TEST(when_deaths_are_many_one_is_enough)
{
	ck_assert_int_eq(blame_meet(a, 7, 2), BLAME_NONE);
	die(7, 2, true);
	a->spec.drop = true;
	ck_assert_int_eq(blame_meet(a, 7, 2), BLAME_DEAF);
	ck_assert_int_eq(blame_meet(a, 8, 3), BLAME_NONE);
}
END_TEST

START_TEST(nobody_is_blamed_for_an_arbiter_that_was_killed)
{
	ck_assert_int_eq(blame_meet(a, 7, 2), BLAME_NONE);
	for (int i = 0; i < 5; i++)
		die(7, 2, false);
	ck_assert_int_eq(blame_meet(a, 7, 2), BLAME_NONE);
	ck_assert_uint_eq(arbiter_record(a, 2)->deaths, 0);
}
END_TEST

START_TEST(nobody_is_blamed_for_what_was_nobodys_doing)
{
	ck_assert_int_eq(blame_meet(a, 7, 2), BLAME_NONE);
	for (int i = 0; i < 5; i++) {
		blame_begin(a, 7, 2);
		blame_end(a);
		a->spec.fault = true;
		blame_inherit(a);
	}
	ck_assert_int_eq(blame_meet(a, 7, 2), BLAME_NONE);
}
END_TEST

START_TEST(a_session_is_not_blamed_for_the_one_before_it_in_its_slot)
{
	ck_assert_int_eq(blame_meet(a, 7, 2), BLAME_NONE);
	die(7, 2, true);
	die(7, 2, true);
	ck_assert_int_eq(blame_meet(a, 9, 2), BLAME_NONE);
	die(7, 2, true); /* an old note */
	ck_assert_int_eq(blame_meet(a, 9, 2), BLAME_NONE);
}
END_TEST

START_TEST(a_note_that_makes_no_sense_blames_nobody)
{
	die(7, SLOTS, true);
	die(UINT32_MAX, UINT32_MAX, true);
	for (uint32_t i = 0; i < SLOTS; i++)
		ck_assert_uint_eq(arbiter_record(a, i)->deaths, 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("blame");
	TCase *many = tcase_create("many"), *blame = tcase_create("blame");
	SRunner *runner;
	int failed;

	tcase_add_test(many, three_deaths_in_ten_seconds_are_many);
	suite_add_tcase(s, many);
	tcase_add_checked_fixture(blame, setup, teardown);
	tcase_add_test(
	    blame, two_deaths_make_a_session_deaf_and_a_third_leaves_its_pool_alone);
	tcase_add_test(blame, when_deaths_are_many_one_is_enough);
	tcase_add_test(blame, nobody_is_blamed_for_an_arbiter_that_was_killed);
	tcase_add_test(blame, nobody_is_blamed_for_what_was_nobodys_doing);
	tcase_add_test(
	    blame, a_session_is_not_blamed_for_the_one_before_it_in_its_slot);
	tcase_add_test(blame, a_note_that_makes_no_sense_blames_nobody);
	suite_add_tcase(s, blame);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
