/* SPDX-License-Identifier: ISC */

/*
 * Thread caches as budd sees them: what is in them is free, and can be had. Part of the core.
 * proto/cache.c has the argument; the barrier is an operation of the core's.
 */
#ifndef DAEMON_CACHES_H
#define DAEMON_CACHES_H

#include <stdbool.h>
#include <stdint.h>

struct core;
struct pool;

/**
 * caches_call_in() - give to the map what lies in the caches of threads that are not in the
 * midst of a hit; those empty themselves, and ring, if `queued` is set
 *
 * Return: buffers that came back; 0 also where nothing seems to be in any
 */
uint32_t caches_call_in(struct core *c, struct pool *p);
/** caches_tick() - a tick: owners give back what they keep; for those that did nothing since
 * the last one we do */
void caches_tick(struct core *c, struct pool *p);
/** caches_settle() - after an arbiter's death: a buffer that was on its way is given
 * Return: false: a thread is at work in the map; try again */
bool caches_settle(struct pool *p);
/** caches_frames() - frames that they hold, as the client says */
uint64_t caches_frames(const struct pool *p);
/** caches_fill() - is the last block empty, but for what they hold? */
bool caches_fill_last_block(const struct pool *p);

#endif
