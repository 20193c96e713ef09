/* SPDX-License-Identifier: ISC */

/*
 * Shares of a host's wall that is too small, between real processes of different users and
 * weights; and that nobody is held up by one who asks for much. What the shares are is read
 * from the status, as an operator would. How long others wait is measured by bench/delay.
 */
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bud.h"
#include "tests/client_process.h"
#include "tests/daemon.h"
#include "tests/raw.h"

#define CHUNK      (256 * KIB)
#define FIRST_USER 20001
#define CLIENTS    20
#define MEMLOCK    (64 * KIB)
#define FILL_MS    30 /* that a client waits for one more buffer */
#define SETTLE_MS  500
#define MEASURE_MS 1500
#define SAMPLE_MS  5
#define TRIES      20 /* the machine may be busy, but not each time */

#define SECTION(name, weight)               \
	"[pool " name "]\nweight = " weight \
	"\nbase = 256K\nadd = 256K\nwall = 64M\nwall_max = 64M\n"
#define SECTIONS SECTION("one", "1") SECTION("two", "2") SECTION("four", "4")
#define QUICK    "tick = 5ms\nrelease_period = 50ms\nidle = 10ms\n"

static struct daemon d;
static struct daemon_snapshot before;

static void
enter(const char *config)
{
	daemon_start(&d, config);
	daemon_snapshot(&d, &before);
}

static void
leave(void)
{
	daemon_expect_same(&d, &before);
	daemon_stop(&d);
}

/* --- Saturation --- */

#define BUFS 256 /* its wall */

/* Wants more than there is, all the time: takes what it gets, waits for more, and gives all
 * back, so that its share can become another's. */
static void
want_everything(struct client *me, void *arg)
{
	struct bud_pool *pool = open_pool(&d, arg);
	void *bufs[BUFS];
	unsigned int n;

	client_say(me, "open");
	client_wait(me, "go");
	while (!client_heard(me)) {
		for (n = 0; n < BUFS; n++)
			if ((bufs[n] = bud_alloc(pool, CHUNK, FILL_MS)) == NULL)
				break;
		while (n > 0)
			bud_free(pool, bufs[--n]);
		nap();
	}
	bud_close(pool);
}

/* --- What the status says of it --- */

struct share {
	unsigned int weight;
	double
	    charge; /* bytes, on average; what is shared is what they cost, ledgers included */
};

struct shares {
	unsigned int n;
	struct share of[CLIENTS];
};

static int
by_weight(const void *a, const void *b)
{
	const struct share *x = a, *y = b;

	return (x->weight > y->weight) - (x->weight < y->weight);
}

static double
number(const cJSON *o, const char *key)
{
	return cJSON_GetNumberValue(cJSON_GetObjectItem(o, key));
}

/* @array: of the status; pools or users. They come in the same order each time. */
static void
add_sample(struct shares *s, const char *array)
{
	cJSON *status = daemon_status(&d), *item;
	unsigned int i = 0;

	cJSON_ArrayForEach (item, cJSON_GetObjectItem(status, array)) {
		ck_assert_uint_lt(i, CLIENTS);
		s->of[i].weight = (unsigned int)number(item, "weight");
		s->of[i++].charge += number(item, "charge");
	}
	s->n = i;
	cJSON_Delete(status);
}

static struct shares
measure(const char *array)
{
	struct shares s = { 0 };
	int64_t until = now_ms() + MEASURE_MS;
	unsigned int samples = 0;

	for (; now_ms() < until; samples++) {
		add_sample(&s, array);
		usleep(SAMPLE_MS * 1000);
	}
	for (unsigned int i = 0; i < s.n; i++)
		s.of[i].charge /= samples;
	return s;
}

/* Of what they have, over weight: 1 when all are equal. */
static double
jain(const struct shares *s)
{
	double sum = 0, squares = 0;

	for (unsigned int i = 0; i < s->n; i++) {
		double x = s->of[i].charge / s->of[i].weight;

		sum += x;
		squares += x * x;
	}
	return sum * sum / (s->n * squares);
}

static void
print_shares(struct shares *s)
{
	qsort(s->of, s->n, sizeof(s->of[0]), by_weight);
	printf("shares in blocks (weight):");
	for (unsigned int i = 0; i < s->n; i++)
		printf(" %.2f (%u)", s->of[i].charge / CHUNK, s->of[i].weight);
	printf("; Jain %.4f\n", jain(s));
	fflush(stdout);
}

/* Each within one block of its part of what all have. */
static bool
weighted(const struct shares *s)
{
	double all = 0, weights = 0, part;

	for (unsigned int i = 0; i < s->n; i++) {
		all += s->of[i].charge;
		weights += s->of[i].weight;
	}
	for (unsigned int i = 0; i < s->n; i++) {
		part = all / weights * s->of[i].weight;
		if (fabs(part - s->of[i].charge) > CHUNK + 1)
			return false;
	}
	return jain(s) >= 0.99;
}

/* Shares are by weight while all want everything; who gets no processor wants nothing. */
static void
expect_weighted(const char *array, unsigned int n)
{
	int64_t until = now_ms() + SETTLE_MS;
	struct shares s;

	while (now_ms() < until)
		nap();
	for (int i = 0; i < TRIES; i++) {
		s = measure(array);
		ck_assert_uint_eq(s.n, n);
		print_shares(&s);
		if (weighted(&s))
			return;
	}
	ck_abort_msg("not by weight, %d times", TRIES);
}

static void
run_all(struct client *c, unsigned int n, uid_t (*user)(unsigned int),
    const char *(*section)(unsigned int))
{
	for (unsigned int i = 0; i < n; i++) {
		client_run_as(&c[i], user(i), MEMLOCK, want_everything,
		    (void *)(uintptr_t)section(i));
		client_wait(&c[i], "open");
	}
	for (unsigned int i = 0; i < n; i++)
		client_say(&c[i], "go");
}

