/* SPDX-License-Identifier: ISC */

/*
 * What it costs when budd is asked, beside the bare system calls: a waiter served, the
 * first buffer of a new block (bench/grow tells of whole blocks). Prints lines "test
 * number"; bench/run runs it round after round. Needs a budd with a pool "ready", which
 * keeps headroom.
 *
 *	bench/slowpath [TIMES]		of each, default 20; the median is printed
 */
#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bud.h"

#define KIB       ((size_t)1 << 10)
#define MIB       ((size_t)1 << 20)
#define TIMES_MAX 1000
#define PAUSE_US  300 /* for whoever is to wait to be asleep */

static int times = 20;

static double
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void
print_median(const char *name, double *values, int n)
{
	qsort(values, (size_t)n, sizeof(*values), compare);
	printf("%s %.2f\n", name, values[n / 2]);
	fflush(stdout);
}

static struct bud_pool *
open_pool(const char *name, size_t base, size_t add, size_t wall)
{
	struct bud_config config = {
		.size = sizeof(config),
		.pool = name,
		.base = base,
		.add = add,
		.wall = wall,
	};
	struct bud_pool *pool;
	int r = bud_open(&pool, &config);

	if (r != 0)
		errx(1, "bud_open %s: %s", name, strerror(-r));
	return pool;
}

static void *
must_take(struct bud_pool *pool, size_t size)
{
	void *buf = bud_alloc(pool, size, 10000);

	if (buf == NULL)
		err(1, "bud_alloc of %zu bytes", size);
	return buf;
}

static struct bud_stat
look(struct bud_pool *pool)
{
	struct bud_stat stat = { .size = sizeof(stat) };

	bud_stat(pool, &stat);
	return stat;
}

/* --- A round trip: a request that is refused, and a message that comes back --- */

static void
echo(int fd)
{
	char word[32];
	ssize_t n;

	while ((n = recv(fd, word, sizeof(word), 0)) > 0)
		if (send(fd, word, (size_t)n, 0) != n)
			_exit(1);
	_exit(0);
}

static int
start_echo(pid_t *childp)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == -1 ||
	    (*childp = fork()) == -1)
		err(1, "socketpair, fork");
	if (*childp == 0) {
		close(pair[0]);
		echo(pair[1]);
	}
	close(pair[1]);
	return pair[0];
}

static void
stop_echo(int fd, pid_t child)
{
	close(fd);
	waitpid(child, NULL, 0);
}

static void
round_trips(void)
{
	double bare[TIMES_MAX], bud[TIMES_MAX], start;
	struct bud_pool *pool;
	char word[32];
	pid_t child;
	int fd = start_echo(&child);

	pool = open_pool("default", MIB, MIB, MIB);
	must_take(pool, MIB);
	for (int i = 0; i < times; i++) {
		usleep(PAUSE_US);
		start = now_us();
		if (send(fd, "0123456789abcdef", 16, 0) != 16 ||
		    recv(fd, word, sizeof(word), 0) <= 0)
			err(1, "send, recv");
		bare[i] = now_us() - start;
		usleep(PAUSE_US);
		start = now_us();
		if (bud_alloc(pool, MIB, 0) != NULL)
			errx(1, "there is a buffer where none can be");
		bud[i] = now_us() - start;
	}
	bud_close(pool);
	stop_echo(fd, child);
	print_median("round-trip-bare-us", bare, times);
	print_median("round-trip-bud-us", bud, times);
}

/* --- A waiter, and a message that takes the same way --- */

static struct {
	struct bud_pool *pool;
	int fd;       /* that the bare message comes by */
	double woken; /* when */
	bool bare;
	pthread_barrier_t turn;
} waiter;

