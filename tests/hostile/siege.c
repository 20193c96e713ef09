/* SPDX-License-Identifier: ISC */

/* A live budd that is attacked. */
#include "tests/hostile/siege.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TOGETHER_MAX 16

struct siege siege;

/* --- The innocents --- */

/* What an innocent tells of itself. */
struct work {
	uint64_t rounds;
	int64_t worst_ms; /* of a round */
};

static void
fill_and_empty(struct bud_pool *pool, uint64_t seed)
{
	void *bufs[WALL / CHUNK];

	for (size_t i = 0; i < SIZEOF_ARRAY(bufs); i++) {
		bufs[i] = bud_alloc(pool, CHUNK, PATIENCE_MS);
		must(bufs[i] != NULL);
		paint(bufs[i], CHUNK, seed + i);
	}
	must(bud_alloc(pool, 4096, 1) == NULL && errno == ETIMEDOUT);
	for (size_t i = 0; i < SIZEOF_ARRAY(bufs); i++) {
		must(painted(bufs[i], CHUNK, seed + i));
		bud_free(pool, bufs[i]);
	}
}

static void
come_and_go(uint64_t seed)
{
	struct bud_pool *pool = open_pool(&siege.d, "newcomer");
	void *buf = bud_alloc(pool, 2 * CHUNK, PATIENCE_MS);

	must(buf != NULL);
	paint(buf, 2 * CHUNK, seed);
	nap();
	must(painted(buf, 2 * CHUNK, seed));
	bud_free(pool, buf);
	bud_close(pool);
}

static void
count_round(struct work *w, int64_t since)
{
	int64_t took = now_ms() - since;

	w->rounds++;
	w->worst_ms = took > w->worst_ms ? took : w->worst_ms;
}

/* False: it is to end. */
static bool
answer_test(struct client *me, const struct work *w)
{
	if (!client_heard(me))
		return true;
	client_say(me, "%" PRIu64 " %" PRId64, w->rounds, w->worst_ms);
	return strcmp(client_hear(me), "end") != 0;
}

static void
work(struct client *me, void *arg)
{
	struct bud_pool *pool = open_pool(&siege.d, "worker");
	struct work w = { 0 };

	(void)arg;
	do {
		int64_t since = now_ms();

		fill_and_empty(pool, w.rounds);
		count_round(&w, since);
		nap();
	} while (answer_test(me, &w));
	bud_close(pool);
}

static void
visit(struct client *me, void *arg)
{
	struct work w = { 0 };

	(void)arg;
	do {
		int64_t since = now_ms();

		come_and_go(w.rounds);
		count_round(&w, since);
		nap();
	} while (answer_test(me, &w));
}

static struct work
ask(struct client *c, const char *line)
{
	struct work w;

	client_say(c, "%s", line);
	ck_assert_int_eq(
	    sscanf(client_hear(c), "%" SCNu64 " %" SCNd64, &w.rounds, &w.worst_ms), 2);
	return w;
}

static void
wait_for_round(struct client *c)
{
	uint64_t rounds = ask(c, "report").rounds;

	eventually(ask(c, "report").rounds > rounds);
}

void
siege_served(void)
{
	wait_for_round(&siege.worker);
	if (!siege.full)
		wait_for_round(&siege.newcomer);
}

int64_t
siege_worst_ms(void)
{
	return ask(&siege.worker, "report").worst_ms;
}

unsigned int
siege_pools(const char *name)
{
	cJSON *json = daemon_status(&siege.d);
	const cJSON *pool;
	unsigned int n = 0;

	cJSON_ArrayForEach (pool, cJSON_GetObjectItem(json, "pools"))
		n += strcmp(cJSON_GetStringValue(cJSON_GetObjectItem(pool, "name")),
			 name) == 0;
	cJSON_Delete(json);
	return n;
}

static void
dismiss(struct client *c, const char *name)
{
	struct work w = ask(c, "end");

	printf("innocent %s: %" PRIu64 " rounds, the longest %" PRId64 " ms\n", name,
	    w.rounds, w.worst_ms);
	client_join(c);
}

/* --- The siege --- */

void
siege_begin(const char *config)
{
	daemon_start(&siege.d, config);
	siege.arbiter = daemon_arbiter(&siege.d);
	daemon_snapshot(&siege.d, &siege.before);
	client_run(&siege.worker, work, NULL);
	if (!siege.full)
		client_run(&siege.newcomer, visit, NULL);
	siege_served();
}

void
siege_end(void)
{
	siege_served();
	ck_assert_int_eq(daemon_arbiter(&siege.d), siege.arbiter);
	dismiss(&siege.worker, "worker");
	if (!siege.full)
		dismiss(&siege.newcomer, "newcomer");
	daemon_expect_same(&siege.d, &siege.before);
	daemon_stop(&siege.d);
}

/* --- Attackers --- */

void
attack_begin(struct client *c, client_fn *fn, void *arg)
{
	client_run_as(c, geteuid() == 0 ? NOBODY : 0, 0, fn, arg);
}

void
attack(client_fn *fn, void *arg)
{
	struct client c;

	attack_begin(&c, fn, arg);
	client_join(&c);
}

void
attack_together(unsigned int n, client_fn *fn)
{
	struct client c[TOGETHER_MAX];

	ck_assert_uint_le(n, TOGETHER_MAX);
	for (unsigned int i = 0; i < n; i++)
		attack_begin(&c[i], fn, &i);
	for (unsigned int i = 0; i < n; i++)
		client_join(&c[i]);
}
