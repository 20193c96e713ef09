/* SPDX-License-Identifier: ISC */

/* What clients notice when an arbiter dies, when budd ends, and when it is told to read
 * its configuration again. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bud.h"
#include "tests/client_process.h"
#include "tests/daemon.h"
#include "tests/raw.h"

#define CHUNK (256 * KIB)
#define WALL  MIB

#define CONFIG                                                 \
	"[host]\ntick = 5ms\nrelease_period = 1h\nidle = 1h\n" \
	"[pool default]\nbase = 256K\nadd = 256K\nwall = 1M\nwall_max = 1M\n"

static struct daemon d;
static struct daemon_snapshot before;

static void
enter(void)
{
	daemon_start(&d, CONFIG);
	daemon_snapshot(&d, &before);
}

static void
leave(void)
{
	daemon_expect_same(&d, &before);
	daemon_stop(&d);
}

static void
rest(int ms)
{
	int64_t until = now_ms() + ms;

	while (now_ms() < until)
		nap();
}

/* --- The arbiter --- */

static void
hold_all(struct client *me, void *arg)
{
	struct bud_pool *pool = open_pool(&d, "default");
	void *buf = bud_alloc(pool, WALL, 0);

	(void)arg;
	must(buf != NULL);
	paint(buf, WALL, 3);
	client_say(me, "holding");
	client_wait(me, "look");
	must(painted(buf, WALL, 3));
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
	struct bud_pool *pool = open_pool(&d, "default");
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

/* Until it is told to end; grows to the wall and beyond, again and again. */
static void
allocate_on_and_on(struct client *me, void *arg)
{
	struct bud_pool *pool = open_pool(&d, "default");
	unsigned long rounds = 0;
	void *bufs[5];

	(void)arg;
	client_say(me, "allocating");
	for (; !client_heard(me); rounds++) {
		for (int i = 0; i < 4; i++) {
			bufs[i] = bud_alloc(pool, CHUNK, PATIENCE_MS);
			must(bufs[i] != NULL);
			paint(bufs[i], CHUNK, rounds + (unsigned int)i);
		}
		bufs[4] = bud_alloc(pool, 4096, (int)(rounds % 3));
		must(bufs[4] == NULL && (errno == EAGAIN || errno == ETIMEDOUT));
		for (int i = 0; i < 4; i++) {
			must(painted(bufs[i], CHUNK, rounds + (unsigned int)i));
			bud_free(pool, bufs[i]);
		}
	}
	bud_close(pool);
}

struct watch {
	uint64_t least;
	_Atomic bool end;
	bool dipped;
};

static void *
watch_locked(void *arg)
{
	struct watch *w = arg;

	while (!atomic_load(&w->end))
		w->dipped |= daemon_locked(&d) < w->least;
	return NULL;
}

START_TEST(clients_go_on_when_the_arbiter_dies)
{
	struct watch watch = { 0 };
	struct client c[3];
	pthread_t thread;

	client_run(&c[0], hold_all, NULL);
	client_wait(&c[0], "holding");
	client_run(&c[1], wait_over_a_death, NULL);
	client_wait(&c[1], "waiting");
	watch.least = daemon_locked(&d);
	ck_assert_uint_eq(watch.least, 2 * pool_locked(WALL, WALL));
	ck_assert_int_eq(pthread_create(&thread, NULL, watch_locked, &watch), 0);
	client_run(&c[2], allocate_on_and_on, NULL);
	client_wait(&c[2], "allocating");

	daemon_kill_arbiter(&d);
	ck_assert_double_eq(daemon_figure(&d, "restarts"), 1);
	ck_assert_double_eq(daemon_figure(&d, "pools.1.pinned"), (double)WALL);
	eventually(daemon_figure(&d, "pools.1.queue.length") == 1);
	atomic_store(&watch.end, true);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert(!watch.dipped);
	client_say(&c[1], "free");
	client_join(&c[1]);
	client_say(&c[0], "look");
	client_say(&c[2], "end");
	client_join(&c[0]);
	client_join(&c[2]);
}
END_TEST

/* Opens and closes pools, too. */
static void
come_and_go(struct client *me, void *arg)
{
	(void)arg;
	client_say(me, "coming");
	while (!client_heard(me)) {
		struct bud_pool *pool = open_pool(&d, "default");
		void *buf = bud_alloc(pool, WALL / 2, PATIENCE_MS);

		must(buf != NULL);
		paint(buf, WALL / 2, 9);
		must(painted(buf, WALL / 2, 9));
		bud_close(pool);
	}
	client_wait(me, "end");
	client_say(me, "closed");
	client_wait(me, "go");
}

#define DEATHS    20
#define ALLOCATE  3
#define COME      2
#define UNDER_WAY (ALLOCATE + COME)

struct registrar {
	struct bud_pool *pool;
	unsigned int added;
	unsigned int asked;
	void *start; /* of the last one asked for */
};

static void
on_block(unsigned int what, void *start, size_t bytes, void *arg)
{
	struct registrar *r = arg;

	(void)bytes;
	r->added += what == BUD_BLOCK_ADDED;
	r->asked += what == BUD_BLOCK_RELEASE;
	r->start = start;
}

static bool
heard(struct registrar *r, unsigned int added, unsigned int asked)
{
	ck_assert_int_ge(bud_dispatch(r->pool), 0);
	return r->added >= added && r->asked >= asked;
}

/* The arbiter dies with a question out; the answer that comes too late is none, and the next
 * arbiter asks anew rather than take what is registered. */
START_TEST(registered_blocks_are_asked_for_by_the_next_arbiter_too)
{
	struct registrar r = { .pool = open_pool(&d, "default") };
	void *buf, *first;

	ck_assert_int_eq(bud_watch_blocks(r.pool, on_block, &r), 0);
	buf = bud_alloc(r.pool, 2 * CHUNK, PATIENCE_MS);
	ck_assert_ptr_nonnull(buf);
	bud_free(r.pool, buf);
	eventually(heard(&r, 2, 0));
	ck_assert_int_eq(bud_hint(r.pool, BUD_TRANSFER_END), 0);
	eventually(heard(&r, 2, 1));
	first = r.start;
	daemon_kill_arbiter(&d);
	ck_assert_int_eq(bud_gave_up(r.pool, first), 0);
	eventually(heard(&r, 4, 1)); /* told again which there are */
	ck_assert_uint_eq(stat_of(r.pool).blocks, 2);
	ck_assert_int_eq(bud_hint(r.pool, BUD_TRANSFER_END), 0);
	eventually(heard(&r, 4, 2));
	ck_assert_uint_eq(stat_of(r.pool).blocks, 2);
	ck_assert_int_eq(bud_gave_up(r.pool, r.start), 0);
	eventually(stat_of(r.pool).blocks == 1);
	bud_close(r.pool);
}
END_TEST

START_TEST(twenty_arbiters_die_under_load)
{
	struct client c[UNDER_WAY];

	d.may_restart = true;
	for (int i = 0; i < UNDER_WAY; i++)
		client_run(
		    &c[i], i < ALLOCATE ? allocate_on_and_on : come_and_go, NULL);
	for (int i = 0; i < UNDER_WAY; i++)
		client_wait(&c[i], i < ALLOCATE ? "allocating" : "coming");
	srandom(1);
	for (int n = 1; n <= DEATHS; n++) {
		pid_t arbiter;

		rest((int)(random() % 20));
		eventually((arbiter = daemon_arbiter(&d)) != 0);
		ck_assert_int_eq(kill(arbiter, SIGKILL), 0);
		if (n % 4 == 0) /* else it may die before it serves */
			eventually(daemon_figure(&d, "restarts") == n);
		else
			eventually(daemon_arbiter(&d) != arbiter);
	}
	for (int i = 0; i < UNDER_WAY; i++)
		client_say(&c[i], "end");
	for (int i = 0; i < ALLOCATE; i++)
		client_join(&c[i]);
	for (int i = ALLOCATE; i < UNDER_WAY; i++)
		client_wait(&c[i], "closed");
	daemon_expect_same(&d, &before); /* not only because processes have ended */
	for (int i = ALLOCATE; i < UNDER_WAY; i++) {
		client_say(&c[i], "go");
		client_join(&c[i]);
	}
	ck_assert_double_eq(daemon_figure(&d, "restarts"), DEATHS);
}
END_TEST

/* --- budd --- */

START_TEST(without_budd_what_is_mapped_works_on)
{
	struct bud_pool *pool = open_pool(&d, "default");
	char *buf = bud_alloc(pool, WALL / 2, 0), *other;
	int64_t start;

	paint(buf, WALL / 2, 1);
	daemon_end(&d);
	ck_assert(painted(buf, WALL / 2, 1));
	other = bud_alloc(pool, CHUNK, 0); /* the base is free */
	ck_assert_ptr_nonnull(other);
	ck_assert_ptr_null(bud_alloc(pool, CHUNK, 0));
	ck_assert_int_eq(errno, ENOTCONN);
	start = now_ms();
	ck_assert_ptr_null(bud_alloc(pool, CHUNK, 50));
	ck_assert_int_eq(errno, ENOTCONN);
	ck_assert_int_ge(now_ms() - start, 48);
	bud_free(pool, other);
	ck_assert_ptr_eq(bud_alloc(pool, CHUNK, -1), other);
	ck_assert(painted(buf, WALL / 2, 1));
	bud_close(pool);

	daemon_launch(&d); /* for leave() */
	daemon_snapshot(&d, &before);
}
END_TEST

START_TEST(sigterm_ends_budd_though_clients_hold_and_wait)
{
	struct client c;

	client_run(&c, wait_over_a_death, NULL);
	client_wait(&c, "waiting");
	daemon_end(&d);
	client_say(&c, "free"); /* its waiter takes what it frees, without budd */
	client_join(&c);
	daemon_launch(&d);
	daemon_snapshot(&d, &before);
}
END_TEST

START_TEST(a_killed_keeper_takes_its_arbiter_along_and_leaves_a_stale_socket)
{
	pid_t arbiter = daemon_arbiter(&d);

	ck_assert_int_eq(kill(d.keeper, SIGKILL), 0);
	ck_assert_int_eq(waitpid(d.keeper, NULL, 0), d.keeper);
	eventually(kill(arbiter, 0) == -1 && errno == ESRCH);
	ck_assert_int_eq(access(d.socket, F_OK), 0);
	daemon_launch(&d);
	daemon_snapshot(&d, &before);
}
END_TEST

/* --- The configuration --- */

static uint64_t
wall_of_a_new_pool(void)
{
	struct bud_pool *pool = open_pool(&d, "default");
	uint64_t wall = stat_of(pool).wall;

	bud_close(pool);
	return wall;
}

static bool
is_called(const char *name)
{
	cJSON *status = daemon_status(&d), *pool, *command;
	bool is;

	pool = cJSON_GetArrayItem(cJSON_GetObjectItem(status, "pools"), 0);
	command = cJSON_GetObjectItem(pool, "command");
	is = cJSON_IsString(command) && strcmp(command->valuestring, name) == 0;
	cJSON_Delete(status);
	return is;
}

/* Nothing that /proc would tell. */
START_TEST(a_client_is_called_as_it_says_also_by_the_next_arbiter)
{
	const char *name = "thirty-one-bytes-of-a-long-name";
	union proto_msg msg;
	struct raw r;

	raw_connect(&r, &d);
	proto_init(&msg, PROTO_HELLO);
	msg.hello.version_min = msg.hello.version_max = PROTO_VERSION;
	proto_put_command(&msg.hello, name);
	ck_assert(raw_send(&r, &msg, msg.header.size));
	raw_expect(&r, PROTO_WELCOME, 0);
	ck_assert(is_called(name));
	daemon_kill_arbiter(&d);
	raw_expect(&r, PROTO_RESTARTED, 0);
	ck_assert(is_called(name));
	raw_say(&r, PROTO_CLOSE, 0);
	raw_close(&r);
}
END_TEST

START_TEST(sighup_brings_new_walls_to_new_pools)
{
	struct bud_pool *old = open_pool(&d, "default");

	daemon_configure(&d, "[pool default]\nbase = 256K\nadd = 256K\nwall = 2M\n");
	ck_assert_int_eq(kill(d.keeper, SIGHUP), 0);
	eventually(wall_of_a_new_pool() == 2 * MIB);
	ck_assert_uint_eq(stat_of(old).wall, WALL);
	bud_close(old);
}
END_TEST

static void
set_host(const char *body)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[512];
	ssize_t n;

	strcpy(a.sun_path, d.status);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	n = snprintf(text, sizeof(text),
	    "PATCH /v1/host HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
	    "Content-Length: %zu\r\n\r\n%s",
	    strlen(body), body);
	ck_assert_int_eq(write(fd, text, (size_t)n), n);
	n = read(fd, text, sizeof(text) - 1);
	ck_assert_msg(n > 12 && strncmp(text, "HTTP/1.1 200", 12) == 0, "%s", body);
	close(fd);
}

