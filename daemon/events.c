/* SPDX-License-Identifier: ISC */

/*
 * The listeners of the event stream.
 *
 * A reader's request belongs to us from events_join() on. It ends in one of three ways: its
 * connection ends, and evhttp has let go of the request by then (reader_on_close); we send it
 * away (reader_end); or budd ends (events_free, after which evhttp frees it).
 */
#include "daemon/events.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>

#include "daemon/json.h"

#define HTTP_TOO_MANY 429

struct reader {
	TAILQ_ENTRY(reader) entry;
	struct events *events;
	struct evhttp_request *req;
	struct bufferevent *connection;
	uid_t uid;
	bool samples;
	uint64_t lost; /* lines, that it has not been told of */
};

struct events {
	TAILQ_HEAD(readers, reader) readers; /* oldest first */
	unsigned int count;
	unsigned int samplers;
	struct event *clock;
	void (*each_second)(void *arg);
	void *arg;
};

/* --- One reader --- */

static void
reader_free(struct reader *r)
{
	struct events *e = r->events;

	TAILQ_REMOVE(&e->readers, r, entry);
	e->count--;
	e->samplers -= r->samples;
	if (e->count == 0)
		event_del(e->clock);
	free(r);
}

static void
reader_on_close(struct evhttp_connection *connection, void *arg)
{
	struct reader *r = arg;

	(void)connection;
	evhttp_send_reply_end(r->req); /* has no connection: is freed */
	reader_free(r);
}

static void
reader_end(struct reader *r)
{
	evhttp_connection_set_closecb(
	    evhttp_request_get_connection(r->req), NULL, NULL);
	evhttp_send_reply_end(r->req);
	reader_free(r);
}

static size_t
backlog(const struct reader *r)
{
	return evbuffer_get_length(bufferevent_get_output(r->connection));
}

static bool
send_text(struct reader *r, const char *text, size_t size)
{
	struct evbuffer *b = evbuffer_new();
	bool ok = b != NULL && evbuffer_add(b, text, size) == 0 &&
		  evbuffer_add(b, "\n", 1) == 0;

	if (ok)
		evhttp_send_reply_chunk(r->req, b);
	if (b != NULL)
		evbuffer_free(b);
	return ok;
}

/* Only once it has read half of what it was behind, so that not each line is such a one. */
static void
tell_loss(struct reader *r)
{
	cJSON *line;
	char *text;

	if (r->lost == 0 || backlog(r) > EVENTS_BACKLOG_MAX / 2)
		return;
	line = events_begin("lost");
	if (json_put_number(line, "lines", r->lost) &&
	    (text = cJSON_PrintUnformatted(line)) != NULL) {
		if (send_text(r, text, strlen(text)))
			r->lost = 0;
		cJSON_free(text);
	}
	cJSON_Delete(line);
}

static void
reader_tell(struct reader *r, const char *text, size_t size)
{
	tell_loss(r);
	if (text == NULL || r->lost > 0 || backlog(r) + size > EVENTS_BACKLOG_MAX ||
	    !send_text(r, text, size))
		r->lost++;
}

/* --- All of them --- */

static void
events_on_clock(evutil_socket_t fd, short what, void *arg)
{
	struct events *e = arg;
	struct reader *r, *next;

	(void)fd;
	(void)what;
	e->each_second(e->arg);
	TAILQ_FOREACH_SAFE (r, &e->readers, entry, next) {
		if (evbuffer_get_length(bufferevent_get_input(r->connection)) > 0)
			reader_end(r);
		else
			tell_loss(r);
	}
}

struct events *
events_create(struct event_base *base, void (*each_second)(void *arg), void *arg)
{
	struct events *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return NULL;
	TAILQ_INIT(&e->readers);
	e->each_second = each_second;
	e->arg = arg;
	e->clock = event_new(base, -1, EV_PERSIST, events_on_clock, e);
	if (e->clock == NULL) {
		free(e);
		return NULL;
	}
	return e;
}

