/* SPDX-License-Identifier: ISC */

/* What the keeper holds. */
#include "daemon/vault.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/config.h"
#include "daemon/core.h"
#include "daemon/heap.h"
#include "daemon/heap_audit.h"
#include "daemon/log.h"
#include "daemon/record.h"
#include "daemon/store.h"
#include "proto/wire.h"

/* --- Life --- */

static_assert(TABLE_SLOTS >= CONFIG_CLIENTS_MAX, "a slot for each client");

/* Sealed: a shorter one would end whoever has mapped it. */
static int
create_records(void)
{
	int fd = memfd_create("bud-records", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd != -1 && (ftruncate(fd, (off_t)RECORDS_SIZE(TABLE_SLOTS)) == -1 ||
			    fcntl(fd, F_ADD_SEALS,
				F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == -1)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* Said once, not for each pool. */
static void
note_store(struct vault *v, int r)
{
	bool is_short = r != 0 && r != STORE_E_ABSENT;

	if (is_short && !v->store_is_short)
		log_warn("keeper",
		    "the service manager keeps no more descriptors (%s): new pools "
		    "will not outlive this budd; raise FileDescriptorStoreMax= and "
		    "FDSTORE= in its unit",
		    r == STORE_E_FULL ? "the store is full" : strerror(-r));
	v->store_is_short = is_short;
}

int
vault_create_tables(struct vault *v)
{
	int r;

	if ((v->table = table_create(&v->table_fd)) == NULL ||
	    (v->records = create_records()) == -1)
		return -errno;
	if ((r = store_keep(v->store, STORE_TABLE, &v->table_fd, 1)) == 0 &&
	    (r = store_keep(v->store, STORE_RECORDS, &v->records, 1)) == 0)
		r = systemd_barrier();
	note_store(v, r);
	return 0;
}

int
vault_init(struct vault *v, struct store *store, uint64_t host_wall)
{
	*v = (struct vault){
		.store = store,
		.table_fd = -1,
		.records = -1,
		.pagemap = heap_audit_open(),
		.host_wall = host_wall,
	};
	if ((v->holdings = calloc(TABLE_SLOTS, sizeof(*v->holdings))) == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < TABLE_SLOTS; i++)
		v->holdings[i] = HOLDING_EMPTY;
	return vault_adopt(v);
}

static void
close_fd(int fd)
{
	if (fd != -1)
		close(fd);
}

void
vault_leave(struct vault *v)
{
	for (uint32_t i = 0; i < v->table->slots; i++) {
		close_fd(v->holdings[i].sock);
		close_fd(v->holdings[i].pidfd);
		close_fd(v->holdings[i].heap.memory);
		close_fd(v->holdings[i].heap.ledger);
		close_fd(v->holdings[i].foreign.pidfd);
	}
	close_fd(v->pagemap);
	table_free(v->table, v->table_fd);
	free(v->holdings);
}

/* --- Slots --- */

static bool
in_use(const struct vault *v, uint32_t slot)
{
	return atomic_load(&v->table->slot[slot].state) != SLOT_FREE;
}

static bool
is_foreign(const struct vault *v, uint32_t slot)
{
	return atomic_load(&v->table->slot[slot].state) == SLOT_FOREIGN;
}

/* It is somebody's, of whom the arbiter knows. */
static bool
has_session(const struct vault *v, uint32_t slot)
{
	uint32_t state = atomic_load(&v->table->slot[slot].state);

	return state != SLOT_FREE && state != SLOT_FOREIGN && state != SLOT_ENDING;
}

uint32_t
vault_pools(const struct vault *v)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < v->table->slots; i++)
		n += atomic_load(&v->table->slot[i].state) == SLOT_OPEN;
	return n;
}

/* For the log. Anything may be in it but a NUL. */
static void
read_command(pid_t pid, char command[CHANNEL_COMMAND])
{
	char path[32];
	ssize_t n;
	int fd;

	strlcpy(command, "?", CHANNEL_COMMAND);
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) == -1)
		return;
	if ((n = read(fd, command, CHANNEL_COMMAND - 1)) > 0)
		command[command[n - 1] == '\n' ? n - 1 : n] = '\0';
	close(fd);
}

