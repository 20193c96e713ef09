/* SPDX-License-Identifier: ISC */

/* A session: messages into the core, and the core's answers into messages. */
#include "daemon/session.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/blame.h"
#include "daemon/log.h"
#include "daemon/membarrier.h"
#include "daemon/news.h"
#include "daemon/opening.h"
#include "daemon/outq.h"
#include "daemon/populate.h"
#include "daemon/step.h"
#include "proto/wire.h"

#define MESSAGES_A_TURN 16 /* of one client, before it is another's turn */

/* Each request has one answer; two of them, and what else there is, may wait unread. */
#define OUT_MAX (2 * PROTO_REQUESTS_MAX)

static void session_on_readable(evutil_socket_t fd, short events, void *arg);
static void session_on_pid(evutil_socket_t fd, short events, void *arg);
static void session_on_later(evutil_socket_t fd, short events, void *arg);

#define SUBJECT       "pool %u %s (uid %u pid %d %s)"
#define SUBJECT_OF(s) (s)->id, (s)->name, (s)->uid, (s)->pid, (s)->command

/* --- Life --- */

static struct session *
session_new(struct arbiter *a, const struct channel_msg *msg, int sock, int pidfd)
{
	struct session *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->arbiter = a;
	s->id = msg->id;
	s->slot = msg->slot;
	s->pid = msg->pid;
	s->uid = msg->uid;
	s->gid = msg->gid;
	s->sock = sock;
	s->pidfd = pidfd;
	strlcpy(s->command, msg->command, sizeof(s->command));
	s->out = outq_create(a->base, sock, OUT_MAX);
	s->on_sock =
	    event_new(a->base, sock, EV_READ | EV_PERSIST, session_on_readable, s);
	s->later = event_new(a->base, -1, 0, session_on_later, s);
	if (pidfd != -1)
		s->on_pid = event_new(a->base, pidfd, EV_READ, session_on_pid, s);
	TAILQ_INSERT_TAIL(&a->sessions, s, entry);
	a->by_slot[s->slot] = s;
	return s;
}

void
session_free(struct session *s)
{
	TAILQ_REMOVE(&s->arbiter->sessions, s, entry);
	if (s->arbiter->by_slot[s->slot] == s) /* it may be another's by now */
		s->arbiter->by_slot[s->slot] = NULL;
	outq_free(s->out);
	if (s->on_sock != NULL)
		event_free(s->on_sock);
	if (s->on_pid != NULL)
		event_free(s->on_pid);
	if (s->later != NULL)
		event_free(s->later);
	if (s->ledger != NULL)
		munmap(s->ledger, s->ledger_size);
	close(s->sock);
	if (s->pidfd != -1)
		close(s->pidfd);
	free(s);
}

struct session *
session_at(struct arbiter *a, uint32_t slot, uint32_t id)
{
	struct session *s = slot < a->spec.slots ? a->by_slot[slot] : NULL;

	return s != NULL && s->id == id ? s : NULL;
}

struct session *
session_find(struct arbiter *a, uint32_t id)
{
	struct session *s;

	TAILQ_FOREACH (s, &a->sessions, entry)
		if (s->id == id)
			return s;
	return NULL;
}

bool
session_has_pool(const struct session *s)
{
	return s->state == SESSION_OPENING || s->state == SESSION_OPEN ||
	       s->state == SESSION_DEAF;
}

static void
tell_keeper(struct session *s, enum channel_type type)
{
	struct channel_msg msg = { .type = type, .id = s->id, .slot = s->slot };

	arbiter_tell_keeper(s->arbiter, &msg);
}

/* The keeper hears of it before the core hands out what becomes free: it works in order. And
 * it hears of it first of all, since CLOSE is said once; but then the ledger is no more. */
static void
end_pool(struct session *s, const char *why)
{
	uint64_t used = pool_used(&s->pool);

	tell_keeper(s, CHANNEL_END);
	log_info("session", SUBJECT ": closed: %s; %" PRIu64 " bytes were in use",
	    SUBJECT_OF(s), why, used);
	news_closed(s, used, why);
	core_close(&s->arbiter->core, &s->pool, clock_now());
}

static void
session_end(struct session *s, const char *why)
{
	if (session_has_pool(s)) {
		end_pool(s, why);
	} else {
		log_debug("session", "connection %u (uid %u pid %d %s): closed: %s",
		    s->id, s->uid, s->pid, s->command, why);
		tell_keeper(s, CHANNEL_END);
	}
	session_free(s);
}

/* Its process, which has the memory mapped, lives on. An empty record looks like the end,
 * too, and becomes it. */
static void
session_deafen(struct session *s)
{
	s->state = SESSION_DEAF;
	event_del(s->on_sock);
	shutdown(s->sock, SHUT_RDWR);
	core_drop_requests(&s->arbiter->core, &s->pool, clock_now());
}

