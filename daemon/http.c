/* SPDX-License-Identifier: ISC */

/*
 * The status socket.
 *
 * Whoever may connect may be hostile, and shares the arbiter's one loop with the clients
 * that wait for memory. So what a connection can hold is bounded (header, body, time), and
 * there is a bounded number of them (seats.c); and the whole status, which grows with the
 * number of pools, is made again only when that costs less than a fifth of the time since.
 *
 * Requests that evhttp cannot read are answered by evhttp itself, 400 or 501, in HTML.
 */
#include "daemon/http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>

#include "daemon/arbiter.h"
#include "daemon/json.h"
#include "daemon/seats.h"
#include "daemon/session.h"
#include "daemon/status.h"

#define HEADERS_MAX   8192 /* bytes */
#define BODY_MAX      65536
#define TIMEOUT_S     10 /* of silence */
#define STATUS_SHARES 4  /* rest so many times as long as making a status took */

#define METHODS_KNOWN                                                          \
	(EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT | \
	    EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS | EVHTTP_REQ_TRACE |        \
	    EVHTTP_REQ_CONNECT | EVHTTP_REQ_PATCH)

struct http {
	struct arbiter *arbiter;
	struct evhttp *evhttp;
	struct seats *seats;
	char *status; /* as it was made last */
	struct instant status_until;
};

/*
 * What a path means. One that ends in '/' is followed by the id of a pool. A handler
 * appends its answer to @out and returns 200, or returns what is wrong.
 */
struct route {
	const char *path;
	int (*get)(struct http *h, const char *rest, struct evbuffer *out);
};

static void
add_line(struct evbuffer *out, const char *text)
{
	evbuffer_add(out, text, strlen(text));
	evbuffer_add(out, "\n", 1);
}

static int
add_json(struct evbuffer *out, cJSON *json)
{
	char *text = json != NULL ? cJSON_PrintUnformatted(json) : NULL;

	cJSON_Delete(json);
	if (text == NULL)
		return HTTP_INTERNAL;
	add_line(out, text);
	cJSON_free(text);
	return HTTP_OK;
}

/* --- Handlers --- */

static cJSON *paths_json(void);

static int
get_root(struct http *h, const char *rest, struct evbuffer *out)
{
	cJSON *o = cJSON_CreateObject();

	(void)h;
	(void)rest;
	if (json_put_word(o, "service", "bud") &&
	    json_put_word(o, "version", PACKAGE_VERSION) &&
	    json_put(o, "paths", paths_json()))
		return add_json(out, o);
	cJSON_Delete(o);
	return HTTP_INTERNAL;
}

static void
make_status(struct http *h)
{
	struct instant start = clock_now(), end;
	cJSON *json = status_all(h->arbiter);

	cJSON_free(h->status);
	h->status = json != NULL ? cJSON_PrintUnformatted(json) : NULL;
	cJSON_Delete(json);
	end = clock_now();
	h->status_until = instant_add(end, (end.ns - start.ns) * STATUS_SHARES);
}

static int
get_status(struct http *h, const char *rest, struct evbuffer *out)
{
	(void)rest;
	if (h->status == NULL || !instant_before(clock_now(), h->status_until))
		make_status(h);
	if (h->status == NULL)
		return HTTP_INTERNAL;
	add_line(out, h->status);
	return HTTP_OK;
}

static int
get_pools(struct http *h, const char *rest, struct evbuffer *out)
{
	(void)rest;
	return add_json(out, status_pools(h->arbiter));
}

static bool
parse_id(const char *text, uint32_t *idp)
{
	unsigned long long value;
	char *end;

	if (text[0] < '0' || text[0] > '9') /* strtoull() would take a sign */
		return false;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (*end != '\0' || errno != 0 || value > UINT32_MAX)
		return false;
	*idp = (uint32_t)value;
	return true;
}

static int
get_pool(struct http *h, const char *rest, struct evbuffer *out)
{
	struct session *s;
	uint32_t id;

	if (!parse_id(rest, &id))
		return HTTP_BADREQUEST;
	s = session_find(h->arbiter, id);
	if (s == NULL || !session_has_pool(s))
		return HTTP_NOTFOUND;
	return add_json(out, status_pool(s));
}

static const struct route routes[] = {
	{ "/", get_root },
	{ "/v1/status", get_status },
	{ "/v1/pools", get_pools },
	{ "/v1/pools/", get_pool },
};
#define ROUTES (sizeof(routes) / sizeof(routes[0]))

static bool
takes_id(const char *path)
{
	size_t length = strlen(path);

	return length > 1 && path[length - 1] == '/';
}

