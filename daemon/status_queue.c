/* SPDX-License-Identifier: ISC */

/* Who waits in a pool, and for what. */
#include "daemon/status_queue.h"

#include "daemon/arbiter.h"
#include "daemon/caches.h"
#include "daemon/core.h"
#include "daemon/json.h"
#include "proto/cache.h"

/* A request that has no deadline has no "left_ms". */
static cJSON *
request_json(const struct request *r, struct instant now)
{
	cJSON *o = cJSON_CreateObject();
	int64_t left = instant_ms_since(r->deadline, now);

	if (json_put_number(o, "size", FRAME_SIZE << r->order) &&
	    json_put_number(o, "count", r->count) &&
	    json_put_word(
		o, "state", r->state == REQUEST_GRANTED ? "turn" : "waiting") &&
	    json_put_number(o, "age_ms", (uint64_t)instant_ms_since(now, r->since)) &&
	    (r->deadline.ns == INSTANT_NEVER.ns || r->state == REQUEST_GRANTED ||
		json_put_number(o, "left_ms", left > 0 ? (uint64_t)left : 0)))
		return o;
	cJSON_Delete(o);
	return NULL;
}

static cJSON *
requests_json(const struct queue *q, struct instant now)
{
	cJSON *list = cJSON_CreateArray();
	const struct request *r;
	unsigned int n = 0;

	TAILQ_FOREACH (r, &q->requests, entry) {
		if (n++ == STATUS_REQUESTS_MAX)
			break;
		if (!json_append(list, request_json(r, now))) {
			cJSON_Delete(list);
			return NULL;
		}
	}
	return list;
}

cJSON *
status_queue(const struct pool *p, bool with_requests)
{
	const struct queue *q = &p->queue;
	struct instant now = clock_now();
	cJSON *o = cJSON_CreateObject();

	if (json_put_number(o, "length", q->length) &&
	    json_put_number(o, "bytes", queue_bytes(q)) &&
	    json_put_number(o, "oldest_ms", (uint64_t)queue_oldest_ms(q, now)) &&
	    json_put_real(o, "average_length", level_average(&p->waiting, now)) &&
	    (!with_requests || json_put(o, "requests", requests_json(q, now))))
		return o;
	cJSON_Delete(o);
	return NULL;
}

cJSON *
status_caches(const struct pool *p)
{
	cJSON *o = cJSON_CreateObject();

	if (json_put_number(o, "count", ledger_caches(&p->ledger)) &&
	    json_put_number(o, "bytes", caches_frames(p) * FRAME_SIZE))
		return o;
	cJSON_Delete(o);
	return NULL;
}

static const char *
why_word(enum core_why why)
{
	switch (why) {
	case WHY_NOTHING:
		return "nothing";
	case WHY_SOON:
		return "soon";
	case WHY_GROWING:
		return "growing";
	case WHY_RELEASING:
		return "releasing";
	case WHY_PINNING:
		return "pinning";
	case WHY_TURN:
		return "turn";
	case WHY_WALL:
		return "wall";
	case WHY_BLOCKS:
		return "blocks";
	case WHY_SECTION:
		return "section";
	case WHY_USER:
		return "user";
	case WHY_HOST:
		return "host";
	case WHY_ORDER:
		return "order";
	}
	return "unknown";
}

bool
status_put_why(cJSON *o, struct core *c, const struct pool *p)
{
	struct core_wants w;
	const char *why = why_word(core_why(c, p, &w));

	return json_put_word(o, "why", why) &&
	       json_put_number(o, "wants", w.chunks * CHUNK_SIZE) &&
	       json_put_number(o, "wall_needed", core_wall_for(c, p));
}
