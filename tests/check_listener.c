/* SPDX-License-Identifier: ISC */

/* A path that is free, stale, taken, something else, or out of reach. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/listener.h"
#include "tests/fork.h"

#define PATH   "budd.sock"
#define LOCK   "budd.pid"
#define MODE   0660
#define NOBODY 65534 /* a user who owns nothing */

static char dir[] = "/tmp/check_listener.XXXXXX";
static char why[256];
static struct listener l;
static unsigned int descriptors;

static unsigned int
count_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned int n = 0;

	ck_assert_ptr_nonnull(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

static void
enter(void)
{
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	ck_assert_int_eq(chmod(".", 0755), 0);
	why[0] = '\0';
	l = LISTENER_EMPTY;
	descriptors = count_descriptors();
}

/* No test leaves a descriptor or a file behind. */
static void
leave(void)
{
	listener_close(&l);
	ck_assert_uint_eq(count_descriptors(), descriptors);
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_msg(rmdir(dir) == 0, "%s: %s", dir, strerror(errno));
	memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6); /* CK_FORK=no: for the next */
}

static int
open_path(const char *path)
{
	return listener_open(&l, path, SOCK_SEQPACKET, MODE, why, sizeof(why));
}

static void
expect_why(const char *word)
{
	ck_assert_msg(strstr(why, word) != NULL, "no '%s': %s", word, why);
}

static struct sockaddr_un
address(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	strcpy(a.sun_path, path);
	return a;
}

static int
connect_to(const char *path, int type)
{
	struct sockaddr_un a = address(path);
	int fd = socket(AF_UNIX, type | SOCK_NONBLOCK, 0);
	int r = connect(fd, (struct sockaddr *)&a, sizeof(a));

	if (r == 0)
		return fd;
	r = -errno;
	close(fd);
	return r;
}

