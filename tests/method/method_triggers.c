/* SPDX-License-Identifier: ISC */

/* The method, 29 and 32: what a release gives back, and what else starts one. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/client_process.h"
#include "tests/method/method.h"
#include "tests/method/strain.h"

static struct daemon *const d = &method_budd;

static uint64_t
memory_of(struct bud_pool *pool, void *buf)
{
	struct stat st;
	uint64_t offset;
	int fd;

	ck_assert_int_eq(bud_locate(pool, buf, &fd, &offset), 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

/* --- 29 --- */

/* A base and three blocks of 32 MiB, which go one each 30 ms. */
#define BASE  ((uint64_t)MIB)
#define BLOCK (32 * MIB)
#define ALL   (BASE + 3 * BLOCK)
#define LARGE_BLOCKS                                               \
	"[host]\ntick = 5ms\nrelease_period = 30ms\nidle = 10ms\n" \
	"[pool default]\nbase = 1M\nadd = 32M\nwall = 97M\nwall_max = 97M\n"

/* The host's own figures move with whatever else it does, so half is asked for, and several
 * times. */
#define MOST      (3 * BLOCK / 2)
#define TRIES     10
#define SETTLE_MS 2000

struct figures {
	uint64_t locked;
	uint64_t mlocked;
	uint64_t free;
};

/* What no process has: MemFree, and what each processor keeps at hand of it, which may be
 * hundreds of MiB, for some seconds. */
static uint64_t
free_memory(void)
{
	FILE *f = fopen("/proc/zoneinfo", "re");
	uint64_t at_hand = 0, pages;
	char line[128];

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, " count: %" SCNu64, &pages) == 1)
			at_hand += pages * 4096;
	if (f != NULL)
		fclose(f);
	return method_meminfo("MemFree") + at_hand;
}

static uint64_t
mlocked(void)
{
	return method_meminfo("Mlocked");
}

static struct figures
look(void)
{
	return (struct figures){
		.locked = daemon_locked(d), .mlocked = mlocked(), .free = free_memory()
	};
}

/* To the wall and back. */
static void
swell(struct bud_pool *pool, struct figures *large, struct figures *small)
{
	void *bufs[3];

	for (size_t i = 0; i < SIZEOF_ARRAY(bufs); i++)
		ck_assert_ptr_nonnull(bufs[i] = bud_alloc(pool, BLOCK, 0));
	eventually(stat_of(pool).pinned == ALL);
	*large = look();
	ck_assert_uint_eq(memory_of(pool, bufs[0]), ALL);
	for (size_t i = 0; i < SIZEOF_ARRAY(bufs); i++)
		bud_free(pool, bufs[i]);
	eventually(stat_of(pool).blocks == 1);
	*small = look();
}

static bool
comes_back(const struct figures *large)
{
	int64_t until = now_ms() + SETTLE_MS;

	while (
	    free_memory() < large->free + MOST || mlocked() + MOST > large->mlocked) {
		if (now_ms() >= until)
			return false;
		nap();
	}
	return true;
}

START_TEST(r29_released_memory_is_back_with_the_system)
{
	struct figures large, small;
	bool is_back = false;
	struct bud_pool *pool;
	void *base;

	daemon_start(d, LARGE_BLOCKS);
	pool = open_pool(d, NULL);
	base = bud_alloc(pool, 4096, 0);
	bud_free(pool, base);
	for (int i = 0; i < TRIES && !is_back; i++) {
		swell(pool, &large, &small);
		ck_assert_uint_eq(memory_of(pool, base), BASE);
		is_back = comes_back(&large);
	}
	ck_assert_msg(is_back,
	    "from %" PRIu64 " free and %" PRIu64 " locked to %" PRIu64 " and %" PRIu64,
	    large.free, large.mlocked, free_memory(), mlocked());
	if (need_root()) {
		ck_assert_uint_eq(large.locked, pool_locked(ALL, ALL));
		ck_assert_uint_eq(small.locked, pool_locked(ALL, BASE));
	}
	bud_close(pool);
	daemon_stop(d);
}
END_TEST

/* --- 32 --- */

/* No pass that the clock brings would release anything. */
#define HOST "[host]\ntick = 20ms\nrelease_period = 1h\nidle = 1h\n"
#define POOL                                                              \
	"[pool default]\nbase = 1M\nadd = 1M\nwall = 4M\nwall_max = 4M\n" \
	"[pool other]\nbase = 1M\nadd = 1M\nwall = 4M\nwall_max = 4M\n"

static struct bud_pool *pool;

/* A base and three additional blocks, all empty, which nothing releases so far. */
static void
start_idle(void)
{
	void *bufs[16];

	daemon_launch(d);
	pool = open_pool(d, NULL);
	for (size_t i = 0; i < SIZEOF_ARRAY(bufs); i++)
		ck_assert_ptr_nonnull(bufs[i] = bud_alloc(pool, 256 * KIB, 0));
	for (size_t i = 0; i < SIZEOF_ARRAY(bufs); i++)
		bud_free(pool, bufs[i]);
	for (int64_t until = now_ms() + 200; now_ms() < until; nap())
		ck_assert_uint_eq(stat_of(pool).blocks, 4);
}

