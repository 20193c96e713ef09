/* SPDX-License-Identifier: ISC */

/* Figures as people read them. */
#include <check.h>
#include <stdlib.h>

#include "budctl/human.h"

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

static const struct {
	uint64_t bytes;
	const char *text;
} sizes[] = {
	{ 0, "0 B" },
	{ 1, "1 B" },
	{ 1023, "1023 B" },
	{ KIB, "1 KiB" },
	{ KIB + 1, "1.0 KiB" },
	{ 256 * KIB, "256 KiB" },
	{ MIB - 4 * KIB, "1020 KiB" },
	{ MIB - 1, "1.0 MiB" },
	{ MIB, "1 MiB" },
	{ MIB + 256 * KIB, "1.2 MiB" },
	{ GIB - 1000, "1.0 GiB" },
	{ 1000 * GIB, "1000 GiB" },
	{ 1024 * GIB, "1 TiB" },
	{ UINT64_MAX, "16 EiB" },
};
#define SIZES ((int)(sizeof(sizes) / sizeof(sizes[0])))

START_TEST(size_has_the_unit_people_would_say)
{
	ck_assert_str_eq(human_size(sizes[_i].bytes).text, sizes[_i].text);
}
END_TEST

static const struct {
	double seconds;
	const char *text;
} times[] = {
	{ -1, "0 s" },
	{ 0, "0 s" },
	{ 0.25, "0.25 s" },
	{ 3.5, "3.5 s" },
	{ 10.4, "10 s" },
	{ 59, "59 s" },
	{ 60, "1 min" },
	{ 61, "1 min 1 s" },
	{ 200, "3 min 20 s" },
	{ 3600, "1 h" },
	{ 7500, "2 h 5 min" },
	{ 86400, "1 d" },
	{ 273600, "3 d 4 h" },
};
#define TIMES ((int)(sizeof(times) / sizeof(times[0])))

START_TEST(time_has_at_most_two_units)
{
	ck_assert_str_eq(human_seconds(times[_i].seconds).text, times[_i].text);
}
END_TEST

START_TEST(little_is_not_nothing)
{
	ck_assert_str_eq(human_percent(0, 100).text, "0 %");
	ck_assert_str_eq(human_percent(1, 1000).text, "<1 %");
	ck_assert_str_eq(human_percent(1, 100).text, "1 %");
	ck_assert_str_eq(human_percent(100, 100).text, "100 %");
	ck_assert_str_eq(human_percent(1, 0).text, "-");
}
END_TEST

START_TEST(user_without_a_name_is_a_number)
{
	ck_assert_str_eq(human_user(0).text, "root");
	ck_assert_str_eq(human_user(4000000001).text, "4000000001");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("human");
	TCase *t = tcase_create("figures");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_loop_test(t, size_has_the_unit_people_would_say, 0, SIZES);
	tcase_add_loop_test(t, time_has_at_most_two_units, 0, TIMES);
	tcase_add_test(t, little_is_not_nothing);
	tcase_add_test(t, user_without_a_name_is_a_number);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