/* Costs this client its service, and nobody else anything. */
static void
session_drop(struct session *s, const char *why)
{
	log_warn("session", SUBJECT ": dropped: %s", SUBJECT_OF(s), why);
	if (s->state != SESSION_OPEN || s->gone || s->pidfd == -1) {
		session_end(s, why);
	} else {
		news_dropped(s, why);
		session_deafen(s);
	}
}

/* For where the core is at work: the drop comes from the loop. */
static void
session_break(struct session *s, const char *why)
{
	if (s->broken == NULL && s->state != SESSION_DEAF) {
		s->broken = why;
		event_active(s->later, EV_TIMEOUT, 0);
	}
}

static void
session_on_later(evutil_socket_t fd, short events, void *arg)
{
	struct session *s = arg;
	struct arbiter *a = s->arbiter;

	(void)fd;
	(void)events;
	blame_begin(a, s->id, s->slot);
	if (s->broken != NULL)
		session_drop(s, s->broken);
	else if (s->state == SESSION_NEW)
		session_drop(s, "connected, and said nothing (hello_timeout)");
	blame_end(a);
	arbiter_rewind(a);
}

static void
session_on_hangup(struct session *s)
{
	if (s->state != SESSION_OPEN || s->gone || s->pidfd == -1)
		session_end(s, "the client has gone");
	else
		session_deafen(s);
}

/* Whatever it has sent and nobody has read: all that could matter is a CLOSE. */
static bool
has_hung_up(const struct session *s)
{
	struct pollfd p = { .fd = s->sock };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLHUP) != 0;
}

static void
session_on_pid(evutil_socket_t fd, short events, void *arg)
{
	struct session *s = arg;
	struct arbiter *a = s->arbiter;

	(void)fd;
	(void)events;
	s->gone = true;
	blame_begin(a, s->id, s->slot);
	if (s->state == SESSION_DEAF || s->state == SESSION_SHUNNED || has_hung_up(s))
		session_end(s, "the process has ended");
	blame_end(a);
	arbiter_rewind(a);
}

/* --- To the client --- */

static void
session_send(struct session *s, const union proto_msg *msg)
{
	int r;

	if (s->state == SESSION_DEAF || s->state == SESSION_SHUNNED)
		return;
	log_debug(
	    "wire", SUBJECT ": -> %s", SUBJECT_OF(s), proto_name(msg->header.type));
	r = outq_send(s->out, msg, msg->header.size);
	step();
	if (r == OUTQ_E_FULL)
		session_break(s, "does not read what budd sends");
	else if (r == -ENOMEM)
		session_break(s, "there is no memory for an answer");
}

static void
send_refuse(struct session *s, uint64_t tag, int error, const char *reason)
{
	union proto_msg msg;

	proto_init(&msg, PROTO_REFUSE);
	msg.refuse.tag = tag;
	msg.refuse.error = error;
	strlcpy(msg.refuse.reason, reason, sizeof(msg.refuse.reason));
	session_send(s, &msg);
}

/* The answer to a HELLO that cannot be met, and the end. */
void
session_refuse(struct session *s, int error, const char *reason)
{
	log_warn("session", SUBJECT ": refused: %s", SUBJECT_OF(s), reason);
	news_denied(s, reason);
	send_refuse(s, 0, error, reason);
	session_end(s, reason);
}

/* --- The core's operations --- */

/* Nobody waits for it, nor for another slice behind it. */
static bool
may_yield(const struct arbiter *a, const struct pool *p)
{
	return p->grows_for == GROW_HEADROOM && p->queue.length == 0 &&
	       a->core.pins_out == 1;
}

static void
ask_for_slice(void *ctx, struct pool *p, struct chunk_range r, enum channel_type type)
{
	struct session *s = p->shell;
	struct channel_msg msg = {
		.type = type, .id = s->id, .slot = s->slot, .from = r.from, .to = r.to
	};

	msg.ahead = type == CHANNEL_PIN && may_yield(ctx, p);
	arbiter_tell_keeper(ctx, &msg);
}

static void
op_pin(void *ctx, struct pool *p, struct chunk_range r)
{
	ask_for_slice(ctx, p, r, CHANNEL_PIN);
}

static void
op_unpin(void *ctx, struct pool *p, struct chunk_range r)
{
	ask_for_slice(ctx, p, r, CHANNEL_UNPIN);
}

static void
op_audit(void *ctx, struct pool *p, struct chunk_range r)
{
	ask_for_slice(ctx, p, r, CHANNEL_AUDIT);
}

static void
op_grant(void *ctx, struct pool *p, uint64_t tag)
{
	union proto_msg msg;

	(void)ctx;
	proto_init(&msg, PROTO_GRANT);
	msg.tag.tag = tag;
	session_send(p->shell, &msg);
	news_served(p->shell, queue_find(&p->queue, tag));
}

