/* SPDX-License-Identifier: ISC */

/* One client: its requests, one after the other, and at most one buffer of the pool. */
#ifndef EXAMPLES_HTTPD_CONNECTION_H
#define EXAMPLES_HTTPD_CONNECTION_H

struct httpd_connection;
struct httpd_server;

/**
 * httpd_connection_accept() - serve a client
 * @fd:		its socket, non-blocking; ours from now on, also after an error
 *
 * Return: 0, or -ENOMEM
 */
int httpd_connection_accept(struct httpd_server *server, int fd);

/* The server stops: finish the reply under way, if any. Careful: may free @c. */
void httpd_connection_finish(struct httpd_connection *c);

/* End it now. Careful: frees @c. */
void httpd_connection_close(struct httpd_connection *c);

struct httpd_connection *httpd_connection_next(const struct httpd_connection *c);

#endif
