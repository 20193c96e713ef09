/* SPDX-License-Identifier: ISC */

/*
 * A child of a test. Nothing of Check's may be called in it: each assertion writes a line
 * into the file that Check's own process reads, whose offset all of them share, and one
 * that comes while it reads spoils the message ("Bad message type").
 */
#ifndef TESTS_FORK_H
#define TESTS_FORK_H

#include <check.h>
#include <sys/types.h>
#include <unistd.h>

/** test_fork() - as fork(); a failure fails the test, and only its parent asserts that */
static inline pid_t
test_fork(void)
{
	pid_t pid = fork();

	if (pid != 0)
		ck_assert_int_ne(pid, -1);
	return pid;
}

#endif
