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

#include <stdbool.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include <event2/bufferevent.h>

struct seat {
	TAILQ_ENTRY(seat) entry;
	struct bufferevent *connection;
	bool cut;
};

struct seats {
	TAILQ_HEAD(, seat) list; /* oldest first */
};

struct seats *
seats_create(void)
{
	struct seats *s = calloc(1, sizeof(*s));

	if (s != NULL)
		TAILQ_INIT(&s->list);
	return s;
}

static bool
is_done(const struct seat *seat)
{
	bufferevent_event_cb on_event;

	bufferevent_getcb(seat->connection, NULL, NULL, &on_event, NULL);
	return on_event == NULL;
}

static void
give(struct seats *s, struct seat *seat)
{
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
		if (seat->cut)
			continue;
		shutdown(bufferevent_getfd(seat->connection), SHUT_RDWR);
		seat->cut = true;
		return;
	}
}

struct bufferevent *
seats_take(struct seats *s, struct event_base *base)
{
	struct seat *seat = calloc(1, sizeof(*seat));

	if (seat == NULL)
		return NULL;
	if (sweep(s) >= SEATS_MAX)
		cut_oldest(s);
	seat->connection = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
	if (seat->connection == NULL) {
		free(seat);
		return NULL;
	}
	bufferevent_incref(seat->connection);
	TAILQ_INSERT_TAIL(&s->list, seat, entry);
	return seat->connection;
}

void
seats_free(struct seats *s)
{
	if (s == NULL)
		return;
	while (!TAILQ_EMPTY(&s->list))
		give(s, TAILQ_FIRST(&s->list));
	free(s);
}
