/* SPDX-License-Identifier: ISC */

/* The status as JSON. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/status.h"
#include "daemon/status_blocks.h"
#include "daemon/status_queue.h"
#include "tests/fake_arbiter.h"

static struct fake fake;
static struct session *first; /* base 4 chunks, one block of 8 */
static cJSON *json;

static void
setup(void)
{
	fake_init(&fake);
	first = fake_add(&fake, "media", 4, 8);
	fake_grow(&fake, first, 8, 8);
}

static void
teardown(void)
{
	cJSON_Delete(json);
	json = NULL;
	fake_fini(&fake);
}

/* What a client reads of it; consumes @made. */
static cJSON *
as_sent(cJSON *made)
{
	char *line = made != NULL ? cJSON_PrintUnformatted(made) : NULL;
	cJSON *read = line != NULL ? cJSON_Parse(line) : NULL;

	cJSON_free(line);
	cJSON_Delete(made);
	return read;
}

static const cJSON *
at(const cJSON *object, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	ck_assert_msg(item != NULL, "the key %s is missing", key);
	return item;
}

static double
number(const cJSON *object, const char *key)
{
	const cJSON *item = at(object, key);

	ck_assert_msg(cJSON_IsNumber(item), "%s is no number", key);
	return item->valuedouble;
}

static const char *
text(const cJSON *object, const char *key)
{
	const cJSON *item = at(object, key);

	ck_assert_msg(cJSON_IsString(item), "%s is no string", key);
	return item->valuestring;
}

static void
has_numbers(const cJSON *object, const char *const keys[])
{
	for (; *keys != NULL; keys++)
		number(object, *keys);
}

static const cJSON *
look(void)
{
	cJSON_Delete(json);
	json = as_sent(status_all(&fake.arbiter));
	ck_assert_ptr_nonnull(json);
	return json;
}

static const cJSON *
look_at(const struct session *s)
{
	cJSON_Delete(json);
	json = as_sent(status_pool(s));
	ck_assert_ptr_nonnull(json);
	return json;
}

static const cJSON *
block(const struct session *s, int index)
{
	return cJSON_GetArrayItem(at(look_at(s), "blocks"), index);
}

#define NUMBERS(...) ((const char *const[]){ __VA_ARGS__, NULL })

START_TEST(top_has_the_keys_of_the_design)
{
	const cJSON *o = look();

	ck_assert_str_eq(text(o, "version"), PACKAGE_VERSION);
	ck_assert_double_eq(number(o, "pid"), 4242);
	ck_assert_double_eq(number(o, "restarts"), 2);
	ck_assert_double_eq(number(o, "uptime_s"), 200);
	has_numbers(at(o, "host"), NUMBERS("wall", "pinned", "ledgers", "waiting"));
	has_numbers(at(o, "release"), NUMBERS("passes", "blocks_released"));
	ck_assert(cJSON_IsArray(at(o, "pools")));
}
END_TEST

START_TEST(pool_has_the_keys_of_the_design)
{
	const cJSON *p = cJSON_GetArrayItem(at(look(), "pools"), 0);

	has_numbers(p, NUMBERS("id", "uid", "pid", "weight", "base_size", "add_size",
			   "wall", "wall_mib", "pinned", "used", "tick_count"));
	ck_assert_str_eq(text(p, "name"), "media");
	ck_assert_str_eq(text(p, "command"), "nginx");
	ck_assert_str_eq(text(p, "heap"), "page");
	ck_assert(cJSON_IsArray(at(p, "flags")));
	has_numbers(at(p, "queue"), NUMBERS("length", "bytes", "oldest_ms"));
	has_numbers(at(p, "counters"),
	    NUMBERS("grants", "queued", "refused", "timeouts", "grown", "released"));
}
END_TEST

START_TEST(block_has_the_keys_of_the_design)
{
	const cJSON *p = cJSON_GetArrayItem(at(look(), "pools"), 0), *b;

	cJSON_ArrayForEach (b, at(p, "blocks")) {
		has_numbers(
		    b, NUMBERS("index", "size", "used", "idle_s", "largest_free"));
		ck_assert(cJSON_IsBool(at(b, "base")));
		ck_assert_str_eq(text(b, "status"), "free");
	}
}
END_TEST

