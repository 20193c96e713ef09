/* SPDX-License-Identifier: ISC */

/*
 * An instant of CLOCK_MONOTONIC, as a type of its own, so that no length of time is taken
 * for one. The core is given instants and reads no clock.
 */
#ifndef DAEMON_CLOCK_H
#define DAEMON_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct instant {
	int64_t ns;
};

#define INSTANT_NEVER ((struct instant){ INT64_MAX })
#define NS_PER_MS     INT64_C(1000000)
#define NS_PER_S      INT64_C(1000000000)

/* Saturates at INSTANT_NEVER; @ns is not negative. */
static inline struct instant
instant_add(struct instant t, int64_t ns)
{
	struct instant sum;

	return __builtin_add_overflow(t.ns, ns, &sum.ns) ? INSTANT_NEVER : sum;
}

static inline bool
instant_before(struct instant a, struct instant b)
{
	return a.ns < b.ns;
}

static inline int64_t
instant_ms_since(struct instant now, struct instant then)
{
	return now.ns > then.ns ? (now.ns - then.ns) / NS_PER_MS : 0;
}

#endif
