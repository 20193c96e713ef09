/* SPDX-License-Identifier: ISC */

/* Who waits in a pool, and for what, as JSON. */
#ifndef DAEMON_STATUS_QUEUE_H
#define DAEMON_STATUS_QUEUE_H

#include <stdbool.h>

#include <cjson/cJSON.h>

struct core;
struct pool;

/* So many requests are listed one by one, from the first one on: a client may queue
 * thousands. */
#define STATUS_REQUESTS_MAX 64u

/** status_queue() - length, bytes, age and average; NULL: no memory
 * @with_requests:	and the requests, at most STATUS_REQUESTS_MAX */
cJSON *status_queue(const struct pool *p, bool with_requests);
/** status_caches() - the threads' caches; NULL: no memory */
cJSON *status_caches(const struct pool *p);
/** status_put_why() - "why" the first request waits, "wants" and "wall_needed"; false: no
 * memory */
bool status_put_why(cJSON *o, struct core *c, const struct pool *p);

#endif
