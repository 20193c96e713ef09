/* SPDX-License-Identifier: ISC */

/*
 * An event in words. What a client chose, a name or a command, is made safe at the end, with
 * the whole line.
 */
#include <err.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "budctl/command.h"
#include "budctl/fields.h"
#include "budctl/human.h"
#include "budctl/process.h"
#include "budctl/terminal.h"
#include "budctl/watch.h"

#define LINE_MAX_BYTES 2048

struct line {
	char text[LINE_MAX_BYTES];
	size_t length;
};

/* What does not fit is cut off. */
__attribute__((format(printf, 2, 3))) static void
put(struct line *l, const char *format, ...)
{
	size_t room = sizeof(l->text) - l->length;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(l->text + l->length, room, format, args);
	va_end(args);
	if (n > 0)
		l->length += (size_t)n < room ? (size_t)n : room - 1;
}

static struct human
size_of(const cJSON *event, const char *key)
{
	return human_size(field_number(event, key));
}

static const char *
plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

/* --- What follows the name of each event --- */

static void
on_hello(struct line *l, const cJSON *e)
{
	put(l, "budd %s, pid %" PRIu64 ", up %s, restarts %" PRIu64,
	    field_text(e, "version"), field_number(e, "pid"),
	    human_seconds(field_real(e, "uptime_s")).text, field_number(e, "restarts"));
}

static void
on_restart(struct line *l, const cJSON *e)
{
	put(l, "the arbiter was started again %s ago, restarts %" PRIu64,
	    human_seconds(field_real(e, "ago_s")).text, field_number(e, "restarts"));
}

static void
on_opened(struct line *l, const cJSON *e)
{
	put(l, "by user %s, section %s: base %s, add %s, wall %s",
	    human_user(field_number(cJSON_GetObjectItemCaseSensitive(e, "pool"), "uid"))
		.text,
	    field_text(e, "section"), size_of(e, "base_size").text,
	    size_of(e, "add_size").text, size_of(e, "wall").text);
}

static void
on_closed(struct line *l, const cJSON *e)
{
	uint64_t blocks = field_number(e, "blocks"),
		 waiting = field_number(e, "waiting");

	put(l, "%s; it had %s pinned in %" PRIu64 " block%s, %s used",
	    field_text(e, "reason"), size_of(e, "pinned").text, blocks, plural(blocks),
	    size_of(e, "used").text);
	if (waiting > 0)
		put(l, ", and %" PRIu64 " request%s waited", waiting, plural(waiting));
}

static void
on_reason(struct line *l, const cJSON *e)
{
	put(l, "%s", field_text(e, "reason"));
}

static void
on_block(struct line *l, const cJSON *e)
{
	put(l, "a block of %s, pinned now %s (%s)", size_of(e, "bytes").text,
	    size_of(e, "pinned").text, field_text(e, "reason"));
}

static void
put_request(struct line *l, const cJSON *e)
{
	uint64_t count = field_number(e, "count");

	if (count > 1)
		put(l, "%" PRIu64 " x ", count);
	put(l, "%s", size_of(e, "size").text);
}

static void
on_queued(struct line *l, const cJSON *e)
{
	const char *what = field_text(e, "waits_for");

	put(l, "a request for ");
	put_request(l, e);
	put(l, " waits since %s, %" PRIu64 " in the queue",
	    human_seconds(field_real(e, "waited_ms") / 1000).text,
	    field_number(e, "waiting"));
	if (what[0] != '\0' && strcmp(what, "nothing") != 0)
		put(l, ", for the %s",
		    strcmp(what, "order") == 0 ? "others before it" : what);
}

static void
on_served(struct line *l, const cJSON *e)
{
	put(l, "the request for ");
	put_request(l, e);
	put(l, " has its turn after %s",
	    human_seconds(field_real(e, "waited_ms") / 1000).text);
}

static void
on_refused(struct line *l, const cJSON *e)
{
	uint64_t count = field_number(e, "count");

	put(l, "%" PRIu64 " request%s, the last with %s", count, plural(count),
	    field_text(e, "error"));
}

static void
on_audit(struct line *l, const cJSON *e)
{
	uint64_t pages = field_number(e, "pages");

	if (pages > 0)
		put(l, "unlocked pages were found: %" PRIu64 ", locked again", pages);
	if (field_text(e, "error")[0] != '\0')
		put(l, "%spages could not be locked again: %s", pages > 0 ? "; " : "",
		    field_text(e, "error"));
}

static void
on_pressure(struct line *l, const cJSON *e)
{
	if (strcmp(field_text(e, "reason"), "host") == 0)
		put(l, "the host is short of memory, blocks to go: %" PRIu64,
		    field_number(e, "blocks"));
	else
		put(l, "others wait, and %s are more than its share",
		    size_of(e, "pinned").text);
}

static void
on_changed(struct line *l, const cJSON *e)
{
	put(l, "by user %s: %s", human_user(field_number(e, "uid")).text,
	    field_text(e, "what"));
}

static void
on_reloaded(struct line *l, const cJSON *e)
{
	(void)e;
	put(l, "budd.conf was read again");
}

static void
on_lost(struct line *l, const cJSON *e)
{
	put(l, "%" PRIu64 " lines did not reach this command",
	    field_number(e, "lines"));
}

static const struct {
	const char *name;
	void (*put)(struct line *l, const cJSON *e);
} words[] = {
	{ "hello", on_hello },
	{ "restart", on_restart },
	{ "opened", on_opened },
	{ "closed", on_closed },
	{ "denied", on_reason },
	{ "dropped", on_reason },
	{ "grown", on_block },
	{ "released", on_block },
	{ "asked", on_block },
	{ "kept", on_block },
	{ "queued", on_queued },
	{ "served", on_served },
	{ "refused", on_refused },
	{ "audit", on_audit },
	{ "pressure", on_pressure },
	{ "changed", on_changed },
	{ "reloaded", on_reloaded },
	{ "lost", on_lost },
};

/* --- The line --- */

static void
put_time(struct line *l, double since_1970)
{
	time_t t = since_1970 > 0 && since_1970 < 1e11 ? (time_t)since_1970 : 0;
	struct tm tm;
	char text[32];

	localtime_r(&t, &tm);
	strftime(text, sizeof(text), "%H:%M:%S", &tm);
	put(l, "%s", text);
}

/* "pool 7 'media', nginx[77]" */
static void
put_pool(struct line *l, const cJSON *pool)
{
	if (!cJSON_IsObject(pool))
		return;
	put(l, " pool %" PRIu64 " '%s', %s[%" PRIu64 "]:", field_number(pool, "id"),
	    field_text(pool, "name"), process_name(pool).text,
	    field_number(pool, "pid"));
}

static void
put_rest(struct line *l, const cJSON *event)
{
	const char *name = field_text(event, "event");
	char *json;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(words[i].name, name) == 0) {
			words[i].put(l, event);
			return;
		}
	if ((json = cJSON_PrintUnformatted(event)) == NULL)
		errx(BUDCTL_FAILED, "no memory");
	put(l, "%s", json);
	cJSON_free(json);
}

char *
watch_text(const cJSON *event)
{
	struct line l = { .length = 0 };

	put_time(&l, field_real(event, "time"));
	put(&l, " %-8s", field_text(event, "event"));
	put_pool(&l, cJSON_GetObjectItemCaseSensitive(event, "pool"));
	put(&l, " ");
	put_rest(&l, event);
	return terminal_safe(l.text);
}
