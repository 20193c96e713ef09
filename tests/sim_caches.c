/* SPDX-License-Identifier: ISC */

/*
 * What thread caches cost the release of blocks. One and the same history of several threads,
 * whose demand comes in waves, is played twice, with caches and without, and what was pinned is
 * compared, tick by tick.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/caches.h"
#include "proto/cache.h"
#include "tests/sim_check.h"

#define THREADS 8u
#define HELD    96u /* buffers of a thread, at the most */
#define ORDERS  5u  /* 4 KiB to 64 KiB */
#define ADD     4u  /* chunks */
#define WALL    96u
#define TICKS   14400u /* two hours */
#define WAVE    400u   /* ticks for which a thread wants what it wants, on average */

static struct world *const w = &sim_world;

struct thread {
	uint32_t n, target;
	bool works; /* else it sleeps, with what it has */
	uint32_t frame[HELD], from[BUD_INLINE_ORDERS], hunger[BUD_INLINE_ORDERS];
	unsigned int order[HELD];
};

struct play {
	struct world_pool *p;
	struct ledger *l;
	bool caching;
	struct thread thread[THREADS];
	uint64_t pinned; /* chunks x ticks */
	uint32_t grown, released;
};

static struct bud_inline_cache *
cache_of(struct play *g, const struct thread *t)
{
	return ledger_cache(g->l, t - g->thread);
}

static void
empty(struct play *g, struct thread *t)
{
	uint32_t bad;

	cache_claim(cache_of(g, t));
	cache_clear_tick(cache_of(g, t));
	ck_assert_int_eq(cache_empty(g->l, cache_of(g, t), &bad), 0);
	cache_leave(cache_of(g, t));
	memset(t->from, 0, sizeof(t->from));
	memset(t->hunger, 0, sizeof(t->hunger));
}

/* As client/cache.c: whoever is told to stop empties its cache first. */
static struct bud_inline_stack *
stack_of(struct play *g, struct thread *t, unsigned int order)
{
	struct bud_inline_cache *c = cache_of(g, t);

	if (c->stop != 0)
		empty(g, t);
	return &c->stack[order];
}

static bool
take_cached(struct play *g, struct thread *t, unsigned int order, uint32_t *framep)
{
	struct bud_inline_stack *s = stack_of(g, t, order);

	if (s->count == 0 && s->capacity > 0) {
		cache_claim(cache_of(g, t));
		if (cache_refill(g->l, cache_of(g, t), order, 1u << t->hunger[order],
			&t->from[order]) > 0 &&
		    t->hunger[order] < 6)
			t->hunger[order]++;
		cache_leave(cache_of(g, t));
	}
	if (s->count == 0)
		return false;
	*framep = s->frame[--s->count];
	return true;
}

static void
take(struct play *g, struct thread *t)
{
	unsigned int order = sim_below(ORDERS);
	uint32_t frame;
	uint64_t tag;

	if (!g->caching || !take_cached(g, t, order, &frame)) {
		if (g->caching)
			empty(g, t);
		tag = world_ask(w, g->p, FRAME_SIZE << order, 1, FOR_EVER);
		world_answer_all(w);
		ck_assert_int_eq(world_request(g->p, tag)->state, WORLD_USED);
		frame = g->p->held[--g->p->nheld];
	}
	t->frame[t->n] = frame;
	t->order[t->n++] = order;
}

static void
give(struct play *g, struct thread *t)
{
	uint32_t i = sim_below(t->n), frame = t->frame[i], bad;
	unsigned int order = t->order[i];
	struct bud_inline_stack *s;

	t->frame[i] = t->frame[--t->n];
	t->order[i] = t->order[t->n];
	if (!g->caching || !ledger_is_of_tick(g->l, frame, order, w->core.tick)) {
		ck_assert_int_eq(ledger_give(g->l, frame), 0);
		return;
	}
	s = stack_of(g, t, order);
	if (s->count >= s->capacity) {
		cache_claim(cache_of(g, t));
		ck_assert_int_eq(
		    cache_flush(g->l, cache_of(g, t), order, s->capacity / 2, &bad), 0);
		cache_leave(cache_of(g, t));
		t->from[order] = 0;
	}
	s->frame[s->count++] = frame;
}

/* The same random numbers with and without caches: nothing here depends on these. */
static void
thread_tick(struct play *g, struct thread *t)
{
	if (sim_below(WAVE) == 0) {
		t->target = sim_below(3) == 0 ? HELD - 2 : sim_below(12);
		t->works = sim_below(4) != 0;
	}
	for (uint32_t i = 0; i < 3; i++) {
		uint32_t way = sim_below(100);

		if (!t->works && t->n <= t->target)
			continue;
		if (t->n == 0 || (t->n < HELD && way < (t->n < t->target ? 80u : 20u)))
			take(g, t);
		else
			give(g, t);
	}
}

static double
play(bool caching, unsigned int seed, uint32_t *releasedp)
{
	struct pool_limits limits = world_limits(ADD, ADD, WALL);
	static struct play g;

	g = (struct play){ .p = sim_pool(&limits), .caching = caching };
	g.l = &g.p->pool.ledger;
	atomic_store(&g.l->header->caches_used, THREADS);
	for (uint32_t i = 0; i < THREADS; i++)
		cache_setup(ledger_cache(g.l, i), limits.wall);
	srandom(seed);
	for (uint32_t tick = 0; tick < TICKS; tick++) {
		for (uint32_t i = 0; i < THREADS; i++)
			thread_tick(&g, &g.thread[i]);
		world_pass_ticks(w, 1);
		g.pinned += g.p->pool.planned;
	}
	*releasedp = (uint32_t)g.p->told[CORE_RELEASED];
	for (uint32_t i = 0; i < THREADS; i++)
		while (g.thread[i].n > 0)
			give(&g, &g.thread[i]);
	world_pass_ticks(
	    w, 3); /* what is cached counts as free, and idle caches empty */
	ck_assert_uint_eq(pool_used(&g.p->pool), 0);
	ck_assert_uint_eq(caches_frames(&g.p->pool), 0);
	world_close(w, g.p);
	return (double)g.pinned / TICKS / ADD;
}

START_TEST(with_thread_caches_less_than_one_block_more_is_pinned)
{
	uint32_t released[2];
	double without = play(false, (unsigned int)_i + 1, &released[0]),
	       with = play(true, (unsigned int)_i + 1, &released[1]);

	printf("seed %d: %.2f blocks pinned without caches, %.2f with; %u and %u "
	       "released\n",
	    _i, without, with, released[0], released[1]);
	ck_assert_uint_gt(released[0], 0);
	ck_assert_uint_gt(released[1], 0);
	ck_assert(with < without + 1);
}
END_TEST

TCase *
sim_caches_tcase(void)
{
	TCase *t = tcase_create("caches");

	tcase_set_timeout(t, 60);
	sim_add_histories(
	    t, with_thread_caches_less_than_one_block_more_is_pinned, 4, 2);
	return t;
}
