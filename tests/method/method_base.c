/* SPDX-License-Identifier: ISC */

/* The method, 1-8: the base block, and the sizes of buffers. */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/client_process.h"
#include "tests/method/method.h"

static struct world *const w = &method_world;
static struct daemon *const d = &method_budd;

START_TEST(r01_the_base_is_pinned_when_a_pool_opens)
{
	struct pool_limits limits = world_limits(10, 4, 64);
	struct world_pool *p = world_open_unsettled(w, &limits, NULL);

	ck_assert_ptr_nonnull(p);
	ck_assert_int_eq(
	    p->question, WORLD_PIN); /* and nobody has asked for a buffer */
	ck_assert(!p->opened);
	while (p->pinned < 10) {
		ck_assert(!p->opened);
		ck_assert(world_step(w));
	}
	ck_assert(p->opened);
	ck_assert(TAILQ_EMPTY(&w->questions));
	ck_assert_uint_eq(pool_blocks(&p->pool), 1);
	ck_assert_uint_eq(pool_opened(&p->pool), 10);
	for (uint32_t i = 0; i < 10; i++)
		ck_assert(world_take(p, CHUNK_SIZE));
	ck_assert_uint_eq(w->grants, 0);
}
END_TEST

/* What a pool does for a request depends on the size that it states, and on that alone. */
START_TEST(r02_a_request_states_its_size)
{
	struct world_pool *p = method_pool(4, 4, 64);
	uint64_t small, large;

	method_fill(p);
	world_give(w, p, 0);
	ck_assert(world_take(p, CHUNK_SIZE / 2));
	small = world_ask(w, p, CHUNK_SIZE / 2, 1, FOR_EVER);
	ck_assert_int_eq(method_state(p, small), WORLD_TURN);
	world_answer_all(w);
	ck_assert_uint_eq(pool_blocks(&p->pool), 1);
	world_give(w, p, p->nheld - 1);
	large = world_ask(w, p, CHUNK_SIZE / 2 + 1, 1, FOR_EVER);
	ck_assert_int_eq(method_state(p, large), WORLD_ASKED);
	ck_assert_int_eq(p->question, WORLD_PIN);
	world_answer_all(w);
	ck_assert_int_eq(method_state(p, large), WORLD_USED);
	ck_assert_uint_eq(pool_used(&p->pool), CHUNKS(3) + CHUNK_SIZE / 2 + CHUNK_SIZE);
}
END_TEST

/* 4 KiB to 4 MiB. */
#define ORDERS 11u

START_TEST(r03_buffers_are_4_kib_by_powers_of_two)
{
	struct world_pool *p = method_pool(64, 4, 64);

	for (unsigned int k = 0; k < ORDERS; k++) {
		uint64_t bytes = (uint64_t)4096 << k, before = pool_used(&p->pool);
		uint64_t alignment = bytes < CHUNK_SIZE ? bytes : CHUNK_SIZE;

		ck_assert(world_take(p, bytes));
		ck_assert_uint_eq(pool_used(&p->pool) - before, bytes);
		ck_assert_uint_eq(method_frame(p) * FRAME_SIZE % alignment, 0);
		ck_assert_int_eq(
		    ledger_order_at(&p->pool.ledger, method_frame(p)), (int)k);
	}
	world_check(w);
}
END_TEST

START_TEST(r04_a_size_in_between_gets_the_next_larger_one)
{
	struct world_pool *p = method_pool(64, 4, 64);
	uint64_t before = pool_used(&p->pool);

	ck_assert(world_take(p, 1));
	ck_assert_uint_eq(pool_used(&p->pool) - before, 4096);
	for (unsigned int k = 0; k + 1 < ORDERS; k++) {
		uint64_t bytes = (uint64_t)4096 << k;
		const uint64_t between[] = { bytes + 1, bytes * 3 / 2, 2 * bytes - 1 };

		for (size_t i = 0; i < SIZEOF_ARRAY(between); i++) {
			before = pool_used(&p->pool);
			ck_assert(world_take(p, between[i]));
			ck_assert_uint_eq(pool_used(&p->pool) - before, 2 * bytes);
			world_give(w, p, p->nheld - 1);
		}
	}
}
END_TEST

static uint64_t
largest_free(const struct world_pool *p)
{
	struct ledger_plan plan = { 0 };
	uint64_t bytes;

	ck_assert_int_eq(
	    ledger_plan_load(&plan, &p->pool.ledger, pool_opened(&p->pool)), 0);
	bytes = ledger_plan_largest(
	    &plan, (struct chunk_range){ 0, pool_opened(&p->pool) });
	ledger_plan_fini(&plan);
	return bytes;
}