START_TEST(limits_of_a_pool_are_its_own)
{
	const cJSON *p = look_at(first);

	ck_assert_double_eq(number(p, "id"), first->id);
	ck_assert_double_eq(number(p, "base_size"), 1 << 20);
	ck_assert_double_eq(number(p, "add_size"), 2 << 20);
	ck_assert_double_eq(number(p, "wall"), (1 << 30) - 1000);
	ck_assert_double_eq(number(p, "wall_mib"), 1024);
	ck_assert_double_eq(number(p, "wall_max"), 1 << 30);
	ck_assert_double_eq(number(p, "max_buffer"), 16 << 20);
	ck_assert_double_eq(number(p, "weight"), 3);
	ck_assert_double_eq(number(p, "gid"), 5);
	ck_assert_str_eq(text(p, "section"), "default");
	ck_assert_str_eq(text(p, "state"), "open");
	ck_assert_str_eq(text(p, "phase"), "steady");
}
END_TEST

START_TEST(idle_check_is_a_flag_of_a_pool_that_has_it)
{
	const cJSON *flags = at(look_at(first), "flags");

	ck_assert_int_eq(cJSON_GetArraySize(flags), 1);
	ck_assert_str_eq(flags->child->valuestring, "check_idle");
	first->pool.limits.keep_idle = true;
	ck_assert_int_eq(cJSON_GetArraySize(at(look_at(first), "flags")), 0);
}
END_TEST

START_TEST(policy_is_told_by_its_name)
{
	ck_assert_str_eq(text(look_at(first), "policy"), "fixed");
	first->pool.limits.policy = &policy_several;
	ck_assert_str_eq(text(look_at(first), "policy"), "several");
}
END_TEST

START_TEST(marks_of_headroom_are_told)
{
	first->pool.mark_armed = true;
	first->pool.mark_passed = false;
	ck_assert(cJSON_IsTrue(at(look_at(first), "mark_armed")));
	ck_assert(cJSON_IsFalse(at(json, "mark_passed")));
}
END_TEST

START_TEST(what_is_pinned_above_a_lowered_wall_is_told)
{
	ck_assert_double_eq(number(look_at(first), "above_wall"), 0);
	first->pool.limits.wall = 2 << 20;
	ck_assert_double_eq(number(look_at(first), "above_wall"), 1 << 20);
}
END_TEST

/* --- Among others --- */

/* A request that the pool's own wall allows, and nothing that is shared does. */
static void
starve(struct session *s)
{
	struct proto_alloc alloc = {
		.tag = 1, .size_bytes = 16 * CHUNK_SIZE, .count = 1, .timeout_ms = -1
	};

	core_request(&fake.arbiter.core, &s->pool, &alloc, fake_now);
	ck_assert(s->pool.place.starved);
}

START_TEST(pool_that_can_grow_waits_for_nothing)
{
	const cJSON *p = look_at(first);

	ck_assert(cJSON_IsFalse(at(p, "starved")));
	ck_assert(cJSON_IsFalse(at(p, "waits_for_host")));
	ck_assert_str_eq(text(p, "waits_for"), "nothing");
	has_numbers(p, NUMBERS("ask", "overtaken", "wall_total", "group_charge"));
	ck_assert_double_eq(number(p, "ask"), 0);
	ck_assert_double_eq(number(p, "charge"), (double)first->pool.charged);
	ck_assert_ptr_null(cJSON_GetObjectItem(p, "group"));
}
END_TEST

START_TEST(pool_at_the_wall_of_the_host_waits_for_it)
{
	fake_take(first, 8 * CHUNK_SIZE); /* 12 chunks are pinned, and cannot go */
	fake.arbiter.core.params.host_wall = 24 * CHUNK_SIZE;
	starve(first);
	first->pool.overtaken = 4;
	ck_assert(cJSON_IsTrue(at(look_at(first), "starved")));
	ck_assert(cJSON_IsTrue(at(json, "waits_for_host")));
	ck_assert_str_eq(text(json, "waits_for"), "host");
	ck_assert_str_eq(text(json, "why"), "host");
	ck_assert_double_eq(number(json, "wants"), (double)(16 * CHUNK_SIZE));
	ck_assert_double_eq(number(json, "ask"), (double)(16 * CHUNK_SIZE));
	ck_assert_double_eq(number(json, "overtaken"), 4);
	ck_assert_double_eq(number(at(look(), "host"), "starved"), 1);
}
END_TEST