void
events_free(struct events *e)
{
	struct reader *r;

	if (e == NULL)
		return;
	while ((r = TAILQ_FIRST(&e->readers)) != NULL) {
		evhttp_connection_set_closecb(
		    evhttp_request_get_connection(r->req), NULL, NULL);
		reader_free(r);
	}
	event_free(e->clock);
	free(e);
}

static bool
is_full(const struct events *e, uid_t uid)
{
	const struct reader *r;
	unsigned int n = 0;

	if (e->count >= EVENTS_READERS_MAX)
		return true;
	if (uid == 0 || uid == geteuid())
		return false;
	TAILQ_FOREACH (r, &e->readers, entry)
		n += r->uid == uid;
	return n >= EVENTS_USER_MAX;
}

static void
start_answer(struct reader *r, int timeout_s)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(r->req);
	const struct timeval timeout = { .tv_sec = timeout_s };

	evhttp_add_header(headers, "Content-Type", "application/x-ndjson");
	evhttp_add_header(headers, "Cache-Control", "no-store");
	/* It has nothing more to say, but it may have to take something. */
	bufferevent_set_timeouts(r->connection, NULL, &timeout);
	evhttp_connection_set_closecb(
	    evhttp_request_get_connection(r->req), reader_on_close, r);
	evhttp_send_reply_start(r->req, HTTP_OK, NULL);
}

int
events_join(struct events *e, struct evhttp_request *req, uid_t uid, bool samples,
    int timeout_s)
{
	static const struct timeval second = { 1, 0 };
	struct reader *r;

	if (is_full(e, uid))
		return HTTP_TOO_MANY;
	if ((r = calloc(1, sizeof(*r))) == NULL)
		return HTTP_INTERNAL;
	*r = (struct reader){ .events = e,
		.req = req,
		.connection = evhttp_connection_get_bufferevent(
		    evhttp_request_get_connection(req)),
		.uid = uid,
		.samples = samples };
	TAILQ_INSERT_TAIL(&e->readers, r, entry);
	e->samplers += samples;
	if (e->count++ == 0)
		event_add(e->clock, &second);
	start_answer(r, timeout_s);
	return HTTP_OK;
}

bool
events_wanted(const struct events *e)
{
	return e != NULL && e->count > 0;
}

bool
events_samples_wanted(const struct events *e)
{
	return e != NULL && e->samplers > 0;
}

/* --- Lines --- */

static double
wall_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (double)(ts.tv_sec * 1000 + ts.tv_nsec / 1000000) / 1000;
}

cJSON *
events_begin(const char *name)
{
	cJSON *line = cJSON_CreateObject();

	if (json_put_word(line, "event", name) &&
	    json_put_real(line, "time", wall_clock()))
		return line;
	cJSON_Delete(line);
	return NULL;
}

static char *
print(bool complete, cJSON *line)
{
	char *text = complete ? cJSON_PrintUnformatted(line) : NULL;

	cJSON_Delete(line);
	return text;
}

void
events_first(struct events *e, cJSON *line)
{
	char *text = print(true, line);

	reader_tell(
	    TAILQ_LAST(&e->readers, readers), text, text != NULL ? strlen(text) : 0);
	cJSON_free(text);
}

static void
tell(struct events *e, bool samplers_only, bool complete, cJSON *line)
{
	char *text = print(complete, line);
	size_t size = text != NULL ? strlen(text) : 0;
	struct reader *r;

	TAILQ_FOREACH (r, &e->readers, entry)
		if (r->samples || !samplers_only)
			reader_tell(r, text, size);
	cJSON_free(text);
}

void
events_tell(struct events *e, bool complete, cJSON *line)
{
	tell(e, false, complete, line);
}

void
events_sample(struct events *e, bool complete, cJSON *line)
{
	tell(e, true, complete, line);
}
