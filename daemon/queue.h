/* SPDX-License-Identifier: ISC */

/*
 * The queue of one pool: requests that the ledger could not meet. First in, first out; a
 * request that was granted its turn stays at its place until the client says DONE.
 */
#ifndef DAEMON_QUEUE_H
#define DAEMON_QUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/tree.h>

#include "daemon/clock.h"

struct pool;

enum request_state {
	REQUEST_WAITING,
	REQUEST_GRANTED,
};

struct request {
	TAILQ_ENTRY(request) entry;    /* of its queue, in order of arrival */
	RB_ENTRY(request) by_tag;      /* of its queue */
	RB_ENTRY(request) by_deadline; /* of the core */
	struct pool *pool;
	uint64_t tag;
	unsigned int order;
	uint32_t count;
	bool try;     /* would rather be refused than wait for a free */
	bool counted; /* as one that had to wait */
	bool told;    /* ... and as one that waits for long */
	enum request_state state;
	struct instant since;
	struct instant deadline;
};

RB_HEAD(request_tags, request);
TAILQ_HEAD(request_list, request);

struct queue {
	struct request_list requests;
	struct request_tags tags;
	uint32_t length;
};

void queue_init(struct queue *q);
/** queue_add() - a new request at the end; NULL: no memory. The queue owns it */
struct request *queue_add(struct queue *q, uint64_t tag);
/** queue_remove() - take a request out and free it */
void queue_remove(struct queue *q, struct request *r);
struct request *queue_find(struct queue *q, uint64_t tag);
/** queue_head() - the first that still waits for its turn; NULL: nobody */
struct request *queue_head(const struct queue *q);
/** queue_oldest_ms() - how long the first that waits has been waiting; 0: nobody */
int64_t queue_oldest_ms(const struct queue *q, struct instant now);
/** queue_bytes() - of all requests in the queue */
uint64_t queue_bytes(const struct queue *q);

/** request_bytes() - of all its buffers, rounded as they will be */
uint64_t request_bytes(const struct request *r);
/** request_chunks() - whole chunks that surely hold all its buffers */
uint64_t request_chunks(const struct request *r);

#endif
