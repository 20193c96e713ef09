/* SPDX-License-Identifier: ISC */

/* The status as JSON: what the arbiter knows, in the words of the design. */
#ifndef DAEMON_STATUS_H
#define DAEMON_STATUS_H

#include <stdbool.h>
#include <stdint.h>

#include <cjson/cJSON.h>

struct arbiter;
struct core;
struct pool;
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

/* For what tells of events. */

/** status_owner() - one element of GET /v1/pools */
cJSON *status_owner(const struct session *s);
/** status_clients() - connections */
uint64_t status_clients(const struct arbiter *a);
/** status_waits_for() - whose wall keeps a pool from growing: "nothing", "host", "user",
 * "section"; or "order", where there is room that is kept for one before it */
const char *status_waits_for(const struct core *c, const struct pool *p);
/** status_put_budd() - "version", "pid", "uptime_s", "restarts"; false: no memory */
bool status_put_budd(cJSON *o, const struct arbiter *a);
/** status_totals() - over all pools; walks each ledger */
struct status_totals {
	uint64_t pools;
	uint64_t pinned; /* bytes, ledgers included */
	uint64_t ledgers;
	uint64_t used;    /* as clients say */
	uint64_t waiting; /* requests */
	uint64_t clients;
};
struct status_totals status_totals(const struct arbiter *a);
/** status_put_totals() - "pools", "wall", "pinned", "used", "waiting", "starved" */
bool status_put_totals(cJSON *o, const struct arbiter *a);

#endif
