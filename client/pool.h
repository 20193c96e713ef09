/* SPDX-License-Identifier: ISC */

/*
 * A pool as the library sees it, and the register of all pools of the process.
 *
 * Locks, in the order in which they are taken:
 *   1. the register's (pool.c): which pools there are; a fork() and the making of
 *      descriptors and mappings exclude each other under it;
 *   2. pool->lock: everything below the line in struct bud_pool, and all of a request.
 * Nobody waits while holding one, runs a callback, or locks two pools (but fork()).
 * The fast path takes neither: it lives on the ledger's atomics, and on what bud_open()
 * wrote once.
 */
#ifndef CLIENT_POOL_H
#define CLIENT_POOL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/tree.h>
#include <sys/types.h>

#include "bud-inline.h"
#include "client/blocks.h"
#include "client/watch.h"
#include "proto/ledger.h"

struct bud__request;

RB_HEAD(bud__tags, bud__request);
RB_HEAD(bud__deadlines, bud__request);
TAILQ_HEAD(bud__requests, bud__request);

/* A short message that found the socket full. */
struct bud__note {
	uint32_t type;    /* PROTO_DONE, CANCEL, WATCH, HINT or GAVE_UP */
	uint32_t outcome; /* or the mask, the hint, or the number of the question */
	uint64_t tag;     /* or the offset */
};

struct bud__cache;

/* By leaves, which are made when they are needed: see memory.h. */
typedef _Atomic(_Atomic uint32_t *) bud__seen;
typedef _Atomic(struct bud__cache *) bud__caches;

struct bud_pool {
	uint64_t id; /* first: bud-inline.h looks at it. Never used again */

	/* The fast path. Written by bud_open() alone, but for the atomics. */
	_Atomic bool forked;  /* the pool is our parent's, and not mapped here */
	_Atomic bool away;    /* budd is gone, or not to be trusted; never back */
	_Atomic bool full;    /* the socket took no more: something waits to be sent */
	_Atomic bool crowded; /* `waiting` is not empty: nobody overtakes when away */
	_Atomic bool
	    settling; /* the last of `waiting` had its turn, and none came since */
	bool debug;
	unsigned int flags; /* BUD_LOCAL */
	struct ledger ledger;
	char *memory;
	uint64_t memory_size;
	uint64_t max_buffer;
	bud__seen *seen;     /* the generation of each chunk that is populated here */
	bud__caches *caches; /* LEDGER_CACHES of them; NULL: none are used */

	int sock;
	dev_t sock_dev; /* which socket that is: see bud__owns_descriptors() */
	ino_t sock_ino;
	int memory_fd;
	int io_epoll;    /* the socket, while budd is there: what a reader sleeps on */
	int event_fd;    /* readable while any callback is due */
	int timer_fd;    /* set to the earliest deadline that no thread watches */
	int outer_epoll; /* the three above: bud_fd() */
	LIST_ENTRY(bud_pool) entry; /* the register's */

	/* ---- Under the lock from here on. */
	pthread_mutex_t lock;
	pthread_cond_t left; /* `inside` went down while closing */
	unsigned int inside; /* threads that wait, and calls of bud_dispatch() */
	bool closing;
	bool reading; /* a thread sleeps on io_epoll; nobody else may read the socket */

	struct bud__tags tags; /* all requests that are alive */
	struct bud__deadlines
	    deadlines;                /* waiting ones with a callback and a deadline */
	struct bud__requests waiting; /* in the order of their tags */
	struct bud__requests blocked; /* those that a thread waits for */
	struct bud__requests ended;   /* those whose callback is due */
	unsigned int ended_count;
	int64_t timer_ns; /* what timer_fd is set to; 0: to nothing */

	struct bud__request
	    *unsent;         /* the first of `waiting` that budd was not told of */
	uint32_t sent_count; /* those that it was told of */
	struct bud__note *notes;
	size_t notes_count;
	size_t notes_capacity;
	struct bud__watch watch;
	struct bud__blocks blocks;
};

/** bud__pool_create() - an empty pool, in the register; NULL: out of memory */
struct bud_pool *bud__pool_create(void);
/** bud__pool_free() - undo whatever of a pool there is; all callbacks have run */
void bud__pool_free(struct bud_pool *pool);

/**
 * bud__owns_descriptors() - are the pool's descriptors still the pool's?
 *
 * Daemons close all descriptors that they do not know, and others get their numbers. What
 * happens to the socket happens to them all. If it is another one now, then budd is away
 * for this pool, and we keep our hands off all of them.
 */
bool bud__owns_descriptors(const struct bud_pool *pool);
/** bud__above_stdio() - @fd, under a number above 2; what a program opens there is its
 * standard input, output or error. -1 and errno, also if @fd was -1 */
int bud__above_stdio(int fd);

/** bud__hold_cancel() - no pthread_cancel() of this thread takes effect, for a lock would
 * stay locked; returns what bud__resume_cancel() needs */
int bud__hold_cancel(void);
void bud__resume_cancel(int state);

/** bud__pools_lock() - keep fork() out: descriptors and mappings are made under this */
void bud__pools_lock(void);
void bud__pools_unlock(void);
/** bud__pools_each() - call @f for each pool, with the register locked */
void bud__pools_each(void (*f)(struct bud_pool *pool, struct bud_inline_thread *arg),
    struct bud_inline_thread *arg);
/** bud__pools_find() - whose request is it? @requestp is written on success only
 * The register's lock is held, and the pool's in addition when it returns one. */
struct bud_pool *bud__pools_find(uint64_t tag, struct bud__request **requestp);

#endif
