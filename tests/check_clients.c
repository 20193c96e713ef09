/* SPDX-License-Identifier: ISC */

/* Clients in processes of their own: what they cannot do to each other, and what is left
 * of them. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bud.h"
#include "tests/client_process.h"
#include "tests/daemon.h"
#include "tests/raw.h"

#define CHUNK    (256 * KIB)
#define WALL     MIB
#define BIG_WALL (64 * MIB)
#define MEMLOCK  (64 * KIB) /* of an unprivileged client */

#define CONFIG                                                                \
	"[host]\ntick = 5ms\nrelease_period = 1h\nidle = 1h\n"                \
	"[pool default]\nbase = 256K\nadd = 256K\nwall = 1M\nwall_max = 1M\n" \
	"[pool big]\nbase = 4M\nadd = 4M\nwall = 64M\nwall_max = 64M\n"

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

/* --- Death --- */

static void *
wait_for_ever(void *arg)
{
	bud_alloc(arg, WALL, -1);
	must(false);
	return NULL;
}

/* Holds all of its pool, and waits for more. */
static void
hold_and_wait(struct client *me, void *arg)
{
	struct bud_pool *pool = open_pool(&d, "default");
	pthread_t thread;

	must(bud_alloc(pool, WALL, 0) != NULL);
	while (stat_of(pool).waiting != 0)
		nap();
	must(pthread_create(&thread, NULL, wait_for_ever, pool) == 0);
	while (stat_of(pool).waiting != 1)
		nap();
	client_say(me, "waiting");
	client_wait(me, arg);
}

START_TEST(the_memory_of_a_killed_client_goes_at_once)
{
	struct bud_pool *pool = open_pool(&d, "default");
	void *buf = bud_alloc(pool, WALL / 2, 0);
	uint64_t mine = daemon_locked(&d);
	struct client c;

	paint(buf, WALL / 2, 1);
	client_run(&c, hold_and_wait, (char[]){ "never" });
	client_wait(&c, "waiting");
	ck_assert_uint_eq(daemon_locked(&d), mine + pool_locked(WALL, WALL));
	client_kill(&c);
	eventually(daemon_locked(&d) == mine);
	ck_assert(painted(buf, WALL / 2, 1));
	ck_assert_ptr_nonnull(bud_alloc(pool, CHUNK, 0));
	bud_close(pool);
}
END_TEST

static void
grow_when_there_is_room(struct client *me, void *arg)
{
	struct bud_pool *pool = open_pool(&d, "default");

	(void)arg;
	must(bud_alloc(pool, CHUNK, 0) != NULL);
	must(bud_alloc(pool, CHUNK, 0) == NULL && errno == EAGAIN);
	client_say(me, "short");
	must(bud_alloc(pool, CHUNK, PATIENCE_MS) != NULL);
	bud_close(pool);
}

/* Ends with `before` void: a budd of its own. */
START_TEST(who_waits_for_the_host_gets_what_a_dead_client_had)
{
	struct client rich, poor;

	/* Room for one full pool, one base, and their ledgers. */
	daemon_start(&d, "[host]\nwall = 1400K\ntick = 5ms\n"
			 "[pool default]\nbase = 256K\nadd = 256K\nwall = 1M\n"
			 "wall_max = 1M\n");
	daemon_snapshot(&d, &before);
	client_run(&rich, hold_and_wait, (char[]){ "never" });
	client_wait(&rich, "waiting");
	client_run(&poor, grow_when_there_is_room, NULL);
	client_wait(&poor, "short");
	client_kill(&rich);
	client_join(&poor);
	leave();
}
END_TEST

static void
close_with_buffers_and_stay(struct client *me, void *arg)
{
	struct bud_pool *pool = open_pool(&d, "default");

	(void)arg;
	must(bud_alloc(pool, WALL, 0) != NULL);
	bud_close(pool);
	client_say(me, "closed");
	client_wait(me, "go");
}

START_TEST(closing_a_pool_ends_it_though_its_process_lives_on)
{
	struct client c;

	client_run(&c, close_with_buffers_and_stay, NULL);
	client_wait(&c, "closed");
	daemon_expect_same(&d, &before);
	client_say(&c, "go");
	client_join(&c);
}
END_TEST

/* --- fork and exec --- */

