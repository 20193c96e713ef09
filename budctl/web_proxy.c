/* SPDX-License-Identifier: ISC */

/*
 * What budd answers, passed on. libcurl asks at the status socket, driven by the loop of
 * libevent: curl says which descriptors and which time it waits for, we tell it when.
 *
 * A transfer belongs to its request, and goes when either ends: a browser that goes away
 * takes its transfer with it, a transfer that fails ends its request. A reader that does
 * not read is cut off at BACKLOG_MAX.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>

#include "budctl/web.h"

#define TRANSFERS_MAX  64
#define BACKLOG_MAX    ((size_t)64 << 20) /* bytes that a reader may be behind */
#define WRITE_LIMIT_S  20
#define ANSWER_LIMIT_S 5L

struct web_proxy {
	struct event_base *base;
	const char *socket;
	CURLM *multi;
	struct event *timer;
	unsigned int transfers;
};

struct transfer {
	struct web_proxy *proxy;
	struct evhttp_request *req; /* NULL: it has gone */
	struct evhttp_connection *connection;
	CURL *curl;
	struct curl_slist *headers;
	bool stream; /* without an end, and silent for as long as nothing happens */
	bool begun;  /* the answer's head has been sent */
};

/* --- Answers --- */

static void
send_failure(struct evhttp_request *req, int code, const char *what)
{
	struct evbuffer *out = evbuffer_new();

	evhttp_add_header(
	    evhttp_request_get_output_headers(req), "Content-Type", "application/json");
	if (out != NULL)
		evbuffer_add_printf(out, "{\"error\":\"%s\"}\n", what);
	evhttp_send_reply(
	    req, code, code == 502 ? "Bad Gateway" : "Service Unavailable", out);
	if (out != NULL)
		evbuffer_free(out);
}

/* Who reads a stream says nothing for hours: only writing has a limit then. */
static void
wait_for_ever(struct transfer *t)
{
	static const struct timeval limit = { .tv_sec = WRITE_LIMIT_S };

	bufferevent_set_timeouts(
	    evhttp_connection_get_bufferevent(t->connection), NULL, &limit);
	evhttp_add_header(
	    evhttp_request_get_output_headers(t->req), "Connection", "close");
}

static void
begin(struct transfer *t)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(t->req);
	char *type = NULL;
	long code = 0;

	curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &code);
	if (curl_easy_getinfo(t->curl, CURLINFO_CONTENT_TYPE, &type) == CURLE_OK &&
	    type != NULL)
		evhttp_add_header(headers, "Content-Type", type);
	if (t->stream)
		wait_for_ever(t);
	evhttp_send_reply_start(t->req, (int)code, code == 200 ? "OK" : "No");
	t->begun = true;
}

static void
end(struct transfer *t, CURLcode result)
{
	struct evhttp_request *req = t->req;

	t->req = NULL;
	if (req == NULL)
		return;
	evhttp_connection_set_closecb(t->connection, NULL, NULL);
	if (result == CURLE_OK || t->begun) {
		if (!t->begun) {
			t->req = req;
			begin(t);
			t->req = NULL;
		}
		evhttp_send_reply_end(req);
	} else {
		send_failure(req, 502, "budd does not answer");
	}
}

static void
transfer_free(struct transfer *t)
{
	if (t->curl != NULL) {
		curl_multi_remove_handle(t->proxy->multi, t->curl);
		curl_easy_cleanup(t->curl);
	}
	curl_slist_free_all(t->headers);
	t->proxy->transfers--;
	free(t);
}

/* evhttp calls this from the loop, never from within curl. */
static void
transfer_on_gone(struct evhttp_connection *connection, void *arg)
{
	struct transfer *t = arg;

	(void)connection;
	t->req = NULL;
	transfer_free(t);
}

static size_t
transfer_on_data(char *data, size_t one, size_t count, void *arg)
{
	struct transfer *t = arg;
	struct evbuffer *out, *waiting;
	size_t size = one * count;

	waiting =
	    bufferevent_get_output(evhttp_connection_get_bufferevent(t->connection));
	if (evbuffer_get_length(waiting) > BACKLOG_MAX ||
	    (out = evbuffer_new()) == NULL)
		return 0;
	if (!t->begun)
		begin(t);
	evbuffer_add(out, data, size);
	evhttp_send_reply_chunk(t->req, out);
	evbuffer_free(out);
	return size;
}

/* --- curl and the loop --- */

static void
reap(struct web_proxy *p)
{
	struct CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(p->multi, &left)) != NULL) {
		struct transfer *t;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &t);
		end(t, message->data.result);
		transfer_free(t);
	}
}

static void
proxy_on_socket(evutil_socket_t fd, short events, void *arg)
{
	struct web_proxy *p = arg;
	int action = ((events & EV_READ) != 0 ? CURL_CSELECT_IN : 0) |
		     ((events & EV_WRITE) != 0 ? CURL_CSELECT_OUT : 0);
	int running;

	curl_multi_socket_action(p->multi, fd, action, &running);
	reap(p);
}

