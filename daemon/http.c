/* SPDX-License-Identifier: ISC */

/*
 * The status socket.
 *
 * Whoever may connect may be hostile, and shares the arbiter's one loop with the clients
 * that wait for memory. So what a connection can hold is bounded (header, body, time), and
 * there is a bounded number of them (seats.c); and the whole status, which grows with the
 * number of pools, is made again only when that costs less than a fifth of the time since,
 * or when something was changed.
 *
 * Who asks is told by the kernel, for each request, before its body is read: everybody who
 * may connect may look, or the group that budd.conf names; few may change something.
 *
 * Requests that evhttp cannot read are answered by evhttp itself, 400 or 501, in HTML.
 */
#include "daemon/http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>

#include "daemon/access.h"
#include "daemon/arbiter.h"
#include "daemon/events.h"
#include "daemon/json.h"
#include "daemon/metrics.h"
#include "daemon/news.h"
#include "daemon/seats.h"
#include "daemon/session.h"
#include "daemon/status.h"
#include "daemon/tune.h"

#define HEADERS_MAX   8192 /* bytes */
#define BODY_MAX      TUNE_BODY_MAX
#define TIMEOUT_S     10 /* of silence */
#define STATUS_SHARES 4  /* rest so many times as long as making a status took */

#define HTTP_FORBIDDEN 403
#define HTTP_TOO_MANY  429
#define ANSWERS_ITSELF 0 /* a handler that took the request */

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
	char *metrics; /* likewise */
	enum metrics_form metrics_form;
	struct instant metrics_until;
};

/* A request, on its way to an answer. */
struct exchange {
	struct http *http;
	struct evhttp_request *req;
	const char *rest; /* of the path, behind the route's */
	const char *body;
	size_t body_size;
	uid_t uid;            /* who asks */
	struct tune_why *why; /* what is wrong; empty: what the code says */
	struct evbuffer *out;
};

/*
 * What a path means. One that ends in '/' is followed by the id of a pool. A handler
 * appends its answer to x->out and returns 200, or returns what is wrong.
 */
