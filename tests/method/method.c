/* SPDX-License-Identifier: ISC */

/* What the parts of the conformance suite share. */
#include "tests/method/method.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct world method_world;
struct daemon method_budd;

static struct world *const w = &method_world;

static void
setup(void)
{
	world_init(w, WORLD_HOST_WALL);
}

static void
teardown(void)
{
	world_check(w);
	world_fini(w);
}

TCase *
method_core(Suite *s, const char *name)
{
	TCase *t = tcase_create(name);

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return t;
}

TCase *
method_daemon(Suite *s, const char *name)
{
	TCase *t = tcase_create(name);

	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	return t;
}

struct world_pool *
method_pool(uint32_t base, uint32_t add, uint32_t wall)
{
	struct world_pool *p = world_open(w, base, add, wall);

	ck_assert_ptr_nonnull(p);
	ck_assert(p->opened);
	return p;
}

void
method_fill(struct world_pool *p)
{
	while (world_take(p, CHUNK_SIZE))
		;
}

void
method_grow(struct world_pool *p, uint32_t blocks)
{
	method_fill(p);
	while (pool_blocks(&p->pool) <= blocks) {
		(void)method_ask(p, 1);
		world_answer_all(w);
		method_fill(p);
	}
	ck_assert_uint_eq(pool_blocks(&p->pool), 1 + blocks);
}

void
method_empty(struct world_pool *p, uint32_t index)
{
	struct chunk_range r = pool_block(&p->pool, index);

	for (uint32_t i = p->nheld; i-- > 0;) {
		uint32_t chunk = p->held[i] / CHUNK_FRAMES;

		if (chunk >= r.from && chunk < r.to)
			world_give(w, p, i);
	}
	ck_assert(ledger_is_empty(&p->pool.ledger, r));
}

uint64_t
method_ask(struct world_pool *p, uint32_t chunks)
{
	return world_ask(w, p, CHUNKS(chunks), 1, FOR_EVER);
}

enum world_state
method_state(const struct world_pool *p, uint64_t tag)
{
	return world_request(p, tag)->state;
}

uint32_t
method_block_chunks(const struct world_pool *p, uint32_t index)
{
	struct chunk_range r = pool_block(&p->pool, index);

	return r.to - r.from;
}

uint32_t
method_frame(const struct world_pool *p)
{
	ck_assert_uint_gt(p->nheld, 0);
	return p->held[p->nheld - 1];
}

uint64_t
method_meminfo(const char *name)
{
	FILE *f = fopen("/proc/meminfo", "re");
	char line[128];
	uint64_t kib = 0;
	size_t n = strlen(name);

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, name, n) == 0 && line[n] == ':')
			sscanf(line + n + 1, "%" SCNu64, &kib);
	if (f != NULL)
		fclose(f);
	return kib * KIB;
}

const char *
method_budctl(const char *args)
{
	static char out[65536];
	const char *dir = getenv("BUD_BUILD");
	char command[512];
	FILE *f;
	size_t n;

	snprintf(command, sizeof(command), "'%s/budctl/budctl' -S '%s' %s",
	    dir != NULL ? dir : ".", method_budd.status, args);
	ck_assert_ptr_nonnull(f = popen(command, "re"));
	n = fread(out, 1, sizeof(out) - 1, f);
	out[n] = '\0';
	ck_assert_int_eq(pclose(f), 0);
	return out;
}

int
main(void)
{
	Suite *s = suite_create("method");

	method_base(s);
	method_paging(s);
	method_growth(s);
	method_wall(s);
	method_release(s);
	method_triggers(s);
	method_structures(s);
	return daemon_suite(s);
}
