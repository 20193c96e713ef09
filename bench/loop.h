/* SPDX-License-Identifier: ISC */

/*
 * The loops that measure an allocator. A program for each allocator defines the four
 * functions below and then includes this file, so that all run the same code, compiled
 * together with the calls it measures.
 *
 * Each program runs each test once and prints a line "test nanoseconds"; bench/compare
 * runs the programs in turn, round after round. Plain C that is C++ too.
 */
#ifndef BENCH_LOOP_H
#define BENCH_LOOP_H

#include <err.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#define KIB   ((size_t)1 << 10)
#define MIB   ((size_t)1 << 20)
#define MIXED ((size_t)0) /* 4 KiB x 2^k up to 1 MiB, each as often */
#define LIVE  512u        /* buffers of a working set */
#define BURST 32u
#define PAGE  4096u
#define WARM \
	300000u /* pairs of a working set before the clock starts: until it has grown */
#define RING    256u /* buffers on their way from one thread to the other */
#define THREADS 2u

/* Before the first call; of a thread, before its first; take one; give it back. What an allocator
 * has inline is to stand in the loops, or it would be measured with a call. */
static void setup(void);
static void setup_thread(void);
static inline __attribute__((always_inline)) void *take(size_t size);
static inline __attribute__((always_inline)) void give(void *buf, size_t size);

static double budget_ns = 50e6; /* that a test may take, about */
static double warm_ns = 1e9;    /* at most: what is slow is not warmed up for minutes */
static int nprocessors;

static double
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void
pin_to(unsigned int processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor % (unsigned int)nprocessors, &set);
	if (sched_setaffinity(0, sizeof(set), &set) == -1)
		err(1, "sched_setaffinity");
}

static inline uint64_t
next_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}

static inline __attribute__((always_inline)) void *
must_take(size_t size)
{
	void *buf = take(size);

	if (__builtin_expect(buf == NULL, 0))
		err(1, "no buffer of %zu bytes", size);
	return buf;
}

/* The compiler may not know that nobody looks at it. */
static inline void
look_at(void *buf)
{
	__asm__ volatile("" : : "r"(buf) : "memory");
}

/* --- One pair, and several at once --- */

static void
run_pairs(size_t size, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		void *buf = must_take(size);

		look_at(buf);
		give(buf, size);
	}
}

static void
run_bursts(size_t size, uint64_t n)
{
	void *bufs[BURST];

	for (uint64_t i = 0; i < n; i += BURST) {
		for (unsigned int k = 0; k < BURST; k++)
			look_at(bufs[k] = must_take(size));
		for (unsigned int k = 0; k < BURST; k++)
			give(bufs[k], size);
	}
}

/* More than a cache keeps: what refilling and emptying it costs shows here. */
static void
run_rows(size_t size, uint64_t n)
{
	static void *bufs[LIVE];

	for (uint64_t i = 0; i < n; i += LIVE) {
		for (unsigned int k = 0; k < LIVE; k++)
			look_at(bufs[k] = must_take(size));
		for (unsigned int k = 0; k < LIVE; k++)
			give(bufs[k], size);
	}
}

/* Each page is written to, as whoever reads into a buffer does. */
static void
run_touches(size_t size, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		volatile char *buf = (volatile char *)must_take(size);

		for (size_t at = 0; at < size; at += PAGE)
			buf[at] = 1;
		give((void *)(uintptr_t)buf, size);
	}
}

/* Batches that double until one takes a millisecond, then as many as the budget has. */
static double
ns_of(void (*run)(size_t, uint64_t), size_t size)
{
	uint64_t batch = run == run_rows ? LIVE : BURST, done = 0;
	double start, spent;

	run(size, batch);
	for (start = now_ns();; batch *= 2, start = now_ns()) {
		run(size, batch);
		if (now_ns() - start >= 1e6)
			break;
	}
	start = now_ns();
	do {
		run(size, batch);
		done += batch;
		spent = now_ns() - start;
	} while (spent < budget_ns);
	return spent / (double)done;
}

/* --- A working set: give one of many back, take another --- */

struct set {
	uint64_t random;
	size_t size; /* of all, or MIXED */
	void *bufs[LIVE];
	size_t sizes[LIVE];
	double ns; /* a pair, in the end */
	unsigned int processor;
};

