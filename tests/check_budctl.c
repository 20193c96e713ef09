/* SPDX-License-Identifier: ISC */

/* The real budctl, run as an operator would, against a fake arbiter. $BUDCTL names it. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "tests/fake_server.h"

#define TEXT_MAX 65536

static struct fake_server server;

/* What the last run said. */
static char out[TEXT_MAX], err[TEXT_MAX];
static bool as_nobody; /* who runs it */

/* Ids count from 7. */
static void
fill(struct fake *f)
{
	struct session *s = fake_add(f, "media", 4, 8); /* id 7 */

	fake_grow(f, s, 8, 8);
	fake_take(s, CHUNK_SIZE);
	s->pool.record->tick_count = 70;
	fake_wait(f, s, 1, 8 * CHUNK_SIZE);       /* it is its turn */
	fake_wait(f, s, 2, 8 * CHUNK_SIZE);       /* waits */
	fake_add(f, "twin", 4, 8);                /* id 8 */
	fake_add(f, "twin", 4, 8);                /* id 9 */
	fake_add(f, "7", 4, 8);                   /* id 10 */
	s = fake_add(f, "\033[2Jevil\xff", 4, 8); /* id 11 */
	strlcpy(s->command,
	    "\x07\xc2\x9b"
	    "31m",
	    sizeof(s->command));
	s->uid = 54321;
	s = fake_add(f, "gr\xc3\xbc\xc3\x9f", 4, 8); /* id 12 */
	fake_grow(f, s, 16, 4);
	s = fake_add(f, "spare", 4, 8); /* id 13 */
	fake_grow(f, s, 8, 8);
	fake_grow(f, s, 8, 8);
}

static void
setup(void)
{
	unsetenv("NO_COLOR");
	setenv("LC_ALL", "C", 1);
	fake_server_start(&server, fill);
	setenv("BUD_STATUS_SOCKET", server.path, 1);
}

static void
teardown(void)
{
	fake_server_stop(&server);
}

static void
setup_alone(void)
{
	setenv("LC_ALL", "C", 1);
	setenv("BUD_STATUS_SOCKET", "/nonexistent/status.sock", 1);
}

static void
slurp(char *text, FILE *from)
{
	size_t n;

	rewind(from);
	n = fread(text, 1, TEXT_MAX - 1, from);
	text[n] = '\0';
	fclose(from);
}

