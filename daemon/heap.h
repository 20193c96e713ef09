/* SPDX-License-Identifier: ISC */

/*
 * Where a pool's memory comes from: two memfds, the memory and its ledger, sealed, 0600,
 * mapped by the keeper and locked from the start up to a mark.
 *
 * The ledger is of 4 KiB pages always. The memory is, by its kind (heap_kind.h):
 *   page  of 4 KiB pages, whatever the host's settings would give;
 *   thp   advised to be of large pages, in a mapping that starts at a multiple of 2 MiB; what
 *         comes of it is the kernel's affair, and is told of each slice;
 *   huge  of hugetlb pages. These are never paged out, are not counted as locked, and need no
 *         lock: populating them is pinning them. There may be none left, at any time.
 */
#ifndef DAEMON_HEAP_H
#define DAEMON_HEAP_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/heap_kind.h"

struct heap {
	int memory; /* memfds */
	int ledger;
	char *memory_addr; /* mappings; NULL: none */
	char *ledger_addr;
	uint32_t chunks; /* length */
	uint32_t pinned; /* chunks from the start */
	uint32_t
	    left; /* pages beyond them, up to here, could not be given back; 0: none */
	enum heap_kind kind;
	unsigned int page_shift; /* of what heap_pin() got last; 0: nobody knows */
};

#define HEAP_EMPTY ((struct heap){ .memory = -1, .ledger = -1 })

/** heap_init() - make both memfds, @chunks long and empty; locks the ledger's header
 * @chunks:	a multiple of heap_kind_chunks(@kind), as everything that is pinned
 * Return: 0 or a negative errno (ENOMEM, EAGAIN: the limit of locked memory) */
int heap_init(struct heap *h, enum heap_kind kind, uint32_t chunks);
/** heap_adopt() - take over an earlier keeper's: locks the first @pinned of @chunks again,
 * and gives back what lies beyond them; both memfds become the heap's on success only
 * Return: 0; -EPROTO: they are none of such a pool; or what heap_init() says */
int heap_adopt(struct heap *h, enum heap_kind kind, int memory, int ledger,
    uint32_t chunks, uint32_t pinned);
/** heap_fini() - unlocks, unmaps and closes; fine for HEAP_EMPTY and the half-built */
void heap_fini(struct heap *h);
/** heap_end() - the pool is over: gives all pages back, though others may map them, and then
 * heap_fini(); fine for HEAP_EMPTY */
void heap_end(struct heap *h);

/** heap_pin() - populate and lock up to @to chunks, and the ledger's pages of them; notes in
 * page_shift what pages it got, on the average of this call, rounded down
 * Return: 0 or a negative errno; then nothing has changed. ENOMEM of heap `huge`: the host has
 * no reserved page left */
int heap_pin(struct heap *h, uint32_t to);
/** heap_unpin() - give the pages beyond @to chunks back to the system
 * Return: 0, or a negative errno: they are not locked any more, but some of them stay */
int heap_unpin(struct heap *h, uint32_t to);
/** heap_give_back_rest() - try again with what stayed; 0 or a negative errno */
int heap_give_back_rest(struct heap *h);

/** heap_lock_memory() - populate and lock [@offset, @offset + @size) of the memory, which may
 * be locked in part; bytes
 * Return: 0 or a negative errno */
int heap_lock_memory(const struct heap *h, size_t offset, size_t size);

/** heap_charge() - bytes locked for @pinned of @chunks, ledger included */
uint64_t heap_charge(uint32_t chunks, uint32_t pinned);

#endif
