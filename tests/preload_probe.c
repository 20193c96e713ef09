/* SPDX-License-Identifier: ISC */

/*
 * What an unmodified program may do with its memory, for preload_test.sh: run under
 * bud-run, it checks itself.
 *
 *	preload-probe TEST...	each is a name in the table below; "ok - " and "not ok - "
 *				lines, status 1 if any failed
 *
 * It links nothing of bud. Whether a block is pinned shows in /proc/self/maps.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KIB  ((size_t)1 << 10)
#define MIB  ((size_t)1 << 20)
#define SLOW 120 /* seconds that a loaded machine may take */

static unsigned int failed;
static volatile size_t hidden; /* what the compiler must not know */

static void
ok(bool holds, const char *what)
{
	printf("%s - %s\n", holds ? "ok" : "not ok", what);
	fflush(stdout);
	failed += !holds;
}

static bool
in_pool(const void *p)
{
	unsigned long from, to;
	char line[512];
	bool found = false;
	FILE *f = fopen("/proc/self/maps", "re");

	while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL)
		found = sscanf(line, "%lx-%lx", &from, &to) == 2 &&
			(uintptr_t)p >= from && (uintptr_t)p < to &&
			strstr(line, "/memfd:bud") != NULL;
	if (f != NULL)
		fclose(f);
	return found;
}

static bool
all(const void *p, int byte, size_t n)
{
	const unsigned char *c = p;

	while (n > 0 && *c == byte)
		c++, n--;
	return n == 0;
}

static void *
filled(size_t size, int byte)
{
	void *p = malloc(size);

	if (p == NULL) {
		perror("malloc");
		exit(1);
	}
	return memset(p, byte, size);
}

/* The child's status as a truth. */
static bool
went_well(pid_t pid)
{
	int status;

	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
	       WEXITSTATUS(status) == 0;
}

/* --- One process --- */

static void
test_sizes(void)
{
	char *small = filled(16 * KIB - 1, 1), *large = filled(16 * KIB, 2);

	ok(!in_pool(small), "a small block is libc's");
	ok(in_pool(large), "a block of the threshold is pinned");
	ok(malloc_usable_size(large) >= 16 * KIB, "its usable size");
	free(large);
	large = filled(3 * MIB, 3);
	ok(in_pool(large) && in_pool(large + 3 * MIB - 1), "so is one of 3 MiB");
	free(large);
	free(small);
	hidden = SIZE_MAX;
	ok(malloc(hidden) == NULL && errno == ENOMEM, "too large is ENOMEM");
	ok(calloc(hidden / 2, 4) == NULL, "a product that overflows is refused");
	ok(reallocarray(NULL, hidden / 2, 4) == NULL, "by reallocarray(), too");
}

static void
test_alignment(void)
{
	bool right = true, pinned = true;
	void *p = NULL;

	for (size_t align = 8; align <= 256 * KIB; align *= 2) {
		right &= posix_memalign(&p, align, 20 * KIB) == 0 &&
			 (uintptr_t)p % align == 0;
		pinned &= in_pool(p);
		free(p);
		p = align >= 16 ? aligned_alloc(align, 256 * KIB) : NULL;
		right &= (uintptr_t)p % align == 0;
		free(p);
	}
	ok(right, "alignments up to 256 KiB");
	ok(pinned, "are the pool's");
	ok(posix_memalign(&p, 2 * MIB, 2 * MIB) == 0 && (uintptr_t)p % (2 * MIB) == 0 &&
		!in_pool(p),
	    "beyond, they are libc's");
	free(p);
	ok(posix_memalign(&p, 24, 20 * KIB) == EINVAL, "no power of two is EINVAL");
	p = valloc(17 * KIB);
	ok((uintptr_t)p % 4096 == 0 && in_pool(p), "valloc()");
	free(p);
	p = memalign(512, 64 * KIB);
	ok((uintptr_t)p % 512 == 0 && in_pool(p), "memalign()");
	free(p);
}

