/* SPDX-License-Identifier: ISC */

/* The log: what a line looks like, and what cannot get into one. */
#undef _FORTIFY_SOURCE /* syslog() is replaced below, and is a macro with it */
#include <check.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "daemon/log.h"

#define STAMP_LEN 24 /* "2026-11-22 12:34:56.789 " */

/*
 * stderr is one end of a pair of datagram sockets: each write(2) is one datagram, so
 * that a line in two pieces, or two lines in one, are seen.
 */
static int theirs, ours, real_stderr;
static char line[4096];

static void
capture(void)
{
	int pair[2];

	ck_assert_int_eq(
	    socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	ours = pair[0];
	theirs = pair[1];
	real_stderr = dup(STDERR_FILENO);
	ck_assert_int_ge(dup2(theirs, STDERR_FILENO), 0);
	unsetenv("JOURNAL_STREAM");
	log_init(true);
	log_debug_token(NULL);
}

static void
release(void)
{
	dup2(real_stderr, STDERR_FILENO);
	close(real_stderr);
	close(ours);
	close(theirs);
}

/* The next write(2), or NULL. */
static const char *
next_write(void)
{
	ssize_t n = recv(ours, line, sizeof(line) - 1, 0);

	if (n == -1)
		return NULL;
	line[n] = '\0';
	return line;
}

/* The next line without its time stamp and newline. */
static const char *
next_line(void)
{
	size_t len;

	ck_assert_ptr_nonnull(next_write());
	len = strlen(line);
	ck_assert_uint_gt(len, STAMP_LEN);
	ck_assert_ptr_eq(strchr(line, '\n'), line + len - 1);
	line[len - 1] = '\0';
	return line + STAMP_LEN;
}

START_TEST(a_line_has_level_token_and_text)
{
	log_info(
	    "session", "pool %d (uid %u pid %d): opened, base 1 MiB", 7, 1000u, 4242);
	ck_assert_str_eq(
	    next_line(), "info session pool 7 (uid 1000 pid 4242): opened, base 1 MiB");
	log_err("a", "b: c");
	ck_assert_str_eq(next_line(), "err a b: c");
	log_warn("a", "b: c");
	ck_assert_str_eq(next_line(), "warn a b: c");
	ck_assert_ptr_null(next_write());
}
END_TEST

START_TEST(a_line_in_the_foreground_starts_with_the_time)
{
	int year, month, day, hour, minute, second, ms, len = 0;

	log_info("a", "b");
	ck_assert_ptr_nonnull(next_write());
	ck_assert_int_eq(sscanf(line, "%4d-%2d-%2d %2d:%2d:%2d.%3d %n", &year, &month,
			     &day, &hour, &minute, &second, &ms, &len),
	    7);
	ck_assert_int_eq(len, STAMP_LEN);
	ck_assert_str_eq(line + len, "info a b\n");
}
END_TEST

static void
name_journal(int fd)
{
	char stream[64];
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev,
	    (uintmax_t)st.st_ino);
	ck_assert_int_eq(setenv("JOURNAL_STREAM", stream, 1), 0);
}

START_TEST(the_journal_gets_a_level_instead_of_the_time)
{
	name_journal(STDERR_FILENO);
	log_init(true);
	log_debug_token("all");
	log_err("a", "b");
	ck_assert_str_eq(next_write(), "<3>err a b\n");
	log_warn("a", "b");
	ck_assert_str_eq(next_write(), "<4>warn a b\n");
	log_info("a", "b");
	ck_assert_str_eq(next_write(), "<6>info a b\n");
	log_debug("a", "b");
	ck_assert_str_eq(next_write(), "<7>debug a b\n");
}
END_TEST

START_TEST(a_stderr_that_is_not_the_journal_has_the_time)
{
	static const char *const streams[] = { "", "1", "1:2", "x:y", NULL };

	if (streams[_i] != NULL)
		setenv("JOURNAL_STREAM", streams[_i], 1);
	else
		name_journal(ours);
	log_init(true);
	log_info("a", "b");
	ck_assert_str_eq(next_line(), "info a b");
}
END_TEST

START_TEST(debugging_is_silent_unless_its_token_is_asked_for)
{
	log_debug("session", "1");
	log_debug_token("session");
	log_debug("session", "2");
	log_debug("sessio", "3");
	log_debug("sessions", "4");
	log_debug_token("all");
	log_debug("pool", "5");
	log_debug_token(NULL);
	log_debug("session", "6");
	log_debug("pool", "7");
	ck_assert_str_eq(next_line(), "debug session 2");
	ck_assert_str_eq(next_line(), "debug pool 5");
	ck_assert_ptr_null(next_write());
}
END_TEST

START_TEST(an_error_number_is_told_in_words)
{
	static const int signs[] = { 1, -1 };

	log_errno("keeper", signs[_i] * ENOENT, "pool %d: memfd", 7);
	ck_assert_str_eq(
	    next_line(), "err keeper pool 7: memfd: No such file or directory");
}
END_TEST

