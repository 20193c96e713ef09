/* SPDX-License-Identifier: ISC */

/* What is told to those who listen. */
#include "daemon/news.h"

#include <errno.h>
#include <string.h>

#include "daemon/arbiter.h"
#include "daemon/events.h"
#include "daemon/json.h"
#include "daemon/session.h"
#include "daemon/status.h"

/* --- Words --- */

static const char *
grow_word(enum grow_reason reason)
{
	switch (reason) {
	case GROW_BASE:
		return "opened";
	case GROW_REQUEST:
		return "request";
	case GROW_HEADROOM:
		return "headroom";
	case GROW_RESTART:
		return "restart";
	}
	return "unknown";
}

static const char *
release_word(enum release_reason reason)
{
	switch (reason) {
	case RELEASE_PERIOD:
		return "idle";
	case RELEASE_TRANSFER:
		return "transfer";
	case RELEASE_OPERATOR:
		return "operator";
	case RELEASE_PRESSURE:
		return "pressure";
	case RELEASE_OTHERS:
		return "others";
	case RELEASE_ROOM:
		return "room";
	case RELEASE_WALL:
		return "wall";
	}
	return "unknown";
}

/* --- Lines --- */

static bool
wanted(const struct arbiter *a)
{
	return events_wanted(a->events);
}

/* {"event", "time", "pool": who it is} */
static cJSON *
begin(const struct session *s, const char *name)
{
	cJSON *line = events_begin(name);

	json_put(
	    line, "pool", status_owner(s)); /* without it, the next one fails too */
	return line;
}

static void
tell_reason(const struct session *s, const char *name, const char *why)
{
	cJSON *line;

	if (!wanted(s->arbiter))
		return;
	line = begin(s, name);
	events_tell(
	    s->arbiter->events, json_put_text(line, "reason", why, strlen(why)), line);
}

void
news_hello(const struct arbiter *a)
{
	cJSON *line = events_begin("hello");

	if (status_put_budd(line, a) &&
	    json_put_number(line, "clients", status_clients(a)))
		events_first(a->events, line);
	else
		cJSON_Delete(line);
	if (a->spec.restarts == 0)
		return;
	line = events_begin("restart");
	if (json_put_number(line, "restarts", a->spec.restarts) &&
	    json_put_real(
		line, "ago_s", (double)instant_ms_since(clock_now(), a->born) / 1000))
		events_first(a->events, line);
	else
		cJSON_Delete(line);
}

/* --- Pools come and go --- */

void
news_opened(const struct session *s)
{
	cJSON *line;

	if (!wanted(s->arbiter))
		return;
	line = begin(s, "opened");
	events_tell(s->arbiter->events,
	    json_put_text(line, "section", s->section, sizeof(s->section)) &&
		json_put_number(line, "base_size", s->limits.base) &&
		json_put_number(line, "add_size", s->limits.add) &&
		json_put_number(line, "wall", s->limits.wall),
	    line);
}

void
news_closed(const struct session *s, uint64_t used, const char *why)
{
	const struct pool *p = &s->pool;
	cJSON *line;

	if (!wanted(s->arbiter))
		return;
	line = begin(s, "closed");
	events_tell(s->arbiter->events,
	    json_put_text(line, "reason", why, strlen(why)) &&
		json_put_number(line, "pinned", p->pinned * CHUNK_SIZE) &&
		json_put_number(line, "used", used) &&
		json_put_number(line, "blocks", pool_blocks(p)) &&
		json_put_number(line, "waiting", p->waiting.now),
	    line);
}

void
news_dropped(const struct session *s, const char *why)
{
	tell_reason(s, "dropped", why);
}

void
news_denied(const struct session *s, const char *why)
{
	tell_reason(s, "denied", why);
}

/* --- Pools grow and shrink --- */

void
news_of_core(const struct session *s, enum core_news news, uint64_t bytes)
{
	static const char *const names[] = { [CORE_GROWN] = "grown",
		[CORE_RELEASED] = "released",
		[CORE_PRESSURE] = "pressure",
		[CORE_ASKED] = "asked",
		[CORE_KEPT] = "kept" };
	const struct pool *p = &s->pool;
	const char *why = "share"; /* it has more than its own while others wait */
	cJSON *line;

	if (!wanted(s->arbiter))
		return;
	if (news == CORE_GROWN)
		why = grow_word(p->grows_for);
	else if (news != CORE_PRESSURE)
		why = release_word(p->releases_for);
	line = begin(s, names[news]);
	events_tell(s->arbiter->events,
	    json_put_word(line, "reason", why) &&
		(news == CORE_PRESSURE || json_put_number(line, "bytes", bytes)) &&
		json_put_number(line, "pinned", p->pinned * CHUNK_SIZE),
	    line);
}

