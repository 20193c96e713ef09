/* SPDX-License-Identifier: ISC */

/* A service manager of the test's own. */
#include "tests/manager.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEPT_FD    400 /* what is kept lies above what budd is given */
#define FDS_MAX    253
#define FIRST_FD   3 /* of those that a service is started with */
#define NOTICE_MAX 4096
#define LISTENERS  2
#define END        "X"
#define SETTLE     "X-SETTLE"

/* --- Notices --- */

static void
keep(struct manager *m, const char *name, int fd)
{
	unsigned int n = m->kept_count;

	if (n >= m->room || n >= MANAGER_KEPT_MAX)
		return; /* as systemd does: not a word */
	m->kept[n].fd = fcntl(fd, F_DUPFD_CLOEXEC, KEPT_FD);
	if (m->kept[n].fd == -1)
		return;
	snprintf(m->kept[n].name, sizeof(m->kept[n].name), "%s", name);
	m->kept_count++;
}

static void
let_go(struct manager *m, const char *name)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < m->kept_count; i++)
		if (name == NULL || strcmp(m->kept[i].name, name) == 0)
			close(m->kept[i].fd);
		else
			m->kept[n++] = m->kept[i];
	m->kept_count = n;
}

static void
heed(struct manager *m, char *text, const int *fds, unsigned int n)
{
	const char *name = "stored";
	bool stores = false, removes = false;
	char *rest = NULL;

	for (char *line = strtok_r(text, "\n", &rest); line != NULL;
	     line = strtok_r(NULL, "\n", &rest)) {
		stores |= strcmp(line, "FDSTORE=1") == 0;
		removes |= strcmp(line, "FDSTOREREMOVE=1") == 0;
		m->ready += strcmp(line, "READY=1") == 0;
		m->reloading += strcmp(line, "RELOADING=1") == 0;
		m->alive += strcmp(line, "WATCHDOG=1") == 0;
		m->settled += strcmp(line, SETTLE) == 0;
		if (strncmp(line, "FDNAME=", 7) == 0)
			name = line + 7;
		else if (strncmp(line, "STATUS=", 7) == 0)
			snprintf(m->status, sizeof(m->status), "%s", line + 7);
	}
	if (removes)
		let_go(m, name);
	for (unsigned int i = 0; stores && i < n; i++)
		keep(m, name, fds[i]);
}

/* false: the end. */
static bool
take_notice(struct manager *m)
{
	char text[NOTICE_MAX + 1];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = text, .iov_len = NOTICE_MAX };
	struct msghdr h = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes) };
	int fds[FDS_MAX];
	unsigned int n = 0;
	ssize_t len = recvmsg(m->notices, &h, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = len > 0 ? CMSG_FIRSTHDR(&h) : NULL;

	if (len <= 0)
		return errno == EINTR;
	text[len] = '\0';
	if (c != NULL) {
		n = (unsigned int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(c), n * sizeof(int));
	}
	pthread_mutex_lock(&m->lock);
	heed(m, text, fds, n);
	pthread_mutex_unlock(&m->lock);
	while (n > 0)
		close(fds[--n]);
	return strcmp(text, END) != 0;
}

static void *
take_notices(void *arg)
{
	while (take_notice(arg))
		;
	return NULL;
}

static socklen_t
address_of(const struct manager *m, struct sockaddr_un *a)
{
	size_t len = strlen(m->address);

	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(a->sun_path + 1, m->address + 1, len - 1); /* abstract: "@name" */
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

/* --- budd's start --- */

static unsigned int
pass(const struct manager *m, char *names, size_t size)
{
	static const char *const of_listeners[] = { "clnt", "stat" };
	unsigned int n = 0;

	for (unsigned int i = 0; m->listens && i < LISTENERS; i++, n++) {
		dup2(m->listener[i], (int)(FIRST_FD + n));
		snprintf(names + strlen(names), size - strlen(names), "%s%s",
		    n > 0 ? ":" : "", of_listeners[i]);
	}
	/* systemd hands them over in no order; the last one first tries that. */
	for (unsigned int i = m->kept_count; i-- > 0; n++) {
		dup2(m->kept[i].fd, (int)(FIRST_FD + n));
		snprintf(names + strlen(names), size - strlen(names), "%s%s",
		    n > 0 ? ":" : "", m->kept[i].name);
	}
	return n;
}

static void
set_number(const char *name, unsigned long value)
{
	char text[24];

	snprintf(text, sizeof(text), "%lu", value);
	setenv(name, text, 1);
}

static void
in_child(void *arg)
{
	static char names[MANAGER_KEPT_MAX * 16];
	const struct manager *m = arg;
	unsigned int n;

	close_range(FIRST_FD, KEPT_FD - 1, 0); /* of the test and of Check */
	n = pass(m, names, sizeof(names));
	setenv("NOTIFY_SOCKET", m->address, 1);
	if (n > 0) {
		set_number("LISTEN_PID", (unsigned long)getpid());
		set_number("LISTEN_FDS", n);
		setenv("LISTEN_FDNAMES", names, 1);
	}
	if (!m->room_is_secret)
		set_number("FDSTORE", m->room);
	if (m->watchdog_ms != 0) {
		set_number("WATCHDOG_PID", (unsigned long)getpid());
		set_number("WATCHDOG_USEC", m->watchdog_ms * 1000ul);
	}
}

static int
listen_at(const char *path, int type)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0), high;

	ck_assert_int_ne(fd, -1);
	strcpy(a.sun_path, path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(listen(fd, 64), 0);
	ck_assert_int_eq(chmod(path, 0666), 0);
	high = fcntl(fd, F_DUPFD_CLOEXEC, KEPT_FD);
	ck_assert_int_ne(high, -1);
	close(fd);
	return high;
}

