/* SPDX-License-Identifier: ISC */

/* budctl status. */
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "tests/budctl_run.h"

START_TEST(status_tells_of_the_host)
{
	ck_assert_int_eq(budctl("status"), 0);
	HAS(run.out, "budd " PACKAGE_VERSION ", pid 4242, up 3 min 20 s, restarts 2");
	HAS(run.out, "waiting 2\n");
	HAS(run.out, "wall 4 GiB, pinned ");
	HAS(run.out, "(<1 %) [=...................]");
	ck_assert_str_eq(run.err, "");
}
END_TEST

START_TEST(status_has_a_line_for_each_pool)
{
	budctl("status");
	HAS(run.out, "ID  NAME");
	HAS(run.out, "USED/PINNED/WALL");
	HAS(run.out, "\n 7  media");
	HAS(run.out, "root ");
	HAS(run.out, "3 MiB  256 KiB");
	HAS(run.out, "[##==================]");
	HAS(run.out, "54321");
}
END_TEST

/* Where a column starts is where its head does: in each line before it is a blank. */
START_TEST(columns_are_aligned)
{
	const char *head, *line;
	size_t column;

	budctl("status");
	head = strstr(run.out, "ID  NAME");
	column = (size_t)(strstr(head, "USED/") - head);
	for (line = strchr(head, '\n') + 1; *line != '\0';
	     line = strchr(line, '\n') + 1)
		ck_assert_msg(line[column - 1] == ' ' && line[column] == '[',
		    "not aligned:\n%s", run.out);
}
END_TEST

START_TEST(name_cannot_command_the_terminal)
{
	budctl("status");
	HAS(run.out, "?[2Jevil?");
	HAS_NOT(run.out, "\033");
	HAS_NOT(run.out, "\x07");
	HAS_NOT(run.out, "\xc2\x9b");
	budctl("show 11");
	HAS_NOT(run.out, "\033");
	HAS_NOT(run.out, "\x07");
	setenv("LC_ALL", "C.UTF-8", 1);
	budctl("status");
	HAS_NOT(run.out, "\033");
	HAS_NOT(run.out, "\xc2\x9b");
}
END_TEST

START_TEST(status_as_json_parses)
{
	cJSON *json;

	ck_assert_int_eq(budctl("status --json"), 0);
	json = cJSON_Parse(run.out);
	ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItem(json, "pools")), 7);
	ck_assert_int_eq(cJSON_GetObjectItem(json, "pid")->valueint, 4242);
	HAS(run.out, "\n\t\"version\"");
	cJSON_Delete(json);
}
END_TEST

START_TEST(full_standard_output_is_an_error)
{
	const char *program = getenv("BUDCTL");
	char line[256];
	int status;

	snprintf(line, sizeof(line), "%s status >/dev/full 2>/dev/null",
	    program != NULL ? program : "budctl/budctl");
	status = system(line);
	ck_assert_int_eq(WEXITSTATUS(status), 1);
}
END_TEST

TCase *
budctl_status_tests(void)
{
	TCase *t = tcase_create("status");

	tcase_add_checked_fixture(t, budctl_setup, budctl_teardown);
	tcase_add_test(t, status_tells_of_the_host);
	tcase_add_test(t, status_has_a_line_for_each_pool);
	tcase_add_test(t, columns_are_aligned);
	tcase_add_test(t, name_cannot_command_the_terminal);
	tcase_add_test(t, status_as_json_parses);
	tcase_add_test(t, full_standard_output_is_an_error);
	return t;
}
