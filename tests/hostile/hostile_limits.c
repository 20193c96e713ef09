/* SPDX-License-Identifier: ISC */

/* Requests and wishes at every boundary, and every resource that a user may hold taken to
 * its limit, while another user's clients notice nothing. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/hostile/siege.h"

#define ROOM (64 * MIB) /* the wall of a pool "roomy" */

static void
enter(void)
{
	siege_begin(SIEGE_CONFIG
	    "[pool roomy]\nbase = 1M\nadd = 1M\nwall = 64M\nwall_max = 64M\n");
}

/* --- Boundaries --- */

/* 0, 1, 4096, the wall and every power of two, and one beside each of them. */
static size_t
list_boundaries(uint64_t *values)
{
	size_t n = 0;

	for (unsigned int k = 0; k < 64; k++)
		for (int beside = -1; beside <= 1; beside++)
			values[n++] = (UINT64_C(1) << k) + (uint64_t)beside;
	values[n++] = UINT64_MAX;
	values[n++] = UINT64_MAX - FRAME_SIZE + 1;
	return n;
}

#define BOUNDARIES_MAX 256

/* The one answer to it is GRANT, or one of the errors; then the turn is given back. */
static void
expect_answer(struct raw *r, uint64_t tag, bool possible)
{
	union proto_msg m;

	ck_assert(raw_hear(r, &m));
	ck_assert_uint_eq(m.tag.tag, tag);
	if (m.header.type == PROTO_GRANT) {
		ck_assert(possible);
		ck_assert(raw_say(r, PROTO_DONE, tag));
		return;
	}
	ck_assert_uint_eq(m.header.type, PROTO_REFUSE);
	ck_assert_int_eq(m.refuse.error, possible ? EAGAIN : EMSGSIZE);
}

static void
ask_at_boundaries(struct client *me, void *arg)
{
	static const uint32_t counts[] = { 1, 2, 3, 64, 65, 1023, 1024 };
	uint64_t values[BOUNDARIES_MAX], tag = 0;
	size_t n = list_boundaries(values);
	union proto_msg m;
	struct raw r;

	(void)me;
	(void)arg;
	raw_open(&r, &siege.d, "roomy");
	proto_init(&m, PROTO_ALLOC);
	for (size_t i = 0; i < n; i++) {
		if (values[i] == 0)
			continue; /* costs the connection: hostile_messages */
		for (size_t k = 0; k < SIZEOF_ARRAY(counts); k++) {
			uint64_t each = FRAME_SIZE;

			while (each < values[i] && each <= ROOM)
				each *= 2;
			m.alloc.tag = ++tag;
			m.alloc.size_bytes = values[i];
			m.alloc.count = counts[k];
			ck_assert(raw_send(&r, &m, m.header.size));
			expect_answer(&r, tag, each * counts[k] <= ROOM);
		}
	}
	raw_close(&r);
}

START_TEST(a_request_at_any_boundary_has_its_answer)
{
	attack(ask_at_boundaries, NULL);
}
END_TEST

static void
time_at_boundaries(struct client *me, void *arg)
{
	static const int32_t timeouts[] = { INT32_MAX, INT32_MAX - 1, 86400000, 1, 0,
		-1 };
	union proto_msg m;
	struct raw r;

	(void)me;
	(void)arg;
	raw_open(&r, &siege.d, "timely");
	ck_assert(raw_alloc(&r, 1, WALL, -1));
	raw_expect(&r, PROTO_GRANT, 1); /* and the turn stays out */
	proto_init(&m, PROTO_ALLOC);
	for (size_t i = 0; i < SIZEOF_ARRAY(timeouts); i++)
		ck_assert(raw_alloc(&r, 2 + i, FRAME_SIZE, timeouts[i]));
	for (size_t i = 0; i < SIZEOF_ARRAY(timeouts); i++)
		ck_assert(raw_say(&r, PROTO_CANCEL, 2 + i));
	for (size_t i = 0; i < SIZEOF_ARRAY(timeouts); i++) {
		ck_assert(raw_hear(&r, &m));
		ck_assert_uint_eq(m.header.type, PROTO_REFUSE);
	}
	ck_assert(!raw_has_ended(&r));
	raw_close(&r);
}

START_TEST(a_timeout_at_any_boundary_is_kept)
{
	attack(time_at_boundaries, NULL);
}
END_TEST

