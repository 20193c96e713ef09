/* SPDX-License-Identifier: ISC */

/* The wire: one record and its descriptors. */
#include "proto/wire.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(WIRE_FDS_MAX * sizeof(int))];
};

/* A kernel that is short of memory, or of room for descriptors under way, has it again by and
 * by; the message is not lost meanwhile, and whoever waits to send looks again. */
static int
wire_error(int error)
{
	if (error == EAGAIN || error == EWOULDBLOCK || error == ENOBUFS ||
	    error == ENOMEM || error == ETOOMANYREFS)
		return WIRE_E_AGAIN;
	if (error == EPIPE || error == ECONNRESET || error == ENOTCONN)
		return WIRE_E_CLOSED;
	return -error;
}

int
wire_send(int sock, const void *msg, size_t size, const int *fds, unsigned int nfds)
{
	union control control;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)msg, .iov_len = size };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;
	ssize_t n;

	assert(nfds <= WIRE_FDS_MAX);
	if (nfds > 0) {
		memset(&control, 0, sizeof(control));
		h.msg_control = control.bytes;
		h.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
	}
	do
		n = sendmsg(sock, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n == -1 && errno == EINTR);
	return n == -1 ? wire_error(errno) : 0;
}

/* Collects what came into @fds; closes what there is no room for. The kernel says MSG_CTRUNC if
 * more were sent than @control holds, and also if we may not have as many. */
static int
take_fds(struct msghdr *h, int *fds, unsigned int nfds)
{
	bool truncated = (h->msg_flags & MSG_CTRUNC) != 0, unasked = false;
	unsigned int got = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL; c = CMSG_NXTHDR(h, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (got < nfds) {
				fds[got++] = fd;
			} else {
				close(fd);
				unasked = true;
			}
		}
	}
	if (unasked || (truncated && (nfds == 0 || got == WIRE_FDS_MAX)))
		return WIRE_E_BAD;
	return truncated ? WIRE_E_NOFDS : 0;
}

static void
drop_fds(int *fds, unsigned int nfds)
{
	for (unsigned int i = 0; i < nfds; i++) {
		if (fds[i] != -1)
			close(fds[i]);
		fds[i] = -1;
	}
}

int
wire_recv(int sock, void *msg, size_t size, size_t *lenp, int *fds, unsigned int nfds)
{
	union control control;
	struct iovec iov = { .iov_base = msg, .iov_len = size };
	struct msghdr h = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = nfds > 0 ? control.bytes : NULL,
		.msg_controllen = nfds > 0 ? sizeof(control.bytes) : 0 };
	ssize_t n;
	int r;

	assert(nfds <= WIRE_FDS_MAX);
	for (unsigned int i = 0; i < nfds; i++)
		fds[i] = -1;
	/* ECONNRESET comes once, when the peer closed with unread messages of ours; and
	 * before what it had sent, which may be a CLOSE or a REFUSE. */
	do
		n = recvmsg(sock, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n == -1 && (errno == EINTR || errno == ECONNRESET));
	if (n == -1)
		return wire_error(errno);
	r = take_fds(&h, fds, nfds);
	if ((h.msg_flags & MSG_TRUNC) != 0)
		r = WIRE_E_BAD;
	if (n == 0)
		r = r == 0 ? WIRE_E_CLOSED : WIRE_E_BAD;
	if (r != 0)
		drop_fds(fds, nfds);
	if (r == 0 || r == WIRE_E_NOFDS)
		*lenp = (size_t)n;
	return r;
}

void
wire_refuse_fds(int sock)
{
#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif
	int pass = 0;

	setsockopt(sock, SOL_SOCKET, SO_PASSRIGHTS, &pass, sizeof(pass));
}

int
wire_peek(int sock, void *msg, size_t size, size_t *lenp)
{
	ssize_t n;

	do
		n = recv(sock, msg, size, MSG_DONTWAIT | MSG_PEEK | MSG_TRUNC);
	while (n == -1 && (errno == EINTR || errno == ECONNRESET));
	if (n <= 0)
		return n == 0 ? WIRE_E_CLOSED : wire_error(errno);
	*lenp = (size_t)n;
	return 0;
}
