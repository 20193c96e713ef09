/* SPDX-License-Identifier: ISC */

/*
 * A pool in a libevent loop; on libbud's public calls alone.
 *
 * libevent tells nobody that a bufferevent was freed. But bufferevent_free() takes its
 * callbacks away, and one that somebody has a reference to stays as it is then. So a request
 * holds a reference, and looks: when it is granted, and every few milliseconds while
 * anything waits for a bufferevent.
 *
 * A request is a record of ours, freed when its callback has come from libbud, which it does
 * also after bud_cancel(); `granted` is NULL by then if nobody is to be told.
 */
#include "bud-event.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <unistd.h>

struct bud_event_request {
	LIST_ENTRY(bud_event_request) entry;
	struct bud_event *event; /* NULL: not in its list any more */
	struct bud_pool *pool;
	struct bufferevent *bev; /* a reference; NULL: none */
	struct bud_request *request;
	bud_granted_fn *granted; /* NULL: cancelled */
	void *arg;
};

struct bud_event {
	struct bud_pool *pool;
	struct event *readable; /* bud_fd() */
	struct event *notice;   /* runs while a request has a bufferevent */
	size_t lent;            /* buffers that lie in evbuffers */
	LIST_HEAD(, bud_event_request) requests;
};

/* --- The loop --- */

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct bud_event *e = arg;

	(void)fd;
	(void)what;
	/* A callback may have closed @e; only a child of fork(), where none runs, gets an
	 * error, which would come again and again. */
	if (bud_dispatch(e->pool) < 0)
		event_del(e->readable);
}

static bool
was_freed(struct bufferevent *bev)
{
	bufferevent_data_cb readable, writable;
	bufferevent_event_cb event;
	void *arg;

	bufferevent_getcb(bev, &readable, &writable, &event, &arg);
	return readable == NULL && writable == NULL && event == NULL;
}

static void
watch_bufferevents(struct bud_event *e)
{
	const struct timeval tv = { .tv_usec = BUD_EVENT_NOTICE_MS * 1000 };

	if (!event_pending(e->notice, EV_TIMEOUT, NULL))
		event_add(e->notice, &tv);
}

static void
on_notice(evutil_socket_t fd, short what, void *arg)
{
	struct bud_event *e = arg;
	struct bud_event_request *r, *next;
	bool waiting = false;

	(void)fd;
	(void)what;
	for (r = LIST_FIRST(&e->requests); r != NULL; r = next) {
		next = LIST_NEXT(r, entry);
		if (r->bev != NULL && was_freed(r->bev))
			bud_event_cancel(r);
		else
			waiting |= r->bev != NULL;
	}
	if (waiting)
		watch_bufferevents(e);
}

static void
event_free_all(struct bud_event *e)
{
	if (e->readable != NULL)
		event_free(e->readable);
	if (e->notice != NULL)
		event_free(e->notice);
	free(e);
}

int
bud_event_open(
    struct bud_event **eventp, struct bud_pool *pool, struct event_base *base)
{
	struct bud_event *e;
	int fd = bud_fd(pool);

	if (fd < 0)
		return fd;
	if ((e = calloc(1, sizeof(*e))) == NULL)
		return -ENOMEM;
	e->pool = pool;
	LIST_INIT(&e->requests);
	e->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, e);
	e->notice = evtimer_new(base, on_notice, e);
	if (e->readable == NULL || e->notice == NULL ||
	    event_add(e->readable, NULL) == -1) {
		event_free_all(e);
		return -ENOMEM;
	}
	*eventp = e;
	return 0;
}

int
bud_event_close(struct bud_event *e)
{
	struct bud_event_request *r;

	if (e == NULL)
		return 0;
	if (e->lent > 0)
		return -EBUSY;
	while ((r = LIST_FIRST(&e->requests)) != NULL)
		bud_event_cancel(r);
	event_free_all(e);
	return 0;
}

/* --- evbuffers --- */

static void
on_drained(const void *data, size_t len, void *arg)
{
	struct bud_event *e = arg;

	(void)len;
	e->lent--;
	bud_free(
	    e->pool, (void *)(uintptr_t)data); /* casts const away: it is ours again */
}

int
bud_event_add(struct bud_event *e, struct evbuffer *out, void *buf, size_t len)
{
	if (len == 0)
		return -EINVAL; /* nothing would ever be drained */
	if (evbuffer_add_reference(out, buf, len, on_drained, e) == -1)
		return -ENOMEM;
	e->lent++;
	return 0;
}

/* Bytes that have come; when there are none, 1: to learn whether more will. */
static size_t
what_has_come(evutil_socket_t fd, size_t max)
{
	int n = 0;

	if (ioctl(fd, FIONREAD, &n) == -1 || n <= 0)
		return 1;
	return (size_t)n < max ? (size_t)n : max;
}

ssize_t
bud_event_read(struct bud_event *e, struct evbuffer *in, evutil_socket_t fd, size_t max)
{
	ssize_t n;
	void *buf;
	int error;

	if (max == 0)
		return -EINVAL;
	buf = bud_alloc(e->pool, what_has_come(fd, max), 0);
	if (buf == NULL)
		return errno == EAGAIN ? -ENOBUFS : -errno;
	/* No more than was looked for: the buffer is as large as that, but rounded. */
	do
		n = read(fd, buf,
		    bud_usable_size(e->pool, buf) < max ? bud_usable_size(e->pool, buf)
							: max);
	while (n == -1 && errno == EINTR);
	error = n == -1 ? errno : 0;
	if (n > 0 && bud_event_add(e, in, buf, (size_t)n) == 0)
		return n;
	bud_free(e->pool, buf);
	return n > 0 ? -ENOMEM : -error;
}

/* --- Requests --- */

static void
leave_list(struct bud_event_request *r)
{
	if (r->event != NULL)
		LIST_REMOVE(r, entry);
	r->event = NULL;
	if (r->bev != NULL)
		bufferevent_decref(r->bev);
	r->bev = NULL;
}

static void
on_granted(void *buf, int error, void *arg)
{
	struct bud_event_request *r = arg;
	struct bud_pool *pool = r->pool;
	bud_granted_fn *granted = r->granted;
	void *to = r->arg;

	if (r->bev != NULL && was_freed(r->bev))
		granted = NULL;
	leave_list(r);
	free(r);
	if (granted != NULL)
		granted(buf, error, to);
	else
		bud_free(pool, buf);
}

int
bud_event_request(struct bud_event *e, struct bufferevent *bev, size_t size,
    int timeout_ms, bud_granted_fn *granted, void *arg,
    struct bud_event_request **requestp)
{
	struct bud_event_request *r;
	int error;

	if (granted == NULL || (bev != NULL && was_freed(bev)))
		return -EINVAL;
	if ((r = calloc(1, sizeof(*r))) == NULL)
		return -ENOMEM;
	r->pool = e->pool;
	r->granted = granted;
	r->arg = arg;
	error = bud_request(e->pool, size, timeout_ms, 0, on_granted, r, &r->request);
	if (error != 0) {
		free(r);
		return error;
	}
	r->event = e;
	LIST_INSERT_HEAD(&e->requests, r, entry);
	if (bev != NULL) {
		bufferevent_incref(bev);
		r->bev = bev;
		watch_bufferevents(e);
	}
	if (requestp != NULL)
		*requestp = r;
	return 0;
}

void
bud_event_cancel(struct bud_event_request *r)
{
	if (r == NULL)
		return;
	r->granted = NULL;
	leave_list(r);
	if (bud_cancel(r->request) == -EINVAL)
		free(r); /* in a child of fork() no callback comes */
}
