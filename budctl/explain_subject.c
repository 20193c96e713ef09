/* SPDX-License-Identifier: ISC */

/* The figures of a pool that waits, and the answer that is made of them. */
#include "budctl/explain_subject.h"

#include <err.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "budctl/command.h"
#include "budctl/fields.h"

#define TEXT_BYTES 512
#define MIB        ((uint64_t)1 << 20)

/* --- Words --- */

void *
explain_must(void *item)
{
	if (item == NULL)
		errx(BUDCTL_FAILED, "no memory");
	return item;
}

void
explain_fact(struct subject *s, const char *format, ...)
{
	char text[TEXT_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	cJSON_AddItemToArray(s->facts, explain_must(cJSON_CreateString(text)));
}

void
explain_summary(struct subject *s, const char *format, ...)
{
	char text[TEXT_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	explain_must(cJSON_AddStringToObject(s->answer, "summary", text));
}

/* @command: "" for advice */
void
explain_remedy(struct subject *s, const char *command, const char *format, ...)
{
	cJSON *o = explain_must(cJSON_CreateObject());
	char text[TEXT_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (command[0] != '\0')
		explain_must(cJSON_AddStringToObject(o, "command", command));
	explain_must(cJSON_AddStringToObject(o, "effect", text));
	cJSON_AddItemToArray(s->remedies, o);
}

const cJSON *
explain_part(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key);
}

struct human
explain_size(const cJSON *object, const char *key)
{
	return human_size(field_number(object, key));
}

/* As it is typed, rounded up: "9M". */
struct human
explain_typed(uint64_t bytes)
{
	struct human h;

	snprintf(h.text, sizeof(h.text), "%" PRIu64 "M", (bytes + MIB - 1) / MIB);
	return h;
}

const char *
explain_plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

/* --- Figures --- */

uint64_t
explain_request_bytes(const cJSON *request)
{
	return field_number(request, "size") * field_number(request, "count");
}

const cJSON *
explain_first(const cJSON *queue)
{
	const cJSON *r;

	cJSON_ArrayForEach (r, explain_part(queue, "requests"))
		if (strcmp(field_text(r, "state"), "waiting") == 0)
			return r;
	return NULL;
}

uint64_t
explain_minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

uint64_t
explain_room_of_host(const struct subject *s)
{
	return explain_minus(
	    field_number(s->host, "wall"), field_number(s->host, "charge"));
}

uint64_t
explain_free(const struct subject *s)
{
	return explain_minus(
	    field_number(s->pool, "total_space"), field_number(s->pool, "used"));
}

/* What `budctl release` would get out of a pool: one empty block stays as headroom. */
static uint64_t
idle_bytes(const cJSON *pool)
{
	const cJSON *blocks = explain_part(pool, "blocks"), *b;
	uint64_t bytes = 0, size;

	if (!field_list_has(pool, "flags", "check_idle"))
		return 0;
	for (int i = cJSON_GetArraySize(blocks) - 1; i > 0; i--) {
		b = cJSON_GetArrayItem(blocks, i);
		size = field_number(b, "size");
		if (field_number(b, "used") > 0)
			break;
		if (field_number(cJSON_GetArrayItem(blocks, i - 1), "used") > 0)
			break; /* it is the one that stays */
		bytes += size;
	}
	return bytes;
}

uint64_t
explain_idle_bytes(const struct subject *s)
{
	const cJSON *pool;
	uint64_t bytes = 0;

	cJSON_ArrayForEach (pool, explain_part(s->status, "pools"))
		bytes += idle_bytes(pool);
	return bytes;
}

/* Free, but not in one piece. Buffers of one request may lie apart. */
bool
explain_is_fragmented(const struct subject *s)
{
	return s->first != NULL && explain_free(s) >= explain_request_bytes(s->first) &&
	       field_number(s->pool, "largest_free") < field_number(s->first, "size");
}
