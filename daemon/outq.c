/* SPDX-License-Identifier: ISC */

/* Messages on their way out of a socket that may be full. */
#include "daemon/outq.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "proto/wire.h"

struct kept {
	STAILQ_ENTRY(kept) entry;
	size_t size;
	char msg[];
};

struct outq {
	int sock;
	size_t most;
	size_t length;
	STAILQ_HEAD(, kept) kept;
	struct event *on_writable;
};

static void
drop_first(struct outq *q)
{
	struct kept *k = STAILQ_FIRST(&q->kept);

	STAILQ_REMOVE_HEAD(&q->kept, entry);
	q->length--;
	free(k);
}

/* A peer that is gone shows on the reading side too, which is where it is dealt with. */
static void
outq_on_writable(evutil_socket_t fd, short events, void *arg)
{
	struct outq *q = arg;
	struct kept *k;
	int r = 0;

	(void)fd;
	(void)events;
	while ((k = STAILQ_FIRST(&q->kept)) != NULL) {
		if ((r = wire_send(q->sock, k->msg, k->size, NULL, 0)) == WIRE_E_AGAIN)
			break;
		drop_first(q);
	}
	if (k != NULL)
		event_add(q->on_writable, NULL);
}

struct outq *
outq_create(struct event_base *base, int sock, size_t most)
{
	struct outq *q = calloc(1, sizeof(*q));

	if (q == NULL)
		return NULL;
	q->sock = sock;
	q->most = most;
	STAILQ_INIT(&q->kept);
	q->on_writable = event_new(base, sock, EV_WRITE, outq_on_writable, q);
	if (q->on_writable == NULL) {
		free(q);
		return NULL;
	}
	return q;
}

void
outq_free(struct outq *q)
{
	if (q == NULL)
		return;
	while (!STAILQ_EMPTY(&q->kept))
		drop_first(q);
	event_free(q->on_writable);
	free(q);
}

static int
keep(struct outq *q, const void *msg, size_t size)
{
	struct kept *k;

	if (q->length == q->most)
		return OUTQ_E_FULL;
	if ((k = malloc(sizeof(*k) + size)) == NULL)
		return -ENOMEM;
	k->size = size;
	memcpy(k->msg, msg, size);
	STAILQ_INSERT_TAIL(&q->kept, k, entry);
	q->length++;
	event_add(q->on_writable, NULL);
	return 0;
}

int
outq_send(struct outq *q, const void *msg, size_t size)
{
	int r = WIRE_E_AGAIN;

	if (STAILQ_EMPTY(&q->kept))
		r = wire_send(q->sock, msg, size, NULL, 0);
	if (r == WIRE_E_AGAIN)
		return keep(q, msg, size);
	return r == WIRE_E_CLOSED ? -EPIPE : r;
}
