/* SPDX-License-Identifier: ISC */

/*
 * An arbiter that was taken over, against the keeper: tests/usurper.h. Whatever it says, the
 * keeper lives, locks no more than the host's wall, keeps what it holds for others and grows
 * by nothing; it ends that arbiter where it talks nonsense; and the next one serves everybody
 * as if nothing had been. All the while an innocent client keeps its bytes, locked, and works.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/channel.h"
#include "tests/client_process.h"
#include "tests/daemon.h"
#include "tests/raw.h"
#include "tests/usurper.h"
#include "tests/witness.h"

#define CHUNK     (256 * KIB)
#define WALL      MIB
#define HOST_WALL (8 * MIB)
#define PREY      20 /* clients that it may do everything to */
#define FLOOD_MS  300
#define NAME_MAX_ 64

#define CONFIG                                                   \
	"[host]\nwall = 8M\ntick = 5ms\nrelease_period = 10ms\n" \
	"idle = 5ms\nhello_timeout = 1h\n"                       \
	"[pool default]\nbase = 256K\nadd = 256K\nwall = 1M\nwall_max = 1M\n"

static struct daemon d;
static struct daemon_snapshot before;
static struct usurper *shared;
static struct client innocent;
static struct client prey;
static uint64_t said;

/* --- Who has done nothing --- */

/* Its queue may be dropped, when arbiters have died one after the other. */
static void *
alloc_patiently(struct bud_pool *pool)
{
	int64_t until = now_ms() + PATIENCE_MS;
	void *buf;

	while ((buf = bud_alloc(pool, CHUNK, PATIENCE_MS)) == NULL) {
		must(errno == ECANCELED && now_ms() < until);
		nap();
	}
	return buf;
}

static void
be_innocent(struct client *me, void *arg)
{
	struct bud_pool *pool = open_pool(&d, "innocent");
	void *kept = bud_alloc(pool, CHUNK / 2, 0), *buf;
	uint64_t rounds = 0;
	bool seen;

	(void)arg;
	must(kept != NULL);
	paint(kept, CHUNK / 2, 1);
	client_say(me, "at work");
	for (; !client_heard(me); rounds++) {
		must((buf = bud_alloc(pool, CHUNK / 2, 0)) != NULL);
		paint(buf, CHUNK / 2, rounds);
		nap();
		must(painted(buf, CHUNK / 2, rounds) && painted(kept, CHUNK / 2, 1));
		must(pages_are_locked(kept, CHUNK / 2, &seen));
		bud_free(pool, buf);
	}
	for (size_t i = 0; i < WALL / CHUNK - 1; i++) /* and it can still grow */
		alloc_patiently(pool);
	must(painted(kept, CHUNK / 2, 1));
	bud_close(pool);
	must(rounds > 0);
}

/* --- Fixture --- */

static void
share_usurper(void)
{
	static char path[64];
	int fd = memfd_create("usurper", 0);

	ck_assert_int_ne(fd, -1);
	ck_assert_int_eq(ftruncate(fd, sizeof(*shared)), 0);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(shared, MAP_FAILED);
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
	setenv(USURPER_ENV, path, 1);
}

static void
enter(void)
{
	share_usurper();
	d.program = "tests/budd-usurper";
	daemon_start(&d, CONFIG);
	d.may_restart = true;
	client_run(&innocent, be_innocent, NULL);
	client_wait(&innocent, "at work");
	daemon_snapshot(&d, &before);
}

static void
leave(void)
{
	client_say(&innocent, "end");
	client_join(&innocent);
	daemon_stop(&d);
}

/* Every other one has a pool already. */
static void
be_prey(struct client *me, void *arg)
{
	struct raw r;

	(void)arg;
	for (size_t i = 0; i < PREY; i += 2) {
		raw_connect(&r, &d);
		raw_open(&r, &d, USURPER_PREY);
	}
	client_say(me, "there");
	client_hear(me);
}

static void
bring_prey(void)
{
	client_run(&prey, be_prey, NULL);
	client_wait(&prey, "there");
}

static void
expect_nothing_left(void)
{
	client_kill(&prey);
	daemon_expect_same(&d, &before);
}

/* --- Its reign --- */