void
vault_session_mail(const struct vault *v, uint32_t slot, struct channel_mail *mail)
{
	const struct slot *s = &v->table->slot[slot];
	const struct holding *h = &v->holdings[slot];

	*mail = (struct channel_mail){
		.msg = { .type = CHANNEL_SESSION,
		    .id = s->id,
		    .slot = slot,
		    .pid = s->pid,
		    .uid = s->uid,
		    .gid = s->gid },
		.fds = { h->sock, h->pidfd },
		.nfds = 2,
	};
	read_command(s->pid, mail->msg.command);
	if (h->pidfd == -1) { /* a kernel without: something has to fill the place */
		mail->fds[1] = h->sock;
		mail->msg.error = ENOSYS;
	}
	if (atomic_load(&s->state) == SLOT_OPEN) {
		mail->msg.heap = s->heap;
		mail->msg.chunks = s->chunks;
		mail->msg.pinned = s->pinned;
		memcpy(mail->msg.name, s->name, sizeof(mail->msg.name));
		mail->fds[mail->nfds++] = h->heap.ledger;
	}
}

bool
vault_next(struct vault *v, uint32_t *slotp, struct channel_mail *mail)
{
	while (*slotp < v->table->slots) {
		uint32_t slot = (*slotp)++;

		if (!has_session(v, slot))
			continue;
		v->holdings[slot].untaken = v->holdings[slot].untaken_said = false;
		vault_session_mail(v, slot, mail);
		return true;
	}
	return false;
}

static int
peer_pidfd(int sock, pid_t pid)
{
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
	int fd;
	socklen_t len = sizeof(fd);

	if (getsockopt(sock, SOL_SOCKET, SO_PEERPIDFD, &fd, &len) == 0)
		return fd;
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

static uint32_t
count_of_user(const struct vault *v, uid_t uid)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < v->table->slots; i++)
		n += in_use(v, i) && v->table->slot[i].uid == uid;
	return n;
}

/* Or the table's end. */
static uint32_t
find_free(struct vault *v)
{
	uint32_t i = v->lowest_free;

	while (i < v->table->slots && in_use(v, i))
		i++;
	v->lowest_free = i;
	return i;
}

int
vault_admit(struct vault *v, int sock, struct channel_mail *mail)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	uint32_t i = find_free(v);
	struct slot *s;

	if (i == v->table->slots)
		return VAULT_E_FULL;
	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) == -1)
		return -errno;
	if (v->user_clients != 0 && count_of_user(v, peer.uid) >= v->user_clients)
		return VAULT_E_USER;
	v->holdings[i] = HOLDING_EMPTY;
	v->holdings[i].sock = sock;
	v->holdings[i].pidfd = peer_pidfd(sock, peer.pid);
	s = &v->table->slot[i];
	s->id = ++v->table->last_id;
	s->pid = peer.pid;
	s->uid = peer.uid;
	s->gid = peer.gid;
	s->heap = HEAP_PAGE;
	s->chunks = 0;
	s->pinned = 0;
	atomic_store(&s->state, SLOT_SESSION);
	v->sessions++;
	vault_session_mail(v, i, mail);
	return 0;
}

/* --- Pools --- */

static void
destroy_pool(struct vault *v, struct slot *s, struct holding *h)
{
	if (atomic_load(&s->state) == SLOT_SESSION)
		return;
	atomic_store(&s->state, SLOT_SESSION);
	v->locked -= heap_charge(s->chunks, s->pinned);
	s->pinned = 0;
	heap_end(&h->heap);
}

static void
unstore(struct vault *v, uint32_t slot)
{
	struct store_name name = store_name_of(slot);

	if (v->holdings[slot].stored == 0)
		return;
	store_drop(v->store, name.s, v->holdings[slot].stored);
	v->holdings[slot].stored = 0;
}

static void
lower_free(struct vault *v, uint32_t slot)
{
	if (slot < v->lowest_free)
		v->lowest_free = slot;
}

static void
free_slot(struct vault *v, struct slot *s, struct holding *h)
{
	destroy_pool(v, s, h);
	*h = HOLDING_EMPTY;
	atomic_store(&s->state, SLOT_FREE);
	lower_free(v, (uint32_t)(s - v->table->slot));
	v->sessions--;
}

/* To unmap a gigabyte takes a quarter of a second, for which nobody else would be served. So
 * each turn of the loop gives back a slice; and as it pins no more than one, what the arbiter
 * counts as gone is never in the way of what it grants. */
void
vault_end_session(struct vault *v, uint32_t slot)
{
	struct slot *s = &v->table->slot[slot];
	struct holding *h = &v->holdings[slot];

	unstore(v, slot);
	close_fd(h->sock);
	close_fd(h->pidfd);
	h->sock = h->pidfd = -1;
	if (s->pinned <= heap_kind_slice(s->heap)) {
		free_slot(v, s, h);
		return;
	}
	atomic_store(&s->state, SLOT_ENDING);
	v->ending++;
}