START_TEST(r05_buffers_are_as_large_as_the_unallocated_parts_allow)
{
	struct world_pool *p = method_pool(16, 4, 16);
	uint64_t tag;

	ck_assert(world_take(p, 256 * KIB));
	ck_assert(world_take(p, MIB));
	ck_assert(world_take(p, 2 * MIB));
	ck_assert(!world_take(p, MIB)); /* of 16 chunks 3 are left */
	ck_assert_uint_eq(largest_free(p), 512 * KIB);
	ck_assert(world_take(p, 512 * KIB));
	world_give_all(w, p);
	for (uint32_t i = 0; i < 16; i++)
		ck_assert(world_take(p, CHUNK_SIZE));
	for (uint32_t i = 0; i < 16; i += 2) /* half of it, in parts of a chunk */
		world_give_frame(w, p, i * CHUNK_FRAMES);
	ck_assert_uint_eq(largest_free(p), 256 * KIB);
	tag = world_ask(w, p, MIB, 1, 0);
	world_answer_all(w);
	ck_assert_int_eq(method_state(p, tag), WORLD_REFUSED);
	ck_assert_int_eq(world_request(p, tag)->error, EAGAIN);
	world_give_all(w, p);
	tag = world_ask(w, p, 4 * MIB, 1, 0); /* all that the pool has */
	world_answer_all(w);
	ck_assert_int_eq(method_state(p, tag), WORLD_USED);
	tag = world_ask(w, p, 4 * MIB + 1, 1, FOR_EVER);
	ck_assert_int_eq(world_request(p, tag)->error, EMSGSIZE);
}
END_TEST

START_TEST(r06_freed_memory_is_allocated_again_whatever_the_order_of_frees)
{
	struct world_pool *p = method_pool(4, 4, 4);

	srandom((unsigned int)_i);
	for (int round = 0; round < 20; round++) {
		while (world_take(p, (uint64_t)4096 << random() % 7))
			;
		while (world_take(p, 4096))
			;
		ck_assert_uint_eq(pool_used(&p->pool), CHUNKS(4));
		for (uint32_t i = 0; i < p->nheld / 2; i++) {
			world_give(w, p, (uint32_t)random() % p->nheld);
			world_check(w);
		}
		while (world_take(p, 4096)) /* what was freed, to the last frame */
			;
		ck_assert_uint_eq(pool_used(&p->pool), CHUNKS(4));
		while (p->nheld > 0)
			world_give(w, p, (uint32_t)random() % p->nheld);
		ck_assert(world_take(p, CHUNKS(4))); /* the block as a whole */
		world_give_all(w, p);
	}
}
END_TEST

/* A pass each 40 ms; 16 blocks of 256 KiB. */
#define BREATHING                                                 \
	"[host]\ntick = 5ms\nrelease_period = 40ms\nidle = 5ms\n" \
	"[pool default]\nbase = 256K\nadd = 256K\nwall = 4M\nwall_max = 4M\n"
#define HELD 6u

static void
grow_and_shrink(struct bud_pool *pool, unsigned int blocks)
{
	void *bufs[8];

	for (size_t i = 0; i < SIZEOF_ARRAY(bufs); i++) {
		ck_assert_ptr_nonnull(bufs[i] = bud_alloc(pool, 256 * KIB, 0));
		paint(bufs[i], 256 * KIB, 77);
	}
	ck_assert_uint_ge(stat_of(pool).blocks, 8);
	for (size_t i = 0; i < SIZEOF_ARRAY(bufs); i++)
		bud_free(pool, bufs[i]);
	eventually(stat_of(pool).blocks == blocks);
}

START_TEST(r07_buffers_never_move)
{
	unsigned char resident[HELD];
	uint64_t at[HELD], offset;
	struct bud_pool *pool;
	void *held[HELD];
	int fd;

	daemon_start(d, BREATHING);
	pool = open_pool(d, NULL);
	for (unsigned int i = 0; i < HELD; i++) {
		ck_assert_ptr_nonnull(held[i] = bud_alloc(pool, 4096ul << i, 0));
		paint(held[i], 4096ul << i, i);
		ck_assert_int_eq(bud_locate(pool, held[i], &fd, &at[i]), 0);
	}
	for (int round = 0; round < 3; round++) {
		grow_and_shrink(pool, 2); /* the base is in use: one stays */
		for (unsigned int i = 0; i < HELD; i++) {
			ck_assert(painted(held[i], 4096ul << i, i));
			ck_assert_int_eq(bud_locate(pool, held[i], &fd, &offset), 0);
			ck_assert_uint_eq(offset, at[i]);
			ck_assert_int_eq(mincore(held[i], 4096, &resident[i]), 0);
			ck_assert_uint_eq(resident[i] & 1, 1);
		}
	}
	bud_close(pool);
	daemon_stop(d);
}
END_TEST

void
method_base(Suite *s)
{
	TCase *t = method_core(s, "base and sizes");

	tcase_add_test(t, r01_the_base_is_pinned_when_a_pool_opens);
	tcase_add_test(t, r02_a_request_states_its_size);
	tcase_add_test(t, r03_buffers_are_4_kib_by_powers_of_two);
	tcase_add_test(t, r04_a_size_in_between_gets_the_next_larger_one);
	tcase_add_test(t, r05_buffers_are_as_large_as_the_unallocated_parts_allow);
	tcase_add_loop_test(
	    t, r06_freed_memory_is_allocated_again_whatever_the_order_of_frees, 0, 8);
	t = method_daemon(s, "base and sizes, budd");
	tcase_add_test(t, r07_buffers_never_move);
}
