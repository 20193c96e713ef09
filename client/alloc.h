/* SPDX-License-Identifier: ISC */

/* From what a caller gives to what the ledger has, and back. */
#ifndef CLIENT_ALLOC_H
#define CLIENT_ALLOC_H

#include "client/pool.h"
#include "client/request.h"

/** bud__check() - may this be asked for? Fills @want; 0 or a negative errno */
int bud__check(struct bud_pool *pool, size_t size, unsigned int count, int timeout_ms,
    unsigned int flags, struct bud__want *want);
/** bud__take_now() - take it if it is there and nobody queues; not locked
 * @belledp:	whether the caller is to ring, in any case */
bool bud__take_now(struct bud_pool *pool, const struct bud__want *want,
    uint32_t *frames, bool *belledp);
/** bud__bad_free() - say which pointer it was, and why, and abort */
__attribute__((noreturn, cold)) void bud__bad_free(
    struct bud_pool *pool, const void *buf, const char *reason);
/** bud__deliver() - the buffer at @frame, ready to be used */
void *bud__deliver(struct bud_pool *pool, unsigned int order, uint32_t frame);

#endif