static bool
host_has(double tick_ms, double overtaken_max)
{
	return daemon_figure(&d, "host.tick_ms") == tick_ms &&
	       daemon_figure(&d, "host.overtaken_max") == overtaken_max;
}

START_TEST(what_was_set_for_the_host_outlives_arbiters_until_a_reload)
{
	double tick_ms = daemon_figure(&d, "host.tick_ms");
	double overtaken_max = daemon_figure(&d, "host.overtaken_max");

	set_host("{\"overtaken_max\":7}");
	set_host("{\"tick_ms\":40}");
	ck_assert(host_has(40, 7));
	daemon_kill_arbiter(&d);
	ck_assert(host_has(40, 7));
	daemon_kill_arbiter(&d);
	ck_assert(host_has(40, 7));
	ck_assert_int_eq(kill(d.keeper, SIGHUP), 0);
	eventually(host_has(tick_ms, overtaken_max));
	daemon_kill_arbiter(&d);
	ck_assert(host_has(tick_ms, overtaken_max));
}
END_TEST

START_TEST(a_bad_file_changes_nothing)
{
	daemon_configure(&d, "[pool default]\nwall = 2M\nwal = 3M\n");
	ck_assert_int_eq(kill(d.keeper, SIGHUP), 0);
	eventually(daemon_log_contains(&d, "nothing was changed"));
	eventually(daemon_log_contains(&d, "budd.conf:3: "));
	ck_assert_uint_eq(wall_of_a_new_pool(), WALL);
	/* Not for the next arbiter, either. */
	daemon_kill_arbiter(&d);
	ck_assert_uint_eq(wall_of_a_new_pool(), WALL);
}
END_TEST