static const struct {
	const char *text;
	const char *logged;
} forged[] = {
	{ "x\nerr session y", "x?err session y" },
	{ "\r\x1b[2K\t\x01\x1f\x7f", "??[2K????" },
	{ "\xc2\x9b"
	  "31m",
	    "??31m" }, /* CSI, in UTF-8 */
	{ "\xc2\xa0\xc3\xa9", "\xc2\xa0\xc3\xa9" },
	{ "x\xc2", "x\xc2" },
	{ "%s%n", "%s%n" },
	{ " ~", " ~" },
};

START_TEST(a_name_cannot_forge_a_line)
{
	log_info("session", "%s", forged[_i].text);
	ck_assert_str_eq(next_line() + strlen("info session "), forged[_i].logged);
	ck_assert_ptr_null(next_write());
}
END_TEST

/* With so many bytes of text the line is just full. */
#define TEXT_MAX (LOG_LINE_MAX - 1 - (int)strlen("info a "))

START_TEST(a_long_line_is_cut_and_says_so)
{
	char text[2 * LOG_LINE_MAX];
	const char *l;

	memset(text, 'x', sizeof(text));
	log_info("a", "%.*s", TEXT_MAX, text);
	l = next_line();
	ck_assert_uint_eq(strlen(l), LOG_LINE_MAX - 1);
	ck_assert_str_eq(l + LOG_LINE_MAX - 4, "xxx");
	log_info("a", "%.*s", TEXT_MAX + 1, text);
	l = next_line();
	ck_assert_uint_eq(strlen(l), LOG_LINE_MAX - 1);
	ck_assert_str_eq(l + LOG_LINE_MAX - 5, "x...");
	log_errno("a", EPERM, "%.*s", (int)sizeof(text), text);
	l = next_line();
	ck_assert_uint_eq(strlen(l), LOG_LINE_MAX - 1);
	ck_assert_ptr_nonnull(strstr(l, "xxx...: Operation not permitted"));
}
END_TEST

START_TEST(no_character_is_cut_in_half)
{
	char text[2 * LOG_LINE_MAX + 1];
	const char *l;
	int i;

	for (i = 0; i < LOG_LINE_MAX; i++)
		memcpy(text + 2 * i, "\xc3\xa9", 3);
	log_info("a", "%s%s", &"x"[_i], text); /* at even and odd places */
	l = next_line();
	ck_assert_str_eq(l + strlen(l) - 5, "\xc3\xa9...");
}
END_TEST

START_TEST(errno_is_left_alone)
{
	close(STDERR_FILENO);
	errno = ERANGE;
	log_err("a", "nobody reads this");
	ck_assert_int_eq(errno, ERANGE);
}
END_TEST

/* libc's are replaced, so that nothing gets into the log of the machine. */
static char logged[4096];
static int logged_level, opened_facility;

void
openlog(const char *ident, int option, int facility)
{
	(void)option;
	ck_assert_str_eq(ident, "budd");
	opened_facility = facility;
}

static void take(int level, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

static void
take(int level, const char *fmt, va_list ap)
{
	logged_level = level;
	vsnprintf(logged, sizeof(logged), fmt, ap);
}

void
syslog(int level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	take(level, fmt, ap);
	va_end(ap);
}

/* What syslog() is with _FORTIFY_SOURCE. */
void __syslog_chk(int level, int flag, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

void
__syslog_chk(int level, int flag, const char *fmt, ...)
{
	va_list ap;

	(void)flag;
	va_start(ap, fmt);
	take(level, fmt, ap);
	va_end(ap);
}

START_TEST(in_the_background_lines_go_to_syslog)
{
	log_init(false);
	ck_assert_int_eq(opened_facility, LOG_DAEMON);
	log_warn("a", "b%%s\n%d", 1);
	ck_assert_int_eq(logged_level, LOG_WARNING);
	ck_assert_str_eq(logged, "warn a b%s?1");
	ck_assert_ptr_null(next_write());
}
END_TEST

static TCase *
lines_case(void)
{
	TCase *t = tcase_create("lines");

	tcase_add_checked_fixture(t, capture, release);
	tcase_add_test(t, a_line_has_level_token_and_text);
	tcase_add_test(t, a_line_in_the_foreground_starts_with_the_time);
	tcase_add_test(t, the_journal_gets_a_level_instead_of_the_time);
	tcase_add_loop_test(t, a_stderr_that_is_not_the_journal_has_the_time, 0, 5);
	tcase_add_test(t, debugging_is_silent_unless_its_token_is_asked_for);
	tcase_add_loop_test(t, an_error_number_is_told_in_words, 0, 2);
	tcase_add_loop_test(t, a_name_cannot_forge_a_line, 0,
	    (int)(sizeof(forged) / sizeof(forged[0])));
	tcase_add_test(t, a_long_line_is_cut_and_says_so);
	tcase_add_loop_test(t, no_character_is_cut_in_half, 0, 2);
	tcase_add_test(t, errno_is_left_alone);
	tcase_add_test(t, in_the_background_lines_go_to_syslog);
	return t;
}

int
main(void)
{
	SRunner *r;
	Suite *s = suite_create("log");
	int failed;

	suite_add_tcase(s, lines_case());
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
