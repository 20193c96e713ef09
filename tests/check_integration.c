/* SPDX-License-Identifier: ISC */

/* One client and a real budd: growing, queueing, releasing. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bud.h"
#include "tests/client_process.h"
#include "tests/daemon.h"

#define CHUNK (256 * KIB)
#define WALL  MIB
#define EARLY 2  /* ms by which clocks may disagree */
#define LATE  50 /* ms within which a deadline is kept */
#define TRIES 30

/* Pools of four blocks; nothing is released while a test looks elsewhere. */
#define STEADY                                                                \
	"[host]\ntick = 5ms\nrelease_period = 1h\nidle = 1h\n"                \
	"[pool default]\nbase = 256K\nadd = 256K\nwall = 1M\nwall_max = 1M\n" \
	"[pool other]\nbase = 256K\nadd = 256K\nwall = 512K\nwall_max = 512K\n"
/* A pass each 40 ms; 16 blocks. */
#define BREATHING                                                 \
	"[host]\ntick = 5ms\nrelease_period = 40ms\nidle = 5ms\n" \
	"unregister_timeout = 20ms\n"                             \
	"[pool default]\nbase = 256K\nadd = 256K\nwall = 1536K\nwall_max = 1536K\n"

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
enter_steady(void)
{
	enter(STEADY);
}

static void
enter_breathing(void)
{
	enter(BREATHING);
}

static void
leave(void)
{
	bud_close(pool);
	daemon_expect_same(&d, &before);
	daemon_stop(&d);
}

static void *
get(size_t size)
{
	void *buf = bud_alloc(pool, size, 0);

	ck_assert_msg(buf != NULL, "%zu bytes: %s", size, strerror(errno));
	return buf;
}

static void
expect_errno(size_t size, int timeout_ms, int error)
{
	ck_assert_ptr_null(bud_alloc(pool, size, timeout_ms));
	ck_assert_int_eq(errno, error);
}

static bool
waiting(unsigned int n)
{
	return stat_of(pool).waiting == n;
}

/* budd has looked at this pool a few times since. */
static void
let_ticks_pass(void)
{
	int64_t until = now_ms() + 40;

	while (now_ms() < until)
		nap();
}

/* --- Memory that is registered with a device --- */

struct registered {
	bool answer; /* gives up what it is asked for */
	unsigned int added;
	unsigned int asked;
};

static void
on_block(unsigned int what, void *start, size_t bytes, void *arg)
{
	struct registered *r = arg;

	ck_assert_uint_ge(bytes, CHUNK);
	r->added += what == BUD_BLOCK_ADDED;
	r->asked += what == BUD_BLOCK_RELEASE;
	if (what == BUD_BLOCK_RELEASE && r->answer)
		ck_assert_int_eq(bud_gave_up(pool, start), 0);
}

static bool
dispatched(bool done)
{
	ck_assert_int_ge(bud_dispatch(pool), 0);
	return done;
}

/* Grows by three blocks, which are empty again then. */
static void
breathe_in(void)
{
	void *bufs[4];

	for (int i = 0; i < 4; i++)
		bufs[i] = get(CHUNK);
	for (int i = 0; i < 4; i++)
		bud_free(pool, bufs[i]);
}

START_TEST(a_registered_block_is_asked_for_and_goes_when_given_up)
{
	struct registered r = { .answer = true };

	ck_assert_int_eq(bud_watch_blocks(pool, on_block, &r), 0);
	breathe_in();
	eventually(dispatched(r.asked == 3));
	eventually(stat_of(pool).blocks == 1);
	ck_assert_uint_ge(r.added, 4);
	ck_assert(daemon_figure(&d, "pools.0.counters.kept") == 0);
}
END_TEST

START_TEST(a_registered_block_that_is_never_given_up_stays_and_budd_says_so)
{
	struct registered r = { .answer = false };

	ck_assert_int_eq(bud_watch_blocks(pool, on_block, &r), 0);
	breathe_in();
	eventually(dispatched(r.asked >= 2)); /* once more after a period */
	eventually(daemon_figure(&d, "pools.0.counters.kept") >= 2);
	ck_assert_uint_eq(stat_of(pool).blocks, 4);
	breathe_in(); /* and serves */
	ck_assert_uint_eq(stat_of(pool).blocks, 4);
	ck_assert_int_eq(bud_watch_blocks(pool, NULL, NULL), 0);
	eventually(stat_of(pool).blocks == 1);
}
END_TEST

