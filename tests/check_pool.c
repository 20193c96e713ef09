/* SPDX-License-Identifier: ISC */

/*
 * A pool's blocks; and deaths of the arbiter at every moment of what it does to them.
 *
 * pool.c is compiled into this suite, with a moment behind each of its stores and each of
 * its calls that move a chunk.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/world.h"

static void moment(void);

static bool
and_then(bool result)
{
	moment();
	return result;
}

#undef atomic_store
#define atomic_store(object, value) \
	(atomic_store_explicit(object, value, memory_order_seq_cst), moment())
#define ledger_open_chunk(l, chunk)   (ledger_open_chunk(l, chunk), moment())
#define ledger_reopen_chunk(l, chunk) (ledger_reopen_chunk(l, chunk), moment())
#define ledger_close_chunk(l, chunk)  and_then(ledger_close_chunk(l, chunk))
#include "daemon/pool.c"

static struct world world, *const w = &world;
static struct world_pool *p;

/* --- Deaths --- */

static bool dying;
static unsigned int deaths;
static unsigned int intrude_at; /* that moment: a client takes a frame; 0: never */

/* All that was planned is there, and may be used; check_held() saw to what is held. */
static void
must_be_whole(struct world *heirs, struct world_pool *q)
{
	ck_assert_uint_eq(pool_opened(&q->pool), q->pool.planned);
	ck_assert_uint_ge(q->pool.planned, q->pool.limits.base / CHUNK_SIZE);
	ck_assert_uint_eq(atomic_load(&q->record->doubt), 0);
	for (uint32_t i = 0; i < pool_blocks(&q->pool); i++)
		ck_assert_uint_gt(q->record->block[i].chunks, 0);
	while (world_take(q, FRAME_SIZE))
		;
	world_check(heirs);
	ck_assert_uint_eq(pool_used(&q->pool), q->pool.planned * CHUNK_SIZE);
	world_give_all(heirs, q);
	world_check(heirs);
	ck_assert(ledger_is_empty(
	    &q->pool.ledger, (struct chunk_range){ 0, q->pool.planned }));
}

static void
die_and_inherit(bool heard)
{
	struct world heirs;
	struct world_pool *q;

	world_init(&heirs, WORLD_HOST_WALL);
	heirs.core.params.release_ticks = UINT32_MAX;
	q = world_adopt(&heirs, p, heard);
	world_settle(&heirs);
	world_check(&heirs);
	core_resumed(&heirs.core, &q->pool, heirs.now);
	world_pass_ticks(&heirs, 1);        /* its client asks for nothing */
	ck_assert(p->opened || q->opened || /* the client is told, unless just now */
		  pool_opened(&p->pool) + 1 >= pool_block(&p->pool, 0).to);
	must_be_whole(&heirs, q);
	world_fini(&heirs);
}

static void
moment(void)
{
	if (!dying || p == NULL)
		return;
	dying = false; /* the heirs live on */
	deaths++;
	die_and_inherit(false);
	if (p->question != WORLD_NOTHING)
		die_and_inherit(true);
	if (intrude_at > 0 && --intrude_at == 0)
		ck_assert(world_take_regardless(p, FRAME_SIZE));
	dying = true;
}

/* The keeper answers all, and the arbiter may die before it hears of it. */
static void
settle_dying(void)
{
	do
		moment();
	while (world_step(w));
}

/* --- Blocks --- */

static void
setup(void)
{
	dying = false;
	deaths = intrude_at = 0;
	world_init(w, WORLD_HOST_WALL);
	p = world_open(w, 4, 4, 64);
}

static void
teardown(void)
{
	dying = false;
	world_check(w);
	world_fini(w);
}

static void
fill(void)
{
	while (world_take(p, CHUNK_SIZE))
		;
}

static void
grow_by(uint64_t chunks)
{
	fill();
	(void)world_ask(w, p, chunks * CHUNK_SIZE, 1, 0);
	world_answer_all(w);
}

START_TEST(each_block_starts_where_the_one_before_it_ends)
{
	grow_by(8);
	grow_by(3);
	ck_assert_uint_eq(pool_blocks(&p->pool), 3);
	for (uint32_t i = 0; i < 3; i++) {
		static const uint32_t bounds[] = { 0, 4, 12, 16 };
		struct chunk_range r = pool_block(&p->pool, i);

		ck_assert_uint_eq(r.from, bounds[i]);
		ck_assert_uint_eq(r.to, bounds[i + 1]);
	}
}
END_TEST

