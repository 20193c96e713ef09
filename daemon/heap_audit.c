/* SPDX-License-Identifier: ISC */

/* The keeper's look at pages that it has locked. */
#include "daemon/heap_audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/heap.h"
#include "proto/ledger.h"

#define WINDOW 512u /* pages that are looked at together: a large page is, as a whole */

/* Of an entry of /proc/self/pagemap. One that says "swapped" is on its way to another
 * place (compaction), and still ours. */
#define ENTRY_PRESENT (UINT64_C(1) << 63)
#define ENTRY_SWAPPED (UINT64_C(1) << 62)

int
heap_audit_open(void)
{
	return open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
}

static bool
read_pagemap(int pagemap, const char *addr, uint64_t *entries, uint32_t n)
{
	size_t size = n * sizeof(*entries);
	off_t at = (off_t)((uintptr_t)addr / FRAME_SIZE * sizeof(*entries));

	return pagemap != -1 && pread(pagemap, entries, size, at) == (ssize_t)size;
}

static bool
is_lost(uint64_t entry)
{
	return (entry & (ENTRY_PRESENT | ENTRY_SWAPPED)) == 0;
}

/* Returns whether these pages have to be locked again. */
static bool
look(char *addr, uint32_t n, int pagemap, struct heap_found *found)
{
	uint64_t entries[WINDOW];
	unsigned char resident[WINDOW] = { 0 };
	bool sees = read_pagemap(pagemap, addr, entries, n);
	uint32_t lost = 0;

	for (uint32_t i = 0; i < n; i++)
		lost += !sees || is_lost(entries[i]);
	if (lost == 0)
		return false;
	mincore(addr, n * FRAME_SIZE, resident);
	for (uint32_t i = 0; i < n; i++) {
		if (sees && !is_lost(entries[i]))
			continue;
		found->holes += (resident[i] & 1) == 0;
		found->unlocked += sees && (resident[i] & 1) != 0;
	}
	return true;
}

static int
lock_again(const struct heap *h, char *addr, size_t size)
{
	size_t offset = (size_t)(addr - h->memory_addr);

	if (addr >= h->memory_addr && offset < h->chunks * CHUNK_SIZE)
		return heap_lock_memory(h, offset, size);
	return mlock2(addr, size, 0) == 0 ? 0 : -errno;
}

static int
audit_pages(const struct heap *h, char *addr, size_t size, int pagemap,
    struct heap_found *found)
{
	size_t pages = size / FRAME_SIZE;
	int r = 0;

	for (size_t at = 0, n; at < pages && r == 0; at += n) {
		char *from = addr + at * FRAME_SIZE;

		n = pages - at < WINDOW ? pages - at : WINDOW;
		if (look(from, (uint32_t)n, pagemap, found))
			r = lock_again(h, from, n * FRAME_SIZE);
	}
	return r;
}

static int
audit_span(
    const struct heap *h, struct ledger_span s, int pagemap, struct heap_found *found)
{
	return audit_pages(h, h->ledger_addr + s.from, s.to - s.from, pagemap, found);
}

/* The header goes with the first chunks. */
static int
audit_ledger(const struct heap *h, int pagemap, uint32_t from, uint32_t to,
    struct heap_found *found)
{
	int r;

	if (from == 0)
		return audit_span(h, ledger_span(h->chunks, to), pagemap, found);
	r = audit_span(h, ledger_below(h->chunks, from, to), pagemap, found);
	return r != 0
		   ? r
		   : audit_span(h, ledger_above(h->chunks, from, to), pagemap, found);
}

int
heap_audit(const struct heap *h, int pagemap, uint32_t from, uint32_t to,
    struct heap_found *found)
{
	int r = audit_pages(h, h->memory_addr + from * CHUNK_SIZE,
	    (to - from) * CHUNK_SIZE, pagemap, found);

	return r != 0 ? r : audit_ledger(h, pagemap, from, to, found);
}
