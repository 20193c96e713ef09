/* SPDX-License-Identifier: ISC */

/*
 * The connections of the status socket.
 *
 * evhttp bounds neither how many there are nor tells when one ends. But it asks us for
 * each one's bufferevent, and we keep a reference: bufferevent_free() takes its callbacks
 * away, which tells that evhttp is done with it, and our reference goes when the next
 * connection comes. Its descriptor, shut down by evhttp, is closed then, and not before:
 * closed earlier, its number could be reused while libevent still watches it.
 *
 * A connection is cut by shutting it down; evhttp reads the end of it and lets go.
 */
#include "daemon/seats.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

#include "daemon/log.h"

struct seat {
	TAILQ_ENTRY(seat) entry;
	struct bufferevent *connection;
	bool cut;
	bool kept;
};

/* What may wait to be read of one: a request as large as it may be, and some of the next. */
#define INPUT_MAX 131072u

#define ACCEPTS_A_TURN 8 /* of the loop, before it is a client's turn again */

struct seats {
	struct evconnlistener *listener;
	struct event *next_turn;
	unsigned int taken;      /* in this turn */
	bool is_short;           /* the latest accept() failed */
	TAILQ_HEAD(, seat) list; /* oldest first */
};

/* Of this process. libevent tells of a failed accept() with evhttp's argument, not ours. */
static struct seats *watching;

struct seats *
seats_create(void)
{
	struct seats *s = calloc(1, sizeof(*s));

	if (s != NULL)
		TAILQ_INIT(&s->list);
	return s;
}

/* There is no descriptor for it, as a rule. It waits where it is; the loop would ask again at
 * once, for ever. */
static void
seats_on_no_connection(struct evconnlistener *listener, void *evhttp)
{
	static const struct timeval pause = { 1, 0 };
	struct seats *s = watching;

	(void)evhttp;
	if (!s->is_short)
		log_errno("status", errno,
		    "cannot accept a connection; trying again each second");
	s->is_short = true;
	evconnlistener_disable(listener);
	event_add(s->next_turn, &pause);
}

/* A listener of libevent's accepts while there is anybody; who connects fast enough would
 * keep it there. */
static void
seats_on_next_turn(evutil_socket_t fd, short events, void *arg)
{
	struct seats *s = arg;

	(void)fd;
	(void)events;
	s->taken = 0;
	evconnlistener_enable(s->listener);
}

int
seats_watch(struct seats *s, struct event_base *base, struct evconnlistener *listener)
{
	s->listener = listener;
	s->next_turn = evtimer_new(base, seats_on_next_turn, s);
	if (s->next_turn == NULL)
		return -1;
	watching = s;
	evconnlistener_set_error_cb(listener, seats_on_no_connection);
	return 0;
}

static void
count_taken(struct seats *s)
{
	static const struct timeval at_once = { 0, 0 };

	s->is_short = false;
	if (s->taken++ == 0)
		event_add(s->next_turn, &at_once);
	if (s->taken == ACCEPTS_A_TURN)
		evconnlistener_disable(s->listener);
}

static bool
is_done(const struct seat *seat)
{
	bufferevent_event_cb on_event;

	bufferevent_getcb(seat->connection, NULL, NULL, &on_event, NULL);
	return on_event == NULL;
}

static void
cut(struct seat *seat)
{
	shutdown(bufferevent_getfd(seat->connection), SHUT_RDWR);
	seat->cut = true;
}

/* While it answers, evhttp reads on, and looks at nothing. */
static void
seat_on_input(struct evbuffer *input, const struct evbuffer_cb_info *info, void *arg)
{
	struct seat *seat = arg;

	(void)info;
	if (evbuffer_get_length(input) > INPUT_MAX && !seat->cut)
		cut(seat);
}

static void
give(struct seats *s, struct seat *seat)
{
	evbuffer_remove_cb(
	    bufferevent_get_input(seat->connection), seat_on_input, seat);
	TAILQ_REMOVE(&s->list, seat, entry);
	bufferevent_decref(seat->connection);
	free(seat);
}

/* Returns how many connections are left, those that were cut not counted. */
static unsigned int
sweep(struct seats *s)
{
	struct seat *seat, *next;
	unsigned int n = 0;

	TAILQ_FOREACH_SAFE (seat, &s->list, entry, next) {
		if (is_done(seat))
			give(s, seat);
		else if (!seat->cut)
			n++;
	}
	return n;
}

static void
cut_oldest(struct seats *s)
{
	struct seat *seat;

	TAILQ_FOREACH (seat, &s->list, entry) {
		if (seat->cut || seat->kept)
			continue;
		cut(seat);
		return;
	}
}

struct bufferevent *
seats_take(struct seats *s, struct event_base *base)
{
	struct seat *seat = calloc(1, sizeof(*seat));

	if (seat == NULL)
		return NULL;
	count_taken(s);
	if (sweep(s) >= SEATS_MAX)
		cut_oldest(s);
	seat->connection = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
	if (seat->connection == NULL ||
	    evbuffer_add_cb(
		bufferevent_get_input(seat->connection), seat_on_input, seat) == NULL) {
		if (seat->connection != NULL)
			bufferevent_free(seat->connection);
		free(seat);
		return NULL;
	}
	bufferevent_incref(seat->connection);
	TAILQ_INSERT_TAIL(&s->list, seat, entry);
	return seat->connection;
}

void
seats_keep(struct seats *s, const struct bufferevent *connection)
{
	struct seat *seat;

	TAILQ_FOREACH (seat, &s->list, entry)
		if (seat->connection == connection)
			seat->kept = true;
}

void
seats_free(struct seats *s)
{
	if (s == NULL)
		return;
	if (s->next_turn != NULL)
		event_free(s->next_turn);
	while (!TAILQ_EMPTY(&s->list))
		give(s, TAILQ_FIRST(&s->list));
	free(s);
}
