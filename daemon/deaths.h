/* SPDX-License-Identifier: ISC */

/*
 * Deaths of arbiters that are their own doing: a crash, an exit, or no answer for too long.
 * After DEATHS_MANY of them within DEATHS_PERIOD_NS, what they died of may be among what
 * clients ask for, again and again; the next arbiter then drops the queues, never the pools.
 * A SIGKILL from elsewhere says nothing about the arbiter, and is not counted.
 */
#ifndef DAEMON_DEATHS_H
#define DAEMON_DEATHS_H

#include <stdbool.h>

#include "daemon/clock.h"

#define DEATHS_MANY      3u
#define DEATHS_PERIOD_NS (10 * NS_PER_S)

struct deaths {
	struct instant at[DEATHS_MANY]; /* the latest; all zero: none yet */
	unsigned int count;             /* of all, ever */
};

void deaths_note(struct deaths *d, struct instant now);
bool deaths_are_many(const struct deaths *d, struct instant now);

#endif
