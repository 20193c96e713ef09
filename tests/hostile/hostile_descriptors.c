/* SPDX-License-Identifier: ISC */

/* Descriptors: those that budd is sent and did not ask for, and those that it gave, passed
 * on to other processes. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/wire.h"
#include "tests/hostile/siege.h"

#define FDS_MAX 253 /* that a message can carry */

static void
enter(void)
{
	siege_begin(SIEGE_CONFIG);
}

/* --- To budd --- */

static const enum proto_type types[] = { PROTO_HELLO, PROTO_ALLOC, PROTO_DONE,
	PROTO_CANCEL, PROTO_DOORBELL, PROTO_CLOSE };

static void
fill_in(union proto_msg *m, enum proto_type type)
{
	proto_init(m, type);
	if (type == PROTO_HELLO)
		m->hello.version_min = m->hello.version_max = PROTO_VERSION;
	else if (type == PROTO_ALLOC || type == PROTO_DONE || type == PROTO_CANCEL)
		m->tag.tag = 1;
	if (type == PROTO_ALLOC) {
		m->alloc.size_bytes = FRAME_SIZE;
		m->alloc.count = 1;
	}
}

/* A good message and @n copies of a descriptor; false: the socket is shut. */
static bool
send_with(struct raw *r, enum proto_type type, int fd, unsigned int n)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control = { .bytes = { 0 } };
	union proto_msg m;
	struct iovec iov = { &m, proto_size(type) };
	struct msghdr h = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = CMSG_SPACE(n * sizeof(int)) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);

	fill_in(&m, type);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	for (unsigned int i = 0; i < n; i++)
		memcpy(CMSG_DATA(c) + i * sizeof(int), &fd, sizeof(fd));
	return sendmsg(r->sock, &h, MSG_NOSIGNAL) != -1;
}

/* Linux 6.16 takes none in for a socket that wants none. */
static bool
kernel_takes_them(void)
{
	struct raw r;
	int pair[2];
	bool taken;

	ck_assert_int_eq(
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	wire_refuse_fds(pair[1]);
	r = (struct raw){ .sock = pair[0], .memory = -1, .ledger = -1 };
	taken = send_with(&r, PROTO_DOORBELL, STDIN_FILENO, 1);
	ck_assert(taken || errno == EPERM);
	close(pair[0]);
	close(pair[1]);
	return taken;
}

/* The connection, where they get as far as budd. */
static void
expect_cost(struct raw *r, enum proto_type type, int fd, unsigned int n)
{
	if (send_with(r, type, fd, n))
		raw_expect_end(r);
	else
		ck_assert_int_eq(errno, EPERM);
	raw_close(r);
}

static void
send_descriptors(struct client *me, void *arg)
{
	unsigned int n = *(unsigned int *)arg;
	struct raw r;

	(void)me;
	for (size_t i = 0; i < SIZEOF_ARRAY(types); i++) {
		raw_connect(&r, &siege.d);
		expect_cost(&r, types[i], STDIN_FILENO, n);
		raw_open(&r, &siege.d, "descriptors");
		expect_cost(&r, types[i], STDIN_FILENO, n);
	}
}

START_TEST(a_descriptor_that_nobody_asked_for_costs_the_connection)
{
	static const unsigned int counts[] = { 1, 2, 3, 4, 17, FDS_MAX };

	for (size_t i = 0; i < SIZEOF_ARRAY(counts); i++) {
		unsigned int n = counts[i];

		attack(send_descriptors, &n);
	}
	ck_assert_int_eq(daemon_log_contains(
			     &siege.d, "dropped: an oversized message, or descriptors"),
	    kernel_takes_them());
}
END_TEST

/* As many as the kernel lets one have in flight, through many connections. */
static void
flood_with_descriptors(struct client *me, void *arg)
{
	struct raw r;
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)me;
	(void)arg;
	must(fd != -1);
	for (int i = 0; i < 300; i++) {
		raw_connect(&r, &siege.d);
		for (int k = 0; k < 8; k++)
			if (!send_with(&r, types[k % 6], fd, FDS_MAX))
				break; /* shut, or too many in flight */
		raw_close(&r);
	}
}

START_TEST(a_flood_of_descriptors_takes_no_place)
{
	attack_together(3, flood_with_descriptors);
}
END_TEST

/* A socket that lies in its own queue, which only the kernel's collector gets rid of; and
 * our connection itself. */
static void
send_what_contains_itself(struct client *me, void *arg)
{
	int pair[2];
	struct raw r;

	(void)me;
	(void)arg;
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(
		    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
		r = (struct raw){ .sock = pair[0], .memory = -1, .ledger = -1 };
		ck_assert(send_with(&r, PROTO_DOORBELL, pair[1], 1));
		raw_open(&r, &siege.d, "ring");
		expect_cost(&r, PROTO_DOORBELL, pair[0], 2);
		raw_open(&r, &siege.d, "ring");
		expect_cost(&r, PROTO_DOORBELL, r.sock, 1);
		close(pair[0]);
		close(pair[1]);
	}
}

START_TEST(sockets_that_contain_each_other_are_closed)
{
	attack(send_what_contains_itself, NULL);
}
END_TEST

