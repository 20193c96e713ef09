/* SPDX-License-Identifier: ISC */

/*
 * The system calls that each process of budd's may make, by seccomp; all others are denied.
 *
 *	keeper   a denied call returns EPERM. Its end would unlock all memory, so what it
 *		 tries in vain is to fail like any other call of its.
 *	arbiter  a denied call is its end, with a line in the log that names the call. An
 *		 arbiter is easily replaced; one that tries what it never does is not to go
 *		 on serving.
 *
 * A filter cannot be taken off, and is inherited: the keeper's holds for its arbiters, too,
 * and has to have in it what these need. doc/security.md tells what is allowed and why.
 *
 * A build with sanitizers, which trace, or one that was configured with --disable-sandbox, for
 * gcov, which writes files, has no filters, and says so.
 */
#ifndef DAEMON_SANDBOX_H
#define DAEMON_SANDBOX_H

#include <stdbool.h>

enum sandbox {
	SANDBOX_KEEPER,
	SANDBOX_ARBITER,
};

#define SANDBOX_EXIT 159 /* status of an arbiter that a denied call ended */

/** sandbox_enter() - from here on, and for all children
 * @syslog:	the log goes to syslog, whose socket may have to be opened again
 * Return: 0 or a negative errno */
int sandbox_enter(enum sandbox who, bool syslog);

/** sandbox_is_on() - this build has filters */
bool sandbox_is_on(void);
/** sandbox_calls() - how many system calls a filter allows, with whatever arguments */
unsigned int sandbox_calls(enum sandbox who);

#endif