START_TEST(pool_at_the_wall_of_its_user_does_not_wait_for_the_host)
{
	fake.arbiter.core.params.user_wall = first->pool.user->charge;
	starve(first);
	ck_assert_str_eq(text(look_at(first), "waits_for"), "user");
	ck_assert_str_eq(text(json, "why"), "user");
	ck_assert(cJSON_IsFalse(at(json, "waits_for_host")));
	ck_assert(cJSON_IsTrue(at(json, "starved")));
}
END_TEST

START_TEST(pool_that_others_come_before_waits_for_its_order)
{
	first->pool.place.starved = true;
	first->pool.place.ask = 1;
	ck_assert_str_eq(text(look_at(first), "waits_for"), "order");
	first->pool.place.starved = false;
}
END_TEST

START_TEST(pools_of_a_section_share_a_wall_and_tell_of_it)
{
	struct session *a = fake_add_to(&fake, "a", "shared", 40),
		       *b = fake_add_to(&fake, "b", "shared", 40);
	const cJSON *p = look_at(a);

	ck_assert_str_eq(text(p, "group"), "shared");
	ck_assert_double_eq(number(p, "wall_total"), (double)(40 * CHUNK_SIZE));
	ck_assert_double_eq(number(p, "group_charge"), (double)(8 * CHUNK_SIZE));
	fake_grow(&fake, b, 24, 24);
	starve(a);
	ck_assert_str_eq(text(look_at(a), "waits_for"), "section");
	ck_assert_str_eq(text(json, "why"), "section");
}
END_TEST

START_TEST(users_tell_what_all_their_pools_have)
{
	struct session *other = fake_add_of(&fake, "other", 4242);
	const cJSON *users, *u;

	fake_add(&fake, "second", 4, 8);
	fake_take(other, 4 * CHUNK_SIZE);
	fake_wait(&fake, other, 1, 4 * CHUNK_SIZE);
	users = at(look(), "users");
	ck_assert_int_eq(cJSON_GetArraySize(users), 2);
	cJSON_ArrayForEach (u, users) {
		bool mine = number(u, "uid") == 0;

		ck_assert_double_eq(number(u, "pools"), mine ? 2 : 1);
		ck_assert_double_eq(
		    number(u, "pinned"), (double)((mine ? 16 : 4) * CHUNK_SIZE));
		ck_assert_double_gt(number(u, "charge"), number(u, "pinned"));
		ck_assert_double_eq(number(u, "requests"), mine ? 0 : 1);
		ck_assert_double_eq(number(u, "weight"), 3);
	}
}
END_TEST

START_TEST(host_tells_what_can_be_changed_of_it)
{
	const cJSON *host = at(look(), "host");

	ck_assert_double_eq(number(host, "wall_enforced"), 4294967296);
	ck_assert_double_eq(number(host, "tick_ms"), 500);
	ck_assert_double_eq(number(host, "release_period_ms"), 60000);
	ck_assert_double_eq(number(host, "idle_ms"), 300000);
	has_numbers(host, NUMBERS("overtaken_max", "user_wall", "user_pools",
			      "user_requests", "charge", "starved"));
}
END_TEST

START_TEST(tick_count_is_also_told_in_seconds)
{
	const cJSON *p;

	first->pool.record->tick_count = 7;
	p = look_at(first);
	ck_assert_double_eq(number(p, "tick_count"), 7);
	ck_assert_double_eq(number(p, "release_in_s"), 3.5);
}
END_TEST

START_TEST(blocks_stand_in_the_order_of_their_index)
{
	const cJSON *blocks = at(look_at(first), "blocks"), *b;
	int i = 0;

	ck_assert_int_eq(cJSON_GetArraySize(blocks), 2);
	cJSON_ArrayForEach (b, blocks) {
		ck_assert_double_eq(number(b, "index"), i);
		ck_assert_int_eq(cJSON_IsTrue(at(b, "base")), i == 0);
		i++;
	}
	ck_assert_double_eq(number(blocks->child->next, "offset"), 1 << 20);
	ck_assert_double_eq(number(blocks->child->next, "size"), 2 << 20);
	ck_assert_double_eq(number(blocks->child->next, "chunks"), 8);
}
END_TEST

START_TEST(buffer_makes_its_block_in_use)
{
	const cJSON *b;

	fake_take(first, 4096);
	b = block(first, 0);
	ck_assert_str_eq(text(b, "status"), "in-use");
	ck_assert_double_eq(number(b, "used"), 4096);
	ck_assert_double_eq(number(b, "free"), (1 << 20) - 4096);
	ck_assert_double_eq(number(b, "largest_free"), 2 * CHUNK_SIZE);
	ck_assert_str_eq(text(block(first, 1), "status"), "free");
}
END_TEST

