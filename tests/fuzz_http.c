/* SPDX-License-Identifier: ISC */

/*
 * What is said at the status socket: any bytes, by somebody who may change everything, to
 * a real listener with an arbiter that is a fake around the real core. Each connection has
 * an answer or none, and ends; the core's books stay right.
 *
 * libFuzzer: tests/fuzz.sh; without it: fuzz_main.c.
 */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/event.h>

#include "daemon/http.h"
#include "tests/fake_arbiter.h"

#define TURNS_MAX 1000 /* of the loop, for one connection */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fake fake;
static struct http *http;
static struct sockaddr_un address = { .sun_family = AF_UNIX };

/* The fake arbiter asserts by Check, which is only there while one of its tests runs. */
void
_mark_point(const char *file, int line)
{
	(void)file;
	(void)line;
}

void
_ck_assert_failed(const char *file, int line, const char *expr, const char *msg, ...)
{
	fprintf(stderr, "%s:%d: %s %s\n", file, line, expr, msg);
	abort();
}

static void
must(bool holds)
{
	if (!holds)
		abort();
}

/* An abstract address: nothing is left behind. */
static void
start(void)
{
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t size = sizeof(sa_family_t);

	signal(SIGPIPE, SIG_IGN);
	must(bind(sock, (struct sockaddr *)&address, size) == 0);
	size = sizeof(address);
	must(getsockname(sock, (struct sockaddr *)&address, &size) == 0);
	must(listen(sock, 16) == 0);
	fake_init(&fake);
	fake_add(&fake, "one", 4, 4);
	fake_add(&fake, "two", 8, 4);
	fake.arbiter.base = event_base_new();
	must(fake.arbiter.base != NULL);
	http = http_create(&fake.arbiter, sock);
	must(http != NULL);
}

static int
connect_to_it(void)
{
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t size = sizeof(sa_family_t) + 6; /* as autobind makes them */

	must(sock != -1);
	must(connect(sock, (struct sockaddr *)&address, size) == 0);
	return sock;
}

/* Until it hangs up; what it says begins as an answer does. */
static void
hear(int sock)
{
	char said[65536];
	size_t heard = 0;
	ssize_t n;

	for (int turns = 0; turns < TURNS_MAX; turns++) {
		event_base_loop(fake.arbiter.base, EVLOOP_NONBLOCK);
		n = recv(sock, said, sizeof(said), 0);
		if (n > 0 && heard == 0)
			must(n >= 5 && memcmp(said, "HTTP/", 5) == 0);
		if (n == 0 || (n == -1 && errno != EAGAIN))
			return;
		heard += n > 0 ? (size_t)n : 0;
	}
	abort(); /* it holds a connection of which nothing can come any more */
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int sock;

	if (http == NULL)
		start();
	sock = connect_to_it();
	must(size == 0 || send(sock, data, size, MSG_NOSIGNAL) == (ssize_t)size);
	must(shutdown(sock, SHUT_WR) == 0);
	hear(sock);
	close(sock);
	event_base_loop(fake.arbiter.base, EVLOOP_NONBLOCK);
	fake_settle(&fake);
	must(core_check(&fake.arbiter.core));
	return 0;
}
