/* SPDX-License-Identifier: ISC */

/*
 * Messages on their way out of a socket that may be full: sent at once where that works,
 * else kept in order, up to a bound, until the socket takes them.
 */
#ifndef DAEMON_OUTQ_H
#define DAEMON_OUTQ_H

#include <stddef.h>

struct event_base;
struct outq;

#define OUTQ_E_FULL 1

/** outq_create() - for the socket @sock, which stays the caller's; NULL: no memory
 * @most:	messages that may be kept */
struct outq *outq_create(struct event_base *base, int sock, size_t most);
void outq_free(struct outq *q);

/** outq_send() - send or keep a copy
 * Return: 0, OUTQ_E_FULL, or a negative errno; EPIPE when the peer is gone */
int outq_send(struct outq *q, const void *msg, size_t size);

#endif
