/* SPDX-License-Identifier: ISC */

/*
 * The wire: one record of a SOCK_SEQPACKET socket, with its descriptors, sent or
 * received.
 */
#ifndef PROTO_WIRE_H
#define PROTO_WIRE_H

#include <stddef.h>

#define WIRE_FDS_MAX 4u /* descriptors with one record */

#define WIRE_E_AGAIN  1 /* would wait, or the kernel is short of memory */
#define WIRE_E_CLOSED 2 /* the peer is gone, or sent an empty record */
#define WIRE_E_BAD \
	3 /* larger than the buffer, or descriptors that were not expected \
			 */
#define WIRE_E_NOFDS 4 /* we may have no more descriptors (RLIMIT_NOFILE) */

/**
 * wire_send() - send one record; does not wait, raises no SIGPIPE
 * @fds:	stay the caller's
 *
 * Return: 0, WIRE_E_AGAIN, WIRE_E_CLOSED, or a negative errno
 */
int wire_send(
    int sock, const void *msg, size_t size, const int *fds, unsigned int nfds);

/**
 * wire_recv() - receive one record; does not wait
 * @size:	room in @msg; a longer record is WIRE_E_BAD
 * @lenp:	receives the record's length
 * @fds:	room for @nfds descriptors, close-on-exec, the caller's to close; unused
 *		ones are set to -1
 * @nfds:	most descriptors that are welcome, 0..WIRE_FDS_MAX; more are closed and
 *		WIRE_E_BAD
 *
 * Return: 0, WIRE_E_AGAIN, WIRE_E_CLOSED, WIRE_E_BAD, WIRE_E_NOFDS, or a negative errno; no
 * descriptor is received unless 0 is returned. With WIRE_E_NOFDS there is all else, and what
 * came of the descriptors is closed
 */
int wire_recv(
    int sock, void *msg, size_t size, size_t *lenp, int *fds, unsigned int nfds);

/** wire_refuse_fds() - no descriptor is taken in at @sock, nor at what connects to it if it is
 * a listener: the sender gets EPERM. Linux 6.16; before, they are dropped as wire_recv() says,
 * which may take as long as their last close does (a TCP socket that lingers, say) */
void wire_refuse_fds(int sock);

/** wire_peek() - look at the beginning of the next record, and leave it where it is
 * @lenp:	receives the length of the whole record
 * Return: 0, WIRE_E_AGAIN, WIRE_E_CLOSED, or a negative errno */
int wire_peek(int sock, void *msg, size_t size, size_t *lenp);

#endif
