/* SPDX-License-Identifier: ISC */

/* The keys of budd.conf against each other: first the defaults, then the limits. */
#include "daemon/config_check.h"

#include <assert.h>
#include <inttypes.h>
#include <sys/param.h>

#include "daemon/config_section.h"
#include "daemon/config_value.h"
#include "daemon/policy.h"

#define DEFAULT_WALL   (64 * CONFIG_MIB)
#define DEFAULT_BASE   (1 * CONFIG_MIB)
#define DEFAULT_ADD    (1 * CONFIG_MIB) /* the least */
#define WALL_MAX_WALLS 16u              /* wall_max, in walls */
#define WALL_ADDS      16u              /* a wall, in adds */

/* What a pool grows by is a multiple of this. */
static uint64_t
unit(const struct config_pool *c)
{
	return heap_kind_chunks(c->heap) * CHUNK_SIZE;
}

static uint64_t
units_down(const struct config_pool *c, uint64_t bytes)
{
	return bytes - bytes % unit(c);
}

/* @bytes is far from the end of 64 bits: the table of keys limits each size. */
static uint64_t
units_up(const struct config_pool *c, uint64_t bytes)
{
	return units_down(c, bytes + unit(c) - 1);
}

static bool
given(const struct config_section *s, unsigned int key)
{
	return s->given[key].line != 0;
}

static const char *
default_hint(const struct config_section *s, unsigned int key)
{
	return given(s, key) ? "" : " (the default)";
}

/* The first of these keys that a file gives, else the section's title. */
static struct config_place
place_of(const struct config_section *s, unsigned int a, unsigned int b, unsigned int c)
{
	if (given(s, a))
		return s->given[a];
	if (given(s, b))
		return s->given[b];
	return given(s, c) ? s->given[c] : s->at;
}

/* A key that is a size. */
static uint64_t
size_of(struct config_section *s, unsigned int key)
{
	return *(uint64_t *)config_section_field(s, key);
}

/* Is the key no more than the host's wall, if that is given? */
static bool
within_host(
    struct config_section *s, unsigned int key, const struct config_section *host)
{
	return s->bad[key] || host->bad[HOST_WALL] || host->host.wall == 0 ||
	       size_of(s, key) <= host->host.wall;
}

struct place_text {
	char s[128];
};

/* Where the host's wall is given, for somebody who reads the file of @from. */
static struct place_text
host_wall_place(const struct config_section *host, struct config_place from)
{
	struct config_place at = host->given[HOST_WALL];
	bool near = at.file == from.file;
	struct place_text t;

	snprintf(t.s, sizeof(t.s), "%s%s%u", near ? "line" : at.file, near ? " " : ":",
	    at.line);
	return t;
}

static void
check_within_host(struct config_report *r, struct config_section *s, unsigned int key,
    const struct config_section *host)
{
	struct config_shown wall = config_show_size(host->host.wall);

	if (!within_host(s, key, host))
		config_error(r, s->given[key],
		    "%s %s is above the host's wall %s: write %s or less, or raise "
		    "that one (%s)",
		    config_keys[s->kind].keys[key].name,
		    config_show_size(size_of(s, key)).s, wall.s, wall.s,
		    host_wall_place(host, s->given[key]).s);
}

static void
host_check(struct config_report *r, struct config_section *s)
{
	struct config_shown tick = config_show_time((uint64_t)s->host.tick_ns);
	int64_t period_ns = s->host.release_period_ns;

	check_within_host(r, s, HOST_USER_WALL, s);
	if (!s->bad[HOST_TICK] && !s->bad[HOST_RELEASE_PERIOD] &&
	    period_ns < s->host.tick_ns)
		config_error(r, place_of(s, HOST_RELEASE_PERIOD, HOST_TICK, HOST_TICK),
		    "release_period %s is below tick %s: write %s or more, or a "
		    "shorter tick",
		    config_show_time((uint64_t)period_ns).s, tick.s, tick.s);
}

/* Sizes that the file does not give; base and add in whole units. */
static void
pool_derive(struct config_section *s, const struct config_host *host)
{
	struct config_pool *c = &s->pool;
	uint64_t host_wall = host->wall != 0 ? host->wall : CONFIG_POOL_SIZE_MAX;
	uint64_t wall_units, walls;

	if (!given(s, POOL_WALL))
		c->wall = MIN(DEFAULT_WALL, host_wall);
	wall_units = units_down(c, c->wall);
	if (!given(s, POOL_BASE))
		c->base = MIN(DEFAULT_BASE, wall_units);
	if (!given(s, POOL_ADD))
		c->add = MIN(
		    MAX(units_down(c, c->wall / WALL_ADDS), DEFAULT_ADD), wall_units);
	/* A client can take hugetlb pages up to the end of its memory, whatever its wall. */
	walls = c->heap == HEAP_HUGE ? 1 : WALL_MAX_WALLS;
	if (!given(s, POOL_WALL_MAX))
		c->wall_max = MAX(c->wall,
		    MIN(MIN(walls * c->wall, host_wall), CONFIG_POOL_SIZE_MAX));
	if (!given(s, POOL_MAX_BUFFER))
		c->max_buffer = c->wall;
	c->base = units_up(c, c->base);
	c->add = units_up(c, c->add);
}