/* Returns the exit code; the words are separated by blanks. */
static int
budctl(const char *line)
{
	const char *program = getenv("BUDCTL");
	char name[] = "budctl", words[256], *argv[16] = { name }, *rest = words;
	FILE *to_out = tmpfile(), *to_err = tmpfile();
	int argc = 1, status;
	pid_t pid;

	ck_assert(to_out != NULL && to_err != NULL);
	strlcpy(words, line, sizeof(words));
	while (argc < 15 && (argv[argc] = strsep(&rest, " ")) != NULL)
		argc += argv[argc][0] != '\0';
	argv[argc] = NULL;
	if ((pid = fork()) == 0) {
		if (as_nobody && (setgid(65534) != 0 || setuid(65534) != 0))
			_exit(127);
		dup2(fileno(to_out), STDOUT_FILENO);
		dup2(fileno(to_err), STDERR_FILENO);
		execv(program != NULL ? program : "budctl/budctl", argv);
		_exit(127);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	slurp(out, to_out);
	slurp(err, to_err);
	ck_assert_msg(WIFEXITED(status), "budctl died: %s", err);
	ck_assert_int_ne(WEXITSTATUS(status), 127);
	return WEXITSTATUS(status);
}

#define HAS(text, part) \
	ck_assert_msg(strstr(text, part) != NULL, "'%s' is not in:\n%s", part, text)
#define HAS_NOT(text, part) \
	ck_assert_msg(strstr(text, part) == NULL, "'%s' is in:\n%s", part, text)

static void
is_one_line(const char *text)
{
	ck_assert_msg(
	    strchr(text, '\n') == text + strlen(text) - 1, "not one line: '%s'", text);
}

/* --- The command line --- */

START_TEST(help_tells_commands_and_exit_codes)
{
	static const char *const ways[] = { "--help", "-h", "help" };

	ck_assert_int_eq(budctl(ways[_i]), 0);
	HAS(out, "usage: budctl");
	HAS(out, "show POOL");
	HAS(out, "BUD_STATUS_SOCKET");
	HAS(out, "set POOL|host KEY=VALUE...");
	HAS(out, "release [POOL]");
	HAS(out, "3  budd cannot be reached");
	HAS(out, "4  this is for others to do");
	ck_assert_str_eq(err, "");
}
END_TEST

START_TEST(version_is_told)
{
	static const char *const ways[] = { "--version", "-V", "version" };

	ck_assert_int_eq(budctl(ways[_i]), 0);
	ck_assert_str_eq(out, "budctl " PACKAGE_VERSION "\n");
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
	is_one_line(err);
	HAS(err, "try budctl --help");
	HAS_NOT(err, "\033");
	ck_assert_str_eq(out, "");
}
END_TEST

/* --- The socket --- */

START_TEST(absent_socket_is_one_line_and_code_3)
{
	ck_assert_int_eq(budctl("status"), 3);
	is_one_line(err);
	HAS(err, "/nonexistent/status.sock");
	HAS(err, strerror(ENOENT));
	HAS(err, "start budd");
	HAS(err, "-S");
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
	is_one_line(err);
	HAS(err, "cannot reach budd at /nonexistent/status.sock");
	HAS(err, "start budd");
	ck_assert_str_eq(out, "");
}
END_TEST

START_TEST(without_the_right_each_verb_has_one_line_and_code_3)
{
	if (geteuid() != 0) {
		printf("skip: %s: needs root\n", __func__);
		return;
	}
	fake_server_say(&server, "HTTP/1.1 200 OK\r\n\r\n{}");
	ck_assert_int_eq(chmod(server.path, 0600), 0);
	setenv("BUD_STATUS_SOCKET", server.path, 1);
	as_nobody = true;
	ck_assert_int_eq(budctl(with_pool(asks[_i], "7")), 3);
	as_nobody = false;
	is_one_line(err);
	HAS(err, "Permission denied; ask for the group that may read the status");
	ck_assert_str_eq(out, "");
	fake_server_stop(&server);
}
END_TEST

START_TEST(option_goes_before_the_environment)
{
	ck_assert_int_eq(budctl("-S /elsewhere.sock show 7"), 3);
	HAS(err, "/elsewhere.sock");
	ck_assert_int_eq(budctl("status --socket /there.sock"), 3);
	HAS(err, "/there.sock");
}
END_TEST

START_TEST(built_in_path_comes_last)
{
	setenv("BUD_STATUS_SOCKET", "", 1);
	budctl("help");
	HAS(out, BUD_STATUS_SOCKET_PATH);
}
END_TEST

START_TEST(path_too_long_for_a_socket_is_code_3)
{
	char line[200];

	snprintf(line, sizeof(line), "-S /%0150d status", 0);
	ck_assert_int_eq(budctl(line), 3);
	is_one_line(err);
	HAS(err, strerror(ENAMETOOLONG));
}
END_TEST

START_TEST(socket_nobody_listens_on_is_code_3)
{
	int sock = fake_server_bind(&server);

	close(sock);
	setenv("BUD_STATUS_SOCKET", server.path, 1);
	ck_assert_int_eq(budctl("show 7"), 3);
	HAS(err, strerror(ECONNREFUSED));
	fake_server_stop(&server);
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
	fake_server_say(&server, answers[_i].said);
	setenv("BUD_STATUS_SOCKET", server.path, 1);
	ck_assert_int_eq(budctl("status"), answers[_i].code);
	is_one_line(err);
	HAS(err, answers[_i].told);
	ck_assert_str_eq(out, "");
	fake_server_stop(&server);
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
	fake_server_say(&server, text);
	setenv("BUD_STATUS_SOCKET", server.path, 1);
	ck_assert_int_eq(budctl("status"), 0);
	ck_assert_int_le(budctl("show 7"), 1);
	ck_assert_int_le(budctl("show 7 --control-blocks"), 1);
	ck_assert_int_le(budctl("explain 7"), 1);
	ck_assert_int_le(budctl("top --once"), 1);
	fake_server_stop(&server);
}
END_TEST

/* --- status --- */

START_TEST(status_tells_of_the_host)
{
	ck_assert_int_eq(budctl("status"), 0);
	HAS(out, "budd " PACKAGE_VERSION ", pid 4242, up 3 min 20 s, restarts 2");
	HAS(out, "waiting 2\n");
	HAS(out, "wall 4 GiB, pinned ");
	HAS(out, "(<1 %) [=...................]");
	ck_assert_str_eq(err, "");
}
END_TEST

START_TEST(status_has_a_line_for_each_pool)
{
	budctl("status");
	HAS(out, "ID  NAME");
	HAS(out, "USED/PINNED/WALL");
	HAS(out, "\n 7  media");
	HAS(out, "root ");
	HAS(out, "3 MiB  256 KiB");
	HAS(out, "[##==================]");
	HAS(out, "54321");
}
END_TEST

/* Where a column starts is where its head does: in each line before it is a blank. */
START_TEST(columns_are_aligned)
{
	const char *head, *line;
	size_t column;

	budctl("status");
	head = strstr(out, "ID  NAME");
	column = (size_t)(strstr(head, "USED/") - head);
	for (line = strchr(head, '\n') + 1; *line != '\0';
	     line = strchr(line, '\n') + 1)
		ck_assert_msg(line[column - 1] == ' ' && line[column] == '[',
		    "not aligned:\n%s", out);
}
END_TEST

START_TEST(name_cannot_command_the_terminal)
{
	budctl("status");
	HAS(out, "?[2Jevil?");
	HAS_NOT(out, "\033");
	HAS_NOT(out, "\x07");
	HAS_NOT(out, "\xc2\x9b");
	budctl("show 11");
	HAS_NOT(out, "\033");
	HAS_NOT(out, "\x07");
	setenv("LC_ALL", "C.UTF-8", 1);
	budctl("status");
	HAS_NOT(out, "\033");
	HAS_NOT(out, "\xc2\x9b");
}
END_TEST

START_TEST(status_as_json_parses)
{
	cJSON *json;

	ck_assert_int_eq(budctl("status --json"), 0);
	json = cJSON_Parse(out);
	ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItem(json, "pools")), 7);
	ck_assert_int_eq(cJSON_GetObjectItem(json, "pid")->valueint, 4242);
	HAS(out, "\n\t\"version\"");
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

