/* SPDX-License-Identifier: ISC */

/* The method, 34-36: its control structures, no tuning, and policies. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/policy.h"
#include "tests/client_process.h"
#include "tests/method/method.h"

static struct world *const w = &method_world;
static struct daemon *const d = &method_budd;

/* --- 34 --- */

/* A base of 1 MiB that is full, and two blocks: 64 KiB used in the first. */
#define STRUCTURES                                               \
	"[host]\ntick = 100ms\nrelease_period = 1h\nidle = 1h\n" \
	"[pool default]\nbase = 1M\nadd = 2M\nwall = 11010048\nwall_max = 16M\n"

/* How an element of a control structure stands in both faces: the line that budctl prints,
 * and what the JSON has for it. NULL: the element is a place among its like. */
struct element {
	const char *line;
	const char *path; /* in the pool */
	const char *json; /* printed, without spaces */
};

static const struct element bud_ctl[] = {
	{ "AddSize       2097152 (2 MiB)", "add_size", "2097152" },
	{ "BaseSize      1048576 (1 MiB)", "base_size", "1048576" },
	{ "BuddyChain    block 0 @ 0 B", "blocks.0.index", "0" },
	{ "BuddyHeap     page", "heap", "\"page\"" },
	{ "BuddyWall     11 (MiB, rounded to the nearest)", "wall_mib", "11" },
	{ "Flgs          ChkBuddyBsy = true", "flags", "[\"check_idle\"]" },
	{ "BuddyBufInSegHeap = false", "flags", "[\"check_idle\"]" },
	{ "TckCnt        ", "tick_count", NULL },
	{ "UsrWall       11010048 (10.5 MiB)", "wall", "11010048" },
};

static const struct element buddies[][11] = {
	{
	    { "Fwd_p         block 1 @ 1 MiB", "blocks.1.index", "1" },
	    { "Bck_p         NULL", "blocks.0.base", "true" },
	    { "BuddyBuf_p    memfd 0..1048576 (@ 0 B)", "blocks.0.offset", "0" },
	    { "BuddyHeap     page", "heap", "\"page\"" },
	    { "BuddySize     1048576 (1 MiB)", "blocks.0.size", "1048576" },
	    { "BudBufStatus  in-use", "blocks.0.status", "\"in-use\"" },
	    { "Flgs          ChkBuddyBsy = true", "flags", "[\"check_idle\"]" },
	    { "FreeBudBufs   0 bytes free (0 B), the largest buffer 0 B",
		"blocks.0.free", "0" },
	    { "TimeStamp     ", "blocks.0.idle_s", NULL },
	    { "TotalSpace    1048576 (1 MiB)", "blocks.0.total_space", "1048576" },
	    { "", "blocks.0.largest_free", "0" },
	},
	{
	    { "Fwd_p         block 2 @ 3 MiB", "blocks.2.index", "2" },
	    { "Bck_p         block 0 @ 0 B", "blocks.0.index", "0" },
	    { "BuddyBuf_p    memfd 1048576..3145728 (@ 1 MiB)", "blocks.1.offset",
		"1048576" },
	    { "BuddyHeap     page", "heap", "\"page\"" },
	    { "BuddySize     2097152 (2 MiB)", "blocks.1.size", "2097152" },
	    { "BudBufStatus  in-use", "blocks.1.status", "\"in-use\"" },
	    { "Flgs          ChkBuddyBsy = true", "flags", "[\"check_idle\"]" },
	    { "FreeBudBufs   2031616 bytes free", "blocks.1.free", "2031616" },
	    { "TimeStamp     ", "blocks.1.idle_s", NULL },
	    { "TotalSpace    2097152 (2 MiB)", "blocks.1.total_space", "2097152" },
	    { "the largest buffer 1 MiB", "blocks.1.largest_free", "1048576" },
	},
	{
	    { "Fwd_p         NULL", "blocks.3", NULL },
	    { "Bck_p         block 1 @ 1 MiB", "blocks.1.index", "1" },
	    { "BuddyBuf_p    memfd 3145728..5242880 (@ 3 MiB)", "blocks.2.offset",
		"3145728" },
	    { "BuddyHeap     page", "heap", "\"page\"" },
	    { "BuddySize     2097152 (2 MiB)", "blocks.2.size", "2097152" },
	    { "BudBufStatus  free", "blocks.2.status", "\"free\"" },
	    { "Flgs          ChkBuddyBsy = true", "flags", "[\"check_idle\"]" },
	    { "FreeBudBufs   2097152 bytes free (2 MiB)", "blocks.2.free", "2097152" },
	    { "TimeStamp     ", "blocks.2.idle_s", NULL },
	    { "TotalSpace    2097152 (2 MiB)", "blocks.2.total_space", "2097152" },
	    { "the largest buffer 2 MiB", "blocks.2.largest_free", "2097152" },
	},
};

