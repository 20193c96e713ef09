/* SPDX-License-Identifier: ISC */

/* Who may open which pool, who may look, who may change something: processes of real users,
 * with real groups, and a live budd that runs as its own. */
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/peers.h"
#include "tests/raw.h"

#define POOL "base = 256K\nadd = 256K\nwall = 1M\nwall_max = 1M\n"
#define CONFIG                                                     \
	"[pool default]\n" POOL "[pool of-ann]\nuser = ann\n" POOL \
	"[pool of-friends]\ngroup = friends\n" POOL                \
	"[pool of-both]\nuser = ann\ngroup = friends\n" POOL       \
	"[status]\ngroup = watchers\n"

static struct daemon d;
static struct daemon_snapshot before;

static void
enter(void)
{
	peers_enter(&d, CONFIG, &before);
}

static void
leave(void)
{
	peers_leave(&d, &before);
}

static void
run_as(const struct peer *p, client_fn *fn)
{
	struct client c;

	client_run(&c, fn, (void *)(uintptr_t)p);
	client_join(&c);
}

/* --- Pools --- */

static const char *const pools[] = { "default", "a-label", "of-ann", "of-friends",
	"of-both" };
#define DEFAULT (1u << 0 | 1u << 1)
#define OF_ANN  (1u << 2)
#define FRIENDS (1u << 3)
#define BOTH    (1u << 4)

static const struct opener {
	struct peer peer;
	unsigned int may; /* open these */
} openers[] = {
	{ { "root", 0, 0, 0, 0 }, DEFAULT | OF_ANN | FRIENDS | BOTH },
	{ { "ann", PEER_ANN, PEER_ANN, 0, 0 }, DEFAULT | OF_ANN | BOTH },
	{ { "ann, whose group is another", PEER_ANN, PEER_BOB, 0, 0 },
	    DEFAULT | OF_ANN | BOTH },
	{ { "ann, a friend", PEER_ANN, PEER_ANN, PEER_FRIENDS, 0 },
	    DEFAULT | OF_ANN | FRIENDS | BOTH },
	{ { "bob", PEER_BOB, PEER_BOB, 0, 0 }, DEFAULT },
	{ { "bob, in ann's group", PEER_BOB, PEER_ANN, 0, 0 }, DEFAULT },
	{ { "bob, whose uid is the group's gid", PEER_FRIENDS, PEER_BOB, 0, 0 },
	    DEFAULT },
	{ { "bob, first of all a friend", PEER_BOB, PEER_FRIENDS, 0, 0 },
	    DEFAULT | FRIENDS | BOTH },
	{ { "bob, a friend", PEER_BOB, PEER_BOB, PEER_FRIENDS, 0 },
	    DEFAULT | FRIENDS | BOTH },
	{ { "bob, in 64 groups", PEER_BOB, PEER_BOB, PEER_FRIENDS, 63 },
	    DEFAULT | FRIENDS | BOTH },
	{ { "bob, in 65 groups", PEER_BOB, PEER_BOB, PEER_FRIENDS, 64 },
	    DEFAULT | FRIENDS | BOTH },
	{ { "bob, in 1001 groups", PEER_BOB, PEER_BOB, PEER_FRIENDS, 1000 },
	    DEFAULT | FRIENDS | BOTH },
	{ { "bob, in 1000 others", PEER_BOB, PEER_BOB, 0, 1000 }, DEFAULT },
	{ { "nobody", NOBODY, NOBODY, 0, 0 }, DEFAULT },
	{ { "budd's own user", PEER_BUDD, PEER_BUDD, 0, 0 }, DEFAULT },
	{ { "an operator", PEER_BOB, PEER_BOB, PEER_BUDADM, 0 }, DEFAULT },
};

static void
open_them(struct client *me, void *arg)
{
	const struct opener *o = arg;
	struct bud_config config = { .size = sizeof(config), .socket = d.socket };
	struct bud_pool *pool;
	int r;

	(void)me;
	peer_become(&o->peer);
	for (size_t i = 0; i < SIZEOF_ARRAY(pools); i++) {
		config.pool = pools[i];
		r = bud_open(&pool, &config);
		if (r != ((o->may >> i & 1) != 0 ? 0 : -EACCES))
			fprintf(stderr, "%s, pool %s: %d\n", o->peer.who, pools[i], r);
		errno = -r;
		must(r == ((o->may >> i & 1) != 0 ? 0 : -EACCES));
		if (r == 0)
			bud_close(pool);
	}
}

START_TEST(a_pool_opens_for_its_user_and_group)
{
	struct client c;

	if (!need_root())
		return;
	client_run(&c, open_them, (void *)(uintptr_t)&openers[_i]);
	client_join(&c);
}
END_TEST

static void
say_hello(struct raw *r, const char *pool)
{
	union proto_msg m;

	proto_init(&m, PROTO_HELLO);
	m.hello.version_min = m.hello.version_max = PROTO_VERSION;
	strcpy(m.hello.pool, pool);
	must(raw_send(r, &m, m.header.size));
}

/* Who connected counts: else whoever is talked into speaking through a descriptor of ours
 * would lend us its rights. */
static void
speak_through_bobs(struct client *me, void *arg)
{
	struct raw r;

	(void)me;
	(void)arg;
	must(setgroups(0, NULL) == 0 && setegid(PEER_BOB) == 0 &&
	     seteuid(PEER_BOB) == 0);
	raw_connect(&r, &d);
	must(seteuid(0) == 0 && setegid(0) == 0);
	peer_become(&(struct peer){ "ann", PEER_ANN, PEER_ANN, 0, 0 });
	say_hello(&r, "of-ann");
	raw_expect(&r, PROTO_REFUSE, 0);
	raw_expect_end(&r);
	raw_close(&r);
}

