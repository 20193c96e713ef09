/* SPDX-License-Identifier: ISC */

/*
 * The status as JSON. It is made while clients wait for the arbiter, so it must be cheap:
 * see status_blocks.c. Names and commands are a client's, and may hold any byte.
 */
#include "daemon/status.h"

#include <string.h>

#include "daemon/arbiter.h"
#include "daemon/json.h"
#include "daemon/largepages.h"
#include "daemon/session.h"
#include "daemon/status_blocks.h"
#include "daemon/status_queue.h"

/* --- Pools --- */

static const char *
phase_name(enum pool_phase phase)
{
	switch (phase) {
	case POOL_STEADY:
		return "steady";
	case POOL_GROWING:
		return "growing";
	case POOL_ASKED:
		return "asked";
	case POOL_RELEASING:
		return "releasing";
	case POOL_UNSETTLED:
		return "unsettled";
	}
	return "unknown";
}

static const char *
state_name(enum session_state state)
{
	switch (state) {
	case SESSION_NEW:
		return "new";
	case SESSION_CREATING:
		return "creating";
	case SESSION_OPENING:
		return "opening";
	case SESSION_OPEN:
		return "open";
	case SESSION_DEAF:
		return "deaf";
	case SESSION_SHUNNED:
		return "shunned";
	}
	return "unknown";
}

/* The flags that are set. Every pool's memory is a memfd so far, never a segment heap. */
static cJSON *
flags_json(const struct pool *p)
{
	const char *set[2];
	int n = 0;

	if (!p->limits.keep_idle)
		set[n++] = "check_idle";
	if (p->record->registers)
		set[n++] = "registers"; /* with devices; see registered.c */
	return cJSON_CreateStringArray(set, n);
}

static cJSON *
counters_json(const struct record_counters *n, const uint64_t *kept)
{
	cJSON *o = cJSON_CreateObject();

	if (json_put_number(o, "grants", n->grants) &&
	    json_put_number(o, "queued", n->queued) &&
	    json_put_number(o, "refused", n->refused) &&
	    json_put_number(o, "timeouts", n->timeouts) &&
	    json_put_number(o, "grown", n->grown) &&
	    json_put_number(o, "released", n->released) &&
	    (kept == NULL || json_put_number(o, "kept", *kept)))
		return o;
	cJSON_Delete(o);
	return NULL;
}

static cJSON *
audit_json(const struct record_audit *n)
{
	cJSON *o = cJSON_CreateObject();

	if (json_put_number(o, "passes", n->passes) &&
	    json_put_number(o, "holes", n->holes) &&
	    json_put_number(o, "unlocked", n->unlocked) &&
	    json_put_number(o, "failed", n->failed))
		return o;
	cJSON_Delete(o);
	return NULL;
}

static bool
put_owner(cJSON *o, const struct session *s)
{
	return json_put_number(o, "id", s->id) &&
	       json_put_text(o, "name", s->name, sizeof(s->name)) &&
	       json_put_number(o, "uid", s->uid) &&
	       json_put_number(o, "pid", (uint64_t)s->pid) &&
	       json_put_text(o, "command", s->command, sizeof(s->command));
}

static bool
put_limits(cJSON *o, const struct pool_limits *limits)
{
	return json_put_word(o, "heap", heap_kind_name(limits->heap)) &&
	       json_put_word(o, "policy", limits->policy->name) &&
	       json_put_number(o, "weight", limits->weight) &&
	       json_put_number(o, "base_size", limits->base) &&
	       json_put_number(o, "add_size", limits->add) &&
	       json_put_number(o, "wall", limits->wall) &&
	       json_put_number(o, "wall_mib", config_wall_mib(limits->wall));
}

