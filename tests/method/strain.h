/* SPDX-License-Identifier: ISC */

/*
 * Memory that is short, for real and for nobody else: a memory cgroup of the test's own
 * (version 1 or 2), and a swap file. They are system settings, so they are made and put back
 * outside the tests, in unchecked fixtures, whatever becomes of a test. Where they cannot be
 * made, the reason is printed and the tests that need them say what they leave out.
 */
#ifndef TESTS_METHOD_STRAIN_H
#define TESTS_METHOD_STRAIN_H

#include <stdbool.h>
#include <stdint.h>

void strain_begin(void);
void strain_end(void);

/** strain_possible() - there is a cgroup */
bool strain_possible(void);
/** strain_swaps() - and pages that nobody locked can be swapped out */
bool strain_swaps(void);
/** strain_enter() - this process, and whom it starts, are in the cgroup from now on */
void strain_enter(void);
void strain_leave(void);
/** strain_reclaim() - the kernel takes from the cgroup whatever it may */
void strain_reclaim(void);
/** strain_suffer() - be in the cgroup, far too small, and read a file again and again: the
 * whole host's memory pressure rises. Does not return */
void strain_suffer(void) __attribute__((noreturn));

#endif
