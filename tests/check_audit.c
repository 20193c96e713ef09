/* SPDX-License-Identifier: ISC */

/* The audit of the pins: when the core asks for it and in which order, and what the keeper
 * finds and repairs. */
#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/heap.h"
#include "daemon/heap_audit.h"
#include "tests/world.h"

#define PERIOD_NS (60 * NS_PER_S)
#define ASKED_MAX 64

/* --- The core --- */

struct asked {
	const struct pool *pool;
	struct chunk_range range;
};

static struct world world, *w = &world;
static struct core_ops ops;
static struct asked asked[ASKED_MAX];
static unsigned int nasked;

static void
on_audit(void *ctx, struct pool *p, struct chunk_range r)
{
	(void)ctx;
	ck_assert_uint_lt(nasked, ASKED_MAX);
	asked[nasked++] = (struct asked){ p, r };
}

static void
enter(void)
{
	world_init(w, WORLD_HOST_WALL);
	ops = *w->core.ops;
	ops.audit = on_audit;
	w->core.ops = &ops;
	w->core.params.audit_ns = PERIOD_NS;
	nasked = 0;
}

static void
leave(void)
{
	world_fini(w);
}

static void
pass_period(void)
{
	world_pass_time(w, PERIOD_NS);
}

static void
expect_asked(unsigned int n, const struct world_pool *p, uint32_t from, uint32_t to)
{
	ck_assert_uint_eq(nasked, n);
	ck_assert_ptr_eq(asked[n - 1].pool, &p->pool);
	ck_assert_uint_eq(asked[n - 1].range.from, from);
	ck_assert_uint_eq(asked[n - 1].range.to, to);
}

static uint64_t
answer(struct world_pool *p, uint32_t holes, uint32_t unlocked, int error)
{
	const struct audit_found found = { holes, unlocked };

	return core_audited(&w->core, &p->pool, &found, error);
}

START_TEST(slice_by_slice_and_pool_by_pool)
{
	struct world_pool *a = world_open(w, 6, 1, 8), *b = world_open(w, 1, 1, 8);

	world_pass_time(w, PERIOD_NS - 1);
	ck_assert_uint_eq(nasked, 0);
	world_pass_time(w, 1);
	expect_asked(1, a, 0, 4);
	ck_assert_uint_eq(answer(a, 0, 0, 0), 0);
	expect_asked(2, a, 4, 6);
	ck_assert_uint_eq(a->record->audit.passes, 0);
	ck_assert_uint_eq(answer(a, 0, 0, 0), 0);
	expect_asked(3, b, 0, 1);
	ck_assert_uint_eq(a->record->audit.passes, 1);
	ck_assert_uint_eq(answer(b, 0, 0, 0), 0);
	ck_assert_uint_eq(nasked, 3);
	ck_assert_uint_eq(b->record->audit.passes, 1);
	pass_period();
	expect_asked(4, a, 0, 4);
}
END_TEST

START_TEST(what_is_found_is_counted_and_told_once_a_pass)
{
	struct world_pool *a = world_open(w, 6, 1, 8);

	pass_period();
	ck_assert_uint_eq(answer(a, 3, 4, 0), 0);
	ck_assert_uint_eq(answer(a, 10, 0, 12), 17);
	ck_assert_uint_eq(a->record->audit.holes, 13);
	ck_assert_uint_eq(a->record->audit.unlocked, 4);
	ck_assert_uint_eq(a->record->audit.failed, 1);
	pass_period();
	ck_assert_uint_eq(answer(a, 0, 0, 0), 0);
	ck_assert_uint_eq(answer(a, 0, 0, 0), 0);
	ck_assert_uint_eq(a->record->audit.passes, 2);
}
END_TEST

START_TEST(one_that_is_under_way_is_not_begun_again)
{
	struct world_pool *a = world_open(w, 6, 1, 8);

	pass_period();
	expect_asked(1, a, 0, 4);
	pass_period();
	ck_assert_uint_eq(nasked, 1);
	answer(a, 0, 0, 0);
	expect_asked(2, a, 4, 6);
}
END_TEST

START_TEST(a_pool_that_goes_in_the_midst_of_it_is_passed_over)
{
	struct world_pool *a = world_open(w, 6, 1, 8), *b = world_open(w, 1, 1, 8);

	pass_period();
	expect_asked(1, a, 0, 4);
	world_close(w, a);
	expect_asked(2, b, 0, 1);
	world_close(w, b);
	ck_assert_uint_eq(nasked, 2);
	ck_assert_ptr_null(w->core.auditing);
}
END_TEST

START_TEST(a_prefix_that_shrank_ends_the_pool)
{
	struct world_pool *a = world_open(w, 6, 1, 8), *b = world_open(w, 1, 1, 8);

	pass_period();
	a->pool.pinned = 3;
	answer(a, 0, 0, 0);
	a->pool.pinned = 6;
	expect_asked(2, b, 0, 1);
}
END_TEST

