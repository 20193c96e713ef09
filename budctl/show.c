/* SPDX-License-Identifier: ISC */

/* budctl show: one pool. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "budctl/command.h"
#include "budctl/control.h"
#include "budctl/fields.h"
#include "budctl/find.h"
#include "budctl/human.h"
#include "budctl/process.h"
#include "budctl/table.h"
#include "budctl/terminal.h"

static const struct column columns[] = {
	{ "BLOCK", true },
	{ "KIND", false },
	{ "SIZE", true },
	{ "USED", true },
	{ "STATUS", false },
	{ "PAGES", true },
	{ "IDLE", true },
	{ "LARGEST FREE", true },
	{ "PICTURE", false },
};
#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

static const cJSON *
part(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key);
}

static struct human
size_of(const cJSON *object, const char *key)
{
	return human_size(field_number(object, key));
}

static void
print_owner(const cJSON *pool)
{
	char *name = terminal_safe(field_text(pool, "name")),
	     *command = terminal_safe(process_name(pool).text),
	     *section = terminal_safe(field_text(pool, "section"));

	printf("%spool %" PRIu64 " '%s'%s, %s, %s\n", terminal_bold_on(),
	    field_number(pool, "id"), name, terminal_bold_off(),
	    field_text(pool, "state"), field_text(pool, "phase"));
	printf("owner     user %s, pid %" PRIu64 " (%s), section %s\n",
	    human_user(field_number(pool, "uid")).text, field_number(pool, "pid"),
	    command, section);
	free(name);
	free(command);
	free(section);
}

static void
print_limits(const cJSON *pool)
{
	uint64_t used = field_number(pool, "used"),
		 pinned = field_number(pool, "pinned"),
		 wall = field_number(pool, "wall");
	char *policy = terminal_safe(field_text(pool, "policy"));

	printf("limits    base %s, add %s, wall %s (at most %s), largest buffer %s\n",
	    size_of(pool, "base_size").text, size_of(pool, "add_size").text,
	    human_size(wall).text, size_of(pool, "wall_max").text,
	    size_of(pool, "max_buffer").text);
	printf("          heap %s, weight %" PRIu64 ", headroom %s, policy %s\n",
	    field_text(pool, "heap"), field_number(pool, "weight"),
	    size_of(pool, "headroom").text, policy);
	if (field_number(pool, "wall_total") > 0)
		printf("          shares a wall of %s with its section, %s pinned\n",
		    size_of(pool, "wall_total").text,
		    size_of(pool, "group_charge").text);
	printf("memory    used %s (%s of pinned), pinned %s (%s of wall) %s\n",
	    human_size(used).text, human_percent(used, pinned).text,
	    human_size(pinned).text, human_percent(pinned, wall).text,
	    terminal_bar(used, pinned, wall).text);
	if (field_number(pool, "above_wall") > 0)
		printf("          %s above the wall go when they are empty\n",
		    size_of(pool, "above_wall").text);
	free(policy);
}

/* What keeps a pool from growing, for those who know how to ask for more. */
static const char *
waits_for(const cJSON *pool)
{
	static const struct {
		const char *word;
		const char *told;
	} reasons[] = {
		{ "host", ", for the host's wall" },
		{ "user", ", for its user's wall (user_wall)" },
		{ "section", ", for its section's wall (wall_total)" },
		{ "order", ", for others that come before it" },
	};
	const char *word = field_text(pool, "waits_for");

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (strcmp(word, reasons[i].word) == 0)
			return reasons[i].told;
	return "";
}

static void
print_queue(const cJSON *pool)
{
	const cJSON *q = part(pool, "queue"), *n = part(pool, "counters");
	uint64_t length = field_number(q, "length");

	if (length == 0)
		printf("queue     nobody waits\n");
	else
		printf("queue     %" PRIu64
		       " request%s for %s, the first waits since %s%s\n",
		    length, length == 1 ? "" : "s", size_of(q, "bytes").text,
		    human_seconds(field_real(q, "oldest_ms") / 1000).text,
		    waits_for(pool));
	printf("counters  grants %" PRIu64 ", queued %" PRIu64 ", refused %" PRIu64
	       ", timeouts %" PRIu64 ", grown %" PRIu64 ", released %" PRIu64 "\n",
	    field_number(n, "grants"), field_number(n, "queued"),
	    field_number(n, "refused"), field_number(n, "timeouts"),
	    field_number(n, "grown"), field_number(n, "released"));
}

/* The clock stands while a pool has nothing to give back and nobody who waits. */
static void
print_release(const cJSON *pool)
{
	if (!field_list_has(pool, "flags", "check_idle"))
		printf("release   no pass: check_idle is off\n");
	else if (cJSON_GetArraySize(part(pool, "blocks")) > 1 ||
		 field_number(part(pool, "queue"), "length") > 0)
		printf("release   next pass in %s\n",
		    human_seconds(field_real(pool, "release_in_s")).text);
	else
		printf("release   no pass: there is no additional block\n");
}

/* Of a pool whose client registers its memory with devices. */
static void
print_registered(const cJSON *pool)
{
	if (field_list_has(pool, "flags", "registers"))
		printf("devices   its memory is registered with some: a block is asked "
		       "for "
		       "before it goes; %" PRIu64 " were not given up in time\n",
		    field_number(part(pool, "counters"), "kept"));
}

static const char *
kind(const cJSON *block)
{
	if (field_bool(block, "base"))
		return "base";
	return block->next == NULL ? "add, last" : "add";
}

static void
add_block(struct table *t, const cJSON *block)
{
	uint64_t size = field_number(block, "size"), used = field_number(block, "used");

	table_add_number(t, field_number(block, "index"));
	table_add(t, kind(block));
	table_add(t, human_size(size).text);
	table_add(t, human_percent(used, size).text);
	table_add(t, field_text(block, "status"));
	table_add(t, size_of(block, "page_size").text);
	table_add(t, human_seconds(field_real(block, "idle_s")).text);
	table_add(t, size_of(block, "largest_free").text);
	table_add(t, terminal_picture(field_text(block, "map")).text);
}

static void
print_blocks(const cJSON *blocks)
{
	struct table *t = table_create(columns, COLUMNS);
	const cJSON *block;

	putchar('\n');
	cJSON_ArrayForEach (block, blocks)
		add_block(t, block);
	table_print(t);
}

static void
print_pool(const cJSON *pool)
{
	print_owner(pool);
	print_limits(pool);
	print_queue(pool);
	print_release(pool);
	print_registered(pool);
	print_blocks(part(pool, "blocks"));
}

enum budctl_exit
show_command(const struct options *o, char *const args[])
{
	cJSON *pool;
	enum budctl_exit code = find_pool(o->socket, args[0], &pool);

	if (code != BUDCTL_OK)
		return code;
	if (o->json)
		fields_print(pool);
	else if (o->control_blocks)
		control_print(pool);
	else
		print_pool(pool);
	cJSON_Delete(pool);
	return BUDCTL_OK;
}
