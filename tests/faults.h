/* SPDX-License-Identifier: ISC */

/*
 * budd whose calls fail: tests/budd-faults is budd, linked so that the calls below go through
 * faults.c. A page that it shares with the test says which call of which process fails, the
 * how manieth from now on, and with what error. The product knows nothing of it.
 */
#ifndef TESTS_FAULTS_H
#define TESTS_FAULTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define FAULTS_ENV "BUD_FAULTS" /* names the file that is shared */

enum fault_call {
	FAULT_NONE,
	FAULT_ACCEPT,
	FAULT_CALLOC,
	FAULT_DESCRIPTORS, /* that come with a message: there is no room for them */
	FAULT_FALLOCATE,
	FAULT_FCHMOD,
	FAULT_FCNTL,
	FAULT_FORK,
	FAULT_FTRUNCATE,
	FAULT_GETSOCKOPT,
	FAULT_MADVISE,
	FAULT_MEMFD,
	FAULT_MLOCK,
	FAULT_MMAP,
	FAULT_POLL,
	FAULT_RECVMSG,
	FAULT_SENDMSG,
	FAULT_SOCKETPAIR,
};

/* Written by the test while `call` is FAULT_NONE; `call` comes last. */
struct faults {
	_Atomic(uint32_t) call;
	bool in_arbiter; /* or in the keeper */
	bool for_good;   /* not only the nth, but each from there on */
	int error;
	uint32_t nth; /* from 1 */
	_Atomic(uint32_t) seen;
	_Atomic(uint32_t) fired;
};

#endif
