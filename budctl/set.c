/* SPDX-License-Identifier: ISC */

/* budctl set: change a pool, or the host, while budd runs. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "budctl/change.h"
#include "budctl/command.h"
#include "budctl/fields.h"
#include "budctl/find.h"
#include "budctl/http.h"
#include "budctl/human.h"
#include "budctl/terminal.h"

static struct human
size_of(const cJSON *object, const char *key)
{
	return human_size(field_number(object, key));
}

static struct human
time_of(const cJSON *object, const char *key)
{
	return human_seconds(field_real(object, key) / 1000);
}

static struct human
limit_of(const cJSON *object, const char *key, bool is_size)
{
	uint64_t limit = field_number(object, key);
	struct human h = { "no limit" };

	if (limit == 0)
		return h;
	if (is_size)
		return human_size(limit);
	snprintf(h.text, sizeof(h.text), "%" PRIu64, limit);
	return h;
}

static void
print_pool(const cJSON *pool)
{
	char *name = terminal_safe(field_text(pool, "name")),
	     *policy = terminal_safe(field_text(pool, "policy"));

	printf("pool %" PRIu64 " '%s': wall %s, add %s, weight %" PRIu64
	       ", check_idle %s, policy %s\n",
	    field_number(pool, "id"), name, size_of(pool, "wall").text,
	    size_of(pool, "add_size").text, field_number(pool, "weight"),
	    field_list_has(pool, "flags", "check_idle") ? "yes" : "no", policy);
	if (field_number(pool, "above_wall") > 0)
		printf("%s are still pinned above the wall; they go when they are "
		       "empty\n",
		    size_of(pool, "above_wall").text);
	free(name);
	free(policy);
}

static void
print_host(const cJSON *host)
{
	printf("host: wall %s (at most %s), tick %s, release_period %s, idle %s,\n"
	       "      overtaken_max %" PRIu64
	       ", user_wall %s, user_pools %s, user_requests %s\n",
	    size_of(host, "wall").text, size_of(host, "wall_enforced").text,
	    time_of(host, "tick_ms").text, time_of(host, "release_period_ms").text,
	    time_of(host, "idle_ms").text, field_number(host, "overtaken_max"),
	    limit_of(host, "user_wall", true).text,
	    limit_of(host, "user_pools", false).text,
	    limit_of(host, "user_requests", false).text);
}

static enum budctl_exit
patch(const struct options *o, const char *path, const cJSON *body,
    void (*print)(const cJSON *))
{
	cJSON *answer;
	enum budctl_exit code = http_send(o->socket, "PATCH", path, body, &answer);

	if (code != BUDCTL_OK)
		return code;
	if (o->json)
		fields_print(answer);
	else
		print(answer);
	cJSON_Delete(answer);
	return BUDCTL_OK;
}

static enum budctl_exit
set_pool(const struct options *o, const char *word, const cJSON *body)
{
	char path[48];
	uint64_t id;
	enum budctl_exit code = find_id(o->socket, word, &id);

	if (code != BUDCTL_OK)
		return code;
	snprintf(path, sizeof(path), "/v1/pools/%" PRIu64, id);
	return patch(o, path, body, print_pool);
}

enum budctl_exit
set_command(const struct options *o, char *const args[])
{
	bool host = strcmp(args[0], "host") == 0;
	cJSON *body = host ? change_parse_host(args + 1) : change_parse_pool(args + 1);
	enum budctl_exit code;

	if (body == NULL)
		return BUDCTL_USAGE;
	code =
	    host ? patch(o, "/v1/host", body, print_host) : set_pool(o, args[0], body);
	cJSON_Delete(body);
	return code;
}
