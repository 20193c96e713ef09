/* SPDX-License-Identifier: ISC */

/*
 * An arbiter without a keeper, clients or clock, for the suites of the status: sessions
 * are structs, ledgers and records lie in plain memory, and the real core pins at once.
 * It stands in for daemon/arbiter.c and daemon/session.c, so it is linked instead of them.
 */
#ifndef TESTS_FAKE_ARBITER_H
#define TESTS_FAKE_ARBITER_H

#include "daemon/arbiter.h"
#include "daemon/record.h"
#include "daemon/session.h"

#define FAKE_CHUNKS 4096u /* that a pool's ledger has room for */

struct fake {
	struct arbiter arbiter;
	struct config config;
	struct record_note note;
	struct pool *pinning; /* asked for a slice that has not been pinned yet */
	struct chunk_range slice;
	struct pool *unpinning; /* likewise */
	uint32_t unpin_to;
};

extern struct instant fake_now;
extern unsigned int fake_rewinds; /* times that the arbiter's timer was set */

void fake_init(struct fake *f);
void fake_fini(struct fake *f);
/** fake_add() - a pool with a base of @base chunks, that grows by @add */
struct session *fake_add(struct fake *f, const char *name, uint32_t base, uint32_t add);
/** fake_add_to() - one of 4 chunks, of a section whose pools share a wall of @wall chunks */
struct session *fake_add_to(
    struct fake *f, const char *name, const char *section, uint32_t wall);
/** fake_add_of() - one of 4 chunks, of another user */
struct session *fake_add_of(struct fake *f, const char *name, uid_t uid);
/** fake_grow() - one more block of @chunks, of which @pinned get pinned */
void fake_grow(struct fake *f, struct session *s, uint32_t chunks, uint32_t pinned);
/** fake_settle() - the keeper gives back what it was asked to */
void fake_settle(struct fake *f);
/** fake_take() - a buffer of @size bytes, by the client; ends the test if it is full */
uint32_t fake_take(struct session *s, uint64_t size);
/** fake_wait() - a request for more than there is, which queues; the wall is lowered so
 * that nothing grows */
void fake_wait(struct fake *f, struct session *s, uint64_t tag, uint64_t size);

#endif
