/* SPDX-License-Identifier: ISC */

/* Events of a pool, for a program that wants to be told of them. */
#ifndef CLIENT_WATCH_H
#define CLIENT_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/messages.h"

struct bud_pool;

#define BUD__EVENTS 3 /* kinds, a bit each */

/* Events that came and have not been told yet: of each kind how much, not how often, so
 * that a program that does not dispatch costs no memory. */
struct bud__watch {
	uint32_t mask;
	uint32_t due; /* bits */
	uint64_t bytes[BUD__EVENTS];
	void (*event)(unsigned int event, uint64_t bytes, void *arg);
	void *arg;
};

/* All of them locked. */

/** bud__rouse() - something is about to be due: have bud_fd() readable */
void bud__rouse(struct bud_pool *pool);
/** bud__calm() - something is not due any more: is there anything left? */
void bud__calm(struct bud_pool *pool);
/** bud__watch_note() - an EVENT came */
void bud__watch_note(struct bud_pool *pool, const struct proto_event *m);
/** bud__watch_mask() - what budd is to tell us of, blocks included */
uint32_t bud__watch_mask(const struct bud_pool *pool);
/** bud__watch_again() - budd forgot what we watch */
void bud__watch_again(struct bud_pool *pool);
/** bud__watch_take() - the next event to be told; false: none is due */
bool bud__watch_take(struct bud_pool *pool, unsigned int *eventp, uint64_t *bytesp);

#endif