START_TEST(freed_block_is_free_again)
{
	uint32_t frame = fake_take(first, CHUNK_SIZE);

	ck_assert_int_eq(ledger_give(&first->pool.ledger, frame), 0);
	ck_assert_str_eq(text(block(first, 0), "status"), "free");
	ck_assert_double_eq(number(look_at(first), "used"), 0);
}
END_TEST

START_TEST(used_of_a_pool_is_what_its_blocks_use)
{
	fake_take(first, 3 * CHUNK_SIZE);
	fake_take(first, 4 * CHUNK_SIZE);
	fake_take(first, 8192);
	ck_assert_double_eq(
	    number(look_at(first), "used"), (double)pool_used(&first->pool));
	ck_assert_double_eq(number(json, "used"), (double)(8 * CHUNK_SIZE + 8192));
}
END_TEST

START_TEST(growing_block_has_its_whole_size_and_what_is_pinned_so_far)
{
	const cJSON *b;

	fake_grow(&fake, first, 16, 4);
	b = block(first, 2);
	ck_assert_double_eq(number(b, "size"), 4 << 20);
	ck_assert_double_eq(number(b, "total_space"), 1 << 20);
	ck_assert_double_eq(number(b, "free"), 1 << 20);
	ck_assert_str_eq(text(json, "phase"), "growing");
	ck_assert_double_eq(number(json, "pinned"), 4 << 20);
	ck_assert_double_eq(number(json, "total_space"), 4 << 20);
}
END_TEST

START_TEST(block_without_an_opened_chunk_is_free_and_not_idle)
{
	const cJSON *b;

	fake_grow(&fake, first, 16, 0);
	fake.arbiter.core.tick = 50;
	b = block(first, 2);
	ck_assert_str_eq(text(b, "status"), "free");
	ck_assert_double_eq(number(b, "idle_s"), 0);
	ck_assert_double_eq(number(b, "largest_free"), 0);
	ck_assert_double_eq(number(b, "total_space"), 0);
}
END_TEST

START_TEST(idle_time_counts_from_the_last_allocation)
{
	fake.arbiter.core.tick = 10;
	atomic_store(&first->pool.ledger.header->tick, 10);
	fake_take(first, 4096);
	fake.arbiter.core.tick = 25;
	ck_assert_double_eq(number(block(first, 0), "idle_s"), 7.5);
	ck_assert_double_eq(number(block(first, 1), "idle_s"), 12.5);
}
END_TEST

START_TEST(map_shows_each_frame_of_a_block_of_one_chunk)
{
	struct session *s = fake_add(&fake, "tiny", 1, 1);
	const char *map;

	fake_take(s, 4096);
	map = text(block(s, 0), "map");
	ck_assert_uint_eq(strlen(map), STATUS_MAP_CELLS);
	ck_assert_int_eq(map[0], '8');
	ck_assert_uint_eq(strspn(map + 1, "0"), STATUS_MAP_CELLS - 1);
}
END_TEST

START_TEST(map_rounds_a_cell_up_so_that_a_lone_frame_is_seen)
{
	struct session *s = fake_add(&fake, "large", 1024, 4);
	const char *map;

	fake_take(s, 4096);
	map = text(block(s, 0), "map");
	ck_assert_int_eq(map[0], '1');
	ck_assert_int_eq(map[1], '0');
}
END_TEST

START_TEST(map_counts_cells_that_do_not_end_where_a_chunk_ends)
{
	struct session *s = fake_add(&fake, "odd", 3, 1);
	const char *map;

	fake_take(
	    s, CHUNK_SIZE); /* 64 frames: 21 cells of 3, and a third of the next */
	map = text(block(s, 0), "map");
	ck_assert_uint_eq(strspn(map, "8"), 21);
	ck_assert_int_eq(map[21], '3');
	ck_assert_uint_eq(strspn(map + 22, "0"), STATUS_MAP_CELLS - 22);
}
END_TEST

START_TEST(map_marks_what_is_not_opened)
{
	const char *map;

	fake_grow(&fake, first, 16, 4);
	map = text(block(first, 2), "map");
	ck_assert_uint_eq(strspn(map, "0"), STATUS_MAP_CELLS / 4);
	ck_assert_uint_eq(
	    strspn(map + STATUS_MAP_CELLS / 4, "x"), STATUS_MAP_CELLS / 4 * 3);
}
END_TEST

