/* SPDX-License-Identifier: ISC */

/*
 * Clients that say what they must not, write where they must not, or say and read nothing.
 * It costs them their connection, and nobody else anything: an innocent client works all
 * the while and notices nothing, and in the end budd holds what it held before.
 *
 * Who loses its connection keeps its memory while its process lives; so each hostile
 * client is a process that ends before budd's holdings are compared.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bud.h"
#include "tests/client_process.h"
#include "tests/daemon.h"
#include "tests/raw.h"

#define CHUNK            (256 * KIB)
#define WALL             MIB
#define HELLO_TIMEOUT_MS 300

#define CONFIG                                                    \
	"[host]\ntick = 5ms\nrelease_period = 10ms\nidle = 5ms\n" \
	"hello_timeout = 300ms\n"                                 \
	"[pool default]\nbase = 256K\nadd = 256K\nwall = 1M\nwall_max = 1M\n"

static struct daemon d;
static struct daemon_snapshot before;
static struct client innocent;

/* --- The innocent client --- */

static void
one_round(struct bud_pool *pool, uint64_t seed)
{
	void *bufs[4];

	for (unsigned int i = 0; i < 4; i++) {
		bufs[i] = bud_alloc(pool, CHUNK, PATIENCE_MS);
		must(bufs[i] != NULL);
		paint(bufs[i], CHUNK, seed + i);
	}
	must(bud_alloc(pool, 4096, 1) == NULL && errno == ETIMEDOUT);
	for (unsigned int i = 0; i < 4; i++) {
		must(painted(bufs[i], CHUNK, seed + i));
		bud_free(pool, bufs[i]);
	}
}

static void
work_on(struct client *me, void *arg)
{
	struct bud_pool *pool = open_pool(&d, "innocent");
	uint64_t rounds = 0;

	(void)arg;
	while (!client_heard(me)) {
		one_round(pool, rounds);
		if (rounds++ == 0)
			client_say(me, "working");
		else
			nap();
	}
	bud_close(pool);
}

static void
enter(void)
{
	daemon_start(&d, CONFIG);
	daemon_snapshot(&d, &before);
	client_run(&innocent, work_on, NULL);
	client_wait(&innocent, "working");
}

static void
leave(void)
{
	client_say(&innocent, "end");
	client_join(&innocent);
	daemon_expect_same(&d, &before);
	daemon_stop(&d);
}

static void
run_hostile(client_fn *fn, void *arg)
{
	struct client c;

	client_run(&c, fn, arg);
	client_join(&c);
}

/* --- Messages that are wrong --- */

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
	{ "a truncated HELLO", PROTO_HELLO, 103, 0, 0, false },
	{ "another size inside", PROTO_ALLOC, 0, WORD(header.size), 31, false },
	{ "type 11", PROTO_DOORBELL, 0, 0, 11, false },
	{ "a huge type", PROTO_DOORBELL, 0, 0, UINT32_MAX, false },
	{ "a WELCOME", PROTO_WELCOME, 0, 0, 0, false },
	{ "a GRANT", PROTO_GRANT, 0, 0, 0, false },
	{ "a REFUSE", PROTO_REFUSE, 0, 0, 0, false },
	{ "a RESTARTED", PROTO_RESTARTED, 0, 0, 0, false },
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
	{ "a DOORBELL before WELCOME", PROTO_DOORBELL, 0, 0, 0, true },
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
	if (type != PROTO_HELLO && proto_size(type) > sizeof(m.header))
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
	raw_connect(&r, &d);
	send_bad(&r, b);
	raw_expect_end(&r);
	raw_close(&r);
	if (b->only_first)
		return;
	raw_open(&r, &d, "bad");
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

		run_hostile(say_something_bad, &b);
	}
	ck_assert(daemon_log_contains(&d, "dropped: a message of the wrong size"));
	ck_assert(daemon_log_contains(&d, "dropped: a message before WELCOME"));
	ck_assert(
	    daemon_log_contains(&d, "dropped: a message with a value out of range"));
	ck_assert(daemon_log_contains(&d, "dropped: an oversized message"));
}
END_TEST

static void
send_descriptors(struct client *me, void *arg)
{
	static const enum proto_type types[] = { PROTO_HELLO, PROTO_ALLOC,
		PROTO_DOORBELL };
	struct raw r;

	(void)me;
	(void)arg;
	for (size_t i = 0; i < SIZEOF_ARRAY(types); i++) {
		union proto_msg m = good(types[i]);

		raw_connect(&r, &d);
		ck_assert(raw_send_fd(&r, &m, m.header.size, STDIN_FILENO));
		raw_expect_end(&r);
		raw_close(&r);
		raw_open(&r, &d, "descriptors");
		ck_assert(raw_send_fd(&r, &m, m.header.size, STDIN_FILENO));
		raw_expect_end(&r);
		raw_close(&r);
	}
}

