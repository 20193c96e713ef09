/* SPDX-License-Identifier: ISC */

/* The calls of budd that can be made to fail (ld's --wrap). */
#include "tests/faults.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static struct faults *faults;
static bool is_arbiter;

static bool
fails(enum fault_call call)
{
	uint32_t n;

	if (faults == NULL || atomic_load(&faults->call) != call ||
	    faults->in_arbiter != is_arbiter)
		return false;
	n = atomic_fetch_add(&faults->seen, 1) + 1;
	if (n != faults->nth && !(faults->for_good && n > faults->nth))
		return false;
	atomic_fetch_add(&faults->fired, 1);
	errno = faults->error;
	return true;
}

#define WRAP(type, failed, call, name, params, args)                \
	type __real_##name params;                                  \
	type __wrap_##name params;                                  \
	type __wrap_##name params                                   \
	{                                                           \
		return fails(call) ? (failed) : __real_##name args; \
	}

/* clang-format off */
WRAP(int, -1, FAULT_ACCEPT, accept4,
    (int fd, struct sockaddr *a, socklen_t *len, int flags), (fd, a, len, flags))
WRAP(void *, NULL, FAULT_CALLOC, calloc, (size_t n, size_t size), (n, size))
WRAP(void *, NULL, FAULT_CALLOC, malloc, (size_t size), (size))
WRAP(void *, NULL, FAULT_CALLOC, reallocarray, (void *p, size_t n, size_t size), (p, n, size))
WRAP(int, -1, FAULT_FALLOCATE, fallocate, (int fd, int mode, off_t at, off_t size),
    (fd, mode, at, size))
WRAP(int, -1, FAULT_FCHMOD, fchmod, (int fd, mode_t mode), (fd, mode))
WRAP(int, -1, FAULT_FTRUNCATE, ftruncate, (int fd, off_t size), (fd, size))
WRAP(int, -1, FAULT_GETSOCKOPT, getsockopt,
    (int fd, int level, int name, void *value, socklen_t *len), (fd, level, name, value, len))
WRAP(int, -1, FAULT_MADVISE, madvise, (void *p, size_t size, int advice), (p, size, advice))
WRAP(int, -1, FAULT_MEMFD, memfd_create, (const char *name, unsigned int flags), (name, flags))
WRAP(int, -1, FAULT_MLOCK, mlock2, (const void *p, size_t size, unsigned int flags),
    (p, size, flags))
WRAP(void *, MAP_FAILED, FAULT_MMAP, mmap,
    (void *p, size_t size, int prot, int flags, int fd, off_t at), (p, size, prot, flags, fd, at))
WRAP(int, -1, FAULT_POLL, poll, (struct pollfd *fds, nfds_t n, int ms), (fds, n, ms))
WRAP(ssize_t, -1, FAULT_SENDMSG, sendmsg, (int fd, const struct msghdr *h, int flags),
    (fd, h, flags))
WRAP(int, -1, FAULT_SOCKETPAIR, socketpair, (int domain, int type, int protocol, int pair[2]),
    (domain, type, protocol, pair))
/* clang-format on */

int __real_fcntl(int fd, int cmd, ...);
int __wrap_fcntl(int fd, int cmd, ...);

int
__wrap_fcntl(int fd, int cmd, ...)
{
	va_list ap;
	long arg;

	va_start(ap, cmd);
	arg = va_arg(ap, long);
	va_end(ap);
	return fails(FAULT_FCNTL) ? -1 : __real_fcntl(fd, cmd, arg);
}

ssize_t __real_recvmsg(int fd, struct msghdr *h, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *h, int flags);

/* As the kernel treats who may have no more. */
static void
lose_descriptors(struct msghdr *h)
{
	const struct cmsghdr *c = CMSG_FIRSTHDR(h);
	int fd;

	for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(fd); i++) {
		memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
		close(fd);
	}
	h->msg_controllen = 0;
	h->msg_flags |= MSG_CTRUNC;
}

ssize_t
__wrap_recvmsg(int fd, struct msghdr *h, int flags)
{
	ssize_t n = fails(FAULT_RECVMSG) ? -1 : __real_recvmsg(fd, h, flags);

	if (n > 0 && CMSG_FIRSTHDR(h) != NULL && fails(FAULT_DESCRIPTORS))
		lose_descriptors(h);
	return n;
}

pid_t __real_fork(void);
pid_t __wrap_fork(void);

/* budd forks its arbiters, and nothing else. */
pid_t
__wrap_fork(void)
{
	pid_t pid = fails(FAULT_FORK) ? -1 : __real_fork();

	is_arbiter = is_arbiter || pid == 0;
	return pid;
}

static void __attribute__((constructor)) share(void)
{
	const char *path = getenv(FAULTS_ENV);
	int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *p;

	if (fd == -1)
		_exit(126); /* a budd to be found fault with, and nobody to do it */
	p = __real_mmap(
	    NULL, sizeof(*faults), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	faults = p != MAP_FAILED ? p : NULL;
}
