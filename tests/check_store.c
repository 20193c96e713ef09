/* SPDX-License-Identifier: ISC */

/*
 * Pools outlive budd: it is killed, ended or replaced, and the next one has their memory,
 * locked, before anybody is served. The service manager is the test's own (manager.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bud.h"
#include "daemon/store.h"
#include "daemon/table.h"
#include "tests/client_process.h"
#include "tests/manager.h"

#define CHUNK         (256 * KIB)
#define WALL          MIB
#define OF_THE_KEEPER 2u /* descriptors: table and records */
#define OF_A_POOL     4u

#define CONFIG                                                 \
	"[host]\ntick = 5ms\nrelease_period = 1h\nidle = 1h\n" \
	"[pool default]\nbase = 256K\nadd = 256K\nwall = 1M\nwall_max = 1M\n"

static struct manager m;
static struct daemon_snapshot before;

static void
enter(void)
{
	manager_start(&m, CONFIG);
	m.d.may_restart = true;
	daemon_snapshot(&m.d, &before);
}

static void
leave(void)
{
	daemon_expect_same(&m.d, &before);
	eventually(manager_kept(&m, NULL) == OF_THE_KEEPER);
	manager_stop(&m);
}

/* --- Clients --- */

static void
hold_all(struct client *me, void *arg)
{
	struct bud_pool *pool = open_pool(&m.d, "default");
	void *buf = bud_alloc(pool, WALL, 0), *again;

	(void)arg;
	must(buf != NULL);
	paint(buf, WALL, 3);
	client_say(me, "holding");
	client_wait(me, "look");
	must(painted(buf, WALL, 3));
	bud_free(pool, buf);
	again = bud_alloc(pool, WALL, -1); /* everybody is at work */
	must(again == buf);
	bud_close(pool);
}

static void *
wait_for_chunk(void *arg)
{
	must(bud_alloc(arg, CHUNK, -1) != NULL);
	return NULL;
}

static void
wait_over_a_death(struct client *me, void *arg)
{
	struct bud_pool *pool = open_pool(&m.d, "default");
	void *buf = bud_alloc(pool, WALL, 0);
	pthread_t thread;

	(void)arg;
	must(buf != NULL);
	while (stat_of(pool).waiting != 0)
		nap();
	must(pthread_create(&thread, NULL, wait_for_chunk, pool) == 0);
	while (stat_of(pool).waiting != 1)
		nap();
	client_say(me, "waiting");
	client_wait(me, "free");
	bud_free(pool, buf);
	must(pthread_join(thread, NULL) == 0);
	bud_close(pool);
}

static void
allocate_on_and_on(struct client *me, void *arg)
{
	struct bud_pool *pool = open_pool(&m.d, "default");
	void *bufs[4];

	(void)arg;
	client_say(me, "allocating");
	for (unsigned long round = 0; !client_heard(me); round++) {
		for (unsigned int i = 0; i < 4; i++) {
			bufs[i] = bud_alloc(pool, CHUNK, 3 * PATIENCE_MS);
			must(bufs[i] != NULL);
			paint(bufs[i], CHUNK, round + i);
		}
		for (unsigned int i = 0; i < 4; i++) {
			must(painted(bufs[i], CHUNK, round + i));
			bud_free(pool, bufs[i]);
		}
	}
	bud_close(pool);
}

/* --- From one budd to the next --- */

static void
survive(void (*end)(void))
{
	struct client holder, waiter;

	client_run(&holder, hold_all, NULL);
	client_wait(&holder, "holding");
	client_run(&waiter, wait_over_a_death, NULL);
	client_wait(&waiter, "waiting");
	eventually(manager_kept(&m, NULL) == OF_THE_KEEPER + 2 * OF_A_POOL);
	end();
	manager_launch(&m);
	ck_assert_uint_eq(daemon_locked(&m.d), 2 * pool_locked(WALL, WALL));
	eventually(manager_kept(&m, NULL) == OF_THE_KEEPER + 2 * OF_A_POOL);
	eventually(daemon_figure(&m.d, "pools.1.pinned") == (double)WALL);
	eventually(daemon_figure(&m.d, "pools.1.queue.length") == 1);
	client_say(&waiter, "free");
	client_join(&waiter);
	client_say(&holder, "look");
	client_join(&holder);
}

static void
kill_keeper(void)
{
	manager_kill(&m);
}

static void
end_keeper(void)
{
	daemon_end(&m.d);
}

START_TEST(pools_outlive_a_keeper_that_is_killed)
{
	survive(kill_keeper);
}
END_TEST

START_TEST(pools_outlive_a_keeper_that_is_told_to_end)
{
	survive(end_keeper);
}
END_TEST