static inline size_t
size_in(struct set *s)
{
	if (s->size != MIXED)
		return s->size;
	return (4 * KIB) << ((next_random(&s->random) >> 32) * 9 >> 32);
}

static void
set_fill(struct set *s, size_t size, unsigned int processor)
{
	memset(s, 0, sizeof(*s));
	s->random = UINT64_C(0x9e3779b97f4a7c15) + processor;
	s->size = size;
	s->processor = processor;
	for (unsigned int i = 0; i < LIVE; i++) {
		s->sizes[i] = size_in(s);
		s->bufs[i] = must_take(s->sizes[i]);
	}
}

static inline void
set_turn(struct set *s)
{
	uint32_t i = (uint32_t)(next_random(&s->random) >> 32) % LIVE;
	size_t size = size_in(s);

	give(s->bufs[i], s->sizes[i]);
	s->sizes[i] = size;
	look_at(s->bufs[i] = must_take(size));
}

static void
set_run(struct set *s)
{
	double start, spent;
	uint64_t done = 0;

	start = now_ns();
	for (unsigned int i = 0; i < WARM && now_ns() - start < warm_ns; i++)
		set_turn(s);
	start = now_ns();
	do {
		for (unsigned int i = 0; i < 64; i++)
			set_turn(s);
		done += 64;
		spent = now_ns() - start;
	} while (spent < budget_ns);
	s->ns = spent / (double)done;
}

static void
set_empty(struct set *s)
{
	for (unsigned int i = 0; i < LIVE; i++)
		give(s->bufs[i], s->sizes[i]);
}

static double
ns_of_set(size_t size)
{
	static struct set s;

	set_fill(&s, size, 0);
	set_run(&s);
	set_empty(&s);
	return s.ns;
}

/* --- Two threads --- */

static pthread_barrier_t together;
static struct set sets[THREADS];

static void *
set_thread(void *arg)
{
	struct set *s = (struct set *)arg;
	size_t size = s->size;
	unsigned int processor = s->processor;

	pin_to(processor);
	setup_thread();
	set_fill(s, size, processor);
	pthread_barrier_wait(&together);
	set_run(s);
	pthread_barrier_wait(&together);
	set_empty(s);
	return NULL;
}

static double
ns_of_threads(size_t size)
{
	pthread_t threads[THREADS];
	double sum = 0;

	pthread_barrier_init(&together, NULL, THREADS);
	for (unsigned int i = 0; i < THREADS; i++) {
		sets[i].size = size;
		sets[i].processor = i;
		if (pthread_create(&threads[i], NULL, set_thread, &sets[i]) != 0)
			errx(1, "pthread_create");
	}
	for (unsigned int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		sum += sets[i].ns;
	}
	pthread_barrier_destroy(&together);
	return sum / THREADS;
}

/* --- Taken by one thread, given back by another, which is told of a burst at a time --- */

static struct {
	void *slots[RING];
	char apart1[128];
	uint64_t put; /* by the one that takes buffers */
	char apart2[128];
	uint64_t got; /* by the one that gives them back */
	char apart3[128];
	size_t size;
} ring;

static void *
giving_thread(void *arg)
{
	uint64_t got = 0, put = 0;

	(void)arg;
	pin_to(1);
	setup_thread();
	pthread_barrier_wait(&together);
	for (;;) {
		while (got == put)
			put = __atomic_load_n(&ring.put, __ATOMIC_ACQUIRE);
		for (; got < put; got++) {
			void *buf = ring.slots[got % RING];

			if (buf == NULL)
				return NULL;
			give(buf, ring.size);
		}
		__atomic_store_n(&ring.got, got, __ATOMIC_RELEASE);
	}
}

static inline void
hand_over(void *buf, uint64_t *put, uint64_t *got)
{
	while (*put - *got == RING)
		*got = __atomic_load_n(&ring.got, __ATOMIC_ACQUIRE);
	ring.slots[(*put)++ % RING] = buf;
	if (*put % BURST == 0 || buf == NULL)
		__atomic_store_n(&ring.put, *put, __ATOMIC_RELEASE);
}

