/* SPDX-License-Identifier: ISC */

/*
 * A pool under the names of the method's control structures. Where those have pointers,
 * bud has places: a block's memory is a range of the pool's memfd, and the chain of blocks
 * is their order in it.
 */
#include "budctl/control.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "budctl/fields.h"
#include "budctl/human.h"
#include "budctl/terminal.h"

#define NAME_COLUMNS 13

__attribute__((format(printf, 2, 3))) static void
line(const char *name, const char *format, ...)
{
	va_list args;

	printf("    %-*s ", NAME_COLUMNS, name);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

static struct human
size_of(const cJSON *object, const char *key)
{
	return human_size(field_number(object, key));
}

static void
size_line(const char *name, const cJSON *object, const char *key)
{
	line(name, "%" PRIu64 " (%s)", field_number(object, key),
	    size_of(object, key).text);
}

static void
block_line(const char *name, const cJSON *block)
{
	if (block == NULL)
		line(name, "NULL");
	else
		line(name, "block %" PRIu64 " @ %s", field_number(block, "index"),
		    size_of(block, "offset").text);
}

/* A block has the flags of its pool. */
static void
print_flags(const cJSON *pool)
{
	if (field_list_has(pool, "flags", "check_idle"))
		line("Flgs",
		    "ChkBuddyBsy = true (the release pass looks for idle blocks)");
	else
		line("Flgs", "ChkBuddyBsy = false (no release pass)");
	if (field_list_has(pool, "flags", "in_segment_heap"))
		line("", "BuddyBufInSegHeap = true");
	else
		line("", "BuddyBufInSegHeap = false (a memfd of heap `%s')",
		    field_text(pool, "heap"));
}

static void
print_bud_ctl(const cJSON *pool, const cJSON *blocks)
{
	char *name = terminal_safe(field_text(pool, "name"));

	printf("%sBudCtl_t%s of pool %" PRIu64 " '%s' {\n", terminal_bold_on(),
	    terminal_bold_off(), field_number(pool, "id"), name);
	size_line("AddSize", pool, "add_size");
	size_line("BaseSize", pool, "base_size");
	block_line("BuddyChain", cJSON_GetArrayItem(blocks, 0));
	line("BuddyHeap", "%s", field_text(pool, "heap"));
	line("BuddyWall", "%" PRIu64 " (MiB, rounded to the nearest)",
	    field_number(pool, "wall_mib"));
	print_flags(pool);
	line("TckCnt", "%" PRIu64 " (ticks to the next release pass: %s)",
	    field_number(pool, "tick_count"),
	    human_seconds(field_real(pool, "release_in_s")).text);
	size_line("UsrWall", pool, "wall");
	printf("}\n");
	free(name);
}

/* cJSON closes the circle backwards: the first one's prev is the last. */
static const cJSON *
before(const cJSON *blocks, const cJSON *block)
{
	return block == blocks->child ? NULL : block->prev;
}

static void
print_memory(const cJSON *block)
{
	uint64_t from = field_number(block, "offset"),
		 size = field_number(block, "size");

	line("BuddyBuf_p", "memfd %" PRIu64 "..%" PRIu64 " (@ %s)", from, from + size,
	    human_size(from).text);
}

static void
print_buddy(const cJSON *pool, const cJSON *blocks, const cJSON *block)
{
	printf("%sBuddy_t%s of block %" PRIu64 " (%s) {\n", terminal_bold_on(),
	    terminal_bold_off(), field_number(block, "index"),
	    field_bool(block, "base") ? "base" : "additional");
	block_line("Fwd_p", block->next);
	block_line("Bck_p", before(blocks, block));
	print_memory(block);
	line("BuddyHeap", "%s", field_text(pool, "heap"));
	size_line("BuddySize", block, "size");
	line("BudBufStatus", "%s", field_text(block, "status"));
	print_flags(pool);
	line("FreeBudBufs", "%" PRIu64 " bytes free (%s), the largest buffer %s",
	    field_number(block, "free"), size_of(block, "free").text,
	    size_of(block, "largest_free").text);
	line("TimeStamp", "%s ago (the last allocation)",
	    human_seconds(field_real(block, "idle_s")).text);
	size_line("TotalSpace", block, "total_space");
	printf("}\n");
}

void
control_print(const cJSON *pool)
{
	const cJSON *blocks = cJSON_GetObjectItemCaseSensitive(pool, "blocks"), *block;

	print_bud_ctl(pool, blocks);
	cJSON_ArrayForEach (block, blocks)
		print_buddy(pool, blocks, block);
}
