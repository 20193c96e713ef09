/* SPDX-License-Identifier: ISC */

/* What a session says: the core's operations, as messages to the client and to the keeper. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/membarrier.h"
#include "daemon/news.h"
#include "daemon/outq.h"
#include "daemon/session_parts.h"
#include "daemon/step.h"

/* --- To the client --- */

void
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

void
session_send_refuse(struct session *s, uint64_t tag, int error, const char *reason)
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
	session_send_refuse(s, 0, error, reason);
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
	session_send_refuse(p->shell, tag, error, "");
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
void
session_send_blocks(struct session *s)
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
