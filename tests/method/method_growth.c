/* SPDX-License-Identifier: ISC */

/* The method, 9-16: how a pool grows. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/policy.h"
#include "tests/client_process.h"
#include "tests/method/method.h"

static struct world *const w = &method_world;
static struct daemon *const d = &method_budd;

START_TEST(r09_a_request_that_finds_too_little_adds_a_block_and_is_served_from_it)
{
	struct world_pool *p = method_pool(4, 4, 64);
	uint64_t tag;

	method_fill(p);
	tag = world_ask(w, p, 8192, 1, FOR_EVER);
	ck_assert_int_eq(p->question, WORLD_PIN);
	world_answer_all(w);
	ck_assert_int_eq(method_state(p, tag), WORLD_USED);
	ck_assert_uint_eq(pool_blocks(&p->pool), 2);
	ck_assert_uint_eq(method_frame(p), 4 * CHUNK_FRAMES);
	ck_assert_uint_eq(p->record->counters.grown, 1);
}
END_TEST

START_TEST(r10_the_block_is_at_least_as_large_as_the_buffer)
{
	struct world_pool *p = method_pool(4, 4, 128);
	uint64_t tag;

	method_fill(p);
	for (uint32_t size = 1, i = 1; size <= 32; size *= 2, i++) {
		tag = method_ask(p, size);
		world_answer_all(w);
		ck_assert_int_eq(method_state(p, tag), WORLD_USED);
		ck_assert_uint_eq(pool_blocks(&p->pool), 1 + i);
		ck_assert_uint_ge(method_block_chunks(p, i), size);
		method_fill(p);
	}
	tag = world_ask(w, p, CHUNK_SIZE / 2, 17, FOR_EVER); /* all or nothing */
	world_answer_all(w);
	ck_assert_int_eq(method_state(p, tag), WORLD_USED);
	ck_assert_uint_ge(method_block_chunks(p, 7), 9);
}
END_TEST

/* The page frames of physical memory behind @buf; 0: we may not know. */
static uint64_t
physical_page(const void *buf, size_t page)
{
	uint64_t entry = 0, at = (uintptr_t)buf / 4096 + page;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (fd == -1)
		return 0;
	if (pread(fd, &entry, sizeof(entry), (off_t)(at * sizeof(entry))) !=
	    sizeof(entry))
		entry = 0;
	close(fd);
	return entry & (((uint64_t)1 << 55) - 1);
}

/* In how many pieces physical memory holds it. */
static unsigned int
physical_pieces(const void *buf, size_t bytes)
{
	uint64_t last = physical_page(buf, 0), next;
	unsigned int pieces = last != 0;

	for (size_t i = 1; i < bytes / 4096; i++, last = next) {
		next = physical_page(buf, i);
		pieces += next != last + 1;
	}
	return pieces;
}

#define SMALL_BLOCKS \
	"[pool default]\nbase = 256K\nadd = 256K\nwall = 2M\nwall_max = 2M\n"

/* Two pools take turns, and whatever else the host does goes on, so that no block lies
 * behind the one before it; the pools never notice. */
START_TEST(r11_blocks_need_not_be_contiguous)
{
	struct bud_pool *pools[2];
	unsigned char *all[2];
	unsigned int pieces;

	daemon_start(d, SMALL_BLOCKS);
	for (int i = 0; i < 2; i++)
		pools[i] = open_pool(d, NULL);
	for (int n = 0; n < 8; n++) {
		for (int i = 0; i < 2; i++) {
			ck_assert_ptr_nonnull(bud_alloc(pools[i], 256 * KIB, 0));
			eventually(stat_of(pools[i]).waiting == 0);
			ck_assert_uint_eq(
			    stat_of(pools[i]).blocks, (unsigned int)n + 1);
		}
	}
	for (int i = 0; i < 2; i++)
		bud_close(pools[i]);
	for (int i = 0; i < 2; i++) { /* as one buffer over all blocks */
		pools[i] = open_pool(d, NULL);
		ck_assert_ptr_nonnull(all[i] = bud_alloc(pools[i], 2 * MIB, 0));
		paint(all[i], 2 * MIB, (unsigned int)i);
	}
	for (int i = 0; i < 2; i++)
		ck_assert(painted(all[i], 2 * MIB, (unsigned int)i));
	pieces = physical_pieces(all[0], 2 * MIB);
	if (pieces == 0)
		skip("r11: physical addresses are not ours to see");
	else
		ck_assert_uint_gt(pieces, 1);
	for (int i = 0; i < 2; i++)
		bud_close(pools[i]);
	daemon_stop(d);
}
END_TEST