/* Whatever is wished, what is given is within what the section allows. */
static void
wish_for(uint64_t base, uint64_t add, uint64_t wall)
{
	union proto_msg m;
	struct raw r;

	raw_connect(&r, &siege.d);
	proto_init(&m, PROTO_HELLO);
	m.hello.version_min = m.hello.version_max = PROTO_VERSION;
	m.hello.base = base;
	m.hello.add = add;
	m.hello.wall = wall;
	ck_assert(raw_send(&r, &m, m.header.size));
	raw_expect(&r, PROTO_WELCOME, 0);
	ck_assert_uint_le(r.welcome.wall, WALL);
	ck_assert_uint_le(r.welcome.base, r.welcome.wall);
	ck_assert_uint_le(r.welcome.base, CHUNK);
	ck_assert_uint_gt(r.welcome.base, 0);
	ck_assert_uint_le(r.welcome.add, r.welcome.wall);
	ck_assert_uint_gt(r.welcome.add, 0);
	ck_assert_uint_eq(r.welcome.memory_size, WALL);
	ck_assert(raw_alloc(&r, 1, FRAME_SIZE, 0));
	raw_expect(&r, PROTO_GRANT, 1);
	ck_assert(raw_say(&r, PROTO_CLOSE, 0));
	raw_expect_end(&r);
	raw_close(&r);
}

static void
wish_at_boundaries(struct client *me, void *arg)
{
	uint64_t values[BOUNDARIES_MAX];
	size_t n = list_boundaries(values);

	(void)me;
	(void)arg;
	for (size_t i = 0; i < n; i++) {
		wish_for(values[i], 0, 0);
		wish_for(0, values[i], 0);
		wish_for(0, 0, values[i]);
		wish_for(values[i], values[i], values[i]);
	}
}

START_TEST(a_wish_at_any_boundary_is_cut_to_what_is_allowed)
{
	attack(wish_at_boundaries, NULL);
}
END_TEST

/* --- Limits of a user --- */

#define POOLS    4
#define REQUESTS 100

static void
enter_limited(void)
{
	siege_begin(SIEGE_HOST "clients_max = 50\nuser_clients = 12\nuser_pools = 4\n"
			       "user_requests = 100\nuser_wall = 4M\n" SIEGE_POOLS);
}

static int
refusal(struct raw *r)
{
	union proto_msg m;

	ck_assert(raw_hear(r, &m));
	ck_assert_uint_eq(m.header.type, PROTO_REFUSE);
	ck_assert_uint_eq(m.refuse.tag, 0);
	ck_assert(m.refuse.reason[0] != '\0');
	return m.refuse.error;
}

static void
take_every_pool(struct client *me, void *arg)
{
	struct raw r[POOLS], more;

	(void)me;
	(void)arg;
	for (size_t i = 0; i < POOLS; i++)
		raw_open(&r[i], &siege.d, "greedy");
	for (int i = 0; i < 20; i++) {
		raw_connect(&more, &siege.d);
		ck_assert(raw_say(&more, PROTO_HELLO, 0));
		ck_assert_int_eq(refusal(&more), EDQUOT);
		raw_expect_end(&more);
		raw_close(&more);
	}
	client_say(me, "full");
	client_wait(me, "end");
	ck_assert(raw_say(&r[0], PROTO_CLOSE, 0)); /* makes room for another */
	raw_expect_end(&r[0]);
	raw_close(&r[0]);
	raw_open(&r[0], &siege.d, "greedy");
	for (size_t i = 0; i < POOLS; i++)
		raw_close(&r[i]);
}

static void
take_every_connection(struct client *me, void *arg)
{
	struct raw r[12], more;

	(void)arg;
	for (size_t i = 0; i < SIZEOF_ARRAY(r); i++)
		raw_connect(&r[i], &siege.d);
	for (int i = 0; i < 20; i++) {
		raw_connect(&more, &siege.d);
		ck_assert_int_eq(refusal(&more), EUSERS);
		raw_expect_end(&more);
		raw_close(&more);
	}
	client_say(me, "full");
	client_wait(me, "end");
	for (size_t i = 0; i < SIZEOF_ARRAY(r); i++)
		raw_close(&r[i]);
}

