/* SPDX-License-Identifier: ISC */

/*
 * The audit: are the pages locked that should be? A client can punch holes into its own
 * memory. It is asked slice by slice, as pinning is, one at a time for all pools, once in
 * core_params.audit_ns; the keeper looks, and repairs.
 */
#ifndef DAEMON_AUDIT_H
#define DAEMON_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

struct core;
struct pool;

/* What the keeper found in a slice: pages of 4 KiB, locked again but for an error. */
struct audit_found {
	uint32_t holes;    /* punched, and not touched since */
	uint32_t unlocked; /* punched, and touched again */
};

/** audit_period_ns() - how often, where there is a release pass so often: as that, but an
 * operator may make it as fast as he likes, and this at most once a second */
int64_t audit_period_ns(int64_t release_ns);

/** audit_start() - begin with the oldest pool, unless one is under way */
void audit_start(struct core *c);
/** audit_forget() - before the pool goes away, in the midst of it or not */
void audit_forget(struct core *c, struct pool *p);

/** core_audited() - what the keeper answers; @error is a positive errno
 * Return: pages that were found in all of the pool, if this was its last slice; else 0 */
uint64_t core_audited(
    struct core *c, struct pool *p, const struct audit_found *found, int error);

#endif
