/* SPDX-License-Identifier: ISC */

/*
 * Memory pressure of the host.
 *
 * There are up to two sources: the trigger that budd.conf asks for, and what the service
 * manager names in the environment. A source is a descriptor in an epoll of its own, which
 * the loop watches: libevent 2.1 knows no EPOLLPRI, by which PSI speaks, and would spin on
 * a PSI file. Looking at a PSI trigger takes its event away, and the loop's own epoll has
 * looked before us: so that we were called is the event, not what epoll_wait() then says.
 *
 * After a call all sources rest for a second. What they have to say meanwhile waits in the
 * kernel, so nobody who writes a FIFO without end makes the loop spin, and the last word is
 * not lost.
 */
#include "daemon/pressure.h"

#include <errno.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "daemon/log.h"

#define DRAIN_MAX 4096 /* bytes that are read from a source at a time */

struct source {
	struct pressure *pressure;
	const char *name; /* for the log */
	int fd;           /* -1: not in use */
	int epoll;
	bool talks; /* a FIFO or socket: what can be read is the event */
	struct event *event;
};

struct pressure {
	void (*pressed)(void *arg);
	void *arg;
	struct event *rest;
	struct source sources[PRESSURE_SOURCES];
	unsigned int count; /* of sources in use */
};

static void
source_close(struct source *s)
{
	if (s->event != NULL)
		event_free(s->event);
	if (s->epoll != -1)
		close(s->epoll);
	if (s->fd != -1)
		close(s->fd);
	s->event = NULL;
	s->fd = s->epoll = -1;
}

/* --- Events --- */

static void
rest(struct pressure *p)
{
	const struct timeval second = { .tv_sec = PRESSURE_REST_S };

	for (unsigned int i = 0; i < p->count; i++)
		if (p->sources[i].fd != -1)
			event_del(p->sources[i].event);
	event_add(p->rest, &second);
}

static void
pressure_on_rested(evutil_socket_t fd, short events, void *arg)
{
	struct pressure *p = arg;

	(void)fd;
	(void)events;
	for (unsigned int i = 0; i < p->count; i++)
		if (p->sources[i].fd != -1)
			event_add(p->sources[i].event, NULL);
}

/* Takes what was said; false: the other side is gone. */
static bool
drain(int fd)
{
	char buf[DRAIN_MAX];
	ssize_t n = read(fd, buf, sizeof(buf));

	return n > 0 || (n == -1 && (errno == EAGAIN || errno == EINTR));
}

/* Whether it is still good for anything. */
static bool
source_take(struct source *s)
{
	struct epoll_event e = { 0 };

	if (epoll_wait(s->epoll, &e, 1, 0) == 1 && (e.events & EPOLLERR) != 0)
		return false;
	return !s->talks || drain(s->fd);
}

static void
source_on_readable(evutil_socket_t fd, short events, void *arg)
{
	struct source *s = arg;
	struct pressure *p = s->pressure;

	(void)fd;
	(void)events;
	if (!source_take(s)) {
		log_warn("pressure",
		    "%s: has ended, or has no trigger, and is not watched any more; "
		    "a reload tries again",
		    s->name);
		source_close(s);
		return;
	}
	rest(p);
	p->pressed(p->arg);
}

static int
source_watch(struct source *s, struct event_base *base)
{
	struct epoll_event e = { .events = s->talks ? EPOLLIN : EPOLLPRI };

	if ((s->epoll = epoll_create1(EPOLL_CLOEXEC)) == -1 ||
	    epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->fd, &e) == -1)
		return -errno;
	s->event =
	    event_new(base, s->epoll, EV_READ | EV_PERSIST, source_on_readable, s);
	if (s->event == NULL || event_add(s->event, NULL) == -1)
		return -ENOMEM;
	return 0;
}

static void
add_source(struct pressure *p, struct event_base *base, const char *name,
    struct pressure_source from)
{
	struct source *s = &p->sources[p->count];
	int r;

	*s = (struct source){ .pressure = p,
		.name = name,
		.fd = from.fd,
		.talks = from.talks,
		.epoll = -1 };
	if ((r = source_watch(s, base)) != 0) {
		log_errno("pressure", -r, "%s: cannot be watched", name);
		source_close(s);
		return;
	}
	p->count++;
}

struct pressure *
pressure_create(struct event_base *base, struct pressure_sources *sources,
    void (*pressed)(void *arg), void *arg)
{
	struct pressure *p = calloc(1, sizeof(*p));

	if (p == NULL || (p->rest = evtimer_new(base, pressure_on_rested, p)) == NULL) {
		pressure_close(sources);
		free(p);
		return NULL;
	}
	p->pressed = pressed;
	p->arg = arg;
	for (unsigned int i = 0; i < PRESSURE_SOURCES; i++)
		if (sources->of[i].fd != -1)
			add_source(p, base, pressure_names[i], sources->of[i]);
	*sources = PRESSURE_NONE;
	if (p->count > 0)
		return p;
	pressure_free(p);
	return NULL;
}

void
pressure_free(struct pressure *p)
{
	if (p == NULL)
		return;
	for (unsigned int i = 0; i < p->count; i++)
		source_close(&p->sources[i]);
	event_free(p->rest);
	free(p);
}
