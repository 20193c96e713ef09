/* SPDX-License-Identifier: ISC */

/* Shares: who gets the next block, when there is not enough for all. */
#include <stdlib.h>

#include "tests/sim_check.h"

#define MAX_POOLS 128u
#define ADD       4u
#define LIVES     16u /* of arbiters, one after the other */

static struct world *const w = &sim_world;
static struct world_pool *pools[MAX_POOLS];
static const struct world_pool *latecomer;

static void
open_pools(uint32_t n, uint32_t wall, uid_t first_uid, bool same_user)
{
	struct pool_limits limits = sim_limits(ADD, ADD, wall, first_uid, 1);

	for (uint32_t i = 0; i < n; i++) {
		pools[i] = sim_pool(&limits);
		limits.uid += !same_user;
	}
}

/* The largest and the smallest of planned / weight, in chunks. */
static uint32_t
spread(uint32_t n)
{
	uint32_t least = UINT32_MAX, most = 0;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t x = pools[i]->pool.planned / pools[i]->pool.limits.weight;

		least = x < least ? x : least;
		most = x > most ? x : most;
	}
	return most - least;
}

static uint64_t
charge_of_user(const struct world_pool *p)
{
	return p->pool.user->charge;
}

/* A buffer goes and another is wanted at once: nobody's block falls empty. */
static void
churn(uint32_t n, uint32_t steps)
{
	while (steps-- > 0) {
		struct world_pool *p = pools[sim_below(n)];

		if (p->nheld > 0)
			world_give(w, p, sim_below(p->nheld));
		world_answer_all(w);
		sim_hungry(pools, n);
	}
}

START_TEST(equal_saturated_clients_that_start_together_have_equal_shares)
{
	uint32_t n = 2 + (uint32_t)_i % 12;

	srandom((unsigned int)_i);
	sim_host_wall(CHUNKS(n * ADD + sim_below(n * 40)));
	sim_host_wall(w->core.params.host_wall + n * 64 * 1024); /* the ledgers */
	open_pools(n, 60, 1, _i % 2 != 0);
	sim_hungry(pools, n);
	ck_assert_uint_le(spread(n), ADD);
	ck_assert(sim_jain(pools, n) >= 0.99 || spread(n) <= ADD);
	churn(n, 100);
	ck_assert_uint_le(spread(n), ADD);
	world_check_quiet(w);
}
END_TEST

START_TEST(what_a_hog_gives_back_is_shared_equally)
{
	uint32_t n = 2 + (uint32_t)_i % 12;
	struct world_pool *hog;

	srandom((unsigned int)_i);
	open_pools(n, 4000, 1, _i % 2 != 0);
	hog = sim_hog(ADD, 60 + sim_below(60));
	sim_host_wall(w->core.committed + sim_below((uint32_t)CHUNKS(ADD)));
	sim_feed(hog, pools, n);
	ck_assert_uint_le(spread(n), ADD);
	if (n < 8)
		ck_assert(sim_jain(pools, n) >= 0.99);
	world_check_quiet(w);
}
END_TEST

static void
open_by_weight(bool same_user)
{
	for (uint32_t i = 0; i < 3; i++) {
		struct pool_limits limits =
		    sim_limits(ADD, ADD, 4000, same_user ? 1 : 1 + i, 1u << i);

		pools[i] = sim_pool(&limits);
	}
}

/*
 * Nobody has more, for its weight, than another would have with one block more: the rule's
 * own promise. From it follows that a pool of weight w is less than a block below its share
 * and at most (n - 1) w / sum of weights blocks above it; for 1:2:4 that is 8/7 of a block.
 */
static void
check_shares_by_weight(uint32_t n)
{
	double slack = 4 * FRAME_SIZE; /* ledgers grow by pages */

	for (uint32_t i = 0; i < n; i++) {
		const struct pool *a = &pools[i]->pool;

		for (uint32_t j = 0; j < n; j++) {
			const struct pool *b = &pools[j]->pool;

			ck_assert((double)a->charged / a->limits.weight <=
				  ((double)b->charged + CHUNKS(ADD) + slack) /
				      b->limits.weight);
		}
	}
}

static void
check_within_a_block(uint32_t n)
{
	double total = 0, weights = 0, block = CHUNKS(ADD) + 4 * FRAME_SIZE, off;

	for (uint32_t i = 0; i < n; i++) {
		total += (double)pools[i]->pool.charged;
		weights += pools[i]->pool.limits.weight;
	}
	for (uint32_t i = 0; i < n; i++) {
		double weight = pools[i]->pool.limits.weight;

		off = (double)pools[i]->pool.charged - total * weight / weights;
		ck_assert(off <= block * (n - 1) * weight / weights + FRAME_SIZE);
		ck_assert(-off < block);
	}
}

