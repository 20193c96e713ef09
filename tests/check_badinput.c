/* SPDX-License-Identifier: ISC */

/* What an operator can get wrong: options, configuration, paths. The real budd says what,
 * where, and what to do about it; and leaves everything as it was. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/client_process.h"
#include "tests/daemon.h"
#include "tests/raw.h"

static struct daemon d;
static char out[16384];

static void
enter(void)
{
	daemon_prepare(&d, "");
}

static void
leave(void)
{
	daemon_remove(&d);
}

static void
expect_words(const char *const *words)
{
	for (; *words != NULL; words++)
		ck_assert_msg(
		    strstr(out, *words) != NULL, "no \"%s\" in: %s", *words, out);
}

#define EXPECT(...) expect_words((const char *const[]){ __VA_ARGS__, NULL })

/* With everything that it needs; for what must not start. */
static int
run_budd(void)
{
	return daemon_run(&d, out, sizeof(out), "-d", "-f", d.config, "-s", d.socket,
	    "-S", d.status, NULL);
}

/* --- Options --- */

START_TEST(help_and_version_go_to_stdout_and_are_no_error)
{
	ck_assert_int_eq(daemon_run(&d, out, sizeof(out), "-h", NULL), 0);
	EXPECT("usage: budd", "-f FILE", "-s SOCKET", "-S STATUS_SOCKET", "-t", "-d",
	    "SIGHUP");
	ck_assert_int_eq(daemon_run(&d, out, sizeof(out), "--help", NULL), 0);
	EXPECT("usage: budd");
	ck_assert_int_eq(daemon_run(&d, out, sizeof(out), "-V", NULL), 0);
	EXPECT("budd ");
	ck_assert_int_eq(daemon_run(&d, out, sizeof(out), "--version", NULL), 0);
	EXPECT("budd ");
}
END_TEST

START_TEST(unknown_options_and_arguments_are_told_with_the_usage)
{
	ck_assert_int_eq(daemon_run(&d, out, sizeof(out), "-q", NULL), 2);
	EXPECT("q", "usage: budd");
	ck_assert_int_eq(daemon_run(&d, out, sizeof(out), "--wall=64M", NULL), 2);
	EXPECT("--wall", "usage: budd");
	ck_assert_int_eq(daemon_run(&d, out, sizeof(out), "-f", NULL), 2);
	EXPECT("argument", "usage: budd");
	ck_assert_int_eq(daemon_run(&d, out, sizeof(out), "budd.conf", NULL), 2);
	EXPECT("unexpected argument: budd.conf", "usage: budd");
}
END_TEST

/* --- Configuration --- */

static const struct {
	const char *text;
	const char *words[4];
} wrong[] = {
	{ "[pool default]\nwall = 64X\n", { ":2: ", "wall = 64X is no size", "64M" } },
	{ "[pool default]\nwall = 64M\nwalls = 2\n", { ":3: ", "walls" } },
	{ "[pool default]\nwall = 1M\nbase = 2M\n", { ":3: ", "base", "wall" } },
	{ "[host]\ntick = 0ms\n", { ":2: ", "tick = 0ms", "1ms" } },
	{ "[host]\nclients_max = many\n", { ":2: ", "many is no whole number" } },
	{ "[hosts]\nwall = 64M\n", { ":1: ", "hosts" } },
	{ "wall = 64M\n", { ":1: " } },
	{ "[pool default]\nuser = nobody-at-all\n", { ":2: ", "unknown user" } },
	{ "[pool default]\nheap = swap\n", { ":2: ", "page, thp, huge" } },
	{ "[pool default]\nwall\n", { ":2: " } },
};

START_TEST(a_wrong_file_is_told_by_file_line_and_reason)
{
	daemon_configure(&d, wrong[_i].text);
	ck_assert_int_eq(
	    daemon_run(&d, out, sizeof(out), "-t", "-f", d.config, NULL), 1);
	EXPECT(d.config);
	expect_words(wrong[_i].words);
	ck_assert_ptr_null(strstr(out, ": ok"));
	ck_assert_int_eq(run_budd(), 1); /* -d says the same, and does not serve */
	EXPECT(d.config);
	expect_words(wrong[_i].words);
}
END_TEST