static void
test_calloc(void)
{
	void *dirty[16], *p;
	bool zero = true;

	for (unsigned int i = 0; i < 16; i++)
		dirty[i] = filled(64 * KIB, 0xee);
	for (unsigned int i = 0; i < 16; i++)
		free(dirty[i]);
	for (unsigned int i = 0; i < 16; i++) {
		p = calloc(64, KIB);
		zero &= in_pool(p) && all(p, 0, 64 * KIB);
		dirty[i] = p;
	}
	for (unsigned int i = 0; i < 16; i++)
		free(dirty[i]);
	ok(zero, "calloc() is zero where others have been");
}

static void
test_realloc(void)
{
	char *p = filled(1000, 1), *q;

	p = realloc(p, 100 * KIB);
	ok(in_pool(p) && all(p, 1, 1000),
	    "growing moves into the pool, with its bytes");
	memset(p, 2, 100 * KIB);
	q = realloc(p, 128 * KIB);
	ok(q == p, "growing within the buffer stays");
	p = realloc(q, MIB);
	ok(in_pool(p) && all(p, 2, 100 * KIB), "growing beyond it moves");
	p = realloc(p, 20 * KIB);
	ok(in_pool(p) && malloc_usable_size(p) < 256 * KIB && all(p, 2, 20 * KIB),
	    "shrinking a lot moves");
	p = realloc(p, 100);
	ok(!in_pool(p) && all(p, 2, 100),
	    "shrinking below the threshold moves to libc");
	p = realloc(p, 16 * KIB);
	p = reallocarray(p, 32, KIB);
	ok(in_pool(p) && all(p, 2, 100), "reallocarray()");
	errno = 77;
	free(p);
	ok(errno == 77, "free() leaves errno alone");
	p = filled(64 * KIB, 3);
	hidden = 0;
	ok(realloc(p, hidden) == NULL, "realloc(p, 0) frees");
	free(NULL);
}

static void
test_wall(void)
{
	enum {
		COUNT = 4096
	};
	unsigned int pinned = 0, n;
	bool whole = true;
	char **p = calloc(COUNT, sizeof(*p));
	char *again;

	/* 128 MiB: the script gives the pool less. */
	for (n = 0; n < COUNT; n++)
		p[n] = filled(32 * KIB, (int)(n & 0xff));
	for (n = 0; n < COUNT; n += 64)
		pinned += in_pool(p[n]);
	for (n = 0; n < COUNT; n++)
		whole &= all(p[n], (int)(n & 0xff), 32 * KIB);
	ok(pinned > 0 && pinned < COUNT / 64,
	    "the pool serves up to its wall, libc the rest");
	ok(whole, "all hold what was written");
	for (n = 0; n < COUNT; n++)
		free(p[n]);
	free(p);
	again = filled(32 * KIB, 1);
	ok(in_pool(again), "after that the pool serves again");
	free(again);
}

/* --- Threads --- */

static void *
churn(void *arg)
{
	unsigned int seed = (unsigned int)(uintptr_t)arg, kind;
	unsigned char *p[16] = { NULL };
	size_t size[16] = { 0 };
	uintptr_t wrong = 0;

	for (unsigned int i = 0; i < 20000; i++) {
		unsigned int k = (unsigned int)rand_r(&seed) % 16;
		size_t n = KIB + (size_t)rand_r(&seed) % (96 * KIB);

		if (p[k] != NULL)
			wrong += p[k][0] != k || p[k][size[k] - 1] != k;
		kind = (unsigned int)rand_r(&seed) % 3;
		if (kind == 0) {
			free(p[k]);
			p[k] = NULL;
			continue;
		}
		if (kind == 1) {
			p[k] = realloc(p[k], n);
		} else {
			free(p[k]);
			p[k] = calloc(1, n);
			wrong += p[k] == NULL || p[k][n / 2] != 0;
		}
		if (p[k] == NULL)
			return (void *)1;
		size[k] = n;
		p[k][0] = p[k][n - 1] = (unsigned char)k;
	}
	for (unsigned int k = 0; k < 16; k++)
		free(p[k]);
	return (void *)wrong;
}

