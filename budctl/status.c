/* SPDX-License-Identifier: ISC */

/* budctl status: the host, and one line for each pool. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "budctl/command.h"
#include "budctl/fields.h"
#include "budctl/http.h"
#include "budctl/human.h"
#include "budctl/process.h"
#include "budctl/table.h"
#include "budctl/terminal.h"

static const struct column columns[] = {
	{ "ID", true },
	{ "NAME", false },
	{ "USER", false },
	{ "PID", true },
	{ "COMMAND", false },
	{ "PINNED", true },
	{ "USED", true },
	{ "WALL", true },
	{ "USED/PINNED/WALL", false },
	{ "WAIT", true },
	{ "BLOCKS", true },
};
#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

static const cJSON *
part(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key);
}

static void
print_host(const cJSON *status)
{
	const cJSON *host = part(status, "host");
	uint64_t wall = field_number(host, "wall"),
		 pinned = field_number(host, "pinned");
	char *version = terminal_safe(field_text(status, "version"));

	printf("budd %s, pid %" PRIu64 ", up %s, restarts %" PRIu64 ", clients %" PRIu64
	       " of %" PRIu64 ", waiting %" PRIu64 "\n",
	    version, field_number(status, "pid"),
	    human_seconds(field_real(status, "uptime_s")).text,
	    field_number(status, "restarts"), field_number(host, "clients"),
	    field_number(host, "clients_max"), field_number(host, "waiting"));
	printf("host wall %s, pinned %s (%s) %s, of which ledgers %s\n",
	    human_size(wall).text, human_size(pinned).text,
	    human_percent(pinned, wall).text, terminal_bar(0, pinned, wall).text,
	    human_size(field_number(host, "ledgers")).text);
	free(version);
}

static void
add_pool(struct table *t, const cJSON *pool)
{
	uint64_t pinned = field_number(pool, "pinned"),
		 used = field_number(pool, "used"), wall = field_number(pool, "wall");

	table_add_number(t, field_number(pool, "id"));
	table_add(t, field_text(pool, "name"));
	table_add(t, human_user(field_number(pool, "uid")).text);
	table_add_number(t, field_number(pool, "pid"));
	table_add(t, process_name(pool).text);
	table_add(t, human_size(pinned).text);
	table_add(t, human_size(used).text);
	table_add(t, human_size(wall).text);
	table_add(t, terminal_bar(used, pinned, wall).text);
	table_add_number(t, field_number(part(pool, "queue"), "length"));
	table_add_number(
	    t, (unsigned long long)cJSON_GetArraySize(part(pool, "blocks")));
}

static void
print_pools(const cJSON *pools)
{
	struct table *t;
	const cJSON *pool;

	if (cJSON_GetArraySize(pools) == 0) {
		puts("no pool is open");
		return;
	}
	t = table_create(columns, COLUMNS);
	cJSON_ArrayForEach (pool, pools)
		add_pool(t, pool);
	table_print(t);
}

enum budctl_exit
status_command(const struct options *o, char *const args[])
{
	cJSON *status;
	enum budctl_exit code = http_get(o->socket, "/v1/status", &status);

	(void)args;
	if (code != BUDCTL_OK)
		return code;
	if (o->json) {
		fields_print(status);
	} else {
		print_host(status);
		putchar('\n');
		print_pools(part(status, "pools"));
	}
	cJSON_Delete(status);
	return BUDCTL_OK;
}
