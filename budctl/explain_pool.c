/* SPDX-License-Identifier: ISC */

/*
 * Why a pool waits. The reason is budd's own ("why"); here it gets its figures and what an
 * operator could do about it. A remedy is a command only where it can be typed as it is, and
 * its figure is such that it suffices: for all that waits, where there is room for that.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "budctl/explain.h"
#include "budctl/explain_subject.h"
#include "budctl/fields.h"
#include "budctl/process.h"

#define MIB ((uint64_t)1 << 20)

/* --- Facts that hold whatever it is --- */

static void
fact_queue(struct subject *s)
{
	uint64_t n = field_number(s->queue, "length"), count;
	char each[64] = "";

	if (s->first == NULL)
		return;
	count = field_number(s->first, "count");
	if (count > 1)
		snprintf(each, sizeof(each), "%" PRIu64 " buffers at once of ", count);
	explain_fact(s,
	    "%" PRIu64
	    " request%s for %s queue%s; the first wants %s%s, and waits since %s",
	    n, explain_plural(n), explain_size(s->queue, "bytes").text,
	    n == 1 ? "s" : "", each, explain_size(s->first, "size").text,
	    human_seconds(field_real(s->first, "age_ms") / 1000).text);
	if (explain_part(s->first, "left_ms") != NULL)
		explain_fact(s, "it gives up in %s",
		    human_seconds(field_real(s->first, "left_ms") / 1000).text);
}

static void
fact_pool(struct subject *s)
{
	uint64_t blocks = (uint64_t)cJSON_GetArraySize(explain_part(s->pool, "blocks"));

	explain_fact(s,
	    "the pool's wall is %s: pinned %s in %" PRIu64 " block%s, used %s, free %s",
	    explain_size(s->pool, "wall").text, explain_size(s->pool, "pinned").text,
	    blocks, explain_plural(blocks), explain_size(s->pool, "used").text,
	    human_size(explain_free(s)).text);
}

static void
fact_fragments(struct subject *s)
{
	if (explain_is_fragmented(s))
		explain_fact(s,
		    "%s are free, but not in one piece: the largest free run has %s, "
		    "and the request wants %s",
		    human_size(explain_free(s)).text,
		    explain_size(s->pool, "largest_free").text,
		    explain_size(s->first, "size").text);
}

static void
fact_host(struct subject *s)
{
	explain_fact(s, "the host's wall is %s: %s taken, room for %s",
	    explain_size(s->host, "wall").text, explain_size(s->host, "charge").text,
	    human_size(explain_room_of_host(s)).text);
}

/* --- What would help --- */

static void
help_release(struct subject *s)
{
	uint64_t bytes = explain_idle_bytes(s);

	if (bytes > 0)
		explain_remedy(s, "budctl release", "gives %s of idle blocks back now",
		    human_size(bytes).text);
}

static void
help_free(struct subject *s)
{
	explain_remedy(s, "",
	    "or wait until the client (pid %" PRIu64 ", %s) frees buffers%s",
	    field_number(s->pool, "pid"), process_name(s->pool).text,
	    explain_is_fragmented(s) ? " that lie side by side" : "");
}

/* For all that waits, in whole blocks. */
static uint64_t
wall_for_all(const struct subject *s)
{
	uint64_t add = field_number(s->pool, "add_size"),
		 more = explain_minus(
		     field_number(s->queue, "bytes"), explain_request_bytes(s->first)),
		 least = field_number(s->pool, "wall_needed"),
		 max = field_number(s->pool, "wall_max");

	if (add > 0)
		more = (more + add - 1) / add * add;
	return least + more <= max ? least + more : least;
}

static void
explain_wall(struct subject *s)
{
	uint64_t least = field_number(s->pool, "wall_needed"), wall = wall_for_all(s);
	char command[80];

	explain_summary(
	    s, explain_is_fragmented(s)
		   ? "it is at its own wall, and what is free is in pieces too small"
		   : "it is at its own wall");
	if (s->first == NULL)
		return;
	if (wall <= field_number(s->pool, "wall_max")) {
		snprintf(command, sizeof(command), "budctl set %" PRIu64 " wall=%s",
		    s->id, explain_typed(wall).text);
		explain_remedy(s, command, "lets in %s",
		    field_number(s->queue, "length") == 1 ? "what waits"
		    : wall == least                       ? "the first request"
							  : "all that waits now");
		if (wall - field_number(s->pool, "pinned") > explain_room_of_host(s)) {
			fact_host(s);
			explain_remedy(s, "",
			    "it would be at the host's wall next: raise that too");
		}
	} else {
		explain_remedy(s, "",
		    "wall_max = %s (or more) in [pool %s] of budd.conf: this pool "
		    "cannot have more than %s; it holds for pools that are opened "
		    "later",
		    explain_typed(wall).text, field_text(s->pool, "section"),
		    explain_size(s->pool, "wall_max").text);
	}
	help_free(s);
}

