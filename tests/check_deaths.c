/* SPDX-License-Identifier: ISC */

/*
 * Deaths of arbiters, at each step of what they do, and by what they are asked: clients go
 * on, keep their places, and lose nothing. The budd of this suite is tests/budd-deaths.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bud.h"
#include "tests/client_process.h"
#include "tests/daemon.h"
#include "tests/deaths.h"
#include "tests/raw.h"
#include "tests/witness.h"

#define CHUNK  (256 * KIB)
#define BLOCK  (5 * CHUNK) /* two slices, of which the second is not a whole one */
#define BASE   CHUNK
#define WALL   (BASE + 2 * BLOCK)
#define DEADLY 12345u /* bytes */

#define CONFIG                                                                 \
	"[host]\ntick = 5ms\nrelease_period = 1h\nidle = 1h\n"                 \
	"[pool default]\nbase = 256K\nadd = 1280K\nwall = 2816K\n"             \
	"wall_max = 2816K\n"                                                   \
	"[pool full]\nbase = 512K\nadd = 256K\nwall = 512K\nwall_max = 512K\n" \
	"[pool tuned]\nbase = 256K\nadd = 256K\nwall = 1M\nwall_max = 1M\n"

static struct daemon d;
static struct daemon_snapshot before;
static struct deaths *deaths;

