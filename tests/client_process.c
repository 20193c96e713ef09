/* SPDX-License-Identifier: ISC */

/* Clients in processes of their own. */
#include "tests/client_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/daemon.h"
#include "tests/fork.h"

void
must_(bool cond, const char *text, const char *file, int line)
{
	if (cond)
		return;
	dprintf(STDERR_FILENO, "%s:%d: client %d: not true: %s (%s)\n", file, line,
	    (int)getpid(), text, strerrorname_np(errno));
	_exit(1);
}

static void
become(uid_t uid, uint64_t memlock)
{
	struct rlimit limit = { memlock, memlock };

	if (memlock != 0)
		must(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
	if (uid != 0)
		must(setgid(uid) == 0 && setuid(uid) == 0);
}

void
client_run_as(struct client *c, uid_t uid, uint64_t memlock, client_fn *fn, void *arg)
{
	int down[2], up[2];

	ck_assert_int_eq(pipe2(down, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(up, O_CLOEXEC), 0);
	*c = (struct client){ .pid = test_fork() };
	c->in = c->pid == 0 ? down[0] : up[0];
	c->out = c->pid == 0 ? up[1] : down[1];
	close(c->pid == 0 ? down[1] : down[0]);
	close(c->pid == 0 ? up[0] : up[1]);
	if (c->pid != 0)
		return;
	signal(SIGPIPE, SIG_IGN);
	become(uid, memlock);
	fn(c, arg);
	_exit(0);
}

void
client_run(struct client *c, client_fn *fn, void *arg)
{
	client_run_as(c, 0, 0, fn, arg);
}

void
client_say(struct client *c, const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	line[n] = '\n';
	must(write(c->out, line, (size_t)n + 1) == n + 1);
}

/* More text; false: there will be none, or not soon. */
static bool
read_more(struct client *c, int timeout_ms)
{
	struct pollfd p = { .fd = c->in, .events = POLLIN };
	ssize_t n;

	if (poll(&p, 1, timeout_ms) != 1)
		return false;
	n = read(c->in, c->text + c->length, sizeof(c->text) - c->length);
	if (n > 0)
		c->length += (size_t)n;
	return n > 0;
}

bool
client_heard(struct client *c)
{
	while (memchr(c->text, '\n', c->length) == NULL)
		if (!read_more(c, 0))
			return false;
	return true;
}

const char *
client_hear(struct client *c)
{
	static char line[sizeof(c->text)];
	size_t n;
	char *end;

	while ((end = memchr(c->text, '\n', c->length)) == NULL) {
		if (read_more(c, 3 * PATIENCE_MS))
			continue;
		must(c->pid != 0); /* the test went away: nobody is there to be told */
		ck_abort_msg(
		    "client %d ended, or is stuck: no line of it", (int)c->pid);
	}
	n = (size_t)(end - c->text);
	memcpy(line, c->text, n);
	line[n] = '\0';
	c->length -= n + 1;
	memmove(c->text, end + 1, c->length);
	return line;
}

void
client_wait(struct client *c, const char *line)
{
	const char *heard = client_hear(c);

	if (c->pid == 0)
		must(strcmp(heard, line) == 0);
	else
		ck_assert_str_eq(heard, line);
}

int
client_wait_status(struct client *c)
{
	int64_t until = now_ms() + 3 * PATIENCE_MS;
	int status;

	while (waitpid(c->pid, &status, WNOHANG) != c->pid) {
		ck_assert_msg(now_ms() < until, "client %d does not end", (int)c->pid);
		nap();
	}
	close(c->in);
	close(c->out);
	c->pid = 0;
	return status;
}

void
client_join(struct client *c)
{
	int status = client_wait_status(c);

	ck_assert_msg(
	    status == 0, "a client ended with wait status %#x", (unsigned int)status);
}

void
client_kill(struct client *c)
{
	ck_assert_int_eq(kill(c->pid, SIGKILL), 0);
	ck_assert_int_eq(client_wait_status(c), SIGKILL);
}

/* --- Buffers --- */

struct bud_pool *
open_pool(const struct daemon *d, const char *name)
{
	struct bud_config config = {
		.size = sizeof(config), .socket = d->socket, .pool = name
	};
	struct bud_pool *pool = NULL;
	int r = bud_open(&pool, &config);

	errno = -r;
	must(r == 0);
	return pool;
}

struct bud_stat
stat_of(struct bud_pool *pool)
{
	struct bud_stat s = { .size = sizeof(s) };

	must(bud_stat(pool, &s) == 0);
	return s;
}

#define STRIDE 512u /* bytes from one word of the pattern to the next */

void
paint(void *buf, size_t size, uint64_t seed)
{
	for (size_t i = 0; i < size; i += STRIDE) {
		uint64_t word = (seed << 24) + i / STRIDE;

		memcpy((char *)buf + i, &word, sizeof(word));
	}
}

bool
painted(const void *buf, size_t size, uint64_t seed)
{
	uint64_t word;

	for (size_t i = 0; i < size; i += STRIDE) {
		memcpy(&word, (const char *)buf + i, sizeof(word));
		if (word != (seed << 24) + i / STRIDE)
			return false;
	}
	return true;
}
