/* SPDX-License-Identifier: ISC */

/* Which pool an operator means: an id, or a name that only one has. */
#ifndef BUDCTL_FIND_H
#define BUDCTL_FIND_H

#include <stdint.h>

#include <cjson/cJSON.h>

#include "budctl/command.h"

/** find_id() - ask budd which pool @word means; else say why there is no such one
 * @idp:	receives its id, on BUDCTL_OK only */
enum budctl_exit find_id(const char *socket, const char *word, uint64_t *idp);
/** find_pool() - ask budd for the pool that @word means; else say why not
 * @poolp:	receives the answer to GET /v1/pools/ID, on BUDCTL_OK only */
enum budctl_exit find_pool(const char *socket, const char *word, cJSON **poolp);

#endif
