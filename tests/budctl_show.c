/* SPDX-License-Identifier: ISC */

/* budctl show and top: one pool, and all of them live. */
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "tests/budctl_run.h"

/* --- show --- */

START_TEST(pool_is_shown_by_its_name)
{
	ck_assert_int_eq(budctl("show media"), 0);
	HAS(run.out, "pool 7 'media', open, steady\n");
	HAS(run.out, "base 1 MiB, add 2 MiB, wall 3 MiB (at most 1 GiB)");
	HAS(run.out, "pid 77 (nginx), section default");
	HAS(run.out, "2 requests for 4 MiB, the first waits since 0 s\n");
	HAS(run.out, "queued 1,");
	HAS(run.out, "next pass in 35 s\n");
}
END_TEST

START_TEST(blocks_are_shown_with_their_pictures)
{
	budctl("show 7");
	HAS(run.out, "BLOCK  KIND");
	HAS(run.out, "0  base");
	HAS(run.out, "1  add, last");
	HAS(run.out, "25 %  in-use");
	HAS(run.out,
	    "[@@@@@@@@@@@@@@@@                                                ]");
	HAS(run.out, "2 MiB   0 %  free");
}
END_TEST

START_TEST(pictures_use_what_the_locale_has)
{
	setenv("LC_ALL", "C.UTF-8", 1);
	budctl("show 7");
	HAS(run.out, "[████████████████····");
	budctl("show 12");
	HAS(run.out, "'grüß'");
	HAS(run.out, "growing");
	HAS(run.out, "················××××××××");
}
END_TEST

START_TEST(pool_is_shown_by_its_id_before_another_is_by_its_name)
{
	ck_assert_int_eq(budctl("show 7"), 0);
	HAS(run.out, "pool 7 'media'");
	ck_assert_int_eq(budctl("show 10"), 0);
	HAS(run.out, "pool 10 '7'");
}
END_TEST

static const char *const unknown[] = { "show nobody", "explain nobody",
	"top --once nobody", "top --json nobody", "set nobody weight=5",
	"release nobody" };
#define UNKNOWN ((int)(sizeof(unknown) / sizeof(unknown[0])))

START_TEST(unknown_pool_is_one_line_and_code_1)
{
	ck_assert_int_eq(budctl(unknown[_i]), 1);
	budctl_is_one_line(run.err);
	HAS(run.err,
	    "no pool has the id or the name 'nobody'; budctl status lists them");
	ck_assert_str_eq(run.out, "");
}
END_TEST

START_TEST(unknown_pool_is_code_1)
{
	ck_assert_int_eq(budctl("show nobody"), 1);
	budctl_is_one_line(run.err);
	HAS(run.err, "'nobody'");
	ck_assert_int_eq(budctl("show 99"), 1);
	ck_assert_int_eq(budctl("show 007"), 1);
	ck_assert_str_eq(run.out, "");
}
END_TEST

START_TEST(name_that_several_share_lists_them)
{
	ck_assert_int_eq(budctl("show twin"), 1);
	HAS(run.err, "2 pools are named 'twin'");
	HAS(run.err, "id 8  pid 77  user root  nginx\n");
	HAS(run.err, "id 9  pid 77");
	ck_assert_str_eq(run.out, "");
	ck_assert_int_eq(budctl("show 9"), 0);
}
END_TEST

START_TEST(pool_as_json_parses)
{
	cJSON *json;

	ck_assert_int_eq(budctl("--json show media"), 0);
	json = cJSON_Parse(run.out);
	ck_assert_int_eq(cJSON_GetObjectItem(json, "id")->valueint, 7);
	cJSON_Delete(json);
}
END_TEST