static void
proxy_on_time(evutil_socket_t fd, short events, void *arg)
{
	struct web_proxy *p = arg;
	int running;

	(void)fd;
	(void)events;
	curl_multi_socket_action(p->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	reap(p);
}

static int
curl_wants_socket(CURL *curl, curl_socket_t fd, int what, void *arg, void *seen)
{
	struct web_proxy *p = arg;
	struct event *event = seen;
	short events = (short)(EV_PERSIST | ((what & CURL_POLL_IN) != 0 ? EV_READ : 0) |
			       ((what & CURL_POLL_OUT) != 0 ? EV_WRITE : 0));

	(void)curl;
	if (event != NULL)
		event_free(event);
	event = what == CURL_POLL_REMOVE
		    ? NULL
		    : event_new(p->base, fd, events, proxy_on_socket, p);
	curl_multi_assign(p->multi, fd, event);
	if (what == CURL_POLL_REMOVE)
		return 0;
	return event != NULL && event_add(event, NULL) == 0 ? 0 : -1;
}

static int
curl_wants_time(CURLM *multi, long timeout_ms, void *arg)
{
	struct web_proxy *p = arg;
	struct timeval wait = { .tv_sec = timeout_ms / 1000,
		.tv_usec = timeout_ms % 1000 * 1000 };

	(void)multi;
	return timeout_ms < 0 ? event_del(p->timer) : event_add(p->timer, &wait);
}

/* --- Asking --- */

/* budd has /metrics in two forms, and Accept tells which is wanted. */
static bool
pass_accept(struct transfer *t)
{
	const char *accept =
	    evhttp_find_header(evhttp_request_get_input_headers(t->req), "Accept");
	char line[1024];

	if (accept == NULL)
		return true;
	if (snprintf(line, sizeof(line), "Accept: %s", accept) >= (int)sizeof(line))
		return true; /* nobody needs so many words for it */
	t->headers = curl_slist_append(NULL, line);
	return t->headers != NULL &&
	       curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, t->headers) == CURLE_OK;
}

static bool
start(struct transfer *t, const char *path)
{
	char url[512];

	if ((t->curl = curl_easy_init()) == NULL ||
	    snprintf(url, sizeof(url), "http://localhost%s", path) >=
		(int)sizeof(url) ||
	    !pass_accept(t))
		return false;
	curl_easy_setopt(t->curl, CURLOPT_UNIX_SOCKET_PATH, t->proxy->socket);
	curl_easy_setopt(t->curl, CURLOPT_URL, url);
	curl_easy_setopt(t->curl, CURLOPT_PROXY, ""); /* whatever http_proxy says */
	curl_easy_setopt(t->curl, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(t->curl, CURLOPT_CONNECTTIMEOUT, ANSWER_LIMIT_S);
	curl_easy_setopt(t->curl, CURLOPT_TIMEOUT, t->stream ? 0L : ANSWER_LIMIT_S);
	curl_easy_setopt(t->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(t->curl, CURLOPT_WRITEFUNCTION, transfer_on_data);
	curl_easy_setopt(t->curl, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(t->curl, CURLOPT_PRIVATE, t);
	return curl_multi_add_handle(t->proxy->multi, t->curl) == CURLM_OK;
}

void
web_proxy_get(
    struct web_proxy *proxy, struct evhttp_request *req, const char *path, bool stream)
{
	struct transfer *t;

	if (proxy->transfers >= TRANSFERS_MAX || (t = calloc(1, sizeof(*t))) == NULL) {
		send_failure(req, HTTP_SERVUNAVAIL, "too many ask at the same time");
		return;
	}
	t->proxy = proxy;
	t->req = req;
	t->stream = stream;
	t->connection = evhttp_request_get_connection(req);
	proxy->transfers++;
	if (!start(t, path)) {
		transfer_free(t);
		send_failure(req, HTTP_SERVUNAVAIL, "no memory for a request");
		return;
	}
	evhttp_connection_set_closecb(t->connection, transfer_on_gone, t);
}

struct web_proxy *
web_proxy_create(struct event_base *base, const char *socket)
{
	struct web_proxy *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->base = base;
	p->socket = socket;
	p->multi = curl_multi_init();
	p->timer = evtimer_new(base, proxy_on_time, p);
	if (p->multi == NULL || p->timer == NULL) {
		web_proxy_free(p);
		return NULL;
	}
	curl_multi_setopt(p->multi, CURLMOPT_SOCKETFUNCTION, curl_wants_socket);
	curl_multi_setopt(p->multi, CURLMOPT_SOCKETDATA, p);
	curl_multi_setopt(p->multi, CURLMOPT_TIMERFUNCTION, curl_wants_time);
	curl_multi_setopt(p->multi, CURLMOPT_TIMERDATA, p);
	return p;
}

void
web_proxy_free(struct web_proxy *p)
{
	if (p == NULL)
		return;
	if (p->multi != NULL)
		curl_multi_cleanup(p->multi);
	if (p->timer != NULL)
		event_free(p->timer);
	free(p);
}