static void
outlive_the_parent(struct client *me, void *arg)
{
	struct bud_pool *pool = open_pool(&d, "default");
	char *buf = bud_alloc(pool, WALL, 0);
	struct bud_stat s = { .size = sizeof(s) };
	pid_t child;

	(void)arg;
	must(buf != NULL);
	child = fork();
	must(child != -1);
	if (child == 0) {
		must(bud_alloc(pool, 4096, 0) == NULL && errno == EINVAL);
		must(bud_stat(pool, &s) == -EINVAL);
		must(bud_fd(pool) == -EINVAL);
		bud_free(pool, buf);
		bud_close(pool);
		client_say(me, "child lives");
		alarm(PATIENCE_MS / 1000); /* longer than the test takes */
		for (;;)
			pause();
	}
	paint(buf, WALL, 5);
	client_wait(me, "parent, go on");
	must(painted(buf, WALL, 5));
	bud_free(pool, buf);
	must(bud_alloc(pool, WALL, PATIENCE_MS) != NULL);
	client_say(me, "parent lives");
	client_wait(me, "parent, die");
}

START_TEST(a_pool_belongs_to_the_parent_and_ends_with_it)
{
	struct client c;

	client_run(&c, outlive_the_parent, NULL);
	client_wait(&c, "child lives");
	client_say(&c, "parent, go on");
	client_wait(&c, "parent lives");
	client_kill(&c);
	daemon_expect_same(&d, &before);
}
END_TEST

static void
become_another_program(struct client *me, void *arg)
{
	struct bud_pool *pool = open_pool(&d, "default");

	(void)arg;
	must(bud_alloc(pool, WALL, 0) != NULL);
	must(dup2(me->out, STDOUT_FILENO) != -1);
	execl("/bin/sh", "sh", "-c",
	    "ls -l /proc/$$/fd /proc/$$/map_files; echo end; read x", (char *)NULL);
	must(false);
}

START_TEST(descriptors_and_mappings_do_not_survive_an_exec)
{
	static const char *const ours[] = { "bud-", "eventpoll", "eventfd", "timerfd",
		"socket" };
	struct client c;
	const char *line;

	client_run(&c, become_another_program, NULL);
	while (strcmp(line = client_hear(&c), "end") != 0)
		for (size_t i = 0; i < SIZEOF_ARRAY(ours); i++)
			ck_assert_msg(strstr(line, ours[i]) == NULL, "%s", line);
	client_wait_status(&c);
}
END_TEST

/* --- Walls between clients --- */

static void
show_memory(struct client *me, void *arg)
{
	struct bud_pool *pool = open_pool(&d, "default");
	char *buf = bud_alloc(pool, 4096, 0), zero[4096] = { 0 };
	struct stat st;
	uint64_t offset;
	int fd;

	must(buf != NULL && memcmp(buf, zero, sizeof(zero)) == 0);
	memset(buf, *(const char *)arg, sizeof(zero));
	must(bud_locate(pool, buf, &fd, &offset) == 0 && fstat(fd, &st) == 0);
	client_say(me, "%d %llu", fd, (unsigned long long)st.st_ino);
	client_wait(me, "look");
	client_say(me, "%c", buf[4095]);
	client_wait(me, "go");
	bud_close(pool);
}

START_TEST(clients_have_different_memory)
{
	struct client a, b;
	char first[64];

	client_run(&a, show_memory, (char[]){ "A" });
	snprintf(first, sizeof(first), "%s", client_hear(&a));
	client_run(&b, show_memory, (char[]){ "B" });
	ck_assert_str_ne(client_hear(&b), first);
	client_say(&a, "look");
	client_say(&b, "look");
	client_wait(&a, "A");
	client_wait(&b, "B");
	client_say(&a, "go");
	client_say(&b, "go");
	client_join(&a);
	client_join(&b);
}
END_TEST

