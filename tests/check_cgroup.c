/* SPDX-License-Identifier: ISC */

/* A small memory cgroup: how its limit is found, in a tree of our own; and a live budd in
 * one, where a pool grows until there is no room, and is refused. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/cgroup.h"
#include "tests/client_process.h"
#include "tests/daemon.h"

/* --- A tree --- */

static char tree[64];

static void
put(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", tree, name);
	f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	fclose(f);
}

static void
grow_tree(void)
{
	static const char *const dirs[] = { "a", "a/b", "memory", "memory/a",
		"memory/a/b" };
	char path[256];

	strcpy(tree, "/tmp/bud-cgroup-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(tree));
	for (size_t i = 0; i < SIZEOF_ARRAY(dirs); i++) {
		snprintf(path, sizeof(path), "%s/%s", tree, dirs[i]);
		ck_assert_int_eq(mkdir(path, 0755), 0);
	}
}

static void
fell_tree(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", tree);
	ck_assert_int_eq(system(command), 0);
}

static uint64_t
limit_of(const char *self)
{
	char path[128];

	put("self", self);
	snprintf(path, sizeof(path), "%s/self", tree);
	return cgroup_memory_limit(path, tree);
}

START_TEST(the_smallest_limit_on_the_way_up_counts)
{
	put("a/b/memory.max", "max\n");
	put("a/b/memory.high", "max\n");
	ck_assert_uint_eq(limit_of("0::/a/b\n"), UINT64_MAX);
	put("a/b/memory.max", "300\n");
	ck_assert_uint_eq(limit_of("0::/a/b\n"), 300);
	put("a/memory.max", "200\n");
	ck_assert_uint_eq(limit_of("0::/a/b\n"), 200);
	put("a/b/memory.high", "100\n");
	ck_assert_uint_eq(limit_of("0::/a/b\n"), 100);
	ck_assert_uint_eq(limit_of("0::/a\n"), 200);
	put("memory.max", "50\n"); /* as the root of a container has it */
	ck_assert_uint_eq(limit_of("0::/\n"), 50);
	ck_assert_uint_eq(limit_of("0::/a/b\n"), 50);
}
END_TEST

START_TEST(the_first_version_has_one_too)
{
	put("memory/a/b/memory.limit_in_bytes", "700\n");
	put("memory/a/memory.limit_in_bytes", "9223372036854771712\n");
	put("a/memory.max", "10\n"); /* another hierarchy's */
	ck_assert_uint_eq(limit_of("4:memory:/a/b\n"), 700);
	ck_assert_uint_eq(limit_of("12:cpu,memory,pids:/a/b\n1:cpu:/a\n0::/\n"), 700);
	ck_assert_uint_eq(limit_of("4:memory:/a\n"), 9223372036854771712u);
	ck_assert_uint_eq(limit_of("4:cpu:/a\n"), UINT64_MAX);
}
END_TEST

START_TEST(what_makes_no_sense_is_no_limit)
{
	static const char *const lines[] = { "", "\n", "0\n", "0:\n", "0::\n", ":::\n",
		"0::/gone\n", "0::/a/b/../../../../..\n", "4:memory\n" };
	static const char *const texts[] = { "", "\n", "-1\n", "12x\n", "many\n" };

	for (size_t i = 0; i < SIZEOF_ARRAY(lines); i++)
		ck_assert_uint_eq(limit_of(lines[i]), UINT64_MAX);
	for (size_t i = 0; i < SIZEOF_ARRAY(texts); i++) {
		put("a/memory.max", texts[i]);
		ck_assert_uint_eq(limit_of("0::/a\n"), UINT64_MAX);
	}
	ck_assert_uint_eq(cgroup_memory_limit("/nowhere", tree), UINT64_MAX);
}
END_TEST

START_TEST(a_part_is_left_for_budd_itself)
{
	ck_assert_uint_eq(cgroup_room(UINT64_MAX), UINT64_MAX);
	ck_assert_uint_eq(cgroup_room(0), 0);
	ck_assert_uint_eq(cgroup_room(2 * MIB), MIB);
	ck_assert_uint_eq(cgroup_room(48 * MIB), 32 * MIB);
	ck_assert_uint_eq(cgroup_room(4096 * MIB), 3584 * MIB);
}
END_TEST

/* --- A cgroup --- */

#define LIMIT (48 * MIB)
#define ROOM  (32 * MIB) /* cgroup_room(LIMIT) */
#define BUF   (MIB)
#define CONFIG                  \
	"[host]\nwall = 256M\n" \
	"[pool default]\nbase = 1M\nadd = 1M\nwall = 200M\nwall_max = 200M\n"

static struct daemon d;
static char group[64]; /* "": there is none */

static bool
write_into_group(const char *name, const char *text)
{
	char path[128];
	int fd;
	bool written;

	snprintf(path, sizeof(path), "%s/%s", group, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd == -1)
		return false;
	written = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return written;
}

static uint64_t
read_of_group(const char *v1, const char *v2)
{
	const char *const names[] = { v1, v2 };
	uint64_t value = 0;

	for (size_t i = 0; i < SIZEOF_ARRAY(names); i++) {
		char path[128], text[32] = "";
		FILE *f;

		snprintf(path, sizeof(path), "%s/%s", group, names[i]);
		if ((f = fopen(path, "re")) == NULL)
			continue;
		if (fgets(text, sizeof(text), f) != NULL)
			value = strtoull(text, NULL, 10);
		fclose(f);
	}
	return value;
}

/* In the process that outlives each test. */
static void
make_group(void)
{
	static const char *const roots[] = { "/sys/fs/cgroup/memory",
		"/sys/fs/cgroup" };
	char text[32];

	snprintf(text, sizeof(text), "%lu", LIMIT);
	for (size_t i = 0; i < SIZEOF_ARRAY(roots); i++) {
		snprintf(
		    group, sizeof(group), "%s/bud-test-%d", roots[i], (int)getpid());
		if (mkdir(group, 0755) != 0)
			continue;
		if (write_into_group("memory.limit_in_bytes", text) ||
		    write_into_group("memory.max", text))
			return;
		rmdir(group);
	}
	group[0] = '\0';
}

/* What a test that failed left running is being killed meanwhile. */
static void
remove_group(void)
{
	int64_t until = now_ms() + PATIENCE_MS;

	while (group[0] != '\0' && rmdir(group) == -1 && now_ms() < until)
		nap();
}

static bool
has_group(void)
{
	return group[0] != '\0' || !skip("no memory cgroup of our own");
}

static void
go_into_group(void *arg)
{
	char text[16];

	(void)arg;
	snprintf(text, sizeof(text), "%d", (int)getpid());
	if (!write_into_group("cgroup.procs", text))
		_exit(126);
}

static void
grow_until_refused(struct client *me, void *arg)
{
	struct bud_pool *pool = open_pool(&d, NULL);
	size_t n = 0;
	void *buf;

	(void)arg;
	while ((buf = bud_alloc(pool, BUF, 0)) != NULL) {
		memset(buf, 1, BUF);
		n++;
	}
	must(errno == EAGAIN);
	client_say(me, "%zu", n);
	client_wait(me, "end");
	bud_close(pool);
}

START_TEST(a_pool_grows_to_what_the_cgroup_has_and_is_refused_then)
{
	struct daemon_snapshot before;
	struct client c;
	size_t n;

	if (!need_root() || !has_group())
		return;
	d = (struct daemon){ .in_child = go_into_group };
	daemon_start(&d, CONFIG);
	eventually(daemon_log_contains(&d, "the memory limit of budd's cgroup is"));
	ck_assert_double_eq(daemon_figure(&d, "host.wall"), ROOM);
	daemon_snapshot(&d, &before);
	for (int i = 0; i < 3; i++) {
		client_run(&c, grow_until_refused, NULL);
		n = strtoul(client_hear(&c), NULL, 10);
		ck_assert_uint_ge(n, ROOM / BUF - 2); /* the ledger has its part */
		ck_assert_uint_lt(n, ROOM / BUF);
		ck_assert_uint_lt(
		    read_of_group("memory.usage_in_bytes", "memory.current"), LIMIT);
		ck_assert_double_eq(daemon_figure(&d, "restarts"), 0);
		client_say(&c, "end");
		client_join(&c);
	}
	daemon_expect_same(&d, &before);
	daemon_stop(&d);
}
END_TEST

static void
use_more_than_ones_cgroup_has(struct client *me, void *arg)
{
	struct bud_pool *pool;

	go_into_group(arg);
	pool = open_pool(&d, NULL);
	for (size_t i = 0; i < 2 * LIMIT / BUF; i++) {
		char *buf = bud_alloc(pool, BUF, PATIENCE_MS);

		must(buf != NULL);
		memset(buf, 1, BUF);
	}
	client_say(me, "has it");
	client_wait(me, "end");
	bud_close(pool);
}

START_TEST(a_pool_is_not_charged_to_the_cgroup_of_its_client)
{
	struct client c;

	if (!need_root() || !has_group())
		return;
	d = (struct daemon){ 0 };
	daemon_start(&d, CONFIG);
	client_run(&c, use_more_than_ones_cgroup_has, NULL);
	client_wait(&c, "has it");
	ck_assert_uint_lt(
	    read_of_group("memory.usage_in_bytes", "memory.current"), LIMIT / 2);
	client_say(&c, "end");
	client_join(&c);
	daemon_stop(&d);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("cgroup");
	TCase *limits = tcase_create("limits"), *live = tcase_create("live");

	tcase_add_checked_fixture(limits, grow_tree, fell_tree);
	tcase_add_test(limits, the_smallest_limit_on_the_way_up_counts);
	tcase_add_test(limits, the_first_version_has_one_too);
	tcase_add_test(limits, what_makes_no_sense_is_no_limit);
	tcase_add_test(limits, a_part_is_left_for_budd_itself);
	suite_add_tcase(suite, limits);
	tcase_set_timeout(live, 60);
	tcase_add_unchecked_fixture(live, make_group, remove_group);
	tcase_add_test(live, a_pool_grows_to_what_the_cgroup_has_and_is_refused_then);
	tcase_add_test(live, a_pool_is_not_charged_to_the_cgroup_of_its_client);
	suite_add_tcase(suite, live);
	return daemon_suite(suite);
}
