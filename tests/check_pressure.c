/* SPDX-License-Identifier: ISC */

/* Memory pressure: FIFO, socket and the kernel's own file, as somebody names them. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>

#include "daemon/clock.h"
#include "daemon/config.h"
#include "daemon/pressure.h"

#define PSI_FILE "/proc/pressure/memory"

static const struct config_pressure off;

static char dir[64], path[96], log_text[8192];
static struct event_base *base;
static struct pressure *pressure;
static unsigned int calls;

static void
on_pressure(void *arg)
{
	unsigned int *n = arg;

	++*n;
}

static void
setup(void)
{
	strlcpy(dir, "/tmp/bud-test-XXXXXX", sizeof(dir));
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/pressure", dir);
	unsetenv("MEMORY_PRESSURE_WATCH");
	unsetenv("MEMORY_PRESSURE_WRITE");
	base = event_base_new();
	calls = 0;
}

static void
teardown(void)
{
	pressure_free(pressure);
	pressure = NULL;
	event_base_free(base);
	unlink(path);
	rmdir(dir);
}

/* Whether anything is watched; log_text is what was said of it. */
static bool
watch(const struct config_pressure *config)
{
	struct pressure_sources sources;
	FILE *log = tmpfile();
	int saved = dup(STDERR_FILENO);
	size_t n;

	ck_assert(log != NULL && saved != -1);
	dup2(fileno(log), STDERR_FILENO);
	pressure_open(&sources, config);
	pressure = pressure_create(base, &sources, on_pressure, &calls);
	dup2(saved, STDERR_FILENO);
	close(saved);
	rewind(log);
	n = fread(log_text, 1, sizeof(log_text) - 1, log);
	log_text[n] = '\0';
	fclose(log);
	return pressure != NULL;
}

static bool
watch_named(const char *name)
{
	setenv("MEMORY_PRESSURE_WATCH", name, 1);
	return watch(&off);
}

static void
make_fifo(void)
{
	ck_assert_int_eq(mkfifo(path, 0600), 0);
}

static int
make_socket(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_STREAM, 0);

	strlcpy(a.sun_path, path, sizeof(a.sun_path));
	ck_assert_int_eq(bind(sock, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(listen(sock, 5), 0);
	return sock;
}

static void
say(const char *text)
{
	int fd = open(path, O_WRONLY | O_NONBLOCK);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

/* What is there now; returns how often the loop turned, which is little unless it spins. */
static unsigned int
run_quick(void)
{
	unsigned int turns = 0;

	for (; turns < 100; turns++) {
		unsigned int before = calls;

		event_base_loop(base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
		if (calls == before)
			break;
	}
	return turns;
}

static void
on_limit(evutil_socket_t fd, short events, void *arg)
{
	(void)fd;
	(void)events;
	event_base_loopbreak(arg);
}

/* The loop, for so long; returns how often it turned. */
static unsigned int
run_for(unsigned int ms)
{
	struct event *limit = evtimer_new(base, on_limit, base);
	struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };
	unsigned int turns = 0;

	evtimer_add(limit, &tv);
	while (event_base_loop(base, EVLOOP_ONCE) == 0 && !event_base_got_break(base))
		turns++;
	event_free(limit);
	return turns;
}

#define HAS(part)      \
	ck_assert_msg( \
	    strstr(log_text, part) != NULL, "'%s' is not in: %s", part, log_text)

static unsigned int
open_descriptors(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) != -1;
	return n;
}

/* --- Nothing to watch --- */

START_TEST(nothing_is_watched_where_nobody_asks_for_it)
{
	ck_assert(!watch(&off));
	ck_assert_str_eq(log_text, "");
	ck_assert(!watch_named("/dev/null"));
	ck_assert_str_eq(log_text, "");
	pressure_free(NULL);
}
END_TEST

static const struct {
	const char *watch;
	const char *told;
} bad[] = {
	{ "", "no absolute path" },
	{ "pressure", "no absolute path" },
	{ "/nonexistent/pressure", "No such file" },
	{ "/dev/zero", "no PSI file, FIFO or socket" },
	{ "/tmp", "no PSI file, FIFO or socket" },
};
#define BAD ((int)(sizeof(bad) / sizeof(bad[0])))

START_TEST(what_cannot_be_watched_is_a_warning_with_its_reason)
{
	unsigned int before = open_descriptors();

	ck_assert(!watch_named(bad[_i].watch));
	HAS("warn");
	HAS("MEMORY_PRESSURE_WATCH");
	HAS(bad[_i].told);
	ck_assert_uint_eq(open_descriptors(), before);
}
END_TEST

START_TEST(ordinary_file_is_not_written_over)
{
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	struct stat st;

	setenv("MEMORY_PRESSURE_WRITE", "YWJj", 1);
	ck_assert(!watch_named(path));
	HAS("no PSI file");
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_size, 0);
	close(fd);
}
END_TEST