/* Said once until they are gone, not at each try. */
static void
note_rest(struct vault *v, const struct slot *s, int r)
{
	if (r != 0 && !v->has_rest)
		log_errno("keeper", -r,
		    "pages of pool %u cannot be given back: they stay, unlocked; "
		    "trying "
		    "again each second",
		    s->id);
	v->unreturned += r != 0;
	v->has_rest = v->has_rest || r != 0;
}

static void
unpin_to(struct vault *v, struct slot *s, struct holding *h, uint32_t to)
{
	v->locked -= heap_charge(s->chunks, s->pinned) - heap_charge(s->chunks, to);
	s->pinned = to;
	note_rest(v, s, heap_unpin(&h->heap, to));
}

void
vault_give_back_rests(struct vault *v)
{
	bool all = true;

	for (uint32_t i = 0; v->has_rest && i < v->table->slots; i++)
		if (v->holdings[i].heap.left != 0 &&
		    heap_give_back_rest(&v->holdings[i].heap) != 0)
			all = false;
	if (v->has_rest && all)
		log_info("keeper",
		    "all pages that could not be given back are gone; it failed %llu "
		    "times",
		    (unsigned long long)v->unreturned);
	v->has_rest = v->has_rest && !all;
}

void
vault_end_slice(struct vault *v)
{
	struct slot *s = v->table->slot;
	struct holding *h;

	if (v->ending == 0)
		return;
	while (atomic_load(&s->state) != SLOT_ENDING)
		s++;
	h = &v->holdings[s - v->table->slot];
	if (s->pinned > heap_kind_slice(s->heap)) {
		unpin_to(v, s, h, s->pinned - heap_kind_slice(s->heap));
		return;
	}
	free_slot(v, s, h);
	v->ending--;
}

void
vault_end_foreign(struct vault *v)
{
	for (uint32_t i = 0; v->foreign > 0 && i < v->table->slots; i++) {
		struct holding *h = &v->holdings[i];

		if (!is_foreign(v, i) || !foreign_is_over(&h->foreign))
			continue;
		log_info("keeper", "slot %u of another budd: its process has ended", i);
		unstore(v, i);
		v->locked -= h->foreign.locked;
		foreign_fini(&h->foreign);
		*h = HOLDING_EMPTY;
		atomic_store(&v->table->slot[i].state, SLOT_FREE);
		lower_free(v, i);
		v->foreign--;
	}
}

/* Its memory goes slice by slice like that of a session which has ended: in another slot, for
 * the client of this one is connected, and is served anew. */
static void
forget_pool(struct vault *v, struct slot *s, struct holding *h)
{
	uint32_t i = find_free(v);
	struct slot *other = &v->table->slot[i];

	h->unwelcome = false;
	if (i == v->table->slots || s->pinned <= heap_kind_slice(s->heap)) {
		destroy_pool(v, s, h);
		return;
	}
	v->holdings[i] = HOLDING_EMPTY;
	v->holdings[i].heap = h->heap;
	h->heap = HEAP_EMPTY;
	other->id = ++v->table->last_id;
	other->pid = s->pid;
	other->uid = s->uid;
	other->gid = s->gid;
	other->heap = s->heap;
	other->chunks = s->chunks;
	other->pinned = s->pinned;
	s->pinned = 0;
	atomic_store(&other->state, SLOT_ENDING);
	atomic_store(&s->state, SLOT_SESSION);
	v->sessions++;
	v->ending++;
}

void
vault_forget_unwelcomed(struct vault *v)
{
	for (uint32_t i = 0; i < v->table->slots; i++)
		if (atomic_load(&v->table->slot[i].state) == SLOT_POOL)
			forget_pool(v, &v->table->slot[i], &v->holdings[i]);
}

void
vault_fini(struct vault *v)
{
	for (uint32_t i = 0; v->holdings != NULL && i < TABLE_SLOTS; i++) {
		close_fd(v->holdings[i].sock);
		close_fd(v->holdings[i].pidfd);
		heap_fini(&v->holdings[i].heap);
		foreign_fini(&v->holdings[i].foreign);
	}
	if (v->table != NULL)
		table_free(v->table, v->table_fd);
	close_fd(v->records);
	close_fd(v->pagemap);
	free(v->holdings);
}

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
	unpin_to(v, s, h, m->from);
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
	note_store(v, r);
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
	unstore(v, m->slot);
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
	if (!has_session(v, m->slot) || v->table->slot[m->slot].id != m->id)
		return VAULT_QUIET;
	return obey(v, &v->table->slot[m->slot], m, mail);
}
