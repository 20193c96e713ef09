/* SPDX-License-Identifier: ISC */

/*
 * A budd that dies when the suite says so: tests/budd-deaths is budd, but for its step()
 * and step_heard() (daemon/step.h), which stand in deaths.c. Suite and budd share a file
 * with this struct, named by BUD_DEATHS. At the step that was chosen the arbiter stands
 * still until the suite kills it; a request of the deadly size makes it crash.
 */
#ifndef TESTS_DEATHS_H
#define TESTS_DEATHS_H

#include <stdatomic.h>
#include <stdint.h>

struct deaths {
	_Atomic uint64_t steps;       /* that were passed, of all arbiters */
	_Atomic uint64_t stand_at;    /* once `steps` is this; 0: never */
	_Atomic uint32_t stands;      /* it does */
	_Atomic uint64_t deadly_size; /* bytes of an ALLOC; 0: none is deadly */
};

#endif
