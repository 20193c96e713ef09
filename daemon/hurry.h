/* SPDX-License-Identifier: ISC */

/*
 * A base in a hurry: the first slice of a pool that is not there yet. Part of the core.
 *
 * Whoever opens a pool has its memory made and its first slice pinned in one breath. Until
 * the answer comes there is no pool that could count it; so its whole base is promised here, to
 * the host's wall and its user's, as one pool of that user's. What is promised is core_open()'s,
 * or is given back. A group's pools are never hurried.
 */
#ifndef DAEMON_HURRY_H
#define DAEMON_HURRY_H

#include <stdint.h>

#include "daemon/clock.h"

struct core;
struct pool;
struct pool_limits;
struct user;

struct hurry {
	struct user *user; /* NULL: nothing is hurried */
	uint64_t charge;   /* bytes, as the pool's will be once its base is planned */
	uint32_t chunks;   /* the first slice of the base */
};

/**
 * core_hurry() - how much of a new pool's base may be asked for before there is a pool
 * @h:		receives what was promised; nothing, if that is 0
 * @limits:	of the pool
 * @chunks:	of its memory
 *
 * While nobody else is being pinned for, and the base is sure to fit. Whoever gets some asks
 * for it, and hands @h to core_open() or core_unhurry().
 *
 * Return: chunks, the first slice of the base; 0: leave it to core_open()
 */
uint32_t core_hurry(
    struct core *c, struct hurry *h, const struct pool_limits *limits, uint32_t chunks);
/** core_unhurry() - there will be no such pool, and the keeper knows it; others may have what
 * was promised. Nothing, if nothing was */
void core_unhurry(struct core *c, struct hurry *h, struct instant now);

/** hurry_take() - between the core's own files: the promise is @p's now, which is to be
 * charged for it at once, and of which a slice is under way */
void hurry_take(struct core *c, struct hurry *h, struct pool *p);

#endif