/* --- show --- */

START_TEST(pool_is_shown_by_its_name)
{
	ck_assert_int_eq(budctl("show media"), 0);
	HAS(out, "pool 7 'media', open, steady\n");
	HAS(out, "base 1 MiB, add 2 MiB, wall 3 MiB (at most 1 GiB)");
	HAS(out, "pid 77 (nginx), section default");
	HAS(out, "2 requests for 4 MiB, the first waits since 0 s\n");
	HAS(out, "queued 1,");
	HAS(out, "next pass in 35 s\n");
}
END_TEST

START_TEST(blocks_are_shown_with_their_pictures)
{
	budctl("show 7");
	HAS(out, "BLOCK  KIND");
	HAS(out, "0  base");
	HAS(out, "1  add, last");
	HAS(out, "25 %  in-use");
	HAS(out, "[@@@@@@@@@@@@@@@@                                                ]");
	HAS(out, "2 MiB   0 %  free");
}
END_TEST

START_TEST(pictures_use_what_the_locale_has)
{
	setenv("LC_ALL", "C.UTF-8", 1);
	budctl("show 7");
	HAS(out, "[████████████████····");
	budctl("show 12");
	HAS(out, "'grüß'");
	HAS(out, "growing");
	HAS(out, "················××××××××");
}
END_TEST

START_TEST(pool_is_shown_by_its_id_before_another_is_by_its_name)
{
	ck_assert_int_eq(budctl("show 7"), 0);
	HAS(out, "pool 7 'media'");
	ck_assert_int_eq(budctl("show 10"), 0);
	HAS(out, "pool 10 '7'");
}
END_TEST

static const char *const unknown[] = { "show nobody", "explain nobody",
	"top --once nobody", "top --json nobody", "set nobody weight=5",
	"release nobody" };
#define UNKNOWN ((int)(sizeof(unknown) / sizeof(unknown[0])))

START_TEST(unknown_pool_is_one_line_and_code_1)
{
	ck_assert_int_eq(budctl(unknown[_i]), 1);
	is_one_line(err);
	HAS(err, "no pool has the id or the name 'nobody'; budctl status lists them");
	ck_assert_str_eq(out, "");
}
END_TEST

START_TEST(unknown_pool_is_code_1)
{
	ck_assert_int_eq(budctl("show nobody"), 1);
	is_one_line(err);
	HAS(err, "'nobody'");
	ck_assert_int_eq(budctl("show 99"), 1);
	ck_assert_int_eq(budctl("show 007"), 1);
	ck_assert_str_eq(out, "");
}
END_TEST

START_TEST(name_that_several_share_lists_them)
{
	ck_assert_int_eq(budctl("show twin"), 1);
	HAS(err, "2 pools are named 'twin'");
	HAS(err, "id 8  pid 77  user root  nginx\n");
	HAS(err, "id 9  pid 77");
	ck_assert_str_eq(out, "");
	ck_assert_int_eq(budctl("show 9"), 0);
}
END_TEST

START_TEST(pool_as_json_parses)
{
	cJSON *json;

	ck_assert_int_eq(budctl("--json show media"), 0);
	json = cJSON_Parse(out);
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
		HAS(out, names[i]);
}
END_TEST

START_TEST(control_blocks_have_the_values_of_the_pool)
{
	budctl("show media --control-blocks");
	HAS(out, "AddSize       2097152 (2 MiB)\n");
	HAS(out, "BuddyChain    block 0 @ 0 B\n");
	HAS(out, "BuddyWall     3 (MiB");
	HAS(out, "UsrWall       3145728 (3 MiB)\n");
	HAS(out, "TckCnt        70 (ticks");
	HAS(out, "Fwd_p         block 1 @ 1 MiB\n    Bck_p         NULL\n");
	HAS(out, "Fwd_p         NULL\n    Bck_p         block 0 @ 0 B\n");
	HAS(out, "BuddyBuf_p    memfd 1048576..3145728 (@ 1 MiB)\n");
	HAS(out, "BudBufStatus  in-use\n");
	HAS(out, "786432 bytes free (768 KiB), the largest buffer 512 KiB\n");
}
END_TEST

/* --- top --- */