static void
op_refuse(void *ctx, struct pool *p, uint64_t tag, int error)
{
	(void)ctx;
	send_refuse(p->shell, tag, error, "");
	news_refused(p->shell, error);
}

static void
op_opened(void *ctx, struct pool *p, int error)
{
	struct session *s = p->shell;
	struct channel_msg msg = {
		.type = CHANNEL_WELCOME, .id = s->id, .slot = s->slot
	};
	union proto_msg hello;

	s->open_error = error;
	if (error != 0)
		return; /* session_on_pinned() refuses, once the core is done */
	proto_init(&hello, PROTO_WELCOME);
	hello.welcome.version = PROTO_VERSION;
	hello.welcome.ledger_version = LEDGER_VERSION;
	hello.welcome.pool_id = s->id;
	hello.welcome.base = s->limits.base;
	hello.welcome.add = s->limits.add;
	hello.welcome.wall = s->limits.wall;
	hello.welcome.memory_size = p->ledger.chunks * CHUNK_SIZE;
	hello.welcome.max_buffer = s->limits.max_buffer;
	msg.welcome = hello.welcome;
	arbiter_tell_keeper(ctx, &msg);
	s->state = SESSION_OPEN;
	log_info("session",
	    SUBJECT ": opened: base %" PRIu64 ", add %" PRIu64 ", wall %" PRIu64
		    ", heap %s, pages of %u KiB",
	    SUBJECT_OF(s), s->limits.base, s->limits.add, s->limits.wall,
	    heap_kind_name(s->limits.heap),
	    (1u << p->record->block[0].page_shift) / 1024);
	news_opened(s);
}

static void
send_event(struct session *s, uint32_t event, uint64_t bytes)
{
	union proto_msg msg;

	if ((s->watching & event) == 0)
		return;
	proto_init(&msg, PROTO_EVENT);
	msg.event.event = event;
	msg.event.bytes = bytes;
	session_send(s, &msg);
}

/* @type: PROTO_BLOCK, or PROTO_RELEASE under the number of the question that is out */
static void
send_block(struct session *s, enum proto_type type, uint32_t index)
{
	struct chunk_range r = pool_block(&s->pool, index);
	union proto_msg msg;

	proto_init(&msg, type);
	msg.block.offset = r.from * CHUNK_SIZE;
	msg.block.bytes = (r.to - r.from) * CHUNK_SIZE;
	msg.block.ask = type == PROTO_RELEASE ? s->pool.record->asks : 0;
	session_send(s, &msg);
}

/* All blocks that are the client's, and the one that it is being asked for. */
static void
send_blocks(struct session *s)
{
	uint32_t n = pool_blocks(&s->pool), opened = pool_opened(&s->pool), i;

	for (i = 0; i < n && pool_block(&s->pool, i).to <= opened; i++)
		send_block(s, PROTO_BLOCK, i);
	if (s->pool.phase == POOL_ASKED)
		send_block(s, PROTO_RELEASE, n - 1);
}

static void
op_tell(void *ctx, struct pool *p, enum core_news news, uint64_t bytes)
{
	struct session *s = p->shell;

	(void)ctx;
	news_of_core(s, news, bytes);
	switch (news) {
	case CORE_GROWN:
		send_event(s, PROTO_EVENT_GROWN, bytes);
		if (p->record->registers)
			send_block(s, PROTO_BLOCK, pool_blocks(p) - 1);
		log_info("pool", SUBJECT ": grown by %" PRIu64 " to %" PRIu64 " bytes",
		    SUBJECT_OF(s), bytes, p->pinned * CHUNK_SIZE);
		return;
	case CORE_RELEASED:
		send_event(s, PROTO_EVENT_RELEASED, bytes);
		log_info("pool",
		    SUBJECT ": released %" PRIu64 ", %" PRIu64 " bytes remain",
		    SUBJECT_OF(s), bytes, p->pinned * CHUNK_SIZE);
		return;
	case CORE_ASKED:
		send_block(s, PROTO_RELEASE, pool_blocks(p) - 1);
		log_debug("pool", SUBJECT ": asked to unregister %" PRIu64 " bytes",
		    SUBJECT_OF(s), bytes);
		return;
	case CORE_KEPT:
		send_block(s, PROTO_BLOCK, pool_blocks(p) - 1);
		log_info("pool",
		    SUBJECT ": keeps %" PRIu64 " bytes that it was asked to unregister "
			    "(%" PRIu64 " times not in time)",
		    SUBJECT_OF(s), bytes, p->record->kept);
		return;
	case CORE_PRESSURE:
		send_event(s, PROTO_EVENT_PRESSURE, 0);
		log_info("pool",
		    SUBJECT ": others wait for memory, and it has more than "
			    "its share",
		    SUBJECT_OF(s));
		return;
	}
}