static cJSON *
paths_json(void)
{
	cJSON *paths = cJSON_CreateArray();
	char path[64];

	for (size_t i = 0; i < ROUTES; i++) {
		const char *id = takes_id(routes[i].path) ? "ID" : "";

		snprintf(path, sizeof(path), "%s%s", routes[i].path, id);
		if (!json_append(paths, cJSON_CreateString(path))) {
			cJSON_Delete(paths);
			return NULL;
		}
	}
	return paths;
}

static const struct route *
find_route(const char *path, const char **restp)
{
	for (size_t i = 0; i < ROUTES; i++) {
		const char *start = routes[i].path;
		size_t n = strlen(start);

		if (takes_id(start) ? strncmp(path, start, n) != 0
				    : strcmp(path, start) != 0)
			continue;
		*restp = path + n;
		return &routes[i];
	}
	return NULL;
}

/* --- Answers --- */

static const char *
reason(int code)
{
	switch (code) {
	case HTTP_BADREQUEST:
		return "a pool's id is a number";
	case HTTP_NOTFOUND:
		return "there is no such pool, or no such page: GET / lists what there "
		       "is";
	case HTTP_BADMETHOD:
		return "this page can only be read: GET or HEAD";
	default:
		return "budd is short of memory";
	}
}

static void
add_error(struct evbuffer *out, int code)
{
	evbuffer_drain(out, evbuffer_get_length(out));
	evbuffer_add_printf(out, "{\"error\":\"%s\"}\n", reason(code));
}

static void
add_headers(struct evhttp_request *req, size_t length)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
	char text[24];

	snprintf(text, sizeof(text), "%zu", length);
	evhttp_add_header(headers, "Content-Length", text);
	evhttp_add_header(headers, "Content-Type", "application/json");
	evhttp_add_header(headers, "Cache-Control", "no-store");
}

static int
answer(struct http *h, struct evhttp_request *req, struct evbuffer *out)
{
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(req)),
		   *rest;
	enum evhttp_cmd_type method = evhttp_request_get_command(req);
	const struct route *route = path != NULL ? find_route(path, &rest) : NULL;

	if (route == NULL)
		return HTTP_NOTFOUND;
	if (method == EVHTTP_REQ_GET || method == EVHTTP_REQ_HEAD)
		return route->get(h, rest, out);
	evhttp_add_header(evhttp_request_get_output_headers(req), "Allow", "GET, HEAD");
	return HTTP_BADMETHOD;
}

static void
http_on_request(struct evhttp_request *req, void *arg)
{
	struct evbuffer *out = evbuffer_new();
	int code;

	if (out == NULL) {
		evhttp_send_error(req, HTTP_SERVUNAVAIL, NULL);
		return;
	}
	code = answer(arg, req, out);
	if (code != HTTP_OK)
		add_error(out, code);
	add_headers(req, evbuffer_get_length(out));
	if (evhttp_request_get_command(req) == EVHTTP_REQ_HEAD)
		evbuffer_drain(out, evbuffer_get_length(out)); /* but keep its length */
	evhttp_send_reply(req, code, NULL, out);
	evbuffer_free(out);
}

static struct bufferevent *
http_on_connection(struct event_base *base, void *arg)
{
	struct http *h = arg;

	return seats_take(h->seats, base);
}

static void
set_limits(struct http *h)
{
	evhttp_set_max_headers_size(h->evhttp, HEADERS_MAX);
	evhttp_set_max_body_size(h->evhttp, BODY_MAX);
	evhttp_set_timeout(h->evhttp, TIMEOUT_S);
	/* What is not allowed here is answered by evhttp, without an Allow. */
	evhttp_set_allowed_methods(h->evhttp, METHODS_KNOWN);
	evhttp_set_bevcb(h->evhttp, http_on_connection, h);
	evhttp_set_gencb(h->evhttp, http_on_request, h);
}

struct http *
http_create(struct arbiter *a, int listener)
{
	struct http *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	h->arbiter = a;
	h->seats = seats_create();
	h->evhttp = evhttp_new(a->base);
	if (h->seats == NULL || h->evhttp == NULL)
		goto fail;
	set_limits(h);
	if (evutil_make_socket_nonblocking(listener) != 0 ||
	    evhttp_accept_socket(h->evhttp, listener) != 0)
		goto fail;
	return h;
fail:
	http_free(h);
	return NULL;
}

void
http_free(struct http *h)
{
	if (h == NULL)
		return;
	if (h->evhttp != NULL)
		evhttp_free(h->evhttp);
	seats_free(h->seats);
	cJSON_free(h->status);
	free(h);
}