/* What was derived from an unknown value is unknown. */
static void
pool_derive_bad(struct config_section *s, const struct config_section *host)
{
	bool *bad = s->bad;

	bad[POOL_WALL] |= !given(s, POOL_WALL) && host->bad[HOST_WALL];
	bad[POOL_BASE] |= !given(s, POOL_BASE) && bad[POOL_WALL];
	bad[POOL_ADD] |= !given(s, POOL_ADD) && bad[POOL_WALL];
	bad[POOL_WALL_MAX] |=
	    !given(s, POOL_WALL_MAX) && (bad[POOL_WALL] || host->bad[HOST_WALL]);
	bad[POOL_MAX_BUFFER] |= !given(s, POOL_MAX_BUFFER) && bad[POOL_WALL];
}

/* @low is to be no more than @high; @low's line is at fault, if it has one. */
static void
pool_check_order(struct config_report *r, struct config_section *s,
    enum config_pool_key low, enum config_pool_key high)
{
	uint64_t low_size = size_of(s, low), high_size = size_of(s, high);
	uint64_t most = high_size;
	const struct config_key *keys = config_keys[CONFIG_POOL].keys;

	if (s->bad[low] || s->bad[high] || low_size <= high_size)
		return;
	if (low == POOL_BASE || low == POOL_ADD)
		most = units_down(&s->pool, most);
	config_error(r, place_of(s, low, high, high),
	    "%s %s%s is above %s %s%s: write %s = %s or less, or %s = %s or more",
	    keys[low].name, config_show_size(low_size).s, default_hint(s, low),
	    keys[high].name, config_show_size(high_size).s, default_hint(s, high),
	    keys[low].name, config_show_size(most).s, keys[high].name,
	    config_show_size(low_size).s);
}

/* The other way round: wall_max, not the wall, is at fault. */
static void
pool_check_wall_max(struct config_report *r, const struct config_section *s)
{
	const struct config_pool *c = &s->pool;

	if (s->bad[POOL_WALL] || s->bad[POOL_WALL_MAX] || c->wall_max >= c->wall)
		return;
	config_error(r, place_of(s, POOL_WALL_MAX, POOL_WALL, POOL_WALL),
	    "wall_max %s is below wall %s%s: write wall_max = %s or more",
	    config_show_size(c->wall_max).s, config_show_size(c->wall).s,
	    default_hint(s, POOL_WALL), config_show_size(c->wall).s);
}

/* One that has no room for a page is told once, not for each key that follows from it. */
static void
pool_check_unit(struct config_report *r, struct config_section *s)
{
	const struct config_pool *c = &s->pool;

	if (s->bad[POOL_WALL] || c->wall >= unit(c))
		return;
	config_error(r, place_of(s, POOL_WALL, POOL_HEAP, POOL_HEAP),
	    "wall %s is below a page of heap %s: write wall = %s or more, or heap = "
	    "page",
	    config_show_size(c->wall).s, heap_kind_name(c->heap),
	    config_show_size(unit(c)).s);
	s->bad[POOL_WALL] = s->bad[POOL_BASE] = s->bad[POOL_ADD] = true;
}

/* Above the host's wall, a wall is an error; what it may be raised to, a warning. */
static void
pool_check_host(struct config_report *r, struct config_section *s,
    const struct config_section *host)
{
	struct config_shown wall = config_show_size(host->host.wall);

	check_within_host(r, s, POOL_WALL, host);
	check_within_host(r, s, POOL_WALL_TOTAL, host);
	if (within_host(s, POOL_WALL, host) && !within_host(s, POOL_WALL_MAX, host))
		config_warning(r, s->given[POOL_WALL_MAX],
		    "wall_max %s is above the host's wall %s, which holds: write %s, "
		    "or raise that one (%s)",
		    config_show_size(s->pool.wall_max).s, wall.s, wall.s,
		    host_wall_place(host, s->given[POOL_WALL_MAX]).s);
}

static uint64_t
pool_blocks(const struct config_pool *c)
{
	return 1 + (c->wall_max - c->base) / c->add;
}

