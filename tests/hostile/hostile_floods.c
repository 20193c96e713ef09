/* SPDX-License-Identifier: ISC */

/* Floods: as many requests, turns, cancels, bells, hints, openings and status pages as a
 * client can ask for, some of them chosen to be dear. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/hostile/siege.h"

#define FLOODERS 3

static void
enter(void)
{
	siege_begin(SIEGE_CONFIG);
}

/* What a flooder says in round @n, under tags that it makes up. */
typedef void flood_fn(struct raw *r, uint64_t n);

static void
ask(struct raw *r, uint64_t n)
{
	raw_alloc(r, n, FRAME_SIZE, -1);
}

static void
ask_and_cancel(struct raw *r, uint64_t n)
{
	raw_alloc(r, n, WALL, -1);
	raw_say(r, PROTO_CANCEL, n);
}

/* Never content with its turn. */
static void
fail_at_turns(struct raw *r, uint64_t n)
{
	union proto_msg m;

	if (n <= 16)
		raw_alloc(r, n, FRAME_SIZE, -1);
	proto_init(&m, PROTO_DONE);
	m.done.tag = 1 + n % 16;
	m.done.outcome = PROTO_FAILED;
	raw_send(r, &m, m.header.size);
}

static void
ask_for_a_moment(struct raw *r, uint64_t n)
{
	raw_alloc(r, n, WALL, 1); /* its deadline is the next thing to come */
}

static void
ask_for_many(struct raw *r, uint64_t n)
{
	union proto_msg m;

	proto_init(&m, PROTO_ALLOC);
	m.alloc.tag = n;
	m.alloc.size_bytes = FRAME_SIZE;
	m.alloc.count = WALL / FRAME_SIZE;
	m.alloc.timeout_ms = -1;
	raw_send(r, &m, m.header.size);
}

static void
ring(struct raw *r, uint64_t n)
{
	(void)n;
	raw_say(r, PROTO_DOORBELL, 0);
}

static void
hint_and_watch(struct raw *r, uint64_t n)
{
	union proto_msg m;

	proto_init(&m, n % 2 == 0 ? PROTO_HINT : PROTO_WATCH);
	if (n % 2 == 0)
		m.hint.hint = PROTO_TRANSFER_END;
	else
		m.watch.mask = 7;
	raw_send(r, &m, m.header.size);
}

static flood_fn *const floods[] = { ask, ask_and_cancel, fail_at_turns,
	ask_for_a_moment, ask_for_many, ring, hint_and_watch };

static unsigned int flood; /* of this test */

/* As fast as it goes; what comes is read, so that nothing ends it. */
static void
flood_with(struct client *me, void *arg)
{
	int64_t until = now_ms() + (int64_t)(soak_s() * 250);
	struct raw r;

	(void)me;
	(void)arg;
	raw_open(&r, &siege.d, "flooder");
	for (uint64_t n = 1; now_ms() < until; n++) {
		floods[flood](&r, n);
		if (n % 16 == 0)
			ck_assert(!raw_has_ended(&r));
	}
	raw_close(&r);
}

static void
drown(client_fn *fn, const char *name)
{
	struct client c[FLOODERS];

	for (unsigned int i = 0; i < FLOODERS; i++)
		attack_begin(&c[i], fn, &i);
	do
		siege_served();
	while (siege_pools(name) > 0);
	for (unsigned int i = 0; i < FLOODERS; i++)
		client_join(&c[i]);
}

START_TEST(a_flood_of_messages_drowns_nobody)
{
	flood = (unsigned int)_i;
	drown(flood_with, "flooder");
}
END_TEST

static void
open_and_close(struct client *me, void *arg)
{
	int64_t until = now_ms() + (int64_t)(soak_s() * 250);
	struct raw r;

	(void)me;
	(void)arg;
	while (now_ms() < until) {
		raw_open(&r, &siege.d, "opener");
		ck_assert(raw_say(&r, PROTO_CLOSE, 0));
		raw_close(&r);
	}
}

START_TEST(a_flood_of_pools_drowns_nobody)
{
	drown(open_and_close, "opener");
}
END_TEST

/* --- The status socket --- */