/* --- An ordinary user's budd --- */

START_TEST(an_ordinary_user_gets_as_far_as_the_limit_of_locked_memory)
{
	struct bud_pool *pool;
	uint64_t locked;

	if (!need_root())
		return;
	d.uid = NOBODY;
	d.memlock = 8 * MIB;
	daemon_start(&d, "[host]\ntick = 5ms\n[pool default]\nbase = 256K\nadd = 256K\n"
			 "wall = 64M\nwall_max = 64M\n");
	daemon_snapshot(&d, &before);
	pool = open_pool(&d, "default");
	while (bud_alloc(pool, CHUNK, 0) != NULL)
		;
	ck_assert_int_eq(errno, EAGAIN);
	locked = daemon_locked(&d);
	ck_assert_uint_le(locked, 8 * MIB);
	ck_assert_uint_gt(locked, 8 * MIB - CHUNK);
	bud_close(pool);
	leave();
}
END_TEST

START_TEST(a_limit_that_is_too_small_is_told_at_start_with_the_remedy)
{
	static const char *const words[] = { "bytes of locked memory",
		"the limit is 16384 bytes", "ulimit -l",
		"LimitMEMLOCK=", "CAP_IPC_LOCK" };
	char out[4096];

	if (!need_root())
		return;
	d.uid = NOBODY;
	d.memlock = 16 * KIB;
	daemon_prepare(&d, "");
	ck_assert_int_eq(daemon_run(&d, out, sizeof(out), "-d", "-f", d.config, "-s",
			     d.socket, "-S", d.status, NULL),
	    1);
	for (size_t i = 0; i < SIZEOF_ARRAY(words); i++)
		ck_assert_msg(
		    strstr(out, words[i]) != NULL, "no \"%s\" in: %s", words[i], out);
	daemon_remove(&d);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("restart");
	TCase *common = tcase_create("common"), *own = tcase_create("own");

	tcase_set_timeout(common, 60);
	tcase_add_checked_fixture(common, enter, leave);
	tcase_add_test(common, clients_go_on_when_the_arbiter_dies);
	tcase_add_test(common, registered_blocks_are_asked_for_by_the_next_arbiter_too);
	tcase_add_test(common, twenty_arbiters_die_under_load);
	tcase_add_test(common, without_budd_what_is_mapped_works_on);
	tcase_add_test(common, sigterm_ends_budd_though_clients_hold_and_wait);
	tcase_add_test(
	    common, a_killed_keeper_takes_its_arbiter_along_and_leaves_a_stale_socket);
	tcase_add_test(common, a_client_is_called_as_it_says_also_by_the_next_arbiter);
	tcase_add_test(common, sighup_brings_new_walls_to_new_pools);
	tcase_add_test(
	    common, what_was_set_for_the_host_outlives_arbiters_until_a_reload);
	tcase_add_test(common, a_bad_file_changes_nothing);
	suite_add_tcase(suite, common);

	tcase_set_timeout(own, 60);
	tcase_add_test(own, an_ordinary_user_gets_as_far_as_the_limit_of_locked_memory);
	tcase_add_test(own, a_limit_that_is_too_small_is_told_at_start_with_the_remedy);
	suite_add_tcase(suite, own);
	return daemon_suite(suite);
}