/* --- Threads that wait --- */

struct waiter {
	pthread_t thread;
	size_t size;
	int timeout_ms;
	void *buf;
	int error;
	int64_t ms;                 /* that it waited */
	_Atomic unsigned int place; /* 1: was served first; 0: not served (yet) */
};

static _Atomic unsigned int served;

static void
note_end(struct waiter *w, void *buf, int error)
{
	w->buf = buf;
	w->error = error;
	atomic_store(&w->place, atomic_fetch_add(&served, 1) + 1);
}

static void *
wait_for_buffer(void *arg)
{
	struct waiter *w = arg;
	int64_t start = now_ms();
	void *buf = bud_alloc(pool, w->size, w->timeout_ms);

	w->ms = now_ms() - start;
	note_end(w, buf, buf == NULL ? errno : 0);
	return NULL;
}

static void
start_waiter(struct waiter *w, size_t size, int timeout_ms)
{
	*w = (struct waiter){ .size = size, .timeout_ms = timeout_ms };
	ck_assert_int_eq(pthread_create(&w->thread, NULL, wait_for_buffer, w), 0);
}

static void
join_waiter(struct waiter *w)
{
	ck_assert_int_eq(pthread_join(w->thread, NULL), 0);
}

static void
on_granted(void *buf, int error, void *arg)
{
	struct waiter *w = arg;

	ck_assert_uint_eq(atomic_load(&w->place), 0); /* exactly once */
	note_end(w, buf, -error);
}

static void
ask(struct waiter *w, size_t size, int timeout_ms, struct bud_request **requestp)
{
	*w = (struct waiter){ .size = size };
	ck_assert_int_eq(
	    bud_request(pool, size, timeout_ms, 0, on_granted, w, requestp), 0);
}

static bool
was_served(const struct waiter *w)
{
	bud_dispatch(pool);
	return atomic_load(&w->place) != 0;
}

/* --- Growing --- */

START_TEST(a_pool_grows_to_its_wall_and_not_beyond)
{
	for (size_t i = 0; i < WALL / (4 * KIB); i++)
		get(4 * KIB);
	expect_errno(4 * KIB, 0, EAGAIN);
	ck_assert_uint_eq(stat_of(pool).pinned, WALL);
	ck_assert_uint_eq(stat_of(pool).used, WALL);
	ck_assert_uint_eq(stat_of(pool).blocks, 4);
	ck_assert_uint_eq(daemon_locked(&d), pool_locked(WALL, WALL));
	ck_assert_double_eq(
	    daemon_figure(&d, "host.pinned"), (double)daemon_locked(&d));
	ck_assert_double_eq(daemon_figure(&d, "pools.0.pinned"), (double)WALL);
	ck_assert_double_eq(daemon_figure(&d, "pools.0.counters.grown"), 3);
}
END_TEST

/* However far its wall could be raised: here 4096 times. */
START_TEST(a_pool_that_wants_less_than_its_section_has_grows_as_it_wishes)
{
	struct bud_config wishes = {
		.socket = d.socket,
		.size = sizeof(wishes),
		.base = 256 * KIB,
		.add = 256 * KIB,
		.wall = WALL,
	};

	bud_close(pool);
	daemon_stop(&d);
	daemon_start(&d, "[host]\nwall = 4G\n[pool default]\nwall = 1G\n");
	daemon_snapshot(&d, &before);
	ck_assert_int_eq(bud_open(&pool, &wishes), 0);
	for (size_t i = 0; i < WALL / (256 * KIB); i++)
		get(256 * KIB);
	ck_assert_uint_eq(stat_of(pool).add, 256 * KIB);
	ck_assert_uint_eq(stat_of(pool).blocks, 4);
}
END_TEST

