/* SPDX-License-Identifier: ISC */

/*
 * budctl, run as an operator would, against a fake arbiter: what the tests of all its commands
 * share. $BUDCTL names the program.
 */
#ifndef TESTS_BUDCTL_RUN_H
#define TESTS_BUDCTL_RUN_H

#include <check.h>
#include <stdbool.h>
#include <string.h>

#include "tests/fake_server.h"

#define BUDCTL_TEXT_MAX 65536

struct budctl_run {
	struct fake_server server;
	/* What the last run said. */
	char out[BUDCTL_TEXT_MAX], err[BUDCTL_TEXT_MAX];
	bool as_nobody; /* who runs it */
};

extern struct budctl_run run;

/** budctl_setup() - a server with some pools, whose ids count from 7; budctl finds it */
void budctl_setup(void);
void budctl_teardown(void);
/** budctl_setup_alone() - no server; a test may start run.server */
void budctl_setup_alone(void);
/** budctl_fill() - the pools of budctl_setup() */
void budctl_fill(struct fake *f);
/** budctl() - the exit code of a run; the words of @line are separated by blanks */
int budctl(const char *line);
/** budctl_is_one_line() - the test fails if @text is not */
void budctl_is_one_line(const char *text);

#define HAS(text, part) \
	ck_assert_msg(strstr(text, part) != NULL, "'%s' is not in:\n%s", part, text)
#define HAS_NOT(text, part) \
	ck_assert_msg(strstr(text, part) == NULL, "'%s' is in:\n%s", part, text)

/* The cases, by command. */
TCase *budctl_line_tests(void);
TCase *budctl_status_tests(void);
TCase *budctl_show_tests(void);
TCase *budctl_top_tests(void);
TCase *budctl_change_tests(void);
TCase *budctl_explain_tests(void);
TCase *budctl_doctor_tests(void);
TCase *budctl_watch_tests(void);

#endif
