/* SPDX-License-Identifier: ISC */

/*
 * What must hold between clients: fairness, shared walls, pressure; and random histories,
 * whose seed is the number of the loop. BUD_SOAK=seconds, above 2, makes more of them,
 * BUD_SEED=n that one alone.
 */
#include <stdlib.h>

#include "tests/sim_check.h"

#define SHORT_SOAK 2 /* seconds; what scripts/test asks of every suite by default */

struct world sim_world;
static struct world *const w = &sim_world;

static int
number_from(const char *name, int otherwise)
{
	const char *text = getenv(name);

	return text != NULL && *text != '\0' ? atoi(text) : otherwise;
}

void
sim_add_histories(TCase *t, const TTest *test, int few, int a_second)
{
	int seed = number_from("BUD_SEED", -1), soak = number_from("BUD_SOAK", 0);
	int n = few + (soak > SHORT_SOAK ? soak * a_second : 0);

	tcase_add_loop_test(t, test, seed < 0 ? 0 : seed, seed < 0 ? n : seed + 1);
}

void
sim_host_wall(uint64_t bytes)
{
	struct core_params params = w->core.params;

	params.host_wall = bytes;
	core_set_params(&w->core, &params, w->now);
}

struct world_pool *
sim_pool(const struct pool_limits *limits)
{
	struct world_pool *p = world_open_with(w, limits);

	ck_assert_ptr_nonnull(p);
	ck_assert(p->opened);
	return p;
}

struct pool_limits
sim_limits(uint32_t base, uint32_t add, uint32_t wall, uid_t uid, uint32_t weight)
{
	struct pool_limits limits = world_limits(base, add, wall);

	limits.uid = uid;
	limits.weight = weight;
	return limits;
}

uint32_t
sim_below(uint32_t n)
{
	return (uint32_t)random() % n;
}

void
sim_fill(struct world_pool *p)
{
	while (world_take(p, CHUNK_SIZE))
		;
}

struct world_pool *
sim_hog(uint32_t add, uint32_t blocks)
{
	struct pool_limits limits = sim_limits(1, add, 1 + add * blocks, 999, 1);
	struct world_pool *hog = sim_pool(&limits);

	sim_fill(hog);
	for (uint32_t i = 0; i < add * blocks; i++) {
		(void)world_ask(w, hog, CHUNK_SIZE, 1, 0);
		world_answer_all(w);
	}
	ck_assert_uint_eq(hog->nheld, 1 + add * blocks);
	return hog;
}

void
sim_give_last_block(struct world_pool *p)
{
	uint32_t blocks = pool_blocks(&p->pool);
	struct chunk_range last = pool_block(&p->pool, blocks - 1);

	for (uint32_t i = p->nheld; i-- > 0;)
		if (p->held[i] / CHUNK_FRAMES >= last.from)
			world_give(p->world, p, i);
}

void
sim_hungry(struct world_pool *const *pools, uint32_t n)
{
	bool fed = true;

	while (fed) {
		fed = false;
		for (uint32_t i = 0; i < n; i++) {
			if (pools[i]->pool.queue.length > 0)
				continue;
			(void)world_ask(w, pools[i], CHUNK_SIZE, 1, FOR_EVER);
			fed = true;
		}
		world_answer_all(w);
		world_check(w);
	}
}

void
sim_feed(struct world_pool *hog, struct world_pool *const *pools, uint32_t n)
{
	sim_hungry(pools, n);
	while (pool_blocks(&hog->pool) > 1) {
		sim_give_last_block(hog);
		world_pass_ticks(w, 1);
		world_answer_all(w);
		sim_hungry(pools, n);
	}
}

double
sim_jain(struct world_pool *const *pools, uint32_t n)
{
	double sum = 0, squares = 0, x;

	for (uint32_t i = 0; i < n; i++) {
		x = (double)pools[i]->pool.planned / pools[i]->pool.limits.weight;
		sum += x;
		squares += x * x;
	}
	return sum * sum / (n * squares);
}

static void
setup(void)
{
	world_init(w, WORLD_HOST_WALL);
}

/* When everybody has left, nothing is pinned, and nobody is remembered. */
static void
teardown(void)
{
	world_check(w);
	while (!TAILQ_EMPTY(&w->pools))
		world_close(w, TAILQ_FIRST(&w->pools));
	ck_assert_uint_eq(w->core.committed, 0);
	ck_assert_uint_eq(w->core.starved, 0);
	ck_assert_uint_eq(w->core.pins_out, 0);
	ck_assert(LIST_EMPTY(&w->core.users));
	ck_assert(LIST_EMPTY(&w->core.groups));
	ck_assert(RB_EMPTY(&w->core.deadlines));
	world_fini(w);
}

int
main(void)
{
	Suite *s = suite_create("sim");
	TCase *const cases[] = { sim_fair_tcase(), sim_walls_tcase(),
		sim_method_tcase(), sim_caches_tcase(), sim_history_tcase() };
	SRunner *runner;
	int failed;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		tcase_add_checked_fixture(cases[i], setup, teardown);
		suite_add_tcase(s, cases[i]);
	}
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
