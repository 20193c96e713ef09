/* SPDX-License-Identifier: ISC */

/*
 * What large pages the host has to give. The settings are root's to make: they are read, and
 * shown, and never written.
 */
#ifndef DAEMON_LARGEPAGES_H
#define DAEMON_LARGEPAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "daemon/heap_kind.h"

struct config;

#define LARGEPAGES_PATH "/sys/kernel/mm"

struct largepages {
	char shmem_enabled
	    [16];            /* transparent_hugepage/shmem_enabled; "": no such file */
	uint64_t thp;        /* sizes that heap thp can get, or'ed; bytes; 0: none */
	bool huge;           /* there are hugetlb pages of 2 MiB at all */
	uint64_t huge_total; /* pages */
	uint64_t huge_free;
};

/** largepages_read() - the settings as they are now; @path: LARGEPAGES_PATH, but for tests */
void largepages_read(struct largepages *l, const char *path);
/** largepages_why() - what keeps a pool from the pages that its heap is named for, and the
 * remedy; false: nothing */
bool largepages_why(
    const struct largepages *l, enum heap_kind kind, char *why, size_t why_size);
/** largepages_check() - a line for each section whose heap will not get what it is named
 * for, by @warn(ctx, line) */
void largepages_check(const struct largepages *l, const struct config *config,
    void (*warn)(void *ctx, const char *line), void *ctx);

#endif
