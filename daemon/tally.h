/* SPDX-License-Identifier: ISC */

/*
 * What the core counts for whoever looks: sums over all pools that there ever were,
 * distributions, and levels over time. All of it begins anew with an arbiter.
 */
#ifndef DAEMON_TALLY_H
#define DAEMON_TALLY_H

#include <stdint.h>

#include "daemon/clock.h"
#include "daemon/record.h"

#define TALLY_TIMES 13u
#define TALLY_SIZES 9u

/* The upper ends of the buckets, in seconds and in bytes; one more has no end. */
extern const double tally_times[TALLY_TIMES];
extern const double tally_sizes[TALLY_SIZES];

/* How many there were in each bucket, not of those below it. */
struct tally_times {
	uint64_t counts[TALLY_TIMES + 1];
	double sum;
};
struct tally_sizes {
	uint64_t counts[TALLY_SIZES + 1];
	double sum;
};

/* A number that goes up and down, and its integral over time, for the average. */
struct level {
	uint32_t now;
	double area; /* in seconds, up to `changed` */
	struct instant began;
	struct instant changed;
};

struct tally {
	struct record_counters sum;
	struct tally_times waits;   /* from ALLOC to the turn, of each turn given */
	struct tally_times growths; /* from wanting an additional block to having it */
	struct tally_sizes sizes;   /* of buffers that budd was asked for */
	struct level waiting;       /* requests, of all pools */
};

void tally_time(struct tally_times *t, int64_t ns);
/** tally_size() - @count buffers of @bytes */
void tally_size(struct tally_sizes *t, uint64_t bytes, uint32_t count);

void level_init(struct level *l, struct instant now);
/** level_move() - it is @by more, from @now on */
void level_move(struct level *l, int by, struct instant now);
/** level_area() - its integral since it began, in seconds */
double level_area(const struct level *l, struct instant now);
/** level_average() - over all the time since it began; weighted by how long it was so */
double level_average(const struct level *l, struct instant now);

#endif