START_TEST(a_process_that_dies_meanwhile_takes_its_pool_along)
{
	struct client dead, alive;

	client_run(&dead, hold_all, NULL);
	client_wait(&dead, "holding");
	client_run(&alive, hold_all, NULL);
	client_wait(&alive, "holding");
	manager_kill(&m);
	client_kill(&dead);
	manager_launch(&m);
	eventually(manager_kept(&m, NULL) == OF_THE_KEEPER + OF_A_POOL);
	eventually(daemon_locked(&m.d) == pool_locked(WALL, WALL));
	client_say(&alive, "look");
	client_join(&alive);
}
END_TEST

#define KILLS 10
#define LOAD  3

START_TEST(ten_keepers_die_under_load)
{
	struct client c[LOAD];

	for (int i = 0; i < LOAD; i++) {
		client_run(&c[i], allocate_on_and_on, NULL);
		client_wait(&c[i], "allocating");
	}
	srandom(1);
	for (int n = 0; n < KILLS; n++) {
		int64_t until = now_ms() + random() % 20;

		while (now_ms() < until)
			nap();
		manager_kill(&m);
		manager_launch(&m);
	}
	for (int i = 0; i < LOAD; i++) {
		client_say(&c[i], "end");
		client_join(&c[i]);
	}
	ck_assert_double_eq(daemon_figure(&m.d, "restarts"), KILLS);
}
END_TEST

/* --- What is in the store --- */

START_TEST(a_pool_is_in_the_store_until_it_ends_under_a_short_name)
{
	struct bud_pool *first = open_pool(&m.d, "default");
	struct bud_pool *second = open_pool(&m.d, "default");

	eventually(manager_kept(&m, STORE_TABLE) == 1);
	eventually(manager_kept(&m, STORE_RECORDS) == 1);
	eventually(manager_kept(&m, "0") == OF_A_POOL);
	eventually(manager_kept(&m, "1") == OF_A_POOL);
	bud_close(first);
	eventually(manager_kept(&m, "0") == 0);
	eventually(manager_kept(&m, "1") == OF_A_POOL);
	bud_close(second);
}
END_TEST

START_TEST(a_name_has_four_characters_at_the_most)
{
	ck_assert_str_eq(store_name_of(0).s, "0");
	ck_assert_str_eq(store_name_of(TABLE_SLOTS - 1).s, "270f");
	for (uint32_t slot = 0; slot < TABLE_SLOTS; slot++)
		ck_assert_int_eq(store_slot_of(store_name_of(slot).s), (int32_t)slot);
	ck_assert_int_eq(store_slot_of(STORE_TABLE), -1);
	ck_assert_int_eq(store_slot_of(STORE_CLIENTS), -1);
	ck_assert_int_eq(store_slot_of(""), -1);
}
END_TEST

/* The pool does not outlive that budd, and its client is told so and opens another. */
static void
lose_the_pool(void)
{
	struct bud_pool *kept = open_pool(&m.d, "default");
	struct bud_pool *lost = open_pool(&m.d, "default");
	char *buf = bud_alloc(lost, CHUNK, 0);

	eventually(manager_kept(&m, NULL) == OF_THE_KEEPER + OF_A_POOL);
	paint(buf, CHUNK, 5);
	manager_kill(&m);
	manager_launch(&m);
	ck_assert_double_eq(daemon_figure(&m.d, "host.clients"), 1);
	ck_assert_uint_eq(daemon_locked(&m.d), pool_locked(WALL, CHUNK));
	ck_assert_ptr_null(bud_alloc(lost, WALL, 50));
	ck_assert_int_eq(errno, ENOTCONN);
	ck_assert(painted(buf, CHUNK, 5));
	bud_close(lost);
	ck_assert_ptr_nonnull(bud_alloc(kept, WALL, PATIENCE_MS));
	bud_close(kept);
	lost = open_pool(&m.d, "default");
	ck_assert_ptr_nonnull(bud_alloc(lost, WALL, PATIENCE_MS));
	bud_close(lost);
}

START_TEST(a_full_store_is_told_and_costs_no_more_than_the_restart)
{
	m.room = OF_THE_KEEPER + OF_A_POOL;
	enter();
	lose_the_pool();
	eventually(daemon_log_contains(&m.d, "the store is full"));
	leave();
}
END_TEST

START_TEST(a_store_that_is_full_and_does_not_say_so_leaves_nothing_half_adopted)
{
	m.room = OF_THE_KEEPER + OF_A_POOL + 2; /* two of a pool's four vanish */
	m.room_is_secret = true;
	enter();
	m.room -= 2;
	lose_the_pool();
	leave();
}
END_TEST

/* --- Another layout --- */