static void
usurp(enum usurpation what, uint32_t arg)
{
	shared->arg = arg;
	shared->seed = arg;
	atomic_store(&shared->pid, 0);
	atomic_store(&shared->known, 0);
	atomic_store(&shared->said, 0);
	atomic_store(&shared->answers, 0);
	atomic_store(&shared->refused, 0);
	atomic_store(&shared->enough, false);
	atomic_store(&shared->done, false);

	atomic_store(&shared->what, what);
	ck_assert_int_eq(kill(daemon_arbiter(&d), SIGKILL), 0);
	eventually(atomic_load(&shared->pid) != 0);
}

static bool
wall_holds(void)
{
	return process_locked(d.keeper) <= HOST_WALL;
}

static bool
is_gone(void)
{
	return kill(atomic_load(&shared->pid), 0) == -1 && errno == ESRCH;
}

/* It has said all, or was ended before. */
static void
let_it_reign(void)
{
	int64_t until = now_ms() + 6 * PATIENCE_MS;

	while (!atomic_load(&shared->done) && !is_gone()) {
		ck_assert(wall_holds());
		ck_assert_int_lt(now_ms(), until);
		nap();
	}
	ck_assert(wall_holds());
	said += atomic_load(&shared->said);
}

/* On return an honest one serves. The keeper has ended it, or we do. */
static void
depose(void)
{
	pid_t pid = atomic_load(&shared->pid), next = pid;

	kill(pid, SIGKILL);
	eventually((next = daemon_arbiter(&d)) > 0 && next != pid);
	ck_assert_uint_ge((uint64_t)daemon_figure(&d, "restarts"), 2);
	ck_assert_int_eq(kill(d.keeper, 0), 0);
}

/* What it cost is its own: the keeper says so, and ends it. */
static void
expect_cut(enum usurpation what, uint32_t arg)
{
	char line[NAME_MAX_];

	usurp(what, arg);
	let_it_reign();
	eventually(is_gone());
	snprintf(line, sizeof(line), "(pid %d) sent what none sends",
	    (int)atomic_load(&shared->pid));
	ck_assert_msg(daemon_log_contains(&d, line), "kind %d, %u", (int)what, arg);
	depose();
}

static void
expect_uncut(enum usurpation what, uint32_t arg)
{
	usurp(what, arg);
	let_it_reign();
	ck_assert_msg(atomic_load(&shared->done) && !is_gone(),
	    "kind %d, %u: it was ended", (int)what, arg);
}

static unsigned int
pools(void)
{
	cJSON *status = daemon_status(&d);
	int n = cJSON_GetArraySize(cJSON_GetObjectItem(status, "pools"));

	cJSON_Delete(status);
	return (unsigned int)n;
}

/* --- What makes no sense --- */

START_TEST(a_record_of_another_length_ends_it)
{
	static const uint32_t lengths[] = { 0, 1, 4, 8, sizeof(struct channel_msg) - 1,
		sizeof(struct channel_msg) + 1, 65536 };

	bring_prey();
	for (size_t i = 0; i < SIZEOF_ARRAY(lengths); i++)
		expect_cut(USURP_LENGTH, lengths[i]);
	eventually(pools() == 1 + PREY / 2);
	expect_nothing_left();
}
END_TEST

START_TEST(a_type_that_is_not_its_own_ends_it)
{
	static const uint32_t types[] = { 0, CHANNEL_SESSION, CHANNEL_READY,
		CHANNEL_PINNED, CHANNEL_RELOAD, CHANNEL_PING, CHANNEL_PONG, 1000,
		0x80000000, UINT32_MAX };

	for (size_t i = 0; i < SIZEOF_ARRAY(types); i++)
		expect_cut(USURP_TYPE, types[i]);
	daemon_expect_same(&d, &before);
}
END_TEST

START_TEST(a_slot_beyond_the_table_ends_it)
{
	static const uint32_t slots[] = { 10000, 0x7fffffff, UINT32_MAX };

	for (size_t i = 0; i < SIZEOF_ARRAY(slots); i++)
		expect_cut(USURP_SLOT, slots[i]);
	daemon_expect_same(&d, &before);
}
END_TEST

/* Linux 6.16 does not even take them; before, they end it. */
START_TEST(descriptors_do_not_reach_the_keeper)
{
	usurp(USURP_DESCRIPTOR, 0);
	let_it_reign();
	if (atomic_load(&shared->said) > 0)
		eventually(is_gone());
	depose();
	daemon_expect_same(&d, &before);
}
END_TEST

/* --- What does, but is not to be had --- */

