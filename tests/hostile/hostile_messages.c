/* SPDX-License-Identifier: ISC */

/* Messages that are truncated, oversized, out of order, replayed, or anything at all. They
 * cost the connection at most. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/hostile/siege.h"

static void
enter(void)
{
	siege_begin(SIEGE_CONFIG);
}

/* --- Wrong ones --- */

struct bad {
	const char *what;
	enum proto_type type;
	size_t size;   /* of the record; 0: as it should be */
	size_t offset; /* of a 32-bit word that is written over; 0: of none */
	uint32_t word;
	bool only_first; /* not wrong, but for its time: before HELLO */
};

#define WORD(field) offsetof(union proto_msg, field)

static const struct bad bad[] = {
	{ "an empty record", PROTO_ALLOC, SIZE_MAX, 0, 0, false },
	{ "a byte", PROTO_ALLOC, 1, 0, 0, false },
	{ "half a header", PROTO_ALLOC, 4, 0, 0, false },
	{ "a header alone", PROTO_ALLOC, 8, 0, 0, false },
	{ "a byte too few", PROTO_ALLOC, 31, 0, 0, false },
	{ "a byte too many", PROTO_ALLOC, 33, 0, 0, false },
	{ "the largest record", PROTO_ALLOC, sizeof(union proto_msg), 0, 0, false },
	{ "more than the largest", PROTO_ALLOC, 4096, 0, 0, false },
	{ "a truncated HELLO", PROTO_HELLO, 135, 0, 0, false },
	{ "a HELLO of 15 bytes", PROTO_HELLO, 15, 0, 0, false },
	{ "a command that cannot be printed", PROTO_HELLO, 0, WORD(hello.command),
	    0x0a0a0a0a, false },
	{ "a command that does not end", PROTO_HELLO, 0,
	    WORD(hello.command) + PROTO_COMMAND_SIZE - 4, 0x61616161, false },
	{ "another size inside", PROTO_ALLOC, 0, WORD(header.size), 31, false },
	{ "an unknown type", PROTO_DOORBELL, 0, 0, PROTO_RESUMED + 1, false },
	{ "a huge type", PROTO_DOORBELL, 0, 0, UINT32_MAX, false },
	{ "a WELCOME", PROTO_WELCOME, 0, 0, 0, false },
	{ "a GRANT", PROTO_GRANT, 0, 0, 0, false },
	{ "a REFUSE", PROTO_REFUSE, 0, 0, 0, false },
	{ "a RESTARTED", PROTO_RESTARTED, 0, 0, 0, false },
	{ "an EVENT", PROTO_EVENT, 0, 0, 0, false },
	{ "a BLOCK", PROTO_BLOCK, 0, 0, 0, false },
	{ "a RELEASE", PROTO_RELEASE, 0, 0, 0, false },
	{ "a GAVE-UP under no number", PROTO_GAVE_UP, 0, WORD(block.ask), 0, false },
	{ "a GAVE-UP of so many bytes", PROTO_GAVE_UP, 0, WORD(block.bytes), 1, false },
	{ "an unknown event", PROTO_WATCH, 0, WORD(watch.mask), 0x10, false },
	{ "a tag of 0", PROTO_ALLOC, 0, WORD(alloc.tag), 0, false },
	{ "a size of 0", PROTO_ALLOC, 0, WORD(alloc.size_bytes), 0, false },
	{ "a count of 0", PROTO_ALLOC, 0, WORD(alloc.count), 0, false },
	{ "a count of 1025", PROTO_ALLOC, 0, WORD(alloc.count), 1025, false },
	{ "a timeout of -2", PROTO_ALLOC, 0, WORD(alloc.timeout_ms), (uint32_t)-2,
	    false },
	{ "an unknown outcome", PROTO_DONE, 0, WORD(done.outcome), 2, false },
	{ "a reserved field", PROTO_DONE, 0, WORD(done.reserved), 1, false },
	{ "a cancelled tag of 0", PROTO_CANCEL, 0, WORD(tag.tag), 0, false },
	{ "an ALLOC before WELCOME", PROTO_ALLOC, 0, 0, 0, true },
	{ "a DONE before WELCOME", PROTO_DONE, 0, 0, 0, true },
	{ "a CANCEL before WELCOME", PROTO_CANCEL, 0, 0, 0, true },
	{ "a RESUMED before WELCOME", PROTO_RESUMED, 0, 0, 0, true },
	{ "a DOORBELL before WELCOME", PROTO_DOORBELL, 0, 0, 0, true },
	{ "a WATCH before WELCOME", PROTO_WATCH, 0, 0, 0, true },
	{ "a GAVE-UP before WELCOME", PROTO_GAVE_UP, 0, 0, 0, true },
	{ "a CLOSE before WELCOME", PROTO_CLOSE, 0, 0, 0, true },
};