static bool
put_figures(cJSON *o, struct core *c, const struct pool *p, bool in_full)
{
	uint64_t used, largest;
	cJSON *blocks = status_blocks(c, p, in_full, &used, &largest);

	if (blocks == NULL)
		return false;
	if (!json_put_number(o, "pinned", p->pinned * CHUNK_SIZE) ||
	    !json_put_number(o, "used", used) ||
	    !json_put_number(o, "largest_free", largest) ||
	    !json_put_number(o, "tick_count", p->record->tick_count) ||
	    !json_put(o, "flags", flags_json(p))) {
		cJSON_Delete(blocks);
		return false;
	}
	return json_put(o, "blocks", blocks) &&
	       json_put(o, "queue", status_queue(p, in_full)) &&
	       json_put(o, "caches", status_caches(p)) &&
	       (!in_full || status_put_why(o, c, p)) &&
	       json_put(o, "counters",
		   counters_json(&p->record->counters, &p->record->kept)) &&
	       json_put(o, "audit", audit_json(&p->record->audit));
}

/* Whose wall keeps it from growing; "order": there would be room, but it is kept for one
 * that waits before it. */
const char *
status_waits_for(const struct core *c, const struct pool *p)
{
	static const char *const walls[] = { [SHORT_OF_NOTHING] = "order",
		[SHORT_OF_GROUP] = "section",
		[SHORT_OF_USER] = "user",
		[SHORT_OF_HOST] = "host" };

	if (!p->place.starved)
		return "nothing";
	return walls[share_shortage(c, p, p->planned + p->place.ask)];
}

/* How it stands among the others. */
static bool
put_share(cJSON *o, const struct core *c, const struct pool *p)
{
	const char *waits = status_waits_for(c, p);

	return json_put_bool(o, "starved", p->place.starved) &&
	       json_put_word(o, "waits_for", waits) &&
	       json_put_bool(o, "waits_for_host", strcmp(waits, "host") == 0) &&
	       json_put_number(
		   o, "ask", p->place.starved ? p->place.ask * CHUNK_SIZE : 0) &&
	       json_put_number(o, "overtaken", p->overtaken) &&
	       json_put_bool(o, "told_pressure", p->told_pressure) &&
	       json_put_number(o, "charge", p->charged) &&
	       (p->group == NULL ||
		   json_put_text(o, "group", p->group->name, sizeof(p->group->name))) &&
	       json_put_number(
		   o, "wall_total", p->group != NULL ? p->group->wall : 0) &&
	       json_put_number(
		   o, "group_charge", p->group != NULL ? p->group->charge : 0);
}

static uint64_t
above_wall(const struct pool *p)
{
	uint64_t pinned = p->pinned * CHUNK_SIZE;

	return pinned > p->limits.wall ? pinned - p->limits.wall : 0;
}

/* What the design's list of keys does not have. */
static bool
put_more(cJSON *o, const struct session *s)
{
	const struct core *c = &s->arbiter->core;
	const struct pool *p = &s->pool;

	return json_put_text(o, "section", s->section, sizeof(s->section)) &&
	       json_put_number(o, "gid", s->gid) &&
	       json_put_word(o, "state", state_name(s->state)) &&
	       json_put_word(o, "phase", phase_name(p->phase)) &&
	       json_put_real(
		   o, "release_in_s", status_seconds(c, p->record->tick_count)) &&
	       json_put_number(o, "max_buffer", p->limits.max_buffer) &&
	       json_put_number(o, "wall_max", p->limits.wall_max) &&
	       json_put_number(o, "above_wall", above_wall(p)) &&
	       json_put_number(o, "headroom", p->limits.headroom) &&
	       json_put_bool(o, "mark_armed", p->mark_armed) &&
	       json_put_bool(o, "mark_passed", p->mark_passed) &&
	       json_put_number(
		   o, "ledger", pool_charge(p, p->pinned) - p->pinned * CHUNK_SIZE) &&
	       json_put_number(o, "total_space", pool_opened(p) * CHUNK_SIZE);
}

static cJSON *
pool_json(const struct session *s, bool in_full)
{
	cJSON *o = cJSON_CreateObject();

	if (put_owner(o, s) && put_limits(o, &s->pool.limits) &&
	    put_figures(o, &s->arbiter->core, &s->pool, in_full) && put_more(o, s) &&
	    put_share(o, &s->arbiter->core, &s->pool))
		return o;
	cJSON_Delete(o);
	return NULL;
}

