/* SPDX-License-Identifier: ISC */

/*
 * Who may ask what. Everything can be read and nothing changed; what can be asked for
 * stands in one table, and nothing else reaches budd.
 *
 * A page of the outside may not read this one: it gets no leave (no CORS), and where its
 * name was made to point here (DNS rebinding), the Host header tells, for there a browser
 * says the name that it was given. So Host must be an address, localhost, this host's own
 * name, or the one the user gave.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>

#include "budctl/web.h"

#define HEADERS_MAX 8192 /* bytes */
#define TIMEOUT_S   10   /* of silence */
#define NONCE_MARK  "@NONCE@"

#define METHODS_KNOWN                                                          \
	(EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT | \
	    EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH)

struct web_server {
	struct evhttp *evhttp;
	struct web_proxy *proxy;
	const char *name;
	char own_name[256];
	unsigned short port;
};

static void
add_header(struct evhttp_request *req, const char *key, const char *value)
{
	evhttp_add_header(evhttp_request_get_output_headers(req), key, value);
}

static void
refuse(struct evhttp_request *req, int code, const char *reason, const char *what)
{
	struct evbuffer *out = evbuffer_new();

	add_header(req, "Content-Type", "application/json");
	if (out != NULL)
		evbuffer_add_printf(out, "{\"error\":\"%s\"}\n", what);
	evhttp_send_reply(req, code, reason, out);
	if (out != NULL)
		evbuffer_free(out);
}

/* --- Who --- */

static bool
is_address(const char *text)
{
	struct in6_addr address;

	return inet_pton(AF_INET, text, &address) == 1 ||
	       inet_pton(AF_INET6, text, &address) == 1;
}

/* "localhost:8765" or "[::1]:8765" without the port. False: it is nothing like that. */
static bool
host_of(const char *header, char *host, size_t size)
{
	const char *start = header[0] == '[' ? header + 1 : header;
	size_t length = strcspn(start, header[0] == '[' ? "]" : ":");

	if (length == 0 || length >= size)
		return false;
	memcpy(host, start, length);
	host[length] = '\0';
	return true;
}

static bool
is_ours(const struct web_server *s, struct evhttp_request *req)
{
	const char *header =
	    evhttp_find_header(evhttp_request_get_input_headers(req), "Host");
	char host[256];

	if (header == NULL || !host_of(header, host, sizeof(host)))
		return false;
	return is_address(host) || strcasecmp(host, "localhost") == 0 ||
	       strcasecmp(host, s->own_name) == 0 ||
	       (s->name != NULL && strcasecmp(host, s->name) == 0);
}

/* --- What --- */

/* web.html, with a nonce that no other answer has: only its own script runs in it. */
static void
send_page(struct evhttp_request *req)
{
	const char *at = web_page, *mark;
	struct evbuffer *out = evbuffer_new();
	unsigned int random[4];
	char nonce[33], policy[256];

	if (out == NULL) {
		refuse(req, HTTP_SERVUNAVAIL, "Service Unavailable", "no memory");
		return;
	}
	arc4random_buf(random, sizeof(random));
	snprintf(nonce, sizeof(nonce), "%08x%08x%08x%08x", random[0], random[1],
	    random[2], random[3]);
	while ((mark = strnstr(at, NONCE_MARK, (size_t)(web_page_end - at))) != NULL) {
		evbuffer_add(out, at, (size_t)(mark - at));
		evbuffer_add(out, nonce, strlen(nonce));
		at = mark + strlen(NONCE_MARK);
	}
	evbuffer_add(out, at, (size_t)(web_page_end - at));
	snprintf(policy, sizeof(policy),
	    "default-src 'none'; script-src 'nonce-%s'; style-src 'nonce-%s'; "
	    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
	    "frame-ancestors 'none'",
	    nonce, nonce);
	add_header(req, "Content-Security-Policy", policy);
	add_header(req, "Content-Type", "text/html; charset=utf-8");
	evhttp_send_reply(req, HTTP_OK, "OK", out);
	evbuffer_free(out);
}

static bool
is_pool(const char *path)
{
	static const char pools[] = "/v1/pools/";
	const char *id = path + strlen(pools);

	return strncmp(path, pools, strlen(pools)) == 0 && id[0] != '\0' &&
	       strlen(id) <= 10 && id[strspn(id, "0123456789")] == '\0';
}