START_TEST(without_a_pool_or_a_period_there_is_nothing_to_wake_for)
{
	struct world_pool *a = world_open(w, 1, 1, 8);

	ck_assert_int_ne(core_next_due(&w->core).ns, INSTANT_NEVER.ns);
	world_close(w, a);
	pass_period();
	ck_assert_int_eq(core_next_due(&w->core).ns, INSTANT_NEVER.ns);
	w->core.params.audit_ns = 0;
	world_open(w, 1, 1, 8);
	ck_assert_int_eq(core_next_due(&w->core).ns, INSTANT_NEVER.ns);
	ck_assert_uint_eq(nasked, 0);
}
END_TEST

START_TEST(a_shorter_period_counts_at_once)
{
	struct core_params params = w->core.params;

	world_open(w, 1, 1, 8);
	params.audit_ns = audit_period_ns(5 * NS_PER_MS);
	ck_assert_int_eq(params.audit_ns, NS_PER_S); /* so often, and no more */
	ck_assert_int_eq(audit_period_ns(2 * NS_PER_S), 2 * NS_PER_S);
	core_set_params(&w->core, &params, w->now);
	world_pass_time(w, NS_PER_S);
	ck_assert_uint_eq(nasked, 1);
}
END_TEST

/* --- The keeper --- */

#define CHUNKS 4u

static struct heap heap;
static int pagemap;

static void
enter_heap(void)
{
	ck_assert_int_eq(heap_init(&heap, HEAP_PAGE, 2 * CHUNKS), 0);
	ck_assert_int_eq(heap_pin(&heap, CHUNKS), 0);
	pagemap = heap_audit_open();
	ck_assert_int_ne(pagemap, -1);
}

static void
leave_heap(void)
{
	close(pagemap);
	heap_fini(&heap);
}

static void
punch(int fd, uint64_t page, uint64_t pages)
{
	ck_assert_int_eq(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			     (off_t)(page * FRAME_SIZE), (off_t)(pages * FRAME_SIZE)),
	    0);
}

/* As a client does it: through a mapping of its own. */
static void
touch(int fd, uint64_t page)
{
	char *p = mmap(NULL, FRAME_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
	    (off_t)(page * FRAME_SIZE));

	ck_assert_ptr_ne(p, MAP_FAILED);
	*(volatile char *)p = 1;
	munmap(p, FRAME_SIZE);
}

static void
expect_found(int map, uint32_t to, uint32_t holes, uint32_t unlocked)
{
	struct heap_found found = { 0 };

	ck_assert_int_eq(heap_audit(&heap, map, 0, to, &found), 0);
	ck_assert_uint_eq(found.holes, holes);
	ck_assert_uint_eq(found.unlocked, unlocked);
}

START_TEST(what_was_punched_is_found_and_locked_again)
{
	expect_found(pagemap, CHUNKS, 0, 0);
	punch(heap.memory, 10, 20);
	touch(heap.memory, 12);
	touch(heap.memory, 15);
	expect_found(pagemap, CHUNKS, 18, 2);
	expect_found(pagemap, CHUNKS, 0, 0);
}
END_TEST

START_TEST(the_ledger_is_looked_at_too)
{
	punch(heap.ledger, 0, 1);
	expect_found(pagemap, CHUNKS, 1, 0);
	punch(heap.ledger, 1, 1);
	touch(heap.ledger, 1);
	expect_found(pagemap, CHUNKS, 0, 1);
	expect_found(pagemap, CHUNKS, 0, 0);
}
END_TEST

START_TEST(what_is_not_pinned_is_nobodys_business)
{
	touch(heap.memory, CHUNKS * CHUNK_FRAMES);
	punch(heap.memory, CHUNKS * CHUNK_FRAMES - 1, 2);
	expect_found(pagemap, CHUNKS, 1, 0);
}
END_TEST

START_TEST(without_the_page_table_it_is_locked_again_all_the_same)
{
	punch(heap.memory, 10, 20);
	touch(heap.memory, 12);
	expect_found(-1, CHUNKS, 19, 0);
	expect_found(pagemap, CHUNKS, 0, 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("audit");
	TCase *core = tcase_create("core"), *keeper = tcase_create("keeper");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(core, enter, leave);
	tcase_add_test(core, slice_by_slice_and_pool_by_pool);
	tcase_add_test(core, what_is_found_is_counted_and_told_once_a_pass);
	tcase_add_test(core, one_that_is_under_way_is_not_begun_again);
	tcase_add_test(core, a_pool_that_goes_in_the_midst_of_it_is_passed_over);
	tcase_add_test(core, a_prefix_that_shrank_ends_the_pool);
	tcase_add_test(core, without_a_pool_or_a_period_there_is_nothing_to_wake_for);
	tcase_add_test(core, a_shorter_period_counts_at_once);
	suite_add_tcase(suite, core);
	tcase_add_checked_fixture(keeper, enter_heap, leave_heap);
	tcase_add_test(keeper, what_was_punched_is_found_and_locked_again);
	tcase_add_test(keeper, the_ledger_is_looked_at_too);
	tcase_add_test(keeper, what_is_not_pinned_is_nobodys_business);
	tcase_add_test(keeper, without_the_page_table_it_is_locked_again_all_the_same);
	suite_add_tcase(suite, keeper);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
