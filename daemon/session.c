/* SPDX-License-Identifier: ISC */

/* A session's life: how it begins, and the several ways in which it ends. */
#include "daemon/session.h"

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
#include "daemon/news.h"
#include "daemon/opening.h"
#include "daemon/outq.h"
#include "daemon/populate.h"
#include "daemon/session_parts.h"

/* Each request has one answer; two of them, and what else there is, may wait unread. */
#define OUT_MAX (2 * PROTO_REQUESTS_MAX)

static void session_on_pid(evutil_socket_t fd, short events, void *arg);
static void session_on_later(evutil_socket_t fd, short events, void *arg);

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
	core_unhurry(&s->arbiter->core, &s->hurry, clock_now());
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

void
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
void
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
void
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

void
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