/* --- A FIFO --- */

START_TEST(word_in_a_fifo_is_pressure)
{
	make_fifo();
	ck_assert(watch_named(path));
	HAS("info");
	run_quick();
	ck_assert_uint_eq(calls, 0);
	say("x");
	run_quick();
	ck_assert_uint_eq(calls, 1);
}
END_TEST

START_TEST(fifo_whose_writers_come_and_go_is_quiet)
{
	make_fifo();
	watch_named(path);
	close(open(path, O_WRONLY | O_NONBLOCK));
	close(open(path, O_WRONLY | O_NONBLOCK));
	ck_assert_uint_lt(run_for(50), 3);
	ck_assert_uint_eq(calls, 0);
}
END_TEST

static int64_t
ms_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

START_TEST(words_within_a_second_are_one_more_call_at_its_end)
{
	int64_t start = ms_now();

	make_fifo();
	watch_named(path);
	for (unsigned int i = 0; i < 5; i++) {
		say("x");
		run_quick();
	}
	ck_assert_uint_eq(calls, 1);
	while (calls < 2)
		event_base_loop(base, EVLOOP_ONCE);
	ck_assert_int_ge(ms_now() - start, 990);
	ck_assert_uint_lt(run_for(1200), 5); /* and that was all of it */
	ck_assert_uint_eq(calls, 2);
}
END_TEST

START_TEST(full_fifo_does_not_make_the_loop_spin)
{
	char filler[4096] = { 0 };
	int fd;

	make_fifo();
	watch_named(path);
	fd = open(path, O_WRONLY | O_NONBLOCK);
	while (write(fd, filler, sizeof(filler)) > 0)
		;
	ck_assert_uint_lt(run_for(200), 5);
	ck_assert_uint_eq(calls, 1);
	close(fd);
}
END_TEST

START_TEST(freed_in_its_rest_it_leaves_nothing_behind)
{
	unsigned int before = open_descriptors();

	make_fifo();
	watch_named(path);
	say("x");
	run_quick();
	pressure_free(pressure);
	pressure = NULL;
	ck_assert_uint_eq(open_descriptors(), before);
	ck_assert_int_eq(event_base_loop(base, EVLOOP_NONBLOCK), 1); /* no events */
}
END_TEST

/* --- A socket --- */

START_TEST(word_from_a_socket_is_pressure)
{
	int sock = make_socket(), peer;

	ck_assert(watch_named(path));
	peer = accept(sock, NULL, NULL);
	run_quick();
	ck_assert_uint_eq(calls, 0);
	ck_assert_int_eq(write(peer, "x", 1), 1);
	run_quick();
	ck_assert_uint_eq(calls, 1);
	close(peer);
	close(sock);
}
END_TEST

START_TEST(socket_that_hangs_up_is_not_watched_any_more)
{
	int sock = make_socket();

	ck_assert(watch_named(path));
	close(accept(sock, NULL, NULL));
	close(sock);
	run_quick();
	ck_assert_uint_eq(calls, 0);
	ck_assert_int_eq(event_base_loop(base, EVLOOP_NONBLOCK), 1);
}
END_TEST

START_TEST(socket_that_nobody_listens_on_is_a_warning)
{
	close(make_socket());
	ck_assert(!watch_named(path));
	HAS(strerror(ECONNREFUSED));
	HAS("nobody listens");
}
END_TEST

