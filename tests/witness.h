/* SPDX-License-Identifier: ISC */

/* Whether what budd has pinned is, and stays, locked; and whether its figures add up. */
#ifndef TESTS_WITNESS_H
#define TESTS_WITNESS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct daemon;

/* A thread that reads, all the time, how much the keeper has locked. */
struct witness {
	const struct daemon *daemon;
	uint64_t least; /* bytes that must be locked at any time */
	pthread_t thread;
	_Atomic bool end;
	uint64_t looks;
	uint64_t dipped_to; /* 0: never below */
};

/** witness_note() - from now on nothing of what is locked now may be unlocked */
void witness_note(struct witness *w, const struct daemon *d);
/** witness_start() - look; fork no child that allocates from here on, for this thread may be
 * in the midst of an allocation just then, and not every allocator minds that */
void witness_start(struct witness *w);
/** witness_stop() - nothing was; how many times it looked */
uint64_t witness_stop(struct witness *w);

/** figures_add_up() - host.pinned is the sum of the pools and their ledgers, just that is
 * locked, and no pool is in the midst of anything */
bool figures_add_up(const struct daemon *d);
/** pages_are_locked() - each page of ours is resident (mincore), and locked by whomever
 * (/proc/kpageflags, where we may look; *@seen tells whether we may) */
bool pages_are_locked(const void *buf, size_t size, bool *seen);

#endif
