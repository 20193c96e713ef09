/* SPDX-License-Identifier: ISC */

/* The keeper's memory of each kind, on a host that has large pages, and on one that has
 * none. What pages there are, the page tables of two mappings tell (smaps). */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/heap.h"
#include "daemon/heap_audit.h"
#include "daemon/largepages.h"
#include "proto/ledger.h"
#include "tests/daemon.h"
#include "tests/host_setting.h"

#define LARGE  (2 * MIB)
#define CHUNKS 32u /* 8 MiB */
#define SLICE  8u

static bool may_set;
static struct heap heap;

/* Not of the test's process, which may die of a failure. */
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
enter(void)
{
	heap = HEAP_EMPTY;
	if (!may_set)
		return;
	host_setting_write(SHMEM_ENABLED, "never");
	host_setting_write(SHMEM_OF_256K, "never");
	host_setting_write(NR_HUGEPAGES, "0");
}

static void
leave(void)
{
	heap_fini(&heap);
}

/* --- What the host gives --- */

/* The kilobytes of @key in the smaps of the mapping that contains @addr. */
static uint64_t
smaps_kib(const char *addr, const char *key)
{
	uint64_t from, to, kib = 0, value;
	bool inside = false;
	char line[256];
	FILE *f = fopen("/proc/self/smaps", "re");

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &from, &to) == 2)
			inside = (uintptr_t)addr >= from && (uintptr_t)addr < to;
		else if (inside && strncmp(line, key, strlen(key)) == 0 &&
			 sscanf(line + strlen(key), ": %" SCNu64, &value) == 1)
			kib += value;
	}
	fclose(f);
	return kib;
}

static void
pin(enum heap_kind kind, uint32_t to)
{
	ck_assert_int_eq(heap_init(&heap, kind, CHUNKS), 0);
	for (uint32_t at = SLICE; at <= to; at += SLICE)
		ck_assert_int_eq(heap_pin(&heap, at), 0);
}

/* A host may be too fragmented for any; then there is nothing to test. */
static bool
thp_is_given(void)
{
	if (!may_set || !host_setting_write(SHMEM_ENABLED, "advise"))
		return !skip("heap thp: this host knows no large pages of memfds");
	pin(HEAP_THP, SLICE);
	if (smaps_kib(heap.memory_addr, "ShmemPmdMapped") != LARGE / KIB)
		return !skip("heap thp: the host has no large page left");
	heap_fini(&heap);
	return true;
}

static uint64_t
huge_free(void)
{
	struct largepages l;

	largepages_read(&l, LARGEPAGES_PATH);
	return l.huge_free;
}

static bool
huge_is_given(const char *pages)
{
	if (!may_set || !host_setting_write(NR_HUGEPAGES, pages) ||
	    huge_free() != strtoull(pages, NULL, 10))
		return !skip("heap huge: this host can reserve no pages of 2 MiB");
	return true;
}

