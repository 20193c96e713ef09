/* SPDX-License-Identifier: ISC */

/* A UNIX socket that budd listens on: whose is the path, and how does one get it? */
#include "daemon/listener.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libutil.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log.h"
#include "proto/wire.h"

#define TOKEN     "listener"
#define SUFFIX    ".sock"
#define ELSEWHERE "name another socket with -s PATH"
#define PID_MODE  0644
#define BIND_MASK 0177 /* until chmod() the socket is ours alone */

#define PROBE_FREE  1 /* nothing is there */
#define PROBE_STALE 2 /* a socket that nobody listens on */

struct pid_path {
	char s[LISTENER_PATH_MAX + sizeof(".pid")];
};

static int refuse(char *why, size_t why_size, int error, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Tells people why, and the caller @error. */
static int
refuse(char *why, size_t why_size, int error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, why_size, fmt, ap);
	va_end(ap);
	return error;
}

static int
check_length(const char *path, char *why, size_t why_size)
{
	size_t len = strlen(path);

	if (len == 0)
		return refuse(why, why_size, -EINVAL,
		    "the path of the socket is empty: " ELSEWHERE);
	if (len > LISTENER_PATH_MAX)
		return refuse(why, why_size, -ENAMETOOLONG,
		    "the path of the socket has %zu bytes, at most %zu fit: " ELSEWHERE,
		    len, LISTENER_PATH_MAX);
	return 0;
}

/* @path: checked. */
static void
directory_of(const char *path, char *dir, size_t size)
{
	char *slash;

	strlcpy(dir, path, size);
	slash = strrchr(dir, '/');
	if (slash == NULL)
		strlcpy(dir, ".", size);
	else
		slash[slash == dir] = '\0'; /* "/x" is in "/" */
}

/* Something could not be made or seen at @path: the directory's fault, as a rule. */
static int
refuse_path(char *why, size_t why_size, int error, const char *path)
{
	char dir[LISTENER_PATH_MAX + 1];

	directory_of(path, dir, sizeof(dir));
	if (error == ENOENT)
		return refuse(why, why_size, -error,
		    "the directory %s does not exist: create it, or " ELSEWHERE, dir);
	if (error == ENOTDIR)
		return refuse(why, why_size, -error,
		    "%s is no directory: create it, or " ELSEWHERE, dir);
	if (error == EACCES || error == EPERM || error == EROFS)
		return refuse(why, why_size, -error,
		    "the directory %s is not writable for uid %u (%s): change it, "
		    "or " ELSEWHERE,
		    dir, (unsigned int)geteuid(), strerror(error));
	return refuse(why, why_size, -error, "%s: %s", path, strerror(error));
}

/* The lock. */

static struct pid_path
pid_path(const char *path)
{
	size_t len = strlen(path), suffix = strlen(SUFFIX);
	struct pid_path p;

	if (len > suffix && strcmp(path + len - suffix, SUFFIX) == 0)
		len -= suffix;
	snprintf(p.s, sizeof(p.s), "%.*s.pid", (int)len, path);
	return p;
}

static int
refuse_locked(char *why, size_t why_size, const char *lock, pid_t pid)
{
	if (pid <= 0) /* it has locked the file, and not written into it yet */
		return refuse(why, why_size, -EEXIST,
		    "another budd is starting, and holds %s: stop it, or " ELSEWHERE,
		    lock);
	return refuse(why, why_size, -EEXIST,
	    "another budd, pid %ld, holds %s: stop it, or " ELSEWHERE, (long)pid, lock);
}

/* In a directory that others may write to as well it can be another user's. */
static int
refuse_lock_file(char *why, size_t why_size, int error, const char *lock)
{
	struct stat st;

	if (lstat(lock, &st) == -1)
		return refuse_path(why, why_size, error, lock);
	return refuse(why, why_size, -error, "%s: %s: remove it, or " ELSEWHERE, lock,
	    strerror(error));
}

int
listener_lock(struct listener *l, const char *path, char *why, size_t why_size)
{
	struct pid_path lock;
	pid_t pid = -1;
	int r;

	assert(l->lock == NULL);
	r = check_length(path, why, why_size);
	if (r != 0)
		return r;
	lock = pid_path(path);
	l->lock = pidfile_open(lock.s, PID_MODE, &pid);
	if (l->lock == NULL &&
	    (errno == EEXIST || errno == EINVAL)) /* no number in it */
		return refuse_locked(why, why_size, lock.s, pid);
	if (l->lock == NULL)
		return refuse_lock_file(why, why_size, errno, lock.s);
	if (pidfile_write(l->lock) == -1) {
		r = refuse(why, why_size, -errno, "%s: %s", lock.s, strerror(errno));
		pidfile_remove(l->lock);
		l->lock = NULL;
		return r;
	}
	return 0;
}

void
listener_write_pid(struct listener *l)
{
	if (l->lock != NULL && pidfile_write(l->lock) == -1)
		log_errno("listener", errno, "cannot write our pid");
}

