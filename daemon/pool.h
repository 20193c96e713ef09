/* SPDX-License-Identifier: ISC */

/*
 * A pool: the pinned prefix of one client's memory, as blocks.
 *
 * Block 0 is the base block; each additional one starts where the one before it ends; only
 * the last one is ever released. Four marks divide the memory, in chunks from its start:
 *
 *	0 ......... opened ......... pinned ......... planned ......... wall
 *	  the client's   pinned, not     blocks that      free to grow
 *			 opened (yet)    are being pinned
 *
 * Invariants, which pool_check() tests:
 *   P1  opened <= pinned <= planned, and planned is the sum of the blocks;
 *   P2  planned <= wall, unless the wall was lowered below what was pinned already;
 *   P3  steady: opened == pinned == planned, and there is a base block.
 */
#ifndef DAEMON_POOL_H
#define DAEMON_POOL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "daemon/clock.h"
#include "daemon/heap_kind.h"
#include "daemon/policy.h"
#include "daemon/queue.h"
#include "daemon/record.h"
#include "daemon/tally.h"
#include "daemon/user.h"
#include "proto/ledger.h"

enum pool_phase {
	POOL_STEADY,
	POOL_GROWING,   /* slices of the last block are being pinned */
	POOL_ASKED,     /* the last block is closed; its client has to unregister it */
	POOL_RELEASING, /* slices of the last block, closed, are being given back */
	POOL_UNSETTLED, /* of a dead arbiter: what it was doing is not clear yet */
};

/* Why a block comes ... */
enum grow_reason {
	GROW_BASE,     /* the pool is opened */
	GROW_REQUEST,  /* somebody waits for it */
	GROW_HEADROOM, /* before anybody has to */
	GROW_RESTART,  /* an earlier arbiter had begun it */
};

/* ... and goes. */
enum release_reason {
	RELEASE_PERIOD,   /* by the policy */
	RELEASE_TRANSFER, /* a transfer has ended: as if all that is empty were idle */
	RELEASE_OPERATOR, /* likewise */
	RELEASE_PRESSURE, /* all empty last blocks; none stays as headroom */
	RELEASE_OTHERS,   /* others wait for memory */
	RELEASE_ROOM,     /* it makes way for a larger one */
	RELEASE_WALL,     /* the wall was lowered below it */
};

/* What a pool was allowed when it was opened. Bytes, in whole chunks but for the wall; base,
 * add and wall_max in whole pages of the heap. */
struct pool_limits {
	uint64_t base;
	uint64_t add;
	uint64_t wall;     /* as given: UsrWall */
	uint64_t wall_max; /* length of the memory */
	uint64_t max_buffer;
	uint64_t headroom;
	uint64_t group_wall; /* wall_total of the section; 0: none */
	uint32_t weight;
	enum heap_kind heap;
	uid_t uid;
	const struct policy *policy;
	const char *group; /* the section's name, where there is a wall_total */
	bool keep_idle;    /* no release pass for this pool */
};

/* Its place among those that wait for memory of others; see share.c. */
struct place {
	bool starved;  /* it is one of them */
	uint32_t ask;  /* chunks of the block that it wants */
	int64_t since; /* its head waits; ns of its instant */
};

