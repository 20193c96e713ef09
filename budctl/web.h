/* SPDX-License-Identifier: ISC */

/*
 * budctl web: a page to look at, over TCP.
 *
 *	web.c       options, the loop
 *	web_server  who may ask what; the page
 *	web_proxy   what budd answers, passed on as it comes
 *	web_page    the page itself, web.html
 */
#ifndef BUDCTL_WEB_H
#define BUDCTL_WEB_H

#include <stdbool.h>
#include <stddef.h>

struct event_base;
struct evhttp_request;

#define WEB_LISTEN_DEFAULT "127.0.0.1:8765"

/** web_page, web_page_end - web.html; not a string */
extern const char web_page[], web_page_end[];

/* What is listened at. */
struct web_address {
	char host[256]; /* without brackets */
	unsigned short port;
};

/* --- The proxy --- */

struct web_proxy;

/** web_proxy_create() - @socket: budd's; must outlive the proxy. NULL: no memory */
struct web_proxy *web_proxy_create(struct event_base *base, const char *socket);
void web_proxy_free(struct web_proxy *proxy);
/** web_proxy_get() - answer @req with what budd answers to GET @path, or with 502 or 503
 * @stream:	the answer has no end */
void web_proxy_get(
    struct web_proxy *proxy, struct evhttp_request *req, const char *path, bool stream);

/* --- The server --- */

struct web_server;

/** web_server_create() - listen
 * @name:	another name of this host that a browser may use, or NULL
 * Return: 0, or a negative errno */
int web_server_create(struct web_server **serverp, struct event_base *base,
    struct web_proxy *proxy, const struct web_address *address, const char *name);
void web_server_free(struct web_server *server);
/** web_server_port() - where it listens, also if 0 was asked for */
unsigned short web_server_port(const struct web_server *server);

#endif
