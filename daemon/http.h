/* SPDX-License-Identifier: ISC */

/* The status socket: HTTP/1.1 over a UNIX socket, by libevent's evhttp. */
#ifndef DAEMON_HTTP_H
#define DAEMON_HTTP_H

struct arbiter;
struct http;

/** http_create() - serve @listener, a listening socket that becomes http's
 * Return: NULL if there is no memory */
struct http *http_create(struct arbiter *a, int listener);
void http_free(struct http *h);

#endif
