/* SPDX-License-Identifier: ISC */

/*
 * A client that takes buffers one after the other, keeps them, and waits where there are
 * none; until it is killed. For web_test.sh and fleet_test.sh.
 *
 * usage: hold-client POOL SIZE COUNT      prints a line for each that it has got
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bud.h"

int
main(int argc, char **argv)
{
	struct bud_config config = { .size = sizeof(config) };
	struct bud_pool *pool;
	size_t size;
	int r, count;

	if (argc != 4)
		errx(2, "usage: hold-client POOL SIZE COUNT");
	config.pool = argv[1];
	size = strtoul(argv[2], NULL, 10);
	count = atoi(argv[3]);
	if ((r = bud_open(&pool, &config)) != 0)
		errx(1, "bud_open: %s", strerror(-r));
	for (int i = 1; i <= count; i++) {
		if (bud_alloc(pool, size, -1) == NULL)
			err(1, "bud_alloc");
		printf("%d\n", i);
		fflush(stdout);
	}
	for (;;)
		pause();
}
