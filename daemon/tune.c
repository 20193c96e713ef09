/* SPDX-License-Identifier: ISC */

/* Changes to a living budd: checked against what there is, and done. */
#include "daemon/tune.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/arbiter.h"
#include "daemon/core.h"
#include "daemon/hostnote.h"
#include "daemon/json.h"
#include "daemon/log.h"
#include "daemon/news.h"
#include "daemon/session.h"

#define LOG_CHANGES 256 /* bytes that tell what was changed */

static bool
has(uint32_t given, unsigned int key)
{
	return (given & 1u << key) != 0;
}

/* For the log: "wall 67108864, weight 3". */
struct changes {
	char text[LOG_CHANGES];
};

__attribute__((format(printf, 2, 3))) static void
note(struct changes *n, const char *fmt, ...)
{
	size_t used = strlen(n->text);
	va_list ap;

	if (used > 0 && used + 2 < sizeof(n->text)) {
		strlcat(n->text, ", ", sizeof(n->text));
		used += 2;
	}
	va_start(ap, fmt);
	vsnprintf(n->text + used, sizeof(n->text) - used, fmt, ap);
	va_end(ap);
}

/* --- A pool --- */

static int
check_pool(const struct pool *p, const struct tune_pool *t, struct tune_why *why)
{
	const struct pool_limits *l = &p->limits;

	if (has(t->given, TUNE_POOL_WALL) &&
	    (t->wall < l->base || t->wall > l->wall_max))
		return tune_because(why,
		    "wall: %" PRIu64 " is out of range: give %" PRIu64
		    " (the base) to %" PRIu64 " (wall_max, which only a new pool "
		    "can have larger)",
		    t->wall, l->base, l->wall_max);
	if (has(t->given, TUNE_POOL_ADD) &&
	    (t->add < CHUNK_SIZE || t->add > l->wall_max))
		return tune_because(why,
		    "add: %" PRIu64 " is out of range: give %" PRIu64 " to %" PRIu64
		    " (wall_max)",
		    t->add, CHUNK_SIZE, l->wall_max);
	if (has(t->given, TUNE_POOL_ADD) &&
	    t->add % (heap_kind_chunks(l->heap) * CHUNK_SIZE) != 0)
		return tune_because(why,
		    "add: %" PRIu64 " is no multiple of %" PRIu64
		    ", a page of its heap: give one",
		    t->add, heap_kind_chunks(l->heap) * CHUNK_SIZE);
	return 0;
}

static void
set_flags(struct pool *p, const struct tune_pool *t, struct changes *n)
{
	if (has(t->given, TUNE_POOL_CHECK_IDLE)) {
		core_set_keep_idle(p, !t->check_idle);
		note(n, "check_idle %s", t->check_idle ? "on" : "off");
	}
	if (has(t->given, TUNE_POOL_POLICY)) {
		core_set_policy(p, t->policy);
		note(n, "policy %s", t->policy->name);
	}
}

/* The wall comes last: it is what serves the queue, by what the others are then. */
static void
set_sizes(struct core *c, struct pool *p, const struct tune_pool *t, struct changes *n)
{
	uint64_t above;

	if (has(t->given, TUNE_POOL_WEIGHT)) {
		core_set_weight(c, p, (uint32_t)t->weight, clock_now());
		note(n, "weight %" PRIu64, t->weight);
	}
	if (has(t->given, TUNE_POOL_ADD)) {
		core_set_add(c, p, t->add, clock_now());
		note(n, "add %" PRIu64, t->add);
	}
	if (has(t->given, TUNE_POOL_WALL)) {
		above = core_set_wall(c, p, t->wall, clock_now());
		note(n, "wall %" PRIu64 " (%" PRIu64 " are pinned above it)", t->wall,
		    above);
	}
}

int
tune_pool(struct session *s, const struct tune_pool *t, uid_t uid, struct tune_why *why)
{
	struct changes n = { "" };

	if (check_pool(&s->pool, t, why) != 0)
		return -1;
	if (t->given == 0)
		return 0;
	set_flags(&s->pool, t, &n);
	set_sizes(&s->arbiter->core, &s->pool, t, &n);
	s->limits = s->pool.limits;
	arbiter_rewind(s->arbiter);
	log_info("tune", "pool %u %.*s: uid %u set %s", s->id, (int)sizeof(s->name),
	    s->name, uid, n.text);
	news_changed(s->arbiter, s, uid, n.text);
	return 0;
}

/* --- The host --- */

/* The periods as they will be: what is not given stays as long as it is, whatever a tick. */
struct times {
	uint64_t tick_ns;
	uint64_t release_ns;
	uint64_t idle_ns;
};

static uint64_t
choose(bool given, uint64_t ms, uint64_t ns)
{
	return given ? ms * (uint64_t)NS_PER_MS : ns;
}

static struct times
times_of(const struct core_params *p, const struct tune_host *t)
{
	uint64_t tick_ns = (uint64_t)p->tick_ns;

	return (struct times){
		choose(has(t->given, TUNE_HOST_TICK), t->tick_ms, tick_ns),
		choose(has(t->given, TUNE_HOST_RELEASE_PERIOD), t->release_period_ms,
		    p->release_ticks * tick_ns),
		choose(
		    has(t->given, TUNE_HOST_IDLE), t->idle_ms, p->idle_ticks * tick_ns),
	};
}

static double
ms_of(uint64_t ns)
{
	return (double)ns / (double)NS_PER_MS;
}