static union proto_msg
good(enum proto_type type)
{
	union proto_msg m;

	proto_init(&m, type);
	if (type == PROTO_HELLO) {
		m.hello.version_min = m.hello.version_max = PROTO_VERSION;
	} else if (type == PROTO_ALLOC) {
		m.alloc.size_bytes = FRAME_SIZE;
		m.alloc.count = 1;
	}
	if (type == PROTO_GAVE_UP)
		m.block.ask = 1;
	if (type == PROTO_HINT)
		m.hint.hint = PROTO_TRANSFER_END;
	if (type == PROTO_ALLOC || type == PROTO_DONE || type == PROTO_CANCEL ||
	    type == PROTO_GRANT || type == PROTO_REFUSE)
		m.tag.tag = 1; /* it stands at the same place in all of them */
	return m;
}

static void
send_bad(struct raw *r, const struct bad *b)
{
	struct {
		union proto_msg m;
		char more[4096];
	} record = { .m = good(b->type) };
	size_t size = b->size;

	if (b->offset != 0)
		memcpy((char *)&record + b->offset, &b->word, sizeof(b->word));
	else if (b->word != 0)
		record.m.header.type = b->word;
	if (size == 0)
		size = proto_size(b->type);
	if (size == SIZE_MAX)
		size = 0;
	ck_assert_msg(raw_send(r, &record, size), "%s: not sent", b->what);
}

static void
say_something_bad(struct client *me, void *arg)
{
	const struct bad *b = arg;
	struct raw r;

	(void)me;
	raw_connect(&r, &siege.d);
	send_bad(&r, b);
	raw_expect_end(&r);
	raw_close(&r);
	if (b->only_first)
		return;
	raw_open(&r, &siege.d, "bad");
	ck_assert(raw_alloc(&r, 7, FRAME_SIZE, -1));
	raw_expect(&r, PROTO_GRANT, 7);
	send_bad(&r, b);
	raw_expect_end(&r);
	raw_close(&r);
}

START_TEST(a_wrong_message_costs_the_connection)
{
	for (size_t i = 0; i < SIZEOF_ARRAY(bad); i++) {
		struct bad b = bad[i];

		attack(say_something_bad, &b);
	}
	ck_assert(
	    daemon_log_contains(&siege.d, "dropped: a message of the wrong size"));
	eventually(daemon_log_contains(&siege.d, "dropped: a message before WELCOME"));
	eventually(daemon_log_contains(
	    &siege.d, "dropped: a message with a value out of range"));
	eventually(daemon_log_contains(&siege.d, "dropped: an oversized message"));
}
END_TEST

/* Real messages, of which a few bytes are anything. */
static union proto_msg
half_random(size_t *sizep)
{
	union proto_msg m = good((enum proto_type)(1 + random() % PROTO_RESUMED));

	*sizep = proto_size(m.header.type);
	for (long k = random() % 4; k > 0; k--)
		((unsigned char *)&m)[(size_t)random() % *sizep] =
		    (unsigned char)random();
	if (random() % 16 == 0)
		*sizep = (size_t)random() % sizeof(m);
	return m;
}

static void
send_garbage(struct client *me, void *arg)
{
	struct raw r;

	(void)me;
	srandom(*(unsigned int *)arg);
	for (int i = 0; i < 60; i++) {
		if (i % 2 == 0)
			raw_connect(&r, &siege.d);
		else
			raw_open(&r, &siege.d, "garbage");
		for (int n = 0; n < 16; n++) {
			size_t size;
			union proto_msg m = half_random(&size);

			raw_send(&r, &m, size);
		}
		if (random() % 2 == 0)
			raw_has_ended(&r);
		raw_close(&r);
	}
}

START_TEST(random_bytes_cost_the_connection_at_most)
{
	if (!need_root()) /* many pools at a time */
		return;
	attack_together(8, send_garbage);
}
END_TEST

/* --- Right ones, at the wrong time --- */

static void
repeat_oneself(struct client *me, void *arg)
{
	union proto_msg gave_up = good(PROTO_GAVE_UP), m;
	struct raw r;

	(void)me;
	(void)arg;
	raw_open(&r, &siege.d, "odd");
	ck_assert(raw_say(&r, PROTO_HELLO, 0));
	ck_assert(raw_say(&r, PROTO_DOORBELL, 0));
	ck_assert(raw_say(&r, PROTO_DONE, 99));
	ck_assert(raw_say(&r, PROTO_CANCEL, 99));
	ck_assert(raw_send(&r, &gave_up, gave_up.header.size)); /* nobody asked */
	ck_assert(raw_send(&r, &gave_up, gave_up.header.size));
	ck_assert(raw_alloc(&r, 1, FRAME_SIZE, -1));
	ck_assert(raw_alloc(&r, 1, FRAME_SIZE, -1)); /* known: ignored */
	ck_assert(raw_alloc(&r, 2, FRAME_SIZE, 0));
	ck_assert(raw_alloc(&r, 3, 2 * WALL, 0));
	raw_expect(&r, PROTO_GRANT, 1);
	raw_expect(&r, PROTO_GRANT, 2);
	raw_expect(&r, PROTO_REFUSE, 3);
	ck_assert(raw_say(&r, PROTO_CANCEL, 2)); /* its GRANT was the answer */
	ck_assert(raw_alloc(&r, 4, WALL, -1));
	ck_assert(raw_say(&r, PROTO_CANCEL, 4));
	raw_expect(&r, PROTO_REFUSE, 4);
	ck_assert(raw_say(&r, PROTO_CLOSE, 0));
	ck_assert(!raw_hear(&r, &m));
	raw_close(&r);
}

