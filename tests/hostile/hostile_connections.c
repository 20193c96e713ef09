/* SPDX-License-Identifier: ISC */

/* Too many connections, and connections that say, hear or do nothing. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/hostile/siege.h"

#define HELLO_TIMEOUT_MS 300
#define CROWD            10000 /* connections, in all */
#define GANGS            8     /* processes that hold them */
#define BUDD_FDS         8000 /* at the most: too few for all of them, on any machine */

static void
enter(void)
{
	siege_begin(SIEGE_CONFIG);
}

/* --- Too many --- */

/* One user may have so many, and the others the rest. */
static void
enter_with_seats(void)
{
	siege_begin(SIEGE_HOST "clients_max = 1000\nuser_clients = 500\n" SIEGE_POOLS);
}

static rlim_t
most_fds(void)
{
	struct rlimit limit;

	must(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	return limit.rlim_max;
}

static rlim_t
budd_fds(void)
{
	return most_fds() < BUDD_FDS ? most_fds() : BUDD_FDS;
}

static void
limit_fds(void *arg)
{
	const struct rlimit limit = { budd_fds(), budd_fds() };

	(void)arg;
	must(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

/* More than budd has descriptors for: it says so, and lets no more in than that. */
static void
enter_with_too_many_seats(void)
{
	siege.full = true;
	siege.d.in_child = limit_fds;
	siege_begin("[host]\nhello_timeout = 20s\nclients_max = 10000\n" SIEGE_POOLS);
}

/* -1: there is no room in budd's backlog now. */
static int
try_connect(const char *path, int type)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	must(sock != -1);
	strcpy(a.sun_path, path);
	if (connect(sock, (struct sockaddr *)&a, sizeof(a)) == 0)
		return sock;
	must(errno == EAGAIN);
	close(sock);
	return -1;
}

static void
crowd_in(struct client *me, void *arg)
{
	static int socks[CROWD / GANGS];
	int64_t until = now_ms() + 3 * PATIENCE_MS;
	const struct rlimit all = { most_fds(), most_fds() };

	(void)arg;
	must(setrlimit(RLIMIT_NOFILE, &all) == 0);
	for (size_t i = 0; i < SIZEOF_ARRAY(socks); i++)
		while ((socks[i] = try_connect(siege.d.socket, SOCK_SEQPACKET)) == -1) {
			must(now_ms() < until);
			nap();
		}
	client_say(me, "in");
	client_wait(me, "out");
}

/* At the status socket, which the arbiter alone serves. */
static void
crowd_at_status(struct client *me, void *arg)
{
	(void)arg;
	for (int i = 0; i < 200; i++)
		while (try_connect(siege.d.status, SOCK_STREAM) == -1)
			nap();
	client_say(me, "in");
	client_wait(me, "out");
}

/* All at once; returns how many of them budd has. */
static double
crowd(void)
{
	struct client c[GANGS], status;
	double clients;

	attack_begin(&status, crowd_at_status, NULL);
	client_wait(&status, "in");
	for (size_t i = 0; i < GANGS; i++)
		attack_begin(&c[i], crowd_in, NULL);
	for (size_t i = 0; i < GANGS; i++)
		client_wait(&c[i], "in");
	clients = daemon_figure(&siege.d, "host.clients");
	siege_served();
	for (size_t i = 0; i < GANGS; i++)
		client_say(&c[i], "out");
	for (size_t i = 0; i < GANGS; i++)
		client_join(&c[i]);
	client_say(&status, "out");
	client_join(&status);
	return clients;
}

static bool
need_fds(rlim_t n)
{
	return most_fds() >= n || !skip("RLIMIT_NOFILE is too small for a crowd");
}

START_TEST(ten_thousand_connections_of_a_user_leave_room_for_others)
{
	/* The attackers are another user; budd needs 4 for each client. */
	if (!need_root() || !need_fds(5000))
		return;
	ck_assert_double_le(crowd(), 500 + 2);
	eventually(daemon_log_contains(&siege.d, "user_clients"));
}
END_TEST

START_TEST(more_connections_than_descriptors_are_survived)
{
	if (!need_fds(CROWD / GANGS + 100))
		return;
	ck_assert_double_lt(crowd(), (double)budd_fds() / 4);
	eventually(daemon_log_contains(&siege.d, "clients_max"));
}
END_TEST

/* --- In haste --- */

static void
come_and_go(struct client *me, void *arg)
{
	unsigned int how = *(unsigned int *)arg;
	struct raw r;

	(void)me;
	for (int i = 0; i < 1000; i++) {
		raw_connect(&r, &siege.d);
		if (how % 4 == 1)
			raw_say(&r, PROTO_HELLO, 0);
		if (how % 4 == 2)
			shutdown(r.sock, SHUT_WR);
		if (how % 4 == 3)
			shutdown(r.sock, SHUT_RD);
		raw_close(&r);
	}
}

START_TEST(who_comes_and_goes_at_once_leaves_nothing)
{
	attack_together(4, come_and_go);
}
END_TEST

static void
die_after_hello(struct client *me, void *arg)
{
	struct raw r;

	(void)arg;
	raw_connect(&r, &siege.d);
	raw_say(&r, PROTO_HELLO, 0);
	client_say(me, "hello");
	for (;;)
		pause();
}

START_TEST(who_dies_between_hello_and_welcome_leaves_nothing)
{
	struct client c;

	for (int i = 0; i < 100; i++) {
		attack_begin(&c, die_after_hello, NULL);
		client_wait(&c, "hello");
		client_kill(&c);
	}
}
END_TEST

/* --- Silence --- */

static void
say_nothing(struct client *me, void *arg)
{
	int64_t start = now_ms();
	struct raw r[100];

	(void)me;
	(void)arg;
	for (size_t i = 0; i < SIZEOF_ARRAY(r); i++)
		raw_connect(&r[i], &siege.d);
	for (size_t i = 0; i < SIZEOF_ARRAY(r); i++) {
		raw_expect_end(&r[i]);
		raw_close(&r[i]);
	}
	ck_assert_int_ge(now_ms() - start, HELLO_TIMEOUT_MS);
	ck_assert_int_lt(now_ms() - start, HELLO_TIMEOUT_MS + PATIENCE_MS);
}

START_TEST(who_connects_and_says_nothing_is_dropped)
{
	attack(say_nothing, NULL);
	eventually(daemon_log_contains(&siege.d, "hello_timeout"));
}
END_TEST

static void
ask_and_not_listen(struct client *me, void *arg)
{
	int64_t until = now_ms() + PATIENCE_MS;
	union proto_msg m;
	struct raw r;

	(void)me;
	(void)arg;
	raw_open(&r, &siege.d, "deaf");
	proto_init(&m, PROTO_ALLOC);
	m.alloc.count = 1;
	m.alloc.size_bytes = 2 * WALL; /* is answered at once, for ever */
	do {
		ck_assert_int_lt(now_ms(), until);
		m.alloc.tag++;
	} while (send(r.sock, &m, sizeof(m.alloc), MSG_NOSIGNAL | MSG_DONTWAIT) != -1 ||
		 errno == EAGAIN);
	ck_assert_int_eq(errno, EPIPE);
	raw_close(&r);
}

START_TEST(who_asks_and_never_listens_is_dropped)
{
	attack_together(4, ask_and_not_listen);
	ck_assert(
	    daemon_log_contains(&siege.d, "dropped: does not read what budd sends"));
}
END_TEST

/* Has a queue of answers waiting for it, and is never there to read them. */
static void
sleep_on_answers(struct client *me, void *arg)
{
	struct raw r;

	(void)arg;
	raw_open(&r, &siege.d, "asleep");
	for (uint64_t tag = 1; tag <= PROTO_REQUESTS_MAX; tag++)
		while (!raw_alloc(&r, tag, 2 * WALL, -1))
			nap();
	client_say(me, "asked");
	raise(SIGSTOP);
}

START_TEST(who_is_stopped_with_answers_unread_holds_nobody_up)
{
	struct client c[4];

	for (size_t i = 0; i < SIZEOF_ARRAY(c); i++)
		attack_begin(&c[i], sleep_on_answers, NULL);
	for (size_t i = 0; i < SIZEOF_ARRAY(c); i++)
		client_wait(&c[i], "asked");
	siege_served();
	ck_assert_uint_eq(siege_pools("asleep"), SIZEOF_ARRAY(c));
	for (size_t i = 0; i < SIZEOF_ARRAY(c); i++)
		client_kill(&c[i]);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("hostile connections");
	TCase *t = tcase_create("silence and haste"), *seats = tcase_create("seats"),
	      *none = tcase_create("no seats");

	tcase_set_timeout(t, 60 + soak_s());
	tcase_add_checked_fixture(t, enter, siege_end);
	tcase_add_test(t, who_comes_and_goes_at_once_leaves_nothing);
	tcase_add_test(t, who_dies_between_hello_and_welcome_leaves_nothing);
	tcase_add_test(t, who_connects_and_says_nothing_is_dropped);
	tcase_add_test(t, who_asks_and_never_listens_is_dropped);
	tcase_add_test(t, who_is_stopped_with_answers_unread_holds_nobody_up);
	suite_add_tcase(suite, t);
	tcase_set_timeout(seats, 120);
	tcase_add_checked_fixture(seats, enter_with_seats, siege_end);
	tcase_add_test(seats, ten_thousand_connections_of_a_user_leave_room_for_others);
	suite_add_tcase(suite, seats);
	tcase_set_timeout(none, 120);
	tcase_add_checked_fixture(none, enter_with_too_many_seats, siege_end);
	tcase_add_test(none, more_connections_than_descriptors_are_survived);
	suite_add_tcase(suite, none);
	return daemon_suite(suite);
}
