/* SPDX-License-Identifier: ISC */

/*
 * Moments at which an arbiter may die. Where something takes several steps, which the next
 * arbiter has to finish or to undo, a step() stands between each two of them. Both functions
 * do nothing: the suites link a budd whose own ones make it stop, or end, at the moment that
 * they choose (tests/deaths.c).
 */
#ifndef DAEMON_STEP_H
#define DAEMON_STEP_H

union proto_msg;

void step(void);
/** step_heard() - a client's message has been checked, and is about to be obeyed */
void step_heard(const union proto_msg *msg);

#endif
