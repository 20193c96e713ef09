/* SPDX-License-Identifier: ISC */

/*
 * GET /metrics: what Prometheus and its kin scrape; doc/status.md has the names.
 *
 * Counters and histograms of the host begin anew with each arbiter, as scrapers expect of a
 * program that restarts; those of a pool stand in its record, and live as long as it does.
 */
#ifndef DAEMON_METRICS_H
#define DAEMON_METRICS_H

struct arbiter;
struct evbuffer;

enum metrics_form {
	METRICS_OPEN, /* OpenMetrics 1.0 */
	METRICS_TEXT, /* the older text format of Prometheus, 0.0.4 */
};

/** metrics_form() - by an Accept header; NULL: none */
enum metrics_form metrics_form(const char *accept);
/** metrics_type() - for the Content-Type header */
const char *metrics_type(enum metrics_form form);
/** metrics_write() - append all of them; 0, or -1: no memory, and @out has a part of it */
int metrics_write(
    struct evbuffer *out, const struct arbiter *a, enum metrics_form form);

#endif
