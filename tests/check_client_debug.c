/* SPDX-License-Identifier: ISC */

/* libbud: what BUD_DEBUG prints. */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bud.h"
#include "tests/fakebudd.h"

#define SOON 3000 /* ms */

static struct fakebudd fake;
static struct bud_pool *pool;
static int caught = -1, standard_error = -1;

/* What goes to standard error from here on ends in a memfd. */
static void
catch_stderr(void)
{
	fflush(stderr);
	standard_error = dup(STDERR_FILENO);
	caught = memfd_create("stderr", MFD_CLOEXEC);
	ck_assert_int_ne(standard_error, -1);
	ck_assert_int_ne(caught, -1);
	ck_assert_int_ne(dup2(caught, STDERR_FILENO), -1);
}

static void
let_stderr_go(char *text, size_t size)
{
	ssize_t n;

	ck_assert_int_ne(dup2(standard_error, STDERR_FILENO), -1);
	close(standard_error);
	n = pread(caught, text, size - 1, 0);
	ck_assert_int_ge(n, 0);
	text[n] = '\0';
	close(caught);
}

static void
on_granted(void *buf, int error, void *arg)
{
	(void)error;
	*(void **)arg = buf;
}

static void
on_event(unsigned int event, uint64_t bytes, void *arg)
{
	(void)event;
	(void)bytes;
	(void)arg;
}

static void
dispatch(void)
{
	struct pollfd p = { .fd = bud_fd(pool), .events = POLLIN };

	ck_assert_int_eq(poll(&p, 1, SOON), 1);
	ck_assert_int_ge(bud_dispatch(pool), 0);
}

static uint64_t
ask(void *bufp, struct bud_request **requestp)
{
	ck_assert_int_eq(
	    bud_request(pool, 65536, 1000, 0, on_granted, bufp, requestp), 0);
	return fake_expect_alloc(&fake, 65536);
}

/* Tags are told as @tags. */
static void
live(uint64_t tags[3])
{
	struct bud_request *request;
	union proto_msg m;
	void *all, *buf = NULL;

	ck_assert_ptr_nonnull(all = bud_alloc(pool, CHUNK_SIZE, 0));
	tags[0] = ask(&buf, &request);
	ck_assert_int_eq(bud_cancel(request), 0);
	fake_expect_cancel(&fake, tags[0]);
	fake_refuse(&fake, tags[0], ECANCELED);
	dispatch();
	tags[1] = ask(&buf, NULL);
	fake_refuse(&fake, tags[1], ETIMEDOUT);
	dispatch();
	tags[2] = ask(&buf, NULL);
	fake_grow(&fake, 1);
	fake_grant(&fake, tags[2]);
	dispatch();
	ck_assert_ptr_nonnull(buf);
	fake_expect_done(&fake, tags[2], PROTO_USED);
	fake_queued(&fake, true);
	bud_free(pool, buf);
	fake_expect(&fake, PROTO_DOORBELL, &m);
	fake_queued(&fake, false);
	ck_assert_int_eq(bud_watch(pool, BUD_GROWN, on_event, NULL), 0);
	ck_assert_int_eq(bud_hint(pool, BUD_TRANSFER_END), 0);
	proto_init(&m, PROTO_EVENT);
	m.event.event = BUD_GROWN;
	m.event.bytes = CHUNK_SIZE;
	fake_send(&fake, &m);
	dispatch();
	fake_restarted(&fake);
	dispatch();
	bud_free(pool, all);
}

static void
live_and_catch(char *text, size_t size, uint64_t tags[3])
{
	fake_init(&fake, 1, 16);
	catch_stderr();
	pool = fake_open(&fake);
	live(tags);
	bud_close(pool);
	let_stderr_go(text, size);
	fake_fini(&fake);
}

START_TEST(each_message_is_a_line_in_its_order)
{
	static char text[16384];
	char wanted[14][96], prefix[32], *at = text, *line, *rest;
	uint64_t tags[3];
	unsigned int n = 0;

	setenv("BUD_DEBUG", "1", 1);
	live_and_catch(text, sizeof(text), tags);
#define WANT(...) snprintf(wanted[n++], sizeof(wanted[0]), __VA_ARGS__)
	WANT("-> HELLO pool \"\", as \"check_client_debug\"\n");
	WANT("<- WELCOME base 262144, add 262144, wall 4194304\n");
	WANT("-> ALLOC %llu: 65536 bytes x 1, 1000 ms\n", (unsigned long long)tags[0]);
	WANT("-> CANCEL %llu\n", (unsigned long long)tags[0]);
	WANT("<- REFUSE %llu: Connection timed out", (unsigned long long)tags[1]);
	WANT("<- GRANT %llu\n", (unsigned long long)tags[2]);
	WANT("-> DONE %llu: used\n", (unsigned long long)tags[2]);
	WANT("-> DOORBELL\n");
	WANT("-> WATCH 0x2\n");
	WANT("-> HINT\n");
	WANT("<- EVENT 0x2: 262144 bytes\n");
	WANT("<- RESTARTED\n");
	WANT("-> RESUMED\n");
	WANT("-> CLOSE\n");
	for (unsigned int i = 0; i < n; i++) {
		at = strstr(at, wanted[i]);
		ck_assert_msg(at != NULL, "'%s' is not where it should be in:\n%s",
		    wanted[i], text);
		at += strlen(wanted[i]);
	}
	snprintf(prefix, sizeof(prefix), "libbud[%d] ", (int)getpid());
	for (line = strtok_r(text, "\n", &rest); line != NULL;
	     line = strtok_r(NULL, "\n", &rest))
		ck_assert_msg(strncmp(line, prefix, strlen(prefix)) == 0,
		    "'%s' begins otherwise than '%s'", line, prefix);
}
END_TEST

START_TEST(otherwise_nothing_is_printed)
{
	static const char *const off[] = { NULL, "", "0" };
	static char text[16384];
	uint64_t tags[3];

	if (off[_i] == NULL)
		unsetenv("BUD_DEBUG");
	else
		setenv("BUD_DEBUG", off[_i], 1);
	live_and_catch(text, sizeof(text), tags);
	ck_assert_str_eq(text, "");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("client_debug");
	TCase *t = tcase_create("debug");
	SRunner *runner;
	int failed;

	tcase_add_test(t, each_message_is_a_line_in_its_order);
	tcase_add_loop_test(t, otherwise_nothing_is_printed, 0, 3);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
