/* SPDX-License-Identifier: ISC */

/* The status as JSON: what the arbiter knows, in the words of the design. */
#ifndef DAEMON_STATUS_H
#define DAEMON_STATUS_H

#include <cjson/cJSON.h>

struct arbiter;
struct session;

/** status_all() - GET /v1/status; NULL: no memory. cJSON_Delete() it */
cJSON *status_all(const struct arbiter *a);
/** status_host() - GET /v1/host: "host" of it */
cJSON *status_host(const struct arbiter *a);
/** status_pools() - GET /v1/pools: who there is, without a look into any ledger */
cJSON *status_pools(const struct arbiter *a);
/** status_pool() - GET /v1/pools/ID: one element of "pools", its blocks with a picture:
 * "map" has a digit a cell, 0 (free) to 8 (all used), or x: not opened (yet) */
cJSON *status_pool(const struct session *s);

#endif