/* Whoever lets go of it last waits until its bytes are through, which they never are. */
static int
socket_that_lingers(int *peerp)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct linger linger = { 1, 3600 };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	static char bytes[65536];
	socklen_t len = sizeof(a);

	must(bind(listener, (struct sockaddr *)&a, len) == 0);
	must(listen(listener, 1) == 0);
	must(getsockname(listener, (struct sockaddr *)&a, &len) == 0);
	must(connect(fd, (struct sockaddr *)&a, len) == 0);
	must((*peerp = accept(listener, NULL, NULL)) != -1);
	close(listener);
	must(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0);
	must(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
	while (write(fd, bytes, sizeof(bytes)) > 0)
		;
	return fd;
}

static int
connect_to_status(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strlcpy(a.sun_path, siege.d.status, sizeof(a.sun_path));
	must(fd != -1 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
	return fd;
}

static void
send_what_lingers(struct client *me, void *arg)
{
	struct raw r, status = { .memory = -1, .ledger = -1 };
	int peer, fd = socket_that_lingers(&peer);

	(void)me;
	(void)arg;
	raw_connect(&r, &siege.d);
	status.sock = connect_to_status();
	must(!send_with(&r, PROTO_HELLO, fd, 1) && errno == EPERM);
	must(!send_with(&status, PROTO_HELLO, fd, 1) && errno == EPERM);
	close(peer); /* with what it has not read: that resets, and nothing lingers */
	close(fd);
	raw_close(&r);
	close(status.sock);
}

START_TEST(what_takes_long_to_close_does_not_reach_budd)
{
	if (kernel_takes_them() && skip("this kernel knows no SO_PASSRIGHTS (6.16)"))
		return;
	attack(send_what_lingers, NULL);
}
END_TEST

/* --- From budd --- */

static void
wait_for_orphanhood(pid_t parent)
{
	int64_t until = now_ms() + PATIENCE_MS;

	while (getppid() == parent) {
		must(now_ms() < until);
		nap();
	}
}

/* In a process that opened nothing, and whose parent, which did, is gone. */
static void
use_what_was_passed_on(struct client *me, struct raw *r)
{
	size_t size = r->welcome.memory_size, ledger_size;
	char *memory, *ledger;

	ck_assert(raw_alloc(r, 1, FRAME_SIZE, -1));
	raw_expect(r, PROTO_GRANT, 1);
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, r->memory, 0);
	must(memory != MAP_FAILED);
	ledger = raw_map_ledger(r, &ledger_size);
	client_say(me, "works");
	client_wait(me, "hang up");
	close(r->sock);
	client_say(me, "hung up");
	while (!client_heard(me)) {
		memset(memory, 0xa5, size);
		memset(ledger, 0xa5, ledger_size);
		fallocate(r->memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		    (off_t)size);
		fallocate(r->ledger, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		    (off_t)ledger_size);
	}
	client_say(me, "end");
}

static void
pass_all_on(struct client *me, void *arg)
{
	pid_t opener = getpid(), heir;
	struct raw r;

	(void)arg;
	raw_open(&r, &siege.d, "passed");
	if ((heir = fork()) != 0) {
		must(heir != -1);
		return;
	}
	wait_for_orphanhood(opener);
	use_what_was_passed_on(me, &r);
}

START_TEST(a_pool_passed_on_to_a_child_ends_with_its_connection)
{
	struct client c;

	attack_begin(&c, pass_all_on, NULL);
	client_wait(&c, "works");
	ck_assert_uint_eq(siege_pools("passed"), 1);
	client_say(&c, "hang up");
	client_wait(&c, "hung up");
	/* The memory is another's business no more, though the heir still writes there. */
	eventually(siege_pools("passed") == 0);
	siege_served();
	client_say(&c, "end");
	client_wait(&c, "end");
	client_join(&c);
}
END_TEST

static void
pass_connection_on(struct client *me, void *arg)
{
	pid_t opener = getpid(), heir;
	union proto_msg m;
	struct raw r;

	(void)arg;
	raw_connect(&r, &siege.d);
	if ((heir = fork()) != 0) {
		must(heir != -1);
		return;
	}
	wait_for_orphanhood(opener);
	fill_in(&m, PROTO_HELLO);
	strcpy(m.hello.pool, "passed");
	ck_assert(raw_send(&r, &m, m.header.size));
	raw_expect(&r, PROTO_WELCOME, 0);
	use_what_was_passed_on(me, &r);
}

START_TEST(a_connection_passed_on_before_hello_ends_with_itself)
{
	struct client c;

	attack_begin(&c, pass_connection_on, NULL);
	client_wait(&c, "works");
	client_say(&c, "hang up");
	client_wait(&c, "hung up");
	eventually(siege_pools("passed") == 0);
	siege_served();
	client_say(&c, "end");
	client_wait(&c, "end");
	client_join(&c);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("hostile descriptors");
	TCase *t = tcase_create("hostile descriptors");

	tcase_set_timeout(t, 60 + soak_s());
	tcase_add_checked_fixture(t, enter, siege_end);
	tcase_add_test(t, a_descriptor_that_nobody_asked_for_costs_the_connection);
	tcase_add_test(t, a_flood_of_descriptors_takes_no_place);
	tcase_add_test(t, sockets_that_contain_each_other_are_closed);
	tcase_add_test(t, what_takes_long_to_close_does_not_reach_budd);
	tcase_add_test(t, a_pool_passed_on_to_a_child_ends_with_its_connection);
	tcase_add_test(t, a_connection_passed_on_before_hello_ends_with_itself);
	suite_add_tcase(suite, t);
	return daemon_suite(suite);
}
