/* SPDX-License-Identifier: ISC */

/*
 * A pool's record: what outlives an arbiter, beside the keeper's table and the ledger.
 *
 * It lies in memory that the keeper made and each arbiter maps; the arbiter alone writes
 * it, the keeper never reads it. Each step is one store, made in an order in which a death
 * between any two of them leaves something that the next arbiter finishes by growing:
 *
 *   a block is added     its size, then `blocks`, then the keeper is asked for slices
 *   a chunk is moved     (opened or closed) `doubt`, the ledger's word, `opened`, `doubt`
 *   a block is dropped   all its chunks closed, slices given back, then `blocks`
 */
#ifndef DAEMON_RECORD_H
#define DAEMON_RECORD_H

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>

#include "proto/ledger.h"
#include "proto/messages.h"

#define RECORD_BLOCKS_MAX 1024u

struct record_counters {
	uint64_t grants;   /* turns given; what the ledger alone served is not seen */
	uint64_t queued;   /* requests that had to wait for memory */
	uint64_t refused;  /* answered EAGAIN, EMSGSIZE or ENOMEM */
	uint64_t timeouts; /* ended by their deadline */
	uint64_t grown;    /* additional blocks pinned */
	uint64_t released; /* additional blocks given back */
};

/* What the audit of the pins found; pages of 4 KiB. */
struct record_audit {
	uint64_t passes;
	uint64_t holes;    /* punched by the client, and locked again */
	uint64_t unlocked; /* ... and touched again meanwhile: not locked until then */
	uint64_t failed;   /* slices that could not be locked again */
};

/* A word, for most pools' blocks to lie in the first page of their record. */
struct record_block {
	uint32_t chunks : 24;
	uint32_t
	    page_shift : 8; /* of the smallest pages that it got; 0: not known yet */
};
static_assert(sizeof(struct record_block) == 4 && CHUNKS_MAX < 1u << 24, "a word");

struct record {
	/* Of the session: see blame.h. The keeper clears what comes behind it. */
	uint32_t session; /* whose record it is */
	uint32_t deaths;  /* of arbiters that were busy with it */
	/* Of its pool. */
	_Atomic uint32_t blocks; /* the base block included; 0: not open yet */
	_Atomic uint32_t opened; /* chunks */
	_Atomic uint32_t doubt;  /* 1 + the chunk being moved; 0: none */
	uint32_t tick_count;     /* ticks to the next release pass */
	uint32_t tick;           /* of the core, as last published in the ledger */
	_Atomic uint32_t ask;    /* chunks that it starves for; 0: it does not */
	int64_t since;           /* ... and since when; ns of an instant */
	_Atomic uint64_t
	    taking;    /* what is on its way from a cache to the map; caches.c */
	uint64_t wall; /* as it stands now, and so are the next four */
	uint64_t add;
	uint32_t weight;
	uint32_t policy; /* its number */
	uint32_t keep_idle;
	uint32_t overtaken; /* since it starves, others before it: see share.c */
	struct record_counters counters;
	struct record_audit audit;
	/* Of a pool whose client registers its memory; see registered.c. An arbiter that
	 * did not know would take a block from under a device. */
	uint32_t registers;               /* 1: it does */
	uint32_t asks;                    /* the number of the last RELEASE */
	uint64_t kept;                    /* blocks that were not given up in time */
	char command[PROTO_COMMAND_SIZE]; /* as the client said it; or empty */
	struct record_block block[RECORD_BLOCKS_MAX];
};
static_assert(sizeof(struct record) == 4096 + 208, "layout of the record");

/* Records stand this far apart: most pools touch the first page of theirs alone. */
#define RECORD_STRIDE 8192u

/* What was set for the host through the status socket, as in struct core_params. */
struct record_host {
	int64_t read_at; /* ... while this configuration was in force; 0: nothing was */
	uint64_t wall;
	int64_t tick_ns;
	uint32_t release_ticks;
	uint32_t idle_ticks;
	uint32_t overtaken_max;
	uint32_t user_pools;
	uint32_t user_requests;
	uint32_t reserved;
	uint64_t user_wall;
};

/* Behind the last record, on a page of its own: what outlives an arbiter of itself. */
struct record_note {
	_Atomic uint64_t busy;  /* session << 32 | slot; RECORD_IDLE: with none */
	_Atomic uint32_t which; /* of the two; stored once that one is whole */
	uint32_t reserved;
	struct record_host host[2];
};

#define RECORD_IDLE         0u
#define RECORDS_SIZE(slots) ((size_t)(slots)*RECORD_STRIDE + 4096)

#endif