START_TEST(path_too_long_for_a_socket_is_a_warning)
{
	char deep[300];
	int n, there;

	snprintf(deep, sizeof(deep), "%s/%0100d", dir, 0);
	ck_assert_int_eq(mkdir(deep, 0700), 0);
	there = open(deep, O_RDONLY | O_DIRECTORY);
	n = chdir(deep);
	ck_assert_int_eq(n, 0);
	strlcpy(path, "s", sizeof(path));
	close(make_socket());
	strlcat(deep, "/s", sizeof(deep));
	ck_assert(!watch_named(deep));
	HAS(strerror(ENAMETOOLONG));
	unlinkat(there, "s", 0);
	close(there);
	deep[strlen(deep) - 2] = '\0';
	rmdir(deep);
}
END_TEST

/* --- What is written into it --- */

static const struct {
	const char *base64;
	const char *bytes;
	size_t size;
} good[] = {
	{ "c29tZSAyMDAwMDAgMjAwMDAwMAA=", "some 200000 2000000", 20 },
	{ "YQ==", "a", 1 },
	{ "YWI=", "ab", 2 },
	{ "YWJj", "abc", 3 },
	{ "+/+/", "\xfb\xff\xbf", 3 },
	{ "AAAA", "\0\0\0", 3 },
};
#define GOOD ((int)(sizeof(good) / sizeof(good[0])))

START_TEST(base64_is_written_as_the_bytes_that_it_stands_for)
{
	int sock = make_socket(), peer;
	char bytes[64];

	setenv("MEMORY_PRESSURE_WRITE", good[_i].base64, 1);
	ck_assert(watch_named(path));
	peer = accept(sock, NULL, NULL);
	ck_assert_int_eq(recv(peer, bytes, sizeof(bytes), 0), (ssize_t)good[_i].size);
	ck_assert_mem_eq(bytes, good[_i].bytes, good[_i].size);
	close(peer);
	close(sock);
}
END_TEST

START_TEST(empty_text_writes_nothing)
{
	int sock = make_socket(), peer;
	char byte;

	setenv("MEMORY_PRESSURE_WRITE", "", 1);
	ck_assert(watch_named(path));
	peer = accept(sock, NULL, NULL);
	ck_assert_int_eq(recv(peer, &byte, 1, MSG_DONTWAIT), -1);
	close(peer);
	close(sock);
}
END_TEST

static const char *const malformed[] = { "Y", "YQ", "YQ=", "YQ===", "=",
	"====", "Y===", "Y=Q=", "YQ==YQ==", "YWJ!", "YW J", "YWJj\n", "YQ==\n",
	"YWJ\xff" };
#define MALFORMED ((int)(sizeof(malformed) / sizeof(malformed[0])))

START_TEST(malformed_base64_is_a_warning_and_nothing_is_watched)
{
	make_fifo();
	setenv("MEMORY_PRESSURE_WRITE", malformed[_i], 1);
	ck_assert(!watch_named(path));
	HAS("warn");
	HAS("MEMORY_PRESSURE_WRITE");
	HAS("base64");
}
END_TEST

START_TEST(base64_of_255_bytes_passes_and_of_258_does_not)
{
	char text[345];

	make_fifo();
	memset(text, 'A', sizeof(text) - 1);
	text[344] = '\0';
	setenv("MEMORY_PRESSURE_WRITE", text, 1);
	ck_assert(!watch_named(path));
	text[340] = '\0';
	setenv("MEMORY_PRESSURE_WRITE", text, 1);
	ck_assert(watch_named(path));
}
END_TEST

/* --- The kernel's --- */

static bool
has_psi(const char *test)
{
	int fd = open(PSI_FILE, O_RDWR);

	if (fd == -1)
		printf("skip: %s: %s: %s\n", test, PSI_FILE, strerror(errno));
	else
		close(fd);
	return fd != -1;
}

