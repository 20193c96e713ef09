/* SPDX-License-Identifier: ISC */

/* The keys of budd.conf: the table, and what takes each kind of value. */
#include "daemon/config_key.h"

#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "daemon/config_section.h"
#include "daemon/config_value.h"
#include "daemon/policy.h"

#define NITEMS(a) (sizeof(a) / sizeof((a)[0]))

static int because(struct config_why *why, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static int
because(struct config_why *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, ap);
	va_end(ap);
	return -1;
}

/* Is it one, and in the key's range? @r is what the parser said, @n the number it read. */
static int
check_range(const struct config_key *k, const char *what, int r, uint64_t n,
    struct config_shown (*show)(uint64_t), struct config_why *why)
{
	struct config_shown min = show(k->min), max = show(k->max);
	const char *or_zero = k->zero != NULL ? ", or 0: " : "";
	const char *zero = k->zero != NULL ? k->zero : "";

	if (r == -EINVAL)
		return because(why, " is no %s: write %s to %s%s%s", what, min.s, max.s,
		    or_zero, zero);
	if (r == -ERANGE || n > k->max)
		return because(
		    why, " is above the most, %s: write %s to %s", max.s, min.s, max.s);
	if (n >= k->min || (n == 0 && k->zero != NULL))
		return 0;
	return because(why, " is below the least, %s: write %s to %s%s%s", min.s, min.s,
	    max.s, or_zero, zero);
}

static int
set_size(
    const struct config_key *k, const char *value, void *field, struct config_why *why)
{
	uint64_t bytes = 0;
	int r = config_parse_size(value, &bytes);

	if (check_range(k, "size (like 64M)", r, bytes, config_show_size, why) == -1)
		return -1;
	*(uint64_t *)field = bytes;
	return 0;
}

static int
set_time(
    const struct config_key *k, const char *value, void *field, struct config_why *why)
{
	int64_t ns = 0;
	int r = config_parse_time(value, &ns);

	if (check_range(k, "time (us, ms, s, min, h, d)", r, (uint64_t)ns,
		config_show_time, why) == -1)
		return -1;
	*(int64_t *)field = ns;
	return 0;
}

static int
set_count(
    const struct config_key *k, const char *value, void *field, struct config_why *why)
{
	uint64_t count = 0;
	int r = config_parse_count(value, &count);

	if (check_range(k, "whole number", r, count, config_show_count, why) == -1)
		return -1;
	*(uint32_t *)field = (uint32_t)count;
	return 0;
}

static int
set_bool(
    const struct config_key *k, const char *value, void *field, struct config_why *why)
{
	(void)k;
	if (config_parse_bool(value, field) == 0)
		return 0;
	return because(why, " is neither yes nor no: write one of these");
}

/* An empty name is the default: no restriction. @error is errno of the lookup. */
static int
set_name(const struct config_key *k, const char *value, void *field, bool found,
    int error, struct config_why *why)
{
	bool failed =
	    error == EIO || error == EMFILE || error == ENFILE ||
	    error == ENOMEM; /* of a name not found, systems say this and that */

	if (*value != '\0' && !found)
		return because(why, ": unknown %s: %s: create it, or correct the name",
		    k->name,
		    failed ? strerror(error) : "the system knows no such name");
	if (strlen(value) > k->max)
		return because(why, ": the name is longer than %s bytes: shorten it",
		    config_show_count(k->max).s);
	memcpy(field, value, strlen(value) + 1);
	return 0;
}

static int
set_user(
    const struct config_key *k, const char *value, void *field, struct config_why *why)
{
	bool found;

	errno = 0;
	found = getpwnam(value) != NULL;
	return set_name(k, value, field, found, errno, why);
}

static int
set_group(
    const struct config_key *k, const char *value, void *field, struct config_why *why)
{
	bool found;

	errno = 0;
	found = getgrnam(value) != NULL;
	return set_name(k, value, field, found, errno, why);
}

static int
set_heap(
    const struct config_key *k, const char *value, void *field, struct config_why *why)
{
	(void)k;
	if (heap_kind_find(value, field) == 0)
		return 0;
	return because(why, " is no heap: there are page, thp, huge");
}