static void
open_again(struct client *me, void *arg)
{
	static const int how[] = { O_RDONLY, O_WRONLY, O_RDWR };
	struct bud_pool *pool = open_pool(&d, "default");
	char *buf = bud_alloc(pool, 4096, 0), path[64];
	uint64_t offset;
	int fd;

	(void)me;
	(void)arg;
	must(buf != NULL && bud_locate(pool, buf, &fd, &offset) == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	for (size_t i = 0; i < SIZEOF_ARRAY(how); i++)
		must(open(path, how[i]) == -1 && errno == EACCES);
	must(ftruncate(fd, 4096) == -1 && errno == EPERM);
	must(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == -1 && errno == EPERM);
	bud_close(pool);
}

START_TEST(an_unprivileged_client_cannot_open_the_memory_anew_or_change_its_length)
{
	struct client c;

	if (!need_root())
		return;
	client_run_as(&c, NOBODY, MEMLOCK, open_again, NULL);
	client_join(&c);
}
END_TEST

static bool
is_resident(char *buf, size_t size)
{
	static unsigned char there[BIG_WALL / 4096];

	must(mincore(buf, size, there) == 0);
	for (size_t i = 0; i < size / 4096; i++)
		if ((there[i] & 1) == 0)
			return false;
	return true;
}

static void
use_64_mib(struct client *me, void *arg)
{
	struct bud_pool *pool = open_pool(&d, "big");
	char *bufs[BIG_WALL / MIB];

	(void)arg;
	for (size_t i = 0; i < SIZEOF_ARRAY(bufs); i++) {
		bufs[i] = bud_alloc(pool, MIB, PATIENCE_MS);
		must(bufs[i] != NULL);
		must(is_resident(bufs[i], MIB)); /* before we touch it */
		paint(bufs[i], MIB, i);
	}
	for (size_t i = 0; i < SIZEOF_ARRAY(bufs); i++)
		must(painted(bufs[i], MIB, i));
	must(process_locked(getpid()) == 0);
	client_say(me, "full");
	client_wait(me, "go");
	bud_close(pool);
}

START_TEST(an_unprivileged_client_uses_64_mib_of_locked_memory)
{
	struct client c;

	if (!need_root())
		return;
	client_run_as(&c, NOBODY, MEMLOCK, use_64_mib, NULL);
	client_wait(&c, "full");
	ck_assert_uint_eq(daemon_locked(&d), pool_locked(BIG_WALL, BIG_WALL));
	client_say(&c, "go");
	client_join(&c);
}
END_TEST

static int64_t
host_mlocked(void)
{
	char line[128];
	long long kib = 0;
	FILE *f = fopen("/proc/meminfo", "re");

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f) != NULL &&
	       sscanf(line, "Mlocked: %lld", &kib) != 1)
		;
	fclose(f);
	return kib * 1024;
}

/* Counted in batches for each processor, and others may lock memory meanwhile. */
#define MLOCKED_NOISE ((int64_t)(4 * MIB))

static bool
moves_by(int64_t *fromp, int64_t bytes)
{
	int64_t until = now_ms() + PATIENCE_MS, now;

	do {
		now = host_mlocked();
		if (llabs(now - *fromp - bytes) < MLOCKED_NOISE) {
			*fromp = now;
			return true;
		}
		nap();
	} while (now_ms() < until);
	return false;
}

START_TEST(the_kernel_counts_as_locked_what_budd_says_is_pinned)
{
	if (!need_root())
		return;
	for (int i = 0; i < 5; i++) {
		int64_t mark = host_mlocked(), pinned;
		bool up, down;
		struct client c;

		client_run(&c, use_64_mib, NULL);
		client_wait(&c, "full");
		pinned = (int64_t)daemon_figure(&d, "host.pinned");
		ck_assert_int_ge(pinned, (int64_t)BIG_WALL);
		up = moves_by(&mark, pinned);
		client_say(&c, "go");
		client_join(&c);
		down = moves_by(&mark, -pinned);
		if (up && down)
			return;
	}
	ck_abort_msg("Mlocked of /proc/meminfo never moved by what was pinned");
}
END_TEST

/* --- Limits --- */

START_TEST(one_client_too_many_is_told_so)
{
	struct bud_config config = { .size = sizeof(config) };
	struct bud_pool *a, *b, *c;

	daemon_start(&d, "[host]\nclients_max = 2\n");
	daemon_snapshot(&d, &before);
	config.socket = d.socket;
	ck_assert_int_eq(bud_open(&a, &config), 0);
	ck_assert_int_eq(bud_open(&b, &config), 0);
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(bud_open(&c, &config), -EUSERS);
	eventually(daemon_log_contains(&d, "clients_max"));
	bud_close(a);
	eventually(bud_open(&c, &config) == 0);
	bud_close(b);
	bud_close(c);
	leave();
}
END_TEST