START_TEST(control_blocks_have_the_names_of_the_method)
{
	static const char *const names[] = { "BudCtl_t", "AddSize", "BaseSize",
		"BuddyChain", "BuddyHeap", "BuddyWall", "Flgs", "ChkBuddyBsy",
		"BuddyBufInSegHeap", "TckCnt", "UsrWall", "Buddy_t", "Fwd_p", "Bck_p",
		"BuddyBuf_p", "BuddySize", "BudBufStatus", "FreeBudBufs", "TimeStamp",
		"TotalSpace" };

	ck_assert_int_eq(budctl("show media --control-blocks"), 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		HAS(run.out, names[i]);
}
END_TEST

START_TEST(control_blocks_have_the_values_of_the_pool)
{
	budctl("show media --control-blocks");
	HAS(run.out, "AddSize       2097152 (2 MiB)\n");
	HAS(run.out, "BuddyChain    block 0 @ 0 B\n");
	HAS(run.out, "BuddyWall     3 (MiB");
	HAS(run.out, "UsrWall       3145728 (3 MiB)\n");
	HAS(run.out, "TckCnt        70 (ticks");
	HAS(run.out, "Fwd_p         block 1 @ 1 MiB\n    Bck_p         NULL\n");
	HAS(run.out, "Fwd_p         NULL\n    Bck_p         block 0 @ 0 B\n");
	HAS(run.out, "BuddyBuf_p    memfd 1048576..3145728 (@ 1 MiB)\n");
	HAS(run.out, "BudBufStatus  in-use\n");
	HAS(run.out, "786432 bytes free (768 KiB), the largest buffer 512 KiB\n");
}
END_TEST

TCase *
budctl_show_tests(void)
{
	TCase *t = tcase_create("show");

	tcase_add_checked_fixture(t, budctl_setup, budctl_teardown);
	tcase_add_test(t, pool_is_shown_by_its_name);
	tcase_add_test(t, blocks_are_shown_with_their_pictures);
	tcase_add_test(t, pictures_use_what_the_locale_has);
	tcase_add_test(t, pool_is_shown_by_its_id_before_another_is_by_its_name);
	tcase_add_test(t, unknown_pool_is_code_1);
	tcase_add_loop_test(t, unknown_pool_is_one_line_and_code_1, 0, UNKNOWN);
	tcase_add_test(t, name_that_several_share_lists_them);
	tcase_add_test(t, pool_as_json_parses);
	tcase_add_test(t, control_blocks_have_the_names_of_the_method);
	tcase_add_test(t, control_blocks_have_the_values_of_the_pool);
	return t;
}

/* --- top --- */

START_TEST(one_frame_of_top_is_text)
{
	ck_assert_int_eq(budctl("top --once"), 0);
	HAS(run.out,
	    "budd " PACKAGE_VERSION "  up 3 min 20 s  restarts 2  pools 7  by waiting  "
	    "waiting 2\n");
	HAS(run.out,
	    "\n    7 media          256K     3M     3M [##======================] "
	    "    2  "
	    "  0:00\n");
	HAS(run.out, "\npool 7 'media'  largest free 2M  in caches 0  had to queue 1  "
		     "waits for: ");
	HAS(run.out, "\n   0     1M b [@@@@@@@@@@@@@@@@   ");
	HAS(run.out, "?[2Jevil?");
	HAS_NOT(run.out, "\033");
	HAS_NOT(run.out, " \n");
	ck_assert_str_eq(run.err, "");
}
END_TEST

START_TEST(top_sorts_and_chooses)
{
	const char *first, *second;

	ck_assert_int_eq(budctl("top --once --sort id 9"), 0);
	first = strstr(run.out, "    7 media");
	second = strstr(run.out, "    8 twin");
	ck_assert(first != NULL && second != NULL && first < second);
	HAS(run.out, "\npool 9 'twin'");
	ck_assert_int_eq(budctl("top --once --sort name"), 0);
	first = strstr(run.out, " media ");
	second = strstr(run.out, " twin ");
	ck_assert(first != NULL && second != NULL && first < second);
	ck_assert_int_eq(budctl("top --once twin"), 1);
	HAS(run.err, "2 pools are named");
}
END_TEST

/* Around those where columns come and go. */
static const unsigned int widths[] = { 1, 2, 13, 30, 59, 90, 200 };
#define WIDTHS ((int)(sizeof(widths) / sizeof(widths[0])))

START_TEST(no_width_is_too_small_or_too_large_for_a_frame)
{
	char text[16];
	size_t length, longest = 0;

	snprintf(text, sizeof(text), "%u", widths[_i]);
	setenv("COLUMNS", text, 1);
	ck_assert_int_eq(budctl("top --once"), 0);
	unsetenv("COLUMNS");
	for (const char *line = run.out; *line != '\0'; line += length + 1) {
		length = strcspn(line, "\n");
		longest = length > longest ? length : longest;
	}
	ck_assert_uint_le(longest, widths[_i]);
	ck_assert_uint_gt(longest, 0);
}
END_TEST

START_TEST(a_frame_may_be_cut_within_characters_of_several_bytes)
{
	setenv("LC_ALL", "C.UTF-8", 1);
	setenv("COLUMNS", "13", 1);
	ck_assert_int_eq(budctl("top --once gr\xc3\xbc\xc3\x9f"), 0);
	unsetenv("COLUMNS");
	HAS(run.out, "\npool 12 'gr\xc3\xbc\xc3\x9f\n");
}
END_TEST

TCase *
budctl_top_tests(void)
{
	TCase *t = tcase_create("top");

	tcase_add_checked_fixture(t, budctl_setup, budctl_teardown);
	tcase_add_test(t, one_frame_of_top_is_text);
	tcase_add_test(t, top_sorts_and_chooses);
	tcase_add_loop_test(
	    t, no_width_is_too_small_or_too_large_for_a_frame, 0, WIDTHS);
	tcase_add_test(t, a_frame_may_be_cut_within_characters_of_several_bytes);
	return t;
}
