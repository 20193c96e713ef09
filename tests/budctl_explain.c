/* SPDX-License-Identifier: ISC */

/* budctl explain: why does a pool wait? */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "tests/budctl_run.h"

static void
ask(struct fake *f, struct session *s, uint64_t tag, uint64_t size)
{
	struct proto_alloc alloc = {
		.tag = tag, .size_bytes = size, .count = 1, .timeout_ms = 60000
	};

	core_request(&f->arbiter.core, &s->pool, &alloc, fake_now);
	ck_assert_ptr_nonnull(queue_find(&s->pool.queue, tag));
}

/* One that is full, and grows by 2 MiB. Each case begins with it; it has the id 7. */
static struct session *
add_full(struct fake *f)
{
	struct session *s = fake_add(f, "media", 4, 8);

	fake_take(s, 4 * CHUNK_SIZE);
	return s;
}

static void
nobody_waits(struct fake *f)
{
	fake_add(f, "media", 4, 8);
}

static void
waits_at_its_wall(struct fake *f)
{
	struct session *s = add_full(f);

	fake_wait(f, s, 1, 4 * CHUNK_SIZE);
	fake_wait(f, s, 2, 4 * CHUNK_SIZE);
}

static void
waits_beyond_its_memory(struct fake *f)
{
	struct session *s = add_full(f);

	s->pool.limits.wall_max = 4 * CHUNK_SIZE;
	fake_wait(f, s, 1, 4 * CHUNK_SIZE);
}

static void
waits_among_fragments(struct fake *f)
{
	struct session *s = fake_add(f, "media", 4, 8);
	uint32_t frame[4];

	for (int i = 0; i < 4; i++)
		frame[i] = fake_take(s, CHUNK_SIZE);
	ck_assert_int_eq(ledger_give(&s->pool.ledger, frame[0]), 0);
	ck_assert_int_eq(ledger_give(&s->pool.ledger, frame[2]), 0);
	fake_wait(f, s, 1, 2 * CHUNK_SIZE);
}

static void
waits_for_the_host(struct fake *f)
{
	struct session *s = add_full(f), *idle = fake_add(f, "idle", 4, 8);

	fake_grow(f, idle, 8, 8);
	fake_take(idle, 8 * CHUNK_SIZE);
	f->arbiter.core.params.host_wall = f->arbiter.core.committed + CHUNK_SIZE;
	ask(f, s, 1, 8 * CHUNK_SIZE);
}

static void
waits_for_a_host_that_cannot_have_more(struct fake *f)
{
	waits_for_the_host(f);
	f->arbiter.spec.host_wall = f->arbiter.core.params.host_wall;
}

static void
waits_for_its_user(struct fake *f)
{
	struct session *s = add_full(f);

	f->arbiter.core.params.user_wall = s->pool.user->charge;
	ask(f, s, 1, 8 * CHUNK_SIZE);
}

static void
waits_for_its_section(struct fake *f)
{
	struct session *s = fake_add_to(f, "media", "shared", 10);

	fake_take(s, 4 * CHUNK_SIZE);
	ask(f, s, 1, 8 * CHUNK_SIZE);
}

static void
waits_in_order(struct fake *f)
{
	struct session *s = add_full(f), *other = fake_add(f, "other", 4, 8);
	uint64_t wall = f->arbiter.core.params.host_wall;

	fake_take(other, 4 * CHUNK_SIZE);
	f->arbiter.core.params.host_wall = f->arbiter.core.committed;
	ask(f, s, 1, 8 * CHUNK_SIZE);
	ask(f, other, 1, 8 * CHUNK_SIZE);
	f->arbiter.core.params.host_wall = wall; /* and nobody was told */
}

static void
waits_for_its_client(struct fake *f)
{
	struct session *s = fake_add(f, "media", 4, 8);

	fake_wait(f, s, 1, 4 * CHUNK_SIZE); /* has its turn */
	fake_wait(f, s, 2, 4 * CHUNK_SIZE);
}

static void
waits_for_pages(struct fake *f)
{
	struct session *s = add_full(f);

	s->pool.retry_tick = UINT32_MAX;
	ask(f, s, 1, 8 * CHUNK_SIZE);
}

static void
waits_for_growth(struct fake *f)
{
	ask(f, add_full(f), 1, 8 * CHUNK_SIZE);
}