/* Each block costs table entries in both processes, also while it is not there. */
static void
pool_check_blocks(struct config_report *r, const struct config_section *s)
{
	const struct config_pool *c = &s->pool;
	uint64_t add;

	if (s->bad[POOL_BASE] || s->bad[POOL_ADD] || s->bad[POOL_WALL_MAX] ||
	    c->wall_max < c->base || pool_blocks(c) <= CONFIG_BLOCKS_MAX)
		return;
	add = units_down(c, (c->wall_max - c->base) / CONFIG_BLOCKS_MAX) + unit(c);
	config_error(r, place_of(s, POOL_ADD, POOL_WALL_MAX, POOL_WALL),
	    "add %s makes %" PRIu64 " blocks at wall_max %s%s, at most %u are allowed: "
	    "write add = %s or more, or a lower wall_max",
	    config_show_size(c->add).s, pool_blocks(c), config_show_size(c->wall_max).s,
	    default_hint(s, POOL_WALL_MAX), CONFIG_BLOCKS_MAX, config_show_size(add).s);
}

/* Only where the section gives one of the three: a default is nobody's to correct. */
static void
pool_warn_rest(struct config_report *r, const struct config_section *s)
{
	const struct config_pool *c = &s->pool;
	uint64_t adds = (c->wall - c->base) / c->add;
	uint64_t rest = (c->wall - c->base) % c->add;
	bool units = rest >= unit(c); /* else no block can have them */

	if (rest == 0 ||
	    !(given(s, POOL_WALL) || given(s, POOL_ADD) || given(s, POOL_BASE)))
		return;
	config_warning(r, place_of(s, POOL_WALL, POOL_ADD, POOL_BASE),
	    "wall %s leaves %s unused (base %s + %" PRIu64 " x add %s): write %s = %s",
	    config_show_size(c->wall).s, config_show_size(rest).s,
	    config_show_size(c->base).s, adds, config_show_size(c->add).s,
	    units ? "base" : "wall",
	    config_show_size(units ? c->base + units_down(c, rest) : c->wall - rest).s);
}

static void
pool_check(struct config_report *r, struct config_section *s,
    const struct config_section *host)
{
	unsigned int errors = r->errors;

	pool_derive(s, &host->host);
	pool_derive_bad(s, host);
	pool_check_unit(r, s);
	pool_check_order(r, s, POOL_BASE, POOL_WALL);
	pool_check_order(r, s, POOL_ADD, POOL_WALL);
	pool_check_order(r, s, POOL_HEADROOM, POOL_WALL);
	pool_check_wall_max(r, s);
	if (given(s, POOL_MAX_BUFFER)) /* else it is the wall, which was checked */
		pool_check_order(r, s, POOL_MAX_BUFFER, POOL_WALL_MAX);
	if (s->pool.wall_total != 0)
		pool_check_order(r, s, POOL_BASE, POOL_WALL_TOTAL);
	pool_check_host(r, s, host);
	/* Not before: errors name it as given. */
	s->pool.wall_max = units_up(&s->pool, s->pool.wall_max);
	pool_check_blocks(r, s);
	if (r->errors == errors && !s->bad[POOL_WALL] && !s->bad[POOL_ADD] &&
	    !s->bad[POOL_BASE])
		pool_warn_rest(r, s);
}

/* What config.h promises of a pool. */
static bool
pool_ok(const struct config_pool *c)
{
	return c->heap < HEAP_KINDS && c->base >= unit(c) && c->base % unit(c) == 0 &&
	       c->add >= unit(c) && c->add % unit(c) == 0 &&
	       c->wall_max % unit(c) == 0 && c->wall_max <= CONFIG_POOL_SIZE_MAX &&
	       c->base <= c->wall && c->add <= c->wall && c->wall <= c->wall_max &&
	       c->headroom <= c->wall && c->max_buffer >= FRAME_SIZE &&
	       c->max_buffer <= c->wall_max && c->weight >= 1 &&
	       c->weight <= CONFIG_WEIGHT_MAX && pool_blocks(c) <= CONFIG_BLOCKS_MAX &&
	       (c->wall_total == 0 || c->base <= c->wall_total) &&
	       policy_find(c->policy) != NULL;
}

void
config_check(struct config_sections *all)
{
	struct config_section *host = config_section_need(all, CONFIG_HOST, "");
	struct config_section *s;

	if (host == NULL || config_section_need(all, CONFIG_STATUS, "") == NULL ||
	    config_section_need(all, CONFIG_POOL, CONFIG_DEFAULT_POOL) == NULL)
		return;
	host_check(&all->report, host);
	STAILQ_FOREACH (s, &all->list, entry)
		if (s->kind == CONFIG_POOL && !s->spare)
			pool_check(&all->report, s, host);
	STAILQ_FOREACH (s, &all->list, entry)
		assert(all->report.errors > 0 || s->kind != CONFIG_POOL ||
		       (!s->spare && pool_ok(&s->pool)));
}