START_TEST(trigger_of_the_kernel_is_set_and_does_not_spin)
{
	static const struct config_pressure config = {
		.on = true, .stall_ns = 1900 * NS_PER_MS, .window_ns = 2 * NS_PER_S
	};

	if (!has_psi(__func__))
		return;
	ck_assert(watch(&config));
	HAS("watching " PSI_FILE);
	ck_assert_uint_lt(run_for(200), 5);
}
END_TEST

START_TEST(trigger_that_the_kernel_does_not_take_is_a_warning)
{
	static const struct config_pressure config = { .on = true,
		.full = true,
		.stall_ns = 5 * NS_PER_S,
		.window_ns = NS_PER_S };

	if (!has_psi(__func__))
		return;
	ck_assert(!watch(&config));
	HAS("warn");
	HAS("[host] pressure");
	HAS(strerror(EINVAL));
	HAS("multiple of 2s");
}
END_TEST

START_TEST(manager_may_name_the_file_of_the_kernel)
{
	if (!has_psi(__func__))
		return;
	setenv("MEMORY_PRESSURE_WRITE", "c29tZSAyMDAwMDAgMjAwMDAwMAA=", 1);
	ck_assert(watch_named(PSI_FILE));
	ck_assert_uint_lt(run_for(100), 5);
}
END_TEST

START_TEST(file_of_the_kernel_without_a_trigger_is_given_up)
{
	if (!has_psi(__func__))
		return;
	watch_named(PSI_FILE);
	ck_assert_uint_lt(run_for(100), 5);
	ck_assert_uint_eq(calls, 0);
	ck_assert_int_eq(event_base_loop(base, EVLOOP_NONBLOCK), 1);
}
END_TEST

START_TEST(kernel_and_manager_are_watched_at_the_same_time)
{
	static const struct config_pressure config = {
		.on = true, .stall_ns = 1900 * NS_PER_MS, .window_ns = 2 * NS_PER_S
	};

	make_fifo();
	setenv("MEMORY_PRESSURE_WATCH", path, 1);
	if (!has_psi(__func__))
		return;
	ck_assert(watch(&config));
	say("x");
	run_quick();
	ck_assert_uint_eq(calls, 1);
}
END_TEST

static void
add_cases(TCase *t)
{
	tcase_add_test(t, nothing_is_watched_where_nobody_asks_for_it);
	tcase_add_loop_test(
	    t, what_cannot_be_watched_is_a_warning_with_its_reason, 0, BAD);
	tcase_add_test(t, ordinary_file_is_not_written_over);
	tcase_add_test(t, word_in_a_fifo_is_pressure);
	tcase_add_test(t, fifo_whose_writers_come_and_go_is_quiet);
	tcase_add_test(t, words_within_a_second_are_one_more_call_at_its_end);
	tcase_add_test(t, full_fifo_does_not_make_the_loop_spin);
	tcase_add_test(t, freed_in_its_rest_it_leaves_nothing_behind);
	tcase_add_test(t, word_from_a_socket_is_pressure);
	tcase_add_test(t, socket_that_hangs_up_is_not_watched_any_more);
	tcase_add_test(t, socket_that_nobody_listens_on_is_a_warning);
	tcase_add_test(t, path_too_long_for_a_socket_is_a_warning);
	tcase_add_loop_test(
	    t, base64_is_written_as_the_bytes_that_it_stands_for, 0, GOOD);
	tcase_add_test(t, empty_text_writes_nothing);
	tcase_add_loop_test(
	    t, malformed_base64_is_a_warning_and_nothing_is_watched, 0, MALFORMED);
	tcase_add_test(t, base64_of_255_bytes_passes_and_of_258_does_not);
	tcase_add_test(t, trigger_of_the_kernel_is_set_and_does_not_spin);
	tcase_add_test(t, trigger_that_the_kernel_does_not_take_is_a_warning);
	tcase_add_test(t, manager_may_name_the_file_of_the_kernel);
	tcase_add_test(t, file_of_the_kernel_without_a_trigger_is_given_up);
	tcase_add_test(t, kernel_and_manager_are_watched_at_the_same_time);
}

int
main(void)
{
	Suite *s = suite_create("pressure");
	TCase *t = tcase_create("sources");
	SRunner *r;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 20);
	add_cases(t);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