struct route {
	const char *path;
	int (*get)(const struct exchange *x);    /* NULL: cannot be read */
	int (*change)(const struct exchange *x); /* NULL: can only be read */
	enum evhttp_cmd_type changes_by;
	const char *methods; /* for the Allow header */
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
get_root(const struct exchange *x)
{
	cJSON *o = cJSON_CreateObject();

	if (json_put_word(o, "service", "bud") &&
	    json_put_word(o, "version", PACKAGE_VERSION) &&
	    json_put(o, "paths", paths_json()))
		return add_json(x->out, o);
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
get_status(const struct exchange *x)
{
	struct http *h = x->http;

	if (h->status == NULL || !instant_before(clock_now(), h->status_until))
		make_status(h);
	if (h->status == NULL)
		return HTTP_INTERNAL;
	add_line(x->out, h->status);
	return HTTP_OK;
}

static int
get_host(const struct exchange *x)
{
	return add_json(x->out, status_host(x->http->arbiter));
}

static int
get_pools(const struct exchange *x)
{
	return add_json(x->out, status_pools(x->http->arbiter));
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

/* NULL: there is none. */
static struct session *
pool_of_id(const struct http *h, uint32_t id)
{
	struct session *s = session_find(h->arbiter, id);

	return s != NULL && session_has_pool(s) ? s : NULL;
}

/* Returns 200, or what is wrong with the path. */
static int
find_pool(const struct exchange *x, struct session **sp)
{
	uint32_t id;

	if (!parse_id(x->rest, &id))
		return HTTP_BADREQUEST;
	*sp = pool_of_id(x->http, id);
	return *sp != NULL ? HTTP_OK : HTTP_NOTFOUND;
}

static int
get_pool(const struct exchange *x)
{
	struct session *s;
	int code = find_pool(x, &s);

	return code == HTTP_OK ? add_json(x->out, status_pool(s)) : code;
}

static void
make_metrics(struct http *h, enum metrics_form form)
{
	struct instant start = clock_now(), end;
	struct evbuffer *out = evbuffer_new();

	free(h->metrics);
	h->metrics = NULL;
	if (out != NULL && metrics_write(out, h->arbiter, form) == 0 &&
	    evbuffer_add(out, "", 1) == 0) {
		size_t size = evbuffer_get_length(out);

		if ((h->metrics = malloc(size)) != NULL)
			evbuffer_remove(out, h->metrics, size);
	}
	if (out != NULL)
		evbuffer_free(out);
	end = clock_now();
	h->metrics_form = form;
	h->metrics_until = instant_add(end, (end.ns - start.ns) * STATUS_SHARES);
}

static int
get_metrics(const struct exchange *x)
{
	struct http *h = x->http;
	const char *accept =
	    evhttp_find_header(evhttp_request_get_input_headers(x->req), "Accept");
	enum metrics_form form = metrics_form(accept);

	if (h->metrics == NULL || h->metrics_form != form ||
	    !instant_before(clock_now(), h->metrics_until))
		make_metrics(h, form);
	if (h->metrics == NULL)
		return HTTP_INTERNAL;
	evbuffer_add(x->out, h->metrics, strlen(h->metrics));
	evhttp_add_header(evhttp_request_get_output_headers(x->req), "Content-Type",
	    metrics_type(form));
	return HTTP_OK;
}

static bool
has_samples(const struct exchange *x)
{
	const char *query = evhttp_uri_get_query(evhttp_request_get_evhttp_uri(x->req));

	return query != NULL && strcmp(query, "samples=1") == 0;
}

static int
get_events(const struct exchange *x)
{
	struct arbiter *a = x->http->arbiter;
	int code;

	if (evhttp_request_get_command(x->req) == EVHTTP_REQ_HEAD)
		return HTTP_OK;
	if (a->events == NULL)
		return HTTP_INTERNAL;
	code = events_join(a->events, x->req, x->uid, has_samples(x), TIMEOUT_S);
	if (code != HTTP_OK)
		return code;
	seats_keep(x->http->seats,
	    evhttp_connection_get_bufferevent(evhttp_request_get_connection(x->req)));
	news_hello(a);
	return ANSWERS_ITSELF;
}

/* --- Handlers that change something --- */

static int
change_pool(const struct exchange *x)
{
	struct tune_pool t;
	struct session *s;
	int code = find_pool(x, &s);

	if (code != HTTP_OK)
		return code;
	if (tune_read_pool(x->body, x->body_size, &t, x->why) != 0 ||
	    tune_pool(s, &t, x->uid, x->why) != 0)
		return HTTP_BADREQUEST;
	return add_json(x->out, status_pool(s));
}

static int
change_host(const struct exchange *x)
{
	struct tune_host t;

	if (tune_read_host(x->body, x->body_size, &t, x->why) != 0 ||
	    tune_host(x->http->arbiter, &t, x->uid, x->why) != 0)
		return HTTP_BADREQUEST;
	return get_host(x);
}

static int
release(const struct exchange *x)
{
	struct session *only = NULL;
	struct tune_release t;

	if (tune_read_release(x->body, x->body_size, &t, x->why) != 0)
		return HTTP_BADREQUEST;
	if (t.given != 0 && (only = pool_of_id(x->http, (uint32_t)t.pool)) == NULL)
		return HTTP_NOTFOUND;
	return add_json(x->out, tune_release(x->http->arbiter, only, x->uid));
}

static const struct route routes[] = {
	{ "/", get_root, NULL, 0, "GET, HEAD" },
	{ "/v1/status", get_status, NULL, 0, "GET, HEAD" },
	{ "/v1/host", get_host, change_host, EVHTTP_REQ_PATCH, "GET, HEAD, PATCH" },
	{ "/v1/pools", get_pools, NULL, 0, "GET, HEAD" },
	{ "/v1/pools/", get_pool, change_pool, EVHTTP_REQ_PATCH, "GET, HEAD, PATCH" },
	{ "/metrics", get_metrics, NULL, 0, "GET, HEAD" },
	{ "/v1/events", get_events, NULL, 0, "GET, HEAD" },
	{ "/v1/release", NULL, release, EVHTTP_REQ_POST, "POST" },
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
	case HTTP_FORBIDDEN:
		return "only root, the user that budd runs as, and members of the "
		       "group " CONFIG_TUNERS
		       " may change anything, and, where budd.conf "
		       "has a [status] group, only these and its members may look";
	case HTTP_TOO_MANY:
		return "there are as many who listen to events as there may be, or of "
		       "one user";
	case HTTP_NOTFOUND:
		return "there is no such pool, or no such page: GET / lists what there "
		       "is";
	case HTTP_BADMETHOD:
		return "this page does not take that method";
	default:
		return "budd is short of memory";
	}
}

/* @why may have any bytes of a body in it; without memory for it, the code has to do. */
static void
add_error(struct evbuffer *out, int code, const struct tune_why *why)
{
	cJSON *o = cJSON_CreateObject();

	evbuffer_drain(out, evbuffer_get_length(out));
	if (why->text[0] != '\0' &&
	    json_put_text(o, "error", why->text, sizeof(why->text))) {
		if (add_json(out, o) == HTTP_OK)
			return;
	} else {
		cJSON_Delete(o);
	}
	evbuffer_add_printf(out, "{\"error\":\"%s\"}\n", reason(code));
}

static void
add_headers(struct evhttp_request *req, size_t length)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
	char text[24];

	snprintf(text, sizeof(text), "%zu", length);
	evhttp_add_header(headers, "Content-Length", text);
	if (evhttp_find_header(headers, "Content-Type") == NULL)
		evhttp_add_header(headers, "Content-Type", "application/json");
	evhttp_add_header(headers, "Cache-Control", "no-store");
}

static bool
find_peer(struct evhttp_request *req, struct access_peer *peer)
{
	struct evhttp_connection *connection = evhttp_request_get_connection(req);

	return access_peer_of(
	    bufferevent_getfd(evhttp_connection_get_bufferevent(connection)), peer);
}

/* Also of paths that do not exist. */
static int
refuse_to_look(
    const struct config *config, const struct access_peer *peer, struct exchange *x)
{
	snprintf(x->why->text, sizeof(x->why->text),
	    "uid %u may not look: [status] group in budd.conf is %s, and membership "
	    "counts from the next login on",
	    peer->uid, config->status_group);
	return HTTP_FORBIDDEN;
}

static int
change(const struct route *route, struct exchange *x)
{
	struct evbuffer *in = evhttp_request_get_input_buffer(x->req);

	x->body_size = evbuffer_get_length(in);
	x->body = (const char *)evbuffer_pullup(in, -1);
	if (x->body == NULL) {
		x->body = "";
		x->body_size = 0;
	}
	x->http->status_until = (struct instant){ 0 };
	return route->change(x);
}

static int
answer(struct exchange *x)
{
	const struct config *config = arbiter_config(x->http->arbiter);
	struct evhttp_request *req = x->req;
	const char *path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(req));
	enum evhttp_cmd_type method = evhttp_request_get_command(req);
	const struct route *route = path != NULL ? find_route(path, &x->rest) : NULL;
	struct access_peer peer;

