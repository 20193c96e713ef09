/* SPDX-License-Identifier: ISC */

/*
 * Many clients of one budd, a pool each: what connecting takes, and how many grants a
 * second come through the queues. Between the two it prints "ready", and after them, when
 * each pool has three additional blocks, "holding"; and waits for a line each time, so that
 * bench/run can look at budd meanwhile.
 *
 *	bench/clients N
 */
#include <err.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bud.h"

#define BASE    ((size_t)256 << 10)
#define SECONDS 1.0

struct client {
	struct bud_pool *pool;
	void *buf; /* all that its wall has */
};

static struct client *clients;
static struct pollfd *fds;
static unsigned int nclients;
static unsigned long grants;

static double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void
open_all(void)
{
	struct bud_config config = {
		.size = sizeof(config),
		.base = BASE,
		.add = BASE,
		.wall = 1 << 20,
	};
	double start = now();
	int r;

	for (unsigned int i = 0; i < nclients; i++)
		if ((r = bud_open(&clients[i].pool, &config)) != 0)
			errx(1, "bud_open of client %u: %s", i, strerror(-r));
	printf("connect-us %.2f\n", (now() - start) / nclients * 1e6);
}

static void
granted(void *buf, int error, void *arg)
{
	struct client *c = arg;

	if (error != 0)
		errx(1, "not granted: %s", strerror(-error));
	c->buf = buf;
	grants++;
}

/* Each asks for what it holds itself, and gives it back: its own waiter is served. */
static void
round_of_all(void)
{
	unsigned long until = grants + nclients;

	for (unsigned int i = 0; i < nclients; i++)
		if (bud_request(clients[i].pool, 1 << 20, -1, 0, granted, &clients[i],
			NULL) != 0)
			errx(1, "bud_request");
	for (unsigned int i = 0; i < nclients; i++)
		bud_free(clients[i].pool, clients[i].buf);
	while (grants < until) {
		if (poll(fds, nclients, 10000) <= 0)
			errx(1, "no grant for ten seconds");
		for (unsigned int i = 0; i < nclients; i++)
			if (fds[i].revents != 0)
				bud_dispatch(clients[i].pool);
	}
}

static void
count_grants(void)
{
	unsigned long before;
	double start;

	for (unsigned int i = 0; i < nclients; i++) {
		clients[i].buf = bud_alloc(clients[i].pool, 1 << 20, 10000);
		if (clients[i].buf == NULL)
			err(1, "bud_alloc");
		fds[i].fd = bud_fd(clients[i].pool);
		fds[i].events = POLLIN;
	}
	round_of_all();
	before = grants;
	start = now();
	while (now() - start < SECONDS)
		round_of_all();
	printf("grants-per-s %.0f\n", (double)(grants - before) / (now() - start));
}

int
main(int argc, char **argv)
{
	char line[8];

	if (argc != 2 || (nclients = (unsigned int)atoi(argv[1])) == 0)
		errx(2, "usage: clients N");
	clients = calloc(nclients, sizeof(*clients));
	fds = calloc(nclients, sizeof(*fds));
	if (clients == NULL || fds == NULL)
		err(1, "calloc");
	open_all();
	puts("ready");
	fflush(stdout);
	if (fgets(line, sizeof(line), stdin) == NULL)
		return 0;
	count_grants();
	puts("holding");
	fflush(stdout);
	if (fgets(line, sizeof(line), stdin) == NULL)
		return 0;
	for (unsigned int i = 0; i < nclients; i++)
		bud_close(clients[i].pool);
	return 0;
}
