/* SPDX-License-Identifier: ISC */

/* What explain_pool.c is about: a pool that waits, its figures, and the answer that is being
 * made. Of the functions, those that make something do not fail: they end the program. */
#ifndef BUDCTL_EXPLAIN_SUBJECT_H
#define BUDCTL_EXPLAIN_SUBJECT_H

#include <stdbool.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "budctl/human.h"

struct subject {
	const cJSON *pool;
	const cJSON *queue;
	const cJSON *first; /* request that waits; NULL: none */
	const cJSON *host;
	const cJSON *status;
	uint64_t id;
	cJSON *answer;
	cJSON *facts;
	cJSON *remedies;
};

/* The answer. */
void *explain_must(void *item);
void explain_fact(struct subject *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void explain_summary(struct subject *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/** explain_remedy() - @command: to be typed; "": it is advice */
void explain_remedy(struct subject *s, const char *command, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Words. */
struct human explain_size(const cJSON *object, const char *key);
/** explain_typed() - a size as budctl set takes it, rounded up: "9M" */
struct human explain_typed(uint64_t bytes);
const char *explain_plural(uint64_t n);

/* Figures. */
const cJSON *explain_part(const cJSON *object, const char *key);
/** explain_minus() - a - b, or 0 */
uint64_t explain_minus(uint64_t a, uint64_t b);
/** explain_request_bytes() - of all its buffers */
uint64_t explain_request_bytes(const cJSON *request);
/** explain_first() - the first request that waits; NULL: none */
const cJSON *explain_first(const cJSON *queue);
uint64_t explain_room_of_host(const struct subject *s);
uint64_t explain_free(const struct subject *s);
/** explain_idle_bytes() - what `budctl release` would give back, of all pools */
uint64_t explain_idle_bytes(const struct subject *s);
/** explain_is_fragmented() - there is enough for the first request, but not in one piece */
bool explain_is_fragmented(const struct subject *s);

#endif