START_TEST(only_the_base_is_pinned_before_anybody_asks)
{
	ck_assert_uint_eq(stat_of(pool).pinned, CHUNK);
	ck_assert_uint_eq(daemon_locked(&d), pool_locked(WALL, CHUNK));
	get(CHUNK);
	ck_assert_uint_eq(daemon_locked(&d), pool_locked(WALL, CHUNK));
	get(4 * KIB);
	ck_assert_uint_eq(daemon_locked(&d), pool_locked(WALL, 2 * CHUNK));
}
END_TEST

START_TEST(one_buffer_may_be_as_large_as_the_wall)
{
	void *buf = get(WALL);

	paint(buf, WALL, 1);
	ck_assert(painted(buf, WALL, 1));
	ck_assert_uint_eq(bud_usable_size(pool, buf), WALL);
	bud_free(pool, buf);
	expect_errno(WALL + 1, -1, EMSGSIZE);
}
END_TEST

START_TEST(a_local_try_does_not_grow_the_pool)
{
	struct bud_config config = {
		.size = sizeof(config), .socket = d.socket, .flags = BUD_LOCAL
	};
	struct bud_pool *local;

	ck_assert_int_eq(bud_open(&local, &config), 0);
	ck_assert_ptr_nonnull(bud_alloc(local, CHUNK, 0));
	ck_assert_ptr_null(bud_alloc(local, 4 * KIB, 0));
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert_uint_eq(stat_of(local).pinned, CHUNK);
	ck_assert_ptr_nonnull(bud_alloc(local, 4 * KIB, PATIENCE_MS));
	bud_close(local);
}
END_TEST

START_TEST(two_pools_of_a_process_have_a_wall_and_memory_each)
{
	struct bud_pool *other = open_pool(&d, "other");
	void *mine = get(WALL), *theirs = bud_alloc(other, 512 * KIB, 0);

	ck_assert_ptr_nonnull(theirs);
	ck_assert_ptr_null(bud_alloc(other, 4 * KIB, 0));
	paint(mine, WALL, 1);
	paint(theirs, 512 * KIB, 2);
	ck_assert(painted(mine, WALL, 1));
	ck_assert_uint_eq(bud_usable_size(other, mine), 0);
	ck_assert_uint_eq(daemon_locked(&d),
	    pool_locked(WALL, WALL) + pool_locked(512 * KIB, 512 * KIB));
	bud_close(other);
	eventually(daemon_locked(&d) == pool_locked(WALL, WALL));
	ck_assert(painted(mine, WALL, 1));
}
END_TEST

/* --- Queueing --- */

#define ROW 8u

START_TEST(who_waits_is_served_first_in_first_out)
{
	struct waiter w[ROW];
	void *held[ROW];

	for (unsigned int i = 0; i < ROW; i++)
		held[i] = get(WALL / ROW);
	eventually(waiting(0)); /* budd has heard that the last turn was used */
	for (unsigned int i = 0; i < ROW; i++) {
		if (i % 2 == 0)
			start_waiter(&w[i], WALL / ROW, -1);
		else
			ask(&w[i], WALL / ROW, -1, NULL);
		eventually(waiting(i + 1));
	}
	for (unsigned int i = 0; i < ROW; i++) {
		bud_free(pool, held[i]);
		eventually(was_served(&w[i]));
		ck_assert_uint_eq(atomic_load(&w[i].place), i + 1);
		ck_assert_ptr_nonnull(w[i].buf);
	}
	for (unsigned int i = 0; i < ROW; i += 2)
		join_waiter(&w[i]);
}
END_TEST

START_TEST(a_free_wakes_the_waiter_of_another_thread)
{
	void *held = get(WALL);
	struct waiter w;

	eventually(waiting(0));
	start_waiter(&w, 4 * KIB, -1);
	eventually(waiting(1));
	bud_free(pool, held);
	join_waiter(&w);
	ck_assert_ptr_nonnull(w.buf);
	eventually(waiting(0));
}
END_TEST

/* All of the pool, in chunks. */
static void
fill(void *held[4])
{
	for (int i = 0; i < 4; i++)
		held[i] = get(CHUNK);
}