START_TEST(r12_additional_blocks_are_equal_unless_a_buffer_needs_a_larger_one)
{
	struct world_pool *p = method_pool(4, 6, 128);
	uint64_t tag;

	method_grow(p, 5);
	for (uint32_t i = 1; i <= 5; i++)
		ck_assert_uint_eq(method_block_chunks(p, i), 6);
	tag = method_ask(p, 16);
	world_answer_all(w);
	ck_assert_int_eq(method_state(p, tag), WORLD_USED);
	ck_assert_uint_eq(method_block_chunks(p, 6), 16);
	method_grow(p, 9);
	for (uint32_t i = 7; i <= 9; i++)
		ck_assert_uint_eq(method_block_chunks(p, i), 6);
}
END_TEST

/* The default is a sixteenth, and at least 1 MiB. */
static const struct {
	const char *section;
	double wall_mib;
	double add_mib;
} fractions[] = {
	{ NULL, 64, 4 },
	{ "large", 256, 16 },
	{ "small", 12, 1 },
};

START_TEST(r13_the_size_of_blocks_is_by_default_a_fraction_of_the_wall)
{
	struct bud_pool *pool;

	daemon_start(d, "[pool large]\nwall = 256M\n"
			"[pool small]\nwall = 12M\n");
	for (size_t i = 0; i < SIZEOF_ARRAY(fractions); i++) {
		const char *name = fractions[i].section;
		double add = fractions[i].add_mib * MIB;

		pool = open_pool(d, name);
		eventually(
		    daemon_figure(d, "pools.0.wall") == fractions[i].wall_mib * MIB);
		ck_assert_double_eq(daemon_figure(d, "pools.0.add_size"), add);
		ck_assert_double_eq((double)stat_of(pool).add, add);
		ck_assert_ptr_nonnull(bud_alloc(pool, MIB, 0)); /* the base */
		ck_assert_ptr_nonnull(bud_alloc(pool, 4096, 0));
		eventually(stat_of(pool).pinned == MIB + (uint64_t)add);
		eventually(daemon_figure(d, "pools.0.blocks.1.size") == add);
		bud_close(pool);
		eventually(daemon_figure(d, "pools.0.id") == -1);
	}
	daemon_stop(d);
}
END_TEST

/* One buffer of @size is freed in each block, the last one first; they are allocated from
 * the base up. */
static void
expect_lowest_first(struct world_pool *p, uint64_t size)
{
	for (uint32_t i = pool_blocks(&p->pool); i-- > 0;)
		world_give_frame(w, p, pool_block(&p->pool, i).from * CHUNK_FRAMES);
	for (uint32_t i = 0; i < pool_blocks(&p->pool); i++) {
		ck_assert(world_take(p, size));
		ck_assert_uint_eq(
		    method_frame(p), pool_block(&p->pool, i).from * CHUNK_FRAMES);
	}
}

