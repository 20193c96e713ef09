/* SPDX-License-Identifier: ISC */

/* What is true of each command: misuse, the way to budd, odd answers of it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/budctl_run.h"

START_TEST(help_tells_commands_and_exit_codes)
{
	static const char *const ways[] = { "--help", "-h", "help" };

	ck_assert_int_eq(budctl(ways[_i]), 0);
	HAS(run.out, "usage: budctl");
	HAS(run.out, "show POOL");
	HAS(run.out, "BUD_STATUS_SOCKET");
	HAS(run.out, "set POOL|host KEY=VALUE...");
	HAS(run.out, "release [POOL]");
	HAS(run.out, "3  budd cannot be reached");
	HAS(run.out, "4  this is for others to do");
	ck_assert_str_eq(run.err, "");
}
END_TEST

START_TEST(version_is_told)
{
	static const char *const ways[] = { "--version", "-V", "version" };

	ck_assert_int_eq(budctl(ways[_i]), 0);
	ck_assert_str_eq(run.out, "budctl " PACKAGE_VERSION "\n");
}
END_TEST

static const char *const misuses[] = { "", "stats", "--frob", "status --frob", "-x",
	"show", "show 7 8", "explain", "explain 7 8", "explain 7 --reconnect",
	"status 7", "-S", "status --control-blocks", "help --json", "status --json=yes",
	"st\033[2Jatus", "set", "set 7", "set host", "set 7 wall",
	"set 7 wall=", "set 7 wall=x", "set 7 wall=-1", "set 7 wall=1.5G",
	"set 7 wall=16E", "set 7 tick=1s", "set 7 =1", "set 7 weight=5 weight=6",
	"set 7 check_idle=maybe", "set 7 policy=", "set 7 col\033our=1",
	"set host weight=5", "set host tick=500", "set host tick=1500us",
	"set host user_pools=many", "release 7 8", "release --control-blocks",
	"status --reconnect", "--listen", "--socket", "top --sort size",
	"top --interval 1ms", "top --interval x", "top 7 8", "show --once 7" };
#define MISUSES ((int)(sizeof(misuses) / sizeof(misuses[0])))

START_TEST(misuse_is_one_line_and_code_2)
{
	ck_assert_int_eq(budctl(misuses[_i]), 2);
	budctl_is_one_line(run.err);
	HAS(run.err, "try budctl --help");
	HAS_NOT(run.err, "\033");
	ck_assert_str_eq(run.out, "");
}
END_TEST

/* --- The socket --- */

START_TEST(absent_socket_is_one_line_and_code_3)
{
	ck_assert_int_eq(budctl("status"), 3);
	budctl_is_one_line(run.err);
	HAS(run.err, "/nonexistent/status.sock");
	HAS(run.err, strerror(ENOENT));
	HAS(run.err, "start budd");
	HAS(run.err, "-S");
}
END_TEST

/* The verbs that ask; doctor has findings instead. */
static const char *const asks[] = { "status", "show", "top --once", "explain", "watch",
	"set 7 weight=5", "set host tick=1s", "release", "release 7", "status --json",
	"top --json", "watch --json" };
#define ASKS ((int)(sizeof(asks) / sizeof(asks[0])))

static const char *
with_pool(const char *verb, const char *pool)
{
	static char line[80];
	bool wants = strcmp(verb, "show") == 0 || strcmp(verb, "explain") == 0;

	snprintf(
	    line, sizeof(line), "%s%s%s", verb, wants ? " " : "", wants ? pool : "");
	return line;
}

START_TEST(without_budd_each_verb_has_one_line_and_code_3)
{
	ck_assert_int_eq(budctl(with_pool(asks[_i], "7")), 3);
	budctl_is_one_line(run.err);
	HAS(run.err, "cannot reach budd at /nonexistent/status.sock");
	HAS(run.err, "start budd");
	ck_assert_str_eq(run.out, "");
}
END_TEST

START_TEST(without_the_right_each_verb_has_one_line_and_code_3)
{
	if (geteuid() != 0) {
		printf("skip: %s: needs root\n", __func__);
		return;
	}
	fake_server_say(&run.server, "HTTP/1.1 200 OK\r\n\r\n{}");
	ck_assert_int_eq(chmod(run.server.path, 0600), 0);
	setenv("BUD_STATUS_SOCKET", run.server.path, 1);
	run.as_nobody = true;
	ck_assert_int_eq(budctl(with_pool(asks[_i], "7")), 3);
	run.as_nobody = false;
	budctl_is_one_line(run.err);
	HAS(run.err, "Permission denied; ask for the group that may read the status");
	ck_assert_str_eq(run.out, "");
	fake_server_stop(&run.server);
}
END_TEST

START_TEST(option_goes_before_the_environment)
{
	ck_assert_int_eq(budctl("-S /elsewhere.sock show 7"), 3);
	HAS(run.err, "/elsewhere.sock");
	ck_assert_int_eq(budctl("status --socket /there.sock"), 3);
	HAS(run.err, "/there.sock");
}
END_TEST