START_TEST(map_is_for_those_who_look_at_one_pool)
{
	const cJSON *p = cJSON_GetArrayItem(at(look(), "pools"), 0);

	ck_assert_ptr_null(cJSON_GetObjectItem(at(p, "blocks")->child, "map"));
}
END_TEST

START_TEST(host_counts_all_pools_and_their_ledgers)
{
	struct session *second = fake_add(&fake, "other", 4, 8);
	uint64_t charge = pool_charge(&first->pool, 12) + pool_charge(&second->pool, 4);
	const cJSON *host = at(look(), "host");

	ck_assert_double_eq(number(host, "pinned"), (double)charge);
	ck_assert_double_eq(
	    number(host, "ledgers"), (double)(charge - 16 * CHUNK_SIZE));
	ck_assert_double_eq(number(host, "wall"), 4294967296);
	ck_assert_double_eq(number(host, "clients"), 2);
	ck_assert_double_eq(number(host, "clients_max"), 1000);
}
END_TEST

START_TEST(queue_tells_length_bytes_and_age)
{
	const cJSON *q;

	fake_take(first, 8 * CHUNK_SIZE);
	fake_wait(&fake, first, 1, 8 * CHUNK_SIZE);
	fake_wait(&fake, first, 2, 4096);
	fake_now.ns += 250 * NS_PER_MS;
	q = at(look_at(first), "queue");
	fake_now.ns -= 250 * NS_PER_MS;
	ck_assert_double_eq(number(q, "length"), 2);
	ck_assert_double_eq(number(q, "bytes"), (double)(8 * CHUNK_SIZE + 4096));
	ck_assert_double_eq(number(q, "oldest_ms"), 250);
	ck_assert_double_eq(number(at(look(), "host"), "waiting"), 2);
}
END_TEST

START_TEST(requests_are_listed_in_their_order)
{
	const cJSON *list, *r;
	struct proto_alloc alloc = {
		.tag = 3, .size_bytes = 5000, .count = 2, .timeout_ms = 1000
	};

	fake_take(first, 8 * CHUNK_SIZE);
	fake_wait(&fake, first, 1, 2 * CHUNK_SIZE); /* fits: it has its turn */
	fake_wait(&fake, first, 2, 8 * CHUNK_SIZE);
	core_request(&fake.arbiter.core, &first->pool, &alloc, fake_now);
	fake_now.ns += 250 * NS_PER_MS;
	list = at(at(look_at(first), "queue"), "requests");
	fake_now.ns -= 250 * NS_PER_MS;
	ck_assert_int_eq(cJSON_GetArraySize(list), 3);
	ck_assert_str_eq(text(r = cJSON_GetArrayItem(list, 0), "state"), "turn");
	ck_assert_ptr_null(cJSON_GetObjectItem(r, "left_ms"));
	ck_assert_str_eq(text(r = cJSON_GetArrayItem(list, 1), "state"), "waiting");
	ck_assert_double_eq(number(r, "size"), (double)(8 * CHUNK_SIZE));
	ck_assert_double_eq(number(r, "age_ms"), 250);
	ck_assert_ptr_null(cJSON_GetObjectItem(r, "left_ms"));
	r = cJSON_GetArrayItem(list, 2);
	ck_assert_double_eq(number(r, "size"), 8192);
	ck_assert_double_eq(number(r, "count"), 2);
	ck_assert_double_eq(number(r, "left_ms"), 750);
}
END_TEST

START_TEST(a_long_queue_is_listed_up_to_a_bound)
{
	const cJSON *q;

	fake_take(first, 8 * CHUNK_SIZE);
	for (unsigned int i = 0; i <= STATUS_REQUESTS_MAX; i++)
		fake_wait(&fake, first, i, 8 * CHUNK_SIZE);
	q = at(look_at(first), "queue");
	ck_assert_double_eq(number(q, "length"), STATUS_REQUESTS_MAX + 1);
	ck_assert_int_eq(cJSON_GetArraySize(at(q, "requests")), STATUS_REQUESTS_MAX);
	q = at(cJSON_GetArrayItem(at(look(), "pools"), 0), "queue");
	ck_assert_ptr_null(cJSON_GetObjectItem(q, "requests"));
}
END_TEST