/* As a client maps it: aligned, and populated by reading. */
static char *
map_as_client(size_t size)
{
	char *p =
	    mmap(NULL, size + LARGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(p, MAP_FAILED);
	p += (LARGE - (uintptr_t)p % LARGE) % LARGE;
	p = mmap(p, size, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_NORESERVE | MAP_FIXED, heap.memory, 0);
	ck_assert_ptr_ne(p, MAP_FAILED);
	ck_assert_int_eq(madvise(p, size, MADV_POPULATE_READ), 0);
	return p;
}

static size_t
count_resident(const char *addr, size_t size)
{
	static unsigned char pages[CHUNKS * CHUNK_FRAMES];
	size_t n = 0;

	ck_assert_int_eq(mincore((void *)(uintptr_t)addr, size, pages), 0);
	for (size_t i = 0; i < size / FRAME_SIZE; i++)
		n += pages[i] & 1;
	return n;
}

/* --- thp --- */

START_TEST(thp_gets_large_pages_in_both_mappings)
{
	char *client;

	if (!thp_is_given())
		return;
	pin(HEAP_THP, 2 * SLICE);
	ck_assert_uint_eq(heap.page_shift, 21);
	ck_assert_uint_eq((uintptr_t)heap.memory_addr % LARGE, 0);
	ck_assert_uint_eq(smaps_kib(heap.memory_addr, "ShmemPmdMapped"), 4096);
	ck_assert_uint_eq(smaps_kib(heap.memory_addr, "Rss"), 4096);
	client = map_as_client(2 * LARGE);
	ck_assert_uint_eq(smaps_kib(client, "ShmemPmdMapped"), 4096);
}
END_TEST

START_TEST(thp_is_given_back_in_large_pages)
{
	if (!thp_is_given())
		return;
	pin(HEAP_THP, 3 * SLICE);
	heap_unpin(&heap, SLICE);
	ck_assert_uint_eq(
	    count_resident(heap.memory_addr, 3 * LARGE), LARGE / FRAME_SIZE);
	ck_assert_uint_eq(smaps_kib(heap.memory_addr, "ShmemPmdMapped"), 2048);
	ck_assert_int_eq(heap_pin(&heap, 2 * SLICE), 0);
	ck_assert_uint_eq(smaps_kib(heap.memory_addr, "ShmemPmdMapped"), 4096);
}
END_TEST

START_TEST(thp_says_which_smaller_pages_it_got)
{
	if (!may_set || !host_setting_write(SHMEM_OF_256K, "advise")) {
		skip("heap thp: this kernel has no pages of 256 KiB");
		return;
	}
	pin(HEAP_THP, 2 * SLICE);
	if (heap.page_shift == 12) {
		skip("heap thp: the host has no page of 256 KiB left");
		return;
	}
	ck_assert_uint_eq(heap.page_shift, 18);
	ck_assert_uint_eq(smaps_kib(heap.memory_addr, "ShmemPmdMapped"), 0);
}
END_TEST

START_TEST(thp_without_any_gets_small_pages)
{
	if (!may_set)
		return;
	pin(HEAP_THP, 2 * SLICE);
	ck_assert_uint_eq(heap.page_shift, 12);
	ck_assert_uint_eq(count_resident(heap.memory_addr, 2 * LARGE), 1024);
}
END_TEST

START_TEST(page_gets_small_pages_though_the_host_gives_large_ones_to_all)
{
	if (!may_set || !host_setting_write(SHMEM_ENABLED, "always"))
		return;
	pin(HEAP_PAGE, 2 * SLICE);
	ck_assert_uint_eq(heap.page_shift, 12);
	ck_assert_uint_eq(smaps_kib(heap.memory_addr, "ShmemPmdMapped"), 0);
}
END_TEST

/* --- huge --- */

START_TEST(huge_takes_from_the_reserve_and_gives_back)
{
	char *client;

	if (!huge_is_given("3"))
		return;
	pin(HEAP_HUGE, 3 * SLICE);
	ck_assert_uint_eq(heap.page_shift, 21);
	ck_assert_uint_eq(huge_free(), 0);
	client = map_as_client(2 * LARGE);
	client[0] = client[2 * LARGE - 1] = 1;
	heap_unpin(&heap, SLICE);
	ck_assert_uint_eq(huge_free(), 2);
	heap_fini(&heap);
}
END_TEST

START_TEST(huge_without_a_page_left_changes_nothing)
{
	if (!huge_is_given("1"))
		return;
	pin(HEAP_HUGE, SLICE);
	ck_assert_int_eq(heap_pin(&heap, 2 * SLICE), -ENOMEM);
	ck_assert_uint_eq(heap.pinned, SLICE);
	ck_assert_uint_eq(huge_free(), 0);
	host_setting_write(NR_HUGEPAGES, "2");
	ck_assert_int_eq(heap_pin(&heap, 2 * SLICE), 0);
}
END_TEST

/* --- The audit --- */

static void
punch(uint64_t page, uint64_t pages)
{
	ck_assert_int_eq(
	    fallocate(heap.memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		(off_t)(page * FRAME_SIZE), (off_t)(pages * FRAME_SIZE)),
	    0);
}

static struct heap_found
audit(int pagemap)
{
	struct heap_found found = { 0 };

	for (uint32_t at = 0; at < heap.pinned; at += SLICE)
		ck_assert_int_eq(heap_audit(&heap, pagemap, at, at + SLICE, &found), 0);
	return found;
}

START_TEST(a_hole_in_a_large_page_costs_its_neighbours_their_lock_and_is_repaired)
{
	struct heap_found found;
	int pagemap;

	if (!thp_is_given())
		return;
	pin(HEAP_THP, 2 * SLICE);
	pagemap = heap_audit_open();
	ck_assert_uint_eq(audit(pagemap).holes, 0);
	punch(700, 3);
	found = audit(pagemap);
	ck_assert_uint_eq(found.holes, 3);
	ck_assert_uint_eq(found.unlocked, 509);
	found = audit(pagemap);
	ck_assert_uint_eq(found.holes + found.unlocked, 0);
	ck_assert_uint_eq(count_resident(heap.memory_addr, 2 * LARGE), 1024);
	close(pagemap);
}
END_TEST

START_TEST(a_hole_in_huge_is_filled_from_the_reserve)
{
	int pagemap;

	if (!huge_is_given("2"))
		return;
	pin(HEAP_HUGE, 2 * SLICE);
	pagemap = heap_audit_open();
	punch(512, 512);
	ck_assert_uint_eq(huge_free(), 1);
	ck_assert_uint_eq(audit(pagemap).holes, 512);
	ck_assert_uint_eq(huge_free(), 0);
	ck_assert_uint_eq(audit(pagemap).holes, 0);
	close(pagemap);
}
END_TEST

/* --- Another keeper --- */

static void
adopt_again(enum heap_kind kind, uint32_t pinned)
{
	int memory = dup(heap.memory), ledger = dup(heap.ledger);

	heap_fini(&heap);
	ck_assert_int_eq(heap_adopt(&heap, kind, memory, ledger, CHUNKS, pinned), 0);
}

START_TEST(thp_is_adopted_in_large_pages)
{
	if (!thp_is_given())
		return;
	pin(HEAP_THP, 3 * SLICE);
	heap.memory_addr[0] = 7;
	adopt_again(HEAP_THP, 2 * SLICE);
	ck_assert_int_eq(heap.memory_addr[0], 7);
	ck_assert_uint_eq(smaps_kib(heap.memory_addr, "ShmemPmdMapped"), 4096);
	ck_assert_uint_eq(count_resident(heap.memory_addr, 3 * LARGE), 1024);
}
END_TEST

START_TEST(huge_is_adopted_with_its_pages)
{
	if (!huge_is_given("3"))
		return;
	pin(HEAP_HUGE, 3 * SLICE);
	heap.memory_addr[0] = 7;
	adopt_again(HEAP_HUGE, 2 * SLICE);
	ck_assert_int_eq(heap.memory_addr[0], 7);
	ck_assert_uint_eq(huge_free(), 1);
	heap_fini(&heap);
	ck_assert_uint_eq(huge_free(), 3);
}
END_TEST

/* --- The settings --- */

static char root[] = "/tmp/bud-heap.XXXXXX";

static void
put(const char *name, const char *text)
{
	char path[256], *slash;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	for (slash = path + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL;
	     *slash++ = '/') {
		*slash = '\0';
		mkdir(path, 0700);
	}
	f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

static struct largepages
look(void)
{
	struct largepages l;

	largepages_read(&l, root);
	return l;
}

#define THP(size) "transparent_hugepage/hugepages-" #size "kB/shmem_enabled"
#define CHOICES   "always inherit within_size advise never"

START_TEST(settings_are_read_as_the_kernel_means_them)
{
	char why[256], command[64];

	ck_assert_ptr_nonnull(mkdtemp(root));
	ck_assert_uint_eq(look().thp, 0); /* nothing there */
	ck_assert(!look().huge);
	ck_assert(
	    largepages_why(&(struct largepages){ 0 }, HEAP_HUGE, why, sizeof(why)));
	put("transparent_hugepage/shmem_enabled",
	    "always within_size advise [never] deny force\n");
	ck_assert_uint_eq(look().thp, 0);
	put("transparent_hugepage/shmem_enabled",
	    "always within_size [advise] never deny force\n");
	ck_assert_uint_eq(look().thp, LARGE); /* a kernel without sizes */
	ck_assert_str_eq(look().shmem_enabled, "advise");
	put(THP(2048), "always [inherit] within_size advise never\n");
	put(THP(64), "[always] inherit within_size advise never\n");
	put(THP(256), "always inherit within_size advise [never]\n");
	ck_assert_uint_eq(look().thp, LARGE | 64 * KIB);
	put("transparent_hugepage/shmem_enabled",
	    "always within_size advise never [deny] force\n");
	ck_assert_uint_eq(look().thp, 0);
	put("hugepages/hugepages-2048kB/nr_hugepages", "12\n");
	put("hugepages/hugepages-2048kB/free_hugepages", "5\n");
	ck_assert(look().huge);
	ck_assert_uint_eq(look().huge_total, 12);
	ck_assert_uint_eq(look().huge_free, 5);
	snprintf(command, sizeof(command), "rm -r %s", root);
	ck_assert_int_eq(system(command), 0);
}
END_TEST

START_TEST(what_is_missing_is_told_with_the_remedy)
{
	struct largepages l = { .shmem_enabled = "never" };
	char why[256];

	ck_assert(!largepages_why(&l, HEAP_PAGE, why, sizeof(why)));
	ck_assert(largepages_why(&l, HEAP_THP, why, sizeof(why)));
	ck_assert_ptr_nonnull(strstr(why, "shmem_enabled is never"));
	ck_assert(largepages_why(&l, HEAP_HUGE, why, sizeof(why)));
	ck_assert_ptr_nonnull(strstr(why, "vm.nr_hugepages"));
	l.thp = LARGE;
	l.huge_free = 1;
	ck_assert(!largepages_why(&l, HEAP_THP, why, sizeof(why)));
	ck_assert(!largepages_why(&l, HEAP_HUGE, why, sizeof(why)));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("heap");
	TCase *host = tcase_create("host"), *settings = tcase_create("settings");

	tcase_set_timeout(host, 60);
	tcase_add_unchecked_fixture(host, begin, end);
	tcase_add_checked_fixture(host, enter, leave);
	tcase_add_test(host, thp_gets_large_pages_in_both_mappings);
	tcase_add_test(host, thp_is_given_back_in_large_pages);
	tcase_add_test(host, thp_says_which_smaller_pages_it_got);
	tcase_add_test(host, thp_without_any_gets_small_pages);
	tcase_add_test(
	    host, page_gets_small_pages_though_the_host_gives_large_ones_to_all);
	tcase_add_test(host, huge_takes_from_the_reserve_and_gives_back);
	tcase_add_test(host, huge_without_a_page_left_changes_nothing);
	tcase_add_test(host,
	    a_hole_in_a_large_page_costs_its_neighbours_their_lock_and_is_repaired);
	tcase_add_test(host, a_hole_in_huge_is_filled_from_the_reserve);
	tcase_add_test(host, thp_is_adopted_in_large_pages);
	tcase_add_test(host, huge_is_adopted_with_its_pages);
	suite_add_tcase(suite, host);
	tcase_add_test(settings, settings_are_read_as_the_kernel_means_them);
	tcase_add_test(settings, what_is_missing_is_told_with_the_remedy);
	suite_add_tcase(suite, settings);
	return daemon_suite(suite);
}