static bool
op_barrier(void *ctx)
{
	(void)ctx;
	return membarrier_all();
}

const struct core_ops session_core_ops = {
	.pin = op_pin,
	.unpin = op_unpin,
	.audit = op_audit,
	.grant = op_grant,
	.refuse = op_refuse,
	.opened = op_opened,
	.tell = op_tell,
	.barrier = op_barrier,
};

void
session_on_audited(struct session *s, const struct channel_msg *msg)
{
	const struct audit_found found = { msg->holes, msg->unlocked };
	uint64_t pages;

	if (!session_has_pool(s))
		return;
	pages = core_audited(&s->arbiter->core, &s->pool, &found, msg->error);
	news_audited(s, pages, msg->error);
	if (msg->error != 0)
		log_errno("audit", msg->error,
		    SUBJECT ": its memory cannot be locked again", SUBJECT_OF(s));
	if (pages != 0)
		log_warn("audit",
		    SUBJECT ": %" PRIu64 " of its pages were not locked any more: the "
			    "client punched holes; they were locked again",
		    SUBJECT_OF(s), pages);
}

/* --- Beginning --- */

static const char *
why_shunned(
    struct session *s, const struct channel_msg *msg, enum blame_verdict verdict)
{
	if (verdict != BLAME_NONE)
		return "arbiters died while they were busy with it";
	return opening_is_sound(s, msg) ? NULL
					: "what an arbiter left of it is not sound";
}

/* One that ended arbiters by what it said is not listened to; and one whose record would end
 * them is not even looked at. */
static int
adopt(struct session *s, const struct channel_msg *msg, int ledger)
{
	enum blame_verdict verdict;
	const char *why;
	int r;

	populate(arbiter_record(s->arbiter, s->slot), FRAME_SIZE); /* see record.h */
	verdict = blame_meet(s->arbiter, s->id, s->slot);
	if (msg->chunks == 0)
		return verdict == BLAME_NONE ? 0 : -ECONNABORTED;
	why = why_shunned(s, msg, verdict);
	if (verdict == BLAME_SHUN || !opening_is_sound(s, msg)) {
		memcpy(s->name, msg->name, sizeof(s->name));
		s->state = SESSION_SHUNNED;
	} else if ((r = opening_adopt(s, msg, ledger)) != 0) {
		return r;
	}
	s->resuming = true;
	if (why == NULL)
		return 0;
	if (s->pidfd == -1)
		return -ECONNABORTED; /* nobody would tell us of its end */
	log_err("session",
	    SUBJECT ": dropped: %s; its memory stays until its process ends",
	    SUBJECT_OF(s), why);
	if (s->state == SESSION_OPEN)
		session_deafen(s);
	return 0;
}

int
session_create(
    struct arbiter *a, const struct channel_msg *msg, int sock, int pidfd, int ledger)
{
	struct session *s = session_new(a, msg, sock, pidfd);
	int r = 0;

	if (s == NULL) {
		close(sock);
		if (pidfd != -1)
			close(pidfd);
		r = -ENOMEM;
	} else if (s->out == NULL || s->on_sock == NULL || s->later == NULL ||
		   (pidfd != -1 && s->on_pid == NULL)) {
		r = -ENOMEM;
	} else {
		r = adopt(s, msg, ledger);
	}
	if (ledger != -1)
		close(ledger);
	if (r != 0 && s != NULL)
		session_free(s);
	return r;
}

void
session_start(struct session *s)
{
	const struct config_host *host = &arbiter_config(s->arbiter)->host;
	struct timeval tv = { .tv_sec = host->hello_timeout_ns / NS_PER_S,
		.tv_usec = host->hello_timeout_ns % NS_PER_S / 1000 };
	union proto_msg msg;

	if (s->state != SESSION_DEAF && s->state != SESSION_SHUNNED)
		event_add(s->on_sock, NULL);
	if (s->on_pid != NULL)
		event_add(s->on_pid, NULL);
	if (s->state == SESSION_NEW)
		event_add(s->later, &tv);
	if (s->resuming || (s->arbiter->spec.restarts > 0 && !s->arbiter->ready)) {
		proto_init(&msg, PROTO_RESTARTED);
		session_send(s, &msg);
	}
}

/* --- From the client --- */

/* When arbiters die of their own doing, one after the other, it may be what they are asked
 * that ends them: the next one does not look at it. */
static void
on_alloc(struct session *s, const union proto_msg *m)
{
	if (instant_before(clock_now(), s->arbiter->drop_until)) {
		send_refuse(s, m->alloc.tag, ECANCELED, "budd drops its queues");
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
		send_blocks(s);
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
	if ((r = proto_check_client(&msg, len)) != 0) {
		session_drop(s, proto_strerror(r));
		return false;
	}
	return obey(s, &msg);
}

static void
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
