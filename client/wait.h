/* SPDX-License-Identifier: ISC */

/* A thread that waits for its turn. */
#ifndef CLIENT_WAIT_H
#define CLIENT_WAIT_H

#include "client/pool.h"
#include "client/request.h"

/** bud__wait() - queue for what the ledger did not have
 * @frames:	receives want->count frames; written on success only
 * Return: 0, or a negative errno */
int bud__wait(struct bud_pool *pool, const struct bud__want *want, uint32_t *frames);
/** bud__leave() - a thread that was counted in pool->inside goes; locked */
void bud__leave(struct bud_pool *pool);

#endif
