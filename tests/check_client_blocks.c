/* SPDX-License-Identifier: ISC */

/* libbud: bud_watch_blocks() and bud_gave_up(). */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bud.h"
#include "tests/fakebudd.h"

#define SOON     20000 /* ms */
#define TOLD_MAX 64u

static struct fakebudd fake;
static struct bud_pool *pool;

static struct {
	unsigned int what;
	uint64_t chunk;
	size_t chunks;
} told[TOLD_MAX];
static unsigned int ntold;

static char *memory; /* its first byte: that of the first buffer */

static void *
chunk(uint64_t n)
{
	return memory + n * CHUNK_SIZE;
}

static void
on_block(unsigned int what, void *start, size_t bytes, void *arg)
{
	uint64_t offset = (uint64_t)((char *)start - memory);

	ck_assert_ptr_eq(arg, &fake);
	ck_assert_uint_lt(ntold, TOLD_MAX);
	told[ntold].what = what;
	told[ntold].chunk = offset / CHUNK_SIZE;
	told[ntold++].chunks = bytes / CHUNK_SIZE;
}

static bool
readable(int wait_ms)
{
	struct pollfd p = { .fd = bud_fd(pool), .events = POLLIN };

	return poll(&p, 1, wait_ms) == 1;
}

static void
expect_watch(uint32_t mask)
{
	union proto_msg m;

	fake_expect(&fake, PROTO_WATCH, &m);
	ck_assert_uint_eq(m.watch.mask, mask);
}

static void
setup(void)
{
	fake_init(&fake, 4, 16);
	pool = fake_open(&fake);
	memory = bud_alloc(pool, CHUNK_SIZE, 0);
	ck_assert_ptr_nonnull(memory);
	bud_free(pool, memory);
	ntold = 0;
	ck_assert_int_eq(bud_watch_blocks(pool, on_block, &fake), 0);
	expect_watch(PROTO_EVENT_BLOCKS);
}

static void
teardown(void)
{
	bud_close(pool);
	fake_fini(&fake);
}

/* BLOCK, or with a number RELEASE; in chunks. */
static void
say(uint64_t from, uint64_t n, uint32_t ask)
{
	union proto_msg m;

	proto_init(&m, ask != 0 ? PROTO_RELEASE : PROTO_BLOCK);
	m.block.offset = from * CHUNK_SIZE;
	m.block.bytes = n * CHUNK_SIZE;
	m.block.ask = ask;
	fake_send(&fake, &m);
}

static void
dispatch(unsigned int n)
{
	ntold = 0;
	if (n > 0)
		ck_assert(readable(SOON));
	ck_assert_int_eq(bud_dispatch(pool), n);
	ck_assert_uint_eq(ntold, n);
	ck_assert(!readable(0));
}

static void
expect_told(unsigned int i, unsigned int what, uint64_t from, size_t n)
{
	ck_assert_uint_eq(told[i].what, what);
	ck_assert_uint_eq(told[i].chunk, from);
	ck_assert_uint_eq(told[i].chunks, n);
}

static void
expect_gave_up(uint64_t from, uint32_t ask)
{
	union proto_msg m;

	fake_expect(&fake, PROTO_GAVE_UP, &m);
	ck_assert_uint_eq(m.block.offset, from * CHUNK_SIZE);
	ck_assert_uint_eq(m.block.ask, ask);
}

START_TEST(blocks_are_told_from_dispatch_in_their_order)
{
	say(0, 4, 0);
	say(4, 2, 0);
	say(6, 3, 0);
	dispatch(3);
	expect_told(0, BUD_BLOCK_ADDED, 0, 4);
	expect_told(1, BUD_BLOCK_ADDED, 4, 2);
	expect_told(2, BUD_BLOCK_ADDED, 6, 3);
}
END_TEST

START_TEST(a_block_that_is_asked_for_is_given_up_under_its_number)
{
	say(0, 4, 0);
	say(4, 2, 0);
	dispatch(2);
	say(4, 2, 77);
	dispatch(1);
	expect_told(0, BUD_BLOCK_RELEASE, 4, 2);
	ck_assert_int_eq(bud_gave_up(pool, chunk(0)), -ENOENT);
	ck_assert_int_eq(bud_gave_up(pool, chunk(4)), 0);
	expect_gave_up(4, 77);
	ck_assert_int_eq(bud_gave_up(pool, chunk(4)), -ENOENT);
	fake_expect_nothing(&fake);
}
END_TEST

START_TEST(a_block_that_was_kept_is_told_again_and_not_given_up_any_more)
{
	say(0, 4, 0);
	say(4, 2, 0);
	say(4, 2, 5);
	dispatch(2);
	expect_told(1, BUD_BLOCK_RELEASE, 4, 2);
	say(4, 2, 0);
	dispatch(1);
	expect_told(0, BUD_BLOCK_ADDED, 4, 2);
	ck_assert_int_eq(bud_gave_up(pool, chunk(4)), -ENOENT);
	fake_expect_nothing(&fake);
}
END_TEST