static const cJSON *
find(const cJSON *at, const char *path)
{
	char word[32];

	while (*path != '\0' && at != NULL) {
		size_t n = strcspn(path, ".");

		snprintf(word, sizeof(word), "%.*s", (int)n, path);
		at = cJSON_IsArray(at) ? cJSON_GetArrayItem(at, atoi(word))
				       : cJSON_GetObjectItemCaseSensitive(at, word);
		path += path[n] == '.' ? n + 1 : n;
	}
	return at;
}

static void
expect_elements(
    const char *text, const cJSON *pool, const struct element *elements, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct element *e = &elements[i];
		const cJSON *item = find(pool, e->path);
		char *json = item != NULL ? cJSON_PrintUnformatted(item) : NULL;

		ck_assert_msg(strstr(text, e->line) != NULL, "'%s' is not in:\n%s",
		    e->line, text);
		if (e->json != NULL)
			ck_assert_str_eq(json != NULL ? json : e->path, e->json);
		free(json);
	}
}

/* One structure of the many that budctl printed. */
static const char *
structure(const char *all, const char *title)
{
	static char one[4096];
	const char *from = strstr(all, title), *to;

	ck_assert_msg(from != NULL, "no '%s' in:\n%s", title, all);
	ck_assert_ptr_nonnull(to = strstr(from, "}\n"));
	snprintf(one, sizeof(one), "%.*s", (int)(to - from), from);
	return one;
}

/* The counters of time move: that they are there, and about right. */
static void
expect_times(const char *all, const cJSON *pool)
{
	unsigned int ticks;
	const cJSON *idle = find(pool, "blocks.2.idle_s");

	ck_assert_int_eq(sscanf(strstr(all, "TckCnt"), "TckCnt %u", &ticks), 1);
	ck_assert_uint_le(ticks, 36000);
	ck_assert_uint_ge(ticks, 35000);
	ck_assert_double_ge(find(pool, "tick_count")->valuedouble, 35000);
	ck_assert(cJSON_IsNumber(idle) && idle->valuedouble >= 0.2);
	ck_assert_ptr_nonnull(strstr(all, "ago (the last allocation)"));
	ck_assert_ptr_null(find(pool, "blocks.3"));
}

START_TEST(r34_all_elements_of_the_control_structures_are_visible)
{
	struct bud_pool *pool;
	void *gone;
	char text[16384], title[32];
	cJSON *json;

	daemon_start(d, STRUCTURES);
	pool = open_pool(d, NULL);
	ck_assert_ptr_nonnull(bud_alloc(pool, MIB, 0));
	ck_assert_ptr_nonnull(bud_alloc(pool, 64 * KIB, 0));
	ck_assert_ptr_nonnull(gone = bud_alloc(pool, 2 * MIB, 0));
	bud_free(pool, gone);
	eventually(daemon_figure(d, "pools.0.blocks.2.idle_s") >= 0.2);
	snprintf(
	    text, sizeof(text), "%s", method_budctl("show default --control-blocks"));
	ck_assert_ptr_nonnull(json = cJSON_Parse(method_budctl("show default --json")));
	expect_elements(
	    structure(text, "BudCtl_t"), json, bud_ctl, SIZEOF_ARRAY(bud_ctl));
	for (size_t i = 0; i < SIZEOF_ARRAY(buddies); i++) {
		snprintf(title, sizeof(title), "Buddy_t of block %zu", i);
		expect_elements(
		    structure(text, title), json, buddies[i], SIZEOF_ARRAY(buddies[i]));
	}
	expect_times(text, json);
	cJSON_Delete(json);
	bud_close(pool);
	daemon_stop(d);
}
END_TEST

/* --- 35 --- */

/* Buffers of all usual sizes until there are no more; returns their bytes. */
static size_t
take_all(struct bud_pool *pool, void **bufs, unsigned int *np)
{
	size_t bytes = 0, size = 4 * KIB;

	for (*np = 0; size <= 256 * KIB; size *= 2) {
		for (unsigned int i = 0; i < 120; i++) {
			void *buf = bud_alloc(pool, size, 0);

			if (buf == NULL)
				return bytes;
			paint(buf, size, *np);
			bufs[(*np)++] = buf;
			bytes += size;
		}
	}
	return bytes;
}

static void
on_granted(void *buf, int error, void *arg)
{
	ck_assert_int_eq(error, 0);
	*(void **)arg = buf;
}