/* --- Requests --- */

static const char *
error_word(int error)
{
	switch (error) {
	case EAGAIN:
		return "EAGAIN";
	case EMSGSIZE:
		return "EMSGSIZE";
	case ENOMEM:
		return "ENOMEM";
	case ETIMEDOUT:
		return "ETIMEDOUT";
	case ECANCELED:
		return "ECANCELED";
	}
	return "unknown";
}

static void
tell_refusals(struct session *s, int error)
{
	cJSON *line = begin(s, "refused");

	events_tell(s->arbiter->events,
	    json_put_word(line, "error", error_word(error)) &&
		json_put_number(line, "count", s->refusals),
	    line);
	s->refusals = 0;
	s->refusals_told = clock_now();
}

void
news_refused(struct session *s, int error)
{
	if (error == ECANCELED || !wanted(s->arbiter))
		return;
	s->refusals++;
	s->refusal = error;
	if (instant_ms_since(clock_now(), s->refusals_told) >= 1000)
		tell_refusals(s, error);
}

static bool
put_request(cJSON *line, const struct request *r)
{
	return json_put_number(line, "size", FRAME_SIZE << r->order) &&
	       json_put_number(line, "count", r->count) &&
	       json_put_number(line, "waited_ms",
		   (uint64_t)instant_ms_since(clock_now(), r->since));
}

void
news_served(const struct session *s, const struct request *r)
{
	cJSON *line;

	if (!r->told || !wanted(s->arbiter))
		return;
	line = begin(s, "served");
	events_tell(s->arbiter->events, put_request(line, r), line);
}

/* The first in line, once; whoever comes to be the first after it, in its turn. */
static void
tell_waiting(const struct session *s, int64_t limit_ms)
{
	struct request *head = queue_head(&s->pool.queue);
	cJSON *line;

	if (head == NULL || head->told ||
	    instant_ms_since(clock_now(), head->since) < limit_ms)
		return;
	head->told = true;
	line = begin(s, "queued");
	events_tell(s->arbiter->events,
	    put_request(line, head) &&
		json_put_number(line, "waiting", s->pool.waiting.now) &&
		json_put_word(
		    line, "waits_for", status_waits_for(&s->arbiter->core, &s->pool)),
	    line);
}

static void
tell_sample(const struct arbiter *a)
{
	cJSON *line = events_begin("sample");

	events_sample(a->events, status_put_totals(line, a), line);
}

void
news_each_second(void *arg)
{
	struct arbiter *a = arg;
	int64_t limit_ms = arbiter_config(a)->queued_event_ns / NS_PER_MS;
	struct session *s;

	TAILQ_FOREACH (s, &a->sessions, entry) {
		if (!session_has_pool(s))
			continue;
		tell_waiting(s, limit_ms);
		if (s->refusals > 0)
			tell_refusals(s, s->refusal);
	}
	if (events_samples_wanted(a->events))
		tell_sample(a);
}

/* --- The host --- */

void
news_audited(const struct session *s, uint64_t pages, int error)
{
	cJSON *line;

	if ((pages == 0 && error == 0) || !wanted(s->arbiter))
		return;
	line = begin(s, "audit");
	events_tell(s->arbiter->events,
	    json_put_number(line, "pages", pages) &&
		(error == 0 || json_put_word(line, "error", strerror(error))),
	    line);
}

void
news_pressure(const struct arbiter *a, unsigned int blocks)
{
	cJSON *line;

	if (!wanted(a))
		return;
	line = events_begin("pressure");
	events_tell(a->events,
	    json_put_word(line, "reason", "host") &&
		json_put_number(line, "blocks", blocks),
	    line);
}

void
news_changed(
    const struct arbiter *a, const struct session *s, uid_t uid, const char *what)
{
	cJSON *line;

	if (!wanted(a))
		return;
	line = s != NULL ? begin(s, "changed") : events_begin("changed");
	events_tell(a->events,
	    json_put_number(line, "uid", uid) &&
		json_put_text(line, "what", what, strlen(what)),
	    line);
}

void
news_reloaded(const struct arbiter *a)
{
	cJSON *line;

	if (!wanted(a))
		return;
	line = events_begin("reloaded");
	events_tell(a->events, line != NULL, line);
}
