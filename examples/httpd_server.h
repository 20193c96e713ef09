/* SPDX-License-Identifier: ISC */

/* The server: one loop, one listener, one pool, and the connections. */
#ifndef EXAMPLES_HTTPD_SERVER_H
#define EXAMPLES_HTTPD_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct bud_event;
struct bud_pool;
struct httpd_connection;

struct httpd_totals {
	uint64_t requests;
	uint64_t bytes;    /* that the sockets took */
	uint64_t waits;    /* times that nothing was free */
	uint64_t refusals; /* of these, that ended without a buffer */
	uint64_t wait_longest_ms;
};

/* Set up by main; libevent's parts are httpd_server_start()'s. */
struct httpd_server {
	struct bud_pool *pool;
	int root; /* the directory; openat2() starts here */
	int idle_ms;
	int wait_ms; /* -1: without end */
	int linger_ms;
	size_t piece_max; /* bytes; sinks if the pool holds no buffer as large */

	struct event_base *base;
	struct evconnlistener *listener;
	struct bud_event *grants; /* the pool, in the loop */
	struct event *interrupt;  /* SIGINT */
	struct event *terminate;  /* SIGTERM */
	struct event *timer;      /* resumes after a pause; then ends the grace */
	bool stopping;
	struct httpd_totals totals;
	LIST_HEAD(, httpd_connection) connections;
};

/**
 * httpd_server_start() - listen
 * @listen:	ADDR:PORT or [ADDR]:PORT
 *
 * Return: 0; -EINVAL for an address that is none; another negative errno. In each case
 * httpd_server_end() cleans up.
 */
int httpd_server_start(struct httpd_server *server, const char *listen);

/**
 * httpd_server_address() - where it listens, as in a URL
 */
void httpd_server_address(const struct httpd_server *server, char *buf, size_t size);

/* Serve until a signal ends it. Return: 0, or -EIO if the loop itself failed. */
int httpd_server_run(struct httpd_server *server);

/* Called by a connection that has gone. */
void httpd_server_departed(struct httpd_server *server);

/* Give everything back but the pool and the root; the pool is closed after this. */
void httpd_server_end(struct httpd_server *server);

#endif
