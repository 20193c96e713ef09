/* SPDX-License-Identifier: ISC */

/* The blocks of a pool, for a program that registers them with a device. */
#ifndef CLIENT_BLOCKS_H
#define CLIENT_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/messages.h"

struct bud_pool;

struct bud__block {
	uint64_t offset;
	uint64_t bytes;
	uint32_t ask;     /* the number under which budd asks for it; 0: it does not */
	unsigned int due; /* BUD_BLOCK_*, not told yet; 0: told */
};

/* As budd told of them last; a stack, lowest offset first, no more than the pool has
 * chunks. What comes before it is told replaces what is due, and is not queued. */
struct bud__blocks {
	struct bud__block *list;
	size_t count;
	size_t capacity;
	size_t due; /* of them */
	void (*block)(unsigned int what, void *start, size_t bytes, void *arg);
	void *arg;
};

/* Locked. */

/** bud__blocks_note() - a BLOCK or a RELEASE came */
void bud__blocks_note(struct bud_pool *pool, const struct proto_block *m);
/** bud__blocks_take() - the next one to be told; @due is what; false: there is none */
bool bud__blocks_take(struct bud_pool *pool, struct bud__block *block);

#endif