static int
check_times(const struct times *t, struct tune_why *why)
{
	uint64_t longest = UINT32_MAX * t->tick_ns;

	if (t->release_ns < t->tick_ns)
		return tune_because(why,
		    "release_period_ms: %.0f is below tick_ms, %.0f: give at least "
		    "that, or a shorter tick_ms",
		    ms_of(t->release_ns), ms_of(t->tick_ns));
	if (t->release_ns > longest || t->idle_ns > longest)
		return tune_because(why,
		    "tick_ms: %.0f is too short for release_period_ms %.0f and idle_ms "
		    "%.0f: they may be %u ticks at most",
		    ms_of(t->tick_ns), ms_of(t->release_ns), ms_of(t->idle_ns),
		    UINT32_MAX);
	return 0;
}

static int
check_host(const struct arbiter *a, const struct tune_host *t, struct tune_why *why)
{
	struct times times = times_of(&a->core.params, t);

	if (has(t->given, TUNE_HOST_WALL) && t->wall > a->spec.host_wall)
		return tune_because(why,
		    "wall: %" PRIu64 " is out of range: give %" PRIu64 " to %" PRIu64
		    ", which is what budd's keeper enforces; more needs [host] wall "
		    "in budd.conf, and a reload",
		    t->wall, (uint64_t)TUNE_HOST_WALL_MIN, a->spec.host_wall);
	return check_times(&times, why);
}

static void
set_times(struct core_params *p, const struct tune_host *t, struct changes *n)
{
	struct times times = times_of(p, t);

	p->tick_ns = (int64_t)times.tick_ns;
	p->release_ticks = (uint32_t)(times.release_ns / times.tick_ns);
	p->audit_ns = audit_period_ns((int64_t)times.release_ns);
	p->idle_ticks = (uint32_t)((times.idle_ns + times.tick_ns - 1) / times.tick_ns);
	if (has(t->given, TUNE_HOST_TICK))
		note(n, "tick_ms %" PRIu64, t->tick_ms);
	if (has(t->given, TUNE_HOST_RELEASE_PERIOD))
		note(n, "release_period_ms %" PRIu64, t->release_period_ms);
	if (has(t->given, TUNE_HOST_IDLE))
		note(n, "idle_ms %" PRIu64, t->idle_ms);
}

static void
set_limits(struct core_params *p, const struct tune_host *t, struct changes *n)
{
	if (has(t->given, TUNE_HOST_WALL)) {
		p->host_wall = t->wall;
		note(n, "wall %" PRIu64, t->wall);
	}
	if (has(t->given, TUNE_HOST_OVERTAKEN_MAX)) {
		p->overtaken_max = (uint32_t)t->overtaken_max;
		note(n, "overtaken_max %" PRIu64, t->overtaken_max);
	}
	if (has(t->given, TUNE_HOST_USER_WALL)) {
		p->user_wall = t->user_wall;
		note(n, "user_wall %" PRIu64, t->user_wall);
	}
	if (has(t->given, TUNE_HOST_USER_POOLS)) {
		p->user_pools = (uint32_t)t->user_pools;
		note(n, "user_pools %" PRIu64, t->user_pools);
	}
	if (has(t->given, TUNE_HOST_USER_REQUESTS)) {
		p->user_requests = (uint32_t)t->user_requests;
		note(n, "user_requests %" PRIu64, t->user_requests);
	}
}

int
tune_host(struct arbiter *a, const struct tune_host *t, uid_t uid, struct tune_why *why)
{
	struct core_params params = a->core.params;
	struct changes n = { "" };

	if (check_host(a, t, why) != 0)
		return -1;
	if (t->given == 0)
		return 0;
	set_limits(&params, t, &n);
	set_times(&params, t, &n);
	core_set_params(&a->core, &params, clock_now());
	hostnote_keep(a, &params);
	arbiter_rewind(a);
	log_info("tune", "host: uid %u set %s", uid, n.text);
	news_changed(a, NULL, uid, n.text);
	return 0;
}

/* --- The release pass --- */

static cJSON *
released_json(const struct session *s, uint32_t blocks)
{
	cJSON *o = cJSON_CreateObject();

	if (json_put_number(o, "id", s->id) &&
	    json_put_text(o, "name", s->name, sizeof(s->name)) &&
	    json_put_number(o, "blocks", blocks))
		return o;
	cJSON_Delete(o);
	return NULL;
}

/* Goes on without memory for the answer: what was asked for is done. */
static bool
release_one(struct session *s, cJSON *pools, uint64_t *sump)
{
	uint32_t blocks = core_release(&s->arbiter->core, &s->pool, RELEASE_OPERATOR);

	*sump += blocks;
	return blocks == 0 || json_append(pools, released_json(s, blocks));
}

cJSON *
tune_release(struct arbiter *a, struct session *only, uid_t uid)
{
	cJSON *o = cJSON_CreateObject(), *pools = cJSON_CreateArray();
	bool told = true;
	uint64_t sum = 0;
	struct session *s;

	if (only != NULL)
		told = release_one(only, pools, &sum);
	else
		TAILQ_FOREACH (s, &a->sessions, entry)
			if (session_has_pool(s) && !release_one(s, pools, &sum))
				told = false;
	arbiter_rewind(a);
	log_info("tune", "uid %u had %" PRIu64 " blocks released", uid, sum);
	if (told && json_put_number(o, "blocks", sum)) {
		if (json_put(o, "pools", pools))
			return o;
	} else {
		cJSON_Delete(pools);
	}
	cJSON_Delete(o);
	return NULL;
}
