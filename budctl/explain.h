/* SPDX-License-Identifier: ISC */

/* Why a pool waits, and what would help: out of what budd answers, without asking it. */
#ifndef BUDCTL_EXPLAIN_H
#define BUDCTL_EXPLAIN_H

#include <cjson/cJSON.h>

/**
 * explain_pool() - {"pool", "why", "summary", "facts": [], "remedies": [{"command", "effect"}]}
 * @pool:	the answer to GET /v1/pools/ID
 * @status:	to GET /v1/status, of about the same moment
 *
 * A remedy without a command is advice. cJSON_Delete() it.
 */
cJSON *explain_pool(const cJSON *pool, const cJSON *status);

#endif
