/* SPDX-License-Identifier: ISC */

/* Which pool an operator means. An id comes first, since it is never in doubt. */
#include "budctl/find.h"

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "budctl/fields.h"
#include "budctl/http.h"
#include "budctl/human.h"
#include "budctl/process.h"
#include "budctl/terminal.h"

static bool
has_id(const cJSON *pool, const char *word)
{
	char id[24];

	snprintf(id, sizeof(id), "%" PRIu64, field_number(pool, "id"));
	return strcmp(id, word) == 0;
}

static bool
has_name(const cJSON *pool, const char *word)
{
	return strcmp(field_text(pool, "name"), word) == 0;
}

/* How many there are; @poolp receives the first. */
static unsigned int
count(const cJSON *pools, bool (*is)(const cJSON *, const char *), const char *word,
    const cJSON **poolp)
{
	const cJSON *pool;
	unsigned int n = 0;

	cJSON_ArrayForEach (pool, pools)
		if (is(pool, word) && n++ == 0)
			*poolp = pool;
	return n;
}

static void
list_them(const cJSON *pools, const char *word, unsigned int n)
{
	char *safe = terminal_safe(word), *command;
	const cJSON *pool;

	warnx("%u pools are named '%s'; say which, by its id:", n, safe);
	cJSON_ArrayForEach (pool, pools) {
		if (!has_name(pool, word))
			continue;
		command = terminal_safe(process_name(pool).text);
		fprintf(stderr, "  id %" PRIu64 "  pid %" PRIu64 "  user %s  %s\n",
		    field_number(pool, "id"), field_number(pool, "pid"),
		    human_user(field_number(pool, "uid")).text, command);
		free(command);
	}
	free(safe);
}

static enum budctl_exit
choose(const cJSON *pools, const char *word, uint64_t *idp)
{
	const cJSON *pool = NULL;
	unsigned int n = count(pools, has_id, word, &pool);
	char *safe;

	if (n == 0)
		n = count(pools, has_name, word, &pool);
	if (n == 1) {
		*idp = field_number(pool, "id");
		return BUDCTL_OK;
	}
	if (n > 1) {
		list_them(pools, word, n);
		return BUDCTL_FAILED;
	}
	safe = terminal_safe(word);
	warnx("no pool has the id or the name '%s'; budctl status lists them", safe);
	free(safe);
	return BUDCTL_FAILED;
}

enum budctl_exit
find_id(const char *socket, const char *word, uint64_t *idp)
{
	cJSON *list;
	enum budctl_exit code = http_get(socket, "/v1/pools", &list);

	if (code != BUDCTL_OK)
		return code;
	code = choose(cJSON_GetObjectItemCaseSensitive(list, "pools"), word, idp);
	cJSON_Delete(list);
	return code;
}

enum budctl_exit
find_pool(const char *socket, const char *word, cJSON **poolp)
{
	char path[48];
	uint64_t id;
	enum budctl_exit code = find_id(socket, word, &id);

	if (code != BUDCTL_OK)
		return code;
	snprintf(path, sizeof(path), "/v1/pools/%" PRIu64, id);
	return http_get(socket, path, poolp);
}
