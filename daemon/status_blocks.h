/* SPDX-License-Identifier: ISC */

/* The blocks of a pool, as JSON. */
#ifndef DAEMON_STATUS_BLOCKS_H
#define DAEMON_STATUS_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "proto/ledger.h"

struct core;
struct pool;

/* Of the picture of a block: as many as a chunk has frames, so that each stands for as
 * many frames as the block has chunks. */
#define STATUS_MAP_CELLS CHUNK_FRAMES

/** status_blocks() - an array, in the order of the blocks; NULL: no memory
 * @with_map:	each with its picture
 * @usedp:	receives the bytes in buffers, of all blocks
 * @largestp:	receives the bytes of the largest buffer that there is room for; one may lie
 * across blocks */
cJSON *status_blocks(const struct core *c, const struct pool *p, bool with_map,
    uint64_t *usedp, uint64_t *largestp);
/** status_seconds() - so many ticks, in seconds */
double status_seconds(const struct core *c, uint64_t ticks);

#endif
