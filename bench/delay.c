/* SPDX-License-Identifier: ISC */

/*
 * What one client's large pin, release and end, and its flood of requests, cost another
 * client who asks budd for little. A child does the one, this process the other and times
 * it. Prints lines "phase/what-percentile microseconds"; bench/run runs it round after
 * round. Needs a budd with pools "default" and "large", and root, to have blocks released.
 *
 *	bench/delay [TIMES]		each phase, default 5
 *
 * Phases: quiet; pin (1 GiB is asked for), release (of that block), end (of a pool that
 * has 1 GiB), flood (100,000 requests, which are cancelled again).
 * What: grant, 64 KiB for which another buffer of the pool has to be freed; grow, 64 KiB for
 * which a block of 256 KiB is pinned; status, one line of it for each pool.
 */
#include <err.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bud.h"

#define KIB      ((size_t)1 << 10)
#define GIB      ((size_t)1 << 30)
#define FLOOD    100000
#define AFTER_US 300000 /* for which the end of something is looked at */
#define PAUSE_US 200    /* for budd to be asleep again */
#define SAMPLES  200000u

enum phase {
	QUIET,
	PIN,
	RELEASE,
	END,
	FLOODED,
	PHASES,
	OVER = PHASES
};
enum what {
	GRANT,
	GROW,
	STATUS,
	WHATS
};

static const char *const phase_names[] = { "quiet", "pin", "release", "end", "flood" };
static const char *const what_names[] = { "grant", "grow", "status" };

static _Atomic int *phase; /* shared with the child */

static struct samples {
	float us[SAMPLES];
	unsigned int n;
} samples[PHASES][WHATS];

static double
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static struct bud_pool *
open_pool(const char *name, size_t base, size_t wall)
{
	struct bud_config config = {
		.size = sizeof(config),
		.pool = name,
		.base = base,
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
	void *buf = bud_alloc(pool, size, 60000);

	if (buf == NULL)
		err(1, "bud_alloc of %zu bytes", size);
	return buf;
}

/* One request on the status socket; all of the answer is read. */
static void
ask_status(const char *request)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *path = getenv("BUD_STATUS_SOCKET");
	char text[65536];
	ssize_t n;
	int fd;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path != NULL ? path : "");
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd == -1 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == -1)
		err(1, "BUD_STATUS_SOCKET");
	if (write(fd, request, strlen(request)) == -1)
		err(1, "status");
	while ((n = read(fd, text, sizeof(text))) > 0)
		;
	if (n == -1)
		err(1, "status");
	close(fd);
}

/* --- The one who asks for much --- */

static void
never(void *buf, int error, void *arg)
{
	(void)buf;
	(void)error;
	(void)arg;
}

static void
flood(struct bud_pool *pool)
{
	static struct bud_request *requests[FLOOD];
	void *all = must_take(pool, GIB);

	for (int i = 0; i < FLOOD; i++)
		if (bud_request(pool, GIB, -1, 0, never, NULL, &requests[i]) != 0)
			break; /* as many as budd lets wait */
	for (int i = 0; i < FLOOD && requests[i] != NULL; i++) {
		bud_cancel(requests[i]);
		if (i % 64 == 0)
			bud_dispatch(pool); /* or what budd answers piles up */
	}
	bud_free(pool, all);
	bud_dispatch(pool);
}

static void
ask_for_much(int times)
{
	for (int i = 0; i < times; i++) {
		struct bud_pool *pool = open_pool("large", 256 * KIB, 0);
		void *buf;

		*phase = QUIET;
		usleep(AFTER_US);
		*phase = PIN;
		buf = must_take(pool, GIB);
		*phase = OVER;
		bud_free(pool, buf);
		*phase = RELEASE;
		ask_status("POST /v1/release HTTP/1.1\r\nHost: budd\r\n"
			   "Content-Length: 0\r\nConnection: close\r\n\r\n");
		usleep(AFTER_US);
		*phase = OVER;
		must_take(pool, GIB);
		*phase = END;
		bud_close(pool);
		usleep(AFTER_US);
		*phase = OVER;
		pool = open_pool("large", 256 * KIB, 0);
		bud_free(pool, must_take(pool, GIB));
		*phase = FLOODED;
		flood(pool);
		*phase = OVER;
		bud_close(pool);
	}
	*phase = -1;
	_exit(0);
}