START_TEST(one_frame_of_top_is_text)
{
	ck_assert_int_eq(budctl("top --once"), 0);
	HAS(out,
	    "budd " PACKAGE_VERSION "  up 3 min 20 s  restarts 2  pools 7  by waiting  "
	    "waiting 2\n");
	HAS(out, "\n    7 media          256K     3M     3M [##======================] "
		 "    2  "
		 "  0:00\n");
	HAS(out, "\npool 7 'media'  largest free 2M  in caches 0  had to queue 1  "
		 "waits for: ");
	HAS(out, "\n   0     1M b [@@@@@@@@@@@@@@@@   ");
	HAS(out, "?[2Jevil?");
	HAS_NOT(out, "\033");
	HAS_NOT(out, " \n");
	ck_assert_str_eq(err, "");
}
END_TEST

START_TEST(top_sorts_and_chooses)
{
	const char *first, *second;

	ck_assert_int_eq(budctl("top --once --sort id 9"), 0);
	first = strstr(out, "    7 media");
	second = strstr(out, "    8 twin");
	ck_assert(first != NULL && second != NULL && first < second);
	HAS(out, "\npool 9 'twin'");
	ck_assert_int_eq(budctl("top --once --sort name"), 0);
	first = strstr(out, " media ");
	second = strstr(out, " twin ");
	ck_assert(first != NULL && second != NULL && first < second);
	ck_assert_int_eq(budctl("top --once twin"), 1);
	HAS(err, "2 pools are named");
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
	for (const char *line = out; *line != '\0'; line += length + 1) {
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
	HAS(out, "\npool 12 'gr\xc3\xbc\xc3\x9f\n");
}
END_TEST

/* --- set, release --- */

START_TEST(pool_is_set_in_words_of_people)
{
	ck_assert_int_eq(budctl("set media wall=256M add=2M weight=7 check_idle=no "
				"policy=several"),
	    0);
	ck_assert_str_eq(out,
	    "pool 7 'media': wall 256 MiB, add 2 MiB, weight 7, check_idle no, "
	    "policy several\n");
	ck_assert_str_eq(err, "");
	budctl("show 7");
	HAS(out, "wall 256 MiB (at most 1 GiB)");
	HAS(out, "weight 7,");
	HAS(out, "policy several\n");
	HAS(out, "no pass: check_idle is off\n");
	budctl("show 7 --control-blocks");
	HAS(out, "ChkBuddyBsy = false");
}
END_TEST

START_TEST(what_stays_above_a_lowered_wall_is_told)
{
	ck_assert_int_eq(budctl("set 12 wall=1M"), 0);
	HAS(out, "wall 1 MiB");
	HAS(out, "1 MiB are still pinned above the wall");
	budctl("show 12");
	HAS(out, "1 MiB above the wall");
}
END_TEST

START_TEST(host_is_set_in_words_of_people)
{
	ck_assert_int_eq(
	    budctl("set host wall=1G tick=250ms release_period=30s "
		   "idle=1min overtaken_max=4 user_wall=512M user_pools=3"),
	    0);
	HAS(out, "host: wall 1 GiB (at most 4 GiB), tick 0.25 s, release_period 30 s, "
		 "idle 1 min,");
	HAS(out, "overtaken_max 4, user_wall 512 MiB, user_pools 3, "
		 "user_requests no limit\n");
	budctl("status");
	HAS(out, "wall 1 GiB, pinned ");
}
END_TEST

START_TEST(what_was_set_is_told_as_json)
{
	cJSON *json;

	ck_assert_int_eq(budctl("set 7 weight=9 --json"), 0);
	json = cJSON_Parse(out);
	ck_assert_int_eq(cJSON_GetObjectItem(json, "weight")->valueint, 9);
	cJSON_Delete(json);
	ck_assert_int_eq(budctl("--json set host user_pools=9"), 0);
	json = cJSON_Parse(out);
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
	HAS(err, impossible[_i].told);
	ck_assert_str_eq(out, "");
}
END_TEST

START_TEST(release_tells_which_pools_give_blocks_back)
{
	ck_assert_int_eq(budctl("release spare"), 0);
	ck_assert_str_eq(out, "pool 13 'spare': 2 blocks\n");
	ck_assert_int_eq(budctl("release 13"), 0);
	HAS(out, "nothing to release");
	ck_assert_int_eq(budctl("release --json"), 0);
	HAS(out, "\"blocks\":\t0");
}
END_TEST

START_TEST(release_without_a_pool_is_for_all)
{
	ck_assert_int_eq(budctl("release"), 0);
	HAS(out, "pool 13 'spare': 2 blocks\n");
}
END_TEST

START_TEST(who_may_not_change_anything_gets_code_4)
{
	if (geteuid() != 0) {
		printf("skip: %s: needs root\n", __func__);
		return;
	}
	as_nobody = true;
	ck_assert_int_eq(budctl("set 7 weight=5"), 4);
	is_one_line(err);
	HAS(err, "budd: only root, ");
	HAS(err, "group budadm");
	ck_assert_int_eq(budctl("set host tick=1ms"), 4);
	ck_assert_int_eq(budctl("release"), 4);
	ck_assert_int_eq(budctl("show 7"), 0);
	as_nobody = false;
}
END_TEST

/* --- explain --- */

static void
ask(struct fake *f, struct session *s, uint64_t tag, uint64_t size)
{
	struct proto_alloc alloc = {
		.tag = tag, .size_bytes = size, .count = 1, .timeout_ms = 60000
	};

	core_request(&f->arbiter.core, &s->pool, &alloc, fake_now);
	ck_assert_ptr_nonnull(queue_find(&s->pool.queue, tag));
}

/* One that is full, and grows by 2 MiB. Each case begins with it; it has the id 7. */
static struct session *
add_full(struct fake *f)
{
	struct session *s = fake_add(f, "media", 4, 8);

	fake_take(s, 4 * CHUNK_SIZE);
	return s;
}

static void
nobody_waits(struct fake *f)
{
	fake_add(f, "media", 4, 8);
}

static void
waits_at_its_wall(struct fake *f)
{
	struct session *s = add_full(f);

	fake_wait(f, s, 1, 4 * CHUNK_SIZE);
	fake_wait(f, s, 2, 4 * CHUNK_SIZE);
}

static void
waits_beyond_its_memory(struct fake *f)
{
	struct session *s = add_full(f);

	s->pool.limits.wall_max = 4 * CHUNK_SIZE;
	fake_wait(f, s, 1, 4 * CHUNK_SIZE);
}

static void
waits_among_fragments(struct fake *f)
{
	struct session *s = fake_add(f, "media", 4, 8);
	uint32_t frame[4];

	for (int i = 0; i < 4; i++)
		frame[i] = fake_take(s, CHUNK_SIZE);
	ck_assert_int_eq(ledger_give(&s->pool.ledger, frame[0]), 0);
	ck_assert_int_eq(ledger_give(&s->pool.ledger, frame[2]), 0);
	fake_wait(f, s, 1, 2 * CHUNK_SIZE);
}

static void
waits_for_the_host(struct fake *f)
{
	struct session *s = add_full(f), *idle = fake_add(f, "idle", 4, 8);

	fake_grow(f, idle, 8, 8);
	fake_take(idle, 8 * CHUNK_SIZE);
	f->arbiter.core.params.host_wall = f->arbiter.core.committed + CHUNK_SIZE;
	ask(f, s, 1, 8 * CHUNK_SIZE);
}

static void
waits_for_a_host_that_cannot_have_more(struct fake *f)
{
	waits_for_the_host(f);
	f->arbiter.spec.host_wall = f->arbiter.core.params.host_wall;
}

static void
waits_for_its_user(struct fake *f)
{
	struct session *s = add_full(f);

	f->arbiter.core.params.user_wall = s->pool.user->charge;
	ask(f, s, 1, 8 * CHUNK_SIZE);
}

static void
waits_for_its_section(struct fake *f)
{
	struct session *s = fake_add_to(f, "media", "shared", 10);

	fake_take(s, 4 * CHUNK_SIZE);
	ask(f, s, 1, 8 * CHUNK_SIZE);
}

static void
waits_in_order(struct fake *f)
{
	struct session *s = add_full(f), *other = fake_add(f, "other", 4, 8);
	uint64_t wall = f->arbiter.core.params.host_wall;

	fake_take(other, 4 * CHUNK_SIZE);
	f->arbiter.core.params.host_wall = f->arbiter.core.committed;
	ask(f, s, 1, 8 * CHUNK_SIZE);
	ask(f, other, 1, 8 * CHUNK_SIZE);
	f->arbiter.core.params.host_wall = wall; /* and nobody was told */
}

static void
waits_for_its_client(struct fake *f)
{
	struct session *s = fake_add(f, "media", 4, 8);

	fake_wait(f, s, 1, 4 * CHUNK_SIZE); /* has its turn */
	fake_wait(f, s, 2, 4 * CHUNK_SIZE);
}

static void
waits_for_pages(struct fake *f)
{
	struct session *s = add_full(f);

	s->pool.retry_tick = UINT32_MAX;
	ask(f, s, 1, 8 * CHUNK_SIZE);
}

static void
waits_for_growth(struct fake *f)
{
	ask(f, add_full(f), 1, 8 * CHUNK_SIZE);
}

static const struct {
	void (*fill)(struct fake *f);
	const char *why;
	const char *told[5];
} explained[] = {
	{ nobody_waits, "nothing",
	    { "pool 7 'media': nothing waits; 1 MiB of 1 MiB pinned are free\n",
		"largest buffer that fits without growth is 1 MiB\n",
		"may grow by 1023.0 MiB up to its wall of 1.0 GiB",
		"0 requests had to queue, and 0 waited on average\n" } },
	{ waits_at_its_wall, "wall",
	    { "pool 7 'media': it is at its own wall\n",
		"2 requests for 2 MiB queue; the first wants 1 MiB, and waits since 0 "
		"s\n",
		"wall is 1 MiB: pinned 1 MiB in 1 block, used 1 MiB, free 0 B\n",
		"    budctl set 7 wall=5M\n        lets in all that waits now\n",
		"until the client (pid 77, nginx) frees buffers\n" } },
	{ waits_beyond_its_memory, "wall",
	    { "wall_max = 3M (or more) in [pool default] of budd.conf" } },
	{ waits_among_fragments, "wall",
	    { "it is at its own wall, and what is free is in pieces too small\n",
		"512 KiB are free, but not in one piece: the largest free run has 256 "
		"KiB, "
		"and the request wants 512 KiB\n",
		"budctl set 7 wall=3M\n", "frees buffers that lie side by side\n" } },
	{ waits_for_the_host, "host",
	    { "the host's wall binds\n", "it wants a block of 2 MiB\n",
		"room for 256 KiB\n",
		"pool 8 'idle' has most: 3.0 MiB, of which it uses 2 MiB\n",
		"budctl set 7 weight=6\n" } },
	{ waits_for_the_host, "host",
	    { "    budctl set host wall=8M\n        lets in the first request\n" } },
	{ waits_for_a_host_that_cannot_have_more, "host",
	    { "in [host] of budd.conf, and a restart of budd" } },
	{ waits_for_its_user, "user",
	    { "the wall of its user binds\n", "user root has ",
		"    budctl set host user_wall=4M\n" } },
	{ waits_for_its_section, "section",
	    { "the wall that its section shares binds\n",
		"wall_total of section shared is 2.5 MiB: 1 MiB taken by its pools\n",
		"wall_total = 3M (or more) in [pool shared] of budd.conf" } },
	{ waits_in_order, "order",
	    { "kept for others whose turn is before its own\n",
		"pool 8 'other' wants 2 MiB and waits since 0 s\n",
		"it gives up in 1 min\n", "budctl set 7 weight=6\n" } },
	{ waits_for_its_client, "turn",
	    { "has been given a turn, and has not used it yet\n",
		"    ps -o pid,stat,wchan:20,args -p 77\n" } },
	{ waits_for_pages, "pinning",
	    { "the system would not lock more pages", "    budctl doctor\n" } },
	{ waits_for_growth, "growing",
	    { "it is being served: memory is on its way\n" } },
};
#define EXPLAINED ((int)(sizeof(explained) / sizeof(explained[0])))

START_TEST(each_reason_is_explained_with_figures_and_remedies)
{
	cJSON *json;

	setenv("LC_ALL", "C", 1);
	fake_server_start(&server, explained[_i].fill);
	setenv("BUD_STATUS_SOCKET", server.path, 1);
	ck_assert_int_eq(budctl("explain media"), 0);
	for (int i = 0; i < 5 && explained[_i].told[i] != NULL; i++)
		HAS(out, explained[_i].told[i]);
	ck_assert_str_eq(err, "");
	ck_assert_int_eq(budctl("explain 7 --json"), 0);
	json = cJSON_Parse(out);
	ck_assert_str_eq(
	    cJSON_GetObjectItem(json, "why")->valuestring, explained[_i].why);
	ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItem(json, "remedies")) == 0,
	    strcmp(explained[_i].why, "nothing") == 0);
	cJSON_Delete(json);
	fake_server_stop(&server);
}
END_TEST

