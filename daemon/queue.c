/* SPDX-License-Identifier: ISC */

/* The queue of one pool. */
#include "daemon/queue.h"

#include <stdlib.h>

#include "proto/ledger.h"

static int
compare_tags(const struct request *a, const struct request *b)
{
	return a->tag < b->tag ? -1 : a->tag > b->tag;
}

RB_PROTOTYPE(request_tags, request, by_tag, compare_tags)
RB_GENERATE(request_tags, request, by_tag, compare_tags)

void
queue_init(struct queue *q)
{
	TAILQ_INIT(&q->requests);
	RB_INIT(&q->tags);
	q->length = 0;
}

struct request *
queue_add(struct queue *q, uint64_t tag)
{
	struct request *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->tag = tag;
	TAILQ_INSERT_TAIL(&q->requests, r, entry);
	RB_INSERT(request_tags, &q->tags, r);
	q->length++;
	return r;
}

void
queue_remove(struct queue *q, struct request *r)
{
	TAILQ_REMOVE(&q->requests, r, entry);
	RB_REMOVE(request_tags, &q->tags, r);
	q->length--;
	free(r);
}

struct request *
queue_find(struct queue *q, uint64_t tag)
{
	struct request key = { .tag = tag };

	return RB_FIND(request_tags, &q->tags, &key);
}

struct request *
queue_head(const struct queue *q)
{
	struct request *r;

	TAILQ_FOREACH (r, &q->requests, entry)
		if (r->state == REQUEST_WAITING)
			return r;
	return NULL;
}

int64_t
queue_oldest_ms(const struct queue *q, struct instant now)
{
	const struct request *head = queue_head(q);

	return head == NULL ? 0 : instant_ms_since(now, head->since);
}

uint64_t
queue_bytes(const struct queue *q)
{
	const struct request *r;
	uint64_t bytes = 0;

	TAILQ_FOREACH (r, &q->requests, entry)
		bytes += request_bytes(r);
	return bytes;
}

uint64_t
request_bytes(const struct request *r)
{
	return (FRAME_SIZE << r->order) * r->count;
}

uint64_t
request_chunks(const struct request *r)
{
	return (request_bytes(r) + CHUNK_SIZE - 1) / CHUNK_SIZE;
}
