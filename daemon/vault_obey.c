/* SPDX-License-Identifier: ISC */

/* What the arbiter asks of the vault, checked and carried out. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "daemon/heap_audit.h"
#include "daemon/record.h"
#include "daemon/store.h"
#include "daemon/vault.h"
#include "proto/wire.h"

/* An earlier pool of the slot left its record; blocks that are not counted do not matter.
 * Done here, so that no arbiter ever adopts a pool with another's blocks. */
static int
clear_record(struct vault *v, uint32_t slot)
{
	static const char
	    zeros[offsetof(struct record, block) - offsetof(struct record, blocks)];
	off_t offset =
	    (off_t)slot * RECORD_STRIDE + (off_t)offsetof(struct record, blocks);

	return pwrite(v->records, zeros, sizeof(zeros), offset) == sizeof(zeros) ? 0
										 : -EIO;
}

/* A prefix moves by whole pages, at both of its ends: where it starts, and where it ends. */
static bool
is_slice(const struct slot *s, const struct channel_msg *m)
{
	uint32_t page = heap_kind_chunks(s->heap);

	return m->from < m->to && m->to - m->from <= heap_kind_slice_max(s->heap) &&
	       m->from % page == 0 && m->to % page == 0;
}

static bool
is_heap(uint32_t kind, uint32_t chunks)
{
	return kind < HEAP_KINDS && chunks % heap_kind_chunks(kind) == 0;
}

static int
create_pool(
    struct vault *v, struct slot *s, struct holding *h, const struct channel_msg *m)
{
	int r;

	if (atomic_load(&s->state) != SLOT_SESSION || m->chunks == 0 ||
	    m->chunks > CHUNKS_MAX || !is_heap(m->heap, m->chunks) ||
	    m->chunks * CHUNK_SIZE > v->longest)
		return -EINVAL;
	if (v->locked + heap_charge(m->chunks, 0) > v->host_wall)
		return -ENOSPC;
	if ((r = clear_record(v, m->slot)) != 0 ||
	    (r = heap_init(&h->heap, m->heap, m->chunks)) != 0)
		return r;
	s->heap = m->heap;
	s->chunks = m->chunks;
	s->pinned = 0;
	memcpy(s->name, m->name, sizeof(s->name));
	s->name[sizeof(s->name) - 1] = '\0';
	v->locked += heap_charge(s->chunks, 0);
	atomic_store(&s->state, SLOT_POOL);
	return 0;
}

static int
pin_slice(
    struct vault *v, struct slot *s, struct holding *h, const struct channel_msg *m)
{
	uint64_t more;
	int r;

	if (m->from != s->pinned || m->to > s->chunks || !is_slice(s, m))
		return -EINVAL;
	more = heap_charge(s->chunks, m->to) - heap_charge(s->chunks, m->from);
	if (v->locked + more > v->host_wall)
		return -ENOSPC;
	if ((r = heap_pin(&h->heap, m->to)) != 0)
		return r;
	v->locked += more;
	s->pinned = m->to;
	return 0;
}

static int
unpin_slice(
    struct vault *v, struct slot *s, struct holding *h, const struct channel_msg *m)
{
	if (m->to != s->pinned || !is_slice(s, m))
		return -EINVAL;
	vault_unpin_to(v, s, h, m->from);
	return 0;
}

static int
change_prefix(
    struct vault *v, struct slot *s, struct holding *h, const struct channel_msg *m)
{
	if (atomic_load(&s->state) == SLOT_SESSION)
		return -EINVAL;
	return m->type == CHANNEL_PIN ? pin_slice(v, s, h, m) : unpin_slice(v, s, h, m);
}

static void
answer(struct channel_mail *mail, enum channel_type type, const struct channel_msg *m,
    const struct slot *s, int r)
{
	*mail = (struct channel_mail){ .msg = { .type = type,
					   .id = m->id,
					   .slot = m->slot,
					   .error = -r,
					   .pinned = s->pinned } };
}

/* The prefix may be shorter by now than when the arbiter asked. */
static void
audit_slice(struct vault *v, const struct slot *s, const struct holding *h,
    const struct channel_msg *m, struct channel_mail *mail)
{
	uint32_t to = m->to < s->pinned ? m->to : s->pinned;
	struct heap_found found = { 0 };
	int r = 0;

	if (m->from < to && to - m->from <= heap_kind_slice(s->heap))
		r = heap_audit(&h->heap, v->pagemap, m->from, to, &found);
	answer(mail, CHANNEL_AUDITED, m, s, r);
	mail->msg.holes = found.holes;
	mail->msg.unlocked = found.unlocked;
}

