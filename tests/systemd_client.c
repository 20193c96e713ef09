/* SPDX-License-Identifier: ISC */

/*
 * A client for systemd_test.sh: many pools in one process, each with a painted buffer, and
 * a thread that allocates all the while. Commands come on stdin, a line each; each has one
 * line for an answer.
 *
 *	check   all buffers hold what was painted, each pool serves, the thread went on
 *	lost    budd is away for all pools, but their buffers hold what was painted
 *	reopen  close all, open them again and paint them anew
 *	quit
 */
#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bud.h"
#include "proto/messages.h"

#define POOLS_MAX   1000
#define MIB         (1024ul * 1024)
#define SMALL       65536ul
#define PATIENCE_MS 30000

struct holding {
	struct bud_pool *pool;
	uint64_t *buf;
};

static struct holding held[POOLS_MAX];
static int pools;
static size_t words;
static _Atomic unsigned long rounds;
static _Atomic bool load_failed;

static void
paint(int i)
{
	for (size_t w = 0; w < words; w += 64)
		held[i].buf[w] = ((uint64_t)i << 40) + w;
}

static bool
painted(int i)
{
	for (size_t w = 0; w < words; w += 64)
		if (held[i].buf[w] != ((uint64_t)i << 40) + w)
			return false;
	return true;
}

/* A label as long as one can be; its section is `default`. */
static int
open_pool(struct bud_pool **poolp)
{
	char name[PROTO_NAME_SIZE] = { 0 };
	const struct bud_config config = { .size = sizeof(config), .pool = name };

	memset(name, 'n', sizeof(name) - 1);
	return bud_open(poolp, &config);
}

static void
open_one(int i)
{
	int r = open_pool(&held[i].pool);

	if (r != 0)
		errx(1, "pool %d: %s", i, strerror(-r));
	held[i].buf = bud_alloc(held[i].pool, words * sizeof(uint64_t), PATIENCE_MS);
	if (held[i].buf == NULL)
		err(1, "pool %d", i);
	paint(i);
}

static void *
load(void *arg)
{
	struct bud_pool *pool = arg;
	void *buf;

	while ((buf = bud_alloc(pool, SMALL, PATIENCE_MS)) != NULL) {
		memset(buf, (int)rounds, SMALL);
		bud_free(pool, buf);
		atomic_fetch_add(&rounds, 1);
	}
	atomic_store(&load_failed, true);
	return NULL;
}

/* It has come around since. */
static bool
load_goes_on(void)
{
	const struct timespec ms = { .tv_nsec = 1000000 };
	unsigned long was = atomic_load(&rounds);

	for (int i = 0; i < PATIENCE_MS && atomic_load(&rounds) < was + 2; i++)
		nanosleep(&ms, NULL);
	return atomic_load(&rounds) >= was + 2 && !atomic_load(&load_failed);
}

static const char *
check(void)
{
	for (int i = 0; i < pools; i++) {
		void *more;

		if (!painted(i))
			return "damaged";
		more = bud_alloc(held[i].pool, MIB, PATIENCE_MS);
		if (more == NULL)
			return strerror(errno);
		bud_free(held[i].pool, more);
		/* Beyond the wall: budd itself has to say so. */
		if (bud_alloc(held[i].pool, words * sizeof(uint64_t), 0) != NULL ||
		    errno != EAGAIN)
			return "not refused";
	}
	return load_goes_on() ? "intact" : "the load stands still";
}

static const char *
lost(void)
{
	for (int i = 0; i < pools; i++) {
		if (!painted(i))
			return "damaged";
		while (bud_alloc(held[i].pool, SMALL, 1) != NULL)
			;
		if (errno != ENOTCONN)
			return strerror(errno);
	}
	return "lost";
}

static const char *
reopen(void)
{
	for (int i = 0; i < pools; i++) {
		bud_close(held[i].pool);
		open_one(i);
	}
	return "reopened";
}

static const char *
obey(const char *line)
{
	if (strcmp(line, "check\n") == 0)
		return check();
	if (strcmp(line, "lost\n") == 0)
		return lost();
	return strcmp(line, "reopen\n") == 0 ? reopen() : "what?";
}

int
main(int argc, char **argv)
{
	struct bud_pool *pool;
	pthread_t thread;
	char line[64];

	if (argc != 3 || (pools = atoi(argv[1])) < 1 || pools > POOLS_MAX)
		errx(2, "usage: systemd-client POOLS MIB");
	words = strtoul(argv[2], NULL, 10) * MIB / sizeof(uint64_t);
	for (int i = 0; i < pools; i++)
		open_one(i);
	if (open_pool(&pool) != 0 || pthread_create(&thread, NULL, load, pool) != 0)
		errx(1, "cannot begin");
	puts("ready");
	fflush(stdout);
	while (
	    fgets(line, sizeof(line), stdin) != NULL && strcmp(line, "quit\n") != 0) {
		puts(obey(line));
		fflush(stdout);
	}
	return 0;
}