/* The path. */

static struct sockaddr_un
address(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	strlcpy(a.sun_path, path, sizeof(a.sun_path));
	return a;
}

static int
new_socket(int type)
{
	return socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* 0 and EAGAIN, a full backlog, are a living budd; EPROTOTYPE is somebody's, too. */
static int
probe_connect(const char *path, int type)
{
	struct sockaddr_un a = address(path);
	int fd = new_socket(type);
	int error = 0;

	if (fd == -1)
		return -errno;
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == -1)
		error = errno;
	close(fd);
	switch (error) {
	case 0:
	case EAGAIN:
	case EPROTOTYPE:
		return -EADDRINUSE;
	case ECONNREFUSED:
		return PROBE_STALE;
	case ENOENT: /* it went away since */
		return PROBE_FREE;
	}
	return -error;
}

/* 0: there is nothing at @path any more. */
static int
clear_path(const char *path, int type, char *why, size_t why_size)
{
	struct stat st;
	int r;

	if (lstat(path, &st) == -1)
		return errno == ENOENT ? 0 : refuse_path(why, why_size, errno, path);
	if (!S_ISSOCK(st.st_mode))
		return refuse(why, why_size, -EEXIST,
		    "%s exists and is no socket: remove it, or " ELSEWHERE, path);
	r = probe_connect(path, type);
	if (r == PROBE_FREE)
		return 0;
	if (r == -EADDRINUSE)
		return refuse(why, why_size, r,
		    "another budd answers at %s: stop it, or " ELSEWHERE, path);
	if (r != PROBE_STALE)
		return refuse(why, why_size, r,
		    "who listens at %s cannot be found out: %s: remove it if nobody "
		    "does",
		    path, strerror(-r));
	if (unlink(path) == -1 && errno != ENOENT)
		return refuse_path(why, why_size, errno, path);
	log_info(TOKEN, "%s: removed, nobody listened there any more", path);
	return 0;
}

static int
bind_privately(int fd, const char *path)
{
	struct sockaddr_un a = address(path);
	mode_t mask = umask(BIND_MASK);
	int r = 0;

	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) == -1)
		r = -errno;
	umask(mask);
	return r;
}

/* From bound to listening. Whoever finds the right mode finds a listener. */
static int
start(int fd, const char *path, mode_t mode, struct stat *st)
{
	if (lstat(path, st) == -1 || listen(fd, LISTENER_BACKLOG) == -1 ||
	    chmod(path, mode) == -1)
		return -errno;
	return 0;
}

int
listener_open(struct listener *l, const char *path, int type, mode_t mode, char *why,
    size_t why_size)
{
	struct stat st;
	int fd, r;

	assert(l->fd == -1);
	r = check_length(path, why, why_size);
	if (r == 0)
		r = clear_path(path, type, why, why_size);
	if (r != 0)
		return r;
	fd = new_socket(type);
	if (fd == -1)
		return refuse(why, why_size, -errno, "no socket for %s: %s", path,
		    strerror(errno));
	r = bind_privately(fd, path);
	if (r != 0) {
		close(fd);
		return refuse_path(why, why_size, -r, path);
	}
	r = start(fd, path, mode, &st);
	if (r != 0) {
		unlink(path);
		close(fd);
		return refuse(why, why_size, r, "%s: %s", path, strerror(-r));
	}
	wire_refuse_fds(fd);
	l->fd = fd;
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	strlcpy(l->path, path, sizeof(l->path));
	return 0;
}

static int
socket_option(int fd, int name)
{
	int value;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) == 0 ? value : -1;
}

int
listener_adopt(struct listener *l, int fd, int type, char *why, size_t why_size)
{
	int flags = fcntl(fd, F_GETFL);

	assert(l->fd == -1);
	if (flags == -1 || socket_option(fd, SO_DOMAIN) != AF_UNIX ||
	    socket_option(fd, SO_TYPE) != type || socket_option(fd, SO_ACCEPTCONN) != 1)
		return refuse(why, why_size, -EPROTOTYPE,
		    "the service manager passed a descriptor that is no listening "
		    "UNIX socket of type %s: look at the .socket units",
		    type == SOCK_SEQPACKET ? "SEQPACKET" : "STREAM");
	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	wire_refuse_fds(fd);
	l->fd = fd;
	l->path[0] = '\0';
	return 0;
}

/* Only while the socket is open: it keeps its inode's number from being used again. */
static bool
path_is_ours(const struct listener *l)
{
	struct stat st;

	return lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino;
}

void
listener_close(struct listener *l)
{
	if (l->fd != -1) {
		if (path_is_ours(l))
			unlink(l->path);
		close(l->fd);
	}
	if (l->lock != NULL)
		pidfile_remove(
		    l->lock); /* last: who gets the lock finds the path free */
	*l = LISTENER_EMPTY;
}