static void
by_the_end_of_a_transfer(void)
{
	daemon_prepare(d, HOST POOL);
	start_idle();
	ck_assert_int_eq(bud_hint(pool, BUD_TRANSFER_END), 0);
	eventually(stat_of(pool).blocks == 1); /* the base, empty, is the headroom */
}

static void
on_granted(void *buf, int error, void *arg)
{
	ck_assert_int_eq(error, 0);
	*(void **)arg = buf;
}

/* Another client waits for the host's memory when this one frees. */
static void
by_a_release_of_memory(void)
{
	void *bufs[4], *waited = NULL;
	struct bud_pool *other;

	daemon_prepare(d, HOST "wall = 6M\n" POOL);
	daemon_launch(d);
	pool = open_pool(d, NULL);
	other = open_pool(d, "other");
	for (int i = 0; i < 4; i++)
		ck_assert_ptr_nonnull(bufs[i] = bud_alloc(pool, MIB, 0));
	ck_assert_ptr_nonnull(bud_alloc(other, MIB, 0));
	ck_assert_int_eq(bud_request(other, MIB, -1, 0, on_granted, &waited, NULL), 0);
	eventually(daemon_figure(d, "host.starved") == 1);
	ck_assert_uint_eq(stat_of(pool).blocks, 4);
	bud_free(pool, bufs[3]);
	eventually(bud_dispatch(other) >= 0 && waited != NULL);
	ck_assert_uint_eq(stat_of(pool).blocks, 3);
	bud_close(other);
}

static void
by_the_operator(void)
{
	daemon_prepare(d, HOST POOL);
	start_idle();
	method_budctl("release default");
	eventually(stat_of(pool).blocks == 1);
}

/* A service manager's word, in a FIFO that it named in the environment. */
static void
by_the_service_manager(void)
{
	char path[64];
	int fd;

	daemon_prepare(d, HOST POOL);
	snprintf(path, sizeof(path), "%s/pressure", d->dir);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	setenv("MEMORY_PRESSURE_WATCH", path, 1);
	start_idle();
	ck_assert_int_ne(fd = open(path, O_WRONLY | O_NONBLOCK), -1);
	ck_assert_int_eq(write(fd, "x", 1), 1);
	close(fd);
	eventually(stat_of(pool).blocks == 1);
	eventually(daemon_log_contains(d, "the host is short of memory"));
	unlink(path);
}

#define PSI_FILE "/proc/pressure/memory"
#define STALL_US 150000 /* within PATIENCE_MS: more than 30ms in some 2s */

/* Microseconds that some task of the host waited for memory, ever; -1: nobody knows. */
static long
stalled_us(void)
{
	FILE *f = fopen(PSI_FILE, "re");
	long us = -1;

	if (f != NULL &&
	    fscanf(f, "some avg10=%*f avg60=%*f avg300=%*f total=%ld", &us) != 1)
		us = -1;
	if (f != NULL)
		fclose(f);
	return us;
}

static void
suffer(struct client *me, void *arg)
{
	(void)me;
	(void)arg;
	strain_suffer();
}

/* The kernel's own word: a process reads a file through far too small a cache of its own,
 * and budd's trigger, in an epoll of its own, goes off. */
static void
by_the_kernel(void)
{
	int64_t until = now_ms() + PATIENCE_MS;
	struct client sufferer;
	long before = stalled_us();

	if (before == -1 || access(PSI_FILE, W_OK) == -1 || !strain_possible()) {
		skip("r32: the kernel's pressure, of which " PSI_FILE " would tell");
		return;
	}
	daemon_prepare(d, HOST "pressure = some 30ms/2s\n" POOL);
	start_idle();
	eventually(daemon_log_contains(d, "watching " PSI_FILE));
	client_run(&sufferer, suffer, NULL);
	while (stat_of(pool).blocks > 1 && now_ms() < until)
		nap();
	if (stat_of(pool).blocks > 1 && stalled_us() < before + STALL_US)
		skip("r32: no pressure could be made, so none was told");
	else
		ck_assert_uint_eq(stat_of(pool).blocks, 1);
	client_kill(&sufferer);
}

static void (*const triggers[])(void) = { by_the_end_of_a_transfer,
	by_a_release_of_memory, by_the_operator, by_the_service_manager,
	by_the_kernel };

START_TEST(r32_other_events_start_a_release)
{
	pool = NULL;
	triggers[_i]();
	if (pool == NULL)
		return;
	bud_close(pool);
	daemon_stop(d);
}
END_TEST

void
method_triggers(Suite *s)
{
	TCase *t = method_daemon(s, "release pass, budd");

	tcase_add_unchecked_fixture(t, strain_begin, strain_end);
	tcase_add_test(t, r29_released_memory_is_back_with_the_system);
	tcase_add_loop_test(
	    t, r32_other_events_start_a_release, 0, (int)SIZEOF_ARRAY(triggers));
}
