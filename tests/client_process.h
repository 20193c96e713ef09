/* SPDX-License-Identifier: ISC */

/*
 * A client in a process of its own: a forked child that runs one function and talks to the
 * test in lines, so that each knows how far the other is. must() fails it; the test then
 * sees its line missing, or its status in client_join().
 */
#ifndef TESTS_CLIENT_PROCESS_H
#define TESTS_CLIENT_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "bud.h"

struct daemon;

struct client {
	pid_t pid; /* 0 in the child, and when it is gone */
	int in;
	int out;
	size_t length; /* of what was read beyond the last line */
	char text[4096];
};

typedef void client_fn(struct client *me, void *arg);

/** client_run() - run @fn(@arg) in a child, which ends with status 0 when it returns */
void client_run(struct client *c, client_fn *fn, void *arg);
/** client_run_as() - as user @uid, with a RLIMIT_MEMLOCK of @memlock bytes */
void client_run_as(
    struct client *c, uid_t uid, uint64_t memlock, client_fn *fn, void *arg);

/* Both sides. */

/** client_say() - send a line */
void client_say(struct client *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/** client_hear() - the next line, without its end; valid until the next call */
const char *client_hear(struct client *c);
/** client_wait() - the next line is @line */
void client_wait(struct client *c, const char *line);
/** client_heard() - has a line come? does not wait */
bool client_heard(struct client *c);

/* The test's side. */

/** client_join() - it ends by itself, with status 0 */
void client_join(struct client *c);
/** client_kill() - SIGKILL, and it is gone on return */
void client_kill(struct client *c);
/** client_wait_status() - it ends; its wait status */
int client_wait_status(struct client *c);

/** must() - @cond holds, or this process, which is not Check's to judge, fails */
#define must(cond) must_(cond, #cond, __FILE__, __LINE__)
void must_(bool cond, const char *text, const char *file, int line);

/* Buffers. */

/** open_pool() - bud_open() of section @name at @d, which must work */
struct bud_pool *open_pool(const struct daemon *d, const char *name);
/** stat_of() - bud_stat() */
struct bud_stat stat_of(struct bud_pool *pool);
/** paint() - fill with what @seed says; painted() - it still stands there */
void paint(void *buf, size_t size, uint64_t seed);
bool painted(const void *buf, size_t size, uint64_t seed);

#endif