static void
set_layout(uint32_t layout)
{
	for (unsigned int i = 0; i < m.kept_count; i++) {
		struct table *t;

		if (strcmp(m.kept[i].name, STORE_TABLE) != 0)
			continue;
		t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE, MAP_SHARED,
		    m.kept[i].fd, 0);
		ck_assert_ptr_ne(t, MAP_FAILED);
		ck_assert_uint_eq(t->layout, TABLE_LAYOUT);
		t->layout = layout;
		munmap(t, sizeof(*t));
	}
}

static void
hold_without_budd(struct client *me, void *arg)
{
	struct bud_pool *pool = open_pool(&m.d, "default");
	void *buf = bud_alloc(pool, WALL / 2, 0);

	(void)arg;
	must(buf != NULL);
	paint(buf, WALL / 2, 7);
	client_say(me, "holding");
	client_wait(me, "look");
	must(painted(buf, WALL / 2, 7));
	must(bud_alloc(pool, WALL, 0) == NULL && errno != 0);
	must(bud_alloc(pool, WALL / 2, 50) == NULL && errno == ENOTCONN);
	client_say(me, "away");
	client_wait(me, "go");
}

START_TEST(pools_of_another_layout_stay_locked_until_their_processes_end)
{
	struct bud_pool *pool;
	struct client c;

	m.watchdog_ms =
	    8000; /* of the launches below: budd looks at each quarter of it */
	client_run(&c, hold_without_budd, NULL);
	client_wait(&c, "holding");
	manager_kill(&m);
	set_layout(TABLE_LAYOUT + 1);
	for (int i = 0; i < 2;
	     i++) { /* the second one knows of it from its own table */
		manager_launch(&m);
		eventually(daemon_log_contains(&m.d, "of another layout"));
		ck_assert_uint_ge(daemon_locked(&m.d), WALL / 2);
		eventually(manager_kept(&m, NULL) == OF_THE_KEEPER + OF_A_POOL);
		ck_assert_double_eq(daemon_figure(&m.d, "host.clients"), 0);
		eventually(manager_says(&m, "of another budd"));
		ck_assert_double_eq(daemon_figure(&m.d, "host.foreign"), 1);
		pool = open_pool(&m.d, "default"); /* beside it, in another slot */
		ck_assert_ptr_nonnull(bud_alloc(pool, WALL, 0));
		bud_close(pool);
		if (i == 0)
			manager_kill(&m);
	}
	client_say(&c, "look");
	client_wait(&c, "away");
	client_say(&c, "go");
	client_join(&c);
}
END_TEST

/* --- A death at each step --- */

static void
open_and_close(struct client *me, void *arg)
{
	struct bud_config config = { .size = sizeof(config), .socket = m.d.socket };
	struct bud_pool *pool;
	void *buf;
	int r;

	(void)arg;
	client_wait(me, "go");
	r = bud_open(&pool, &config);
	must(r == 0 || r == -ECONNREFUSED);
	if (r == 0) {
		buf = bud_alloc(pool, WALL, PATIENCE_MS);
		must(buf != NULL || errno == ENOTCONN);
		if (buf != NULL) {
			paint(buf, WALL, 1);
			client_say(me, "working");
			must(painted(buf, WALL, 1));
			bud_free(pool, buf);
		}
		bud_close(pool);
	}
	client_say(me, "done");
}

/* Lets the keeper go on to its @steps-th entry into or return from a system call, unless
 * the client is done before; then it is stopped. */
static bool
step(struct client *c, int steps)
{
	int status;

	for (int i = 0; i < steps; i++) {
		ck_assert_int_eq(ptrace(PTRACE_SYSCALL, m.d.keeper, 0, 0), 0);
		while (waitpid(m.d.keeper, &status, WNOHANG) == 0) {
			if (client_heard(c) && memmem(c->text, c->length, "done", 4))
				return false;
			nap();
		}
		ck_assert(WIFSTOPPED(status));
	}
	return true;
}

static bool
die_at_step(int steps)
{
	struct client c;
	int status;
	bool died;

	client_run(&c, open_and_close, NULL);
	ck_assert_int_eq(ptrace(PTRACE_SEIZE, m.d.keeper, 0, PTRACE_O_TRACESYSGOOD), 0);
	ck_assert_int_eq(ptrace(PTRACE_INTERRUPT, m.d.keeper, 0, 0), 0);
	ck_assert_int_eq(waitpid(m.d.keeper, &status, 0), m.d.keeper);
	client_say(&c, "go");
	died = step(&c, steps);
	manager_kill(&m);
	manager_launch(&m);
	while (strcmp(client_hear(&c), "done") != 0)
		;
	daemon_expect_same(&m.d, &before);
	eventually(manager_kept(&m, NULL) == OF_THE_KEEPER);
	client_join(&c);
	return died;
}

#define STEPS_MAX 1000

