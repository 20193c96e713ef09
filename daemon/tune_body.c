/* SPDX-License-Identifier: ISC */

/*
 * The bodies of changes: one flat object, each key at most once.
 *
 * cJSON bounds the depth (CJSON_NESTING_LIMIT), and whoever calls bounds the size. What it
 * is lax about is looked at here: what stands behind the object, a NUL in a text (which
 * would hide the rest of it), a key twice, and numbers, which it reads as doubles: those
 * that are not whole, or too large to be exact, are nobody's intention.
 */
#include "daemon/tune_body.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "daemon/policy.h"
#include "proto/ledger.h"

#define NITEMS(a) (sizeof(a) / sizeof((a)[0]))

struct tune_key {
	const char *name;
	int (*set)(const struct tune_key *k, const cJSON *item, void *field,
	    struct tune_why *why);
	size_t offset;
	uint64_t min;
	uint64_t max;
};

int
tune_because(struct tune_why *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, ap);
	va_end(ap);
	return -1;
}

/* --- Values --- */

struct shown {
	char text[64];
};

/* A value as it was given, shortened. */
static struct shown
show(const cJSON *item)
{
	struct shown s = { "null" };

	if (cJSON_IsString(item))
		snprintf(s.text, sizeof(s.text), "\"%.40s\"", item->valuestring);
	else if (cJSON_IsNumber(item))
		snprintf(s.text, sizeof(s.text), "%.16g", item->valuedouble);
	else if (cJSON_IsBool(item))
		strlcpy(s.text, cJSON_IsTrue(item) ? "true" : "false", sizeof(s.text));
	else if (cJSON_IsArray(item))
		strlcpy(s.text, "an array", sizeof(s.text));
	else if (cJSON_IsObject(item))
		strlcpy(s.text, "an object", sizeof(s.text));
	return s;
}

static bool
is_whole(double value)
{
	return isfinite(value) && value == floor(value);
}

static int
set_number(
    const struct tune_key *k, const cJSON *item, void *field, struct tune_why *why)
{
	double value = cJSON_IsNumber(item) ? item->valuedouble : 0;
	const char *wrong = NULL;

	if (!cJSON_IsNumber(item))
		wrong = "is no number";
	else if (isfinite(value) && value != floor(value))
		wrong = "is no whole number";
	else if (!is_whole(value) || value < (double)k->min || value > (double)k->max)
		wrong = "is out of range";
	if (wrong != NULL)
		return tune_because(why, "%s: %s %s: give %llu to %llu", k->name,
		    show(item).text, wrong, (unsigned long long)k->min,
		    (unsigned long long)k->max);
	*(uint64_t *)field = (uint64_t)value;
	return 0;
}

static int
set_chunks(
    const struct tune_key *k, const cJSON *item, void *field, struct tune_why *why)
{
	uint64_t size;

	if (set_number(k, item, field, why) != 0)
		return -1;
	size = *(uint64_t *)field;
	if (size % CHUNK_SIZE == 0)
		return 0;
	return tune_because(why, "%s: %s is no multiple of %llu (256K): give %" PRIu64,
	    k->name, show(item).text, (unsigned long long)CHUNK_SIZE,
	    size + CHUNK_SIZE - size % CHUNK_SIZE);
}

/* Bytes, or 0 for no limit. */
static int
set_limit(
    const struct tune_key *k, const cJSON *item, void *field, struct tune_why *why)
{
	if (cJSON_IsNumber(item) && item->valuedouble == 0) {
		*(uint64_t *)field = 0;
		return 0;
	}
	if (set_number(k, item, field, why) == 0)
		return 0;
	strlcat(why->text, ", or 0: no limit", sizeof(why->text));
	return -1;
}

static int
set_bool(const struct tune_key *k, const cJSON *item, void *field, struct tune_why *why)
{
	if (!cJSON_IsBool(item))
		return tune_because(
		    why, "%s: %s is neither true nor false", k->name, show(item).text);
	*(bool *)field = cJSON_IsTrue(item);
	return 0;
}

static int
set_policy(
    const struct tune_key *k, const cJSON *item, void *field, struct tune_why *why)
{
	const struct policy *policy =
	    cJSON_IsString(item) ? policy_find(item->valuestring) : NULL;

	if (policy == NULL)
		return tune_because(why, "%s: %s is none: give one of %s", k->name,
		    show(item).text, policy_names());
	*(const struct policy **)field = policy;
	return 0;
}

/* --- Keys --- */

#define POOL(field) offsetof(struct tune_pool, field)
#define HOST(field) offsetof(struct tune_host, field)

static const struct tune_key pool_keys[] = {
	[TUNE_POOL_WALL] = { "wall", set_number, POOL(wall), CHUNK_SIZE,
	    TUNE_EXACT_MAX },
	[TUNE_POOL_ADD] = { "add", set_chunks, POOL(add), CHUNK_SIZE, TUNE_EXACT_MAX },
	[TUNE_POOL_WEIGHT] = { "weight", set_number, POOL(weight), 1, TUNE_WEIGHT_MAX },
	[TUNE_POOL_CHECK_IDLE] = { "check_idle", set_bool, POOL(check_idle), 0, 1 },
	[TUNE_POOL_POLICY] = { "policy", set_policy, POOL(policy), 0, 0 },
};

