/* SPDX-License-Identifier: ISC */

/* The ledger: sizes, takes, gives, openings, closings; and scribbled ones. */
#include "proto/ledger.h"

#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "proto/cache.h"
#include "proto/ledger_plan.h"

#define CHUNKS 24u /* 6 MiB */
#define FRAMES (CHUNKS * CHUNK_FRAMES)
#define PAGE   ((size_t)4096)

/* The ledger stands between two pages that nobody may touch. */
static struct ledger ledger, *const l = &ledger;
static char *mapping;

static size_t
mapping_size(void)
{
	return ledger_size(CHUNKS) + 2 * PAGE;
}

static void
set_open(uint32_t chunks)
{
	atomic_store(&l->header->open, chunks);
}

static void
setup_closed(void)
{
	mapping =
	    mmap(NULL, mapping_size(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(mapping, MAP_FAILED);
	ck_assert_int_eq(
	    mprotect(mapping + PAGE, ledger_size(CHUNKS), PROT_READ | PROT_WRITE), 0);
	ledger_attach(l, mapping + PAGE, CHUNKS, LEDGER_CACHES);
	ledger_init(l);
}

static void
setup(void)
{
	setup_closed();
	for (uint32_t c = 0; c < CHUNKS; c++)
		ledger_open_chunk(l, c);
	set_open(CHUNKS);
}

static void
teardown(void)
{
	munmap(mapping, mapping_size());
}

static uint32_t
take(unsigned int order)
{
	uint32_t frame = UINT32_MAX;

	ck_assert_int_eq(ledger_take(l, order, &frame), 0);
	return frame;
}

static void
must_be_full(unsigned int order)
{
	uint32_t frame = 12345;

	ck_assert_int_eq(ledger_take(l, order, &frame), LEDGER_E_FULL);
	ck_assert_uint_eq(frame, 12345); /* output on success only */
}

static void
give(uint32_t frame)
{
	ck_assert_int_eq(ledger_give(l, frame), 0);
}

static uint64_t
free_frames(void)
{
	return ledger_count_free(l, (struct chunk_range){ 0, CHUNKS });
}

/* --- Sizes and addresses --- */

START_TEST(an_order_changes_behind_each_power_of_two_of_frames)
{
	static const struct {
		uint64_t size;
		unsigned int order;
	} t[] = { { 1, 0 }, { 4095, 0 }, { 4096, 0 }, { 4097, 1 }, { 8192, 1 },
		{ 8193, 2 }, { 131072, 5 }, { 131073, 6 }, { 262144, 6 }, { 262145, 7 },
		{ 524288, 7 }, { 524289, 8 }, { (uint64_t)1 << 40, 28 },
		{ ((uint64_t)1 << 40) + 1, 29 }, { (uint64_t)1 << 63, 51 },
		{ ((uint64_t)1 << 63) + 1, 52 }, { UINT64_MAX, 52 } };

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		ck_assert_uint_eq(ledger_order(t[i].size), t[i].order);
	for (unsigned int k = 0; k < 52; k++) {
		ck_assert_uint_eq(ledger_order(FRAME_SIZE << k), k);
		ck_assert_uint_eq(ledger_order((FRAME_SIZE << k) + 1), k + 1);
	}
}
END_TEST

START_TEST(a_buffer_up_to_a_chunk_occupies_one_and_then_they_double)
{
	for (unsigned int k = 0; k <= CHUNK_ORDER; k++)
		ck_assert_uint_eq(ledger_order_chunks(k), 1);
	ck_assert_uint_eq(ledger_order_chunks(7), 2);
	ck_assert_uint_eq(ledger_order_chunks(8), 4);
	ck_assert_uint_eq(ledger_order_chunks(ORDER_MAX), CHUNKS_MAX);
}
END_TEST

static void
expect_in_order(const void *const *at, unsigned int n)
{
	for (unsigned int i = 1; i < n; i++)
		ck_assert_msg((uintptr_t)at[i - 1] <= (uintptr_t)at[i],
		    "%u: %p is not before %p", i, at[i - 1], at[i]);
}

START_TEST(the_parts_of_a_ledger_do_not_overlap_and_fill_it)
{
	static const uint32_t chunks[] = { 1, 63, 64, 65, 112, 113, 257, 368, 369, 1025,
		CHUNKS_MAX };

	for (size_t i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++) {
		uint32_t n = chunks[i];
		size_t size = ledger_size(n);
		struct ledger v;
		char *base = mmap(NULL, size, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		ck_assert_ptr_ne(base, MAP_FAILED);
		ledger_attach(&v, base, n, LEDGER_CACHES);
		expect_in_order(
		    (const void *const[]){ base, ledger_chunk(&v, n - 1), v.header,
			v.header + 1, v.near, v.near + LEDGER_CACHES_LOCKED, v.order,
			v.order + (size_t)n * CHUNK_FRAMES, v.far,
			v.far + LEDGER_CACHES - LEDGER_CACHES_LOCKED, base + size },
		    11);
		ck_assert_ptr_eq(ledger_chunk(&v, 0) + 1, v.header);
		ck_assert_uint_eq((uintptr_t)v.near % PAGE, LEDGER_CACHES_AT);
		ck_assert_uint_eq((char *)v.near - (char *)v.header, 256);
		ck_assert_uint_eq((uintptr_t)v.order % PAGE, 0);
		munmap(base, size);
	}
}
END_TEST

START_TEST(a_cache_is_found_by_its_number_and_the_other_way_round)
{
	for (uint32_t i = 0; i < LEDGER_CACHES; i++) {
		struct bud_inline_cache *c = ledger_cache(l, i);

		ck_assert_uint_eq(ledger_cache_number(l, c), i);
		ck_assert(i < LEDGER_CACHES_LOCKED ? c == l->near + i : c >= l->far);
	}
}
END_TEST

static void
expect_span(struct ledger_span s, size_t from_page, size_t to_page)
{
	ck_assert_uint_eq(s.from, from_page * PAGE);
	ck_assert_uint_eq(s.to, to_page * PAGE);
}

/* 2048 chunks: 112 in the header's page, the others in 8; 4 of header and caches, 32 of order[]. */
START_TEST(what_must_be_locked_lies_side_by_side)
{
	expect_span(ledger_span(2048, 0), 8, 13);
	expect_span(ledger_span(2048, 1), 8, 13);
	expect_span(ledger_span(2048, 64), 8, 13);
	expect_span(ledger_span(2048, 65), 8, 14);
	expect_span(ledger_span(2048, 112), 8, 14);
	expect_span(ledger_span(2048, 113), 7, 14);
	expect_span(ledger_span(2048, 368), 7, 18);
	expect_span(ledger_span(2048, 369), 6, 18);
	expect_span(ledger_span(2048, 2048), 0, 44);
	ck_assert_uint_eq(ledger_resident(2048, 0), 5 * PAGE);
	ck_assert_uint_eq(ledger_resident(2048, 369), 12 * PAGE);
}
END_TEST

START_TEST(a_pool_that_grows_needs_more_at_both_ends)
{
	expect_span(ledger_below(2048, 0, 112), 8, 8);
	expect_span(ledger_above(2048, 0, 112), 13, 14);
	expect_span(ledger_below(2048, 112, 113), 7, 8);
	expect_span(ledger_above(2048, 112, 113), 14, 14);
	expect_span(ledger_below(2048, 64, 2048), 0, 8);
	expect_span(ledger_above(2048, 64, 2048), 13, 44);
	for (uint32_t from = 0; from <= 2048; from += 37)
		for (uint32_t to = from; to <= 2048; to += 41) {
			struct ledger_span below = ledger_below(2048, from, to),
					   above = ledger_above(2048, from, to);

			ck_assert_uint_eq(
			    ledger_resident(2048, to) - ledger_resident(2048, from),
			    below.to - below.from + above.to - above.from);
		}
}
END_TEST

START_TEST(a_new_ledger_has_nothing_free_and_no_mark)
{
	ck_assert_uint_eq(l->header->magic, LEDGER_MAGIC);
	ck_assert_uint_eq(l->header->version, LEDGER_VERSION);
	ck_assert_uint_eq(l->header->chunks, CHUNKS);
	ck_assert_uint_eq(atomic_load(&l->header->low_mark), LEDGER_MARK_NONE);
	ck_assert(!ledger_queued(l));
	ck_assert_uint_eq(free_frames(), 0);
	ck_assert(ledger_check(l, 0));
	set_open(CHUNKS);
	must_be_full(0);
	must_be_full(7);
}
END_TEST

/* --- Taking and giving --- */

START_TEST(the_lowest_address_is_taken_first)
{
	uint32_t a = take(0), b = take(0), c = take(3);

	ck_assert_uint_eq(a, 0);
	ck_assert_uint_eq(b, 1);
	ck_assert_uint_eq(c, 8);
	ck_assert_uint_eq(take(1), 2);
	give(a);
	ck_assert_uint_eq(take(0), 0);
	ck_assert_uint_eq(take(CHUNK_ORDER), CHUNK_FRAMES);
	ck_assert_uint_eq(take(0), 4);
	give(c);
	ck_assert_uint_eq(take(2), 8);
}
END_TEST

START_TEST(a_buffer_of_any_order_is_aligned_and_all_fit_without_a_gap)
{
	unsigned int order = (unsigned int)_i;
	uint32_t size = 1u << order;

	for (uint32_t n = 0; n < FRAMES / size; n++) {
		ck_assert_uint_eq(take(order), n * size);
		ck_assert_int_eq(ledger_order_at(l, n * size), (int)order);
	}
	must_be_full(order);
	must_be_full(0);
	ck_assert_uint_eq(free_frames(), 0);
	ck_assert(ledger_check(l, CHUNKS));
	for (uint32_t n = 0; n < FRAMES / size; n++)
		give(n * size);
	ck_assert_uint_eq(free_frames(), FRAMES);
	ck_assert(ledger_check(l, CHUNKS));
}
END_TEST

START_TEST(small_buffers_are_aligned_to_their_size_among_others)
{
	take(0);
	for (unsigned int order = 1; order <= CHUNK_ORDER; order++)
		ck_assert_uint_eq(take(order) % (1u << order), 0);
	ck_assert(ledger_check(l, CHUNKS));
}
END_TEST

START_TEST(a_large_buffer_begins_at_the_first_chunk_of_a_long_enough_row)
{
	uint32_t first = take(0), hole;

	ck_assert_uint_eq(take(7), 1 * CHUNK_FRAMES);
	hole = take(8); /* chunks 3 to 6: not aligned to its size */
	ck_assert_uint_eq(hole, 3 * CHUNK_FRAMES);
	ck_assert_uint_eq(take(CHUNK_ORDER), 7 * CHUNK_FRAMES);
	give(hole);
	ck_assert_uint_eq(take(9), 8 * CHUNK_FRAMES); /* the hole is too short */
	ck_assert_uint_eq(take(7), 3 * CHUNK_FRAMES);
	give(first);
	ck_assert_uint_eq(take(CHUNK_ORDER), 0);
	ck_assert(ledger_check(l, CHUNKS));
}
END_TEST

START_TEST(a_row_one_chunk_too_short_does_not_do)
{
	uint32_t keep[CHUNKS];

	for (uint32_t c = 0; c < CHUNKS; c++)
		keep[c] = take(CHUNK_ORDER);
	for (uint32_t c = 4; c < 7; c++)
		give(keep[c]);
	must_be_full(8); /* four chunks */
	give(keep[7]);
	ck_assert_uint_eq(take(8), 4 * CHUNK_FRAMES);
}
END_TEST

START_TEST(nothing_is_taken_beyond_the_mark_of_what_is_open)
{
	set_open(3);
	must_be_full(8);
	ck_assert_uint_eq(take(7), 0);
	ck_assert_uint_eq(take(CHUNK_ORDER), 2 * CHUNK_FRAMES);
	must_be_full(0);
	set_open(UINT32_MAX); /* a scribbled mark is bounded by what the viewer knows */
	ck_assert_uint_eq(take(8), 3 * CHUNK_FRAMES);
}
END_TEST

/* Takes and gives single chunks where rows are being taken. */
static void *
get_in_the_way(void *arg)
{
	uint32_t frame;

	for (int i = 0; i < 20000; i++)
		if (ledger_take(arg, i % 2 == 0 ? CHUNK_ORDER : 2, &frame) == 0)
			(void)ledger_give(arg, frame);
	return NULL;
}

START_TEST(a_row_that_loses_a_chunk_puts_back_what_it_took)
{
	pthread_t other;
	uint32_t frame;

	set_open(5);
	ck_assert_int_eq(pthread_create(&other, NULL, get_in_the_way, l), 0);
	for (int i = 0; i < 20000; i++)
		if (ledger_take(l, 8, &frame) == 0)
			give(frame);
	ck_assert_int_eq(pthread_join(other, NULL), 0);
	ck_assert_uint_eq(free_frames(), FRAMES);
	ck_assert(ledger_check(l, CHUNKS));
}
END_TEST

/* --- Bad gives --- */

START_TEST(a_buffer_given_twice_is_told)
{
	for (unsigned int order = 0; order <= 9; order++) {
		uint32_t frame = take(order);

		give(frame);
		ck_assert_int_ne(ledger_give(l, frame), 0);
		ck_assert_uint_eq(free_frames(), FRAMES);
		ck_assert(ledger_check(l, CHUNKS));
	}
}
END_TEST

START_TEST(two_threads_that_give_the_same_buffer_do_not_both_succeed)
{
	uint32_t small = take(2), large = take(7);

	give(small);
	give(large);
	/* As if the other thread had read order[] before the first one cleared it. */
	atomic_store(&l->order[small], 3);
	atomic_store(&l->order[large], 8);
	ck_assert_int_eq(ledger_give(l, small), LEDGER_E_TWICE);
	ck_assert_int_eq(ledger_give(l, large), LEDGER_E_TWICE);
}
END_TEST

START_TEST(a_pointer_into_the_middle_is_foreign)
{
	uint32_t frame = take(3), row = take(8);

	for (uint32_t f = frame + 1; f < frame + 8; f++)
		ck_assert_int_eq(ledger_give(l, f), LEDGER_E_FOREIGN);
	for (uint32_t f = row + 1; f < row + 4 * CHUNK_FRAMES; f++)
		ck_assert_int_eq(ledger_give(l, f), LEDGER_E_FOREIGN);
	ck_assert(ledger_check(l, CHUNKS));
	give(frame);
	give(row);
}
END_TEST

START_TEST(the_middle_of_a_buffer_is_foreign_whatever_was_there_before)
{
	uint32_t frame[CHUNK_FRAMES];

	for (uint32_t i = 0; i < CHUNK_FRAMES; i++)
		frame[i] = take(0);
	for (uint32_t i = 0; i < CHUNK_FRAMES; i++)
		give(frame[i]);
	give(take(8));
	ck_assert_uint_eq(take(CHUNK_ORDER), 0);
	ck_assert_uint_eq(take(CHUNK_ORDER), CHUNK_FRAMES);
	for (uint32_t f = 1; f < 2 * CHUNK_FRAMES; f++)
		if (f != CHUNK_FRAMES)
			ck_assert_int_eq(ledger_give(l, f), LEDGER_E_FOREIGN);
}
END_TEST

START_TEST(what_was_never_taken_or_lies_outside_is_foreign)
{
	ck_assert_int_eq(ledger_give(l, 0), LEDGER_E_FOREIGN);
	ck_assert_int_eq(ledger_give(l, FRAMES - 1), LEDGER_E_FOREIGN);
	ck_assert_int_eq(ledger_give(l, FRAMES), LEDGER_E_FOREIGN);
	ck_assert_int_eq(ledger_give(l, UINT32_MAX), LEDGER_E_FOREIGN);
	ck_assert_int_eq(ledger_order_at(l, FRAMES), -1);
	ck_assert_uint_eq(free_frames(), FRAMES);
}
END_TEST

/* --- Random use --- */

START_TEST(frees_in_any_order_make_one_whole_again)
{
	uint32_t frame[FRAMES], n = 0, i;

	srandom((unsigned int)_i); /* the loop number is the seed: failures repeat */
	for (unsigned int misses = 0; misses < 8;) {
		unsigned int order = (unsigned int)random() % 10;

		if (random() % 4 == 0 && n > 0) {
			i = (uint32_t)random() % n;
			give(frame[i]);
			frame[i] = frame[--n];
		} else if (ledger_take(l, order, &frame[n]) == 0) {
			n++;
		} else {
			misses++;
		}
		ck_assert(ledger_check(l, CHUNKS));
	}
	while (n > 0) {
		i = (uint32_t)random() % n;
		give(frame[i]);
		frame[i] = frame[--n];
		ck_assert(ledger_check(l, CHUNKS));
	}
	ck_assert(ledger_is_empty(l, (struct chunk_range){ 0, CHUNKS }));
	ck_assert_uint_eq(take(10), 0);
}
END_TEST

START_TEST(the_check_sees_each_kind_of_damage)
{
	uint32_t small = take(2), row = take(8);

	ck_assert(ledger_check(l, CHUNKS));
	ck_assert(!ledger_check(l, CHUNKS - 1)); /* I3: free beyond what is open */
	atomic_fetch_or(
	    &ledger_chunk(l, 0)->free, 2); /* I1: a free frame in a buffer */
	ck_assert(!ledger_check(l, CHUNKS));
	atomic_fetch_and(&ledger_chunk(l, 0)->free, ~UINT64_C(2));
	atomic_fetch_and(
	    &ledger_chunk(l, 0)->free, ~(UINT64_C(1) << 40)); /* I1: used by nobody */
	ck_assert(!ledger_check(l, CHUNKS));
	atomic_fetch_or(&ledger_chunk(l, 0)->free, UINT64_C(1) << 40);
	atomic_store(&l->order[small + 9], 1); /* I2: a buffer starts at a free frame */
	ck_assert(!ledger_check(l, CHUNKS));
	atomic_store(&l->order[small + 9], LEDGER_NONE);
	atomic_store(&l->order[row + CHUNK_FRAMES], 7); /* I2: and within another */
	ck_assert(!ledger_check(l, CHUNKS));
	atomic_store(&l->order[row + CHUNK_FRAMES], LEDGER_INNER);
	ck_assert(ledger_check(l, CHUNKS));
}
END_TEST

/* --- Opening and closing --- */

START_TEST(a_chunk_closes_only_when_it_is_empty)
{
	uint32_t frame;

	for (uint32_t c = 0; c < CHUNKS; c++)
		take(CHUNK_ORDER);
	give(5 * CHUNK_FRAMES);
	frame = take(0);
	ck_assert(!ledger_close_chunk(l, 5));
	ck_assert(!ledger_close_chunk(l, 6));
	give(frame);
	ck_assert(ledger_close_chunk(l, 5));
	ck_assert(!ledger_close_chunk(l, 5)); /* it is closed */
	must_be_full(0);
}
END_TEST

START_TEST(a_closed_chunk_comes_back_by_reopening_and_keeps_its_generation)
{
	uint32_t generation = atomic_load(&ledger_chunk(l, 7)->generation);

	ck_assert(ledger_close_chunk(l, 7));
	ck_assert_uint_eq(free_frames(), FRAMES - CHUNK_FRAMES);
	ledger_reopen_chunk(l, 7);
	ck_assert_uint_eq(atomic_load(&ledger_chunk(l, 7)->generation), generation);
	ck_assert_uint_eq(free_frames(), FRAMES);
	ck_assert(ledger_check(l, CHUNKS));
}
END_TEST

START_TEST(a_chunk_opened_anew_has_a_new_generation_and_a_fresh_stamp)
{
	uint32_t generation = atomic_load(&ledger_chunk(l, 7)->generation);

	ck_assert_uint_eq(generation, 1); /* so that 0 says: never opened */
	ck_assert(ledger_close_chunk(l, 7));
	atomic_store(&l->header->tick, 99);
	ledger_open_chunk(l, 7);
	ck_assert_uint_eq(atomic_load(&ledger_chunk(l, 7)->generation), generation + 1);
	ck_assert_uint_eq(atomic_load(&ledger_chunk(l, 7)->stamp), 99);
	ck_assert_uint_eq(atomic_load(&ledger_chunk(l, 8)->stamp), 0);
	ck_assert_uint_eq(atomic_load(&ledger_chunk(l, 7)->free), UINT64_MAX);
}
END_TEST

START_TEST(a_chunk_in_doubt_is_closed_until_its_first_owner_writes)
{
	uint32_t frame;

	ck_assert(!ledger_chunk_is_open(l, 0)); /* nobody ever touched it */
	ledger_open_chunk(l, 0);
	set_open(1);
	ck_assert(ledger_chunk_is_open(l, 0)); /* opened, and not used */
	frame = take(CHUNK_ORDER);
	ck_assert(ledger_chunk_is_open(l, 0)); /* used as a whole */
	give(frame);
	frame = take(0);
	ck_assert(ledger_chunk_is_open(l, 0)); /* used in part */
	give(frame);
	ck_assert(ledger_close_chunk(l, 0));
	ck_assert(!ledger_chunk_is_open(l, 0));
	ledger_reopen_chunk(l, 0);
	ck_assert(ledger_chunk_is_open(l, 0));
}
END_TEST

START_TEST(a_chunk_in_doubt_full_of_any_mixture_is_open)
{
	srandom((unsigned int)_i);
	ledger_open_chunk(l, 0);
	ledger_open_chunk(l, 1);
	set_open(2);
	while (free_frames() > 0) {
		uint32_t frame;

		(void)ledger_take(l, (unsigned int)random() % 8, &frame);
		ck_assert(ledger_chunk_is_open(l, 0));
		ck_assert(ledger_chunk_is_open(l, 1));
	}
}
END_TEST

START_TEST(a_large_buffer_shows_in_each_chunk_in_doubt)
{
	uint32_t row = take(8) / CHUNK_FRAMES;

	for (uint32_t c = row; c < row + 4; c++)
		ck_assert(ledger_chunk_is_open(l, c));
}
END_TEST

/* --- Header --- */

START_TEST(queued_is_seen_while_it_is_raised)
{
	ledger_set_queued(l, true);
	ck_assert(ledger_queued(l));
	ledger_set_queued(l, true);
	ck_assert(ledger_queued(l));
	ledger_set_queued(l, false);
	ck_assert(!ledger_queued(l));
}
END_TEST

START_TEST(the_low_mark_is_claimed_once)
{
	ck_assert(!ledger_claim_mark(l, FRAMES - 1)); /* not armed */
	atomic_store(&l->header->low_mark, 100);
	ck_assert(!ledger_claim_mark(l, 99));
	ck_assert(ledger_claim_mark(l, 100));
	ck_assert(!ledger_claim_mark(l, 100));
	ck_assert(!ledger_claim_mark(l, 101));
	atomic_store(&l->header->low_mark, 100);
	ck_assert(ledger_claim_mark(l, 101));
}
END_TEST

/* --- Figures --- */

START_TEST(idleness_counts_from_the_newest_allocation)
{
	struct chunk_range all = { 0, CHUNKS }, upper = { 1, CHUNKS };

	ck_assert_uint_eq(ledger_idle_ticks(l, all, 0), 0);
	ck_assert_uint_eq(ledger_idle_ticks(l, all, 10), 10);
	atomic_store(&l->header->tick, 7);
	give(take(0)); /* a buffer of an instant counts as well */
	ck_assert_uint_eq(ledger_idle_ticks(l, all, 10), 3);
	ck_assert_uint_eq(ledger_idle_ticks(l, upper, 10), 10);
	atomic_store(&l->header->tick, 9);
	give(take(8));
	ck_assert_uint_eq(ledger_idle_ticks(l, upper, 10), 1);
	ck_assert_uint_eq(
	    ledger_idle_ticks(l, (struct chunk_range){ 4, CHUNKS }, 10), 10);
	ck_assert_uint_eq(
	    ledger_idle_ticks(l, (struct chunk_range){ 5, 5 }, 10), UINT32_MAX);
}
END_TEST

START_TEST(a_stamp_of_the_future_is_as_new_as_now)
{
	struct chunk_range all = { 0, CHUNKS };

	atomic_store(&ledger_chunk(l, 3)->stamp, 10u + INT32_MAX);
	ck_assert_uint_eq(ledger_idle_ticks(l, all, 10), 0);
	atomic_store(&ledger_chunk(l, 3)->stamp, 11);
	ck_assert_uint_eq(ledger_idle_ticks(l, all, 10), 0);
	atomic_store(&ledger_chunk(l, 3)->stamp, 10);
	ck_assert_uint_eq(ledger_idle_ticks(l, all, 10), 0);
	atomic_store(&ledger_chunk(l, 3)->stamp, 9);
	ck_assert_uint_eq(ledger_idle_ticks(l, all, 10), 1);
}
END_TEST

START_TEST(idleness_survives_the_wrapping_of_ticks)
{
	struct chunk_range third = { 3, 4 };

	atomic_store(&ledger_chunk(l, 3)->stamp, UINT32_MAX - 4);
	ck_assert_uint_eq(ledger_idle_ticks(l, third, 5), 10);
}
END_TEST

static uint64_t
largest_free(struct chunk_range r)
{
	struct ledger_plan plan = { 0 };
	uint64_t bytes;

	ck_assert_int_eq(ledger_plan_load(&plan, l, r.to), 0);
	bytes = ledger_plan_largest(&plan, r);
	ledger_plan_fini(&plan);
	return bytes;
}

START_TEST(the_largest_free_buffer_is_what_a_take_would_get)
{
	struct chunk_range r = { 0, 0 };
	uint32_t frame;

	srandom((unsigned int)_i);
	r.to = 1 + (uint32_t)random() % CHUNKS;
	set_open(r.to);
	for (int i = 0; i < 40; i++) {
		uint64_t largest = largest_free(r);

		if (largest > 0) {
			unsigned int order = ledger_order(largest);

			ck_assert_uint_eq(FRAME_SIZE << order, largest);
			must_be_full(order + 1);
			frame = take(order);
			give(frame);
		} else {
			must_be_full(0);
		}
		(void)ledger_take(l, (unsigned int)random() % 9, &frame);
	}
}
END_TEST

START_TEST(a_range_is_empty_until_a_frame_in_it_is_taken)
{
	struct chunk_range low = { 0, 1 }, high = { 1, CHUNKS };

	ck_assert(ledger_is_empty(l, low) && ledger_is_empty(l, high));
	take(0);
	ck_assert(!ledger_is_empty(l, low) && ledger_is_empty(l, high));
	ck_assert_uint_eq(ledger_count_free(l, low), CHUNK_FRAMES - 1);
	ck_assert_uint_eq(ledger_count_free(l, high), FRAMES - CHUNK_FRAMES);
	take(7);
	ck_assert(!ledger_is_empty(l, high));
}
END_TEST

/* --- Plans --- */

START_TEST(a_plan_holds_exactly_when_taking_succeeds)
{
	struct ledger_plan plan = { 0 };

	srandom((unsigned int)_i);
	for (int round = 0; round < 60; round++) {
		unsigned int order = (unsigned int)random() % 9, got = 0;
		uint32_t count = 1 + (uint32_t)random() % 5, frame[5];
		bool planned;

		ck_assert_int_eq(ledger_plan_load(&plan, l, CHUNKS), 0);
		planned = ledger_plan_take(&plan, order, count);
		while (got < count && ledger_take(l, order, &frame[got]) == 0)
			got++;
		ck_assert_int_eq(planned, got == count);
		for (uint32_t c = 0; planned && c < CHUNKS; c++)
			ck_assert_uint_eq(
			    plan.words[c], atomic_load(&ledger_chunk(l, c)->free));
		while (got > 0 && (!planned || random() % 2 == 0))
			give(frame[--got]);
	}
	ledger_plan_fini(&plan);
}
END_TEST

START_TEST(a_plan_tells_of_several_requests_in_turn)
{
	struct ledger_plan plan = { 0 };
	uint32_t left[CHUNKS];

	for (uint32_t c = 0; c < CHUNKS; c++)
		left[c] = take(CHUNK_ORDER);
	for (uint32_t c = 4; c < 8; c++)
		give(left[c]);
	ck_assert_int_eq(ledger_plan_load(&plan, l, CHUNKS), 0);
	ck_assert(ledger_plan_take(&plan, 7, 1));
	ck_assert(ledger_plan_take(&plan, 0, 64));
	ck_assert(ledger_plan_take(&plan, 5, 2));
	ck_assert(!ledger_plan_take(&plan, 0, 1));
	ledger_plan_fini(&plan);
}
END_TEST

START_TEST(a_plan_extends_by_chunks_that_are_not_there_yet)
{
	struct ledger_plan plan = { 0 };

	for (uint32_t c = 0; c + 1 < CHUNKS; c++)
		take(CHUNK_ORDER);
	ck_assert_int_eq(ledger_plan_load(&plan, l, CHUNKS), 0);
	ck_assert(!ledger_plan_take(&plan, 8, 1));
	ck_assert_int_eq(ledger_plan_extend(&plan, 2), 0);
	ck_assert(!ledger_plan_take(&plan, 8, 1));
	ck_assert_int_eq(ledger_plan_extend(&plan, 1), 0);
	ck_assert(ledger_plan_take(&plan, 8, 1)); /* across the end of what there is */
	ck_assert_int_eq(ledger_plan_load(&plan, l, 0), 0);
	ck_assert(!ledger_plan_take(&plan, 0, 1));
	ledger_plan_fini(&plan);
	ck_assert_ptr_null(plan.words);
}
END_TEST

/* --- Scribbles: guard pages, a sanitizer and an alarm are the judges --- */

static void
scribble(void)
{
	char *p = mapping + PAGE;
	size_t n = ledger_size(CHUNKS);
	long kind = random() % 3;

	for (size_t i = 0; i < n; i++) {
		if (kind == 0)
			p[i] = (char)random();
		else if (kind == 1)
			p[i] = random() % 2 != 0 ? '\xff' : (char)(random() % 35);
		else if (random() % 16 == 0)
			p[i] = (char)random();
	}
}

START_TEST(a_scribbled_ledger_cannot_lead_budd_astray)
{
	struct chunk_range r = { 0, CHUNKS };
	struct ledger_plan plan = { 0 };

	srandom((unsigned int)_i);
	for (int round = 0; round < 20; round++) {
		scribble();
		(void)ledger_is_empty(l, r);
		ck_assert_uint_le(ledger_count_free(l, r), FRAMES);
		ck_assert_uint_le(largest_free(r), FRAMES * FRAME_SIZE);
		(void)ledger_idle_ticks(l, r, (uint32_t)random());
		for (unsigned int order = 0; order <= 12; order++) {
			ck_assert_int_eq(ledger_plan_load(&plan, l, CHUNKS), 0);
			(void)ledger_plan_take(
			    &plan, order, 1 + (uint32_t)random() % 1024);
		}
		for (uint32_t c = 0; c < CHUNKS; c++) {
			(void)ledger_chunk_is_open(l, c);
			if (ledger_close_chunk(l, c) && random() % 2 == 0)
				ledger_reopen_chunk(l, c);
			else if (random() % 2 == 0)
				ledger_open_chunk(l, c);
		}
		ledger_set_queued(l, random() % 2 != 0);
		ck_assert(!ledger_check(l, 0) || free_frames() == 0);
		(void)ledger_check(l, CHUNKS);
	}
	ledger_plan_fini(&plan);
}
END_TEST

START_TEST(a_scribbled_ledger_keeps_the_client_within_bounds)
{
	uint32_t frame;

	srandom((unsigned int)_i);
	for (int round = 0; round < 20; round++) {
		scribble();
		for (uint32_t f = 0; f < FRAMES + 2 * CHUNK_FRAMES; f++)
			(void)ledger_order_at(l, f);
		for (int i = 0; i < 200; i++) {
			if (ledger_take(l, (unsigned int)random() % 12, &frame) == 0)
				ck_assert_uint_lt(frame, FRAMES);
			(void)ledger_give(l, (uint32_t)random() % (FRAMES + 64));
			(void)ledger_claim_mark(l, (uint32_t)random());
			(void)ledger_queued(l);
		}
	}
}
END_TEST

static void
add_to_open(TCase *use)
{
	tcase_add_checked_fixture(use, setup, teardown);
	tcase_add_test(use, the_lowest_address_is_taken_first);
	tcase_add_loop_test(
	    use, a_buffer_of_any_order_is_aligned_and_all_fit_without_a_gap, 0, 10);
	tcase_add_test(use, small_buffers_are_aligned_to_their_size_among_others);
	tcase_add_test(
	    use, a_large_buffer_begins_at_the_first_chunk_of_a_long_enough_row);
	tcase_add_test(use, a_row_one_chunk_too_short_does_not_do);
	tcase_add_test(use, nothing_is_taken_beyond_the_mark_of_what_is_open);
	tcase_add_test(use, a_row_that_loses_a_chunk_puts_back_what_it_took);
	tcase_add_test(use, a_buffer_given_twice_is_told);
	tcase_add_test(use, two_threads_that_give_the_same_buffer_do_not_both_succeed);
	tcase_add_test(use, a_pointer_into_the_middle_is_foreign);
	tcase_add_test(
	    use, the_middle_of_a_buffer_is_foreign_whatever_was_there_before);
	tcase_add_test(use, what_was_never_taken_or_lies_outside_is_foreign);
	tcase_add_loop_test(use, frees_in_any_order_make_one_whole_again, 0, 20);
	tcase_add_test(use, the_check_sees_each_kind_of_damage);
	tcase_add_test(use, a_chunk_closes_only_when_it_is_empty);
	tcase_add_test(
	    use, a_closed_chunk_comes_back_by_reopening_and_keeps_its_generation);
	tcase_add_test(use, a_chunk_opened_anew_has_a_new_generation_and_a_fresh_stamp);
	tcase_add_test(use, a_large_buffer_shows_in_each_chunk_in_doubt);
	tcase_add_test(use, queued_is_seen_while_it_is_raised);
	tcase_add_test(use, the_low_mark_is_claimed_once);
	tcase_add_test(use, idleness_counts_from_the_newest_allocation);
	tcase_add_test(use, idleness_survives_the_wrapping_of_ticks);
	tcase_add_test(use, a_stamp_of_the_future_is_as_new_as_now);
	tcase_add_loop_test(
	    use, the_largest_free_buffer_is_what_a_take_would_get, 0, 20);
	tcase_add_test(use, a_range_is_empty_until_a_frame_in_it_is_taken);
	tcase_add_loop_test(use, a_plan_holds_exactly_when_taking_succeeds, 0, 20);
	tcase_add_test(use, a_plan_tells_of_several_requests_in_turn);
	tcase_add_test(use, a_plan_extends_by_chunks_that_are_not_there_yet);
}

static Suite *
suite(void)
{
	Suite *s = suite_create("ledger");
	TCase *sizes = tcase_create("sizes"), *fresh = tcase_create("closed"),
	      *use = tcase_create("open"), *scribbles = tcase_create("scribbles");

	tcase_add_test(sizes, an_order_changes_behind_each_power_of_two_of_frames);
	tcase_add_test(sizes, a_buffer_up_to_a_chunk_occupies_one_and_then_they_double);
	tcase_add_test(sizes, the_parts_of_a_ledger_do_not_overlap_and_fill_it);
	tcase_add_test(sizes, what_must_be_locked_lies_side_by_side);
	tcase_add_test(sizes, a_pool_that_grows_needs_more_at_both_ends);

	tcase_add_checked_fixture(fresh, setup_closed, teardown);
	tcase_add_test(fresh, a_cache_is_found_by_its_number_and_the_other_way_round);
	tcase_add_test(fresh, a_new_ledger_has_nothing_free_and_no_mark);
	tcase_add_test(fresh, a_chunk_in_doubt_is_closed_until_its_first_owner_writes);
	tcase_add_loop_test(fresh, a_chunk_in_doubt_full_of_any_mixture_is_open, 0, 20);

	add_to_open(use);

	tcase_add_checked_fixture(scribbles, setup, teardown);
	tcase_set_timeout(scribbles, 20);
	tcase_add_loop_test(
	    scribbles, a_scribbled_ledger_cannot_lead_budd_astray, 0, 20);
	tcase_add_loop_test(
	    scribbles, a_scribbled_ledger_keeps_the_client_within_bounds, 0, 20);

	suite_add_tcase(s, sizes);
	suite_add_tcase(s, fresh);
	suite_add_tcase(s, use);
	suite_add_tcase(s, scribbles);
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