START_TEST(a_missing_file_is_told)
{
	unlink(d.config);
	ck_assert_int_eq(
	    daemon_run(&d, out, sizeof(out), "-t", "-f", d.config, NULL), 1);
	EXPECT(d.config, "No such file");
	ck_assert_int_eq(run_budd(), 1);
	EXPECT(d.config, "No such file");
	ck_assert_int_eq(daemon_run(&d, out, sizeof(out), "-t", "-f", d.dir, NULL), 1);
	EXPECT(d.dir, "directory");
}
END_TEST

START_TEST(a_right_file_is_said_to_be_so)
{
	daemon_configure(&d, "[pool default]\nbase = 4M\nwall = 64M\n");
	ck_assert_int_eq(
	    daemon_run(&d, out, sizeof(out), "-t", "-f", d.config, NULL), 0);
	EXPECT(d.config, ": ok");
	ck_assert_ptr_null(strstr(out, "warning"));
}
END_TEST

START_TEST(a_rest_of_the_wall_that_stays_unused_is_warned_of)
{
	daemon_configure(&d, "[pool default]\nbase = 1M\nadd = 4M\nwall = 64M\n");
	ck_assert_int_eq(
	    daemon_run(&d, out, sizeof(out), "-t", "-f", d.config, NULL), 0);
	EXPECT("warning", "unused");
}
END_TEST

/* --- Paths --- */

START_TEST(a_path_that_no_socket_can_have_is_told_with_its_length)
{
	char path[200] = "/tmp/";

	memset(path + 5, 'x', sizeof(path) - 6);
	ck_assert_int_eq(daemon_run(&d, out, sizeof(out), "-d", "-f", d.config, "-s",
			     path, "-S", d.status, NULL),
	    1);
	EXPECT("199 bytes", "107", "-s PATH");
	ck_assert_int_eq(daemon_run(&d, out, sizeof(out), "-d", "-f", d.config, "-s",
			     d.socket, "-S", path, NULL),
	    1);
	EXPECT("199 bytes", "107");
}
END_TEST

START_TEST(a_directory_that_is_not_there_is_named)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/no/budd.sock", d.dir);
	ck_assert_int_eq(daemon_run(&d, out, sizeof(out), "-d", "-f", d.config, "-s",
			     path, "-S", d.status, NULL),
	    1);
	EXPECT(d.dir, "/no", "create it");
}
END_TEST

START_TEST(a_live_budd_is_not_replaced)
{
	struct bud_pool *pool;
	char other[128];

	daemon_launch(&d);
	ck_assert_int_eq(run_budd(), 1);
	EXPECT("another budd", "-s PATH");
	/* Nor is its status socket alone taken. */
	snprintf(other, sizeof(other), "%s/other.sock", d.dir);
	ck_assert_int_eq(daemon_run(&d, out, sizeof(out), "-d", "-f", d.config, "-s",
			     other, "-S", d.status, NULL),
	    1);
	EXPECT("another budd answers at", d.status);
	ck_assert_int_eq(access(other, F_OK), -1);
	pool = open_pool(&d, "default");
	bud_close(pool);
	ck_assert_double_ge(daemon_figure(&d, "host.wall"), 1);
	daemon_end(&d);
}
END_TEST

static void
make_stale(const char *path, int type)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type, 0);

	strcpy(a.sun_path, path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	close(fd);
}

START_TEST(a_stale_socket_is_replaced)
{
	struct bud_pool *pool;

	make_stale(d.socket, SOCK_SEQPACKET);
	make_stale(d.status, SOCK_STREAM);
	daemon_launch(&d); /* waits for the status socket */
	pool = open_pool(&d, "default");
	bud_close(pool);
	daemon_end(&d);
}
END_TEST

