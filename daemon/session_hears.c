/* SPDX-License-Identifier: ISC */

/* What the client says to a session, as calls of the core. */
#include <errno.h>

#include "daemon/blame.h"
#include "daemon/log.h"
#include "daemon/opening.h"
#include "daemon/session_parts.h"
#include "daemon/step.h"
#include "proto/wire.h"

#define MESSAGES_A_TURN 16 /* of one client, before it is another's turn */

/* When arbiters die of their own doing, one after the other, it may be what they are asked
 * that ends them: the next one does not look at it. */
static void
on_alloc(struct session *s, const union proto_msg *m)
{
	if (instant_before(clock_now(), s->arbiter->drop_until)) {
		session_send_refuse(
		    s, m->alloc.tag, ECANCELED, "budd drops its queues");
		return;
	}
	core_request(&s->arbiter->core, &s->pool, &m->alloc, clock_now());
}

static void
on_done(struct session *s, const union proto_msg *m)
{
	core_done(&s->arbiter->core, &s->pool, m->done.tag,
	    (enum proto_outcome)m->done.outcome, clock_now());
}

static void
on_cancel(struct session *s, const union proto_msg *m)
{
	core_cancel(&s->arbiter->core, &s->pool, m->tag.tag, clock_now());
}

static void
on_doorbell(struct session *s, const union proto_msg *m)
{
	(void)m;
	core_doorbell(&s->arbiter->core, &s->pool, clock_now());
}

static void
on_hint(struct session *s, const union proto_msg *m)
{
	(void)m; /* there is one hint */
	core_release(&s->arbiter->core, &s->pool, RELEASE_TRANSFER);
}

static void
on_watch(struct session *s, const union proto_msg *m)
{
	bool registers = (m->watch.mask & PROTO_EVENT_BLOCKS) != 0;

	s->watching = m->watch.mask & PROTO_EVENTS;
	core_register(&s->arbiter->core, &s->pool, registers);
	if (registers)
		session_send_blocks(s);
}

static void
on_gave_up(struct session *s, const union proto_msg *m)
{
	core_gave_up(&s->arbiter->core, &s->pool, m->block.offset, m->block.ask);
}

static void
on_close(struct session *s, const union proto_msg *m)
{
	(void)m;
	session_end(s, "by the client");
}

static void
on_resumed(struct session *s, const union proto_msg *m)
{
	(void)m;
	s->resuming = false;
	core_resumed(&s->arbiter->core, &s->pool, clock_now());
}

static const struct {
	void (*handle)(struct session *s, const union proto_msg *m);
	bool needs_pool;
	bool comes_again; /* after RESUMED, if it still matters */
} requests[] = {
	[PROTO_HELLO] = { opening_on_hello, false, false },
	[PROTO_ALLOC] = { on_alloc, true, true },
	[PROTO_DONE] = { on_done, true, true },
	[PROTO_CANCEL] = { on_cancel, true, true },
	[PROTO_DOORBELL] = { on_doorbell, true, false },
	[PROTO_CLOSE] = { on_close, true, false },
	[PROTO_HINT] = { on_hint, true, false },
	[PROTO_WATCH] = { on_watch, true, false },
	[PROTO_RESUMED] = { on_resumed, true, false },
	[PROTO_GAVE_UP] = { on_gave_up, true, false },
};

/* A CLOSE is obeyed before it is taken from the socket: if we die in between, the next
 * arbiter finds it there. */
static bool
says_close(const struct session *s)
{
	struct proto_header h;
	size_t len;

	return s->state == SESSION_OPEN &&
	       wire_peek(s->sock, &h, sizeof(h), &len) == 0 && len == sizeof(h) &&
	       h.type == PROTO_CLOSE && h.size == sizeof(h);
}

/* Whether there may be more to read; false also if the session is no more. */
static bool
obey(struct session *s, const union proto_msg *msg)
{
	enum proto_type type = (enum proto_type)msg->header.type;

	log_debug("wire", SUBJECT ": <- %s", SUBJECT_OF(s), proto_name(type));
	if (requests[type].needs_pool && s->state != SESSION_OPEN) {
		session_drop(s, "a message before WELCOME");
		return false;
	}
	if (s->resuming && requests[type].comes_again)
		return true;
	step_heard(msg);
	requests[type].handle(s, msg);
	/* A WATCH may have been answered with a thousand blocks: others first. */
	return type != PROTO_CLOSE && type != PROTO_HELLO && type != PROTO_WATCH;
}

static bool
read_one(struct session *s)
{
	union proto_msg msg;
	size_t len;
	int r;

	if (says_close(s)) {
		proto_init(&msg, PROTO_CLOSE);
		return obey(s, &msg);
	}
	r = wire_recv(s->sock, &msg, sizeof(msg), &len, NULL, 0);
	if (r == WIRE_E_AGAIN)
		return false;
	if (r != 0) {
		if (r == WIRE_E_BAD)
			session_drop(s, "an oversized message, or descriptors");
		else
			session_on_hangup(s);
		return false;
	}
	if ((r = proto_check_client(&msg, len)) == PROTO_E_VERSION) {
		opening_on_other_hello(s, &msg.hello);
		return false;
	}
	if (r != 0) {
		session_drop(s, proto_strerror(r));
		return false;
	}
	return obey(s, &msg);
}

void
session_on_readable(evutil_socket_t fd, short events, void *arg)
{
	struct session *s = arg;
	struct arbiter *a = s->arbiter;
	int n = 0;

	(void)fd;
	(void)events;
	blame_begin(a, s->id, s->slot);
	while (n < MESSAGES_A_TURN && read_one(s))
		n++;
	blame_end(a);
	arbiter_rewind(a);
}
