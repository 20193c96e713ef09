/* SPDX-License-Identifier: ISC */

/* Callbacks: when they run, and what bud_close() has to know of it. */
#ifndef CLIENT_DISPATCH_H
#define CLIENT_DISPATCH_H

#include "client/pool.h"

/** bud__dispatch_abandon() - this thread closes the pool: if it does so from within a
 * callback, the bud_dispatch() below must not touch the pool again
 * Return: how many of these there are */
unsigned int bud__dispatch_abandon(struct bud_pool *pool);
/** bud__dispatch_rest() - run the callbacks of a pool that is being closed */
void bud__dispatch_rest(struct bud_pool *pool);

#endif