/* The command that is proposed is typed, and then nobody waits at that wall any more. */
START_TEST(the_wall_that_is_proposed_suffices)
{
	fake_server_start(&server, waits_at_its_wall);
	setenv("BUD_STATUS_SOCKET", server.path, 1);
	ck_assert_int_eq(budctl("set 7 wall=5M"), 0);
	ck_assert_int_eq(budctl("explain 7"), 0);
	HAS(out, "it is being served");
	fake_server_stop(&server);
}
END_TEST

/* --- doctor --- */

/* The verdicts depend on the host; that the code goes with them does not. */
START_TEST(doctor_needs_no_budd)
{
	static const char *const checked[] = { "memlock", "memory", "swap",
		"huge pages", "shmem pages", "kernel", "memfd", "mlock2", "membarrier",
		"pidfd", "pressure", "seccomp", "status socket", "client socket",
		"group budadm", "user budd", "cgroup" };
	int code = budctl("doctor");

	ck_assert_int_le(code, 1);
	ck_assert_int_eq(code, strstr(out, "\nfault ") != NULL);
	HAS(out, "warning  budd            does not answer");
	HAS(out, "> systemctl start budd\n");
	HAS(out, "/nonexistent/status.sock: No such file or directory");
	for (size_t i = 0; i < sizeof(checked) / sizeof(checked[0]); i++)
		HAS(out, checked[i]);
	ck_assert_str_eq(err, "");
}
END_TEST