cJSON *
status_pool(const struct session *s)
{
	return pool_json(s, true);
}

static cJSON *
full_json(const struct session *s)
{
	return pool_json(s, false);
}

cJSON *
status_owner(const struct session *s)
{
	cJSON *o = cJSON_CreateObject();

	if (put_owner(o, s))
		return o;
	cJSON_Delete(o);
	return NULL;
}

static cJSON *
pools_json(const struct arbiter *a, cJSON *(*one)(const struct session *))
{
	cJSON *pools = cJSON_CreateArray();
	const struct session *s;

	TAILQ_FOREACH (s, &a->sessions, entry) {
		if (!session_has_pool(s))
			continue;
		if (!json_append(pools, one(s))) {
			cJSON_Delete(pools);
			return NULL;
		}
	}
	return pools;
}

cJSON *
status_pools(const struct arbiter *a)
{
	cJSON *o = cJSON_CreateObject();

	if (json_put(o, "pools", pools_json(a, status_owner)))
		return o;
	cJSON_Delete(o);
	return NULL;
}

/* --- The host --- */

struct status_totals
status_totals(const struct arbiter *a)
{
	struct status_totals t = { 0 };
	const struct session *s;

	TAILQ_FOREACH (s, &a->sessions, entry) {
		const struct pool *p = &s->pool;

		t.clients++;
		if (!session_has_pool(s))
			continue;
		t.pools++;
		t.pinned += pool_charge(p, p->pinned);
		t.ledgers += pool_charge(p, p->pinned) - p->pinned * CHUNK_SIZE;
		t.used += pool_used(p);
		t.waiting += p->queue.length;
	}
	return t;
}

/* Of the parameters, what PATCH /v1/host takes, under the same names. */
static bool
put_params(cJSON *o, const struct core_params *p)
{
	double tick_ms = (double)p->tick_ns / (double)NS_PER_MS;

	return json_put_real(o, "tick_ms", tick_ms) &&
	       json_put_real(o, "release_period_ms", p->release_ticks * tick_ms) &&
	       json_put_real(o, "idle_ms", p->idle_ticks * tick_ms) &&
	       json_put_number(o, "overtaken_max", p->overtaken_max) &&
	       json_put_number(o, "user_wall", p->user_wall) &&
	       json_put_number(o, "user_pools", p->user_pools) &&
	       json_put_number(o, "user_requests", p->user_requests);
}

/* @sizes: powers of two, or'ed. */
static cJSON *
sizes_json(uint64_t sizes)
{
	cJSON *a = cJSON_CreateArray();

	for (; sizes != 0; sizes &= sizes - 1)
		if (!json_append(a, cJSON_CreateNumber((double)(sizes & -sizes)))) {
			cJSON_Delete(a);
			return NULL;
		}
	return a;
}

static cJSON *
large_pages_json(void)
{
	cJSON *o = cJSON_CreateObject();
	struct largepages l;

	largepages_read(&l, LARGEPAGES_PATH);
	if (json_put_text(
		o, "shmem_enabled", l.shmem_enabled, sizeof(l.shmem_enabled)) &&
	    json_put(o, "thp_sizes", sizes_json(l.thp)) &&
	    json_put_number(o, "huge_total", l.huge_total) &&
	    json_put_number(o, "huge_free", l.huge_free))
		return o;
	cJSON_Delete(o);
	return NULL;
}

/* Since this arbiter began; what waits now is "waiting". */
static cJSON *
host_queue_json(const struct tally *t)
{
	cJSON *o = cJSON_CreateObject();

	if (json_put_real(o, "average_length", level_average(&t->waiting, clock_now())))
		return o;
	cJSON_Delete(o);
	return NULL;
}