static void
share_deaths(void)
{
	char path[] = "/tmp/bud-deaths.XXXXXX";
	int fd = mkstemp(path);

	ck_assert_int_ne(fd, -1);
	ck_assert_int_eq(ftruncate(fd, sizeof(*deaths)), 0);
	deaths = mmap(NULL, sizeof(*deaths), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(deaths, MAP_FAILED);
	close(fd);
	ck_assert_int_eq(setenv("BUD_DEATHS", path, 1), 0);
	d.program = "tests/budd-deaths";
	d.may_restart = true;
	daemon_start(&d, CONFIG);
	unlink(path);
	daemon_snapshot(&d, &before);
}

static void
leave(void)
{
	atomic_store(&deaths->stand_at, 0);
	daemon_expect_same(&d, &before);
	daemon_stop(&d);
	munmap(deaths, sizeof(*deaths));
}

/* The next @n-th step is where it stands. */
static void
stand_at(uint64_t n)
{
	atomic_store(&deaths->stands, 0);
	atomic_store(&deaths->stand_at, 0);
	atomic_store(&deaths->steps, 0);
	atomic_store(&deaths->stand_at, n);
}

/* --- The client that is served meanwhile --- */

/* It needs no arbiter: all it wants is in its base, and it must always be there. */
static void
use_the_base(struct client *me, void *arg)
{
	struct bud_pool *pool = open_pool(&d, "default");
	unsigned long rounds = 0;
	void *kept = bud_alloc(pool, BASE / 2, 0), *buf;

	(void)arg;
	must(kept != NULL);
	paint(kept, BASE / 2, 7);
	client_say(me, "using");
	for (; !client_heard(me); rounds++) {
		must((buf = bud_alloc(pool, BASE / 2, 0)) != NULL && buf != kept);
		paint(buf, BASE / 2, rounds);
		must(painted(buf, BASE / 2, rounds) && painted(kept, BASE / 2, 7));
		bud_free(pool, buf);
	}
	must(rounds > 0);
	bud_close(pool);
}

/* --- The client that waits --- */

#define WAITING 8

struct turn {
	struct bud_pool *pool;
	void *buf;
	int at; /* the how manieth; 0: not yet */
	int error;
};

static int turns;

static void
on_turn(void *buf, int error, void *arg)
{
	struct turn *t = arg;

	t->buf = buf;
	t->error = error;
	t->at = ++turns;
}

/* What fits goes behind what does not. */
static size_t
size_of_turn(int i)
{
	return i % 2 == 0 ? CHUNK : 4096;
}

static void
ask(struct bud_pool *pool, struct turn *t, size_t size)
{
	*t = (struct turn){ .pool = pool };
	must(bud_request(pool, size, -1, 0, on_turn, t, NULL) == 0);
}

/* ... and budd knows: whoever asks next sees that somebody waits. */
static void
ask_and_wait(struct bud_pool *pool, struct turn *t, size_t size)
{
	uint32_t waiting = stat_of(pool).waiting;
	int64_t until = now_ms() + PATIENCE_MS;

	ask(pool, t, size);
	while (stat_of(pool).waiting == waiting) {
		must(now_ms() < until);
		nap();
	}
}

static void
dispatch_until(struct bud_pool *pool, int n)
{
	int64_t until = now_ms() + PATIENCE_MS;

	while (turns < n) {
		must(now_ms() < until);
		must(bud_dispatch(pool) >= 0);
		nap();
	}
}

static void
wait_in_order(struct client *me, void *arg)
{
	struct bud_pool *pool = open_pool(&d, "full");
	void *whole = bud_alloc(pool, CHUNK, 0), *small = bud_alloc(pool, 4096, 0);
	struct turn t[WAITING];

	(void)arg;
	must(whole != NULL && small != NULL);
	for (int i = 0; i < WAITING; i++)
		ask_and_wait(pool, &t[i], size_of_turn(i));
	client_say(me, "waiting");
	while (!client_heard(me)) {
		must(bud_dispatch(pool) == 0 && turns == 0);
		nap();
	}
	bud_free(pool, small); /* room for the first, a whole chunk */
	bud_free(pool, whole);
	for (int i = 0; i < WAITING; i++) {
		dispatch_until(pool, i + 1);
		must(t[i].at == i + 1 && t[i].error == 0);
		if (size_of_turn(i) == CHUNK)
			bud_free(pool, t[i].buf);
	}
	bud_close(pool);
}

/* --- The ledger --- */

/* Of our only pool: our own view of its ledger. */
static void
find_ledger(struct ledger *l, uint64_t wall_max)
{
	uint32_t chunks = (uint32_t)(wall_max / CHUNK_SIZE);
	unsigned long from = 0;
	char line[512];
	FILE *f = fopen("/proc/self/maps", "re");

	ck_assert_ptr_nonnull(f);
	while (from == 0 && fgets(line, sizeof(line), f) != NULL)
		if (strstr(line, "memfd:bud-ledger") != NULL)
			sscanf(line, "%lx-", &from);
	fclose(f);
	ck_assert_uint_ne(from, 0);
	ledger_attach(l, (void *)from, chunks, LEDGER_CACHES);
}

/* --- Every step --- */

/* A thread that does something which makes budd take steps, over and over. */
struct cycle {
	void (*run)(struct bud_pool *pool);
	struct bud_pool *pool;
	_Atomic uint32_t wanted;
	_Atomic uint32_t done;
};

static void *
run_cycles(void *arg)
{
	struct cycle *c = arg;

	for (;;) {
		uint32_t wanted = atomic_load(&c->wanted);

		if (wanted == UINT32_MAX)
			return NULL;
		if (wanted != atomic_load(&c->done)) {
			c->run(c->pool);
			atomic_store(&c->done, wanted);
		}
		nap();
	}
}

static void
kill_where_it_stands(int signo)
{
	pid_t arbiter = daemon_arbiter(&d);

	ck_assert_int_gt(arbiter, 0);
	atomic_store(&deaths->stand_at, 0);
	ck_assert_int_eq(kill(arbiter, signo), 0);
	eventually(daemon_arbiter(&d) != arbiter);
	atomic_store(&deaths->stands, 0);
}

/* One cycle, in which the arbiter dies at step @n; false: it has no such step. */
static bool
cycle_with_death_at(struct cycle *c, uint64_t n)
{
	uint32_t wanted = atomic_load(&c->done) + 1;
	bool died = false;

	stand_at(n);
	atomic_store(&c->wanted, wanted);
	eventually(
	    atomic_load(&deaths->stands) != 0 || atomic_load(&c->done) == wanted);
	/* At its last step, which may come after the client has what it wants. */
	if (atomic_load(&deaths->stands) != 0) {
		kill_where_it_stands(SIGKILL);
		died = true;
	}
	eventually(atomic_load(&c->done) == wanted);
	return died;
}

static unsigned int
die_at_every_step(struct cycle *c, void (*check)(struct bud_pool *pool))
{
	pthread_t thread;
	uint64_t n = 1;

	ck_assert_int_eq(pthread_create(&thread, NULL, run_cycles, c), 0);
	for (; cycle_with_death_at(c, n); n++) {
		stand_at(0);
		check(c->pool);
	}
	stand_at(0);
	atomic_store(&c->wanted, UINT32_MAX);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	return (unsigned int)n - 1;
}

/* Grows by a block of two slices, and has it released. What was lost on the way, a hint
 * that nobody lived to follow or a release that was undone, is asked for again. */
static void
grow_and_release(struct bud_pool *pool)
{
	static uint64_t serial;
	void *bufs[2][BLOCK / CHUNK];
	int64_t until;

	for (int i = 0; i < 2; i++) {
		must(bud_allocv(pool, CHUNK, bufs[i], BLOCK / CHUNK, PATIENCE_MS) == 0);
		for (unsigned int k = 0; k < BLOCK / CHUNK; k++)
			paint(bufs[i][k], CHUNK, serial + (unsigned int)i * 100 + k);
	}
	for (int i = 0; i < 2; i++)
		for (unsigned int k = 0; k < BLOCK / CHUNK; k++) {
			must(painted(
			    bufs[i][k], CHUNK, serial + (unsigned int)i * 100 + k));
			bud_free(pool, bufs[i][k]);
		}
	serial += 1000;
	until = now_ms() + PATIENCE_MS;
	while (stat_of(pool).blocks != 2 || stat_of(pool).pinned != BASE + BLOCK) {
		must(now_ms() < until);
		must(bud_hint(pool, BUD_TRANSFER_END) == 0);
		must(bud_dispatch(pool) >= 0); /* it is told of the restart */
		for (int i = 0; i < 20 && stat_of(pool).blocks != 2; i++)
			nap();
	}
}

static void *held;

static void
check_whole(struct bud_pool *pool)
{
	struct ledger l;

	(void)pool;
	ck_assert(painted(held, BASE, 1));
	eventually(figures_add_up(&d));
	find_ledger(&l, WALL);
	ck_assert(ledger_check(&l, (uint32_t)((BASE + BLOCK) / CHUNK_SIZE)));
	ck_assert_uint_eq(
	    ledger_count_free(&l, (struct chunk_range){ 0, WALL / CHUNK_SIZE }),
	    BLOCK / FRAME_SIZE);
}

START_TEST(a_death_at_any_step_of_growing_and_releasing_costs_nothing)
{
	struct cycle cycle = { .run = grow_and_release };
	struct witness witness;
	struct client user, waiter;
	unsigned int died;

	client_run(&user, use_the_base, NULL);
	client_wait(&user, "using");
	client_run(&waiter, wait_in_order, NULL);
	client_wait(&waiter, "waiting");
	cycle.pool = open_pool(&d, "default");
	ck_assert_ptr_nonnull(held = bud_alloc(cycle.pool, BASE, 0));
	paint(held, BASE, 1);
	grow_and_release(cycle.pool);
	eventually(figures_add_up(&d));
	witness_note(&witness, &d);
	witness_start(&witness);
	died = die_at_every_step(&cycle, check_whole);
	printf(
	    "%u arbiters died, each at another step of growing and releasing\n", died);
	ck_assert_uint_gt(died, 50);
	ck_assert_double_eq(daemon_figure(&d, "restarts"), died);
	witness_stop(&witness);
	bud_close(cycle.pool);
	client_say(&waiter, "free");
	client_join(&waiter);
	client_say(&user, "end");
	client_join(&user);
}
END_TEST

static void
open_and_close(struct bud_pool *unused)
{
	struct bud_pool *pool = open_pool(&d, "default");
	void *buf = bud_alloc(pool, BASE, 0);

	(void)unused;
	must(buf != NULL);
	paint(buf, BASE, 5);
	must(painted(buf, BASE, 5));
	bud_close(pool);
}

/* Our process, which had the pool, lives. */
static void
check_gone(struct bud_pool *unused)
{
	(void)unused;
	eventually(daemon_locked(&d) == 0);
	eventually(figures_add_up(&d));
}

START_TEST(a_death_at_any_step_of_opening_and_closing_costs_nothing)
{
	struct cycle cycle = { .run = open_and_close };
	unsigned int died = die_at_every_step(&cycle, check_gone);

	printf("%u arbiters died, each at another step of opening and closing\n", died);
	ck_assert_uint_gt(died, 10);
	ck_assert_double_eq(daemon_figure(&d, "restarts"), died);
}
END_TEST

/* --- Places --- */

/* The request of a client that has not heard yet of the arbiter's death, and is the first
 * that the next one reads. It would fit. */
START_TEST(nobody_overtakes_those_that_waited_before_a_death)
{
	struct bud_pool *pool = open_pool(&d, "full");
	void *whole = bud_alloc(pool, CHUNK, 0), *small = bud_alloc(pool, 4096, 0);
	struct turn t[3];

	turns = 0;
	ck_assert(whole != NULL && small != NULL);
	ask_and_wait(pool, &t[0], CHUNK);
	ask_and_wait(pool, &t[1], 4096);
	daemon_kill_arbiter(&d);
	ask(pool, &t[2], 4096);
	eventually(daemon_figure(&d, "restarts") == 1);
	for (int i = 0; i < 50; i++) {
		ck_assert_int_eq(bud_dispatch(pool), 0);
		nap();
	}
	eventually(daemon_figure(&d, "pools.0.queue.length") == 3);
	bud_free(pool, small);
	dispatch_until(pool, 1);
	ck_assert_int_eq(t[0].at, 1);
	bud_free(pool, t[0].buf);
	dispatch_until(pool, 3);
	ck_assert_int_eq(t[1].at, 2);
	ck_assert_int_eq(t[2].at, 3);
	bud_close(pool);
}
END_TEST

/* --- What an operator set --- */

static void
budctl(const char *args)
{
	const char *dir = getenv("BUD_BUILD");
	char command[512];

	snprintf(command, sizeof(command), "'%s/budctl/budctl' -S '%s' %s >/dev/null",
	    dir != NULL ? dir : ".", d.status, args);
	ck_assert_int_eq(system(command), 0);
}

static bool
policy_is(const char *name)
{
	cJSON *status = daemon_status(&d);
	const cJSON *p = cJSON_GetArrayItem(cJSON_GetObjectItem(status, "pools"), 0);
	const cJSON *policy = cJSON_GetObjectItem(p, "policy");
	bool is = cJSON_IsString(policy) && strcmp(policy->valuestring, name) == 0 &&
		  cJSON_GetArraySize(cJSON_GetObjectItem(p, "flags")) == 0;

	cJSON_Delete(status);
	return is;
}

START_TEST(what_was_set_for_a_pool_outlives_the_arbiter)
{
	struct bud_pool *pool = open_pool(&d, "tuned");

	budctl("set tuned weight=7 policy=several check_idle=false wall=512K add=512K");
	ck_assert_double_eq(daemon_figure(&d, "pools.0.weight"), 7);
	ck_assert(policy_is("several"));
	daemon_kill_arbiter(&d);
	eventually(daemon_figure(&d, "pools.0.weight") == 7);
	ck_assert(policy_is("several"));
	ck_assert_double_eq(daemon_figure(&d, "pools.0.wall"), 512 * KIB);
	ck_assert_double_eq(daemon_figure(&d, "pools.0.add_size"), 512 * KIB);
	bud_close(pool);
}
END_TEST

/* --- Messages that kill --- */

/* Restarts come to be @n, and then stay that for as long as a death would take. */
static void
expect_restarts(double n)
{
	int64_t until;

	eventually(daemon_figure(&d, "restarts") >= n);
	until = now_ms() + 300;
	while (now_ms() < until)
		ck_assert_double_eq(daemon_figure(&d, "restarts"), n);
}

static void
say_deadly_things(struct raw *r, unsigned int times)
{
	for (uint64_t i = 0; i < times; i++)
		ck_assert(raw_alloc(r, 100 + i, DEADLY, -1));
}

/* What kills the first arbiter; and then what nobody has read when that dies, too. */
static void
kill_and_kill_again(struct client *me, void *arg)
{
	union proto_msg msg;
	struct raw r;

	(void)arg;
	raw_open(&r, &d, "default");
	client_say(me, "open");
	client_wait(me, "go");
	say_deadly_things(&r, 1);
	must(raw_hear(&r, &msg) && msg.header.type == PROTO_RESTARTED);
	raw_say(&r, PROTO_RESUMED, 0);
	say_deadly_things(&r, 50);
	raw_expect_end(&r);
	client_say(me, "cut off");
	client_wait(me, "end");
	raw_close(&r);
}

START_TEST(a_message_that_kills_costs_its_sender_the_connection)
{
	struct client user, waiter, bad;

	atomic_store(&deaths->deadly_size, DEADLY);
	client_run(&user, use_the_base, NULL);
	client_wait(&user, "using");
	client_run(&waiter, wait_in_order, NULL);
	client_wait(&waiter, "waiting");
	client_run(&bad, kill_and_kill_again, NULL);
	client_wait(&bad, "open");
	client_say(&bad, "go");
	client_wait(&bad, "cut off");
	expect_restarts(2);
	eventually(daemon_log_contains(&d, "dropped: arbiters died while"));
	eventually(figures_add_up(&d)); /* its memory stays, as its process does */
	ck_assert_double_eq(daemon_figure(&d, "pools.2.pinned"), BASE);
	daemon_kill_arbiter(&d); /* the next one knows, too */
	expect_restarts(3);
	client_say(&waiter, "free"); /* it has its place */
	client_join(&waiter);
	client_say(&bad, "end");
	client_join(&bad);
	client_say(&user, "end");
	client_join(&user);
}
END_TEST

static void
kill_once(struct client *me, void *arg)
{
	struct raw r;

	(void)arg;
	raw_open(&r, &d, "default");
	client_say(me, "open");
	client_wait(me, "go");
	raw_say(&r, PROTO_RESUMED, 0); /* others may have ended arbiters before */
	say_deadly_things(&r, 1);
	client_wait(me, "end");
	raw_close(&r);
}

/* Three of them; what others wait for is dropped after the third death, and no pool is. */
START_TEST(when_many_die_the_queues_are_dropped_and_never_the_pools)
{
	struct bud_pool *pool = open_pool(&d, "full");
	void *whole = bud_alloc(pool, 2 * CHUNK, 0);
	struct client bad[3];
	struct turn t;

	turns = 0;
	ck_assert_ptr_nonnull(whole);
	paint(whole, 2 * CHUNK, 3);
	ask_and_wait(pool, &t, CHUNK);
	for (int i = 0; i < 3; i++) {
		client_run(&bad[i], kill_once, NULL);
		client_wait(&bad[i], "open");
	}
	atomic_store(&deaths->deadly_size, DEADLY);
	for (int i = 0; i < 3; i++) {
		eventually(bud_dispatch(pool) == 0 &&
			   daemon_figure(&d, "pools.0.queue.length") == 1);
		ck_assert_int_eq(turns, 0);
		client_say(&bad[i], "go");
		eventually(daemon_figure(&d, "restarts") == i + 1);
	}
	dispatch_until(pool, 1);
	ck_assert_int_eq(t.error, -ECANCELED);
	eventually(daemon_log_contains(&d, "what clients wait for is refused"));
	expect_restarts(3);
	ck_assert(painted(whole, 2 * CHUNK, 3));
	ck_assert_double_eq(daemon_figure(&d, "pools.0.pinned"), 2 * CHUNK);
	bud_free(pool, whole);
	eventually(bud_alloc(pool, 2 * CHUNK, 10) != NULL);
	turns = 0;
	ask(pool, &t, CHUNK); /* whoever asks later waits as ever */
	for (int i = 0; i < 1200; i++) {
		ck_assert_int_ge(bud_dispatch(pool), 0);
		nap();
		if (turns == 1 && t.error == -ECANCELED) {
			turns = 0;
			ask(pool, &t, CHUNK);
		}
	}
	ck_assert_int_eq(turns, 0);
	ck_assert_double_eq(daemon_figure(&d, "pools.0.queue.length"), 1);
	for (int i = 0; i < 3; i++) {
		client_say(&bad[i], "end");
		client_join(&bad[i]);
	}
	bud_close(pool);
	atomic_store(&deaths->deadly_size, 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("deaths");
	TCase *steps = tcase_create("steps"), *rest = tcase_create("rest");

	tcase_set_timeout(steps, 120);
	tcase_add_checked_fixture(steps, share_deaths, leave);
	tcase_add_test(
	    steps, a_death_at_any_step_of_growing_and_releasing_costs_nothing);
	tcase_add_test(steps, a_death_at_any_step_of_opening_and_closing_costs_nothing);
	suite_add_tcase(suite, steps);

	tcase_set_timeout(rest, 60);
	tcase_add_checked_fixture(rest, share_deaths, leave);
	tcase_add_test(rest, nobody_overtakes_those_that_waited_before_a_death);
	tcase_add_test(rest, what_was_set_for_a_pool_outlives_the_arbiter);
	tcase_add_test(rest, a_message_that_kills_costs_its_sender_the_connection);
	tcase_add_test(rest, when_many_die_the_queues_are_dropped_and_never_the_pools);
	suite_add_tcase(suite, rest);
	return daemon_suite(suite);
}
