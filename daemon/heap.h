/* SPDX-License-Identifier: ISC */

/*
 * Where a pool's memory comes from: two memfds, the memory and its ledger, sealed, 0600,
 * mapped by the keeper and locked from the start up to a mark. Heap `page`: 4 KiB pages.
 */
#ifndef DAEMON_HEAP_H
#define DAEMON_HEAP_H

#include <stddef.h>
#include <stdint.h>

struct heap {
	int memory; /* memfds */
	int ledger;
	char *memory_addr; /* mappings; NULL: none */
	char *ledger_addr;
	uint32_t chunks; /* length */
	uint32_t pinned; /* chunks from the start */
};

#define HEAP_EMPTY ((struct heap){ .memory = -1, .ledger = -1 })

/** heap_init() - make both memfds, @chunks long and empty; locks the ledger's header
 * Return: 0 or a negative errno (ENOMEM, EAGAIN: the limit of locked memory) */
int heap_init(struct heap *h, uint32_t chunks);
/** heap_adopt() - take over an earlier keeper's: locks the first @pinned of @chunks again,
 * and gives back what lies beyond them; both memfds become the heap's on success only
 * Return: 0; -EPROTO: they are none of such a pool; or what heap_init() says */
int heap_adopt(
    struct heap *h, int memory, int ledger, uint32_t chunks, uint32_t pinned);
/** heap_fini() - unlocks, unmaps and closes; fine for HEAP_EMPTY and the half-built */
void heap_fini(struct heap *h);

/** heap_pin() - populate and lock up to @to chunks, and the ledger's pages of them
 * Return: 0 or a negative errno; then nothing has changed */
int heap_pin(struct heap *h, uint32_t to);
/** heap_unpin() - give the pages beyond @to chunks back to the system */
void heap_unpin(struct heap *h, uint32_t to);

/** heap_charge() - bytes locked for @pinned of @chunks, ledger included */
uint64_t heap_charge(uint32_t chunks, uint32_t pinned);

#endif