START_TEST(average_length_of_the_queue_is_weighted_by_time)
{
	fake_take(first, 8 * CHUNK_SIZE);
	level_init(&first->pool.waiting, fake_now);
	level_init(&fake.arbiter.core.tally.waiting, fake_now);
	fake_now.ns += NS_PER_S;
	fake_wait(&fake, first, 1, 8 * CHUNK_SIZE);
	fake_now.ns += 3 * NS_PER_S;
	ck_assert_double_eq_tol(
	    number(at(look_at(first), "queue"), "average_length"), 0.75, 1e-9);
	ck_assert_double_eq_tol(
	    number(at(at(look(), "host"), "queue"), "average_length"), 0.75, 1e-9);
	ck_assert_double_eq(number(at(at(json, "host"), "counters"), "queued"), 1);
	fake_now.ns -= 4 * NS_PER_S;
}
END_TEST

START_TEST(caches_tell_how_many_and_what_lies_in_them)
{
	const cJSON *c = at(look_at(first), "caches");

	ck_assert_double_eq(number(c, "count"), 0);
	ck_assert_double_eq(number(c, "bytes"), 0);
}
END_TEST

START_TEST(largest_free_may_lie_across_blocks)
{
	ck_assert_double_eq(
	    number(look_at(first), "largest_free"), (double)(8 * CHUNK_SIZE));
	fake_take(first, 2 * CHUNK_SIZE);
	ck_assert_double_le(
	    number(look_at(first), "largest_free"), (double)(8 * CHUNK_SIZE));
}
END_TEST

/* --- Why the first one waits --- */

START_TEST(nobody_waits_for_nothing)
{
	ck_assert_str_eq(text(look_at(first), "why"), "nothing");
	ck_assert_double_eq(number(json, "wants"), 0);
	ck_assert_double_eq(
	    number(json, "wall_needed"), (double)first->pool.limits.wall);
}
END_TEST

START_TEST(who_waits_at_the_own_wall_is_told_which_wall_would_do)
{
	fake_take(first, 8 * CHUNK_SIZE);
	fake_take(first, CHUNK_SIZE);
	fake_wait(&fake, first, 1, 8 * CHUNK_SIZE);
	ck_assert_str_eq(text(look_at(first), "why"), "wall");
	ck_assert_double_eq(number(json, "wants"), 0);
	ck_assert_double_eq(number(json, "wall_needed"), (double)(20 * CHUNK_SIZE));
	core_set_wall(&fake.arbiter.core, &first->pool,
	    (uint64_t)number(json, "wall_needed") - CHUNK_SIZE, fake_now);
	ck_assert_ptr_null(fake.pinning);
	ck_assert_str_eq(text(look_at(first), "why"), "wall");
	core_set_wall(&fake.arbiter.core, &first->pool,
	    (uint64_t)number(json, "wall_needed"), fake_now);
	ck_assert_ptr_nonnull(fake.pinning); /* that very wall lets it in */
	ck_assert_str_eq(text(look_at(first), "why"), "growing");
}
END_TEST

START_TEST(a_turn_that_was_not_used_is_waited_for)
{
	fake_take(first, 8 * CHUNK_SIZE);
	fake_wait(&fake, first, 1, 4 * CHUNK_SIZE);
	ck_assert_str_eq(text(look_at(first), "why"), "turn");
	fake_wait(&fake, first, 2, 4 * CHUNK_SIZE);
	ck_assert_str_eq(text(look_at(first), "why"), "turn");
}
END_TEST

START_TEST(counters_come_from_the_record)
{
	const cJSON *n;

	first->pool.record->counters = (struct record_counters){ 1, 2, 3, 4, 5, 6 };
	n = at(look_at(first), "counters");
	ck_assert_double_eq(number(n, "grants"), 1);
	ck_assert_double_eq(number(n, "queued"), 2);
	ck_assert_double_eq(number(n, "refused"), 3);
	ck_assert_double_eq(number(n, "timeouts"), 4);
	ck_assert_double_eq(number(n, "grown"), 5);
	ck_assert_double_eq(number(n, "released"), 6);
}
END_TEST

START_TEST(release_tells_what_was_done_and_its_periods)
{
	const cJSON *r;

	fake.arbiter.core.counters = (struct core_counters){ 9, 8 };
	r = at(look(), "release");
	ck_assert_double_eq(number(r, "passes"), 9);
	ck_assert_double_eq(number(r, "blocks_released"), 8);
	ck_assert_double_eq(number(r, "tick_ms"), 500);
	ck_assert_double_eq(number(r, "period_s"), 60);
	ck_assert_double_eq(number(r, "idle_s"), 300);
}
END_TEST