START_TEST(doctor_as_json_has_the_worst_verdict)
{
	cJSON *json, *finding;
	bool fault = false;
	int code = budctl("doctor --json");

	json = cJSON_Parse(out);
	cJSON_ArrayForEach (finding, cJSON_GetObjectItem(json, "findings"))
		fault |= strcmp(cJSON_GetObjectItem(finding, "verdict")->valuestring,
			     "fault") == 0;
	ck_assert_int_eq(fault, code == 1);
	ck_assert_int_eq(fault,
	    strcmp(cJSON_GetObjectItem(json, "verdict")->valuestring, "fault") == 0);
	cJSON_Delete(json);
}
END_TEST

START_TEST(socket_that_nobody_serves_is_a_fault)
{
	close(fake_server_bind(&server));
	setenv("BUD_STATUS_SOCKET", server.path, 1);
	ck_assert_int_eq(budctl("doctor"), 1);
	HAS(out, "fault    status socket");
	fake_server_stop(&server);
}
END_TEST

static void
host_is_in_trouble(struct fake *f)
{
	struct session *s = fake_add(f, "media", 4, 8);

	s->pool.record->audit.unlocked = 3;
	s->pool.record->audit.failed = 1;
	fake_take(s, 4 * CHUNK_SIZE);
	fake_wait(f, s, 1, CHUNK_SIZE);
	queue_head(&s->pool.queue)->since.ns -= 90 * NS_PER_S;
	f->arbiter.core.params.host_wall = (uint64_t)1 << 50;
	f->arbiter.foreign = 2;
}

