/* SPDX-License-Identifier: ISC */

/*
 * A UNIX socket that budd listens on, and the lock that makes it the only one.
 *
 * A path is bound in steps (look, unlink what is stale, bind), and two budds that start
 * at the same time could each take the other's new socket for a stale one. So whoever
 * wants a path takes its lock first, and keeps it for life: listener_lock(), then
 * listener_open(). The status socket needs no lock of its own, since budd opens it
 * under that of the clients' socket.
 *
 * All of it belongs to the process that called. A forked child must not
 * listener_close(): it closes its copies, and leaves the names alone.
 */
#ifndef DAEMON_LISTENER_H
#define DAEMON_LISTENER_H

#include <stddef.h>
#include <sys/types.h>
#include <sys/un.h>

#define LISTENER_PATH_MAX (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)
#define LISTENER_BACKLOG  512
#define LISTENER_EMPTY    ((struct listener){ .fd = -1 })

struct pidfh;

struct listener {
	int fd;    /* -1: not open */
	dev_t dev; /* of the socket that we bound, to know it again */
	ino_t ino;
	char path[LISTENER_PATH_MAX + 1];
	struct pidfh *lock; /* NULL: none */
};

/**
 * listener_lock() - become the only budd at @path
 * @l:		LISTENER_EMPTY
 * @path:	of the socket; the lock is "PATH.pid", without PATH's ".sock"
 * @why:	receives a sentence for people on failure
 *
 * Writes our pid into the file; a lock outlives a fork, see listener_write_pid(). May
 * wait for 0.1 s for a holder to write its own.
 *
 * Return: 0; -EEXIST: held by a live process; or what open(2) says
 */
int listener_lock(struct listener *l, const char *path, char *why, size_t why_size);

/** listener_write_pid() - the lock is now held by this process: after daemon(3) */
void listener_write_pid(struct listener *l);

/**
 * listener_open() - listen on a new socket at @path
 * @l:		LISTENER_EMPTY, or locked
 * @type:	SOCK_SEQPACKET or SOCK_STREAM
 * @mode:	of the socket's file; nobody else can connect before it is set
 * @why:	receives a sentence for people on failure
 *
 * A socket that nobody listens on any more is unlinked, and logged. The descriptor does
 * not block and closes on exec. Not for a time when other threads create files: it sets
 * the umask for a moment.
 *
 * Return: 0; -ENAMETOOLONG; -EADDRINUSE: somebody answers there; -EEXIST: the path is
 * something other than a socket; or another negative errno. On failure @l is as before.
 */
int listener_open(struct listener *l, const char *path, int type, mode_t mode,
    char *why, size_t why_size);

/**
 * listener_adopt() - take a listening socket that the service manager made
 * @l:		LISTENER_EMPTY; no lock is needed, since the manager starts one of us
 * @fd:		becomes the listener's on success only; it is made non-blocking
 *
 * Return: 0, or -EPROTOTYPE: it is none of @type that listens
 */
int listener_adopt(struct listener *l, int fd, int type, char *why, size_t why_size);

/** listener_close() - close it, unlink the path if it is still our socket, and then the
 * lock. Fine on an empty one, and a second time. */
void listener_close(struct listener *l);

#endif