cJSON *
status_host(const struct arbiter *a)
{
	cJSON *o = cJSON_CreateObject();
	struct status_totals t = status_totals(a);

	if (json_put_number(o, "wall", a->core.params.host_wall) &&
	    json_put_number(o, "wall_enforced", a->spec.host_wall) &&
	    json_put_number(o, "pinned", t.pinned) &&
	    json_put_number(o, "charge", a->core.committed) &&
	    json_put_number(o, "ledgers", t.ledgers) &&
	    json_put_number(o, "waiting", t.waiting) &&
	    json_put_number(o, "starved", a->core.starved) &&
	    json_put_number(o, "clients", t.clients) &&
	    json_put_number(o, "foreign", a->foreign) &&
	    json_put_number(o, "clients_max", arbiter_config(a)->host.clients_max) &&
	    json_put(o, "queue", host_queue_json(&a->core.tally)) &&
	    json_put(o, "counters", counters_json(&a->core.tally.sum, NULL)) &&
	    put_params(o, &a->core.params) &&
	    json_put(o, "large_pages", large_pages_json()))
		return o;
	cJSON_Delete(o);
	return NULL;
}

uint64_t
status_clients(const struct arbiter *a)
{
	return status_totals(a).clients;
}

bool
status_put_totals(cJSON *o, const struct arbiter *a)
{
	struct status_totals t = status_totals(a);

	return json_put_number(o, "pools", t.pools) &&
	       json_put_number(o, "wall", a->core.params.host_wall) &&
	       json_put_number(o, "pinned", t.pinned) &&
	       json_put_number(o, "used", t.used) &&
	       json_put_number(o, "waiting", t.waiting) &&
	       json_put_number(o, "starved", a->core.starved);
}

static cJSON *
user_json(const struct user *u)
{
	cJSON *o = cJSON_CreateObject();

	if (json_put_number(o, "uid", u->uid) &&
	    json_put_number(o, "pools", u->pools) &&
	    json_put_number(o, "pinned", u->pinned) &&
	    json_put_number(o, "charge", u->charge) &&
	    json_put_number(o, "requests", u->requests) &&
	    json_put_number(o, "weight", u->weight))
		return o;
	cJSON_Delete(o);
	return NULL;
}

static cJSON *
users_json(const struct core *c)
{
	cJSON *users = cJSON_CreateArray();
	const struct user *u;

	LIST_FOREACH (u, &c->users, entry) {
		if (!json_append(users, user_json(u))) {
			cJSON_Delete(users);
			return NULL;
		}
	}
	return users;
}

static cJSON *
release_json(const struct core *c)
{
	cJSON *o = cJSON_CreateObject();

	if (json_put_number(o, "passes", c->counters.passes) &&
	    json_put_number(o, "blocks_released", c->counters.blocks_released) &&
	    json_put_real(
		o, "tick_ms", (double)c->params.tick_ns / (double)NS_PER_MS) &&
	    json_put_real(o, "period_s", status_seconds(c, c->params.release_ticks)) &&
	    json_put_real(o, "idle_s", status_seconds(c, c->params.idle_ticks)))
		return o;
	cJSON_Delete(o);
	return NULL;
}

static uint64_t
uptime_s(const struct arbiter *a)
{
	return (uint64_t)instant_ms_since(clock_now(), a->spec.started) / 1000;
}

bool
status_put_budd(cJSON *o, const struct arbiter *a)
{
	return json_put_word(o, "version", PACKAGE_VERSION) &&
	       json_put_number(o, "pid", (uint64_t)a->spec.keeper_pid) &&
	       json_put_number(o, "uptime_s", uptime_s(a)) &&
	       json_put_number(o, "restarts", a->spec.restarts);
}

cJSON *
status_all(const struct arbiter *a)
{
	cJSON *o = cJSON_CreateObject();

	if (status_put_budd(o, a) && json_put(o, "host", status_host(a)) &&
	    json_put(o, "pools", pools_json(a, full_json)) &&
	    json_put(o, "users", users_json(&a->core)) &&
	    json_put(o, "release", release_json(&a->core)))
		return o;
	cJSON_Delete(o);
	return NULL;
}