START_TEST(a_descriptor_that_nobody_asked_for_costs_the_connection)
{
	run_hostile(send_descriptors, NULL);
}
END_TEST

/* Real messages, of which a few bytes are anything. */
static void
send_garbage(struct client *me, void *arg)
{
	struct raw r;

	(void)me;
	srandom(*(unsigned int *)arg);
	for (int i = 0; i < 60; i++) {
		if (i % 2 == 0)
			raw_connect(&r, &d);
		else
			raw_open(&r, &d, "garbage");
		for (int n = 0; n < 16; n++) {
			union proto_msg m = good((enum proto_type)(1 + random() % 10));
			size_t size = proto_size(m.header.type);

			for (long k = random() % 4; k > 0; k--)
				((unsigned char *)&m)[(size_t)random() % size] =
				    (unsigned char)random();
			if (random() % 16 == 0)
				size = (size_t)random() % sizeof(m);
			raw_send(&r, &m, size);
		}
		if (random() % 2 == 0)
			raw_has_ended(&r);
		raw_close(&r);
	}
}

#define SEEDS 8

START_TEST(random_bytes_cost_the_connection_at_most)
{
	struct client c[SEEDS];

	if (!need_root()) /* many pools at a time */
		return;
	for (unsigned int i = 0; i < SEEDS; i++)
		client_run(&c[i], send_garbage, &i);
	for (unsigned int i = 0; i < SEEDS; i++)
		client_join(&c[i]);
}
END_TEST

/* --- Messages that are allowed, though odd --- */

static void
repeat_oneself(struct client *me, void *arg)
{
	union proto_msg m;
	struct raw r;

	(void)me;
	(void)arg;
	raw_open(&r, &d, "odd");
	ck_assert(raw_say(&r, PROTO_HELLO, 0));
	ck_assert(raw_say(&r, PROTO_DOORBELL, 0));
	ck_assert(raw_say(&r, PROTO_DONE, 99));
	ck_assert(raw_say(&r, PROTO_CANCEL, 99));
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
	run_hostile(repeat_oneself, NULL);
	ck_assert(!daemon_log_contains(&d, "dropped"));
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
	raw_open(&r, &d, "often");
	ck_assert(raw_alloc(&r, 1, WALL, -1));
	raw_expect(&r, PROTO_GRANT, 1); /* and the turn stays out */
	for (tag = 2; tag <= PROTO_REQUESTS_MAX; tag++)
		while (!raw_alloc(&r, tag, FRAME_SIZE, -1))
			nap();
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
	run_hostile(ask_too_often, NULL);
}
END_TEST

/* --- Silence --- */

START_TEST(who_connects_and_says_nothing_is_dropped)
{
	int64_t start = now_ms();
	struct raw r[100];

	for (size_t i = 0; i < SIZEOF_ARRAY(r); i++)
		raw_connect(&r[i], &d);
	for (size_t i = 0; i < SIZEOF_ARRAY(r); i++) {
		raw_expect_end(&r[i]);
		raw_close(&r[i]);
	}
	ck_assert_int_ge(now_ms() - start, HELLO_TIMEOUT_MS);
	ck_assert_int_lt(now_ms() - start, HELLO_TIMEOUT_MS + 3000);
	ck_assert(daemon_log_contains(&d, "hello_timeout"));
}
END_TEST

static void
ask_and_not_listen(struct client *me, void *arg)
{
	int64_t until = now_ms() + PATIENCE_MS;
	union proto_msg m = good(PROTO_ALLOC);
	struct raw r;

	(void)me;
	(void)arg;
	raw_open(&r, &d, "deaf");
	m.alloc.size_bytes = 2 * WALL; /* is answered at once, for ever */
	while (send(r.sock, &m, sizeof(m.alloc), MSG_NOSIGNAL | MSG_DONTWAIT) != -1 ||
	       errno == EAGAIN) {
		ck_assert_int_lt(now_ms(), until);
		m.alloc.tag++;
	}
	ck_assert_int_eq(errno, EPIPE);
	raw_close(&r);
}

START_TEST(who_asks_and_never_listens_is_dropped)
{
	run_hostile(ask_and_not_listen, NULL);
	ck_assert(daemon_log_contains(&d, "dropped: does not read what budd sends"));
}
END_TEST

/* --- The ledger --- */

static void
scribble(unsigned char *p, size_t size, unsigned int how)
{
	switch (how % 4) {
	case 0:
		for (size_t i = 0; i < size; i++)
			p[i] = (unsigned char)random();
		break;
	case 1:
		memset(p, 0xff, size);
		break;
	case 2:
		memset(p, 0, size);
		break;
	case 3:
		for (int i = 0; i < 64; i++)
			p[(size_t)random() % size] = (unsigned char)random();
		break;
	}
}

