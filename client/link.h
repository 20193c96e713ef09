/* SPDX-License-Identifier: ISC */

/* The connection to budd: what is said, what waits to be said, what comes in. */
#ifndef CLIENT_LINK_H
#define CLIENT_LINK_H

#include "client/pool.h"
#include "proto/messages.h"

/** bud__send() - send one message, or do not
 * Return: 0, WIRE_E_AGAIN or WIRE_E_CLOSED */
int bud__send(struct bud_pool *pool, const union proto_msg *msg);

/* Not locked. */

/** bud__ring() - ring the doorbell; a bell that is lost does no harm */
void bud__ring(struct bud_pool *pool);
/** bud__gave() - after every free: does somebody wait for it? */
void bud__gave(struct bud_pool *pool);

/* Locked. */

/** bud__note() - say DONE, CANCEL, WATCH, HINT or GAVE-UP, now or as soon as the socket
 * takes it
 * @tag:	or the offset of a block
 * @outcome:	enum proto_outcome; the mask; the hint; the number of the question */
void bud__note(
    struct bud_pool *pool, enum proto_type type, uint64_t tag, uint32_t outcome);
/** bud__flush() - send what waits to be sent, as far as the socket takes it */
void bud__flush(struct bud_pool *pool);
/** bud__read() - handle what has come from budd; nobody else is reading */
void bud__read(struct bud_pool *pool);
/** bud__away() - budd is gone: from here on the pool lives on what it has */
void bud__away(struct bud_pool *pool);
/** bud__detach() - stop polling the socket; nobody sleeps on it */
void bud__detach(struct bud_pool *pool);
/** bud__gave_locked(), bud__ring_locked() - as above */
void bud__gave_locked(struct bud_pool *pool);
void bud__ring_locked(struct bud_pool *pool);

#endif
