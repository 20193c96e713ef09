/* SPDX-License-Identifier: ISC */

/* A client that speaks the wire itself. */
#include "tests/raw.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/wire.h"
#include "tests/daemon.h"

void
raw_connect(struct raw *r, const struct daemon *d)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	*r = (struct raw){ .memory = -1, .ledger = -1 };
	strcpy(a.sun_path, d->socket);
	r->sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	ck_assert_int_ne(r->sock, -1);
	ck_assert_msg(connect(r->sock, (struct sockaddr *)&a, sizeof(a)) == 0, "%s: %s",
	    d->socket, strerror(errno));
}

void
raw_close(struct raw *r)
{
	close(r->sock);
	if (r->memory != -1)
		close(r->memory);
	if (r->ledger != -1)
		close(r->ledger);
}

bool
raw_send_fd(struct raw *r, const void *bytes, size_t size, int fd)
{
	return wire_send(r->sock, bytes, size, &fd, fd != -1) == 0;
}

bool
raw_send(struct raw *r, const void *bytes, size_t size)
{
	return raw_send_fd(r, bytes, size, -1);
}

bool
raw_say(struct raw *r, enum proto_type type, uint64_t tag)
{
	union proto_msg msg;

	proto_init(&msg, type);
	if (type == PROTO_HELLO) {
		msg.hello.version_min = PROTO_VERSION;
		msg.hello.version_max = PROTO_VERSION;
	} else if (type == PROTO_ALLOC) {
		return raw_alloc(r, tag, FRAME_SIZE, -1);
	} else if (type == PROTO_DONE) {
		msg.done.tag = tag;
	} else if (type == PROTO_CANCEL || type == PROTO_GRANT) {
		msg.tag.tag = tag;
	}
	return raw_send(r, &msg, msg.header.size);
}

bool
raw_alloc(struct raw *r, uint64_t tag, uint64_t size, int32_t timeout_ms)
{
	union proto_msg msg;

	proto_init(&msg, PROTO_ALLOC);
	msg.alloc.tag = tag;
	msg.alloc.size_bytes = size;
	msg.alloc.count = 1;
	msg.alloc.timeout_ms = timeout_ms;
	return raw_send(r, &msg, msg.header.size);
}

bool
raw_hear(struct raw *r, union proto_msg *msg)
{
	struct pollfd p = { .fd = r->sock, .events = POLLIN };
	int fds[2], e = WIRE_E_AGAIN;
	size_t len;

	while (e == WIRE_E_AGAIN) {
		ck_assert_msg(poll(&p, 1, PATIENCE_MS) == 1, "budd says nothing");
		e = wire_recv(r->sock, msg, sizeof(*msg), &len, fds, 2);
	}
	if (e == WIRE_E_CLOSED)
		return false;
	ck_assert_int_eq(e, 0);
	ck_assert_int_eq(proto_check_budd(msg, len), 0);
	if (msg->header.type == PROTO_WELCOME) {
		r->welcome = msg->welcome;
		r->memory = fds[0];
		r->ledger = fds[1];
	}
	ck_assert(msg->header.type == PROTO_WELCOME || fds[0] == -1);
	return true;
}

void
raw_expect(struct raw *r, enum proto_type type, uint64_t tag)
{
	union proto_msg msg;

	ck_assert_msg(
	    raw_hear(r, &msg), "budd hung up instead of %s", proto_name(type));
	ck_assert_msg(msg.header.type == type, "%s instead of %s",
	    proto_name(msg.header.type), proto_name(type));
	if (type == PROTO_GRANT || type == PROTO_REFUSE)
		ck_assert_uint_eq(msg.tag.tag, tag);
}

void
raw_expect_end(struct raw *r)
{
	union proto_msg msg;

	while (raw_hear(r, &msg))
		;
}

bool
raw_has_ended(struct raw *r)
{
	union proto_msg msg;
	int fds[2], e;
	size_t len;

	while ((e = wire_recv(r->sock, &msg, sizeof(msg), &len, fds, 2)) == 0)
		for (int i = 0; i < 2; i++)
			if (fds[i] != -1)
				close(fds[i]);
	return e == WIRE_E_CLOSED;
}

void
raw_open(struct raw *r, const struct daemon *d, const char *pool)
{
	union proto_msg msg;

	raw_connect(r, d);
	proto_init(&msg, PROTO_HELLO);
	msg.hello.version_min = PROTO_VERSION;
	msg.hello.version_max = PROTO_VERSION;
	strcpy(msg.hello.pool, pool);
	ck_assert(raw_send(r, &msg, msg.header.size));
	raw_expect(r, PROTO_WELCOME, 0);
}

void *
raw_map_ledger(struct raw *r, size_t *sizep)
{
	void *p;

	*sizep = ledger_size((uint32_t)(r->welcome.memory_size / CHUNK_SIZE));
	p = mmap(NULL, *sizep, PROT_READ | PROT_WRITE, MAP_SHARED, r->ledger, 0);
	ck_assert_ptr_ne(p, MAP_FAILED);
	return p;
}