static double
ns_handed_over(size_t size)
{
	uint64_t put = 0, got = 0;
	double start, spent;
	pthread_t other;

	memset(&ring, 0, sizeof(ring));
	ring.size = size;
	pthread_barrier_init(&together, NULL, THREADS);
	if (pthread_create(&other, NULL, giving_thread, NULL) != 0)
		errx(1, "pthread_create");
	pthread_barrier_wait(&together);
	start = now_ns();
	do {
		for (unsigned int i = 0; i < 2 * BURST; i++)
			hand_over(must_take(size), &put, &got);
		spent = now_ns() - start;
	} while (spent < budget_ns);
	hand_over(NULL, &put, &got);
	pthread_join(other, NULL);
	pthread_barrier_destroy(&together);
	return spent / (double)(put - 1);
}

/* --- Single calls --- */

static inline uint64_t
ticks(void)
{
#if defined(__x86_64__)
	unsigned int processor;

	return __rdtscp(&processor);
#else
	return (uint64_t)now_ns();
#endif
}

#define CALLS 400000u

static int
compare_ticks(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Each take and each give of a working set alone, with what the two looks at the clock
 * cost, which the loop without an allocator shows. */
static void
print_single_calls(const char *name, size_t size)
{
	static const double parts[] = { 50, 99, 99.9, 99.99 };
	static uint32_t calls[CALLS];
	static struct set s;
	unsigned int n = 0;
	double start, ns;
	uint64_t first;

	/* Else each page's first word costs a fault, and the call after that one its caches. */
	memset(calls, 1, sizeof(calls));
	set_fill(&s, size, 0);
	start = now_ns();
	first = ticks();
	while (n < CALLS && (n < 2000 || now_ns() - start < 8 * budget_ns)) {
		uint32_t i = (uint32_t)(next_random(&s.random) >> 32) % LIVE;
		uint64_t before = ticks(), between, after;

		give(s.bufs[i], size);
		between = ticks();
		s.bufs[i] = take(size);
		after = ticks();
		calls[n++] = (uint32_t)(between - before);
		calls[n++] = (uint32_t)(after - between);
	}
	ns = (now_ns() - start) / (double)(ticks() - first);
	set_empty(&s);
	qsort(calls, n, sizeof(*calls), compare_ticks);
	for (unsigned int i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		printf("%s-p%g %.2f\n", name, parts[i],
		    ns * calls[(unsigned int)(parts[i] / 100 * (n - 1))]);
}

/* --- All of them --- */

static void
print_tests(void)
{
	printf("pair-4K %.2f\n", ns_of(run_pairs, 4 * KIB));
	printf("pair-64K %.2f\n", ns_of(run_pairs, 64 * KIB));
	printf("pair-256K %.2f\n", ns_of(run_pairs, 256 * KIB));
	printf("pair-1M %.2f\n", ns_of(run_pairs, MIB));
	printf("burst-4K %.2f\n", ns_of(run_bursts, 4 * KIB));
	printf("burst-64K %.2f\n", ns_of(run_bursts, 64 * KIB));
	printf("row-4K %.2f\n", ns_of(run_rows, 4 * KIB));
	printf("row-64K %.2f\n", ns_of(run_rows, 64 * KIB));
	printf("set-4K %.2f\n", ns_of_set(4 * KIB));
	printf("set-64K %.2f\n", ns_of_set(64 * KIB));
	printf("set-mixed %.2f\n", ns_of_set(MIXED));
	printf("touch-64K %.2f\n", ns_of(run_touches, 64 * KIB));
	printf("touch-1M %.2f\n", ns_of(run_touches, MIB));
	print_single_calls("call-4K", 4 * KIB);
	if (nprocessors < 2)
		return; /* two threads in turn on one processor tell nothing */
	printf("threads-4K %.2f\n", ns_of_threads(4 * KIB));
	printf("threads-mixed %.2f\n", ns_of_threads(MIXED));
	printf("handed-4K %.2f\n", ns_handed_over(4 * KIB));
	printf("handed-64K %.2f\n", ns_handed_over(64 * KIB));
}

/* usage: PROGRAM [MILLISECONDS [MILLISECONDS]]	about that long for each test; to warm up */
int
main(int argc, char **argv)
{
	if (argc > 1)
		budget_ns = strtod(argv[1], NULL) * 1e6;
	if (argc > 2)
		warm_ns = strtod(argv[2], NULL) * 1e6;
	nprocessors = (int)sysconf(_SC_NPROCESSORS_ONLN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	setup();
	pin_to(0);
	setup_thread();
	print_tests();
	return 0;
}

#endif
