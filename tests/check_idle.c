/* SPDX-License-Identifier: ISC */

/*
 * A real budd, and threads that sleep, work or are stopped with something in their caches:
 * nobody waits for what lies there, and it keeps no block. Where a test is about waiting, the
 * tick is longer than a test's patience: what is served is served without one.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bud-inline.h"
#include "tests/client_process.h"
#include "tests/daemon.h"

#define CHUNK (256 * KIB)
#define KEPT \
	(64 * KIB) /* a buffer that a cache has room for, once, in a pool of 4 MiB */

/* The pool is its base. */
#define TIGHT                  \
	"[host]\ntick = 60s\n" \
	"[pool default]\nbase = 4M\nadd = 1M\nwall = 4M\nwall_max = 4M\n"
/* Two processes share three blocks. worth; what is idle for 200 ms, others may have. */
#define SHARED                                                                \
	"[host]\ntick = 100ms\nrelease_period = 200ms\nidle = 1h\n"           \
	"[pool default]\nbase = 256K\nadd = 256K\nwall = 4M\nwall_max = 4M\n" \
	"wall_total = 768K\n"
/* A pass each 40 ms. */
#define BREATHING                                                 \
	"[host]\ntick = 5ms\nrelease_period = 40ms\nidle = 5ms\n" \
	"[pool default]\nbase = 256K\nadd = 256K\nwall = 4M\nwall_max = 4M\n"

static struct daemon d;
static struct daemon_snapshot before;
static struct bud_pool *pool;

static void
enter(const char *config)
{
	daemon_start(&d, config);
	daemon_snapshot(&d, &before);
	pool = open_pool(&d, NULL);
}

static void
leave(void)
{
	bud_close(pool);
	daemon_expect_same(&d, &before);
	daemon_stop(&d);
}

static void *
get(size_t size, int timeout_ms)
{
	void *buf = bud_alloc(pool, size, timeout_ms);

	must(buf != NULL);
	return buf;
}

/* --- A thread that keeps something, and does as it is told --- */

struct keeper {
	pthread_t thread;
	void (*prepare)(struct keeper *k);
	void (*work)(void); /* over and over, or NULL: it sleeps */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool ready;
	_Atomic bool end;
	_Atomic uint64_t rounds;
};

static void *
keeper_main(void *arg)
{
	struct keeper *k = arg;

	k->prepare(k);
	pthread_mutex_lock(&k->lock);
	k->ready = true;
	pthread_cond_broadcast(&k->changed);
	while (k->work == NULL && !atomic_load(&k->end))
		pthread_cond_wait(&k->changed, &k->lock);
	pthread_mutex_unlock(&k->lock);
	for (; !atomic_load(&k->end); atomic_fetch_add(&k->rounds, 1))
		k->work();
	return NULL;
}

static void
keeper_start(struct keeper *k)
{
	pthread_mutex_init(&k->lock, NULL);
	pthread_cond_init(&k->changed, NULL);
	ck_assert_int_eq(pthread_create(&k->thread, NULL, keeper_main, k), 0);
	pthread_mutex_lock(&k->lock);
	while (!k->ready)
		pthread_cond_wait(&k->changed, &k->lock);
	pthread_mutex_unlock(&k->lock);
}

static void
keeper_end(struct keeper *k)
{
	pthread_mutex_lock(&k->lock);
	atomic_store(&k->end, true);
	pthread_cond_broadcast(&k->changed);
	pthread_mutex_unlock(&k->lock);
	pthread_join(k->thread, NULL);
	pthread_cond_destroy(&k->changed);
	pthread_mutex_destroy(&k->lock);
}

/* --- Nobody waits for what a cache holds --- */

static void
keep_one(struct keeper *k)
{
	(void)k;
	bud_free(pool, get(KEPT, 0));
}

/* All of the pool, but for what the keeper has. */
static unsigned int
take_the_rest(void **bufs, unsigned int most)
{
	unsigned int n = 0;

	while (n < most && stat_of(pool).used + KEPT < 4 * MIB)
		bufs[n++] = get(KEPT, 0);
	return n;
}

START_TEST(what_an_idle_thread_caches_another_thread_gets_without_a_tick)
{
	struct keeper k = { .prepare = keep_one };
	void *bufs[64], *last;
	unsigned int n;
	int64_t asked_ms;

	keeper_start(&k);
	n = take_the_rest(bufs, 64);
	ck_assert_uint_eq(stat_of(pool).used, 4 * MIB - KEPT);
	asked_ms = now_ms();
	last = bud_alloc(pool, KEPT, PATIENCE_MS);
	ck_assert_msg(last != NULL, "%s", strerror(errno));
	printf("the last free buffer, out of an idle thread's cache: %jd ms, a tick is "
	       "60000\n",
	    (intmax_t)(now_ms() - asked_ms));
	ck_assert_uint_eq(stat_of(pool).used, 4 * MIB);
	bud_free(pool, last);
	while (n > 0)
		bud_free(pool, bufs[--n]);
	keeper_end(&k);
}
END_TEST