static bool
is_passed_on(const char *path)
{
	static const char *const paths[] = { "/metrics", "/v1/host", "/v1/pools",
		"/v1/status" };

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if (strcmp(path, paths[i]) == 0)
			return true;
	return is_pool(path);
}

static void
server_on_request(struct evhttp_request *req, void *arg)
{
	struct web_server *s = arg;
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(req));

	add_header(req, "Cache-Control", "no-store");
	add_header(req, "X-Content-Type-Options", "nosniff");
	add_header(req, "Referrer-Policy", "no-referrer");
	add_header(req, "Cross-Origin-Resource-Policy", "same-origin");
	if (!is_ours(s, req)) {
		refuse(req, 403, "Forbidden",
		    "this host is not known under that name: use its address, or give "
		    "budctl web --host NAME");
	} else if (evhttp_request_get_command(req) != EVHTTP_REQ_GET) {
		add_header(req, "Allow", "GET");
		refuse(req, HTTP_BADMETHOD, "Method Not Allowed",
		    "here one may only look");
	} else if (path != NULL && strcmp(path, "/") == 0) {
		send_page(req);
	} else if (path != NULL && strcmp(path, "/v1/events") == 0) {
		web_proxy_get(s->proxy, req, path, true);
	} else if (path != NULL && is_passed_on(path)) {
		web_proxy_get(s->proxy, req, path, false);
	} else {
		refuse(req, HTTP_NOTFOUND, "Not Found", "there is no such page");
	}
}

/* --- Listening --- */

static void
listener_on_rested(evutil_socket_t fd, short events, void *arg)
{
	(void)fd;
	(void)events;
	evconnlistener_enable(arg);
}

/* Out of descriptors, say: what waits would wake us again at once, and for nothing. The
 * argument is evhttp's. */
static void
listener_on_error(struct evconnlistener *listener, void *arg)
{
	static const struct timeval second = { .tv_sec = 1 };

	(void)arg;
	evconnlistener_disable(listener);
	event_base_once(evconnlistener_get_base(listener), -1, EV_TIMEOUT,
	    listener_on_rested, listener, &second);
}

static unsigned short
port_of(evutil_socket_t fd)
{
	struct sockaddr_storage a = { 0 };
	socklen_t size = sizeof(a);

	if (getsockname(fd, (struct sockaddr *)&a, &size) != 0)
		return 0;
	return ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port
					     : ((struct sockaddr_in *)&a)->sin_port);
}

static int
server_listen(struct web_server *s, const struct web_address *address)
{
	struct evhttp_bound_socket *bound;

	errno = 0;
	bound = evhttp_bind_socket_with_handle(s->evhttp, address->host, address->port);
	if (bound == NULL)
		return errno != 0 ? -errno : -EADDRNOTAVAIL;
	evconnlistener_set_error_cb(
	    evhttp_bound_socket_get_listener(bound), listener_on_error);
	s->port = port_of(evhttp_bound_socket_get_fd(bound));
	return 0;
}

int
web_server_create(struct web_server **serverp, struct event_base *base,
    struct web_proxy *proxy, const struct web_address *address, const char *name)
{
	struct web_server *s = calloc(1, sizeof(*s));
	int r = -ENOMEM;

	if (s == NULL)
		return r;
	s->proxy = proxy;
	s->name = name;
	s->evhttp = evhttp_new(base);
	if (s->evhttp == NULL)
		goto fail;
	if (gethostname(s->own_name, sizeof(s->own_name) - 1) != 0)
		s->own_name[0] = '\0';
	evhttp_set_allowed_methods(s->evhttp, METHODS_KNOWN);
	evhttp_set_max_headers_size(s->evhttp, HEADERS_MAX);
	evhttp_set_max_body_size(s->evhttp, 1);
	evhttp_set_timeout(s->evhttp, TIMEOUT_S);
	evhttp_set_default_content_type(s->evhttp, NULL);
	evhttp_set_gencb(s->evhttp, server_on_request, s);
	if ((r = server_listen(s, address)) == 0) {
		*serverp = s;
		return 0;
	}
fail:
	web_server_free(s);
	return r;
}

void
web_server_free(struct web_server *s)
{
	if (s == NULL)
		return;
	if (s->evhttp != NULL)
		evhttp_free(s->evhttp);
	free(s);
}

unsigned short
web_server_port(const struct web_server *server)
{
	return server->port;
}
