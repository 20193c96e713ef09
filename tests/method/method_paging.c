/* SPDX-License-Identifier: ISC */

/* The method, 8: what budd pinned is never paged out. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/client_process.h"
#include "tests/method/method.h"
#include "tests/method/strain.h"

#define BUFFER (8 * MIB)
#define PAGES  (BUFFER / 4096)
#define POOL   "[pool default]\nbase = 8M\nadd = 8M\nwall = 16M\nwall_max = 16M\n"

static struct daemon *const d = &method_budd;

static unsigned int
resident(void *buf)
{
	static unsigned char pages[PAGES];
	unsigned int n = 0;

	ck_assert_int_eq(mincore(buf, BUFFER, pages), 0);
	for (size_t i = 0; i < PAGES; i++)
		n += pages[i] & 1;
	return n;
}

/* What smaps says of budd's mappings of pools' memory: whether each that has pages is one
 * of locked pages, and how many bytes of them are. Locked is shared out among all who map a
 * page, so no more is asked of it than that it is there. */
static bool
smaps_say_locked(pid_t pid)
{
	char path[32], line[512];
	uint64_t rss = 0, locked = 0, kib;
	bool ours = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
	ck_assert_ptr_nonnull(f = fopen(path, "re"));
	while (fgets(line, sizeof(line), f) != NULL) {
		if (strchr(line, '-') != NULL && strchr(line, '-') < strchr(line, ' '))
			ours = strstr(line, "memfd:bud-memory") != NULL;
		else if (ours && sscanf(line, "Rss: %" SCNu64, &kib) == 1)
			rss += kib;
		else if (ours && sscanf(line, "Locked: %" SCNu64, &kib) == 1)
			locked += kib;
	}
	fclose(f);
	ck_assert_uint_eq(rss, 2 * BUFFER / 1024);
	return locked >= rss / 2; /* two map it: budd and we */
}

/* Of the same kind, in the same cgroup, and not locked. */
static void *
make_unlocked(void)
{
	int fd = memfd_create("unlocked", MFD_CLOEXEC);
	void *buf;

	ck_assert_int_ne(fd, -1);
	ck_assert_int_eq(ftruncate(fd, BUFFER), 0);
	buf = mmap(NULL, BUFFER, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(buf, MAP_FAILED);
	close(fd);
	paint(buf, BUFFER, 3);
	return buf;
}

static void
expect_to_stay(void *const bufs[2])
{
	void *unlocked = make_unlocked();

	ck_assert_uint_eq(resident(unlocked), PAGES);
	for (int i = 0; i < 5; i++)
		strain_reclaim();
	ck_assert_uint_lt(resident(unlocked), PAGES / 2);
	ck_assert(painted(unlocked, BUFFER, 3));
	munmap(unlocked, BUFFER);
	for (int i = 0; i < 2; i++)
		ck_assert_uint_eq(resident(bufs[i]), PAGES);
}

START_TEST(r08_pages_of_buffers_are_never_paged_out)
{
	bool strain = strain_possible() && strain_swaps();
	struct bud_pool *pool;
	void *bufs[2];

	if (strain)
		strain_enter(); /* budd with us: it pays for what it pins */
	daemon_start(d, POOL);
	pool = open_pool(d, NULL);
	for (int i = 0; i < 2; i++) { /* the base, and an additional block */
		ck_assert_ptr_nonnull(bufs[i] = bud_alloc(pool, BUFFER, 0));
		ck_assert_uint_eq(resident(bufs[i]), PAGES); /* nobody touched it */
	}
	eventually(stat_of(pool).waiting == 0);
	if (need_root()) {
		ck_assert_uint_eq(
		    daemon_locked(d), pool_locked(2 * BUFFER, 2 * BUFFER));
		ck_assert(smaps_say_locked(d->keeper));
	}
	if (strain)
		expect_to_stay(bufs);
	else
		skip("r08: no swap of our own: what the kernel says is all we have");
	bud_close(pool);
	daemon_stop(d);
	if (strain)
		strain_leave();
}
END_TEST

#define DEATHS 5

/* The lock is the keeper's, and no arbiter's death is one of it. */
START_TEST(r08_nor_while_arbiters_die)
{
	struct bud_pool *pool;
	void *bufs[2], *unlocked;

	if (!strain_possible() || !strain_swaps()) {
		skip("r08: no swap of our own, or no memory cgroup");
		return;
	}
	strain_enter();
	daemon_start(d, POOL);
	pool = open_pool(d, NULL);
	for (size_t i = 0; i < 2; i++) {
		ck_assert_ptr_nonnull(bufs[i] = bud_alloc(pool, BUFFER, 0));
		paint(bufs[i], BUFFER, i);
	}
	unlocked = make_unlocked();
	for (int n = 0; n < DEATHS; n++) {
		pid_t arbiter = daemon_arbiter(d);

		d->may_restart = true;
		ck_assert_int_eq(kill(arbiter, SIGKILL), 0);
		strain_reclaim(); /* while there is none */
		for (int i = 0; i < 2; i++)
			ck_assert_uint_eq(resident(bufs[i]), PAGES);
		eventually(daemon_figure(d, "restarts") > n);
	}
	ck_assert_uint_lt(resident(unlocked), PAGES / 2);
	for (size_t i = 0; i < 2; i++) {
		ck_assert(painted(bufs[i], BUFFER, i));
		ck_assert_uint_eq(resident(bufs[i]), PAGES);
	}
	printf(
	    "%d arbiters died under pressure: %zu of %zu pages of buffers resident, %u "
	    "of %zu not locked\n",
	    DEATHS, 2 * PAGES, 2 * PAGES, resident(unlocked), PAGES);
	munmap(unlocked, BUFFER);
	bud_close(pool);
	daemon_stop(d);
	strain_leave();
}
END_TEST

void
method_paging(Suite *s)
{
	TCase *t = method_daemon(s, "paging");

	tcase_add_unchecked_fixture(t, strain_begin, strain_end);
	tcase_add_test(t, r08_pages_of_buffers_are_never_paged_out);
	tcase_add_test(t, r08_nor_while_arbiters_die);
}