START_TEST(the_open_part_of_a_block_grows_slice_by_slice)
{
	struct chunk_range r;

	fill();
	(void)world_ask(w, p, 8 * CHUNK_SIZE, 1, 0);
	r = pool_block_open(&p->pool, 1);
	ck_assert_uint_eq(r.from, r.to);
	world_step(w);
	r = pool_block_open(&p->pool, 1);
	ck_assert_uint_eq(r.from, 4);
	ck_assert_uint_eq(r.to, 8);
	r = pool_block_open(&p->pool, 0);
	ck_assert_uint_eq(r.from, 0);
	ck_assert_uint_eq(r.to, 4);
	world_answer_all(w);
	r = pool_block_open(&p->pool, 1);
	ck_assert_uint_eq(r.to, 12);
}
END_TEST

START_TEST(what_is_used_is_what_the_ledger_says)
{
	ck_assert_uint_eq(pool_used(&p->pool), 0);
	ck_assert(world_take(p, 1) && world_take(p, 3 * FRAME_SIZE));
	ck_assert_uint_eq(pool_used(&p->pool), 5 * FRAME_SIZE);
}
END_TEST

START_TEST(chunks_cost_the_host_their_bytes_and_their_pages_of_the_ledger)
{
	ck_assert_uint_eq(pool_charge(&p->pool, 0), 5 * 4096);
	ck_assert_uint_eq(pool_charge(&p->pool, 1), CHUNK_SIZE + 5 * 4096);
	ck_assert_uint_eq(pool_charge(&p->pool, 64), 64 * CHUNK_SIZE + 5 * 4096);
}
END_TEST

START_TEST(the_wall_counts_in_whole_chunks)
{
	p->pool.limits.wall = 5 * CHUNK_SIZE - 1;
	ck_assert_uint_eq(pool_wall_chunks(&p->pool), 4);
	p->pool.limits.wall++;
	ck_assert_uint_eq(pool_wall_chunks(&p->pool), 5);
	p->pool.limits.wall = 64 * CHUNK_SIZE;
}
END_TEST

START_TEST(the_floor_lies_below_all_empty_last_blocks)
{
	grow_by(4);
	grow_by(4);
	ck_assert_uint_eq(pool_floor(&p->pool), 12);
	world_give(w, p, p->nheld - 1); /* the last block */
	ck_assert_uint_eq(pool_floor(&p->pool), 8);
	world_give(w, p, p->nheld - 1);
	ck_assert_uint_eq(pool_floor(&p->pool), 4);
	world_give_all(w, p);
	ck_assert_uint_eq(pool_floor(&p->pool), 4); /* never the base */
}
END_TEST

START_TEST(an_empty_block_below_a_used_one_does_not_lower_the_floor)
{
	grow_by(4);
	grow_by(4);
	world_give(w, p, p->nheld - 2);
	ck_assert_uint_eq(pool_floor(&p->pool), 12);
}
END_TEST

START_TEST(a_block_in_use_does_not_close)
{
	grow_by(4);
	ck_assert(!pool_close_last(&p->pool));
	ck_assert_int_eq(p->pool.phase, POOL_STEADY);
	ck_assert_uint_eq(pool_opened(&p->pool), 8);
}
END_TEST

START_TEST(figures_are_published_for_the_client)
{
	struct ledger_header *h = p->pool.ledger.header;

	grow_by(8);
	pool_publish(&p->pool, 42);
	ck_assert_uint_eq(atomic_load(&h->tick), 42);
	ck_assert_uint_eq(p->record->tick, 42);
	ck_assert_uint_eq(atomic_load(&h->base), 4 * CHUNK_SIZE);
	ck_assert_uint_eq(atomic_load(&h->add), 4 * CHUNK_SIZE);
	ck_assert_uint_eq(atomic_load(&h->wall), 64 * CHUNK_SIZE);
	ck_assert_uint_eq(atomic_load(&h->pinned), 12 * CHUNK_SIZE);
	ck_assert_uint_eq(atomic_load(&h->blocks), 2);
	ck_assert_uint_eq(atomic_load(&h->waiting), 0);
	ck_assert_uint_eq(atomic_load(&h->open), 12);
}
END_TEST

START_TEST(the_check_sees_marks_out_of_order)
{
	struct pool *pool = &p->pool;

	ck_assert(pool_check(pool));
	pool->planned++;
	ck_assert(!pool_check(pool));
	pool->planned--;
	pool->pinned--;
	ck_assert(!pool_check(pool));
	pool->pinned++;
	atomic_store(&p->record->opened, 3);
	ck_assert(!pool_check(pool));
	atomic_store(&p->record->opened, 4);
	p->record->block[0].chunks++;
	ck_assert(!pool_check(pool));
	p->record->block[0].chunks--;
	ck_assert(pool_check(pool));
}
END_TEST