static uintptr_t
churn_in_threads(unsigned int count)
{
	pthread_t thread[8];
	uintptr_t wrong = 0;
	void *result;

	for (uintptr_t i = 0; i < count; i++)
		if (pthread_create(&thread[i], NULL, churn, (void *)(i + 1)) != 0)
			return 1;
	for (unsigned int i = 0; i < count; i++) {
		pthread_join(thread[i], &result);
		wrong += (uintptr_t)result;
	}
	return wrong;
}

static void
test_threads(void)
{
	ok(churn_in_threads(4) == 0, "four threads take, move and give");
}

static void *
cancelled(void *arg)
{
	_Atomic unsigned int *reached = arg;
	void *p[512];

	pthread_cancel(pthread_self()); /* is pending until somewhere it may strike */
	for (unsigned int i = 0; i < 512; i++)
		p[i] = malloc(256 * KIB);
	for (unsigned int i = 0; i < 512; i++)
		free(p[i]);
	atomic_store(reached, 1);
	pthread_testcancel();
	return NULL;
}

static void
test_cancel(void)
{
	_Atomic unsigned int reached = 0;
	pthread_t thread;
	void *result = NULL;

	if (pthread_create(&thread, NULL, cancelled, &reached) == 0)
		pthread_join(thread, &result);
	ok(reached == 1,
	    "malloc() is no place to be cancelled in, also where it asks budd");
	ok(result == PTHREAD_CANCELED, "the thread ends where it may");
}

/* --- fork --- */

static int
child_of_fork(char *const *p, char *tail)
{
	char *own;

	for (unsigned int i = 0; i < 32; i++)
		if (!all(p[i], (int)i, 40 * KIB))
			return 10;
	if (in_pool(p[0]) || malloc_usable_size(p[0]) < 40 * KIB)
		return 11;
	memset(p[0], 0xaa, 40 * KIB);
	tail = realloc(tail, 200 * KIB);
	if (tail == NULL || !all(tail, 7, 100 * KIB) || !in_pool(tail))
		return 12;
	own = filled(MIB, 9);
	if (!in_pool(own))
		return 13;
	for (unsigned int i = 0; i < 32; i += 2)
		free(p[i]);
	/* A child of the child: both what it inherited and what is its own. */
	pid_t pid = fork();
	if (pid == 0) {
		for (unsigned int i = 1; i < 32; i += 2) {
			if (!all(p[i], (int)i, 40 * KIB))
				_exit(20);
			free(p[i]);
		}
		_exit(all(own, 9, MIB) && all(tail, 7, 100 * KIB) ? 0 : 21);
	}
	memset(own, 0, MIB);
	if (!went_well(pid) || churn_in_threads(2) != 0)
		return 14;
	free(own);
	free(tail);
	return 0;
}

static void
test_fork(void)
{
	char *p[32], *tail;
	bool unchanged = true;
	pid_t pid;

	for (unsigned int i = 0; i < 32; i++)
		p[i] = filled(40 * KIB, (int)i);
	tail = filled(100 * KIB, 7);
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		_exit(child_of_fork(p, tail));
	/* At once: the child must not see it. */
	for (unsigned int i = 0; i < 32; i++)
		memset(p[i], 0x55, 40 * KIB);
	memset(tail, 0x66, 100 * KIB);
	ok(went_well(pid),
	    "a child has its blocks as they were, frees and moves them, has a "
	    "pool and a child of its own");
	for (unsigned int i = 0; i < 32; i++) {
		unchanged &= in_pool(p[i]) && all(p[i], 0x55, 40 * KIB);
		free(p[i]);
	}
	ok(unchanged && all(tail, 0x66, 100 * KIB), "its parent noticed nothing");
	free(tail);
}

/* Two numbers, one in a large block and one not, changed together under a lock. */
static pthread_mutex_t twins_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long *twins_large, twins_small;
static _Atomic bool twins_stop;

static void
twins_enter(void)
{
	pthread_mutex_lock(&twins_lock);
}

static void
twins_leave(void)
{
	pthread_mutex_unlock(&twins_lock);
}

