/* SPDX-License-Identifier: ISC */

/* What the core counts. Part of the core. */
#include "daemon/tally.h"

#include <stddef.h>

const double tally_times[TALLY_TIMES] = { 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1,
	0.3, 1, 3, 10, 30, 100 };
const double tally_sizes[TALLY_SIZES] = { 4096, 16384, 65536, 262144, 1048576, 4194304,
	16777216, 67108864, 268435456 };

/* The first bucket that is large enough; @n: the one without an end. */
static size_t
bucket(const double ends[], size_t n, double value)
{
	size_t i = 0;

	while (i < n && value > ends[i])
		i++;
	return i;
}

static double
seconds(int64_t ns)
{
	return ns > 0 ? (double)ns / (double)NS_PER_S : 0;
}

void
tally_time(struct tally_times *t, int64_t ns)
{
	t->counts[bucket(tally_times, TALLY_TIMES, seconds(ns))]++;
	t->sum += seconds(ns);
}

void
tally_size(struct tally_sizes *t, uint64_t bytes, uint32_t count)
{
	t->counts[bucket(tally_sizes, TALLY_SIZES, (double)bytes)] += count;
	t->sum += (double)bytes * count;
}

void
level_init(struct level *l, struct instant now)
{
	*l = (struct level){ .began = now, .changed = now };
}

void
level_move(struct level *l, int by, struct instant now)
{
	l->area = level_area(l, now);
	l->changed = now;
	l->now = (uint32_t)((int64_t)l->now + by);
}

double
level_area(const struct level *l, struct instant now)
{
	return l->area + l->now * seconds(now.ns - l->changed.ns);
}

double
level_average(const struct level *l, struct instant now)
{
	double time = seconds(now.ns - l->began.ns);

	return time > 0 ? level_area(l, now) / time : l->now;
}
