/* SPDX-License-Identifier: ISC */

/* What is scraped. A family is told of once, with all its samples behind it. */
#include "daemon/metrics.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <event2/buffer.h>

#include "daemon/arbiter.h"
#include "daemon/session.h"
#include "daemon/status.h"

struct page {
	struct evbuffer *out;
	const struct arbiter *arbiter;
	enum metrics_form form;
	bool failed;
};

enum metrics_form
metrics_form(const char *accept)
{
	if (accept != NULL && strstr(accept, "text/plain") != NULL &&
	    strstr(accept, "openmetrics") == NULL)
		return METRICS_TEXT;
	return METRICS_OPEN;
}

const char *
metrics_type(enum metrics_form form)
{
	return form == METRICS_TEXT
		   ? "text/plain; version=0.0.4; charset=utf-8"
		   : "application/openmetrics-text; version=1.0.0; charset=utf-8";
}

__attribute__((format(printf, 2, 3))) static void
put(struct page *m, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (evbuffer_add_vprintf(m->out, fmt, ap) == -1)
		m->failed = true;
	va_end(ap);
}

/* A counter's samples end in _total; OpenMetrics' name of the family does not. */
static void
put_family(struct page *m, const char *name, const char *type, const char *help)
{
	const char *end =
	    m->form == METRICS_TEXT && strcmp(type, "counter") == 0 ? "_total" : "";

	put(m, "# HELP %s%s %s\n# TYPE %s%s %s\n", name, end, help, name, end, type);
}

/* --- Of the host --- */

static void
put_gauge(struct page *m, const char *name, const char *help, double value)
{
	put_family(m, name, "gauge", help);
	put(m, "%s %.17g\n", name, value);
}

static void
put_counter(struct page *m, const char *name, const char *help, double value)
{
	put_family(m, name, "counter", help);
	put(m, "%s_total %.17g\n", name, value);
}

static void
put_histogram(struct page *m, const char *name, const char *help, const double ends[],
    const uint64_t counts[], size_t n, double sum)
{
	uint64_t so_far = 0;

	put_family(m, name, "histogram", help);
	for (size_t i = 0; i < n; i++) {
		so_far += counts[i];
		put(m, "%s_bucket{le=\"%.17g\"} %" PRIu64 "\n", name, ends[i], so_far);
	}
	so_far += counts[n];
	put(m,
	    "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_count %" PRIu64 "\n%s_sum %.17g\n",
	    name, so_far, name, so_far, name, sum);
}

static void
put_times(
    struct page *m, const char *name, const char *help, const struct tally_times *t)
{
	put_histogram(m, name, help, tally_times, t->counts, TALLY_TIMES, t->sum);
}

static void
put_levels(struct page *m)
{
	const struct arbiter *a = m->arbiter;
	struct status_totals t = status_totals(a);

	put_family(m, "budd_build_info", "gauge", "The version of budd.");
	put(m, "budd_build_info{version=\"%s\"} 1\n", PACKAGE_VERSION);
	put_gauge(m, "budd_uptime_seconds", "Since budd was started.",
	    (double)instant_ms_since(clock_now(), a->spec.started) / 1000);
	put_gauge(m, "budd_host_wall_bytes", "What all pools together may pin.",
	    (double)a->core.params.host_wall);
	put_gauge(m, "budd_host_pinned_bytes", "What is pinned, ledgers included.",
	    (double)t.pinned);
	put_gauge(
	    m, "budd_host_ledger_bytes", "... of which ledgers.", (double)t.ledgers);
	put_gauge(m, "budd_host_used_bytes", "What is in buffers, as clients say.",
	    (double)t.used);
	put_gauge(m, "budd_pools", "Pools that are open.", (double)t.pools);
	put_gauge(m, "budd_clients", "Connections of clients.", (double)t.clients);
	put_gauge(m, "budd_clients_max", "Connections that there may be.",
	    arbiter_config(a)->host.clients_max);
	put_gauge(m, "budd_requests_waiting", "Requests that wait for their turn now.",
	    a->core.tally.waiting.now);
	put_gauge(m, "budd_pools_starved", "Pools that wait for memory of others.",
	    a->core.starved);
	put_gauge(m, "budd_queue_average_length",
	    "Requests that waited, averaged over the time since the arbiter began.",
	    level_average(&a->core.tally.waiting, clock_now()));
}

static void
put_counts(struct page *m)
{
	const struct core *c = &m->arbiter->core;
	const struct record_counters *n = &c->tally.sum;

	put_counter(m, "budd_restarts", "Times that another arbiter took over.",
	    m->arbiter->spec.restarts);
	put_counter(m, "budd_grants", "Turns given.", (double)n->grants);
	put_counter(m, "budd_queued", "Requests that had to queue for a buffer.",
	    (double)n->queued);
	put_counter(m, "budd_refused", "Requests refused.", (double)n->refused);
	put_counter(m, "budd_timeouts", "Requests ended by their deadline.",
	    (double)n->timeouts);
	put_counter(
	    m, "budd_blocks_grown", "Additional blocks pinned.", (double)n->grown);
	put_counter(m, "budd_blocks_released", "Additional blocks given back.",
	    (double)n->released);
	put_counter(m, "budd_release_passes", "Release passes of pools.",
	    (double)c->counters.passes);
	put_counter(m, "budd_queue_seconds",
	    "Time that requests have waited, all together; its rate is the average "
	    "length of the queue.",
	    level_area(&c->tally.waiting, clock_now()));
	put_times(m, "budd_wait_seconds",
	    "From a request to its turn, of those that "
	    "budd was asked for.",
	    &c->tally.waits);
	put_times(m, "budd_growth_seconds",
	    "From wanting an additional block to having it.", &c->tally.growths);
	put_histogram(m, "budd_buffer_bytes",
	    "Sizes of the buffers that budd was asked for.", tally_sizes,
	    c->tally.sizes.counts, TALLY_SIZES, c->tally.sizes.sum);
}

