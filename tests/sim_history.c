/* SPDX-License-Identifier: ISC */

/*
 * Random histories of pools of several users, groups, weights and policies, at walls that
 * bind. What must hold at any moment is world_check(), asked after every step; that nobody
 * waits in vain is asked at quiet moments; and in the end everybody is served.
 */
#include <stdlib.h>

#include "tests/sim_check.h"

#define POOLS 7u
#define STEPS 1500u

static struct world *const w = &sim_world;
static struct world_pool *pools[POOLS];

static struct world_pool *
open_any(void)
{
	static const struct policy *const policies[] = { NULL, &policy_several,
		&policy_growing };
	uint32_t base = 1 + sim_below(8);
	struct pool_limits limits = sim_limits(base, 1 + sim_below(8),
	    base + sim_below(40), 1 + sim_below(3), 1u << sim_below(3));

	limits.policy = policies[sim_below(3)];
	limits.headroom = sim_below(3) == 0 ? CHUNKS(sim_below(6)) : 0;
	limits.keep_idle = sim_below(10) == 0;
	if (sim_below(3) == 0) {
		limits.group = "shared";
		limits.group_wall = CHUNKS(60);
		limits.wall = limits.wall > CHUNKS(30) ? CHUNKS(30) : limits.wall;
	}
	return world_open_with(w, &limits);
}

static uint64_t
any_size(const struct world_pool *p)
{
	if (sim_below(3) > 0)
		return 1 + sim_below((uint32_t)CHUNK_SIZE);
	return CHUNKS(1 + sim_below(pool_wall_chunks(&p->pool) / 2 + 1));
}

static void
let_go(struct world_pool *p)
{
	if (p->nturns > 0 && sim_below(3) == 0)
		world_fail_turn(w, p);
	else if (sim_below(8) == 0)
		world_give_all(w, p);
	else if (p->nheld > 0)
		world_give(w, p, sim_below(p->nheld));
}

static void
client_step(struct world_pool *p)
{
	static const int32_t timeouts[] = { 0, FOR_EVER, FOR_EVER, 1, 700, 100000 };

	switch (sim_below(10)) {
	case 0:
	case 1:
	case 2:
		(void)world_ask(w, p, any_size(p), 1 + sim_below(8) / 7 * sim_below(5),
		    timeouts[sim_below(6)]);
		break;
	case 3:
		(void)world_take(p, any_size(p));
		break;
	case 4:
		(void)world_take_regardless(p, any_size(p));
		break;
	case 5:
		if (p->nrequests > 0)
			world_cancel(
			    w, p, 1 + (uint64_t)sim_below((uint32_t)p->nrequests));
		break;
	case 6:
		(void)world_answer(w, p);
		break;
	default:
		let_go(p);
	}
}

static void
come_and_go(struct world_pool **pp)
{
	if (*pp != NULL && sim_below(3) == 0) {
		world_drop(w, *pp);
		return;
	}
	if (*pp != NULL)
		world_close(w, *pp);
	*pp = open_any();
}

static void
any_step(void)
{
	struct world_pool **pp = &pools[sim_below(POOLS)];

	if (*pp != NULL && (*pp)->open_error != 0) {
		world_close(w, *pp);
		*pp = NULL;
	}
	if (*pp == NULL || sim_below(250) == 0)
		come_and_go(pp);
	else if (sim_below(4) == 0)
		(void)world_step(w);
	else if (sim_below(40) == 0)
		world_pass_time(w, (int64_t)sim_below(2000) * NS_PER_MS);
	else if (sim_below(300) == 0)
		world_pass_ticks(w, sim_below(200));
	else if (sim_below(200) == 0)
		world_fail_pin(w, 1 + sim_below(3), 12);
	else if (sim_below(100) == 0)
		(void)core_release(
		    &w->core, &(*pp)->pool, (enum release_reason)sim_below(4));
	else
		client_step(*pp);
}

/* Nothing under way. Nobody should have to wait for a tick; some do, too. */
static void
be_quiet(uint32_t ticks)
{
	world_fail_pin(w, 0, 0);
	world_answer_all(w);
	while (ticks-- > 0) {
		world_pass_ticks(w, 1);
		world_answer_all(w);
	}
	world_check(w);
	world_check_quiet(w);
}

static void
live(void)
{
	for (uint32_t i = 0; i < STEPS; i++) {
		any_step();
		world_check(w);
		if (sim_below(30) == 0)
			be_quiet(sim_below(3));
	}
}

/* Each gives back what it has, and gets what it waits for: each request ends. */
static void
wind_up(void)
{
	for (int rounds = 0; rounds < 200; rounds++) {
		for (uint32_t i = 0; i < POOLS; i++)
			if (pools[i] != NULL)
				world_give_all(w, pools[i]);
		world_pass_ticks(w, 2);
		be_quiet(2);
	}
	for (uint32_t i = 0; i < POOLS; i++)
		if (pools[i] != NULL && pools[i]->open_error == 0)
			ck_assert_uint_eq(pools[i]->pool.queue.length, 0);
}

static void
any_params(void)
{
	struct core_params params = w->core.params;

	params.release_ticks = 1 + sim_below(20);
	params.idle_ticks = sim_below(40);
	params.overtaken_max = 1 + sim_below(16);
	if (sim_below(4) > 0)
		params.host_wall = CHUNKS(100 + sim_below(80));
	if (sim_below(3) == 0)
		params.user_wall = CHUNKS(80 + sim_below(20));
	if (sim_below(3) == 0)
		params.user_requests = 10;
	core_set_params(&w->core, &params, w->now);
}

START_TEST(any_history_keeps_what_must_hold_and_serves_everybody_in_the_end)
{
	srandom((unsigned int)_i);
	any_params();
	for (uint32_t i = 0; i < POOLS; i++)
		pools[i] = NULL;
	live();
	wind_up();
}
END_TEST

TCase *
sim_history_tcase(void)
{
	TCase *t = tcase_create("history");

	tcase_set_timeout(t, 60);
	sim_add_histories(t,
	    any_history_keeps_what_must_hold_and_serves_everybody_in_the_end, 200, 30);
	return t;
}