START_TEST(a_base_that_does_not_fit_the_host_is_refused_with_the_figures)
{
	struct bud_config config = { .size = sizeof(config), .pool = "large" };
	struct bud_pool *a, *b;
	int r;

	daemon_start(&d,
	    "[host]\nwall = 6M\n[pool large]\nbase = 4M\nadd = 1M\nwall = 5M\n"
	    "wall_max = 5M\n");
	daemon_snapshot(&d, &before);
	config.socket = d.socket;
	ck_assert_int_eq(bud_open(&a, &config), 0);
	r = bud_open(&b, &config);
	ck_assert_msg(r == -ENOSPC || r == -ENOMEM, "%s", strerror(-r));
	eventually(daemon_log_contains(&d, "a base of 4194304 bytes cannot be pinned"));
	eventually(daemon_log_contains(&d, "host wall 6291456, pinned 4"));
	bud_close(a);
	eventually(bud_open(&b, &config) == 0);
	bud_close(b);
	leave();
}
END_TEST

/* --- Many --- */

#define PROCESSES 20
#define THREADS   4
#define HELD      6

struct hammer {
	struct bud_pool *pool;
	unsigned int seed;
	int64_t until;
};

struct held {
	void *buf;
	size_t size;
	uint64_t mark;
};

static void
give(struct bud_pool *pool, struct held *h)
{
	must(painted(h->buf, h->size, h->mark));
	bud_free(pool, h->buf);
	h->buf = NULL;
}

static void *
hammer(void *arg)
{
	static _Atomic uint64_t serial;
	const struct hammer *a = arg;
	unsigned int seed = a->seed, n = 0;
	struct held held[HELD] = { 0 };

	while (now_ms() < a->until) {
		struct held *h = &held[(unsigned int)rand_r(&seed) % HELD];

		if (h->buf != NULL) {
			give(a->pool, h);
			n--;
			continue;
		}
		h->size = (4 * KIB << (unsigned int)rand_r(&seed) % 8) -
			  (unsigned int)rand_r(&seed) % 4096;
		/* Without an end only who holds nothing: else all could wait for each
		 * other. */
		h->buf = bud_alloc(a->pool, h->size, n == 0 ? -1 : rand_r(&seed) % 8);
		if (h->buf == NULL) {
			must(n > 0 && (errno == EAGAIN || errno == ETIMEDOUT));
			continue;
		}
		h->mark = ++serial;
		paint(h->buf, h->size, h->mark);
		n++;
	}
	for (unsigned int i = 0; i < HELD; i++)
		if (held[i].buf != NULL)
			give(a->pool, &held[i]);
	return NULL;
}

static void
hammer_from_all_threads(struct client *me, void *arg)
{
	struct bud_pool *pool = open_pool(&d, "default");
	struct hammer a[THREADS];
	pthread_t threads[THREADS];

	client_say(me, "ready");
	client_wait(me, "go");
	for (unsigned int i = 0; i < THREADS; i++) {
		a[i] = (struct hammer){ pool, *(unsigned int *)arg * THREADS + i,
			now_ms() + (int64_t)(soak_s() * 1000) };
		must(pthread_create(&threads[i], NULL, hammer, &a[i]) == 0);
	}
	for (unsigned int i = 0; i < THREADS; i++)
		must(pthread_join(threads[i], NULL) == 0);
	must(stat_of(pool).used == 0);
	if (*(unsigned int *)arg % 2 == 0)
		bud_close(pool);
	/* The others just end. */
}

START_TEST(many_threads_of_many_processes_never_share_a_buffer)
{
	struct client c[PROCESSES];

	if (!need_root()) /* they need more than 8 MiB */
		return;
	/* Blocks come and go meanwhile. */
	daemon_start(&d, "[host]\ntick = 5ms\nrelease_period = 10ms\nidle = 5ms\n"
			 "[pool default]\nbase = 256K\nadd = 256K\nwall = 2M\n");
	daemon_snapshot(&d, &before);
	for (unsigned int i = 0; i < PROCESSES; i++)
		client_run(&c[i], hammer_from_all_threads, &i);
	for (unsigned int i = 0; i < PROCESSES; i++)
		client_wait(&c[i], "ready");
	for (unsigned int i = 0; i < PROCESSES; i++)
		client_say(&c[i], "go");
	for (unsigned int i = 0; i < PROCESSES; i++)
		client_join(&c[i]);
	leave();
}
END_TEST

/* --- Many at once --- */