/* --- Of pools --- */

static double
wall_of(const struct session *s)
{
	return (double)s->pool.limits.wall;
}

static double
pinned_of(const struct session *s)
{
	return (double)(s->pool.pinned * CHUNK_SIZE);
}

static double
used_of(const struct session *s)
{
	return (double)pool_used(&s->pool);
}

static double
blocks_of(const struct session *s)
{
	return pool_blocks(&s->pool);
}

static double
waiting_of(const struct session *s)
{
	return s->pool.waiting.now;
}

static double
oldest_of(const struct session *s)
{
	return (double)queue_oldest_ms(&s->pool.queue, clock_now()) / 1000;
}

static double
average_of(const struct session *s)
{
	return level_average(&s->pool.waiting, clock_now());
}

static double
starved_of(const struct session *s)
{
	return s->pool.place.starved;
}

static double
grants_of(const struct session *s)
{
	return (double)s->pool.record->counters.grants;
}

static double
queued_of(const struct session *s)
{
	return (double)s->pool.record->counters.queued;
}

static double
refused_of(const struct session *s)
{
	return (double)s->pool.record->counters.refused;
}

static double
timeouts_of(const struct session *s)
{
	return (double)s->pool.record->counters.timeouts;
}

static double
unlocked_of(const struct session *s)
{
	const struct record_audit *n = &s->pool.record->audit;

	return (double)(n->holes + n->unlocked);
}

static const struct {
	const char *name;
	const char *type;
	const char *help;
	double (*of)(const struct session *s);
} of_pools[] = {
	{ "budd_pool_wall_bytes", "gauge", "What a pool may pin.", wall_of },
	{ "budd_pool_pinned_bytes", "gauge", "What it has pinned.", pinned_of },
	{ "budd_pool_used_bytes", "gauge", "What is in buffers, as its client says.",
	    used_of },
	{ "budd_pool_blocks", "gauge", "Its blocks, the base block included.",
	    blocks_of },
	{ "budd_pool_requests_waiting", "gauge", "Its requests that wait.",
	    waiting_of },
	{ "budd_pool_oldest_wait_seconds", "gauge",
	    "How long the first of them has waited.", oldest_of },
	{ "budd_pool_queue_average_length", "gauge",
	    "Its requests that waited, averaged over its life.", average_of },
	{ "budd_pool_starved", "gauge", "1: it waits for memory of others.",
	    starved_of },
	{ "budd_pool_grants", "counter", "Turns given.", grants_of },
	{ "budd_pool_queued", "counter", "Its requests that had to queue.", queued_of },
	{ "budd_pool_refused", "counter", "Its requests refused.", refused_of },
	{ "budd_pool_timeouts", "counter", "Its requests ended by their deadline.",
	    timeouts_of },
	{ "budd_pool_unlocked_pages", "counter",
	    "Its pages that were found unlocked, and locked again.", unlocked_of },
};

/* What a client chose may end no label; UTF-8 or not, it is ASCII here. */
static void
put_label(struct page *m, const char *name, const char *text, size_t size)
{
	char safe[2 * PROTO_NAME_SIZE + 1], *to = safe;

	for (size_t i = 0; i < size && i < PROTO_NAME_SIZE && text[i] != '\0'; i++) {
		if (text[i] == '"' || text[i] == '\\')
			*to++ = '\\';
		*to++ = text[i] < ' ' || text[i] == 0x7f ? '?' : text[i];
	}
	*to = '\0';
	put(m, ",%s=\"%s\"", name, safe);
}

static void
put_pool(struct page *m, const char *name, bool counter, const struct session *s,
    double value)
{
	put(m, "%s%s{id=\"%u\"", name, counter ? "_total" : "", s->id);
	put_label(m, "pool", s->name, sizeof(s->name));
	put_label(m, "section", s->section, sizeof(s->section));
	put(m, ",uid=\"%u\"} %.17g\n", s->uid, value);
}

static void
put_pools(struct page *m)
{
	const struct session *s;

	for (size_t i = 0; i < sizeof(of_pools) / sizeof(of_pools[0]); i++) {
		bool counter = strcmp(of_pools[i].type, "counter") == 0;

		put_family(m, of_pools[i].name, of_pools[i].type, of_pools[i].help);
		TAILQ_FOREACH (s, &m->arbiter->sessions, entry)
			if (session_has_pool(s))
				put_pool(
				    m, of_pools[i].name, counter, s, of_pools[i].of(s));
	}
}

int
metrics_write(struct evbuffer *out, const struct arbiter *a, enum metrics_form form)
{
	struct page m = { .out = out, .arbiter = a, .form = form };

	put_levels(&m);
	put_counts(&m);
	put_pools(&m);
	if (form == METRICS_OPEN)
		put(&m, "# EOF\n");
	return m.failed ? -1 : 0;
}
