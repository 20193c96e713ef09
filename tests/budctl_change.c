/* SPDX-License-Identifier: ISC */

/* budctl set and release. */
#include <unistd.h>

#include <cjson/cJSON.h>

#include "tests/budctl_run.h"

START_TEST(pool_is_set_in_words_of_people)
{
	ck_assert_int_eq(budctl("set media wall=256M add=2M weight=7 check_idle=no "
				"policy=several"),
	    0);
	ck_assert_str_eq(run.out,
	    "pool 7 'media': wall 256 MiB, add 2 MiB, weight 7, check_idle no, "
	    "policy several\n");
	ck_assert_str_eq(run.err, "");
	budctl("show 7");
	HAS(run.out, "wall 256 MiB (at most 1 GiB)");
	HAS(run.out, "weight 7,");
	HAS(run.out, "policy several\n");
	HAS(run.out, "no pass: check_idle is off\n");
	budctl("show 7 --control-blocks");
	HAS(run.out, "ChkBuddyBsy = false");
}
END_TEST

START_TEST(what_stays_above_a_lowered_wall_is_told)
{
	ck_assert_int_eq(budctl("set 12 wall=1M"), 0);
	HAS(run.out, "wall 1 MiB");
	HAS(run.out, "1 MiB are still pinned above the wall");
	budctl("show 12");
	HAS(run.out, "1 MiB above the wall");
}
END_TEST

START_TEST(host_is_set_in_words_of_people)
{
	ck_assert_int_eq(
	    budctl("set host wall=1G tick=250ms release_period=30s "
		   "idle=1min overtaken_max=4 user_wall=512M user_pools=3"),
	    0);
	HAS(run.out,
	    "host: wall 1 GiB (at most 4 GiB), tick 0.25 s, release_period 30 s, "
	    "idle 1 min,");
	HAS(run.out, "overtaken_max 4, user_wall 512 MiB, user_pools 3, "
		     "user_requests no limit\n");
	budctl("status");
	HAS(run.out, "wall 1 GiB, pinned ");
}
END_TEST

START_TEST(what_was_set_is_told_as_json)
{
	cJSON *json;

	ck_assert_int_eq(budctl("set 7 weight=9 --json"), 0);
	json = cJSON_Parse(run.out);
	ck_assert_int_eq(cJSON_GetObjectItem(json, "weight")->valueint, 9);
	cJSON_Delete(json);
	ck_assert_int_eq(budctl("--json set host user_pools=9"), 0);
	json = cJSON_Parse(run.out);
	ck_assert_int_eq(cJSON_GetObjectItem(json, "user_pools")->valueint, 9);
	cJSON_Delete(json);
}
END_TEST

static const struct {
	const char *line;
	const char *told;
} impossible[] = {
	{ "set 7 wall=2G", "budd: wall: 2147483648 is out of range" },
	{ "set 7 weight=1001", "budd: weight: 1001 is out of range: give 1 to 1000" },
	{ "set 7 add=300K", "budd: add: 307200 is no multiple of 262144" },
	{ "set 7 policy=best", "budd: policy: \"best\" is none: give one of fixed" },
	{ "set host wall=5G", "budd: wall: 5368709120 is out of range" },
	{ "set host tick=2min", "budd: release_period_ms: 60000 is below tick_ms" },
	{ "set twin weight=5", "2 pools are named 'twin'" },
	{ "set nobody weight=5", "no pool has the id or the name 'nobody'" },
	{ "release nobody", "no pool has the id or the name 'nobody'" },
};
#define IMPOSSIBLE ((int)(sizeof(impossible) / sizeof(impossible[0])))

START_TEST(what_budd_refuses_is_code_1_and_its_reason)
{
	ck_assert_int_eq(budctl(impossible[_i].line), 1);
	HAS(run.err, impossible[_i].told);
	ck_assert_str_eq(run.out, "");
}
END_TEST

START_TEST(release_tells_which_pools_give_blocks_back)
{
	ck_assert_int_eq(budctl("release spare"), 0);
	ck_assert_str_eq(run.out, "pool 13 'spare': 2 blocks\n");
	ck_assert_int_eq(budctl("release 13"), 0);
	HAS(run.out, "nothing to release");
	ck_assert_int_eq(budctl("release --json"), 0);
	HAS(run.out, "\"blocks\":\t0");
}
END_TEST

START_TEST(release_without_a_pool_is_for_all)
{
	ck_assert_int_eq(budctl("release"), 0);
	HAS(run.out, "pool 13 'spare': 2 blocks\n");
}
END_TEST

START_TEST(who_may_not_change_anything_gets_code_4)
{
	if (geteuid() != 0) {
		printf("skip: %s: needs root\n", __func__);
		return;
	}
	run.as_nobody = true;
	ck_assert_int_eq(budctl("set 7 weight=5"), 4);
	budctl_is_one_line(run.err);
	HAS(run.err, "budd: only root, ");
	HAS(run.err, "group budadm");
	ck_assert_int_eq(budctl("set host tick=1ms"), 4);
	ck_assert_int_eq(budctl("release"), 4);
	ck_assert_int_eq(budctl("show 7"), 0);
	run.as_nobody = false;
}
END_TEST

TCase *
budctl_change_tests(void)
{
	TCase *t = tcase_create("change");

	tcase_add_checked_fixture(t, budctl_setup, budctl_teardown);
	tcase_add_test(t, pool_is_set_in_words_of_people);
	tcase_add_test(t, what_stays_above_a_lowered_wall_is_told);
	tcase_add_test(t, host_is_set_in_words_of_people);
	tcase_add_test(t, what_was_set_is_told_as_json);
	tcase_add_loop_test(
	    t, what_budd_refuses_is_code_1_and_its_reason, 0, IMPOSSIBLE);
	tcase_add_test(t, release_tells_which_pools_give_blocks_back);
	tcase_add_test(t, release_without_a_pool_is_for_all);
	tcase_add_test(t, who_may_not_change_anything_gets_code_4);
	return t;
}
