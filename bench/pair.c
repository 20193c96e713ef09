/* SPDX-License-Identifier: ISC */

/*
 * What a pair of allocating and freeing costs, beside malloc() in the same run: rounds of
 * both in turn; the median round, with the fastest and the slowest. Needs a budd.
 *
 *	bench/pair [-n PAIRS] [-r ROUNDS] [-b]		-b: bud alone, no table (for strace)
 */
#include <err.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "bud.h"

#define ROUNDS_MAX 1000

static struct bud_pool *pool;

static double
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void
pairs_of_bud(size_t size, long pairs)
{
	for (long i = 0; i < pairs; i++) {
		volatile char *p = bud_alloc(pool, size, 0);

		if (p == NULL)
			err(1, "bud_alloc");
		*p = 1;
		bud_free(pool, (void *)(uintptr_t)p);
	}
}

static void
pairs_of_malloc(size_t size, long pairs)
{
	for (long i = 0; i < pairs; i++) {
		volatile char *p = malloc(size);

		if (p == NULL)
			err(1, "malloc");
		*p = 1;
		free((void *)(uintptr_t)p);
	}
}

static double
ns_a_pair(void (*run)(size_t, long), size_t size, long pairs)
{
	double start = now_ns();

	run(size, pairs);
	return (now_ns() - start) / (double)pairs;
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double
print_rounds(const char *who, double *ns, int rounds)
{
	qsort(ns, (size_t)rounds, sizeof(*ns), compare);
	printf("  %-7s %7.2f ns  (%.2f .. %.2f)\n", who, ns[rounds / 2], ns[0],
	    ns[rounds - 1]);
	return ns[rounds / 2];
}

static void
side_by_side(size_t size, long pairs, int rounds)
{
	double bud[ROUNDS_MAX], libc[ROUNDS_MAX], ratio;

	for (int i = 0; i < rounds; i++) {
		bud[i] = ns_a_pair(pairs_of_bud, size, pairs);
		libc[i] = ns_a_pair(pairs_of_malloc, size, pairs);
	}
	printf("%zu KiB, a pair, median of %d rounds of %ld (min .. max)\n",
	    size / 1024, rounds, pairs);
	ratio = print_rounds("bud", bud, rounds);
	ratio /= print_rounds("malloc", libc, rounds);
	printf("  bud / malloc: %.2f\n", ratio);
}

int
main(int argc, char **argv)
{
	struct bud_config config = { .size = sizeof(config), .pool = "bench" };
	long pairs = 1000000;
	int rounds = 21, c, r;
	bool alone = false;

	while ((c = getopt(argc, argv, "n:r:b")) != -1) {
		if (c == 'n')
			pairs = strtol(optarg, NULL, 10);
		else if (c == 'r')
			rounds = (int)strtol(optarg, NULL, 10);
		else if (c == 'b')
			alone = true;
		else
			errx(2, "usage: pair [-n PAIRS] [-r ROUNDS] [-b]");
	}
	if (pairs < 0 || rounds < 1 || rounds > ROUNDS_MAX)
		errx(2, "PAIRS from 0, ROUNDS from 1 to %d", ROUNDS_MAX);
	if ((r = bud_open(&pool, &config)) != 0)
		errx(1,
		    "bud_open: error %d; is budd running? BUD_SOCKET names its socket",
		    -r);
	if (alone) {
		pairs_of_bud(4096, pairs);
	} else {
		side_by_side(4096, pairs, rounds);
		side_by_side(256 << 10, pairs, rounds);
	}
	bud_close(pool);
	return 0;
}