static void
give_up_the_group_first(struct client *me, void *arg)
{
	struct raw r;

	(void)me;
	(void)arg;
	must(setgroups(1, (gid_t[]){ PEER_FRIENDS }) == 0);
	peer_become(&(struct peer){ "bob", PEER_BOB, PEER_BOB, 0, 0 });
	raw_connect(&r, &d);
	say_hello(&r, "of-friends");
	raw_expect(&r, PROTO_REFUSE, 0);
	raw_close(&r);
}

START_TEST(who_connected_counts_and_what_it_was_then)
{
	if (!need_root())
		return;
	run_as(NULL, speak_through_bobs);
	run_as(NULL, give_up_the_group_first);
	eventually(daemon_log_contains(&d, "uid 20002 may not open pool \"of-ann\""));
	ck_assert(
	    daemon_log_contains(&d, "uid 20002 may not open pool \"of-friends\""));
}
END_TEST

/* --- The status --- */

static const struct asker {
	struct peer peer;
	bool may_look;
	bool may_tune;
} askers[] = {
	{ { "root", 0, 0, 0, 0 }, true, true },
	{ { "budd's own user", PEER_BUDD, PEER_BUDD, 0, 0 }, true, true },
	{ { "in budd's group", PEER_BOB, PEER_BUDD, 0, 0 }, false, false },
	{ { "an operator", PEER_BOB, PEER_BOB, PEER_BUDADM, 0 }, true, true },
	{ { "an operator of many groups", PEER_BOB, PEER_BOB, PEER_BUDADM, 200 }, true,
	    true },
	{ { "first of all an operator", PEER_BOB, PEER_BUDADM, 0, 0 }, true, true },
	{ { "a watcher", PEER_BOB, PEER_BOB, PEER_WATCHERS, 0 }, true, false },
	{ { "first of all a watcher", PEER_ANN, PEER_WATCHERS, 0, 0 }, true, false },
	{ { "ann, who has a pool", PEER_ANN, PEER_ANN, 0, 0 }, false, false },
	{ { "whose uid is the operators' gid", PEER_BUDADM, PEER_BOB, 0, 0 }, false,
	    false },
	{ { "nobody", NOBODY, NOBODY, 0, 0 }, false, false },
};

static int
connect_status(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	must(fd != -1);
	strcpy(a.sun_path, d.status);
	must(connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	return fd;
}

/* The answer's code; the whole of it stands in @answer. */
static int
ask(const char *method, const char *path, const char *body, char *answer, size_t size)
{
	int fd = connect_status(), code = 0;
	size_t n = 0;
	ssize_t got;

	must(dprintf(fd,
		 "%s %s HTTP/1.1\r\nConnection: close\r\nContent-Length: %zu\r\n"
		 "\r\n%s",
		 method, path, strlen(body), body) > 0);
	while ((got = read(fd, answer + n, size - 1 - n)) > 0)
		n += (size_t)got;
	answer[n] = '\0';
	close(fd);
	must(sscanf(answer, "HTTP/1.1 %d", &code) == 1);
	return code;
}

static const char *const pages[] = { "/v1/status", "/v1/pools/1", "/metrics",
	"/v1/events", "/v1/nothing" };
static const char *const changes[][3] = {
	{ "PATCH", "/v1/host", "{\"overtaken_max\":7}" },
	{ "PATCH", "/v1/pools/1", "{\"weight\":7}" },
	{ "POST", "/v1/release", "" },
};

static void
look_and_tune(struct client *me, void *arg)
{
	static char answer[65536];
	const struct asker *a = arg;

	(void)me;
	peer_become(&a->peer);
	for (size_t i = 0; i < SIZEOF_ARRAY(pages); i++) {
		if (a->may_look && strcmp(pages[i], "/v1/events") == 0)
			continue; /* it would not end */
		must((ask("GET", pages[i], "", answer, sizeof(answer)) == 403) !=
		     a->may_look);
		must(a->may_look ||
		     strstr(answer, "[status] group in budd.conf is watchers") != NULL);
	}
	for (size_t i = 0; i < SIZEOF_ARRAY(changes); i++) {
		must((ask(changes[i][0], changes[i][1], changes[i][2], answer,
			  sizeof(answer)) == 403) != a->may_tune);
		must(a->may_tune || !a->may_look || strstr(answer, "budadm") != NULL);
	}
}

START_TEST(the_status_is_for_its_group_and_changes_for_the_operators)
{
	bool may_tune = askers[_i].may_tune;
	struct client c;

	if (!need_root())
		return;
	ck_assert_double_ne(daemon_figure(&d, "host.overtaken_max"), 7);
	client_run(&c, look_and_tune, (void *)(uintptr_t)&askers[_i]);
	client_join(&c);
	/* And what was refused was not done. */
	ck_assert((daemon_figure(&d, "host.overtaken_max") == 7) == may_tune);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("access");
	TCase *t = tcase_create("access");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, enter, leave);
	tcase_add_loop_test(
	    t, a_pool_opens_for_its_user_and_group, 0, SIZEOF_ARRAY(openers));
	tcase_add_test(t, who_connected_counts_and_what_it_was_then);
	tcase_add_loop_test(t,
	    the_status_is_for_its_group_and_changes_for_the_operators, 0,
	    SIZEOF_ARRAY(askers));
	suite_add_tcase(suite, t);
	return daemon_suite(suite);
}