static int
set_policy(
    const struct config_key *k, const char *value, void *field, struct config_why *why)
{
	if (policy_find(value) == NULL)
		return because(why, " is no policy: there are %s", policy_names());
	assert(strlen(value) <= k->max);
	memcpy(field, value, strlen(value) + 1);
	return 0;
}

/* "some 150ms/2s", taken apart; the times are only read, not held against anything. */
static int
parse_pressure(const char *value, struct config_pressure *pressurep)
{
	struct config_pressure p = { .on = true };
	char stall[32], window[32], word[8];
	int end = -1;

	/* Longer words do not match what follows them, and shift the rest into an error. */
	if (sscanf(value, "%7[a-z]%*[ \t]%31[0-9a-z]/%31[0-9a-z]%n", word, stall,
		window, &end) != 3 ||
	    value[end] != '\0')
		return -EINVAL;
	p.full = strcmp(word, "full") == 0;
	if (!p.full && strcmp(word, "some") != 0)
		return -EINVAL;
	if (config_parse_time(stall, &p.stall_ns) != 0 ||
	    config_parse_time(window, &p.window_ns) != 0)
		return -EINVAL;
	*pressurep = p;
	return 0;
}

/* The key's range is the window's; the kernel has the same one. */
static int
set_pressure(
    const struct config_key *k, const char *value, void *field, struct config_why *why)
{
	struct config_pressure p = { 0 };

	if (strcmp(value, "off") != 0 && parse_pressure(value, &p) != 0)
		return because(why,
		    " is no trigger: write off, or some STALL/WINDOW or "
		    "full STALL/WINDOW, like some 150ms/2s");
	if (p.on && ((uint64_t)p.window_ns < k->min || (uint64_t)p.window_ns > k->max))
		return because(why, ": the window may be %s to %s, like some 150ms/2s",
		    config_show_time(k->min).s, config_show_time(k->max).s);
	if (p.on && (p.stall_ns == 0 || p.stall_ns > p.window_ns))
		return because(why,
		    ": the stall is to be above 0, and no more than the "
		    "window: write 1us to %s",
		    config_show_time((uint64_t)p.window_ns).s);
	*(struct config_pressure *)field = p;
	return 0;
}

#define AT(field)     offsetof(struct config_section, field)
#define POOL_BYTES(f) (sizeof(((struct config_pool *)NULL)->f) - 1)
#define YEAR          (365 * CONFIG_DAY)
#define SIZE_MAX_POOL CONFIG_POOL_SIZE_MAX
#define NO_LIMIT      "no limit"

static const struct config_key host_keys[] = {
	[HOST_WALL] = { "wall", set_size, AT(host.wall), CONFIG_MIB, CONFIG_PIB,
	    "budd finds it out" },
	[HOST_TICK] = { "tick", set_time, AT(host.tick_ns), CONFIG_MS, CONFIG_HOUR,
	    NULL },
	[HOST_RELEASE_PERIOD] = { "release_period", set_time,
	    AT(host.release_period_ns), CONFIG_MS, YEAR, NULL },
	[HOST_IDLE] = { "idle", set_time, AT(host.idle_ns), CONFIG_MS, YEAR, NULL },
	[HOST_HELLO_TIMEOUT] = { "hello_timeout", set_time, AT(host.hello_timeout_ns),
	    CONFIG_MS, CONFIG_HOUR, NULL },
	[HOST_UNREGISTER_TIMEOUT] = { "unregister_timeout", set_time,
	    AT(host.unregister_timeout_ns), CONFIG_MS, CONFIG_HOUR, NULL },
	[HOST_CLIENTS_MAX] = { "clients_max", set_count, AT(host.clients_max), 1,
	    CONFIG_CLIENTS_MAX, NULL },
	[HOST_USER_CLIENTS] = { "user_clients", set_count, AT(host.user_clients), 0,
	    CONFIG_CLIENTS_MAX, NULL },
	[HOST_OVERTAKEN_MAX] = { "overtaken_max", set_count, AT(host.overtaken_max), 0,
	    10000, NULL },
	[HOST_USER_WALL] = { "user_wall", set_size, AT(host.user_wall), CONFIG_MIB,
	    CONFIG_PIB, NO_LIMIT },
	[HOST_USER_POOLS] = { "user_pools", set_count, AT(host.user_pools), 0, 10000,
	    NULL },
	[HOST_USER_REQUESTS] = { "user_requests", set_count, AT(host.user_requests), 0,
	    1000000, NULL },
	[HOST_PRESSURE] = { "pressure", set_pressure, AT(host.pressure),
	    500 * CONFIG_MS, 10 * CONFIG_SECOND, NULL },
};

