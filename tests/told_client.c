/* SPDX-License-Identifier: ISC */

/*
 * A client that does what it is told on its standard input, one line after the other, and
 * prints one line for each: "ok", or why not. It dispatches while it waits for the next one.
 * For tests/schema_test.py.
 *
 * usage: told-client POOL [BASE [WALL]]
 *
 *	take SIZE	a buffer, without waiting
 *	want SIZE [MS]	asks for one; it comes when it comes, and is kept
 *	free		all that it has
 *	hint		a transfer has ended
 *	register	its blocks; "obey" or "hold": whether it gives up those it is asked for
 *	punch SIZE	the start of the last buffer out of the memory
 *	garbage		to budd, instead of a message
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bud.h"

#define BUFFERS_MAX 1024

static struct bud_pool *pool;
static void *buffers[BUFFERS_MAX];
static unsigned int count;
static bool obeys;

static int
keep(void *buf)
{
	if (count == BUFFERS_MAX)
		errx(1, "more than %d buffers", BUFFERS_MAX);
	buffers[count++] = buf;
	return 0;
}

static int
take(const char *size)
{
	void *buf = bud_alloc(pool, strtoul(size, NULL, 10), 0);

	return buf != NULL ? keep(buf) : -errno;
}

static void
on_granted(void *buf, int error, void *arg)
{
	(void)error;
	(void)arg;
	if (buf != NULL)
		keep(buf);
}

static int
want(const char *text)
{
	char *rest;
	size_t size = strtoul(text, &rest, 10);
	int timeout_ms = *rest != '\0' ? atoi(rest) : -1;

	return bud_request(pool, size, timeout_ms, 0, on_granted, NULL, NULL);
}

static int
free_all(const char *unused)
{
	(void)unused;
	while (count > 0)
		bud_free(pool, buffers[--count]);
	return 0;
}

static int
hint(const char *unused)
{
	(void)unused;
	return bud_hint(pool, BUD_TRANSFER_END);
}

static void
on_block(unsigned int what, void *start, size_t bytes, void *arg)
{
	(void)bytes;
	(void)arg;
	if (what == BUD_BLOCK_RELEASE && obeys)
		bud_gave_up(pool, start);
}

static int
register_blocks(const char *how)
{
	obeys = strcmp(how, "obey") == 0;
	return bud_watch_blocks(pool, on_block, NULL);
}

static int
punch(const char *size)
{
	uint64_t offset;
	int fd, r;

	if (count == 0)
		return -ENOENT;
	r = bud_locate(pool, buffers[count - 1], &fd, &offset);
	if (r == 0 && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			  (off_t)offset, strtol(size, NULL, 10)) == -1)
		r = -errno;
	return r;
}

static bool
is_to_budd(int fd)
{
	int type = 0;
	socklen_t size = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
	       type == SOCK_SEQPACKET;
}

static int
garbage(const char *unused)
{
	(void)unused;
	for (int fd = 3; fd < 64; fd++)
		if (is_to_budd(fd))
			return send(fd, "x", 1, MSG_NOSIGNAL) == 1 ? 0 : -errno;
	return -ENOTCONN;
}

static const struct {
	const char *name;
	int (*run)(const char *argument);
} commands[] = {
	{ "take", take },
	{ "want", want },
	{ "free", free_all },
	{ "hint", hint },
	{ "register", register_blocks },
	{ "punch", punch },
	{ "garbage", garbage },
};

static int
obey(char *line)
{
	const char *name = strtok(line, " \n"), *argument = strtok(NULL, "\n");

	for (size_t i = 0; name != NULL && i < sizeof(commands) / sizeof(commands[0]);
	     i++)
		if (strcmp(name, commands[i].name) == 0)
			return commands[i].run(argument != NULL ? argument : "");
	return -ENOSYS;
}

static void
dispatch_until_told(void)
{
	struct pollfd p[] = { { .fd = STDIN_FILENO, .events = POLLIN },
		{ .fd = bud_fd(pool), .events = POLLIN } };

	do {
		if (poll(p, 2, -1) == -1)
			err(1, "poll");
		bud_dispatch(pool);
	} while (p[0].revents == 0);
}

int
main(int argc, char **argv)
{
	struct bud_config config = { .size = sizeof(config) };
	char line[128];
	int r;

	if (argc < 2)
		errx(2, "usage: told-client POOL [BASE [WALL]]");
	config.pool = argv[1];
	config.base = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
	config.wall = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
	setvbuf(stdin, NULL, _IONBF, 0); /* what is read ahead wakes no poll() */
	setvbuf(stdout, NULL, _IOLBF, 0);
	r = bud_open(&pool, &config);
	puts(r == 0 ? "ok" : strerrorname_np(-r));
	while (r == 0) {
		int done;

		dispatch_until_told();
		if (fgets(line, sizeof(line), stdin) == NULL)
			break;
		done = obey(line);
		puts(done == 0 ? "ok" : strerrorname_np(-done));
	}
	if (r == 0)
		bud_close(pool);
	return r != 0;
}