static void
explain_blocks(struct subject *s)
{
	char command[80];

	explain_summary(s, "it has as many blocks as a pool may have");
	snprintf(command, sizeof(command), "budctl set %" PRIu64 " add=%s", s->id,
	    explain_typed(field_number(s->pool, "add_size") * 4).text);
	explain_remedy(s, command, "makes the next blocks larger, once some have gone");
	help_free(s);
}

static void
fact_wants(struct subject *s)
{
	explain_fact(s, "it wants a block of %s", explain_size(s->pool, "wants").text);
}

static void
explain_section(struct subject *s)
{
	uint64_t needed =
	    field_number(s->pool, "group_charge") + field_number(s->pool, "wants");

	explain_summary(s, "the wall that its section shares binds");
	fact_wants(s);
	explain_fact(s, "wall_total of section %s is %s: %s taken by its pools",
	    field_text(s->pool, "group"), explain_size(s->pool, "wall_total").text,
	    explain_size(s->pool, "group_charge").text);
	help_release(s);
	explain_remedy(s, "",
	    "wall_total = %s (or more) in [pool %s] of budd.conf, then "
	    "systemctl reload budd; it holds from the next pool on that is opened "
	    "there",
	    explain_typed(needed).text, field_text(s->pool, "group"));
	help_free(s);
}

static const cJSON *
user_of(const struct subject *s)
{
	const cJSON *u;

	cJSON_ArrayForEach (u, explain_part(s->status, "users"))
		if (field_number(u, "uid") == field_number(s->pool, "uid"))
			return u;
	return NULL;
}

static void
explain_user(struct subject *s)
{
	const cJSON *u = user_of(s);
	uint64_t needed = field_number(u, "charge") + field_number(s->pool, "wants") +
			  field_number(s->pool, "ledger");
	char command[80];

	explain_summary(s, "the wall of its user binds");
	fact_wants(s);
	explain_fact(s, "user_wall is %s: user %s has %s in %" PRIu64 " pool%s",
	    explain_size(s->host, "user_wall").text,
	    human_user(field_number(s->pool, "uid")).text,
	    explain_size(u, "charge").text, field_number(u, "pools"),
	    explain_plural(field_number(u, "pools")));
	help_release(s);
	snprintf(command, sizeof(command), "budctl set host user_wall=%s",
	    explain_typed(needed).text);
	explain_remedy(s, command, "lets in the first request; it holds for each user");
	help_free(s);
}

static void
help_weight(struct subject *s)
{
	uint64_t weight = field_number(s->pool, "weight") * 2;
	char command[80];

	if (weight > 1000) /* as many as there may be */
		return;
	snprintf(command, sizeof(command), "budctl set %" PRIu64 " weight=%" PRIu64,
	    s->id, weight);
	explain_remedy(s, command, "has its turn come earlier, at the cost of others");
}

/* The largest of those who have more than they use; it is their memory that is short. */
static void
fact_largest(struct subject *s)
{
	const cJSON *pool, *most = NULL;

	cJSON_ArrayForEach (pool, explain_part(s->status, "pools"))
		if (field_number(pool, "id") != s->id &&
		    (most == NULL ||
			field_number(pool, "charge") > field_number(most, "charge")))
			most = pool;
	if (most != NULL)
		explain_fact(s,
		    "of the other pools, pool %" PRIu64
		    " '%s' has most: %s, of which it "
		    "uses %s",
		    field_number(most, "id"), field_text(most, "name"),
		    explain_size(most, "charge").text, explain_size(most, "used").text);
}

static void
explain_host(struct subject *s)
{
	uint64_t needed = field_number(s->host, "charge") +
			  field_number(s->pool, "wants") + MIB,
		 most = field_number(s->host, "wall_enforced");
	char command[80];

	explain_summary(s, "the host's wall binds");
	fact_wants(s);
	fact_host(s);
	fact_largest(s);
	help_release(s);
	snprintf(command, sizeof(command), "budctl set host wall=%s",
	    explain_typed(needed).text);
	if (needed <= most)
		explain_remedy(s, command, "lets in the first request");
	else
		explain_remedy(s, "",
		    "wall = %s (or more) in [host] of budd.conf, and a restart of "
		    "budd: this one cannot have more than %s",
		    explain_typed(needed).text, human_size(most).text);
	help_weight(s);
	explain_remedy(s, "", "or wait until others free buffers, or end");
}

