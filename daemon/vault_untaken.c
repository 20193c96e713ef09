/* SPDX-License-Identifier: ISC */

/*
 * Sessions that the arbiter cannot take, for want of descriptors or memory.
 *
 * One without a pool is refused; the keeper does that, since the arbiter has nothing of it. One
 * with a pool is kept, and its client goes on in what it has; it is offered to the arbiter
 * again until there is room, or until its process has ended, which nobody else would notice.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "daemon/arbiter.h"
#include "daemon/descriptors.h"
#include "daemon/log.h"
#include "daemon/vault.h"
#include "proto/wire.h"

#define SAY_PAUSE_MS 1000 /* between two lines in the log */

static bool
is_readable(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, 0) == 1 && (p.revents & (events | POLLHUP)) != 0;
}

static bool
is_over(const struct holding *h)
{
	return is_readable(h->sock, 0) &&
	       (h->pidfd == -1 || is_readable(h->pidfd, POLLIN));
}

/* There may be hundreds of them, or one that connects again and again. */
static bool
may_say(struct vault *v)
{
	struct instant now = clock_now();

	if (instant_ms_since(now, v->untaken_said) < SAY_PAUSE_MS)
		return false;
	v->untaken_said = now;
	return true;
}

static void
refuse(struct vault *v, const struct slot *s, const struct holding *h, int error)
{
	union proto_msg msg;

	proto_init(&msg, PROTO_REFUSE);
	msg.refuse.error = error == EMFILE ? EUSERS : error;
	strlcpy(msg.refuse.reason,
	    error == EMFILE ? DESCRIPTORS_NONE_LEFT
			    : "budd has no memory left for another client",
	    sizeof(msg.refuse.reason));
	wire_send(h->sock, &msg, proto_size(PROTO_REFUSE), NULL, 0);
	if (may_say(v))
		log_warn("keeper", "refused a client (uid %u pid %d): %s", s->uid,
		    s->pid, msg.refuse.reason);
}

void
vault_untaken(struct vault *v, uint32_t slot, int error)
{
	const struct slot *s = &v->table->slot[slot];
	struct holding *h = &v->holdings[slot];

	if (atomic_load(&s->state) != SLOT_OPEN) {
		refuse(v, s, h, error);
		vault_end_session(v, slot);
		return;
	}
	if (!h->untaken_said && may_say(v))
		log_errno("keeper", error,
		    "pool %u %s (uid %u pid %d) cannot be served; it stays locked, "
		    "trying again each second",
		    s->id, s->name, s->uid, s->pid);
	h->untaken = h->untaken_said = true;
	v->has_untaken = true;
}

bool
vault_untaken_next(struct vault *v, uint32_t *slotp, struct channel_mail *mail)
{
	while (*slotp < v->table->slots) {
		uint32_t slot = (*slotp)++;
		struct holding *h = &v->holdings[slot];

		if (!h->untaken)
			continue;
		h->untaken = false;
		if (is_over(h)) {
			vault_end_session(v, slot);
			continue;
		}
		vault_session_mail(v, slot, mail);
		return true;
	}
	return false;
}