START_TEST(who_has_ended_is_not_answered_for)
{
	bring_prey();
	expect_uncut(USURP_GHOSTS, 0);
	ck_assert_uint_eq(atomic_load(&shared->answers), 1);
	depose();
	expect_nothing_left();
}
END_TEST

START_TEST(no_number_moves_a_prefix_but_at_its_end)
{
	bring_prey();
	expect_uncut(USURP_NUMBERS, 0);
	ck_assert_uint_gt(atomic_load(&shared->refused), 1000);
	depose();
	expect_nothing_left();
}
END_TEST

START_TEST(anything_may_be_said_in_any_order)
{
	int64_t until = now_ms() + (int64_t)(soak_s() * 1000);
	uint32_t seed = (uint32_t)getpid();

	do {
		bring_prey();
		expect_uncut(USURP_RANDOM, 20000 + seed++ % 100);
		depose();
		expect_nothing_left();
	} while (now_ms() < until);
}
END_TEST

/* What it took and told nobody of goes when it does. */
START_TEST(greed_ends_at_the_wall_of_the_host)
{
	bring_prey();
	expect_uncut(USURP_GREED, 2 * WALL / CHUNK);
	ck_assert_uint_gt(process_locked(d.keeper), HOST_WALL - 2 * MIB);
	depose();
	expect_nothing_left();
	bring_prey();
	expect_uncut(USURP_GREED, 2 * WALL / CHUNK + 1); /* longer than any section's */
	depose();
	expect_nothing_left();
}
END_TEST

/* --- Too much of it --- */

static uint64_t
keeper_rss(void)
{
	unsigned long pages = 0;
	char path[NAME_MAX_];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)d.keeper);
	ck_assert_ptr_nonnull(f = fopen(path, "re"));
	ck_assert_int_eq(fscanf(f, "%*u %lu", &pages), 1);
	fclose(f);
	return pages * 4096;
}

static double
keeper_cpu_s(void)
{
	unsigned long user = 0, kernel = 0;
	char path[NAME_MAX_];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)d.keeper);
	ck_assert_ptr_nonnull(f = fopen(path, "re"));
	ck_assert_int_eq(
	    fscanf(f,
		"%*d (budd%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
		&user, &kernel),
	    2);
	fclose(f);
	return (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
}

START_TEST(a_flood_keeps_nobody_out)
{
	uint64_t rss;

	bring_prey();
	usurp(USURP_FLOOD, 0);
	rss = keeper_rss();
	for (int i = 0; i < 10; i++) {
		uint32_t known = atomic_load(&shared->known);
		struct raw late;

		raw_connect(&late, &d);
		eventually(atomic_load(&shared->known) > known);
		raw_close(&late);
	}
	eventually(atomic_load(&shared->said) > 10000);
	ck_assert_uint_le(keeper_rss(), rss + MIB);
	atomic_store(&shared->enough, true);
	let_it_reign();
	depose();
	expect_nothing_left();
}
END_TEST

/* The keeper waits for it, hears the operator, and does nothing else: not in circles. */
START_TEST(who_does_not_read_answers_has_none_piled_up)
{
	uint64_t rss;
	int64_t until;
	double cpu;

	bring_prey();
	usurp(USURP_DEAF, 0);
	eventually(atomic_load(&shared->said) > 100);
	rss = keeper_rss();
	until = now_ms() + FLOOD_MS;
	cpu = keeper_cpu_s();
	while (now_ms() < until)
		nap();
	ck_assert(keeper_cpu_s() - cpu < FLOOD_MS / 2000.0);
	ck_assert_uint_le(keeper_rss(), rss + MIB);
	ck_assert_int_eq(kill(d.keeper, SIGHUP), 0);
	eventually(daemon_log_contains(&d, "the configuration was read again"));
	atomic_store(&shared->enough, true);
	let_it_reign();
	depose();
	expect_nothing_left();
}
END_TEST

START_TEST(a_client_that_cannot_be_welcomed_holds_up_nobody)
{
	bring_prey();
	expect_uncut(USURP_STUFFED, WALL / CHUNK);
	depose();
	expect_nothing_left();
}
END_TEST

/* --- What it leaves to the next one --- */

START_TEST(its_successors_survive_what_it_wrote)
{
	for (uint32_t i = 0; i < 3; i++) {
		bring_prey();
		expect_uncut(USURP_SCRIBBLE, 1u << (4 + 5 * i));
		depose();
		expect_nothing_left();
	}
}
END_TEST

