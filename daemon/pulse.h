/* SPDX-License-Identifier: ISC */

/*
 * The pulse: every so often the keeper asks the arbiter how it is. Its answer is what makes
 * budd ready, and what keeps the service manager's watchdog quiet: both halves are at work.
 * An arbiter that does not answer for half of the watchdog's time is ended, so that its
 * successor can answer in the other half.
 *
 * Without a manager nobody asks.
 */
#ifndef DAEMON_PULSE_H
#define DAEMON_PULSE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/clock.h"

struct pulse {
	bool on;
	bool ready; /* the manager knows */
	int64_t period_ns;
	int64_t patience_ns;  /* 0: no watchdog */
	struct instant due;   /* of the next question; INSTANT_NEVER: one is out */
	struct instant stuck; /* from when on the arbiter counts as such */
};

void pulse_init(struct pulse *p);
/** pulse_begin() - there is another arbiter */
void pulse_begin(struct pulse *p, struct instant now);
bool pulse_is_due(const struct pulse *p, struct instant now);
void pulse_asked(struct pulse *p);
/** pulse_is_out() - a question is, and has no answer yet */
bool pulse_is_out(const struct pulse *p);
/** pulse_answered() - tells the manager that we are alive, and @line, for people */
void pulse_answered(struct pulse *p, struct instant now, const char *line);
bool pulse_is_stuck(const struct pulse *p, struct instant now);
/** pulse_wait_ms() - until it has to be looked at again; -1: without end */
int pulse_wait_ms(const struct pulse *p, struct instant now);

#endif