START_TEST(a_large_request_at_the_head_is_not_overtaken)
{
	struct waiter large, small;
	void *held[4];

	fill(held);
	ask(&large, WALL, -1, NULL);
	ask(&small, 4 * KIB, -1, NULL);
	eventually(waiting(2));
	for (int i = 0; i < 3; i++)
		bud_free(pool, held[i]);
	let_ticks_pass();
	ck_assert(!was_served(&large) && !was_served(&small));
	expect_errno(4 * KIB, 0, EAGAIN); /* nor by one that would not wait */
	bud_free(pool, held[3]);
	eventually(was_served(&large));
	let_ticks_pass();
	ck_assert(!was_served(&small));
	bud_free(pool, large.buf);
	eventually(was_served(&small));
	ck_assert_ptr_nonnull(small.buf);
}
END_TEST

/* A large one that gives up, and a small one behind it for which there is room. */
static void
expect_to_let_in(int timeout_ms, int error)
{
	struct bud_request *request;
	struct waiter large, small;
	void *held[4];

	fill(held);
	ask(&large, WALL, timeout_ms, &request);
	ask(&small, CHUNK, -1, NULL);
	eventually(waiting(2));
	bud_free(pool, held[1]);
	if (timeout_ms == -1)
		ck_assert_int_eq(bud_cancel(request), 0);
	eventually(was_served(&large) && was_served(&small));
	ck_assert_int_eq(large.error, error);
	ck_assert_ptr_eq(small.buf, held[1]);
	ck_assert_int_eq(bud_cancel(request), -ENOENT);
}

START_TEST(a_cancelled_head_lets_the_next_one_in)
{
	expect_to_let_in(-1, ECANCELED);
}
END_TEST

START_TEST(an_expired_head_lets_the_next_one_in)
{
	expect_to_let_in(100, ETIMEDOUT);
}
END_TEST

/* --- Deadlines --- */

/* Never too early; and within LATE, unless the machine is busy with other things, but not
 * each time. */
static void
expect_deadline(int64_t (*wait_ms)(int timeout_ms))
{
	int64_t ms = 0;

	for (int i = 0; i < TRIES; i++) {
		ms = wait_ms(100);
		ck_assert_int_ge(ms, 100 - EARLY);
		if (ms <= 100 + LATE)
			return;
	}
	ck_abort_msg("a deadline of 100 ms came after %d ms, %d times", (int)ms, TRIES);
}

static int64_t
wait_in_alloc(int timeout_ms)
{
	struct waiter w = { .size = 4 * KIB, .timeout_ms = timeout_ms };

	wait_for_buffer(&w);
	ck_assert_int_eq(w.error, ETIMEDOUT);
	return w.ms;
}

static int64_t
wait_in_poll(int timeout_ms)
{
	struct pollfd p = { .fd = bud_fd(pool), .events = POLLIN };
	int64_t start = now_ms();
	struct waiter w;

	ask(&w, 4 * KIB, timeout_ms, NULL);
	while (!was_served(&w))
		ck_assert_int_eq(poll(&p, 1, PATIENCE_MS), 1);
	ck_assert_int_eq(w.error, ETIMEDOUT);
	return now_ms() - start;
}

START_TEST(deadlines_are_kept)
{
	get(WALL);
	expect_deadline(_i == 0 ? wait_in_alloc : wait_in_poll);
	ck_assert_double_ge(daemon_figure(&d, "pools.0.counters.queued"), 1);
}
END_TEST

START_TEST(deadlines_are_kept_while_budd_hangs)
{
	pid_t arbiter = daemon_arbiter(&d);
	void *held = get(WALL);

	ck_assert_int_eq(kill(arbiter, SIGSTOP), 0);
	expect_deadline(_i == 0 ? wait_in_alloc : wait_in_poll);
	ck_assert_int_eq(kill(arbiter, SIGCONT), 0);
	bud_free(pool, held);
	ck_assert_ptr_nonnull(bud_alloc(pool, WALL, PATIENCE_MS));
	eventually(waiting(0));
}
END_TEST

/* --- All or nothing --- */