struct pool {
	TAILQ_ENTRY(pool) entry; /* of the core, oldest first */
	uint32_t id;
	bool welcome;       /* its base block has been pinned once */
	bool told_pressure; /* ... or has too much of it, and was told */
	bool slice_due;     /* it grows, and its next slice has not been asked for */
	bool mark_armed;    /* low_mark was set; see headroom in grow.c */
	bool mark_passed;
	bool deaf;      /* its client is not listened to any more */
	bool announced; /* that somebody waits */
	bool call_in;   /* ... and nobody has looked into the caches since */
	bool
	    keeps_queued; /* `queued` is of an earlier arbiter: somebody may ask again */
	bool resumed;     /* ... and whoever did not by the next tick will not */
	bool is_heir; /* its place among those that starve is an earlier arbiter's */
	struct instant heir_until; /* ... and kept for its client until then */
	enum pool_phase phase;
	enum grow_reason grows_for;       /* the last block that came, */
	enum release_reason releases_for; /* and that went */
	struct instant grows_since;
	struct level waiting; /* requests that wait for their turn */
	uint32_t pinned;      /* chunks, as the keeper said last */
	uint32_t planned;     /* chunks */
	uint32_t
	    slices_out; /* that the keeper was asked to pin, and has not answered */
	uint32_t asked; /* chunks: where the last of them ends */
	int pin_error;  /* of one that failed, while the rest comes back */
	uint32_t retry_tick;  /* after a failed pin: no growing before this tick */
	uint32_t overtaken;   /* times that others were served before it */
	uint32_t audited;     /* chunks, by the audit that is under way */
	uint32_t audit_pages; /* ... and what it found so far */
	uint32_t calls;       /* to the caches, without a yield, since the last tick */
	uint32_t to_release;  /* blocks that the pass still has to give back */
	uint32_t ask_ends;    /* POOL_ASKED: the tick by which it must give up */
	uint32_t ask_again;   /* after a block was kept: not before this tick */
	uint64_t round;       /* of share_serve(), in which it was looked at */
	uint64_t charged;     /* bytes that host and user count for it */
	uint64_t charged_memory; /* ... and its group, without the ledger */
	struct place place;
	struct user *user;
	struct group *group; /* NULL: none */
	struct pool_limits limits;
	struct ledger ledger;
	struct record *record;
	struct queue queue;
	void *shell; /* whatever the shell keeps for it */
};

/** pool_init() - a pool without a block; @record is zero, or an earlier arbiter's
 * @ledger:	room for limits->wall_max */
void pool_init(struct pool *p, uint32_t id, const struct pool_limits *limits,
    const struct ledger *ledger, struct record *record);

/* What is. */
uint32_t pool_blocks(const struct pool *p);
uint32_t pool_opened(const struct pool *p);
struct chunk_range pool_block(const struct pool *p, uint32_t index);
/** pool_block_open() - the part of a block that the client may use */
struct chunk_range pool_block_open(const struct pool *p, uint32_t index);
/** pool_used() - bytes in buffers, as the ledger, and so the client, says */
uint64_t pool_used(const struct pool *p);
/** pool_charge() - what @chunks pinned cost the host, ledger pages included; bytes */
uint64_t pool_charge(const struct pool *p, uint32_t chunks);
/** pool_slice() - chunks that are pinned, or given back, at a time: about as much time of the
 * keeper for each heap, as far as one knows what pages come */
uint32_t pool_slice(const struct pool *p);
/** pool_slices() - so many of one pool may be under way: two where they are quick, so that the
 * keeper has the next one before the arbiter has heard of the first */
uint32_t pool_slices(const struct pool *p);
/** pool_whole() - @chunks, rounded up to whole pages of the heap */
uint32_t pool_whole(const struct pool *p, uint32_t chunks);
/** pool_wall_chunks() - whole pages of the heap below the wall, in chunks */
uint32_t pool_wall_chunks(const struct pool *p);
/** pool_floor() - chunks that remain if all empty last additional blocks went */
uint32_t pool_floor(const struct pool *p);
/** pool_idle_blocks() - from the last one down: empty, none allocated for @idle_ticks */
uint32_t pool_idle_blocks(const struct pool *p, uint32_t tick, uint32_t idle_ticks);
bool pool_check(const struct pool *p);

/* Steps. */
/** pool_settle() - after an arbiter's death: find out about the chunk that was being moved,
 * and the buffer that was
 * Return: false: a thread of the client is in the midst of taking something; try again */
bool pool_settle(struct pool *p);
/** pool_add_block() - record a block of @chunks at the end; it is to be pinned now */
void pool_add_block(struct pool *p, uint32_t chunks);
/** pool_drop_rest() - the last block ends where pinning ended; it goes if that is nothing */
void pool_drop_rest(struct pool *p);
/** pool_note_pages() - what was pinned last of the last block came in pages of 1 << @shift
 * bytes; 0: nobody knows */
void pool_note_pages(struct pool *p, unsigned int shift);
/** pool_open_to() - open the chunks up to @chunks, which are pinned */
void pool_open_to(struct pool *p, uint32_t chunks);
/** pool_close_last() - take the last additional block from the client; false: it is used */
bool pool_close_last(struct pool *p);
/** pool_reopen_last() - the client has the block that pool_close_last() took again */
void pool_reopen_last(struct pool *p);
/** pool_drop_block() - forget the last block, which has been given back */
void pool_drop_block(struct pool *p);
/** pool_publish() - tell the client the figures of bud_stat() and the tick */
void pool_publish(struct pool *p, uint32_t tick);

#endif