/* From here on the pool outlives us. */
static void
store_pool(struct vault *v, uint32_t slot, struct holding *h)
{
	int fds[] = { h->heap.memory, h->heap.ledger, h->sock, h->pidfd };
	unsigned int n = h->pidfd != -1 ? 4 : 3;
	struct store_name name = store_name_of(slot);
	int r = store_keep(v->store, name.s, fds, n);

	h->stored = r == 0 ? n : 0;
	vault_note_store(v, r);
}

/* The first message of all finds room, unless the client is gone or the kernel short; then
 * nobody has the memory yet, and it goes. It is tried once: the service manager would be told
 * of the pool each time.
 * Return: 0 or a negative errno */
static int
welcome(struct vault *v, struct slot *s, const struct channel_msg *m)
{
	struct holding *h = &v->holdings[m->slot];
	int fds[] = { h->heap.memory, h->heap.ledger };
	int r;

	if (atomic_load(&s->state) != SLOT_POOL || h->unwelcome)
		return 0;
	store_pool(v, m->slot, h);
	r = wire_send(h->sock, &m->welcome, sizeof(m->welcome), fds, 2);
	if (r == 0) {
		atomic_store(&s->state, SLOT_OPEN);
		return 0;
	}
	vault_unstore(v, m->slot);
	h->unwelcome = true;
	if (r == WIRE_E_CLOSED)
		return -EPIPE;
	return r == WIRE_E_AGAIN ? -ENOBUFS : r;
}

/* --- What the arbiter asks --- */

static bool
is_request(const struct vault *v, const struct channel_msg *m)
{
	switch ((enum channel_type)m->type) {
	case CHANNEL_CREATE:
	case CHANNEL_PIN:
	case CHANNEL_UNPIN:
	case CHANNEL_AUDIT:
	case CHANNEL_WELCOME:
	case CHANNEL_UNTAKEN:
	case CHANNEL_END:
		return m->slot < v->table->slots;
	case CHANNEL_SESSION:
	case CHANNEL_READY:
	case CHANNEL_CREATED:
	case CHANNEL_PINNED:
	case CHANNEL_UNPINNED:
	case CHANNEL_AUDITED:
	case CHANNEL_RELOAD:
	case CHANNEL_PING:
	case CHANNEL_PONG:
	case CHANNEL_UNWELCOMED:
		break;
	}
	return false;
}

/* About a session that there is. */
static enum vault_reply
obey(struct vault *v, struct slot *s, const struct channel_msg *m,
    struct channel_mail *mail)
{
	struct holding *h = &v->holdings[m->slot];

	switch (m->type) {
	case CHANNEL_CREATE:
		answer(mail, CHANNEL_CREATED, m, s, create_pool(v, s, h, m));
		if (mail->msg.error == 0)
			mail->fds[mail->nfds++] = h->heap.ledger;
		return VAULT_ANSWER;
	case CHANNEL_PIN:
		answer(mail, CHANNEL_PINNED, m, s, change_prefix(v, s, h, m));
		mail->msg.page_shift = h->heap.page_shift;
		return VAULT_ANSWER;
	case CHANNEL_UNPIN:
		answer(mail, CHANNEL_UNPINNED, m, s, change_prefix(v, s, h, m));
		return VAULT_ANSWER;
	case CHANNEL_AUDIT:
		audit_slice(v, s, h, m, mail);
		return VAULT_ANSWER;
	case CHANNEL_WELCOME:
		answer(mail, CHANNEL_UNWELCOMED, m, s, welcome(v, s, m));
		return mail->msg.error != 0 ? VAULT_ANSWER : VAULT_QUIET;
	case CHANNEL_UNTAKEN:
		vault_untaken(v, m->slot, m->error);
		return VAULT_QUIET;
	default: /* END: is_request() knows no other */
		vault_end_session(v, m->slot);
		return VAULT_QUIET;
	}
}

enum vault_reply
vault_obey(struct vault *v, const struct channel_msg *m, struct channel_mail *mail)
{
	if (!is_request(v, m))
		return VAULT_NONSENSE;
	if (!vault_has_session(v, m->slot) || v->table->slot[m->slot].id != m->id)
		return VAULT_QUIET;
	return obey(v, &v->table->slot[m->slot], m, mail);
}