#define PART   (64 * KIB)
#define PARTS  10u /* of 16 */
#define ROUNDS 100

static void *
take_parts(void *arg)
{
	uint64_t seed = (uint64_t)(uintptr_t)arg;
	void *bufs[PARTS];

	for (int n = 0; n < ROUNDS; n++) {
		must(bud_allocv(pool, PART, bufs, PARTS, PATIENCE_MS) == 0);
		for (unsigned int i = 0; i < PARTS; i++)
			paint(bufs[i], PART, seed + i);
		for (unsigned int i = 0; i < PARTS; i++) {
			must(painted(bufs[i], PART, seed + i));
			bud_free(pool, bufs[i]);
		}
	}
	return NULL;
}

START_TEST(two_that_ask_for_all_at_once_do_not_deadlock)
{
	pthread_t threads[2];
	void *bufs[17];

	for (uintptr_t i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, take_parts,
				     (void *)((i + 1) * 100)),
		    0);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	ck_assert_uint_eq(stat_of(pool).used, 0);
	ck_assert_int_eq(bud_allocv(pool, PART, bufs, 17, -1), -EMSGSIZE);
	ck_assert_int_eq(bud_allocv(pool, PART, bufs, 16, 0), 0);
	ck_assert_int_eq(bud_allocv(pool, PART, bufs, 1, 0), -EAGAIN);
}
END_TEST

/* --- Releasing --- */