/* Bound; listening with room for one more than @backlog if that is not negative. */
static int
bind_at(const char *path, int type, int backlog)
{
	struct sockaddr_un a = address(path);
	int fd = socket(AF_UNIX, type, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	if (backlog >= 0)
		ck_assert_int_eq(listen(fd, backlog), 0);
	return fd;
}

static void
make_stale(void)
{
	close(bind_at(PATH, SOCK_SEQPACKET, 0));
}

static bool
exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

START_TEST(a_free_path_is_listened_on)
{
	static const int types[] = { SOCK_SEQPACKET, SOCK_STREAM };
	int fd;

	ck_assert_int_eq(listener_open(&l, PATH, types[_i], MODE, why, sizeof(why)), 0);
	ck_assert_int_eq(fcntl(l.fd, F_GETFD), FD_CLOEXEC);
	ck_assert_int_ne(fcntl(l.fd, F_GETFL) & O_NONBLOCK, 0);
	fd = connect_to(PATH, types[_i]);
	ck_assert_int_ge(fd, 0);
	close(fd);
}
END_TEST

START_TEST(the_socket_has_its_mode_whatever_the_umask)
{
	static const mode_t modes[] = { 0600, 0660, 0666 };
	mode_t mask = umask(_i == 0 ? 0 : 077);
	struct stat st;

	ck_assert_int_eq(
	    listener_open(&l, PATH, SOCK_STREAM, modes[_i], why, sizeof(why)), 0);
	ck_assert_int_eq(stat(PATH, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, modes[_i]);
	ck_assert_uint_eq(umask(mask), _i == 0 ? 0 : 077);
}
END_TEST

START_TEST(a_path_may_have_107_bytes_and_no_more)
{
	char path[128];

	memset(path, 'p', sizeof(path));
	memcpy(path, "./", 2);
	path[108] = '\0';
	ck_assert_int_eq(open_path(path), -ENAMETOOLONG);
	expect_why("108 bytes, at most 107 fit");
	ck_assert_int_eq(listener_lock(&l, path, why, sizeof(why)), -ENAMETOOLONG);
	path[107] = '\0';
	ck_assert_int_eq(listener_lock(&l, path, why, sizeof(why)), 0);
	ck_assert_int_eq(open_path(path), 0);
	ck_assert(exists(path));
	listener_close(&l);
	ck_assert(!exists(path));
}
END_TEST

START_TEST(an_empty_path_is_refused)
{
	ck_assert_int_eq(open_path(""), -EINVAL);
	expect_why("-s PATH");
	ck_assert_int_eq(listener_lock(&l, "", why, sizeof(why)), -EINVAL);
}
END_TEST

START_TEST(a_path_where_somebody_listens_is_taken)
{
	struct listener other = LISTENER_EMPTY;

	ck_assert_int_eq(
	    listener_open(&other, PATH, SOCK_SEQPACKET, MODE, why, sizeof(why)), 0);
	ck_assert_int_eq(open_path(PATH), -EADDRINUSE);
	expect_why("another budd answers at " PATH);
	ck_assert_int_eq(l.fd, -1);
	ck_assert(exists(PATH));
	listener_close(&other);
}
END_TEST

START_TEST(a_listener_too_busy_to_answer_is_alive)
{
	int other = bind_at(PATH, SOCK_SEQPACKET, 0);
	int client = connect_to(PATH, SOCK_SEQPACKET);

	ck_assert_int_ge(client, 0);
	ck_assert_int_eq(connect_to(PATH, SOCK_SEQPACKET), -EAGAIN); /* so we assume */
	ck_assert_int_eq(open_path(PATH), -EADDRINUSE);
	close(client);
	close(other);
	unlink(PATH);
}
END_TEST

START_TEST(a_listener_of_another_type_is_alive)
{
	int other = bind_at(PATH, SOCK_STREAM, 1);

	ck_assert_int_eq(open_path(PATH), -EADDRINUSE);
	close(other);
	unlink(PATH);
}
END_TEST

/* What is logged meanwhile ends up in @text. */
static void
open_logged(char *text, size_t size)
{
	int saved = dup(STDERR_FILENO), ends[2];
	ssize_t n;

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	dup2(ends[1], STDERR_FILENO);
	ck_assert_int_eq(open_path(PATH), 0);
	dup2(saved, STDERR_FILENO);
	n = read(ends[0], text, size - 1);
	text[n > 0 ? n : 0] = '\0';
	close(saved);
	close(ends[0]);
	close(ends[1]);
}

START_TEST(a_stale_socket_is_replaced_and_logged)
{
	char text[256];
	int fd;

	make_stale();
	open_logged(text, sizeof(text));
	ck_assert_msg(
	    strstr(text, "info listener " PATH ": removed") != NULL, "%s", text);
	fd = connect_to(PATH, SOCK_SEQPACKET);
	ck_assert_int_ge(fd, 0);
	close(fd);
}
END_TEST

START_TEST(what_is_no_socket_is_not_touched)
{
	struct stat st;

	if (_i == 0)
		ck_assert_int_eq(mkdir(PATH, 0700), 0);
	else if (_i == 1)
		ck_assert_int_eq(symlink("nowhere", PATH), 0);
	else
		close(creat(PATH, 0600));
	ck_assert_int_eq(open_path(PATH), -EEXIST);
	expect_why(PATH " exists and is no socket");
	ck_assert_int_eq(lstat(PATH, &st), 0);
	ck_assert_int_eq(remove(PATH), 0);
}
END_TEST

START_TEST(a_missing_directory_is_named)
{
	ck_assert_int_eq(open_path("none/" PATH), -ENOENT);
	expect_why("the directory none does not exist: create it, or");
	expect_why("-s PATH");
	ck_assert_int_eq(listener_lock(&l, "none/" PATH, why, sizeof(why)), -ENOENT);
	expect_why("the directory none does not exist");
}
END_TEST

START_TEST(a_file_in_place_of_the_directory_is_named)
{
	close(creat("file", 0600));
	ck_assert_int_eq(open_path("file/" PATH), -ENOTDIR);
	expect_why("file is no directory");
	unlink("file");
}
END_TEST

/* What an ordinary user gets; in a directory of that mode. */
static void
try_as_user(const char *path, mode_t mode, int *lockedp, int *openedp)
{
	bool root = geteuid() == 0;

	ck_assert_int_eq(chmod(".", mode), 0);
	ck_assert(!root || seteuid(NOBODY) == 0);
	*lockedp = listener_lock(&l, path, why, sizeof(why));
	*openedp = open_path(path);
	ck_assert(!root || seteuid(0) == 0);
	ck_assert_int_eq(chmod(".", 0755), 0);
}

START_TEST(a_directory_that_is_not_writable_is_named)
{
	char path[64], text[128];
	int opened, locked;

	snprintf(path, sizeof(path), "%s/%s", dir, PATH);
	snprintf(text, sizeof(text), "the directory %s is not writable for uid",
	    _i == 0 ? "." : dir);
	try_as_user(_i == 0 ? PATH : path, 0555, &locked, &opened);
	ck_assert_int_eq(locked, -EACCES);
	ck_assert_int_eq(opened, -EACCES);
	expect_why(text);
	expect_why("-s PATH");
}
END_TEST

START_TEST(a_stale_socket_that_cannot_be_removed_is_refused)
{
	int opened, locked;

	make_stale();
	ck_assert_int_eq(chmod(PATH, 0777), 0);
	try_as_user(PATH, 0555, &locked, &opened);
	ck_assert_int_eq(opened, -EACCES);
	expect_why("the directory . is not writable");
	unlink(PATH);
}
END_TEST

START_TEST(a_socket_that_does_not_let_us_in_is_not_touched)
{
	int opened, locked;

	make_stale();
	ck_assert_int_eq(chmod(PATH, 0), 0);
	try_as_user(PATH, 0777, &locked, &opened);
	ck_assert_int_eq(locked, 0);
	ck_assert_int_eq(opened, -EACCES);
	expect_why("who listens at " PATH " cannot be found out: Permission denied");
	ck_assert(exists(PATH));
	unlink(PATH);
}
END_TEST

START_TEST(closing_removes_the_socket)
{
	ck_assert_int_eq(open_path(PATH), 0);
	listener_close(&l);
	ck_assert_int_eq(l.fd, -1);
	ck_assert(!exists(PATH));
}
END_TEST

START_TEST(closing_twice_or_never_opened_does_nothing)
{
	struct listener never = { .fd = -1 };

	listener_close(&never);
	ck_assert_int_eq(open_path(PATH), 0);
	listener_close(&l);
	make_stale();
	listener_close(&l);
	ck_assert(exists(PATH));
	unlink(PATH);
}
END_TEST

START_TEST(closing_leaves_the_socket_of_a_successor)
{
	int other;

	ck_assert_int_eq(open_path(PATH), 0);
	unlink(PATH);
	other = bind_at(PATH, SOCK_SEQPACKET, 1);
	listener_close(&l);
	ck_assert(exists(PATH));
	close(other);
	unlink(PATH);
}
END_TEST

START_TEST(closing_does_not_mind_that_the_path_is_gone)
{
	ck_assert_int_eq(open_path(PATH), 0);
	unlink(PATH);
	listener_close(&l);
}
END_TEST

/* The lock. */

static long
pid_in(const char *path)
{
	FILE *f = fopen(path, "r");
	long pid = 0;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%ld", &pid), 1);
	fclose(f);
	return pid;
}

START_TEST(the_lock_stands_beside_the_socket)
{
	static const struct {
		const char *path, *lock;
	} names[] = { { "a.sock", "a.pid" }, { "a", "a.pid" }, { "./.sock", "./.pid" },
		{ ".sock", ".sock.pid" }, { "a.socket", "a.socket.pid" } };

	ck_assert_int_eq(listener_lock(&l, names[_i].path, why, sizeof(why)), 0);
	ck_assert_int_eq(pid_in(names[_i].lock), getpid());
	listener_close(&l);
	ck_assert(!exists(names[_i].lock));
}
END_TEST

START_TEST(closing_removes_socket_and_lock)
{
	ck_assert_int_eq(listener_lock(&l, PATH, why, sizeof(why)), 0);
	ck_assert_int_eq(open_path(PATH), 0);
	ck_assert(exists(LOCK));
	listener_close(&l);
	ck_assert(!exists(PATH) && !exists(LOCK));
	ck_assert_ptr_null(l.lock);
}
END_TEST

START_TEST(a_lock_without_a_socket_is_given_back)
{
	ck_assert_int_eq(listener_lock(&l, PATH, why, sizeof(why)), 0);
	close(creat(PATH, 0600));
	ck_assert_int_eq(open_path(PATH), -EEXIST);
	listener_close(&l);
	ck_assert(!exists(LOCK));
	unlink(PATH);
}
END_TEST

/* A child that holds the lock until it is killed. */
static pid_t
start_holder(void)
{
	struct listener theirs = LISTENER_EMPTY;
	int ends[2];
	char ok = 0;
	pid_t pid;

	ck_assert_int_eq(pipe(ends), 0);
	pid = test_fork();
	if (pid == 0) {
		ok = listener_lock(&theirs, PATH, why, sizeof(why)) == 0;
		if (write(ends[1], &ok, 1) == 1)
			pause();
		_exit(0);
	}
	ck_assert_int_eq(read(ends[0], &ok, 1), 1);
	ck_assert(ok);
	close(ends[0]);
	close(ends[1]);
	return pid;
}

static void
kill_holder(pid_t pid)
{
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

START_TEST(a_held_lock_names_its_holder_and_dies_with_it)
{
	pid_t pid = start_holder();
	char text[64];

	ck_assert_int_eq(listener_lock(&l, PATH, why, sizeof(why)), -EEXIST);
	snprintf(text, sizeof(text), "another budd, pid %ld, holds " LOCK, (long)pid);
	expect_why(text);
	ck_assert_ptr_null(l.lock);
	listener_close(&l);
	ck_assert(exists(LOCK));
	kill_holder(pid);
	ck_assert_int_eq(listener_lock(&l, PATH, why, sizeof(why)), 0);
	ck_assert_int_eq(pid_in(LOCK), getpid());
}
END_TEST

START_TEST(a_lock_whose_holder_has_not_written_yet_is_held)
{
	pid_t pid = start_holder();

	ck_assert_int_eq(truncate(LOCK, 0), 0);
	ck_assert_int_eq(listener_lock(&l, PATH, why, sizeof(why)), -EEXIST);
	expect_why("another budd is starting, and holds " LOCK);
	kill_holder(pid);
	unlink(LOCK);
}
END_TEST

START_TEST(a_file_with_garbage_is_no_lock)
{
	FILE *f = fopen(LOCK, "w");

	ck_assert_ptr_nonnull(f);
	fputs("garbage, and longer than a pid", f);
	fclose(f);
	ck_assert_int_eq(listener_lock(&l, PATH, why, sizeof(why)), 0);
	ck_assert_int_eq(pid_in(LOCK), getpid());
}
END_TEST

START_TEST(a_lock_that_cannot_be_made_is_named)
{
	ck_assert_int_eq(mkdir(LOCK, 0700), 0);
	ck_assert_int_eq(listener_lock(&l, PATH, why, sizeof(why)), -EISDIR);
	expect_why(LOCK ": Is a directory: remove it, or");
	ck_assert_int_eq(rmdir(LOCK), 0);
}
END_TEST

START_TEST(a_lock_follows_its_holder_into_the_background)
{
	pid_t pid;

	ck_assert_int_eq(listener_lock(&l, PATH, why, sizeof(why)), 0);
	pid = test_fork();
	if (pid == 0) {
		listener_write_pid(&l);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ck_assert_int_eq(pid_in(LOCK), pid);
}
END_TEST

/* A child that locks and opens when @go ends, tells its result, and holds on. */
static pid_t
start_racer(const int *go, int results)
{
	pid_t pid = test_fork();
	char byte;
	int r;

	if (pid != 0)
		return pid;
	close(go[1]);
	r = read(go[0], &byte, 1) == 0 ? listener_lock(&l, PATH, why, sizeof(why))
				       : -EIO;
	if (r == 0)
		r = open_path(PATH);
	if (write(results, &r, sizeof(r)) == sizeof(r))
		pause();
	_exit(0);
}

#define RACERS 8

START_TEST(of_many_who_start_at_once_exactly_one_wins)
{
	int go[2], results[2], i, r, won = 0;
	pid_t pids[RACERS];

	make_stale();
	ck_assert_int_eq(pipe(go), 0);
	ck_assert_int_eq(pipe(results), 0);
	for (i = 0; i < RACERS; i++)
		pids[i] = start_racer(go, results[1]);
	close(go[1]);
	for (i = 0; i < RACERS; i++) {
		ck_assert_int_eq(read(results[0], &r, sizeof(r)), sizeof(r));
		ck_assert_msg(r == 0 || r == -EEXIST, "%s", strerror(-r));
		won += r == 0;
	}
	for (i = 0; i < RACERS; i++)
		kill_holder(pids[i]);
	ck_assert_int_eq(won, 1);
	close(go[0]);
	close(results[0]);
	close(results[1]);
	unlink(PATH);
	unlink(LOCK);
}
END_TEST

static TCase *
paths_case(void)
{
	TCase *t = tcase_create("paths");

	tcase_add_checked_fixture(t, enter, leave);
	tcase_add_loop_test(t, a_free_path_is_listened_on, 0, 2);
	tcase_add_loop_test(t, the_socket_has_its_mode_whatever_the_umask, 0, 3);
	tcase_add_test(t, a_path_may_have_107_bytes_and_no_more);
	tcase_add_test(t, an_empty_path_is_refused);
	tcase_add_test(t, a_path_where_somebody_listens_is_taken);
	tcase_add_test(t, a_listener_too_busy_to_answer_is_alive);
	tcase_add_test(t, a_listener_of_another_type_is_alive);
	tcase_add_test(t, a_stale_socket_is_replaced_and_logged);
	tcase_add_loop_test(t, what_is_no_socket_is_not_touched, 0, 3);
	tcase_add_test(t, a_missing_directory_is_named);
	tcase_add_test(t, a_file_in_place_of_the_directory_is_named);
	tcase_add_loop_test(t, a_directory_that_is_not_writable_is_named, 0, 2);
	tcase_add_test(t, a_stale_socket_that_cannot_be_removed_is_refused);
	tcase_add_test(t, a_socket_that_does_not_let_us_in_is_not_touched);
	tcase_add_test(t, closing_removes_the_socket);
	tcase_add_test(t, closing_twice_or_never_opened_does_nothing);
	tcase_add_test(t, closing_leaves_the_socket_of_a_successor);
	tcase_add_test(t, closing_does_not_mind_that_the_path_is_gone);
	return t;
}

static TCase *
locks_case(void)
{
	TCase *t = tcase_create("locks");

	tcase_add_checked_fixture(t, enter, leave);
	tcase_add_loop_test(t, the_lock_stands_beside_the_socket, 0, 5);
	tcase_add_test(t, closing_removes_socket_and_lock);
	tcase_add_test(t, a_lock_without_a_socket_is_given_back);
	tcase_add_test(t, a_held_lock_names_its_holder_and_dies_with_it);
	tcase_add_test(t, a_lock_whose_holder_has_not_written_yet_is_held);
	tcase_add_test(t, a_file_with_garbage_is_no_lock);
	tcase_add_test(t, a_lock_that_cannot_be_made_is_named);
	tcase_add_test(t, a_lock_follows_its_holder_into_the_background);
	tcase_add_test(t, of_many_who_start_at_once_exactly_one_wins);
	return t;
}

int
main(void)
{
	Suite *s = suite_create("listener");
	SRunner *r = srunner_create(s);
	int failed;

	suite_add_tcase(s, paths_case());
	suite_add_tcase(s, locks_case());
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
