/* SPDX-License-Identifier: ISC */

/*
 * What it costs to grow by a block, of each size, in the memory of one heap; beside it, what
 * the bare system calls cost: one process locks the pages, another maps them. A block counts
 * as there when the client has all of it in its page tables. Prints lines "test number";
 * bench/run runs it round after round, for each heap that the host gives.
 *
 *	bench/grow HEAP TIMES		page, thp, huge; which is also the section's name
 */
#include <err.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "bud.h"

#define MIB       ((size_t)1 << 20)
#define LARGE     (2 * MIB)
#define TIMES_MAX 1000

#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB (21u << 26)
#endif

static const char *heap;
static bool is_thp, is_huge;
static int times;

/* Of one block size, by how it came to be. */
struct figures {
	double bud[TIMES_MAX];
	double pin[TIMES_MAX];
	double map[TIMES_MAX];
	double bare[TIMES_MAX]; /* both */
	long faults;
};

static double
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static long
faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void
print_median(const char *name, size_t block, double *values)
{
	qsort(values, (size_t)times, sizeof(*values), compare);
	printf("%s-%zuM-%s-us-per-MiB %.2f\n", heap, block / MIB, name,
	    values[times / 2] / (double)(block / MIB));
	fflush(stdout);
}

/* The first byte of every page: there are to be no faults any more. */
static long
faults_of_touching(volatile char *buf, size_t size)
{
	long before = faults();

	for (size_t at = 0; at < size; at += 4096)
		buf[at] = 1;
	return faults() - before;
}

static void
grow(size_t block, double *tookp, long *faultsp)
{
	size_t base = is_thp || is_huge ? LARGE : MIB;
	struct bud_config config = { .size = sizeof(config),
		.pool = heap,
		.base = base,
		.add = block,
		.wall = base + block };
	struct bud_pool *pool;
	int r = bud_open(&pool, &config);
	double start;
	void *buf;

	if (r != 0)
		errx(1, "bud_open %s: %s", heap, strerror(-r));
	if (bud_alloc(pool, base, 10000) == NULL)
		err(1, "bud_alloc of the base");
	start = now_us();
	if ((buf = bud_alloc(pool, block, 10000)) == NULL)
		err(1, "bud_alloc of %zu bytes", block);
	*tookp = now_us() - start;
	*faultsp += faults_of_touching(buf, block);
	bud_close(pool);
}

static char *
map_aligned(int fd, size_t size)
{
	char *p = mmap(NULL, size + LARGE, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *q = p + (LARGE - (uintptr_t)p % LARGE) % LARGE;

	if (p == MAP_FAILED)
		err(1, "mmap");
	if (q > p)
		munmap(p, (size_t)(q - p));
	munmap(q + size, (size_t)(p + LARGE - q));
	q = mmap(q, size, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0);
	if (q == MAP_FAILED)
		err(1, "mmap");
	return q;
}

/* What growing cannot do without. One process does both, each with a mapping of its own. */
static void
grow_bare(size_t block, double *pinp, double *mapp)
{
	unsigned int flags = is_huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0;
	int fd = memfd_create("bench", MFD_CLOEXEC | flags);
	char *one, *other;
	double start, between;

	if (fd == -1 || ftruncate(fd, (off_t)block) == -1)
		err(1, "memfd_create");
	one = map_aligned(fd, block);
	other = map_aligned(fd, block);
	if (is_thp)
		madvise(one, block, MADV_HUGEPAGE);
	start = now_us();
	if (is_huge ? madvise(one, block, MADV_POPULATE_WRITE) == -1
		    : mlock(one, block) == -1)
		err(1, "mlock");
	between = now_us();
	if (madvise(other, block, MADV_POPULATE_READ) == -1)
		err(1, "madvise");
	*mapp = now_us() - between;
	*pinp = between - start;
	munmap(one, block);
	munmap(other, block);
	close(fd);
}

/* In turn, so that whatever else the machine does meets both. */
static void
measure(size_t block)
{
	static struct figures f;

	f.faults = 0;
	for (int i = -1; i < times; i++) { /* the first one warms up */
		int at = i < 0 ? 0 : i;

		grow_bare(block, &f.pin[at], &f.map[at]);
		f.bare[at] = f.pin[at] + f.map[at];
		grow(block, &f.bud[at], &f.faults);
	}
	print_median("bud", block, f.bud);
	print_median("bare", block, f.bare);
	print_median("bare-pin", block, f.pin);
	print_median("bare-map", block, f.map);
	printf(
	    "%s-%zuM-faults %.2f\n", heap, block / MIB, (double)f.faults / (times + 1));
}

int
main(int argc, char **argv)
{
	static const size_t blocks[] = { MIB, 4 * MIB, 16 * MIB, 64 * MIB };

	if (argc != 3 || (times = atoi(argv[2])) < 1 || times > TIMES_MAX)
		errx(2, "usage: grow HEAP TIMES    TIMES from 1 to %d", TIMES_MAX);
	heap = argv[1];
	is_thp = strcmp(heap, "thp") == 0;
	is_huge = strcmp(heap, "huge") == 0;
	for (size_t i = 0; i < sizeof(blocks) / sizeof(*blocks); i++)
		if (blocks[i] >= LARGE || !(is_thp || is_huge))
			measure(blocks[i]);
	return 0;
}