/* The same by many threads at once, with the smallest buffers, and in one that they share. */
START_TEST(what_many_idle_threads_cache_makes_one_large_buffer)
{
	struct keeper k[8];
	void *all;

	for (unsigned int i = 0; i < SIZEOF_ARRAY(k); i++) {
		k[i] = (struct keeper){ .prepare = keep_one };
		keeper_start(&k[i]);
	}
	ck_assert_uint_eq(stat_of(pool).used, 0);
	all = bud_alloc(pool, 4 * MIB, PATIENCE_MS);
	ck_assert_msg(all != NULL, "%s", strerror(errno));
	bud_free(pool, all);
	for (unsigned int i = 0; i < SIZEOF_ARRAY(k); i++)
		keeper_end(&k[i]);
}
END_TEST

/* A block beyond its base, free but for what its cache holds of it; then it is stopped. */
static void
cache_a_block_and_stop(struct client *me, void *arg)
{
	void *base;

	(void)arg;
	pool = open_pool(&d, NULL);
	base = get(CHUNK, 0);
	bud_free(pool, get(KEPT, 0));
	must(stat_of(pool).blocks == 2 && stat_of(pool).used == CHUNK);
	client_say(me, "caches");
	client_wait(me, "end");
	bud_free(pool, base);
	bud_close(pool);
}

START_TEST(what_a_stopped_process_caches_another_process_gets)
{
	struct client c;
	void *bufs[2];
	int64_t asked_ms;
	int status;

	client_run(&c, cache_a_block_and_stop, NULL);
	client_wait(&c, "caches");
	ck_assert_int_eq(kill(c.pid, SIGSTOP), 0);
	ck_assert_int_eq(waitpid(c.pid, &status, WUNTRACED), c.pid);
	ck_assert(WIFSTOPPED(status));
	bufs[0] = bud_alloc(pool, CHUNK, 0);
	ck_assert_ptr_nonnull(bufs[0]);
	asked_ms = now_ms();
	bufs[1] = bud_alloc(pool, CHUNK, PATIENCE_MS);
	ck_assert_msg(bufs[1] != NULL, "%s", strerror(errno));
	printf("a block out of a stopped process's cache: %jd ms, a tick is 100\n",
	    (intmax_t)(now_ms() - asked_ms));
	ck_assert_int_eq(kill(c.pid, SIGCONT), 0);
	client_say(&c, "end");
	client_join(&c);
	bud_free(pool, bufs[0]);
	bud_free(pool, bufs[1]);
}
END_TEST

/* --- No block is kept --- */

/* Three blocks, all free; of the last one the thread has a buffer in its cache. */
static void
keep_of_the_last_block(struct keeper *k)
{
	void *base = get(CHUNK, 0), *second = get(CHUNK, 0), *third = get(KEPT, 0);

	(void)k;
	must(stat_of(pool).blocks == 3);
	bud_free(pool, base);
	bud_free(pool, second);
	bud_free(pool, third);
}

/* In the base alone: it is the lowest. */
static void
work_in_the_base(void)
{
	void *bufs[4];

	for (unsigned int i = 0; i < SIZEOF_ARRAY(bufs); i++)
		must((bufs[i] = bud_alloc_inline(pool, 4096, 0)) != NULL);
	for (unsigned int i = 0; i < SIZEOF_ARRAY(bufs); i++)
		bud_free_inline(pool, bufs[i]);
}

START_TEST(a_thread_that_sleeps_keeps_no_block)
{
	struct keeper k = { .prepare = keep_of_the_last_block };

	keeper_start(&k);
	eventually(stat_of(pool).blocks < 3);
	keeper_end(&k);
}
END_TEST

START_TEST(a_thread_that_works_in_the_base_keeps_no_other_block)
{
	struct keeper k = { .prepare = keep_of_the_last_block,
		.work = work_in_the_base };
	uint64_t rounds;

	keeper_start(&k);
	eventually(stat_of(pool).blocks < 3);
	rounds = atomic_load(&k.rounds);
	eventually(atomic_load(&k.rounds) > rounds); /* and it works still */
	keeper_end(&k);
}
END_TEST

/* --- The whole --- */

static void
enter_tight(void)
{
	enter(TIGHT);
}

static void
enter_shared(void)
{
	enter(SHARED);
}

static void
enter_breathing(void)
{
	enter(BREATHING);
}

static void
add_case(Suite *s, const char *name, SFun setup, const TTest **tests)
{
	TCase *t = tcase_create(name);

	tcase_set_timeout(t, 30);
	tcase_add_checked_fixture(t, setup, leave);
	for (; *tests != NULL; tests++)
		tcase_add_test(t, *tests);
	suite_add_tcase(s, t);
}

int
main(void)
{
	Suite *s = suite_create("idle caches");

	unsetenv("BUD_DEBUG"); /* there would be none */
	add_case(s, "waiting", enter_tight,
	    (const TTest *[]){
		what_an_idle_thread_caches_another_thread_gets_without_a_tick,
		what_many_idle_threads_cache_makes_one_large_buffer, NULL });
	add_case(s, "processes", enter_shared,
	    (const TTest *[]){
		what_a_stopped_process_caches_another_process_gets, NULL });
	add_case(s, "blocks", enter_breathing,
	    (const TTest *[]){ a_thread_that_sleeps_keeps_no_block,
		a_thread_that_works_in_the_base_keeps_no_other_block, NULL });
	return daemon_suite(s);
}