START_TEST(built_in_path_comes_last)
{
	setenv("BUD_STATUS_SOCKET", "", 1);
	budctl("help");
	HAS(run.out, BUD_STATUS_SOCKET_PATH);
}
END_TEST

START_TEST(path_too_long_for_a_socket_is_code_3)
{
	char line[200];

	snprintf(line, sizeof(line), "-S /%0150d status", 0);
	ck_assert_int_eq(budctl(line), 3);
	budctl_is_one_line(run.err);
	HAS(run.err, strerror(ENAMETOOLONG));
}
END_TEST

START_TEST(socket_nobody_listens_on_is_code_3)
{
	int sock = fake_server_bind(&run.server);

	close(sock);
	setenv("BUD_STATUS_SOCKET", run.server.path, 1);
	ck_assert_int_eq(budctl("show 7"), 3);
	HAS(run.err, strerror(ECONNREFUSED));
	fake_server_stop(&run.server);
}
END_TEST

/* --- Odd answers --- */

static const struct {
	const char *said;
	int code;
	const char *told;
} answers[] = {
	{ "HTTP/1.1 200 OK\r\n\r\n<html>", 1, "not a JSON object" },
	{ "HTTP/1.1 200 OK\r\n\r\n[1]", 1, "not a JSON object" },
	{ "HTTP/1.1 200 OK\r\n\r\n", 1, "not a JSON object" },
	{ "HTTP/1.1 500 No\r\n\r\n{\"error\":\"short\\u001b[2J\"}", 1, "short?[2J" },
	{ "HTTP/1.1 503 No\r\n\r\n", 1, "503" },
	{ "HTTP/1.1 404 No\r\n\r\n[]", 1, "404" },
	{ "", 3, "cannot reach" },
	{ "\x01\x02\x03\r\n\r\n", 3, "cannot reach" },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}", 3, "cannot reach" },
};
#define ANSWERS ((int)(sizeof(answers) / sizeof(answers[0])))

START_TEST(odd_answer_is_one_line_and_a_code)
{
	fake_server_say(&run.server, answers[_i].said);
	setenv("BUD_STATUS_SOCKET", run.server.path, 1);
	ck_assert_int_eq(budctl("status"), answers[_i].code);
	budctl_is_one_line(run.err);
	HAS(run.err, answers[_i].told);
	ck_assert_str_eq(run.out, "");
	fake_server_stop(&run.server);
}
END_TEST

static const char *const poor[] = {
	"{}",
	"{\"pools\":7,\"host\":[]}",
	"{\"pools\":[7,{}],\"host\":{\"wall\":\"x\"}}",
	"{\"pools\":[{\"id\":7,\"blocks\":{},\"queue\":[],\"wall\":-5}]}",
	"{\"pools\":[{\"id\":7}],\"id\":7,\"wall\":1e300,\"pinned\":1e300,\"blocks\":["
	"1,"
	"{\"map\":7,\"size\":1e18,\"idle_s\":1e300},{\"map\":\"0123456789abcdefghijk\"}"
	"]}",
};
#define POOR ((int)(sizeof(poor) / sizeof(poor[0])))

START_TEST(poor_answer_is_shown_as_far_as_it_goes)
{
	char text[1024];

	snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\n\r\n%s", poor[_i]);
	fake_server_say(&run.server, text);
	setenv("BUD_STATUS_SOCKET", run.server.path, 1);
	ck_assert_int_eq(budctl("status"), 0);
	ck_assert_int_le(budctl("show 7"), 1);
	ck_assert_int_le(budctl("show 7 --control-blocks"), 1);
	ck_assert_int_le(budctl("explain 7"), 1);
	ck_assert_int_le(budctl("top --once"), 1);
	fake_server_stop(&run.server);
}
END_TEST

TCase *
budctl_line_tests(void)
{
	TCase *t = tcase_create("line");

	tcase_add_checked_fixture(t, budctl_setup_alone, NULL);
	tcase_add_loop_test(t, help_tells_commands_and_exit_codes, 0, 3);
	tcase_add_loop_test(t, version_is_told, 0, 3);
	tcase_add_loop_test(t, misuse_is_one_line_and_code_2, 0, MISUSES);
	tcase_add_test(t, absent_socket_is_one_line_and_code_3);
	tcase_add_loop_test(t, without_budd_each_verb_has_one_line_and_code_3, 0, ASKS);
	tcase_add_loop_test(
	    t, without_the_right_each_verb_has_one_line_and_code_3, 0, ASKS);
	tcase_add_test(t, option_goes_before_the_environment);
	tcase_add_test(t, built_in_path_comes_last);
	tcase_add_test(t, path_too_long_for_a_socket_is_code_3);
	tcase_add_test(t, socket_nobody_listens_on_is_code_3);
	tcase_add_loop_test(t, odd_answer_is_one_line_and_a_code, 0, ANSWERS);
	tcase_add_loop_test(t, poor_answer_is_shown_as_far_as_it_goes, 0, POOR);
	return t;
}