static unsigned int
read_count(struct manager *m, const unsigned int *count)
{
	unsigned int n;

	pthread_mutex_lock(&m->lock);
	n = *count;
	pthread_mutex_unlock(&m->lock);
	return n;
}

/* Takes in all that the last budd has sent, before there is another: so does systemd. */
static void
settle(struct manager *m)
{
	unsigned int settled = read_count(m, &m->settled);
	struct sockaddr_un a;
	socklen_t len = address_of(m, &a);

	ck_assert_int_eq(sendto(m->notices, SETTLE, sizeof(SETTLE) - 1, 0,
			     (struct sockaddr *)&a, len),
	    sizeof(SETTLE) - 1);
	eventually(read_count(m, &m->settled) != settled);
}

void
manager_launch(struct manager *m)
{
	settle(m);
	daemon_launch(&m->d);
}

void
manager_start(struct manager *m, const char *config)
{
	static unsigned int number;
	struct sockaddr_un a;
	socklen_t len;

	if (m->room == 0)
		m->room = MANAGER_KEPT_MAX;
	m->d.in_child = in_child;
	m->d.in_child_arg = m;
	daemon_prepare(&m->d, config);
	snprintf(m->address, sizeof(m->address), "@bud-manager-%d-%u", (int)getpid(),
	    ++number);
	ck_assert_int_eq(pthread_mutex_init(&m->lock, NULL), 0);
	m->notices = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ne(m->notices, -1);
	len = address_of(m, &a);
	ck_assert_int_eq(bind(m->notices, (struct sockaddr *)&a, len), 0);
	ck_assert_int_eq(pthread_create(&m->thread, NULL, take_notices, m), 0);
	if (m->listens) {
		m->listener[0] = listen_at(m->d.socket, SOCK_SEQPACKET);
		m->listener[1] = listen_at(m->d.status, SOCK_STREAM);
	}
	manager_launch(m);
}

/* --- budd's end --- */

void
manager_kill(struct manager *m)
{
	pid_t arbiter = daemon_arbiter(&m->d);

	kill(m->d.keeper, SIGKILL);
	ck_assert_int_eq(waitpid(m->d.keeper, NULL, 0), m->d.keeper);
	m->d.keeper = 0;
	eventually(
	    arbiter == 0 || process_maps(arbiter, "") == 0); /* a zombie is fine */
}

void
manager_forget(struct manager *m)
{
	pthread_mutex_lock(&m->lock);
	let_go(m, NULL);
	pthread_mutex_unlock(&m->lock);
}

void
manager_stop(struct manager *m)
{
	struct sockaddr_un a;
	socklen_t len = address_of(m, &a);

	if (m->d.keeper != 0)
		daemon_end(&m->d);
	ck_assert_int_eq(sendto(m->notices, END, 1, 0, (struct sockaddr *)&a, len), 1);
	ck_assert_int_eq(pthread_join(m->thread, NULL), 0);
	manager_forget(m);
	close(m->notices);
	for (unsigned int i = 0; m->listens && i < LISTENERS; i++)
		close(m->listener[i]);
	if (m->listens) {
		unlink(m->d.socket);
		unlink(m->d.status);
	}
	daemon_remove(&m->d);
	memset(m, 0, sizeof(*m));
}

/* --- What is seen --- */

unsigned int
manager_kept(struct manager *m, const char *name)
{
	unsigned int n = 0;

	pthread_mutex_lock(&m->lock);
	for (unsigned int i = 0; i < m->kept_count; i++)
		n += name == NULL || strcmp(m->kept[i].name, name) == 0;
	pthread_mutex_unlock(&m->lock);
	return n;
}

unsigned int
manager_alive(struct manager *m)
{
	return read_count(m, &m->alive);
}

unsigned int
manager_ready(struct manager *m)
{
	return read_count(m, &m->ready);
}

bool
manager_says(struct manager *m, const char *text)
{
	bool found;

	pthread_mutex_lock(&m->lock);
	found = strstr(m->status, text) != NULL;
	pthread_mutex_unlock(&m->lock);
	return found;
}