START_TEST(what_is_said_twice_or_of_nothing_is_ignored)
{
	attack(repeat_oneself, NULL);
	ck_assert(!daemon_log_contains(&siege.d, "dropped"));
}
END_TEST

/* What a client says in a whole life, but for HELLO and CLOSE. */
static const struct {
	enum proto_type type;
	uint64_t tag;
} life[] = {
	{ PROTO_WATCH, 0 },
	{ PROTO_ALLOC, 1 },
	{ PROTO_DONE, 1 },
	{ PROTO_ALLOC, 2 },
	{ PROTO_ALLOC, 3 },
	{ PROTO_CANCEL, 3 },
	{ PROTO_DOORBELL, 0 },
	{ PROTO_DONE, 2 },
	{ PROTO_DONE, 3 },
	{ PROTO_HINT, 0 },
	{ PROTO_GAVE_UP, 0 },
};

static void
say_patiently(struct raw *r, const union proto_msg *m)
{
	while (!raw_send(r, m, m->header.size)) { /* budd has not read the last ones */
		ck_assert(!raw_has_ended(r));
		nap();
	}
}

static void
say_line_of_life(struct raw *r, enum proto_type type, uint64_t tag)
{
	union proto_msg m = good(type);

	if (tag != 0)
		m.tag.tag = tag;
	say_patiently(r, &m);
}

static void
ask_for_all(struct raw *r, uint64_t tag)
{
	union proto_msg m = good(PROTO_ALLOC);

	m.alloc.tag = tag;
	m.alloc.size_bytes = WALL;
	m.alloc.timeout_ms = -1;
	say_patiently(r, &m);
}

/* The same life again and again on one connection, each time in another order. None of it
 * is against the protocol, and the pool works in the end. */
static void
live_in_disorder(struct client *me, void *arg)
{
	size_t order[SIZEOF_ARRAY(life)];
	struct raw r;

	(void)me;
	srandom(*(unsigned int *)arg);
	raw_open(&r, &siege.d, "disorder");
	for (int times = 0; times < 200; times++) {
		for (size_t i = 0; i < SIZEOF_ARRAY(life); i++)
			order[i] = i;
		for (size_t i = SIZEOF_ARRAY(life) - 1; times > 0 && i > 0; i--) {
			size_t k = (size_t)random() % (i + 1), other = order[k];

			order[k] = order[i];
			order[i] = other;
		}
		for (size_t i = 0; i < SIZEOF_ARRAY(life); i++)
			say_line_of_life(&r, life[order[i]].type, life[order[i]].tag);
		ck_assert(!raw_has_ended(&r));
	}
	for (uint64_t tag = 1; tag <= 3; tag++) /* whatever is alive of them ends */
		say_line_of_life(&r, PROTO_CANCEL, tag);
	ask_for_all(&r, 4);
	for (union proto_msg m = { 0 }; m.header.type != PROTO_GRANT || m.tag.tag != 4;)
		ck_assert(raw_hear(&r, &m));
	raw_close(&r);
}

START_TEST(a_life_in_any_order_and_replayed_is_survived)
{
	attack_together(4, live_in_disorder);
	ck_assert(!daemon_log_contains(&siege.d, "dropped"));
}
END_TEST

/* What comes behind a CLOSE is another's business no more. */
static void
speak_after_the_end(struct client *me, void *arg)
{
	struct raw r;

	(void)me;
	(void)arg;
	for (int i = 0; i < 50; i++) {
		raw_open(&r, &siege.d, "late");
		ck_assert(raw_say(&r, PROTO_CLOSE, 0));
		raw_say(&r, PROTO_ALLOC, 1); /* may find it shut */
		raw_say(&r, PROTO_HELLO, 0);
		raw_say(&r, PROTO_CLOSE, 0);
		raw_expect_end(&r);
		raw_close(&r);
	}
}

START_TEST(nothing_is_heard_behind_a_close)
{
	attack(speak_after_the_end, NULL);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("hostile messages");
	TCase *t = tcase_create("hostile messages");

	tcase_set_timeout(t, 60 + soak_s());
	tcase_add_checked_fixture(t, enter, siege_end);
	tcase_add_test(t, a_wrong_message_costs_the_connection);
	tcase_add_test(t, random_bytes_cost_the_connection_at_most);
	tcase_add_test(t, what_is_said_twice_or_of_nothing_is_ignored);
	tcase_add_test(t, a_life_in_any_order_and_replayed_is_survived);
	tcase_add_test(t, nothing_is_heard_behind_a_close);
	suite_add_tcase(suite, t);
	return daemon_suite(suite);
}
