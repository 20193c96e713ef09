/* SPDX-License-Identifier: ISC */

/* Pools of large pages, as clients, operators and the next keeper meet them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bud.h"
#include "tests/client_process.h"
#include "tests/host_setting.h"
#include "tests/manager.h"

#define LARGE (2 * MIB)

#define CONFIG                                                       \
	"[host]\ntick = 5ms\nrelease_period = 20ms\nidle = 20ms\n"   \
	"[pool thp]\nheap = thp\nwall = 16M\nadd = 4M\nbase = 1M\n"  \
	"[pool huge]\nheap = huge\nwall = 9M\nadd = 2M\nbase = 2M\n" \
	"[pool odd]\nheap = thp\nwall = 17M\nadd = 3M\npolicy = growing\n"

static struct manager m;
static bool may_set;
static struct daemon_snapshot before;

static void
begin(void)
{
	may_set = host_setting_begin();
}

static void
end(void)
{
	host_setting_end();
}

static void
set(const char *shmem_enabled, const char *nr_hugepages)
{
	host_setting_write(SHMEM_ENABLED, shmem_enabled);
	host_setting_write(SHMEM_OF_256K, "never");
	host_setting_write(NR_HUGEPAGES, nr_hugepages);
}

static void
enter(void)
{
	if (!may_set)
		return;
	set("never", "0");
	manager_start(&m, CONFIG);
	m.d.may_restart = true;
	daemon_snapshot(&m.d, &before);
}

static void
leave(void)
{
	if (!may_set)
		return;
	daemon_expect_same(&m.d, &before);
	manager_stop(&m);
	set("never", "0");
}

static double
figure(const char *path)
{
	return daemon_figure(&m.d, path);
}

static struct bud_pool *
open_section(const char *name)
{
	return open_pool(&m.d, name);
}

/* The pages of the base block; 0 and aloud: the host has no large page left. */
static bool
base_is_large(void)
{
	return figure("pools.0.blocks.0.page_size") == (double)LARGE ||
	       !skip("the host has no large page left");
}

START_TEST(thp_grows_shrinks_and_is_counted_in_large_pages)
{
	struct bud_pool *pool;
	void *first, *bufs[3];

	if (!may_set)
		return;
	set("advise", "0");
	pool = open_section("thp");
	ck_assert(figure("pools.0.base_size") == (double)LARGE);
	first = bud_alloc(pool, LARGE, PATIENCE_MS);
	ck_assert_ptr_nonnull(first);
	ck_assert_uint_eq((uintptr_t)first % LARGE, 0);
	for (int i = 0; i < 3; i++) {
		bufs[i] = bud_alloc(pool, LARGE, PATIENCE_MS);
		ck_assert_ptr_nonnull(bufs[i]);
		paint(bufs[i], LARGE, 5);
	}
	eventually(figure("pools.0.pinned") == 10.0 * MIB);
	ck_assert(figure("host.pinned") == (double)pool_locked(256 * MIB, 10 * MIB));
	ck_assert(figure("pools.0.blocks.2.size") == 4.0 * MIB);
	if (base_is_large())
		ck_assert(figure("pools.0.blocks.2.page_size") == (double)LARGE);
	for (int i = 0; i < 3; i++) {
		ck_assert(painted(bufs[i], LARGE, 5));
		bud_free(pool, bufs[i]);
	}
	eventually(figure("pools.0.pinned") == 6.0 * MIB);
	ck_assert_uint_eq(
	    daemon_locked(&m.d) - before.locked, pool_locked(256 * MIB, 6 * MIB));
	bud_free(pool, first);
	eventually(figure("pools.0.pinned") == 6.0 * MIB ||
		   figure("pools.0.pinned") == 2.0 * MIB);
	bud_close(pool);
}
END_TEST

START_TEST(thp_without_large_pages_works_and_says_so)
{
	struct bud_pool *pool;
	void *buf;

	if (!may_set)
		return;
	eventually(daemon_log_contains(&m.d, "[pool thp] heap = thp gets pages of 4K"));
	pool = open_section("thp");
	buf = bud_alloc(pool, 4 * MIB, PATIENCE_MS);
	ck_assert_ptr_nonnull(buf);
	paint(buf, 4 * MIB, 3);
	ck_assert(figure("pools.0.blocks.0.page_size") == 4096);
	ck_assert(figure("pools.0.blocks.1.page_size") == 4096);
	eventually(daemon_log_contains(&m.d, "heap thp, pages of 4 KiB"));
	bud_close(pool);
}
END_TEST

/* Whatever is asked for, a prefix ends where a large page does. */
START_TEST(sizes_of_any_kind_become_whole_pages)
{
	struct bud_config c = {
		.size = sizeof(c), .socket = m.d.socket, .pool = "odd"
	};
	struct bud_stat stat = { .size = sizeof(stat) };
	struct bud_pool *pool;

	if (!may_set)
		return;
	c.base = 300 * KIB;
	c.add = 5 * MIB;
	c.wall = 15 * MIB;
	ck_assert_int_eq(bud_open(&pool, &c), 0);
	ck_assert_int_eq(bud_stat(pool, &stat), 0);
	ck_assert_uint_eq(stat.base, 2 * MIB);
	ck_assert_uint_eq(stat.add, 4 * MIB); /* of the section, in whole pages */
	ck_assert_uint_eq(stat.wall, 16 * MIB);
	while (bud_alloc(pool, 256 * KIB, 0) != NULL) {
		ck_assert_int_eq(bud_stat(pool, &stat), 0);
		ck_assert_uint_eq(stat.pinned % LARGE, 0);
	}
	ck_assert_uint_eq(stat.pinned, 14 * MIB);
	bud_close(pool);
}
END_TEST