START_TEST(shares_are_by_weight_within_one_block)
{
	struct world_pool *hog;

	srandom((unsigned int)_i);
	open_by_weight(_i % 2 != 0);
	hog = sim_hog(ADD, 40 + sim_below(100));
	sim_host_wall(w->core.committed);
	sim_feed(hog, pools, 3);
	check_shares_by_weight(3);
	check_within_a_block(3);
	ck_assert(sim_jain(pools, 3) >= 0.98);
}
END_TEST

START_TEST(a_user_with_a_hundred_pools_has_one_users_share)
{
	struct pool_limits limits = sim_limits(1, ADD, 64, 1, 1);
	struct world_pool *hog;
	int64_t off;

	for (uint32_t i = 0; i < 100; i++)
		pools[i] = sim_pool(&limits);
	limits = sim_limits(1, ADD, 4000, 2, 1);
	pools[100] = sim_pool(&limits);
	hog = sim_hog(ADD, 150);
	sim_host_wall(w->core.committed);
	sim_feed(hog, pools, 101);
	off = (int64_t)charge_of_user(pools[0]) - (int64_t)charge_of_user(pools[100]);
	ck_assert_int_le(llabs(off), (int64_t)CHUNKS(ADD) + (int64_t)CHUNK_SIZE);
}
END_TEST

static void
only_those_below_the_latecomer_grow(
    void *watcher, struct world_pool *p, enum core_news news)
{
	(void)watcher;
	if (news == CORE_GROWN && p != latecomer && latecomer->pool.place.starved)
		ck_assert_uint_le(p->pool.charged,
		    latecomer->pool.charged + CHUNKS(ADD) + 2 * FRAME_SIZE);
}

/* Each in turn wants less for a while; and wants it back when its block is on its way. */
static void
relent(struct world_pool *p)
{
	if (p->pool.queue.length > 0)
		world_cancel(w, p, p->nrequests);
	if (pool_blocks(&p->pool) < 2)
		return;
	sim_give_last_block(p);
	world_pass_time(w, w->core.params.tick_ns);
	for (uint32_t i = 0; i < ADD; i++)
		(void)world_ask(w, p, CHUNK_SIZE, 1, FOR_EVER);
	world_answer_all(w);
}

START_TEST(a_latecomer_gets_the_next_block_before_those_above_it)
{
	static const struct world_watch watch = {
		.told = only_those_below_the_latecomer_grow
	};
	uint32_t n = 3 + (uint32_t)_i % 8;

	srandom((unsigned int)_i);
	open_pools(n, 400, 1, _i % 2 != 0);
	latecomer = pools[n - 1];
	sim_host_wall(w->core.committed + (n - 1) * (CHUNKS(ADD) + FRAME_SIZE) * 8);
	sim_hungry(pools, n - 1);
	ck_assert_uint_eq(latecomer->pool.planned, ADD);
	sim_hungry(pools, n);
	w->watch = &watch;
	for (uint32_t i = 0; i < 40 * n; i++) {
		relent(pools[sim_below(n - 1)]);
		sim_hungry(pools, n);
	}
	ck_assert_uint_le(spread(n), 2 * ADD);
	w->watch = NULL;
}
END_TEST

/* One wants a large block within its share; small ones of others would always fit first. */
struct contest {
	struct world_pool *large;
	struct world_pool *hog;
	struct world_pool *small;
	uint64_t tag; /* of the large request */
};

static void
contest_begin(struct contest *x, bool same_user)
{
	struct pool_limits limits = sim_limits(1, 16, 100, 1, 1);

	x->large = sim_pool(&limits);
	x->hog = sim_hog(2, 40);
	limits = sim_limits(1, 2, 100, same_user ? 1 : 2, 1);
	x->small = sim_pool(&limits);
	sim_fill(x->small);
	sim_host_wall(w->core.committed);
	w->core.params.release_ticks = 1; /* the hog gives to those above it, too */
	x->tag = world_ask(w, x->large, CHUNKS(16), 1, FOR_EVER);
}

/* The hog gives, the small one takes. */
static void
contest_round(struct contest *x)
{
	struct world *in = x->large->world;

	while (x->small->pool.queue.length < 4)
		(void)world_ask(in, x->small, CHUNK_SIZE, 1, FOR_EVER);
	if (pool_blocks(&x->hog->pool) > 1)
		sim_give_last_block(x->hog);
	world_pass_ticks(in, 1);
	world_answer_all(in);
	world_check(in);
}