START_TEST(a_death_at_any_step_of_a_pools_life_leaves_nothing_behind)
{
	bool long_run = getenv("BUD_SOAK") != NULL && soak_s() >= 10;
	int steps = 1, deaths = 0;

	if (!need_root())
		return;
	while (steps < STEPS_MAX && die_at_step(steps)) {
		steps += long_run ? 1 : 3; /* 3 meets entries and returns alike */
		deaths++;
	}
	printf("%d deaths, up to step %d\n", deaths, steps);
	ck_assert_int_ge(deaths, 10);
	ck_assert_int_lt(steps, STEPS_MAX);
}
END_TEST

/* --- Notices --- */

START_TEST(ready_and_the_status_line_come_with_the_arbiters_first_answer)
{
	struct bud_pool *pool;

	m.watchdog_ms = 400;
	enter();
	eventually(manager_ready(&m) == 1);
	ck_assert(manager_says(&m, "0 pools, "));
	pool = open_pool(&m.d, "default");
	eventually(manager_says(&m, "1 pools, "));
	bud_close(pool);
	ck_assert_int_eq(kill(m.d.keeper, SIGHUP), 0);
	eventually(manager_ready(&m) == 2);
	ck_assert_uint_eq(m.reloading, 1);
	leave();
}
END_TEST

START_TEST(a_stopped_arbiter_is_replaced_before_the_watchdog_barks)
{
	pid_t arbiter;

	m.watchdog_ms = 1000;
	enter();
	arbiter = daemon_arbiter(&m.d);
	ck_assert_int_eq(kill(arbiter, SIGSTOP), 0);
	eventually(daemon_log_contains(&m.d, "does not answer"));
	eventually(daemon_figure(&m.d, "restarts") == 1);
	ck_assert_int_ne(daemon_arbiter(&m.d), arbiter);
	leave();
}
END_TEST

/* Between two looks at a silent one lies more than a period; nothing else is timed. */
START_TEST(a_stopped_keeper_gives_no_sign_of_life)
{
	unsigned int alive;
	int64_t until;

	m.watchdog_ms = 400;
	enter();
	eventually(manager_alive(&m) > 2);
	ck_assert_int_eq(kill(m.d.keeper, SIGSTOP), 0);
	for (until = now_ms() + 200; now_ms() < until; nap())
		;
	alive = manager_alive(&m);
	for (until = now_ms() + 400; now_ms() < until; nap())
		;
	ck_assert_uint_eq(manager_alive(&m), alive);
	manager_kill(&m); /* what the watchdog does then */
	manager_launch(&m);
	eventually(manager_alive(&m) > alive);
	leave();
}
END_TEST

/* --- Sockets of the manager --- */

START_TEST(who_connects_while_budd_is_down_is_served_by_the_next)
{
	struct client c;

	m.listens = true;
	enter();
	manager_kill(&m);
	client_run(&c, allocate_on_and_on, NULL);
	manager_launch(&m);
	client_wait(&c, "allocating");
	client_say(&c, "end");
	client_join(&c);
	ck_assert_int_eq(access(m.d.socket, F_OK), 0);
	leave();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("store");
	TCase *common = tcase_create("common"), *own = tcase_create("own");

	tcase_set_timeout(common, 120);
	tcase_add_checked_fixture(common, enter, leave);
	tcase_add_test(common, pools_outlive_a_keeper_that_is_killed);
	tcase_add_test(common, pools_outlive_a_keeper_that_is_told_to_end);
	tcase_add_test(common, a_process_that_dies_meanwhile_takes_its_pool_along);
	tcase_add_test(common, ten_keepers_die_under_load);
	tcase_add_test(common, a_pool_is_in_the_store_until_it_ends_under_a_short_name);
	tcase_add_test(
	    common, pools_of_another_layout_stay_locked_until_their_processes_end);
	tcase_add_test(
	    common, a_death_at_any_step_of_a_pools_life_leaves_nothing_behind);
	suite_add_tcase(suite, common);

	tcase_set_timeout(own, 60);
	tcase_add_test(own, a_name_has_four_characters_at_the_most);
	tcase_add_test(own, a_full_store_is_told_and_costs_no_more_than_the_restart);
	tcase_add_test(
	    own, a_store_that_is_full_and_does_not_say_so_leaves_nothing_half_adopted);
	tcase_add_test(
	    own, ready_and_the_status_line_come_with_the_arbiters_first_answer);
	tcase_add_test(own, a_stopped_arbiter_is_replaced_before_the_watchdog_barks);
	tcase_add_test(own, a_stopped_keeper_gives_no_sign_of_life);
	tcase_add_test(own, who_connects_while_budd_is_down_is_served_by_the_next);
	suite_add_tcase(suite, own);
	return daemon_suite(suite);
}
