/* SPDX-License-Identifier: ISC */

/* What the keeper holds: table and records, who comes into a slot, and the end of it all. */
#include "daemon/vault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/config.h"
#include "daemon/heap_audit.h"
#include "daemon/log.h"
#include "daemon/record.h"
#include "daemon/store.h"

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
void
vault_note_store(struct vault *v, int r)
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
	vault_note_store(v, r);
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

bool
vault_is_foreign(const struct vault *v, uint32_t slot)
{
	return atomic_load(&v->table->slot[slot].state) == SLOT_FOREIGN;
}

/* It is somebody's, of whom the arbiter knows. */
bool
vault_has_session(const struct vault *v, uint32_t slot)
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

		if (!vault_has_session(v, slot))
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
uint32_t
vault_find_free(struct vault *v)
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
	uint32_t i = vault_find_free(v);
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