static void
ask_for_status(struct client *me, void *arg)
{
	static const char *const requests[] = { "GET /v1/status HTTP/1.1\r\n\r\n",
		"GET /v1/pools HTTP/1.0\r\n\r\n",
		"PATCH /v1/host HTTP/1.1\r\n"
		"Content-Length: 9\r\n\r\n"
		"{\"a\":1}\n\n",
		"POST /v1/release HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
		"\r\n\r\n\r\n\r\n", "GET / HTTP/1.1\r\nX: " };
	int64_t until = now_ms() + (int64_t)(soak_s() * 250);
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	(void)me;
	strcpy(a.sun_path, siege.d.status);
	for (unsigned int n = *(unsigned int *)arg; now_ms() < until; n++) {
		const char *text = requests[n % SIZEOF_ARRAY(requests)];
		int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		must(sock != -1);
		if (connect(sock, (struct sockaddr *)&a, sizeof(a)) == 0)
			for (int i = 0; i < 16; i++)
				send(sock, text, strlen(text),
				    MSG_NOSIGNAL | MSG_DONTWAIT);
		close(sock); /* and reads nothing of it */
	}
}

START_TEST(a_flood_of_status_requests_drowns_nobody)
{
	attack_together(FLOODERS, ask_for_status);
}
END_TEST

/* --- Turns over a large ledger --- */

#define LARGE   (256 * MIB)
#define LONG_MS 1000 /* that no round takes, on any machine */

static void
enter_large(void)
{
	siege_begin(SIEGE_CONFIG
	    "[pool large]\nbase = 256M\nadd = 1M\nwall = 256M\nwall_max = 256M\n");
}

/* Thousands of turns are out that are never taken, and only the end of the ledger has room
 * for them: each look at the queue has a long way to go. */
static void
make_looking_dear(struct client *me, void *arg)
{
	int64_t until = now_ms() + (int64_t)(soak_s() * 500);
	struct ledger ledger;
	struct raw r;
	size_t size;
	void *bytes;

	(void)arg;
	raw_open(&r, &siege.d, "large");
	bytes = raw_map_ledger(&r, &size);
	ledger_attach(&ledger, bytes, LARGE / CHUNK_SIZE, LEDGER_CACHES);
	for (uint32_t c = 0; c < ledger.chunks; c++)
		atomic_store(&ledger_chunk(&ledger, c)->free,
		    c < ledger.chunks - PROTO_REQUESTS_MAX / CHUNK_FRAMES ? 0
									  : UINT64_MAX);
	for (uint64_t tag = 1; tag < PROTO_REQUESTS_MAX; tag++)
		while (!raw_alloc(&r, tag, FRAME_SIZE, -1))
			ck_assert(!raw_has_ended(&r));
	while (!raw_alloc(&r, PROTO_REQUESTS_MAX, LARGE, -1)) /* the one that waits */
		ck_assert(!raw_has_ended(&r));
	client_say(me, "ready");
	while (now_ms() < until) {
		raw_say(&r, PROTO_DOORBELL, 0);
		ck_assert(!raw_has_ended(&r));
	}
	munmap(bytes, size);
	raw_close(&r);
}

START_TEST(turns_that_are_dear_to_plan_drown_nobody)
{
	struct client c;

	attack_begin(&c, make_looking_dear, NULL);
	client_wait(&c, "ready");
	siege_served();
	client_join(&c);
	ck_assert_int_lt(siege_worst_ms(), LONG_MS);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("hostile floods");
	TCase *t = tcase_create("messages"), *large = tcase_create("large");

	tcase_set_timeout(t, 60 + soak_s());
	tcase_add_checked_fixture(t, enter, siege_end);
	tcase_add_loop_test(
	    t, a_flood_of_messages_drowns_nobody, 0, SIZEOF_ARRAY(floods));
	tcase_add_test(t, a_flood_of_pools_drowns_nobody);
	tcase_add_test(t, a_flood_of_status_requests_drowns_nobody);
	suite_add_tcase(suite, t);
	tcase_set_timeout(large, 60 + soak_s());
	tcase_add_checked_fixture(large, enter_large, siege_end);
	tcase_add_test(large, turns_that_are_dear_to_plan_drown_nobody);
	suite_add_tcase(suite, large);
	return daemon_suite(suite);
}
