/* SPDX-License-Identifier: ISC */

/* What budctl top shows: the status, its pools in an order, and one that is chosen. */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "budctl/fields.h"
#include "budctl/http.h"
#include "budctl/top.h"

static const char *const sorts[TOP_SORTS] = { [SORT_WAITING] = "waiting",
	[SORT_PINNED] = "pinned",
	[SORT_USED] = "used",
	[SORT_WALL] = "wall",
	[SORT_NAME] = "name",
	[SORT_ID] = "id" };

const char *
top_sort_name(enum top_sort sort)
{
	return sorts[sort];
}

bool
top_sort_find(const char *name, enum top_sort *sortp)
{
	for (unsigned int i = 0; i < TOP_SORTS; i++)
		if (strcmp(sorts[i], name) == 0) {
			*sortp = (enum top_sort)i;
			return true;
		}
	return false;
}

/* --- The order --- */

/* The larger one first. */
static int
falling(uint64_t a, uint64_t b)
{
	return a > b ? -1 : a < b;
}

static uint64_t
queue_of(const cJSON *pool, const char *key)
{
	return field_number(cJSON_GetObjectItemCaseSensitive(pool, "queue"), key);
}

static int
compare_by(const cJSON *a, const cJSON *b, enum top_sort sort)
{
	int r;

	switch (sort) {
	case SORT_WAITING:
		r = falling(queue_of(a, "length"), queue_of(b, "length"));
		return r != 0 ? r
			      : falling(field_number(a, "pinned"),
				    field_number(b, "pinned"));
	case SORT_PINNED:
	case SORT_USED:
	case SORT_WALL:
		return falling(
		    field_number(a, sorts[sort]), field_number(b, sorts[sort]));
	case SORT_NAME:
		return strcmp(field_text(a, "name"), field_text(b, "name"));
	case SORT_ID:
		break;
	}
	return 0;
}

/* An id is nobody else's, so that two frames have the same order. */
static int
compare(const void *a, const void *b, void *arg)
{
	const struct top_model *m = arg;
	const cJSON *const *p = a, *const *q = b;
	int r = compare_by(*p, *q, m->sort);

	if (r == 0)
		r = -falling(field_number(*p, "id"), field_number(*q, "id"));
	return m->reverse ? -r : r;
}

/* The one that was chosen; or who stands there now. */
static void
find_chosen(struct top_model *m)
{
	for (unsigned int i = 0; i < m->count; i++)
		if (field_number(m->pools[i], "id") == m->id) {
			m->chosen = i;
			return;
		}
	top_model_choose(m, m->chosen);
}

void
top_model_sort(struct top_model *m)
{
	if (m->count > 1)
		qsort_r(m->pools, m->count, sizeof(m->pools[0]), compare, m);
	find_chosen(m);
}

void
top_model_choose(struct top_model *m, unsigned int index)
{
	m->chosen = index < m->count ? index : m->count > 0 ? m->count - 1 : 0;
	m->id = m->count > 0 ? field_number(m->pools[m->chosen], "id") : 0;
}

/* --- Asking --- */

static void
list_pools(struct top_model *m)
{
	const cJSON *pools = cJSON_GetObjectItemCaseSensitive(m->status, "pools"),
		    *pool;
	int n = cJSON_GetArraySize(pools);

	free(m->pools);
	m->count = 0;
	if ((m->pools = calloc((size_t)n + 1, sizeof(m->pools[0]))) == NULL)
		err(BUDCTL_FAILED, NULL);
	cJSON_ArrayForEach (pool, pools)
		m->pools[m->count++] = pool;
}

enum budctl_exit
top_model_load(struct top_model *m, const char *socket)
{
	cJSON *status;
	enum budctl_exit code = http_try(socket, "/v1/status", &status);

	m->lost = code != BUDCTL_OK;
	if (m->lost)
		return code;
	cJSON_Delete(m->status);
	m->status = status;
	list_pools(m);
	top_model_sort(m);
	top_model_load_detail(m, socket);
	return code;
}

void
top_model_load_detail(struct top_model *m, const char *socket)
{
	char path[48];
	cJSON *detail = NULL;

	snprintf(path, sizeof(path), "/v1/pools/%" PRIu64, m->id);
	if (m->count > 0 && http_try(socket, path, &detail) != BUDCTL_OK)
		detail = NULL; /* it has gone meanwhile */
	cJSON_Delete(m->detail);
	m->detail = detail;
}

void
top_model_fini(struct top_model *m)
{
	cJSON_Delete(m->detail);
	cJSON_Delete(m->status);
	free(m->pools);
}