static void *
twins_count(void *arg)
{
	while (!atomic_load(&twins_stop)) {
		twins_enter();
		twins_small++;
		for (unsigned int i = 0; i < 4096; i++)
			twins_large[i]++;
		twins_leave();
	}
	return arg;
}

static void
test_snapshot(void)
{
	enum {
		FORKS = 50
	};
	unsigned int well = 0;
	pthread_t thread[2];

	twins_large = calloc(4096, sizeof(*twins_large));
	pthread_atfork(twins_enter, twins_leave, twins_leave);
	for (unsigned int i = 0; i < 2; i++)
		pthread_create(&thread[i], NULL, twins_count, NULL);
	fflush(NULL);
	for (unsigned int n = 0; n < FORKS; n++) {
		pid_t pid = fork();

		if (pid == 0) {
			for (unsigned int i = 0; i < 4096; i++)
				if (twins_large[i] != twins_small)
					_exit(1);
			_exit(0);
		}
		well += went_well(pid);
	}
	atomic_store(&twins_stop, true);
	for (unsigned int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	ok(in_pool(twins_large) && well == FORKS,
	    "what a lock protects is the same age in large blocks and elsewhere");
	free(twins_large);
}

static _Atomic bool forks_stop;

static void *
fork_on(void *arg)
{
	uintptr_t wrong = 0;
	char *mine = filled(300 * KIB, 5);

	while (!atomic_load(&forks_stop)) {
		pid_t pid = fork();

		if (pid == 0) {
			char *p = filled(100 * KIB, 6);

			_exit(all(mine, 5, 300 * KIB) && all(p, 6, 100 * KIB) ? 0 : 1);
		}
		wrong += !went_well(pid);
	}
	free(mine);
	return (void *)(wrong + (uintptr_t)arg);
}

static void
test_fork_threads(void)
{
	pthread_t thread[2];
	uintptr_t wrong = 0;
	void *result;

	fflush(NULL);
	for (unsigned int i = 0; i < 2; i++)
		pthread_create(&thread[i], NULL, fork_on, NULL);
	wrong += churn_in_threads(2);
	atomic_store(&forks_stop, true);
	for (unsigned int i = 0; i < 2; i++) {
		pthread_join(thread[i], &result);
		wrong += (uintptr_t)result;
	}
	ok(wrong == 0, "two threads fork while two others take and give");
}

static void
test_spawn(void)
{
	char name[] = "true", *p = filled(2 * MIB, 4), *argv[] = { name, NULL },
	     *env[] = { NULL };
	pid_t pid;
	FILE *f;
	int c;

	ok(posix_spawnp(&pid, "true", NULL, NULL, argv, env) == 0 && went_well(pid),
	    "posix_spawn()");
	if ((pid = vfork()) == 0) {
		execlp("true", "true", (char *)NULL);
		_exit(1);
	}
	ok(went_well(pid), "vfork() and exec");
	fflush(NULL);
	if ((pid = fork()) == 0) {
		execlp("true", "true", (char *)NULL);
		_exit(1);
	}
	ok(went_well(pid), "fork() and exec");
	ok(system("exit 0") == 0, "system()"); /* NOLINT: the command is ours */
	f = popen("printf x", "r");
	c = f != NULL ? getc(f) : EOF;
	ok(c == 'x' && pclose(f) == 0, "popen()");
	ok(in_pool(p) && all(p, 4, 2 * MIB), "the parent keeps its blocks");
	free(p);
}

static void
test_bad_free(void)
{
	char *p = filled(64 * KIB, 1);
	int status = 0;
	pid_t pid;

	fflush(NULL);
	for (unsigned int i = 0; i < 2; i++) {
		if ((pid = fork()) == 0) {
			/* The child's is a copy; its own is a pool's. */
			char *bad = i == 0 ? p : filled(64 * KIB, 1);

			(void)!freopen("/dev/null", "w", stderr);
			hidden = (uintptr_t)bad;
			free(bad);
			free((void *)hidden);
			_exit(0);
		}
		if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) ||
		    WTERMSIG(status) != SIGABRT)
			break;
	}
	ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT,
	    "a second free() aborts, of a block of one's own and of the parent's");
	free(p);
}

/* --- What programs do to descriptors --- */