	if (!find_peer(req, &peer))
		return HTTP_FORBIDDEN;
	if (!access_may_look(config, &peer))
		return refuse_to_look(config, &peer, x);
	x->uid = peer.uid;
	if (route == NULL)
		return HTTP_NOTFOUND;
	if (route->get != NULL &&
	    (method == EVHTTP_REQ_GET || method == EVHTTP_REQ_HEAD))
		return route->get(x);
	if (route->change != NULL && method == route->changes_by)
		return access_may_tune(config, &peer) ? change(route, x)
						      : HTTP_FORBIDDEN;
	evhttp_add_header(
	    evhttp_request_get_output_headers(req), "Allow", route->methods);
	return HTTP_BADMETHOD;
}

/* What evhttp does not know by heart; NULL: what it does. */
static const char *
phrase(int code)
{
	if (code == HTTP_FORBIDDEN)
		return "Forbidden";
	return code == HTTP_TOO_MANY ? "Too Many Requests" : NULL;
}

static void
http_on_request(struct evhttp_request *req, void *arg)
{
	struct tune_why why = { "" };
	struct exchange x = {
		.http = arg, .req = req, .why = &why, .out = evbuffer_new()
	};
	int code;

	if (x.out == NULL) {
		evhttp_send_error(req, HTTP_SERVUNAVAIL, NULL);
		return;
	}
	code = answer(&x);
	if (code == ANSWERS_ITSELF) {
		evbuffer_free(x.out);
		return;
	}
	if (code != HTTP_OK)
		add_error(x.out, code, &why);
	add_headers(req, evbuffer_get_length(x.out));
	if (evhttp_request_get_command(req) == EVHTTP_REQ_HEAD)
		evbuffer_drain(
		    x.out, evbuffer_get_length(x.out)); /* but keep its length */
	evhttp_send_reply(req, code, phrase(code), x.out);
	evbuffer_free(x.out);
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
	struct evhttp_bound_socket *bound;

	if (h == NULL)
		return NULL;
	h->arbiter = a;
	h->seats = seats_create();
	h->evhttp = evhttp_new(a->base);
	if (h->seats == NULL || h->evhttp == NULL)
		goto fail;
	set_limits(h);
	if (evutil_make_socket_nonblocking(listener) != 0 ||
	    (bound = evhttp_accept_socket_with_handle(h->evhttp, listener)) == NULL ||
	    seats_watch(h->seats, a->base, evhttp_bound_socket_get_listener(bound)) !=
		0)
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
	free(h->metrics);
	free(h);
}
