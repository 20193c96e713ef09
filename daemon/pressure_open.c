/* SPDX-License-Identifier: ISC */

/* Where memory pressure is told of: files and sockets, opened and given their triggers. Not
 * the arbiter's work, which may open nothing to write. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "daemon/config.h"
#include "daemon/log.h"
#include "daemon/pressure.h"

#define PSI_FILE    "/proc/pressure/memory"
#define TRIGGER_MAX 256 /* bytes that are written into a source */

/* What is written into a source, so that it knows what to tell of. */
struct trigger {
	char text[TRIGGER_MAX];
	size_t size;
};

const char *const pressure_names[PRESSURE_SOURCES] = {
	[PRESSURE_OWN] = "[host] pressure",
	[PRESSURE_MANAGERS] = "MEMORY_PRESSURE_WATCH",
};

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
source_open(struct pressure_source *s, const char *path)
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
open_source(struct pressure_sources *all, unsigned int i, const char *path,
    const struct trigger *trigger)
{
	struct pressure_source s = { .fd = -1 };
	int r = source_open(&s, path);

	if (r == 0)
		r = write_trigger(s.fd, trigger);
	if (r == 0) {
		log_info("pressure", "%s: watching %s", pressure_names[i], path);
		all->of[i] = s;
		return;
	}
	log_warn("pressure", "%s: %s cannot be watched: %s: %s", pressure_names[i],
	    path, strerror(-r), remedy(-r));
	if (s.fd != -1)
		close(s.fd);
}

static void
open_own(struct pressure_sources *all, const struct config_pressure *c)
{
	struct trigger t;

	if (!c->on)
		return;
	/* With its NUL: the kernel overwrites the last byte. */
	t.size =
	    1 + (size_t)snprintf(t.text, sizeof(t.text), "%s %" PRId64 " %" PRId64,
		    c->full ? "full" : "some", c->stall_ns / 1000, c->window_ns / 1000);
	open_source(all, PRESSURE_OWN, PSI_FILE, &t);
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
open_managers(struct pressure_sources *all)
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
		open_source(all, PRESSURE_MANAGERS, path, &t);
}

void
pressure_open(struct pressure_sources *all, const struct config_pressure *config)
{
	*all = PRESSURE_NONE;
	open_own(all, config);
	open_managers(all);
}

void
pressure_close(struct pressure_sources *all)
{
	for (unsigned int i = 0; i < PRESSURE_SOURCES; i++)
		if (all->of[i].fd != -1)
			close(all->of[i].fd);
	*all = PRESSURE_NONE;
}