START_TEST(huge_without_pages_is_refused_with_the_remedy)
{
	struct bud_config c = {
		.size = sizeof(c), .socket = m.d.socket, .pool = "huge"
	};
	struct bud_pool *pool;

	if (!may_set)
		return;
	eventually(daemon_log_contains(&m.d, "[pool huge] heap = huge has no page"));
	ck_assert_int_eq(bud_open(&pool, &c), -ENOMEM);
	eventually(daemon_log_contains(&m.d, "0 are reserved (of 2M), 0 free: raise "
					     "vm.nr_hugepages"));
}
END_TEST

START_TEST(huge_waits_for_the_operator_to_reserve_more)
{
	struct bud_pool *pool;
	void *first, *buf;

	if (!may_set)
		return;
	if (!host_setting_write(NR_HUGEPAGES, "1") ||
	    figure("host.large_pages.huge_free") != 1) {
		skip("heap huge: this host can reserve no pages of 2 MiB");
		return;
	}
	pool = open_section("huge");
	first = bud_alloc(pool, LARGE, PATIENCE_MS);
	ck_assert_ptr_nonnull(first);
	ck_assert_ptr_null(bud_alloc(pool, 4 * KIB, 0));
	ck_assert_int_eq(errno, EAGAIN);
	eventually(daemon_log_contains(&m.d, "cannot grow"));
	host_setting_write(NR_HUGEPAGES, "2");
	buf = bud_alloc(pool, LARGE, PATIENCE_MS);
	ck_assert_ptr_nonnull(buf);
	paint(buf, LARGE, 9);
	ck_assert(figure("pools.0.blocks.1.page_size") == (double)LARGE);
	ck_assert(figure("host.large_pages.huge_free") == 0);
	bud_close(pool);
	eventually(figure("host.large_pages.huge_free") == 2);
}
END_TEST

/* --- Other arbiters, other keepers --- */

static void
hold_large(struct client *me, void *arg)
{
	struct bud_pool *pool = open_pool(&m.d, arg);
	void *bufs[2];

	for (int i = 0; i < 2; i++) {
		bufs[i] = bud_alloc(pool, LARGE, PATIENCE_MS);
		must(bufs[i] != NULL);
		paint(bufs[i], LARGE, 3);
	}
	client_say(me, "holding");
	client_wait(me, "look");
	for (int i = 0; i < 2; i++)
		must(painted(bufs[i], LARGE, 3));
	must(bud_alloc(pool, LARGE, PATIENCE_MS) != NULL);
	bud_close(pool);
}

static void
outlive(const char *section, const char *large)
{
	struct client c;
	double page;

	client_run(&c, hold_large, (void *)(uintptr_t)section);
	client_wait(&c, "holding");
	page = figure("pools.0.blocks.0.page_size");
	daemon_kill_arbiter(&m.d);
	eventually(figure("pools.0.blocks.0.page_size") == page);
	manager_kill(&m);
	manager_launch(&m);
	eventually(figure("pools.0.pinned") > 0);
	ck_assert(figure("pools.0.blocks.0.page_size") == page);
	ck_assert(figure("pools.0.blocks.1.size") >= (double)LARGE);
	if (strcmp(large, "") != 0)
		ck_assert(page == strtod(large, NULL));
	client_say(&c, "look");
	client_join(&c);
}

START_TEST(thp_outlives_arbiter_and_keeper)
{
	if (!may_set)
		return;
	set("advise", "0");
	outlive("thp", "");
}
END_TEST

START_TEST(huge_outlives_arbiter_and_keeper)
{
	if (!may_set)
		return;
	if (!host_setting_write(NR_HUGEPAGES, "4") ||
	    figure("host.large_pages.huge_free") != 4) {
		skip("heap huge: this host can reserve no pages of 2 MiB");
		return;
	}
	outlive("huge", "2097152");
	eventually(figure("host.large_pages.huge_free") == 4);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("large");
	TCase *host = tcase_create("host");

	tcase_set_timeout(host, 60);
	tcase_add_unchecked_fixture(host, begin, end);
	tcase_add_checked_fixture(host, enter, leave);
	tcase_add_test(host, thp_grows_shrinks_and_is_counted_in_large_pages);
	tcase_add_test(host, thp_without_large_pages_works_and_says_so);
	tcase_add_test(host, sizes_of_any_kind_become_whole_pages);
	tcase_add_test(host, huge_without_pages_is_refused_with_the_remedy);
	tcase_add_test(host, huge_waits_for_the_operator_to_reserve_more);
	tcase_add_test(host, thp_outlives_arbiter_and_keeper);
	tcase_add_test(host, huge_outlives_arbiter_and_keeper);
	suite_add_tcase(suite, host);
	return daemon_suite(suite);
}