static void
scribble_and_ask(struct client *me, void *arg)
{
	int64_t until = now_ms() + (int64_t)(soak_s() * 500);
	uint64_t tag = 0;
	struct raw r;
	size_t size;
	void *ledger;

	(void)me;
	srandom(*(unsigned int *)arg);
	raw_open(&r, &d, "scribbler");
	ledger = raw_map_ledger(&r, &size);
	for (unsigned int n = 0; now_ms() < until; n++) {
		scribble(ledger, size, n);
		tag++;
		raw_alloc(&r, tag, FRAME_SIZE << (tag % 9), (int32_t)(tag % 3) * 2);
		if (tag % 2 == 0)
			raw_say(&r, PROTO_DONE, tag - 1);
		if (tag % 3 == 0)
			raw_say(&r, PROTO_CANCEL, tag - 1);
		if (tag % 5 == 0)
			raw_say(&r, PROTO_DOORBELL, 0);
		ck_assert(
		    !raw_has_ended(&r)); /* none of this is against the protocol */
	}
	munmap(ledger, size);
	raw_close(&r);
}

START_TEST(a_scribbled_ledger_hurts_its_pool_alone)
{
	struct client c[3];

	for (unsigned int i = 0; i < SIZEOF_ARRAY(c); i++)
		client_run(&c[i], scribble_and_ask, &i);
	while (
	    daemon_figure(&d, "pools.1.pinned") != -1) /* looks into the ledgers, too */
		nap();
	for (unsigned int i = 0; i < SIZEOF_ARRAY(c); i++)
		client_join(&c[i]);
}
END_TEST

static void
punch(struct client *me, void *arg)
{
	struct raw r;

	(void)me;
	(void)arg;
	raw_open(&r, &d, "holes");
	for (uint64_t tag = 1; tag < 100; tag++) {
		size_t size =
		    ledger_size((uint32_t)(r.welcome.memory_size / CHUNK_SIZE));

		fallocate(r.ledger, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		    (off_t)size);
		fallocate(r.memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		    (off_t)r.welcome.memory_size);
		ck_assert_int_eq(ftruncate(r.ledger, 0), -1);
		ck_assert_int_eq(ftruncate(r.memory, 0), -1);
		raw_alloc(&r, tag, CHUNK, (int32_t)(tag % 2));
		ck_assert(!raw_has_ended(&r));
	}
	raw_close(&r);
}

START_TEST(holes_in_memory_and_ledger_hurt_their_pool_alone)
{
	run_hostile(punch, NULL);
}
END_TEST

/* --- bud_free() --- */

static char stranger[8192] __attribute__((aligned(4096)));

static void
free_what_is_not_ours(struct client *me, void *arg)
{
	struct bud_pool *pool = open_pool(&d, "free");
	char *buf = bud_alloc(pool, 16384, 0), *victim = buf;

	must(buf != NULL && dup2(me->out, STDERR_FILENO) != -1);
	switch (*(int *)arg) {
	case 0:
		victim = stranger;
		break;
	case 1:
		bud_free(pool, buf);
		break;
	case 2:
		victim += 4096;
		break;
	case 3:
		victim += 1;
		break;
	}
	client_say(me, "%p", (void *)victim);
	bud_free(pool, victim);
}

START_TEST(a_bad_free_aborts_and_names_the_pointer)
{
	static const char *const why[] = { "not in this pool", "free already",
		"no buffer of this pool starts there", "middle of a buffer" };
	char pointer[64];
	const char *line;
	struct client c;
	int status;

	client_run(&c, free_what_is_not_ours, &_i);
	strlcpy(pointer, client_hear(&c), sizeof(pointer));
	line = client_hear(&c);
	ck_assert_msg(strstr(line, pointer) != NULL && strstr(line, why[_i]) != NULL,
	    "no %s, %s: %s", pointer, why[_i], line);
	status = client_wait_status(&c);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("hostile");
	TCase *t = tcase_create("hostile");

	tcase_set_timeout(t, 60 + soak_s());
	tcase_add_checked_fixture(t, enter, leave);
	tcase_add_test(t, a_wrong_message_costs_the_connection);
	tcase_add_test(t, a_descriptor_that_nobody_asked_for_costs_the_connection);
	tcase_add_test(t, random_bytes_cost_the_connection_at_most);
	tcase_add_test(t, what_is_said_twice_or_of_nothing_is_ignored);
	tcase_add_test(t, one_request_too_many_is_refused);
	tcase_add_test(t, who_connects_and_says_nothing_is_dropped);
	tcase_add_test(t, who_asks_and_never_listens_is_dropped);
	tcase_add_test(t, a_scribbled_ledger_hurts_its_pool_alone);
	tcase_add_test(t, holes_in_memory_and_ledger_hurt_their_pool_alone);
	tcase_add_loop_test(t, a_bad_free_aborts_and_names_the_pointer, 0, 4);
	suite_add_tcase(suite, t);
	return daemon_suite(suite);
}