START_TEST(one_that_hangs_up_and_stays_is_ended)
{
	bring_prey();
	usurp(USURP_HANG_UP, 0);
	eventually(is_gone());
	depose();
	expect_nothing_left();
}
END_TEST

/* It may end everybody: an honest one could. Nothing more, and the next one begins anew. */
START_TEST(it_can_end_all_and_that_is_all)
{
	struct raw late;

	client_say(&innocent, "end");
	client_join(&innocent);
	bring_prey();
	expect_uncut(USURP_RUIN, 0);
	depose();
	eventually(process_locked(d.keeper) == 0 && pools() == 0);
	raw_open(&late, &d, "late");
	ck_assert(raw_say(&late, PROTO_CLOSE, 0));
	eventually(pools() == 0);
	raw_close(&late);
	client_kill(&prey);
	eventually(process_locked(d.keeper) == 0);
}
END_TEST

/* --- Few descriptors --- */

#define FEW_FDS 200 /* of which each client takes 4, and all else 128 */

static void
limit_fds(void *arg)
{
	const struct rlimit few = { FEW_FDS, FEW_FDS };

	(void)arg;
	if (setrlimit(RLIMIT_NOFILE, &few) == -1)
		_exit(126);
}

/* How many of 30 more that come are let in, and have a pool. */
static unsigned int
let_in(struct raw *clients)
{
	unsigned int n = 0;
	union proto_msg msg;

	for (unsigned int i = 0; i < 30; i++) {
		raw_connect(&clients[n], &d);
		raw_say(&clients[n], PROTO_HELLO, 0);
		if (raw_hear(&clients[n], &msg) && msg.header.type == PROTO_WELCOME)
			n++;
		else
			raw_close(&clients[n]);
	}
	return n;
}

/* Not after a reload either, which says clients_max again. */
START_TEST(no_more_clients_than_descriptors_are_let_in)
{
	static struct raw clients[60];
	pid_t arbiter;

	d = (struct daemon){ .in_child = limit_fds };
	daemon_start(&d, "[pool default]\nbase = 256K\nadd = 256K\nwall = 1M\n");
	arbiter = daemon_arbiter(&d);
	ck_assert_uint_eq(let_in(clients), (FEW_FDS - 128) / 4);
	ck_assert_int_eq(kill(d.keeper, SIGHUP), 0);
	eventually(daemon_log_contains(&d, "the configuration was read again"));
	ck_assert_uint_eq(let_in(clients + 30), 0);
	ck_assert_int_eq(daemon_arbiter(&d), arbiter);
	daemon_kill_arbiter(&d); /* and another one can be started */
	daemon_stop(&d);
}
END_TEST

static void
leave_ruin(void)
{
	daemon_stop(&d);
}

int
main(void)
{
	Suite *suite = suite_create("channel");
	TCase *t = tcase_create("channel"), *ruin = tcase_create("ruin");
	TCase *few = tcase_create("descriptors");
	int r;

	tcase_set_timeout(t, 60 + 10 * soak_s());
	tcase_add_checked_fixture(t, enter, leave);
	tcase_add_test(t, a_record_of_another_length_ends_it);
	tcase_add_test(t, a_type_that_is_not_its_own_ends_it);
	tcase_add_test(t, a_slot_beyond_the_table_ends_it);
	tcase_add_test(t, descriptors_do_not_reach_the_keeper);
	tcase_add_test(t, who_has_ended_is_not_answered_for);
	tcase_add_test(t, no_number_moves_a_prefix_but_at_its_end);
	tcase_add_test(t, anything_may_be_said_in_any_order);
	tcase_add_test(t, greed_ends_at_the_wall_of_the_host);
	tcase_add_test(t, a_flood_keeps_nobody_out);
	tcase_add_test(t, who_does_not_read_answers_has_none_piled_up);
	tcase_add_test(t, a_client_that_cannot_be_welcomed_holds_up_nobody);
	tcase_add_test(t, its_successors_survive_what_it_wrote);
	tcase_add_test(t, one_that_hangs_up_and_stays_is_ended);
	suite_add_tcase(suite, t);
	tcase_add_checked_fixture(ruin, enter, leave_ruin);
	tcase_add_test(ruin, it_can_end_all_and_that_is_all);
	suite_add_tcase(suite, ruin);
	tcase_set_timeout(few, 60);
	tcase_add_test(few, no_more_clients_than_descriptors_are_let_in);
	suite_add_tcase(suite, few);
	r = daemon_suite(suite);
	return r;
}
