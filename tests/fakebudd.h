/* SPDX-License-Identifier: ISC */

/*
 * A budd that does what a test says. It has the real memfds, ledger, socket and
 * messages, but no mind of its own: after opening, the test itself reads what the client
 * sent and answers it. Each function asserts (with Check) that what it does succeeds.
 */
#ifndef TESTS_FAKEBUDD_H
#define TESTS_FAKEBUDD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "bud.h"
#include "proto/ledger.h"
#include "proto/messages.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FAKE_SANITIZED 1 /* memset() touches more than its buffer */
#else
#define FAKE_SANITIZED 0
#endif

struct fakebudd {
	char dir[32];
	char path[64];
	int listener;
	int conn; /* -1: no client, or hung up on */
	int memory_fd;
	int ledger_fd;
	char *memory;
	uint64_t memory_size;
	struct ledger ledger;
	uint32_t opened; /* chunks */
	uint32_t
	    caches; /* that threads may use; 0, unless a test calls fake_init_caching() */

	/* What it answers to HELLO. A test may change it before the client opens. */
	union proto_msg answer;
	size_t answer_size;
	int answer_fds[2];
	unsigned int answer_nfds;
	unsigned int restarts; /* RESTARTED before the answer; each wants a new HELLO */
	union proto_msg hello; /* the last one that came */
	pthread_t thread;
};

/** fake_init() - a listening budd with @base chunks open of @chunks */
void fake_init(struct fakebudd *f, uint32_t base, uint32_t chunks);
/** fake_init_caching() - the same, and threads may keep buffers in caches */
void fake_init_caching(struct fakebudd *f, uint32_t base, uint32_t chunks);
void fake_fini(struct fakebudd *f);
/** fake_answer() - accept one client and answer its HELLO, in a thread; join it */
void fake_answer(struct fakebudd *f);
void fake_join(struct fakebudd *f);
/** fake_try_open() - bud_open() at this budd; @config's socket is set here */
int fake_try_open(
    struct fakebudd *f, struct bud_pool **poolp, const struct bud_config *config);
/** fake_open() - the same, and it must succeed; all the defaults */
struct bud_pool *fake_open(struct fakebudd *f);

/** fake_grow() - open @n more chunks */
void fake_grow(struct fakebudd *f, uint32_t n);
void fake_queued(struct fakebudd *f, bool queued);
/** fake_unused() - nothing is allocated, and the ledger is in order */
bool fake_unused(const struct fakebudd *f);

/** fake_expect() - the next message, which must come soon and be of that type */
void fake_expect(struct fakebudd *f, enum proto_type type, union proto_msg *msg);
/** fake_expect_alloc() - the same; returns its tag */
uint64_t fake_expect_alloc(struct fakebudd *f, uint64_t size_bytes);
void fake_expect_done(struct fakebudd *f, uint64_t tag, enum proto_outcome outcome);
void fake_expect_cancel(struct fakebudd *f, uint64_t tag);
/** fake_expect_nothing() - no message has come that was not expected */
void fake_expect_nothing(struct fakebudd *f);

void fake_send(struct fakebudd *f, const union proto_msg *msg);
void fake_grant(struct fakebudd *f, uint64_t tag);
void fake_refuse(struct fakebudd *f, uint64_t tag, int error);
void fake_restarted(struct fakebudd *f);
void fake_hang_up(struct fakebudd *f);

/* A thread that is in bud_alloc(). */
struct waiter {
	struct bud_pool *pool;
	size_t size;
	int timeout_ms;
	void *buf;
	int error; /* errno, if buf is NULL */
	pthread_t thread;
};

void waiter_start(struct waiter *w, struct bud_pool *pool, size_t size, int timeout_ms);
/** waiter_join() - its buffer; NULL: see w->error */
void *waiter_join(struct waiter *w);

#endif