/* In two pools together. */
static void
take_every_request(struct client *me, void *arg)
{
	union proto_msg m;
	struct raw r[2];

	(void)arg;
	for (int i = 0; i < 2; i++) {
		raw_open(&r[i], &siege.d, "greedy");
		ck_assert(raw_alloc(&r[i], 1, WALL, -1));
		raw_expect(&r[i], PROTO_GRANT, 1); /* and the turn stays out */
	}
	for (uint64_t tag = 2; tag <= REQUESTS - 1; tag++)
		ck_assert(raw_alloc(&r[0], tag, WALL, -1));
	raw_say(&r[0], PROTO_DOORBELL, 0);
	for (uint64_t tag = 1000; tag < 1020; tag++) {
		ck_assert(raw_alloc(&r[0], tag, WALL, -1));
		ck_assert(raw_hear(&r[0], &m));
		ck_assert_uint_eq(m.header.type, PROTO_REFUSE);
		ck_assert_int_eq(m.refuse.error, ENOMEM);
		ck_assert(raw_alloc(&r[1], tag, WALL, -1));
		ck_assert(raw_hear(&r[1], &m));
		ck_assert_int_eq(m.refuse.error, ENOMEM);
	}
	client_say(me, "full");
	client_wait(me, "end");
	for (int i = 0; i < 2; i++)
		raw_close(&r[i]);
}

/* Each of the pools to its wall, which together is more than the user may pin. */
static void
take_every_byte(struct client *me, void *arg)
{
	struct raw r[POOLS];
	union proto_msg m;
	int granted = 0;

	(void)arg;
	for (size_t i = 0; i < POOLS; i++)
		raw_open(&r[i], &siege.d, "greedy");
	for (size_t i = 0; i < POOLS; i++) {
		ck_assert(raw_alloc(&r[i], 1, WALL, 200));
		ck_assert(raw_hear(&r[i], &m));
		granted += m.header.type == PROTO_GRANT;
		ck_assert(m.header.type == PROTO_GRANT || m.refuse.error == ETIMEDOUT);
	}
	ck_assert_int_gt(granted, 0);
	ck_assert_int_lt(granted, POOLS);
	client_say(me, "full");
	client_wait(me, "end");
	for (size_t i = 0; i < POOLS; i++)
		raw_close(&r[i]);
}

static client_fn *const takers[] = { take_every_pool, take_every_connection,
	take_every_request, take_every_byte };

START_TEST(what_one_user_may_have_leaves_others_theirs)
{
	struct client c;

	if (!need_root()) /* the attacker is another user */
		return;
	for (int times = 0; times < 5; times++) {
		attack_begin(&c, takers[_i], NULL);
		client_wait(&c, "full");
		siege_served();
		client_say(&c, "end");
		client_join(&c);
		eventually(siege_pools("greedy") == 0);
	}
}
END_TEST

static void
ask_too_often(struct client *me, void *arg)
{
	union proto_msg m;
	uint64_t tag;
	struct raw r;

	(void)me;
	(void)arg;
	raw_open(&r, &siege.d, "often");
	ck_assert(raw_alloc(&r, 1, WALL, -1));
	raw_expect(&r, PROTO_GRANT, 1); /* and the turn stays out */
	for (tag = 2; tag <= PROTO_REQUESTS_MAX + 1; tag++)
		while (!raw_alloc(&r, tag, FRAME_SIZE, -1))
			nap();
	ck_assert(raw_hear(&r, &m));
	ck_assert_uint_eq(m.header.type, PROTO_REFUSE);
	ck_assert_uint_eq(m.refuse.tag, PROTO_REQUESTS_MAX + 1);
	ck_assert_int_eq(m.refuse.error, ENOMEM);
	/* One place becomes free, and is taken. */
	ck_assert(raw_say(&r, PROTO_CANCEL, 2));
	raw_expect(&r, PROTO_REFUSE, 2);
	ck_assert(raw_alloc(&r, tag, FRAME_SIZE, -1));
	ck_assert(raw_alloc(&r, tag + 1, FRAME_SIZE, -1));
	raw_expect(&r, PROTO_REFUSE, tag + 1);
	raw_close(&r);
}

START_TEST(one_request_too_many_is_refused)
{
	attack(ask_too_often, NULL);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("hostile limits");
	TCase *t = tcase_create("boundaries"), *limits = tcase_create("limits");

	tcase_set_timeout(t, 60 + soak_s());
	tcase_add_checked_fixture(t, enter, siege_end);
	tcase_add_test(t, a_request_at_any_boundary_has_its_answer);
	tcase_add_test(t, a_timeout_at_any_boundary_is_kept);
	tcase_add_test(t, a_wish_at_any_boundary_is_cut_to_what_is_allowed);
	tcase_add_test(t, one_request_too_many_is_refused);
	suite_add_tcase(suite, t);
	tcase_set_timeout(limits, 60 + soak_s());
	tcase_add_checked_fixture(limits, enter_limited, siege_end);
	tcase_add_loop_test(limits, what_one_user_may_have_leaves_others_theirs, 0,
	    SIZEOF_ARRAY(takers));
	suite_add_tcase(suite, limits);
	return daemon_suite(suite);
}
