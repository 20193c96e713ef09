/* SPDX-License-Identifier: ISC */

/*
 * The keeper's look at pages that it has locked. The seals let a client punch holes into
 * its own memory; the pages are gone at once, and what comes back when somebody touches
 * them is not locked, though our mapping still is. Our own page table tells: a page that
 * is locked through a mapping is present in it, and one that was punched is not.
 */
#ifndef DAEMON_HEAP_AUDIT_H
#define DAEMON_HEAP_AUDIT_H

#include <stdint.h>

struct heap;

/* Pages of 4 KiB that were not locked. */
struct heap_found {
	uint32_t holes;    /* that had no memory either */
	uint32_t unlocked; /* that a client had touched again */
};

/**
 * heap_audit_open() - what heap_audit() reads, of this process alone: not before a fork,
 * and not after PR_SET_DUMPABLE 0 or a change of user, which lock an ordinary one out
 *
 * Return: a descriptor, or -1: then heap_audit() locks blindly, and finds holes alone
 */
int heap_audit_open(void);
/**
 * heap_audit() - find and lock again what of the chunks [@from, @to), which are pinned, and
 * of the ledger's pages that tell of them is not locked; costs 10 us a MiB, and a pin's time
 * where something is found
 * @found:	receives what it was, repaired or not
 *
 * Return: 0 or a negative errno: it could not be locked again
 */
int heap_audit(const struct heap *h, int pagemap, uint32_t from, uint32_t to,
    struct heap_found *found);

#endif