static void
explain_order(struct subject *s)
{
	uint64_t max = field_number(s->host, "overtaken_max");
	const cJSON *pool;

	explain_summary(s,
	    "there would be room, but it is kept for others whose turn is before its "
	    "own");
	fact_wants(s);
	fact_host(s);
	cJSON_ArrayForEach (pool, explain_part(s->status, "pools"))
		if (field_number(pool, "id") != s->id && field_bool(pool, "starved"))
			explain_fact(s,
			    "pool %" PRIu64 " '%s' wants %s and waits since %s",
			    field_number(pool, "id"), field_text(pool, "name"),
			    explain_size(pool, "ask").text,
			    human_seconds(
				field_real(explain_part(pool, "queue"), "oldest_ms") /
				1000)
				.text);
	explain_fact(s, "it was overtaken %" PRIu64 " times, of at most %" PRIu64,
	    field_number(s->pool, "overtaken"), max);
	help_weight(s);
	explain_remedy(s, "",
	    "or wait: who asks for no more than its share is not passed over for "
	    "ever");
}

static void
explain_turn(struct subject *s)
{
	char command[80];
	uint64_t pid = field_number(s->pool, "pid");

	explain_summary(s, "its client has been given a turn, and has not used it yet");
	explain_fact(
	    s, "that takes a client microseconds, unless it is stopped or hangs");
	snprintf(
	    command, sizeof(command), "ps -o pid,stat,wchan:20,args -p %" PRIu64, pid);
	explain_remedy(s, command,
	    "shows what it does; T in STAT is a stopped one, which kill -CONT "
	    "wakes");
}

static void
explain_pinning(struct subject *s)
{
	explain_summary(
	    s, "the system would not lock more pages; budd tries again each tick");
	fact_host(s);
	explain_remedy(s, "budctl doctor", "looks at the limits of the system");
}

static void
explain_soon(struct subject *s)
{
	if (field_list_has(s->pool, "flags", "registers") &&
	    strcmp(field_text(s->pool, "phase"), "asked") == 0)
		explain_summary(s,
		    "a block is asked back of its client, which has to unregister it");
	else
		explain_summary(s, "it is being served: memory is on its way");
	explain_remedy(s, "", "ask again in a moment");
}

static void
explain_nothing(struct subject *s)
{
	uint64_t wall = field_number(s->pool, "wall"),
		 pinned = field_number(s->pool, "pinned"),
		 queued = field_number(explain_part(s->pool, "counters"), "queued");

	explain_summary(s, "nothing waits; %s of %s pinned are free",
	    human_size(explain_free(s)).text, human_size(pinned).text);
	explain_fact(s, "the largest buffer that fits without growth is %s",
	    explain_size(s->pool, "largest_free").text);
	if (wall > pinned)
		explain_fact(s, "it may grow by %s up to its wall of %s",
		    human_size(wall - pinned).text, human_size(wall).text);
	else
		explain_fact(s, "it is at its wall of %s, and cannot grow",
		    human_size(wall).text);
	if (explain_room_of_host(s) < explain_minus(wall, pinned))
		fact_host(s);
	explain_fact(s,
	    "since it was opened, %" PRIu64
	    " request%s had to queue, and %.3g waited on average",
	    queued, explain_plural(queued), field_real(s->queue, "average_length"));
}

static const struct {
	const char *why;
	void (*explain)(struct subject *s);
} reasons[] = {
	{ "nothing", explain_nothing },
	{ "soon", explain_soon },
	{ "growing", explain_soon },
	{ "releasing", explain_soon },
	{ "pinning", explain_pinning },
	{ "turn", explain_turn },
	{ "wall", explain_wall },
	{ "blocks", explain_blocks },
	{ "section", explain_section },
	{ "user", explain_user },
	{ "host", explain_host },
	{ "order", explain_order },
};

/* --- All of it --- */

static void
explain(struct subject *s, const char *why)
{
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (strcmp(reasons[i].why, why) == 0) {
			reasons[i].explain(s);
			return;
		}
	explain_summary(s,
	    "this budd does not say why, or in words that this budctl does not know");
}

static void
begin(struct subject *s, const char *why)
{
	cJSON *who = explain_must(cJSON_AddObjectToObject(s->answer, "pool"));

	explain_must(cJSON_AddNumberToObject(who, "id", (double)s->id));
	explain_must(cJSON_AddStringToObject(who, "name", field_text(s->pool, "name")));
	explain_must(cJSON_AddStringToObject(s->answer, "why", why));
	s->facts = explain_must(cJSON_CreateArray());
	s->remedies = explain_must(cJSON_CreateArray());
}

cJSON *
explain_pool(const cJSON *pool, const cJSON *status)
{
	struct subject s = { .pool = pool,
		.queue = explain_part(pool, "queue"),
		.host = explain_part(status, "host"),
		.status = status,
		.id = field_number(pool, "id"),
		.answer = explain_must(cJSON_CreateObject()) };
	const char *why = field_text(pool, "why");

	s.first = explain_first(s.queue);
	begin(&s, why);
	if (strcmp(why, "nothing") != 0) {
		fact_queue(&s);
		fact_pool(&s);
		fact_fragments(&s);
	}
	explain(&s, why);
	cJSON_AddItemToObject(s.answer, "facts", s.facts);
	cJSON_AddItemToObject(s.answer, "remedies", s.remedies);
	return s.answer;
}