static const struct {
	void (*fill)(struct fake *f);
	const char *why;
	const char *told[5];
} explained[] = {
	{ nobody_waits, "nothing",
	    { "pool 7 'media': nothing waits; 1 MiB of 1 MiB pinned are free\n",
		"largest buffer that fits without growth is 1 MiB\n",
		"may grow by 1023.0 MiB up to its wall of 1.0 GiB",
		"0 requests had to queue, and 0 waited on average\n" } },
	{ waits_at_its_wall, "wall",
	    { "pool 7 'media': it is at its own wall\n",
		"2 requests for 2 MiB queue; the first wants 1 MiB, and waits since 0 "
		"s\n",
		"wall is 1 MiB: pinned 1 MiB in 1 block, used 1 MiB, free 0 B\n",
		"    budctl set 7 wall=5M\n        lets in all that waits now\n",
		"until the client (pid 77, nginx) frees buffers\n" } },
	{ waits_beyond_its_memory, "wall",
	    { "wall_max = 3M (or more) in [pool default] of budd.conf" } },
	{ waits_among_fragments, "wall",
	    { "it is at its own wall, and what is free is in pieces too small\n",
		"512 KiB are free, but not in one piece: the largest free run has 256 "
		"KiB, "
		"and the request wants 512 KiB\n",
		"budctl set 7 wall=3M\n", "frees buffers that lie side by side\n" } },
	{ waits_for_the_host, "host",
	    { "the host's wall binds\n", "it wants a block of 2 MiB\n",
		"room for 256 KiB\n",
		"pool 8 'idle' has most: 3.0 MiB, of which it uses 2 MiB\n",
		"budctl set 7 weight=6\n" } },
	{ waits_for_the_host, "host",
	    { "    budctl set host wall=8M\n        lets in the first request\n" } },
	{ waits_for_a_host_that_cannot_have_more, "host",
	    { "in [host] of budd.conf, and a restart of budd" } },
	{ waits_for_its_user, "user",
	    { "the wall of its user binds\n", "user root has ",
		"    budctl set host user_wall=4M\n" } },
	{ waits_for_its_section, "section",
	    { "the wall that its section shares binds\n",
		"wall_total of section shared is 2.5 MiB: 1 MiB taken by its pools\n",
		"wall_total = 3M (or more) in [pool shared] of budd.conf" } },
	{ waits_in_order, "order",
	    { "kept for others whose turn is before its own\n",
		"pool 8 'other' wants 2 MiB and waits since 0 s\n",
		"it gives up in 1 min\n", "budctl set 7 weight=6\n" } },
	{ waits_for_its_client, "turn",
	    { "has been given a turn, and has not used it yet\n",
		"    ps -o pid,stat,wchan:20,args -p 77\n" } },
	{ waits_for_pages, "pinning",
	    { "the system would not lock more pages", "    budctl doctor\n" } },
	{ waits_for_growth, "growing",
	    { "it is being served: memory is on its way\n" } },
};
#define EXPLAINED ((int)(sizeof(explained) / sizeof(explained[0])))

START_TEST(each_reason_is_explained_with_figures_and_remedies)
{
	cJSON *json;

	setenv("LC_ALL", "C", 1);
	fake_server_start(&run.server, explained[_i].fill);
	setenv("BUD_STATUS_SOCKET", run.server.path, 1);
	ck_assert_int_eq(budctl("explain media"), 0);
	for (int i = 0; i < 5 && explained[_i].told[i] != NULL; i++)
		HAS(run.out, explained[_i].told[i]);
	ck_assert_str_eq(run.err, "");
	ck_assert_int_eq(budctl("explain 7 --json"), 0);
	json = cJSON_Parse(run.out);
	ck_assert_str_eq(
	    cJSON_GetObjectItem(json, "why")->valuestring, explained[_i].why);
	ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItem(json, "remedies")) == 0,
	    strcmp(explained[_i].why, "nothing") == 0);
	cJSON_Delete(json);
	fake_server_stop(&run.server);
}
END_TEST

/* The command that is proposed is typed, and then nobody waits at that wall any more. */
START_TEST(the_wall_that_is_proposed_suffices)
{
	fake_server_start(&run.server, waits_at_its_wall);
	setenv("BUD_STATUS_SOCKET", run.server.path, 1);
	ck_assert_int_eq(budctl("set 7 wall=5M"), 0);
	ck_assert_int_eq(budctl("explain 7"), 0);
	HAS(run.out, "it is being served");
	fake_server_stop(&run.server);
}
END_TEST

TCase *
budctl_explain_tests(void)
{
	TCase *t = tcase_create("explain");

	tcase_add_checked_fixture(t, budctl_setup_alone, NULL);
	tcase_add_loop_test(
	    t, each_reason_is_explained_with_figures_and_remedies, 0, EXPLAINED);
	tcase_add_test(t, the_wall_that_is_proposed_suffices);
	return t;
}