static void
end_all(struct client *c, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		client_say(&c[i], "enough");
	for (unsigned int i = 0; i < n; i++)
		client_join(&c[i]);
}

/* --- Twenty users --- */

static uid_t
each_its_own(unsigned int i)
{
	return FIRST_USER + i;
}

static const char *
one_two_four(unsigned int i)
{
	static const char *const names[] = { "one", "two", "four" };

	return names[i % 3];
}

/* Of weights 1, 2 and 4 there are 7, 7 and 6: 45 together, for 360 blocks and what their
 * ledgers need. */
START_TEST(twenty_users_share_by_weight)
{
	struct client c[CLIENTS];

	enter("[host]\nwall = 92M\n" QUICK SECTIONS);
	run_all(c, CLIENTS, each_its_own, one_two_four);
	expect_weighted("pools", CLIENTS);
	end_all(c, CLIENTS);
	leave();
}
END_TEST

/* --- One user with many pools --- */

static uid_t
half_are_ones(unsigned int i)
{
	return FIRST_USER + (i < CLIENTS / 2 ? 0 : i);
}

static const char *
all_alike(unsigned int i)
{
	(void)i;
	return "one";
}

START_TEST(a_user_with_ten_pools_has_one_users_share)
{
	struct client c[CLIENTS];

	enter("[host]\nwall = 66M\n" QUICK SECTIONS);
	run_all(c, CLIENTS, half_are_ones, all_alike);
	expect_weighted("users", 1 + CLIENTS / 2);
	end_all(c, CLIENTS);
	leave();
}
END_TEST

/* --- Those who ask for much --- */

#define FLOOD 100000
#define LARGE (64 * MIB) /* the wall of a section */

/* Room for one pool of a whole wall, its ledger and no more. */
static void
enter_tight(void)
{
	char config[512];

	snprintf(config, sizeof(config), "[host]\nwall = %lu\n" QUICK SECTIONS,
	    (unsigned long)pool_locked(LARGE, LARGE) + 64 * KIB);
	enter(config);
}

/* More than a pool may have waiting: most are refused, and it reads what budd says. */
static void
flood(struct client *me, void *arg)
{
	union proto_msg msg;
	struct raw r;

	(void)arg;
	raw_open(&r, &d, "one");
	for (unsigned int i = 0; i < FLOOD; i++) {
		while (!raw_alloc(&r, i + 1, 64 * MIB, -1))
			sched_yield();
		while (recv(r.sock, &msg, sizeof(msg), MSG_DONTWAIT) > 0)
			;
		if (i == PROTO_REQUESTS_MAX)
			client_say(me, "flooding");
	}
	client_say(me, "over");
	raw_close(&r);
}

/* It is not to be seen by the clock, on any machine, how fair that is; but somebody who had
 * to wait for the whole flood would be served once at most. */
START_TEST(who_asks_for_little_is_served_all_along_a_flood)
{
	struct client c;
	unsigned int served = 0;
	struct bud_config tight = {
		.size = sizeof(tight), .socket = d.socket, .pool = "one"
	};
	struct bud_pool *pool;
	void *buf;

	enter("[host]\n" QUICK SECTIONS);
	tight.wall = CHUNK;
	client_run(&c, flood, NULL);
	client_wait(&c, "flooding");
	while (!client_heard(&c)) {
		ck_assert_int_eq(bud_open(&pool, &tight), 0);
		ck_assert_ptr_nonnull(buf = bud_alloc(pool, CHUNK, PATIENCE_MS));
		bud_free(pool, buf);
		bud_close(pool);
		served++;
	}
	client_join(&c);
	printf("served %u times along a flood of %u\n", served, FLOOD);
	ck_assert_uint_ge(served, 10);
	leave();
}
END_TEST

/* The end of a large pool is done in slices; whoever comes meanwhile need not know. */
START_TEST(what_a_large_pool_had_is_there_for_others_at_once)
{
	struct bud_pool *pool;

	enter_tight();
	for (unsigned int i = 0; i < 5; i++) {
		pool = open_pool(&d, "one");
		ck_assert_ptr_nonnull(bud_alloc(pool, LARGE - CHUNK, 0));
		bud_close(pool);
	}
	leave();
}
END_TEST

START_TEST(a_large_pool_that_dies_is_there_for_others_at_once)
{
	struct bud_pool *pool;
	struct client c;

	enter_tight();
	client_run_as(
	    &c, FIRST_USER, MEMLOCK, want_everything, (void *)(uintptr_t) "one");
	client_wait(&c, "open");
	client_say(&c, "go");
	eventually(daemon_figure(&d, "host.pinned") > 62.0 * MIB);
	client_kill(&c);
	eventually(daemon_figure(&d, "host.clients") == 0);
	pool = open_pool(&d, "one");
	ck_assert_ptr_nonnull(bud_alloc(pool, LARGE - CHUNK, 0));
	bud_close(pool);
	leave();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("fair");
	TCase *t = tcase_create("fair");

	tcase_set_timeout(t, 60);
	if (need_root()) {
		tcase_add_test(t, twenty_users_share_by_weight);
		tcase_add_test(t, a_user_with_ten_pools_has_one_users_share);
		tcase_add_test(t, a_large_pool_that_dies_is_there_for_others_at_once);
	}
	tcase_add_test(t, who_asks_for_little_is_served_all_along_a_flood);
	tcase_add_test(t, what_a_large_pool_had_is_there_for_others_at_once);
	suite_add_tcase(suite, t);
	return daemon_suite(suite);
}