START_TEST(r35_with_no_size_configured_anywhere_it_works)
{
	void *bufs[1000], *waited = NULL;
	struct bud_pool *pool;
	unsigned int n, blocks;
	size_t bytes;

	daemon_start(d, "");
	pool = open_pool(d, NULL);
	ck_assert_uint_eq(stat_of(pool).pinned, MIB);
	bytes = take_all(pool, bufs, &n); /* it grows as far as it is used ... */
	ck_assert_uint_ge(bytes, 48 * MIB);
	ck_assert_uint_ge(stat_of(pool).pinned, bytes);
	ck_assert_uint_le(stat_of(pool).pinned, bytes + 5 * MIB);
	while ((bufs[n] = bud_alloc(pool, MIB, 0)) != NULL) /* ... up to its wall, */
		n++;
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert_uint_ge(stat_of(pool).pinned, 60 * MIB);
	ck_assert_uint_le(stat_of(pool).pinned, 64 * MIB);
	ck_assert_int_eq(bud_request(pool, MIB, -1, 0, on_granted, &waited, NULL), 0);
	eventually(stat_of(pool).waiting == 1);
	for (unsigned int i = 0; i < 120; i++) /* where whoever waits is served, */
		bud_free(pool, bufs[--n]);
	eventually(bud_dispatch(pool) >= 0 && waited != NULL);
	bud_free(pool, waited);
	while (n > 0)
		bud_free(pool, bufs[--n]);
	ck_assert_uint_eq(stat_of(pool).used, 0);
	blocks = stat_of(pool).blocks;
	bud_hint(pool, BUD_TRANSFER_END); /* and gives back what it does not use. */
	eventually(bud_dispatch(pool) >= 0 && stat_of(pool).pinned == MIB);
	ck_assert_uint_gt(blocks, 10);
	bud_close(pool);
	daemon_stop(d);
}
END_TEST

/* --- 36 --- */

/* A policy of the test's own: grows ahead, by two and then three chunks, and releases two
 * blocks at a time. */
static bool
always_ahead(const struct policy_view *v)
{
	return v->mark_passed;
}

static uint32_t
more_each_time(const struct policy_view *v, uint32_t need)
{
	uint32_t chunks = 1 + v->blocks;

	return need > chunks ? need : chunks;
}

static uint32_t
two_at_a_time(const struct policy_view *v)
{
	return v->idle_blocks > 2 ? 2 : 0;
}

static const struct policy policy_of_the_test = { "test", always_ahead, more_each_time,
	two_at_a_time };

static struct world_pool *
open_with(const struct policy *policy)
{
	struct pool_limits limits = world_limits(4, 4, 64);
	struct world_pool *p;

	limits.policy = policy;
	ck_assert_ptr_nonnull(p = world_open_with(w, &limits));
	return p;
}

/* Blocks that one pass releases of @blocks additional ones, all idle. */
static uint32_t
released_in_a_pass(struct world_pool *p, uint32_t blocks)
{
	uint64_t passes;
	uint32_t had;

	method_grow(p, blocks);
	world_give_all(w, p);
	had = pool_blocks(&p->pool);
	while (pool_blocks(&p->pool) == had) {
		passes = w->core.counters.passes;
		world_pass_ticks(w, 1);
	}
	ck_assert_uint_eq(w->core.counters.passes, passes + 1);
	return had - pool_blocks(&p->pool);
}

START_TEST(r36_a_policy_is_a_small_module_behind_one_interface)
{
	struct world_pool *p;
	uint32_t planned;

	ck_assert_ptr_eq(policy_find("fixed"), &policy_fixed);
	ck_assert_ptr_eq(policy_find("several"), &policy_several);
	p = open_with(NULL);
	ck_assert_ptr_eq(p->pool.limits.policy, &policy_fixed); /* the default */
	ck_assert_uint_eq(released_in_a_pass(p, 4), 1);
	world_close(w, p);
	p = open_with(&policy_several);
	ck_assert_uint_eq(released_in_a_pass(p, 4), 4); /* the base is the empty one */
	method_grow(p, 4);
	for (uint32_t i = 1; i <= 4; i++)
		method_empty(p, i);
	world_pass_ticks(w, IDLE_TICKS + PERIOD_TICKS);
	ck_assert_uint_eq(pool_blocks(&p->pool), 2); /* the base is in use */
	world_close(w, p);
	p = open_with(&policy_of_the_test);
	method_grow(p, 5);
	for (uint32_t i = 1; i <= 5; i++)
		ck_assert_uint_eq(method_block_chunks(p, i), 1 + i);
	ck_assert_uint_eq(released_in_a_pass(p, 5), 2);
	world_close(w, p);
	p = open_with(&policy_of_the_test);
	p->pool.limits.headroom = CHUNKS(1);
	core_doorbell(&w->core, &p->pool, w->now); /* arms the mark */
	planned = p->pool.planned;
	method_fill(p); /* and nobody asks */
	world_settle(w);
	ck_assert_uint_gt(p->pool.planned, planned);
}
END_TEST

void
method_structures(Suite *s)
{
	TCase *t = method_daemon(s, "structures and tuning");

	tcase_add_test(t, r34_all_elements_of_the_control_structures_are_visible);
	tcase_add_test(t, r35_with_no_size_configured_anywhere_it_works);
	t = method_core(s, "policies");
	tcase_add_test(t, r36_a_policy_is_a_small_module_behind_one_interface);
}