START_TEST(a_file_at_the_path_is_left_alone)
{
	const char *path = _i == 0 ? d.socket : d.status;
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	struct stat st;

	ck_assert_int_eq(write(fd, "precious", 8), 8);
	close(fd);
	ck_assert_int_eq(run_budd(), 1);
	EXPECT(path, "is no socket");
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert(S_ISREG(st.st_mode) && st.st_size == 8);
	ck_assert_int_eq(unlink(path), 0);
}
END_TEST

/* Of a later version, as long as a message may be; and of version 2. */
static const struct {
	uint32_t size, min, max;
	const char *told;
} other_hellos[] = {
	{ sizeof(union proto_msg), PROTO_VERSION + 1, UINT32_MAX,
	    "versions 4 to 4294967295" },
	{ 104, 2, 2, "versions 2 to 2 of the protocol, this budd 3" },
};

START_TEST(a_client_of_another_version_is_told_which_is_spoken)
{
	union proto_msg msg;
	struct raw r;

	daemon_launch(&d);
	raw_connect(&r, &d);
	proto_init(&msg, PROTO_HELLO);
	memset(msg.hello.pool, '\n', sizeof(msg) - offsetof(struct proto_hello, pool));
	msg.header.size = other_hellos[_i].size;
	msg.hello.version_min = other_hellos[_i].min;
	msg.hello.version_max = other_hellos[_i].max;
	ck_assert(raw_send(&r, &msg, msg.header.size));
	ck_assert(raw_hear(&r, &msg));
	ck_assert_uint_eq(msg.header.type, PROTO_REFUSE);
	ck_assert_uint_eq(msg.refuse.tag, 0);
	ck_assert_int_eq(msg.refuse.error, EPROTONOSUPPORT);
	ck_assert_ptr_nonnull(strstr(msg.refuse.reason, other_hellos[_i].told));
	raw_expect_end(&r);
	raw_close(&r);
	daemon_end(&d);
}
END_TEST

START_TEST(a_client_that_speaks_later_versions_too_is_served)
{
	union proto_msg msg;
	struct raw r;

	daemon_launch(&d);
	raw_connect(&r, &d);
	proto_init(&msg, PROTO_HELLO);
	msg.hello.version_min = PROTO_VERSION;
	msg.hello.version_max = PROTO_VERSION + 1;
	msg.header.size = sizeof(msg); /* with more to say than we know */
	ck_assert(raw_send(&r, &msg, msg.header.size));
	ck_assert(raw_hear(&r, &msg));
	ck_assert_uint_eq(msg.header.type, PROTO_WELCOME);
	ck_assert_uint_eq(msg.welcome.version, PROTO_VERSION);
	raw_say(&r, PROTO_CLOSE, 0);
	raw_close(&r);
	daemon_end(&d);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("badinput");
	TCase *t = tcase_create("badinput");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, enter, leave);
	tcase_add_test(t, help_and_version_go_to_stdout_and_are_no_error);
	tcase_add_test(t, unknown_options_and_arguments_are_told_with_the_usage);
	tcase_add_loop_test(
	    t, a_wrong_file_is_told_by_file_line_and_reason, 0, SIZEOF_ARRAY(wrong));
	tcase_add_test(t, a_missing_file_is_told);
	tcase_add_test(t, a_right_file_is_said_to_be_so);
	tcase_add_test(t, a_rest_of_the_wall_that_stays_unused_is_warned_of);
	tcase_add_test(t, a_path_that_no_socket_can_have_is_told_with_its_length);
	tcase_add_test(t, a_directory_that_is_not_there_is_named);
	tcase_add_test(t, a_live_budd_is_not_replaced);
	tcase_add_test(t, a_stale_socket_is_replaced);
	tcase_add_loop_test(t, a_file_at_the_path_is_left_alone, 0, 2);
	tcase_add_loop_test(t, a_client_of_another_version_is_told_which_is_spoken, 0,
	    SIZEOF_ARRAY(other_hellos));
	tcase_add_test(t, a_client_that_speaks_later_versions_too_is_served);
	suite_add_tcase(suite, t);
	return daemon_suite(suite);
}