START_TEST(a_large_request_within_the_share_is_overtaken_a_bounded_number_of_times)
{
	struct contest x;

	contest_begin(&x, _i != 0);
	for (uint32_t i = 0; i < 40; i++)
		contest_round(&x);
	ck_assert_int_eq(world_request(x.large, x.tag)->state, WORLD_USED);
	ck_assert_uint_gt(pool_blocks(&x.small->pool), 8); /* nor did it just wait */
}
END_TEST

/* The small one's client may be the first to have noticed. */
static void
contest_inherit(struct contest *x, struct world *heir, bool small_is_first)
{
	const struct world *dead = x->large->world;

	world_init(heir, WORLD_HOST_WALL);
	heir->now = dead->now;
	heir->core.params = dead->core.params;
	x->large = world_adopt(heir, x->large, false);
	x->hog = world_adopt(heir, x->hog, false);
	x->small = world_adopt(heir, x->small, false);
	core_resumed(&heir->core, &x->hog->pool, heir->now);
	core_resumed(&heir->core, &x->small->pool, heir->now);
	if (small_is_first)
		contest_round(x);
	x->tag = world_ask(heir, x->large, CHUNKS(16), 1, FOR_EVER);
	core_resumed(&heir->core, &x->large->pool, heir->now);
}

/* Else arbiters that die often enough would never let it come up. */
START_TEST(how_often_a_request_was_overtaken_outlives_arbiters)
{
	static struct world lives[LIVES];
	uint32_t most = w->core.params.overtaken_max, was = 0, i = 0;
	struct contest x;

	contest_begin(&x, _i % 2 != 0);
	while (x.large->pool.place.starved) {
		ck_assert_uint_lt(i, LIVES);
		contest_inherit(&x, &lives[i++], _i / 2 != 0);
		ck_assert_uint_ge(x.large->pool.overtaken, was);
		for (int n = 0; n < 3 && x.large->pool.place.starved; n++) {
			was = x.large->pool.overtaken;
			ck_assert_uint_le(was, most);
			contest_round(&x);
		}
	}
	ck_assert_uint_eq(was, most);
	ck_assert_uint_gt(i, most / 4);
	while (i-- > 0)
		world_fini(&lives[i]);
}
END_TEST

/* Two wait, each for what the other's empty block would give. */
START_TEST(two_that_wait_do_not_sit_on_empty_blocks_that_either_could_use)
{
	struct pool_limits limits = sim_limits(4, 4, 100, 1, 1);
	uint64_t tag[2];

	for (uint32_t i = 0; i < 2; i++) {
		pools[i] = sim_pool(&limits);
		limits.uid++;
		sim_fill(pools[i]);
		(void)world_ask(w, pools[i], CHUNK_SIZE, 1, 0);
		world_answer_all(w);
		world_give(w, pools[i], pools[i]->nheld - 1); /* a free block each */
	}
	sim_host_wall(w->core.committed);
	for (uint32_t i = 0; i < 2; i++)
		tag[i] = world_ask(w, pools[i], CHUNKS(8), 1, FOR_EVER);
	world_pass_ticks(w, w->core.params.release_ticks + 2);
	world_answer_all(w);
	ck_assert((world_request(pools[0], tag[0])->state == WORLD_USED) !=
		  (world_request(pools[1], tag[1])->state == WORLD_USED));
}
END_TEST

TCase *
sim_fair_tcase(void)
{
	TCase *t = tcase_create("fair");

	tcase_set_timeout(t, 60);
	sim_add_histories(
	    t, equal_saturated_clients_that_start_together_have_equal_shares, 36, 50);
	sim_add_histories(t, what_a_hog_gives_back_is_shared_equally, 24, 20);
	sim_add_histories(t, shares_are_by_weight_within_one_block, 20, 20);
	tcase_add_test(t, a_user_with_a_hundred_pools_has_one_users_share);
	sim_add_histories(
	    t, a_latecomer_gets_the_next_block_before_those_above_it, 24, 20);
	tcase_add_loop_test(t,
	    a_large_request_within_the_share_is_overtaken_a_bounded_number_of_times, 0,
	    2);
	tcase_add_loop_test(
	    t, how_often_a_request_was_overtaken_outlives_arbiters, 0, 4);
	tcase_add_test(
	    t, two_that_wait_do_not_sit_on_empty_blocks_that_either_could_use);
	return t;
}