START_TEST(doctor_sees_what_budd_knows)
{
	fake_server_start(&server, host_is_in_trouble);
	setenv("BUD_STATUS_SOCKET", server.path, 1);
	ck_assert_int_eq(budctl("doctor"), 1);
	HAS(out, "ok       budd            version " PACKAGE_VERSION ", pid 4242");
	HAS(out, "warning  arbiter         another took over 2 times");
	HAS(out, "warning  old pools       2 pools");
	HAS(out, "waiting         pool 7 'media' waits since 1 min 30 s\n");
	HAS(out, "> budctl explain 7\n");
	HAS(out, "fault    audit ");
	HAS(out, "fault    memory          the host's wall is 1 PiB");
	fake_server_stop(&server);
}
END_TEST

/* --- watch --- */

#define WHO                                                                       \
	"\"pool\":{\"id\":7,\"name\":\"media\",\"uid\":0,\"pid\":77,\"command\":" \
	"\"x\"}"

static const char stream[] =
    "HTTP/1.1 200 OK\r\n\r\n"
    "{\"event\":\"hello\",\"time\":1,\"version\":\"9\",\"pid\":42,\"uptime_s\":60,"
    "\"restarts\":1}\n"
    "{\"event\":\"restart\",\"restarts\":1,\"ago_s\":3}\n"
    "{\"event\":\"opened\"," WHO ",\"section\":\"s\",\"base_size\":1048576,"
    "\"add_size\":2097152,\"wall\":4194304}\n"
    "{\"event\":\"closed\"," WHO ",\"reason\":\"it hung up\",\"pinned\":1048576,"
    "\"used\":4096,\"blocks\":1,\"waiting\":2}\n"
    "{\"event\":\"denied\"," WHO ",\"reason\":\"no \\u001b[2Jroom\"}\n"
    "{\"event\":\"grown\"," WHO ",\"bytes\":1048576,\"pinned\":2097152,"
    "\"reason\":\"request\"}\n"
    "{\"event\":\"queued\"," WHO ",\"size\":4096,\"count\":3,\"waited_ms\":1500,"
    "\"waiting\":4,\"waits_for\":\"host\"}\n"
    "{\"event\":\"served\"," WHO ",\"size\":4096,\"count\":1,\"waited_ms\":2500}\n"
    "{\"event\":\"refused\"," WHO ",\"error\":\"EAGAIN\",\"count\":2}\n"
    "{\"event\":\"audit\"," WHO ",\"pages\":1,\"error\":\"no memory\"}\n"
    "{\"event\":\"pressure\",\"reason\":\"host\",\"blocks\":1}\n"
    "{\"event\":\"pressure\"," WHO ",\"reason\":\"share\",\"pinned\":4096}\n"
    "{\"event\":\"changed\",\"uid\":0,\"what\":\"wall 7\"}\n"
    "{\"event\":\"reloaded\"}\n"
    "{\"event\":\"lost\",\"lines\":12}\n"
    "{\"event\":\"danced\",\"steps\":3}\n"
    "7\n"
    "no JSON\n"
    "\n"
    "{\"event\":\"cut";