static uint64_t
memory_of(void *buf)
{
	struct stat st;
	uint64_t offset;
	int fd;

	ck_assert_int_eq(bud_locate(pool, buf, &fd, &offset), 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

/* To the wall and back, but for @keep bytes at the bottom. */
static void *
swell(size_t keep)
{
	void *bufs[6];

	for (int i = 0; i < 6; i++)
		bufs[i] = get(CHUNK);
	for (int i = 0; i < 6; i++) {
		paint(bufs[i], CHUNK, 7);
		bud_free(pool, bufs[i]);
	}
	return keep > 0 ? get(keep) : bufs[0];
}

/* Blocks released, but for those that a pass may have released. */
static double
released_beyond_passes(void)
{
	cJSON *status = daemon_status(&d);
	const cJSON *o = cJSON_GetObjectItem(status, "release");
	double passes = cJSON_GetNumberValue(cJSON_GetObjectItem(o, "passes"));
	double blocks = cJSON_GetNumberValue(cJSON_GetObjectItem(o, "blocks_released"));

	cJSON_Delete(status);
	return blocks - passes;
}

/* One a pass, each of which is counted when it ends; and passes are 40 ms apart.
 * @since_ms: when all were in use. */
static void
expect_blocks_to_go(unsigned int from, unsigned int to, int64_t since_ms)
{
	while (stat_of(pool).blocks > to) {
		ck_assert_double_le(released_beyond_passes(), 1);
		ck_assert_int_lt(now_ms(), since_ms + PATIENCE_MS);
	}
	ck_assert_int_ge(now_ms() - since_ms, 40 * (from - to - 1) - 20);
	let_ticks_pass();
	let_ticks_pass();
	ck_assert_double_le(released_beyond_passes(), 0);
	ck_assert_uint_eq(stat_of(pool).blocks, to);
}

START_TEST(idle_blocks_go_one_a_pass_down_to_the_base)
{
	int64_t since_ms = now_ms();
	void *base = swell(0);

	expect_blocks_to_go(6, 1, since_ms);
	ck_assert_uint_eq(daemon_locked(&d), pool_locked(6 * CHUNK, CHUNK));
	ck_assert_uint_eq(memory_of(base), CHUNK);
	ck_assert_double_eq(daemon_figure(&d, "release.blocks_released"), 5);
	ck_assert_double_ge(daemon_figure(&d, "release.passes"), 5);
}
END_TEST

START_TEST(one_empty_block_stays_behind_a_used_one)
{
	int64_t since_ms = now_ms();
	void *held = swell(4 * KIB);

	expect_blocks_to_go(6, 2, since_ms);
	ck_assert_uint_eq(daemon_locked(&d), pool_locked(6 * CHUNK, 2 * CHUNK));
	ck_assert_uint_eq(memory_of(held), 2 * CHUNK);
}
END_TEST

START_TEST(a_used_last_block_keeps_all_below_it)
{
	void *bufs[6];

	for (int i = 0; i < 6; i++)
		bufs[i] = get(CHUNK);
	for (int i = 0; i < 5; i++)
		bud_free(pool, bufs[i]);
	let_ticks_pass();
	let_ticks_pass();
	let_ticks_pass();
	ck_assert_uint_eq(stat_of(pool).blocks, 6);
}
END_TEST

START_TEST(buffers_stay_what_and_where_they_are_while_blocks_come_and_go)
{
	void *held[4];
	uint64_t at[4], offset;
	int fd;

	for (unsigned int i = 0; i < 4; i++) {
		held[i] = get(16 * KIB << i);
		paint(held[i], 16 * KIB << i, i);
		ck_assert_int_eq(bud_locate(pool, held[i], &fd, &at[i]), 0);
	}
	for (int round = 0; round < 3; round++) {
		void *bufs[5];

		for (int i = 0; i < 5; i++) {
			bufs[i] = get(CHUNK);
			/* A block that comes back is a new one: it reads as zero. */
			ck_assert(round == 0 || i == 0 || *(const char *)bufs[i] == 0);
			memset(bufs[i], 0xee, CHUNK);
		}
		for (int i = 0; i < 5; i++)
			bud_free(pool, bufs[i]);
		eventually(stat_of(pool).blocks == 2);
		for (unsigned int i = 0; i < 4; i++) {
			ck_assert(painted(held[i], 16 * KIB << i, i));
			ck_assert_int_eq(bud_locate(pool, held[i], &fd, &offset), 0);
			ck_assert_uint_eq(offset, at[i]);
		}
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("integration");
	TCase *steady = tcase_create("steady"), *breathing = tcase_create("breathing");

	tcase_set_timeout(steady, 60);
	tcase_add_checked_fixture(steady, enter_steady, leave);
	tcase_add_test(steady, a_pool_grows_to_its_wall_and_not_beyond);
	tcase_add_test(
	    steady, a_pool_that_wants_less_than_its_section_has_grows_as_it_wishes);
	tcase_add_test(steady, only_the_base_is_pinned_before_anybody_asks);
	tcase_add_test(steady, one_buffer_may_be_as_large_as_the_wall);
	tcase_add_test(steady, a_local_try_does_not_grow_the_pool);
	tcase_add_test(steady, two_pools_of_a_process_have_a_wall_and_memory_each);
	tcase_add_test(steady, who_waits_is_served_first_in_first_out);
	tcase_add_test(steady, a_free_wakes_the_waiter_of_another_thread);
	tcase_add_test(steady, a_large_request_at_the_head_is_not_overtaken);
	tcase_add_test(steady, a_cancelled_head_lets_the_next_one_in);
	tcase_add_test(steady, an_expired_head_lets_the_next_one_in);
	tcase_add_loop_test(steady, deadlines_are_kept, 0, 2);
	tcase_add_loop_test(steady, deadlines_are_kept_while_budd_hangs, 0, 2);
	tcase_add_test(steady, two_that_ask_for_all_at_once_do_not_deadlock);
	suite_add_tcase(suite, steady);

	tcase_set_timeout(breathing, 60);
	tcase_add_checked_fixture(breathing, enter_breathing, leave);
	tcase_add_test(breathing, idle_blocks_go_one_a_pass_down_to_the_base);
	tcase_add_test(
	    breathing, a_registered_block_is_asked_for_and_goes_when_given_up);
	tcase_add_test(breathing,
	    a_registered_block_that_is_never_given_up_stays_and_budd_says_so);
	tcase_add_test(breathing, one_empty_block_stays_behind_a_used_one);
	tcase_add_test(breathing, a_used_last_block_keeps_all_below_it);
	tcase_add_test(
	    breathing, buffers_stay_what_and_where_they_are_while_blocks_come_and_go);
	suite_add_tcase(suite, breathing);
	return daemon_suite(suite);
}