START_TEST(r14_the_base_is_allocated_first_then_blocks_in_the_order_of_their_adding)
{
	struct world_pool *p = method_pool(4, 4, 64);
	uint64_t tag;

	method_grow(p, 4);
	expect_lowest_first(p, CHUNK_SIZE);
	world_give_all(w, p);
	for (uint32_t i = 0; i < 5 * 4 * CHUNK_FRAMES; i++) { /* frame by frame */
		ck_assert(world_take(p, FRAME_SIZE));
		ck_assert_uint_eq(method_frame(p), i);
	}
	expect_lowest_first(p, FRAME_SIZE);
	world_give_all(w, p);
	for (uint32_t i = 0; i < 5; i++) { /* larger than a chunk */
		ck_assert(world_take(p, CHUNKS(4)));
		ck_assert_uint_eq(method_frame(p), 4 * i * CHUNK_FRAMES);
	}
	expect_lowest_first(p, CHUNKS(4));
	world_give_frame(w, p, 12 * CHUNK_FRAMES);
	world_give_frame(w, p, 4 * CHUNK_FRAMES);
	tag = world_ask(w, p, CHUNKS(4), 1, 0); /* by asking budd, too */
	world_answer_all(w);
	ck_assert_int_eq(method_state(p, tag), WORLD_USED);
	ck_assert_uint_eq(method_frame(p), 4 * CHUNK_FRAMES);
}
END_TEST

START_TEST(r15_while_the_base_suffices_nothing_grows)
{
	struct world_pool *p = method_pool(4, 4, 64);
	uint64_t pins = w->pins, tag;

	for (uint32_t round = 0; round < 50; round++) {
		tag = method_ask(p, 1U << round % 3); /* asking budd ... */
		world_answer_all(w);
		ck_assert_int_eq(method_state(p, tag), WORLD_USED);
		while (world_take(p, FRAME_SIZE << round % 7)) /* ... and not asking */
			;
		ck_assert_uint_eq(pool_used(&p->pool), CHUNKS(4));
		world_pass_ticks(w, round);
		world_give_all(w, p);
	}
	ck_assert_uint_eq(w->pins, pins);
	ck_assert_uint_eq(pool_blocks(&p->pool), 1);
	ck_assert_uint_eq(p->pool.planned, 4);
	ck_assert_int_eq(core_next_due(&w->core).ns, INSTANT_NEVER.ns);
}
END_TEST

static void
fill_pool(struct bud_pool *pool)
{
	while (bud_alloc(pool, 256 * KIB, 0) != NULL)
		eventually(stat_of(pool).waiting == 0);
	ck_assert_uint_ge(stat_of(pool).pinned, 14 * MIB);
}

START_TEST(r16_blocks_of_variable_size_can_be_configured)
{
	char path[64];
	struct bud_pool *pool;
	double size, before = 256 * KIB;
	unsigned int blocks, larger = 0;

	daemon_start(d, "[pool default]\nbase = 1M\nadd = 256K\nwall = 16M\nwall_max = "
			"16M\npolicy = growing\n");
	pool = open_pool(d, NULL);
	fill_pool(pool);
	blocks = stat_of(pool).blocks;
	eventually(daemon_figure(d, "pools.0.pinned") == (double)stat_of(pool).pinned);
	for (unsigned int i = 1; i < blocks; i++) {
		snprintf(path, sizeof(path), "pools.0.blocks.%u.size", i);
		size = daemon_figure(d, path);
		ck_assert_double_ge(size, 256 * KIB);
		larger += size > before;
		before = size;
	}
	ck_assert_uint_ge(larger, 4);
	ck_assert_uint_lt(blocks, 24); /* equal ones would be 61 */
	bud_close(pool);
	daemon_stop(d);
}
END_TEST

void
method_growth(Suite *s)
{
	TCase *t = method_core(s, "growth");

	tcase_add_test(
	    t, r09_a_request_that_finds_too_little_adds_a_block_and_is_served_from_it);
	tcase_add_test(t, r10_the_block_is_at_least_as_large_as_the_buffer);
	tcase_add_test(
	    t, r12_additional_blocks_are_equal_unless_a_buffer_needs_a_larger_one);
	tcase_add_test(t,
	    r14_the_base_is_allocated_first_then_blocks_in_the_order_of_their_adding);
	tcase_add_test(t, r15_while_the_base_suffices_nothing_grows);
	t = method_daemon(s, "growth, budd");
	tcase_add_test(t, r11_blocks_need_not_be_contiguous);
	tcase_add_test(t, r13_the_size_of_blocks_is_by_default_a_fraction_of_the_wall);
	tcase_add_test(t, r16_blocks_of_variable_size_can_be_configured);
}