static const struct tune_key host_keys[] = {
	[TUNE_HOST_WALL] = { "wall", set_number, HOST(wall), TUNE_HOST_WALL_MIN,
	    TUNE_EXACT_MAX },
	[TUNE_HOST_TICK] = { "tick_ms", set_number, HOST(tick_ms), 1,
	    TUNE_TICK_MS_MAX },
	[TUNE_HOST_RELEASE_PERIOD] = { "release_period_ms", set_number,
	    HOST(release_period_ms), 1, TUNE_PERIOD_MS_MAX },
	[TUNE_HOST_IDLE] = { "idle_ms", set_number, HOST(idle_ms), 1,
	    TUNE_PERIOD_MS_MAX },
	[TUNE_HOST_OVERTAKEN_MAX] = { "overtaken_max", set_number, HOST(overtaken_max),
	    0, TUNE_OVERTAKEN_MAX },
	[TUNE_HOST_USER_WALL] = { "user_wall", set_limit, HOST(user_wall),
	    TUNE_HOST_WALL_MIN, TUNE_EXACT_MAX },
	[TUNE_HOST_USER_POOLS] = { "user_pools", set_number, HOST(user_pools), 0,
	    TUNE_POOLS_MAX },
	[TUNE_HOST_USER_REQUESTS] = { "user_requests", set_number, HOST(user_requests),
	    0, TUNE_REQUESTS_MAX },
};

static const struct tune_key release_keys[] = {
	{ "pool", set_number, offsetof(struct tune_release, pool), 0, UINT32_MAX },
};

struct tune_keys {
	const struct tune_key *keys;
	size_t count;
};

static int
because_unknown(const struct tune_keys *keys, const char *name, struct tune_why *why)
{
	tune_because(why, "%.40s: there is no such key; known are", name);
	for (size_t i = 0; i < keys->count; i++) {
		strlcat(why->text, i > 0 ? ", " : " ", sizeof(why->text));
		strlcat(why->text, keys->keys[i].name, sizeof(why->text));
	}
	return -1;
}

static int
set_one(const struct tune_keys *keys, const cJSON *item, void *into, uint32_t *given,
    struct tune_why *why)
{
	for (size_t i = 0; i < keys->count; i++) {
		const struct tune_key *k = &keys->keys[i];

		if (strcmp(item->string, k->name) != 0)
			continue;
		if ((*given & 1u << i) != 0)
			return tune_because(why, "%s: is given twice", k->name);
		*given |= 1u << i;
		return k->set(k, item, (char *)into + k->offset, why);
	}
	return because_unknown(keys, item->string, why);
}

/* --- The object --- */

static bool
is_blank(const char *from, const char *end)
{
	for (; from < end; from++)
		if (strchr(" \t\r\n", *from) == NULL || *from == '\0')
			return false;
	return true;
}

static cJSON *
parse_object(const char *body, size_t size)
{
	const char *end = NULL;
	cJSON *json;

	if (size == 0 || memmem(body, size, "\\u0000", 6) != NULL)
		return NULL;
	json = cJSON_ParseWithLengthOpts(body, size, &end, false);
	if (cJSON_IsObject(json) && is_blank(end, body + size))
		return json;
	cJSON_Delete(json);
	return NULL;
}

static int
read_body(const char *body, size_t size, const struct tune_keys *keys, void *into,
    uint32_t *given, struct tune_why *why)
{
	cJSON *json = size <= TUNE_BODY_MAX ? parse_object(body, size) : NULL, *item;
	int r = 0;

	if (json == NULL)
		return tune_because(why, "the body is not one JSON object");
	cJSON_ArrayForEach (item, json)
		if ((r = set_one(keys, item, into, given, why)) != 0)
			break;
	cJSON_Delete(json);
	return r;
}

int
tune_read_pool(const char *body, size_t size, struct tune_pool *t, struct tune_why *why)
{
	static const struct tune_keys keys = { pool_keys, NITEMS(pool_keys) };
	struct tune_pool read = { 0 };

	if (read_body(body, size, &keys, &read, &read.given, why) != 0)
		return -1;
	*t = read;
	return 0;
}

int
tune_read_host(const char *body, size_t size, struct tune_host *t, struct tune_why *why)
{
	static const struct tune_keys keys = { host_keys, NITEMS(host_keys) };
	struct tune_host read = { 0 };

	if (read_body(body, size, &keys, &read, &read.given, why) != 0)
		return -1;
	*t = read;
	return 0;
}

int
tune_read_release(
    const char *body, size_t size, struct tune_release *t, struct tune_why *why)
{
	static const struct tune_keys keys = { release_keys, NITEMS(release_keys) };
	struct tune_release read = { 0 };

	if (!is_blank(body, body + size) &&
	    read_body(body, size, &keys, &read, &read.given, why) != 0)
		return -1;
	*t = read;
	return 0;
}