START_TEST(session_without_a_pool_is_a_client_and_no_pool)
{
	first->state = SESSION_NEW;
	ck_assert_int_eq(cJSON_GetArraySize(at(look(), "pools")), 0);
	ck_assert_double_eq(number(at(json, "host"), "clients"), 1);
	ck_assert_double_eq(number(at(json, "host"), "pinned"), 0);
}
END_TEST

START_TEST(list_tells_who_owns_what)
{
	const cJSON *p;

	fake_add(&fake, "media", 1, 1);
	json = as_sent(status_pools(&fake.arbiter));
	ck_assert_int_eq(cJSON_GetArraySize(at(json, "pools")), 2);
	cJSON_ArrayForEach (p, at(json, "pools")) {
		has_numbers(p, NUMBERS("id", "uid", "pid"));
		ck_assert_str_eq(text(p, "name"), "media");
	}
}
END_TEST

/* Whatever is written over a ledger, figures stay within what the pool has. */
START_TEST(scribbled_ledger_gives_figures_within_bounds)
{
	unsigned char *bytes = first->ledger;
	const cJSON *b;

	srandom((unsigned int)_i);
	for (size_t i = 0; i < ledger_size(FAKE_CHUNKS); i++)
		bytes[i] = (unsigned char)random();
	cJSON_ArrayForEach (b, at(look_at(first), "blocks")) {
		ck_assert_double_le(number(b, "used"), number(b, "size"));
		ck_assert_double_le(number(b, "largest_free"), number(b, "size"));
		ck_assert_uint_eq(
		    strspn(text(b, "map"), "012345678"), STATUS_MAP_CELLS);
	}
}
END_TEST

static const struct {
	const char *said;
	const char *shown;
} names[] = {
	{ "plain", "plain" },
	{ "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
	    "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80" },
	{ "a\xff"
	  "b",
	    "a?b" },
	{ "\xc3", "?" },
	{ "\xe2\x82", "??" },
	{ "\xf0\x9f\x98", "???" },
	{ "\xc0\xaf", "??" },
	{ "\xe0\x80\xaf", "???" },
	{ "\xed\xa0\x80", "???" },
	{ "\xf4\x90\x80\x80", "????" },
	{ "\xc3(", "?(" },
	{ "q\"\\\n\x01", "q\"\\\n\x01" },
};
#define NAMES ((int)(sizeof(names) / sizeof(names[0])))

START_TEST(name_of_any_bytes_makes_valid_json)
{
	cJSON *parsed;
	char *printed;

	strlcpy(first->name, names[_i].said, sizeof(first->name));
	look_at(first);
	ck_assert_str_eq(text(json, "name"), names[_i].shown);
	printed = cJSON_PrintUnformatted(json);
	parsed = cJSON_Parse(printed);
	ck_assert_str_eq(text(parsed, "name"), names[_i].shown);
	cJSON_Delete(parsed);
	cJSON_free(printed);
}
END_TEST

START_TEST(name_without_an_end_is_cut_to_its_field)
{
	memset(first->name, 'n', sizeof(first->name));
	memset(first->command, 'c', sizeof(first->command));
	look_at(first);
	ck_assert_uint_eq(strlen(text(json, "name")), sizeof(first->name));
	ck_assert_uint_eq(strlen(text(json, "command")), sizeof(first->command));
}
END_TEST

START_TEST(pool_of_a_thousand_blocks_is_told_whole)
{
	struct session *s = fake_add(&fake, "many", 4, 4);

	for (unsigned int i = 0; i < 999; i++)
		fake_grow(&fake, s, 1, 1);
	ck_assert_int_eq(cJSON_GetArraySize(at(look_at(s), "blocks")), 1000);
	ck_assert_double_eq(number(block(s, 999), "offset"), 1002 * 262144.0);
}
END_TEST

static double
elapsed_us(const struct timespec *from)
{
	struct timespec to;

	clock_gettime(CLOCK_MONOTONIC, &to);
	return (double)(to.tv_sec - from->tv_sec) * 1e6 +
	       (double)(to.tv_nsec - from->tv_nsec) / 1e3;
}