START_TEST(what_comes_before_it_is_told_is_told_as_it_is_in_the_end)
{
	say(0, 4, 0);
	for (uint32_t i = 1; i <= 1000; i++) {
		say(4, 2, i);
		say(4, 2, 0);
		if (i % 20 == 0) /* as many as fit into a socket */
			dispatch(i == 20 ? 2 : 1);
	}
	expect_told(0, BUD_BLOCK_ADDED, 4, 2);
}
END_TEST

START_TEST(a_restarted_budd_is_asked_for_the_blocks_again)
{
	say(0, 4, 0);
	say(4, 2, 0);
	say(4, 2, 9);
	dispatch(2);
	fake_restarted(&fake);
	dispatch(0);
	ck_assert_int_eq(bud_dispatch(pool), 0);
	fake_expect(&fake, PROTO_RESUMED, NULL);
	expect_watch(PROTO_EVENT_BLOCKS);
	say(0, 4, 0);
	say(4, 2, 0);
	dispatch(2);
	expect_told(1, BUD_BLOCK_ADDED, 4, 2);
	ck_assert_int_eq(bud_gave_up(pool, chunk(4)), -ENOENT);
}
END_TEST

START_TEST(both_kinds_of_watching_go_together)
{
	ck_assert_int_eq(bud_watch(pool, BUD_GROWN, NULL, NULL), -EINVAL);
	ck_assert_int_eq(bud_watch(pool, 0, NULL, NULL), 0);
	expect_watch(PROTO_EVENT_BLOCKS);
	ck_assert_int_eq(bud_watch_blocks(pool, NULL, NULL), 0);
	expect_watch(0);
	say(0, 4, 0); /* it crossed */
	ck_assert_int_eq(bud_dispatch(pool), 0);
	ck_assert_uint_eq(ntold, 0);
	ck_assert_int_eq(bud_gave_up(pool, chunk(0)), -ENOENT);
}
END_TEST

START_TEST(a_block_that_is_not_in_the_memory_ends_the_connection)
{
	static const struct {
		uint64_t offset, bytes;
	} bad[] = { { 16 * CHUNK_SIZE, CHUNK_SIZE }, { 0, 17 * CHUNK_SIZE },
		{ 1, CHUNK_SIZE }, { 0, CHUNK_SIZE + 1 },
		{ CHUNK_SIZE, UINT64_MAX - CHUNK_SIZE + 1 } };
	union proto_msg m;

	proto_init(&m, PROTO_BLOCK);
	m.block.offset = bad[_i].offset;
	m.block.bytes = bad[_i].bytes;
	fake_send(&fake, &m);
	ck_assert(readable(SOON));
	ck_assert_int_eq(bud_dispatch(pool), 0);
	ck_assert_int_eq(bud_watch_blocks(pool, on_block, &fake), -ENOTCONN);
	ck_assert_uint_eq(ntold, 0);
}
END_TEST

START_TEST(without_budd_nothing_is_given_up)
{
	say(0, 4, 0);
	say(4, 2, 0);
	say(4, 2, 1);
	dispatch(2);
	fake_hang_up(&fake);
	ck_assert(readable(SOON));
	ck_assert_int_eq(bud_dispatch(pool), 0);
	ck_assert_int_eq(bud_gave_up(pool, chunk(4)), -ENOTCONN);
}
END_TEST

START_TEST(a_child_has_no_blocks)
{
	int status;
	pid_t pid;

	say(0, 4, 0);
	say(4, 2, 0);
	say(4, 2, 1);
	dispatch(2);
	fflush(NULL);
	if ((pid = fork()) == 0) {
		bool ok = bud_watch_blocks(pool, on_block, &fake) == -EINVAL &&
			  bud_gave_up(pool, &ntold) == -EINVAL;

		bud_close(pool);
		_exit(ok ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("client_blocks");
	TCase *t = tcase_create("blocks");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, blocks_are_told_from_dispatch_in_their_order);
	tcase_add_test(t, a_block_that_is_asked_for_is_given_up_under_its_number);
	tcase_add_test(
	    t, a_block_that_was_kept_is_told_again_and_not_given_up_any_more);
	tcase_add_test(t, what_comes_before_it_is_told_is_told_as_it_is_in_the_end);
	tcase_add_test(t, a_restarted_budd_is_asked_for_the_blocks_again);
	tcase_add_test(t, both_kinds_of_watching_go_together);
	tcase_add_loop_test(
	    t, a_block_that_is_not_in_the_memory_ends_the_connection, 0, 5);
	tcase_add_test(t, without_budd_nothing_is_given_up);
	tcase_add_test(t, a_child_has_no_blocks);
	suite_add_tcase(s, t);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