static void
test_descriptors(void)
{
	char *first = filled(MIB, 1), *second;
	int pair[2], foreign = 0;
	bool pinned = false;
	char c;

	/* As a daemon does; then others come to lie under their numbers. */
	for (int fd = 3; fd < 256; fd++)
		close(fd);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == -1)
		exit(1);
	for (int i = 0; i < 20; i++)
		foreign = dup(pair[1]);
	for (unsigned int i = 0; !pinned && i < SLOW * 10; i++) {
		second = filled(32 * MIB, 2);
		pinned = in_pool(second);
		if (!pinned)
			usleep(100000);
		free(second);
	}
	ok(all(first, 1, MIB), "who closes all descriptors keeps the blocks");
	ok(pinned, "and gets another pool");
	ok(recv(pair[0], &c, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN,
	    "nothing was written to what has those numbers now");
	ok(send(pair[0], "x", 1, 0) == 1 && recv(foreign, &c, 1, 0) == 1 && c == 'x',
	    "nor were they shut down");
	free(first);
}

/* --- For the script --- */

/* Says what it has, and goes on as long as it hears lines on its input. */
static void
test_serve(void)
{
	char line[64], *p, *old = filled(MIB, 8);

	while (fgets(line, sizeof(line), stdin) != NULL) {
		p = filled((size_t)strtoul(line, NULL, 10) * KIB, 3);
		printf("%s %s\n", in_pool(p) ? "pinned" : "libc",
		    all(old, 8, MIB) ? "whole" : "broken");
		fflush(stdout);
		free(p);
	}
	free(old);
}

static int64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* What fork() takes with $PROBE_MIB in blocks of 256 KiB, and what pairs cost. */
static void
test_measure(void)
{
	const char *text = getenv("PROBE_MIB");
	size_t mib = text != NULL ? strtoul(text, NULL, 10) : 64;
	static const size_t sizes[] = { 16 * KIB, 64 * KIB, 256 * KIB, MIB };
	int64_t begun, best = INT64_MAX;
	char *p;

	for (unsigned int s = 0; s < 4; s++) {
		for (unsigned int touch = 0; touch < 2; touch++) {
			begun = now_us();
			for (unsigned int i = 0; i < 20000; i++) {
				p = malloc(sizes[s]);
				for (size_t k = 0; touch && k < sizes[s]; k += 4096)
					p[k] = 1;
				hidden = (uintptr_t)p;
				free((void *)hidden);
			}
			printf("%zu KiB, %s: %.0f ns\n", sizes[s] / KIB,
			    touch ? "each page written" : "untouched",
			    (double)(now_us() - begun) / 20);
		}
	}
	for (size_t i = 0; i < mib * 4; i++)
		(void)!filled(256 * KIB, 1); /* kept to the end */
	for (unsigned int i = 0; i < 5; i++) {
		begun = now_us();
		pid_t pid = fork();
		if (pid == 0)
			_exit(0);
		if (now_us() - begun < best)
			best = now_us() - begun;
		(void)went_well(pid);
	}
	printf("fork() with %zu MiB: %ld us\n", mib, (long)best);
}

static const struct {
	const char *name;
	void (*run)(void);
} tests[] = {
	{ "sizes", test_sizes },
	{ "alignment", test_alignment },
	{ "calloc", test_calloc },
	{ "realloc", test_realloc },
	{ "wall", test_wall },
	{ "threads", test_threads },
	{ "cancel", test_cancel },
	{ "fork", test_fork },
	{ "snapshot", test_snapshot },
	{ "fork_threads", test_fork_threads },
	{ "spawn", test_spawn },
	{ "bad_free", test_bad_free },
	{ "descriptors", test_descriptors },
	{ "serve", test_serve },
	{ "measure", test_measure },
};

int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		bool known = false;

		for (size_t t = 0; t < sizeof(tests) / sizeof(tests[0]); t++) {
			if (strcmp(argv[i], tests[t].name) == 0) {
				known = true;
				tests[t].run();
			}
		}
		if (!known)
			ok(false, argv[i]);
	}
	return failed > 0;
}
