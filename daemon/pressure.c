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
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "daemon/config.h"
#include "daemon/log.h"

#define PSI_FILE    "/proc/pressure/memory"
#define SOURCES     2
#define TRIGGER_MAX 256  /* bytes that are written into a source */
#define DRAIN_MAX   4096 /* ... and that are read from it at a time */

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
	struct source sources[SOURCES];
	unsigned int count; /* of sources in use */
};

/* What is written into a source, so that it knows what to tell of. */
struct trigger {
	char text[TRIGGER_MAX];
	size_t size;
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

/* --- Setting up --- */

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

static int
write_trigger(int fd, const struct trigger *t)
{
	ssize_t n;

	if (t->size == 0)
		return 0;
	n = write(fd, t->text, t->size);
	if (n == -1)
		return -errno;
	return (size_t)n == t->size ? 0 : -EIO;
}

static int
connect_to(const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd, r;

	if (strlcpy(to.sun_path, path, sizeof(to.sun_path)) >= sizeof(to.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) == -1) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

/* Also a FIFO: so it does not hang up with the last who writes it. */
static int
open_rw(const char *path)
{
	int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

	return fd != -1 ? fd : -errno;
}

/* Whatever else is a regular file, a trigger would be written over. */
static bool
is_of_the_kernel(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 &&
	       (fs.f_type == PROC_SUPER_MAGIC || fs.f_type == CGROUP2_SUPER_MAGIC);
}

static int
source_open(struct source *s, const char *path)
{
	struct stat st;
	int r;

	if (stat(path, &st) == -1)
		return -errno;
	s->talks = S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode);
	if (!s->talks && !S_ISREG(st.st_mode))
		return -ENOTSUP;
	r = S_ISSOCK(st.st_mode) ? connect_to(path) : open_rw(path);
	if (r < 0)
		return r;
	s->fd = r;
	return s->talks || is_of_the_kernel(r) ? 0 : -ENOTSUP;
}

static const char *
remedy(int error)
{
	switch (error) {
	case ENOENT:
		return "there is no such file: the kernel is without PSI (CONFIG_PSI, "
		       "psi=1), or the service hides it (ProcSubset=)";
	case EACCES:
	case EPERM:
		return "budd may not set a trigger: that takes Linux 6.5, or "
		       "CAP_SYS_RESOURCE";
	case EINVAL:
		return "the trigger is not taken: without CAP_SYS_RESOURCE the window "
		       "has to be a multiple of 2s";
	case EOPNOTSUPP: /* ENOTSUP, too */
		return "it is no PSI file, FIFO or socket, or PSI is switched off: "
		       "boot "
		       "with psi=1";
	case ECONNREFUSED:
		return "nobody listens there: start who should, then reload budd";
	default:
		return "budd goes on without; a reload tries again";
	}
}

static void
add_source(struct pressure *p, struct event_base *base, const char *name,
    const char *path, const struct trigger *trigger)
{
	struct source *s = &p->sources[p->count];
	int r;

	*s = (struct source){ .pressure = p, .name = name, .fd = -1, .epoll = -1 };
	r = source_open(s, path);
	if (r == 0)
		r = write_trigger(s->fd, trigger);
	if (r == 0)
		r = source_watch(s, base);
	if (r != 0) {
		log_warn("pressure", "%s: %s cannot be watched: %s: %s", name, path,
		    strerror(-r), remedy(-r));
		source_close(s);
		return;
	}
	log_info("pressure", "%s: watching %s", name, path);
	p->count++;
}

static void
add_own(struct pressure *p, struct event_base *base, const struct config_pressure *c)
{
	struct trigger t;

	if (!c->on)
		return;
	/* With its NUL: the kernel overwrites the last byte. */
	t.size =
	    1 + (size_t)snprintf(t.text, sizeof(t.text), "%s %" PRId64 " %" PRId64,
		    c->full ? "full" : "some", c->stall_ns / 1000, c->window_ns / 1000);
	add_source(p, base, "[host] pressure", PSI_FILE, &t);
}

/* The six bits of a digit of base64; -1: it is none. */
static int
base64_value(char digit)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrst"
				     "uvwxyz0123456789+/";
	const char *at = digit != '\0' ? strchr(digits, digit) : NULL;

	return at != NULL ? (int)(at - digits) : -1;
}

/* Four digits a group, '=' for those that the last one lacks; false: it is malformed, or
 * too long. */
static bool
base64_decode(const char *text, struct trigger *t)
{
	size_t length = strlen(text), digits = length;
	unsigned int bits = 0;

	while (digits > 0 && length - digits < 2 && text[digits - 1] == '=')
		digits--;
	if (length % 4 != 0 || length / 4 * 3 > sizeof(t->text))
		return false;
	t->size = 0;
	for (size_t i = 0; i < digits; i++) {
		int value = base64_value(text[i]);

		if (value == -1)
			return false;
		bits = bits << 6 | (unsigned int)value;
		if (i % 4 != 0)
			t->text[t->size++] = (char)(bits >> (6 - 2 * (i % 4)));
	}
	return true;
}

/* Returns -1 after a warning. */
static int
decode_trigger(const char *text, struct trigger *t)
{
	t->size = 0;
	if (text == NULL || base64_decode(text, t))
		return 0;
	log_warn("pressure",
	    "MEMORY_PRESSURE_WRITE: is no base64 of at most %d bytes: correct who "
	    "starts budd; pressure is not watched",
	    TRIGGER_MAX);
	return -1;
}

static void
add_managers(struct pressure *p, struct event_base *base)
{
	const char *path = secure_getenv("MEMORY_PRESSURE_WATCH");
	struct trigger t;

	if (path == NULL || strcmp(path, "/dev/null") == 0)
		return;
	if (path[0] != '/') {
		log_warn("pressure",
		    "MEMORY_PRESSURE_WATCH: '%s' is no absolute path: correct who "
		    "starts budd; pressure is not watched",
		    path);
		return;
	}
	if (decode_trigger(secure_getenv("MEMORY_PRESSURE_WRITE"), &t) == 0)
		add_source(p, base, "MEMORY_PRESSURE_WATCH", path, &t);
}

struct pressure *
pressure_create(struct event_base *base, const struct config_pressure *config,
    void (*pressed)(void *arg), void *arg)
{
	struct pressure *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->pressed = pressed;
	p->arg = arg;
	if ((p->rest = evtimer_new(base, pressure_on_rested, p)) == NULL) {
		free(p);
		return NULL;
	}
	add_own(p, base, config);
	add_managers(p, base);
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