static void *
wait_for_it(void *arg)
{
	char word[32];

	(void)arg;
	for (int i = 0; i < times; i++) {
		void *buf = NULL;

		pthread_barrier_wait(&waiter.turn);
		if (!waiter.bare)
			buf = must_take(waiter.pool, MIB);
		else if (recv(waiter.fd, word, sizeof(word), 0) <= 0)
			err(1, "recv");
		waiter.woken = now_us();
		pthread_barrier_wait(&waiter.turn);
		if (buf != NULL)
			bud_free(waiter.pool, buf);
		pthread_barrier_wait(&waiter.turn);
	}
	return NULL;
}

static void
time_waiter(const char *name, int to)
{
	double took[TIMES_MAX];
	pthread_t thread;

	pthread_barrier_init(&waiter.turn, NULL, 2);
	if (pthread_create(&thread, NULL, wait_for_it, NULL) != 0)
		errx(1, "pthread_create");
	for (int i = 0; i < times; i++) {
		void *buf = waiter.bare ? NULL : must_take(waiter.pool, MIB);
		double start;

		pthread_barrier_wait(&waiter.turn);
		while (!waiter.bare && look(waiter.pool).waiting == 0)
			usleep(PAUSE_US);
		usleep(PAUSE_US);
		start = now_us();
		if (!waiter.bare)
			bud_free(waiter.pool, buf);
		else if (send(to, "0123456789abcdef", 16, 0) != 16)
			err(1, "send");
		pthread_barrier_wait(&waiter.turn);
		took[i] = waiter.woken - start;
		pthread_barrier_wait(&waiter.turn);
	}
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&waiter.turn);
	print_median(name, took, times);
}

static void
waiters(void)
{
	pid_t child;

	waiter.fd = start_echo(&child);
	waiter.bare = true;
	time_waiter("waiter-bare-us", waiter.fd);
	stop_echo(waiter.fd, child);

	waiter.bare = false;
	waiter.pool = open_pool("default", MIB, MIB, MIB);
	time_waiter("waiter-bud-us", -1);
	bud_close(waiter.pool);
}

/* --- The first buffer of memory that was not pinned before --- */

static long
faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

static long
faults_of_touching(volatile char *buf, size_t size)
{
	long before = faults();

	for (size_t at = 0; at < size; at += 4096)
		buf[at] = 1;
	return faults() - before;
}

/* Each buffer of 1 MiB is the first in a block; where there is headroom, budd had time to
 * pin it before. */
static void
first_buffers(const char *section, const char *name)
{
	double took[TIMES_MAX], faulted = 0;
	char label[64];

	for (int i = 0; i < times; i++) {
		struct bud_pool *pool = open_pool(section, MIB, MIB, 64 * MIB);
		double start;
		void *buf;

		must_take(pool, MIB);
		usleep(20000);
		start = now_us();
		buf = must_take(pool, MIB);
		took[i] = now_us() - start;
		faulted += (double)faults_of_touching(buf, MIB);
		bud_close(pool);
	}
	snprintf(label, sizeof(label), "%s-us", name);
	print_median(label, took, times);
	printf("%s-faults %.2f\n", name, faulted / times);
}

static void
bare_buffers(void)
{
	double took[TIMES_MAX];

	for (int i = 0; i < times; i++) {
		double start = now_us();
		int fd = memfd_create("bench", MFD_CLOEXEC);
		void *buf;

		if (fd == -1 || ftruncate(fd, (off_t)MIB) == -1)
			err(1, "memfd_create");
		buf = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (buf == MAP_FAILED || mlock(buf, MIB) == -1)
			err(1, "mmap, mlock");
		took[i] = now_us() - start;
		munmap(buf, MIB);
		close(fd);
	}
	print_median("first-1M-memfd-us", took, times);
}

int
main(int argc, char **argv)
{
	if (argc > 1)
		times = atoi(argv[1]);
	if (times < 1 || times > TIMES_MAX)
		errx(2, "usage: slowpath [TIMES]    from 1 to %d", TIMES_MAX);
	round_trips();
	waiters();
	first_buffers("default", "first-1M-on-demand");
	first_buffers("ready", "first-1M-with-headroom");
	bare_buffers();
	return 0;
}