#define STORM      16
#define STORM_WALL (3 * MIB + 512 * KIB) /* three bases of a MiB, with their ledgers */
#define STORM_CONFIG                  \
	"[host]\nuser_wall = 3584K\n" \
	"[pool default]\nbase = 1M\nadd = 1M\nwall = 4M\nwall_max = 4M\n"

static bool
is_read(const struct raw *r)
{
	int unread = 1;

	ck_assert_int_eq(ioctl(r->sock, SIOCOUTQ, &unread), 0);
	return unread == 0;
}

static bool
is_asleep(pid_t pid)
{
	char path[32], state = '?';
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	ck_assert_ptr_nonnull(f = fopen(path, "re"));
	ck_assert_int_eq(fscanf(f, "%*d (%*[^)]) %c", &state), 1);
	fclose(f);
	return state == 'S';
}

/* The arbiter reads all that they say while the keeper stands still, and then stands still
 * itself: what the keeper pins now is what was asked for before there was a pool to count it. */
static void
say_hello_at_once(struct raw *r)
{
	pid_t arbiter = daemon_arbiter(&d);

	ck_assert_int_eq(kill(d.keeper, SIGSTOP), 0);
	for (int i = 0; i < STORM; i++)
		ck_assert(raw_say(&r[i], PROTO_HELLO, 0));
	for (int i = 0; i < STORM; i++)
		eventually(is_read(&r[i]));
	ck_assert_int_eq(kill(arbiter, SIGSTOP), 0);
	ck_assert_int_eq(kill(d.keeper, SIGCONT), 0);
}

START_TEST(many_that_come_at_once_are_pinned_no_more_than_their_user_may_have)
{
	struct daemon_snapshot connected;
	struct raw r[STORM];
	union proto_msg msg;
	int welcome = 0;

	if (!need_root())
		return;
	daemon_start(&d, STORM_CONFIG);
	daemon_snapshot(&d, &before);
	for (int i = 0; i < STORM; i++)
		raw_connect(&r[i], &d);
	eventually(process_fds(daemon_arbiter(&d)) == before.arbiter_fds + 2 * STORM);
	daemon_snapshot(&d, &connected);
	say_hello_at_once(r);
	eventually(process_fds(d.keeper) == connected.keeper_fds + 2 * STORM);
	eventually(is_asleep(d.keeper));
	ck_assert_uint_gt(process_locked(d.keeper), MIB);
	ck_assert_uint_le(process_locked(d.keeper), STORM_WALL);
	ck_assert_int_eq(kill(daemon_arbiter(&d), SIGCONT), 0);
	for (int i = 0; i < STORM; i++) {
		ck_assert(raw_hear(&r[i], &msg));
		welcome += msg.header.type == PROTO_WELCOME;
	}
	ck_assert_int_eq(welcome, 3);
	for (int i = 0; i < STORM; i++) {
		raw_say(&r[i], PROTO_CLOSE, 0); /* most of them have been hung up on */
		raw_close(&r[i]);
	}
	leave();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("clients");
	TCase *common = tcase_create("common"), *own = tcase_create("own");

	tcase_set_timeout(common, 60);
	tcase_add_checked_fixture(common, enter, leave);
	tcase_add_test(common, the_memory_of_a_killed_client_goes_at_once);
	tcase_add_test(common, closing_a_pool_ends_it_though_its_process_lives_on);
	tcase_add_test(common, a_pool_belongs_to_the_parent_and_ends_with_it);
	tcase_add_test(common, descriptors_and_mappings_do_not_survive_an_exec);
	tcase_add_test(common, clients_have_different_memory);
	tcase_add_test(common,
	    an_unprivileged_client_cannot_open_the_memory_anew_or_change_its_length);
	tcase_add_test(common, an_unprivileged_client_uses_64_mib_of_locked_memory);
	tcase_add_test(common, the_kernel_counts_as_locked_what_budd_says_is_pinned);
	suite_add_tcase(suite, common);

	tcase_set_timeout(own, 60 + 3 * soak_s());
	tcase_add_test(own, who_waits_for_the_host_gets_what_a_dead_client_had);
	tcase_add_test(own, one_client_too_many_is_told_so);
	tcase_add_test(
	    own, a_base_that_does_not_fit_the_host_is_refused_with_the_figures);
	tcase_add_test(
	    own, many_that_come_at_once_are_pinned_no_more_than_their_user_may_have);
	tcase_add_test(own, many_threads_of_many_processes_never_share_a_buffer);
	suite_add_tcase(suite, own);
	return daemon_suite(suite);
}
