/* SPDX-License-Identifier: ISC */

/*
 * The server: what libevent calls, and how it ends.
 *
 * The first signal closes the listener and the idle connections, and gives replies
 * under way a few seconds; the second one ends them too. Buffers are back in the pool
 * when httpd_server_end() returns, so that the pool can be closed after it.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "examples/httpd_server.h"

#include <err.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <event2/event.h>
#include <event2/listener.h>
#include <event2/util.h>

#include "bud-event.h"
#include "examples/httpd_connection.h"

#define BACKLOG 1024
#define GRACE_S 5 /* for replies under way, after the first signal */
#define PAUSE_S 1 /* when there are no descriptors left */

/* What failed fails again at once, and would keep the loop busy: look in a second. */
static void
server_pause(struct httpd_server *s)
{
	struct timeval tv = { .tv_sec = PAUSE_S };

	if (!s->stopping)
		event_add(s->timer, &tv);
}

static void
on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *addr,
    int len, void *arg)
{
	int on = 1;

	(void)listener;
	(void)addr;
	(void)len;
	/* Each piece is sent in one go; waiting to fill a packet only costs time. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (httpd_connection_accept(arg, fd) != 0)
		warnx("a client was turned away: out of memory");
}

static void
on_accept_error(struct evconnlistener *listener, void *arg)
{
	warn("cannot accept a client for now (is the limit of open files, ulimit -n, "
	     "too low?)");
	evconnlistener_disable(listener);
	server_pause(arg);
}

static void
on_timer(evutil_socket_t fd, short events, void *arg)
{
	struct httpd_server *s = arg;

	(void)fd;
	(void)events;
	if (s->stopping) {
		event_base_loopbreak(s->base);
		return;
	}
	evconnlistener_enable(s->listener);
}

static void
on_signal(evutil_socket_t fd, short events, void *arg)
{
	struct timeval tv = { .tv_sec = GRACE_S };
	struct httpd_server *s = arg;
	struct httpd_connection *c, *next;

	(void)fd;
	(void)events;
	if (s->stopping) {
		event_base_loopbreak(s->base);
		return;
	}
	s->stopping = true;
	event_add(s->timer, &tv);
	evconnlistener_free(s->listener);
	s->listener = NULL;
	for (c = LIST_FIRST(&s->connections); c != NULL; c = next) {
		next = httpd_connection_next(c);
		httpd_connection_finish(c);
	}
	httpd_server_departed(s);
}

void
httpd_server_departed(struct httpd_server *s)
{
	if (s->stopping && LIST_EMPTY(&s->connections))
		event_base_loopbreak(s->base);
}

/* ADDR:PORT, both of them: without a port the system would pick any. */
static int
parse_address(const char *text, struct addrinfo **addressp)
{
	struct addrinfo hints = { .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
		.ai_socktype = SOCK_STREAM };
	const char *colon = strrchr(text, ':');
	char host[256];
	int len;

	if (colon == NULL || colon[1] == '\0')
		return -EINVAL;
	len = (int)(colon - text);
	if (*text == '[' && len > 2 && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	if (len == 0 || snprintf(host, sizeof(host), "%.*s", len, text) != len ||
	    getaddrinfo(host, colon + 1, &hints, addressp) != 0)
		return -EINVAL;
	return 0;
}

static int
server_listen(struct httpd_server *s, const char *listen)
{
	struct addrinfo *address;
	int r;

	if ((r = parse_address(listen, &address)) != 0)
		return r;
	errno = 0;
	s->listener = evconnlistener_new_bind(s->base, on_accept, s,
	    LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE, BACKLOG,
	    address->ai_addr, (int)address->ai_addrlen);
	r = s->listener != NULL ? 0 : errno != 0 ? -errno : -ENOMEM;
	freeaddrinfo(address);
	if (r == 0)
		evconnlistener_set_error_cb(s->listener, on_accept_error);
	return r;
}

int
httpd_server_start(struct httpd_server *s, const char *listen)
{
	int r;

	LIST_INIT(&s->connections);
	if ((s->base = event_base_new()) == NULL)
		return -ENOMEM;
	if ((r = bud_event_open(&s->grants, s->pool, s->base)) != 0)
		return r;
	s->interrupt = evsignal_new(s->base, SIGINT, on_signal, s);
	s->terminate = evsignal_new(s->base, SIGTERM, on_signal, s);
	s->timer = evtimer_new(s->base, on_timer, s);
	if (s->interrupt == NULL || s->terminate == NULL || s->timer == NULL)
		return -ENOMEM;
	if (event_add(s->interrupt, NULL) == -1 || event_add(s->terminate, NULL) == -1)
		return -ENOMEM;
	return server_listen(s, listen);
}

void
httpd_server_address(const struct httpd_server *s, char *buf, size_t size)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} a;
	socklen_t len = sizeof(a);
	char host[INET6_ADDRSTRLEN] = "?";
	int port = 0;

	memset(&a, 0, sizeof(a));
	if (getsockname(evconnlistener_get_fd(s->listener), &a.any, &len) == 0) {
		const void *addr = &a.v4.sin_addr;

		port = ntohs(a.v4.sin_port);
		if (a.any.sa_family == AF_INET6) {
			addr = &a.v6.sin6_addr;
			port = ntohs(a.v6.sin6_port);
		}
		evutil_inet_ntop(a.any.sa_family, addr, host, sizeof(host));
	}
	if (a.any.sa_family == AF_INET6)
		snprintf(buf, size, "[%s]:%d", host, port);
	else
		snprintf(buf, size, "%s:%d", host, port);
}

int
httpd_server_run(struct httpd_server *s)
{
	return event_base_dispatch(s->base) == -1 ? -EIO : 0;
}

static void
free_event(struct event *event)
{
	if (event != NULL)
		event_free(event);
}

void
httpd_server_end(struct httpd_server *s)
{
	struct httpd_connection *c;

	while ((c = LIST_FIRST(&s->connections)) != NULL)
		httpd_connection_close(c);
	if (s->listener != NULL)
		evconnlistener_free(s->listener);
	(void)bud_event_close(s->grants); /* the evbuffers went with the connections */
	free_event(s->interrupt);
	free_event(s->terminate);
	free_event(s->timer);
	if (s->base != NULL)
		event_base_free(s->base);
}