static const struct config_key pool_keys[] = {
	[POOL_USER] = { "user", set_user, AT(pool.user), 0, POOL_BYTES(user), NULL },
	[POOL_GROUP] = { "group", set_group, AT(pool.group), 0, POOL_BYTES(group),
	    NULL },
	[POOL_BASE] = { "base", set_size, AT(pool.base), FRAME_SIZE, SIZE_MAX_POOL,
	    NULL },
	[POOL_ADD] = { "add", set_size, AT(pool.add), CHUNK_SIZE, SIZE_MAX_POOL, NULL },
	[POOL_WALL] = { "wall", set_size, AT(pool.wall), CHUNK_SIZE, SIZE_MAX_POOL,
	    NULL },
	[POOL_WALL_MAX] = { "wall_max", set_size, AT(pool.wall_max), CHUNK_SIZE,
	    SIZE_MAX_POOL, NULL },
	[POOL_WALL_TOTAL] = { "wall_total", set_size, AT(pool.wall_total), CHUNK_SIZE,
	    CONFIG_PIB, NO_LIMIT },
	[POOL_WEIGHT] = { "weight", set_count, AT(pool.weight), 1, CONFIG_WEIGHT_MAX,
	    NULL },
	[POOL_HEAP] = { "heap", set_heap, AT(pool.heap), 0, 0, NULL },
	[POOL_HEADROOM] = { "headroom", set_size, AT(pool.headroom), 0, SIZE_MAX_POOL,
	    NULL },
	[POOL_MAX_BUFFER] = { "max_buffer", set_size, AT(pool.max_buffer), FRAME_SIZE,
	    SIZE_MAX_POOL, NULL },
	[POOL_POLICY] = { "policy", set_policy, AT(pool.policy), 0, POOL_BYTES(policy),
	    NULL },
	[POOL_CHECK_IDLE] = { "check_idle", set_bool, AT(pool.check_idle), 0, 1, NULL },
};

static const struct config_key status_keys[] = {
	{ "group", set_group, AT(status_group), 0, POOL_BYTES(group), NULL },
	{ "queued_event", set_time, AT(queued_event_ns), CONFIG_MS, CONFIG_HOUR, NULL },
};

const struct config_keys config_keys[CONFIG_KINDS] = {
	[CONFIG_HOST] = { "host", host_keys, NITEMS(host_keys) },
	[CONFIG_POOL] = { "pool", pool_keys, NITEMS(pool_keys) },
	[CONFIG_STATUS] = { "status", status_keys, NITEMS(status_keys) },
};
static_assert(
    NITEMS(host_keys) <= CONFIG_KEYS_MAX && NITEMS(status_keys) <= CONFIG_KEYS_MAX,
    "struct config_section has room for each key");

unsigned int
config_key_find(enum config_kind kind, const char *name)
{
	const struct config_keys *t = &config_keys[kind];
	unsigned int i = 0;

	while (i < t->count && strcmp(t->keys[i].name, name) != 0)
		i++;
	return i;
}

void
config_key_unknown(enum config_kind kind, const char *name, struct config_why *why)
{
	const struct config_keys *t = &config_keys[kind];
	unsigned int i;

	for (i = 0; i < CONFIG_KINDS; i++)
		if (config_key_find(i, name) < config_keys[i].count) {
			because(why, "it belongs in [%s]", config_keys[i].name);
			return;
		}
	strlcpy(why->text, "there are ", sizeof(why->text));
	for (i = 0; i < t->count; i++) {
		strlcat(why->text, i > 0 ? ", " : "", sizeof(why->text));
		strlcat(why->text, t->keys[i].name, sizeof(why->text));
	}
}