/* --- Deaths --- */

START_TEST(a_death_at_any_moment_of_an_opening_loses_nothing)
{
	struct pool_limits limits = world_limits(10, 4, 64);

	world_close(w, p);
	p = NULL;
	p = world_open_unsettled(w, &limits, NULL);
	dying = true;
	settle_dying();
	ck_assert(p->opened);
	ck_assert_uint_gt(deaths, 40);
}
END_TEST

START_TEST(a_death_at_any_moment_of_a_growth_loses_nothing)
{
	(void)world_take(p, CHUNK_SIZE);
	(void)world_take(p, 1);
	dying = true;
	(void)world_ask(w, p, 10 * CHUNK_SIZE, 1, 0);
	settle_dying();
	dying = false;
	world_answer_all(w);
	dying = true;
	(void)world_ask(w, p, 20 * CHUNK_SIZE, 1, 0);
	settle_dying();
	ck_assert_uint_gt(deaths, 100);
}
END_TEST

START_TEST(a_death_at_any_moment_of_a_growth_that_fails_loses_nothing)
{
	(void)world_take(p, CHUNK_SIZE);
	dying = true;
	world_fail_pin(w, 1 + (unsigned int)_i, ENOMEM);
	(void)world_ask(w, p, 10 * CHUNK_SIZE, 1, 0);
	settle_dying();
	ck_assert_uint_eq(pool_blocks(&p->pool), _i == 0 ? 1 : 2);
	ck_assert_uint_gt(deaths, 2);
}
END_TEST

START_TEST(a_death_at_any_moment_of_a_release_loses_nothing)
{
	grow_by(4);
	grow_by(8);
	world_give(w, p, p->nheld - 1);
	dying = true;
	ck_assert(shrink_start(&w->core, &p->pool, RELEASE_OPERATOR));
	settle_dying();
	ck_assert_uint_eq(pool_blocks(&p->pool), 2);
	ck_assert_uint_gt(deaths, 30);
}
END_TEST

/* The client takes a frame at the _i-th moment of a release. */
START_TEST(a_death_at_any_moment_of_a_release_that_fails_loses_nothing)
{
	bool closed;

	grow_by(8);
	world_give(w, p, p->nheld - 1);
	fill();
	for (uint32_t i = p->nheld; i-- > 0;)
		if (p->held[i] / CHUNK_FRAMES >= 4)
			world_give(w, p, i);
	dying = true;
	intrude_at = (unsigned int)_i;
	closed = shrink_start(&w->core, &p->pool, RELEASE_OPERATOR);
	settle_dying();
	ck_assert(!closed); /* the frame was in the lowest chunk, which closes last */
	ck_assert_uint_eq(pool_opened(&p->pool), 12);
	ck_assert_uint_eq(pool_blocks(&p->pool), 2);
}
END_TEST

/* --- Places --- */

static struct world heirs;
static struct world_pool *rich, *first, *second; /* in line for what the rich one has */

#define WANTED 6 /* chunks: the block of 8 that the rich one has is enough for one */

/* Both wait for the rich one's block; then the arbiter dies. */
static void
die_while_two_starve(void)
{
	uint64_t wall = pool_charge(&p->pool, 12) + 2 * pool_charge(&p->pool, 4);
	struct world_pool *a, *b;

	w->core.params.host_wall = wall;
	grow_by(8);
	a = world_open(w, 4, 4, 64);
	b = world_open(w, 4, 4, 64);
	while (world_take(a, CHUNK_SIZE) && world_take(b, CHUNK_SIZE))
		;
	world_pass_time(w, NS_PER_MS);
	(void)world_ask(w, a, CHUNK_SIZE, WANTED, -1);
	world_pass_time(w, NS_PER_MS);
	(void)world_ask(w, b, CHUNK_SIZE, WANTED, -1);
	ck_assert(a->pool.place.starved && b->pool.place.starved);

	world_init(&heirs, wall);
	heirs.now = w->now;
	rich = world_adopt(&heirs, p, false);
	second = world_adopt(&heirs, b, false);
	first = world_adopt(&heirs, a, false);
}