static const char *const told[] = {
	" hello    budd 9, pid 42, up 1 min, restarts 1\n",
	" restart  the arbiter was started again 3 s ago, restarts 1\n",
	" opened   pool 7 'media', x[77]: by user root, section s: base 1 MiB, add 2 "
	"MiB, "
	"wall 4 MiB\n",
	" closed   pool 7 'media', x[77]: it hung up; it had 1 MiB pinned in 1 block, "
	"4 KiB used, and 2 requests waited\n",
	" denied   pool 7 'media', x[77]: no ?[2Jroom\n",
	" grown    pool 7 'media', x[77]: a block of 1 MiB, pinned now 2 MiB "
	"(request)\n",
	" queued   pool 7 'media', x[77]: a request for 3 x 4 KiB waits since 1.5 s, 4 "
	"in "
	"the queue, for the host\n",
	" served   pool 7 'media', x[77]: the request for 4 KiB has its turn after 2.5 "
	"s\n",
	" refused  pool 7 'media', x[77]: 2 requests, the last with EAGAIN\n",
	" audit    pool 7 'media', x[77]: unlocked pages were found: 1, locked again; "
	"pages could not be locked again: no memory\n",
	" pressure the host is short of memory, blocks to go: 1\n",
	" pressure pool 7 'media', x[77]: others wait, and 4 KiB are more than its "
	"share\n",
	" changed  by user root: wall 7\n",
	" reloaded budd.conf was read again\n",
	" lost     12 lines did not reach this command\n",
	" danced   {\"event\":\"danced\",\"steps\":3}\n",
};

START_TEST(events_are_lines_until_budd_is_gone)
{
	fake_server_say_once(&server, stream);
	setenv("BUD_STATUS_SOCKET", server.path, 1);
	ck_assert_int_eq(budctl("watch"), 3);
	for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++)
		HAS(out, told[i]);
	HAS_NOT(out, "\033");
	HAS_NOT(out, "cut");
	is_one_line(err);
	HAS(err, "budd has gone from");
	fake_server_stop(&server);
}
END_TEST

START_TEST(events_that_are_not_to_be_had_are_one_line)
{
	ck_assert_int_eq(budctl("watch"), 3);
	is_one_line(err);
	HAS(err, "start budd");
	fake_server_say(
	    &server, "HTTP/1.1 429 No\r\n\r\n{\"error\":\"as many as there may be\"}");
	setenv("BUD_STATUS_SOCKET", server.path, 1);
	ck_assert_int_eq(budctl("watch"), 1);
	is_one_line(err);
	HAS(err, "as many as there may be");
	ck_assert_str_eq(out, "");
	fake_server_stop(&server);
}
END_TEST

static void
add_watch(Suite *s)
{
	TCase *t = tcase_create("watch");

	tcase_set_timeout(t, 60); /* it looks for budd for 5 s */
	tcase_add_checked_fixture(t, setup_alone, NULL);
	tcase_add_test(t, events_are_lines_until_budd_is_gone);
	tcase_add_test(t, events_that_are_not_to_be_had_are_one_line);
	suite_add_tcase(s, t);
}

static void
add_alone(Suite *s)
{
	TCase *t = tcase_create("alone");

	tcase_add_checked_fixture(t, setup_alone, NULL);
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
	tcase_add_loop_test(
	    t, each_reason_is_explained_with_figures_and_remedies, 0, EXPLAINED);
	tcase_add_test(t, the_wall_that_is_proposed_suffices);
	tcase_add_test(t, doctor_needs_no_budd);
	tcase_add_test(t, doctor_as_json_has_the_worst_verdict);
	tcase_add_test(t, socket_that_nobody_serves_is_a_fault);
	tcase_add_test(t, doctor_sees_what_budd_knows);
	suite_add_tcase(s, t);
}

static void
add_served(Suite *s)
{
	TCase *t = tcase_create("served");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, status_tells_of_the_host);
	tcase_add_test(t, status_has_a_line_for_each_pool);
	tcase_add_test(t, columns_are_aligned);
	tcase_add_test(t, name_cannot_command_the_terminal);
	tcase_add_test(t, status_as_json_parses);
	tcase_add_test(t, full_standard_output_is_an_error);
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
	tcase_add_test(t, one_frame_of_top_is_text);
	tcase_add_test(t, top_sorts_and_chooses);
	tcase_add_loop_test(
	    t, no_width_is_too_small_or_too_large_for_a_frame, 0, WIDTHS);
	tcase_add_test(t, a_frame_may_be_cut_within_characters_of_several_bytes);
	tcase_add_test(t, pool_is_set_in_words_of_people);
	tcase_add_test(t, what_stays_above_a_lowered_wall_is_told);
	tcase_add_test(t, host_is_set_in_words_of_people);
	tcase_add_test(t, what_was_set_is_told_as_json);
	tcase_add_loop_test(
	    t, what_budd_refuses_is_code_1_and_its_reason, 0, IMPOSSIBLE);
	tcase_add_test(t, release_tells_which_pools_give_blocks_back);
	tcase_add_test(t, release_without_a_pool_is_for_all);
	tcase_add_test(t, who_may_not_change_anything_gets_code_4);
	suite_add_tcase(s, t);
}

int
main(void)
{
	Suite *s = suite_create("budctl");
	SRunner *r;
	int failed;

	add_alone(s);
	add_served(s);
	add_watch(s);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