/* --- The one who asks for little --- */

static void
granted(void *buf, int error, void *arg)
{
	if (error != 0)
		errx(1, "not granted: %s", strerror(-error));
	*(void **)arg = buf;
}

/* The base is full: what is asked for queues, and what is freed then serves it. */
static double
time_grant(struct bud_pool *pool, void **heldp)
{
	struct pollfd fd = { .fd = bud_fd(pool), .events = POLLIN };
	void *got = NULL;
	double start;

	if (bud_request(pool, 64 * KIB, -1, 0, granted, &got, NULL) != 0)
		errx(1, "bud_request");
	usleep(PAUSE_US); /* it queues by now */
	start = now_us();
	bud_free(pool, *heldp);
	while (got == NULL) {
		if (poll(&fd, 1, 60000) <= 0)
			errx(1, "no grant for a minute");
		bud_dispatch(pool);
	}
	*heldp = got;
	return now_us() - start;
}

static double
time_grow(void)
{
	struct bud_pool *pool = open_pool("default", 256 * KIB, 512 * KIB);
	double start, took;

	must_take(pool, 256 * KIB);
	start = now_us();
	must_take(pool, 64 * KIB);
	took = now_us() - start;
	bud_close(pool);
	return took;
}

static double
time_status(void)
{
	double start = now_us();

	ask_status(
	    "GET /v1/status HTTP/1.1\r\nHost: budd\r\nConnection: close\r\n\r\n");
	return now_us() - start;
}

/* What ended in another phase than it began in tells of neither. */
static void
note(int began, enum what what, double us)
{
	struct samples *s;

	if (began < 0 || began >= PHASES || *phase != began)
		return;
	s = &samples[began][what];
	if (s->n < SAMPLES)
		s->us[s->n++] = (float)us;
}

static void
ask_for_little(void)
{
	struct bud_pool *pool = open_pool("default", 256 * KIB, 256 * KIB);
	void *held = must_take(pool, 64 * KIB);
	int began;

	must_take(pool, 64 * KIB);
	must_take(pool, 128 * KIB);
	while ((began = *phase) != -1) {
		usleep(PAUSE_US);
		note(began, GRANT, time_grant(pool, &held));
		usleep(PAUSE_US);
		began = *phase;
		note(began, GROW, time_grow());
		usleep(PAUSE_US);
		began = *phase;
		note(began, STATUS, time_status());
	}
	bud_close(pool);
}

static int
compare(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return x < y ? -1 : x > y;
}

static void
print_samples(enum phase p, enum what what)
{
	struct samples *s = &samples[p][what];

	if (s->n == 0)
		return;
	qsort(s->us, s->n, sizeof(*s->us), compare);
	printf("%s/%s-p50 %.0f\n", phase_names[p], what_names[what], s->us[s->n / 2]);
	printf("%s/%s-p99 %.0f\n", phase_names[p], what_names[what],
	    s->us[s->n - 1 - s->n / 100]);
	printf("%s/%s-max %.0f\n", phase_names[p], what_names[what], s->us[s->n - 1]);
}

int
main(int argc, char **argv)
{
	int times = argc > 1 ? atoi(argv[1]) : 5, status;
	pid_t child;

	if (times < 1)
		errx(2, "usage: delay [TIMES]");
	phase = mmap(NULL, sizeof(*phase), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (phase == MAP_FAILED)
		err(1, "mmap");
	*phase = OVER;
	if ((child = fork()) == -1)
		err(1, "fork");
	if (child == 0)
		ask_for_much(times);
	ask_for_little();
	if (waitpid(child, &status, 0) != child || status != 0)
		errx(1, "the other client failed");
	for (int p = 0; p < PHASES; p++)
		for (int what = 0; what < WHATS; what++)
			print_samples(p, what);
	return 0;
}