START_TEST(a_place_among_those_that_starve_outlives_the_arbiter)
{
	uint64_t early, late;

	die_while_two_starve();
	late = world_ask(&heirs, second, CHUNK_SIZE, WANTED, -1);
	world_give_all(&heirs, rich); /* its empty block goes to whoever is first */
	world_pass_ticks(&heirs, 1);
	ck_assert_uint_eq(pool_blocks(&rich->pool), 1);
	ck_assert_int_eq(world_request(second, late)->state, WORLD_ASKED);
	early = world_ask(&heirs, first, CHUNK_SIZE, WANTED, -1);
	world_settle(&heirs);
	ck_assert_int_eq(world_request(first, early)->state, WORLD_TURN);
	ck_assert_int_eq(world_request(second, late)->state, WORLD_ASKED);
	world_check(&heirs);
	world_fini(&heirs);
}
END_TEST

START_TEST(a_place_that_its_client_does_not_ask_for_is_lost_after_a_while)
{
	uint64_t late;

	die_while_two_starve();
	late = world_ask(&heirs, second, CHUNK_SIZE, WANTED, -1);
	world_give_all(&heirs, rich);
	world_pass_ticks(&heirs, 1);
	ck_assert_int_eq(world_request(second, late)->state, WORLD_ASKED);
	world_pass_time(&heirs, 2 * NS_PER_S);
	world_settle(&heirs);
	ck_assert_int_eq(world_request(second, late)->state, WORLD_TURN);
	ck_assert(!first->pool.place.starved);
	world_check(&heirs);
	world_fini(&heirs);
}
END_TEST

/* Its client's threads stand behind what it will ask for again. */
START_TEST(queued_stays_set_until_the_client_has_resumed)
{
	struct world_pool *q;

	fill();
	p->pool.limits.wall = 4 * CHUNK_SIZE;
	(void)world_ask(w, p, CHUNK_SIZE, 1, -1);
	ck_assert(ledger_queued(&p->pool.ledger));
	world_init(&heirs, WORLD_HOST_WALL);
	q = world_adopt(&heirs, p, false);
	world_pass_ticks(&heirs, 3);
	ck_assert(ledger_queued(&q->pool.ledger));
	core_resumed(&heirs.core, &q->pool, heirs.now);
	ck_assert(ledger_queued(&q->pool.ledger));
	world_pass_ticks(&heirs, 1); /* it asked for nothing */
	ck_assert(!ledger_queued(&q->pool.ledger));
	world_check(&heirs);
	world_fini(&heirs);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("pool");
	TCase *blocks = tcase_create("blocks"), *end = tcase_create("deaths");

	tcase_add_checked_fixture(blocks, setup, teardown);
	tcase_add_test(blocks, each_block_starts_where_the_one_before_it_ends);
	tcase_add_test(blocks, the_open_part_of_a_block_grows_slice_by_slice);
	tcase_add_test(blocks, what_is_used_is_what_the_ledger_says);
	tcase_add_test(
	    blocks, chunks_cost_the_host_their_bytes_and_their_pages_of_the_ledger);
	tcase_add_test(blocks, the_wall_counts_in_whole_chunks);
	tcase_add_test(blocks, the_floor_lies_below_all_empty_last_blocks);
	tcase_add_test(
	    blocks, an_empty_block_below_a_used_one_does_not_lower_the_floor);
	tcase_add_test(blocks, a_block_in_use_does_not_close);
	tcase_add_test(blocks, figures_are_published_for_the_client);
	tcase_add_test(blocks, the_check_sees_marks_out_of_order);

	tcase_add_checked_fixture(end, setup, teardown);
	tcase_set_timeout(end, 60);
	tcase_add_test(end, a_death_at_any_moment_of_an_opening_loses_nothing);
	tcase_add_test(end, a_death_at_any_moment_of_a_growth_loses_nothing);
	tcase_add_loop_test(
	    end, a_death_at_any_moment_of_a_growth_that_fails_loses_nothing, 0, 3);
	tcase_add_test(end, a_death_at_any_moment_of_a_release_loses_nothing);
	tcase_add_loop_test(
	    end, a_death_at_any_moment_of_a_release_that_fails_loses_nothing, 1, 30);
	tcase_add_test(end, a_place_among_those_that_starve_outlives_the_arbiter);
	tcase_add_test(
	    end, a_place_that_its_client_does_not_ask_for_is_lost_after_a_while);
	tcase_add_test(end, queued_stays_set_until_the_client_has_resumed);
	suite_add_tcase(s, blocks);
	suite_add_tcase(s, end);
	return s;
}

int
main(void)
{
	SRunner *runner = srunner_create(suite());
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