/* The bound is far off, for slow machines and sanitizers; BUD_DEBUG=1 tells the figure. */
START_TEST(large_pool_is_quickly_told)
{
	struct session *s = fake_add(&fake, "large", 256, 256);
	struct timespec from;
	double us;

	for (unsigned int i = 0; i < 15; i++)
		fake_grow(&fake, s, 256, 256);
	srandom(1);
	for (uint32_t c = 0; c < FAKE_CHUNKS; c++)
		atomic_store(&ledger_chunk(&s->pool.ledger, c)->free,
		    (uint64_t)random() << 33 ^ (uint64_t)random());
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (unsigned int i = 0; i < 100; i++)
		look();
	us = elapsed_us(&from) / 100;
	if (getenv("BUD_DEBUG") != NULL)
		printf("4096 chunks in 16 blocks: %.1f us\n", us);
	ck_assert_double_lt(us, 5000);
}
END_TEST

static Suite *
status_suite(void)
{
	Suite *s = suite_create("status");
	TCase *t = tcase_create("json");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, top_has_the_keys_of_the_design);
	tcase_add_test(t, pool_has_the_keys_of_the_design);
	tcase_add_test(t, block_has_the_keys_of_the_design);
	tcase_add_test(t, limits_of_a_pool_are_its_own);
	tcase_add_test(t, idle_check_is_a_flag_of_a_pool_that_has_it);
	tcase_add_test(t, policy_is_told_by_its_name);
	tcase_add_test(t, marks_of_headroom_are_told);
	tcase_add_test(t, what_is_pinned_above_a_lowered_wall_is_told);
	tcase_add_test(t, pool_that_can_grow_waits_for_nothing);
	tcase_add_test(t, pool_at_the_wall_of_the_host_waits_for_it);
	tcase_add_test(t, pool_at_the_wall_of_its_user_does_not_wait_for_the_host);
	tcase_add_test(t, pool_that_others_come_before_waits_for_its_order);
	tcase_add_test(t, pools_of_a_section_share_a_wall_and_tell_of_it);
	tcase_add_test(t, users_tell_what_all_their_pools_have);
	tcase_add_test(t, host_tells_what_can_be_changed_of_it);
	tcase_add_test(t, tick_count_is_also_told_in_seconds);
	tcase_add_test(t, blocks_stand_in_the_order_of_their_index);
	tcase_add_test(t, buffer_makes_its_block_in_use);
	tcase_add_test(t, freed_block_is_free_again);
	tcase_add_test(t, used_of_a_pool_is_what_its_blocks_use);
	tcase_add_test(t, growing_block_has_its_whole_size_and_what_is_pinned_so_far);
	tcase_add_test(t, block_without_an_opened_chunk_is_free_and_not_idle);
	tcase_add_test(t, idle_time_counts_from_the_last_allocation);
	tcase_add_test(t, map_shows_each_frame_of_a_block_of_one_chunk);
	tcase_add_test(t, map_rounds_a_cell_up_so_that_a_lone_frame_is_seen);
	tcase_add_test(t, map_counts_cells_that_do_not_end_where_a_chunk_ends);
	tcase_add_test(t, map_marks_what_is_not_opened);
	tcase_add_test(t, map_is_for_those_who_look_at_one_pool);
	tcase_add_test(t, host_counts_all_pools_and_their_ledgers);
	tcase_add_test(t, queue_tells_length_bytes_and_age);
	tcase_add_test(t, requests_are_listed_in_their_order);
	tcase_add_test(t, a_long_queue_is_listed_up_to_a_bound);
	tcase_add_test(t, average_length_of_the_queue_is_weighted_by_time);
	tcase_add_test(t, caches_tell_how_many_and_what_lies_in_them);
	tcase_add_test(t, largest_free_may_lie_across_blocks);
	tcase_add_test(t, nobody_waits_for_nothing);
	tcase_add_test(t, who_waits_at_the_own_wall_is_told_which_wall_would_do);
	tcase_add_test(t, a_turn_that_was_not_used_is_waited_for);
	tcase_add_test(t, counters_come_from_the_record);
	tcase_add_test(t, release_tells_what_was_done_and_its_periods);
	tcase_add_test(t, session_without_a_pool_is_a_client_and_no_pool);
	tcase_add_test(t, list_tells_who_owns_what);
	tcase_add_loop_test(t, scribbled_ledger_gives_figures_within_bounds, 0, 8);
	tcase_add_loop_test(t, name_of_any_bytes_makes_valid_json, 0, NAMES);
	tcase_add_test(t, name_without_an_end_is_cut_to_its_field);
	tcase_add_test(t, pool_of_a_thousand_blocks_is_told_whole);
	tcase_add_test(t, large_pool_is_quickly_told);
	suite_add_tcase(s, t);
	return s;
}

int
main(void)
{
	SRunner *r = srunner_create(status_suite());
	int failed;

	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
