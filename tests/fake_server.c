/* SPDX-License-Identifier: ISC */

/* The status socket of a fake arbiter. */
#include "tests/fake_server.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <event2/event.h>

#include "daemon/http.h"
#include "tests/fork.h"

#define BACKLOG 512

static struct sockaddr_un
address(const struct fake_server *s)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	strlcpy(a.sun_path, s->path, sizeof(a.sun_path));
	return a;
}

int
fake_server_bind(struct fake_server *s)
{
	struct sockaddr_un a;
	int sock;

	*s = (struct fake_server){ .dir = "/tmp/bud-test-XXXXXX", .pid = -1 };
	ck_assert_ptr_nonnull(mkdtemp(s->dir));
	snprintf(s->path, sizeof(s->path), "%s/status.sock", s->dir);
	a = address(s);
	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(sock, 0);
	ck_assert_int_eq(bind(sock, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(listen(sock, BACKLOG), 0);
	ck_assert_int_eq(chmod(s->dir, 0711), 0); /* for those who are not root */
	ck_assert_int_eq(chmod(s->path, 0666), 0);
	return sock;
}

/* In the child; true. It ends when it is told to, or with the one who started it. */
static bool
fork_child(struct fake_server *s)
{
	sigset_t term;

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL); /* until the child handles it */
	s->pid = test_fork();
	if (s->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		return true;
	}
	sigprocmask(SIG_UNBLOCK, &term, NULL);
	return false;
}

static void
on_term(evutil_socket_t fd, short events, void *arg)
{
	(void)fd;
	(void)events;
	event_base_loopbreak(arg);
}

static void
unblock_term(void)
{
	sigset_t term;

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_UNBLOCK, &term, NULL);
}

static void
serve_status(int sock, void (*fill)(struct fake *))
{
	struct event_base *base = event_base_new();
	struct event *term = evsignal_new(base, SIGTERM, on_term, base);
	struct fake fake;
	struct http *http;

	signal(SIGPIPE, SIG_IGN); /* as budd's main() does */
	fake_init(&fake);
	fill(&fake);
	fake.arbiter.base = base;
	http = http_create(&fake.arbiter, sock);
	event_add(term, NULL);
	unblock_term();
	event_base_dispatch(base);
	http_free(http);
	event_free(term);
	event_base_free(base);
	fake_fini(&fake);
}

void
fake_server_start(struct fake_server *s, void (*fill)(struct fake *))
{
	int sock = fake_server_bind(s);

	if (fork_child(s)) {
		serve_status(sock, fill);
		exit(EXIT_SUCCESS);
	}
	close(sock);
}

static void
on_term_exit(int signal_number)
{
	(void)signal_number;
	_exit(EXIT_SUCCESS);
}

static void
say(struct fake_server *s, const char *text, bool once)
{
	int sock = fake_server_bind(s), connection;
	char request[4096];

	if (!fork_child(s)) {
		close(sock);
		return;
	}
	signal(SIGTERM, on_term_exit);
	unblock_term();
	while ((connection = accept(sock, NULL, NULL)) >= 0) {
		if (read(connection, request, sizeof(request)) > 0 &&
		    write(connection, text, strlen(text)) < 0)
			_exit(EXIT_FAILURE);
		close(connection);
		if (once)
			_exit(EXIT_SUCCESS);
	}
	_exit(EXIT_FAILURE);
}

void
fake_server_say(struct fake_server *s, const char *text)
{
	say(s, text, false);
}

void
fake_server_say_once(struct fake_server *s, const char *text)
{
	say(s, text, true);
}

void
fake_server_stop(struct fake_server *s)
{
	int status = 0;

	if (s->pid > 0) {
		kill(s->pid, SIGTERM);
		ck_assert_int_eq(waitpid(s->pid, &status, 0), s->pid);
	}
	unlink(s->path);
	rmdir(s->dir);
	ck_assert_int_eq(status, 0);
}

int
fake_server_connect(const struct fake_server *s)
{
	struct sockaddr_un a = address(s);
	struct timeval limit = { .tv_sec = 5 };
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(sock, 0);
	ck_assert_int_eq(connect(sock, (struct sockaddr *)&a, sizeof(a)), 0);
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return sock;
}
