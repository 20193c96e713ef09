/* SPDX-License-Identifier: ISC */

/*
 * How a keeper takes over from another, whose descriptors the store has kept. Nobody is
 * served meanwhile: when vault_adopt() returns, all pages are locked again. Between the old
 * keeper's death and this they were not; they were in memory, or in swap, but never lost.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/arbiter.h"
#include "daemon/log.h"
#include "daemon/record.h"
#include "daemon/store.h"
#include "daemon/vault.h"

/* The descriptors of a slot, which come under one name and in no order. */
struct parts {
	int sock;
	int pidfd;
	int memory; /* the larger memfd */
	int ledger;
	unsigned int count;
};

static off_t
size_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? st.st_size : 0;
}

static bool
is_socket(int fd)
{
	int type;
	socklen_t len = sizeof(type);

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0;
}

static void
replace(int *fdp, int fd)
{
	if (*fdp != -1)
		close(*fdp);
	*fdp = fd;
}

static void
sort_in(struct parts *p, int fd)
{
	p->count++;
	if (is_socket(fd)) {
		replace(&p->sock, fd);
	} else if (fcntl(fd, F_GET_SEALS) == -1) {
		replace(&p->pidfd, fd);
	} else if (p->memory == -1) {
		p->memory = fd;
	} else if (size_of(fd) < size_of(p->memory)) {
		replace(&p->ledger, fd);
	} else {
		replace(&p->ledger, p->memory);
		p->memory = fd;
	}
}

static void
take_parts(struct vault *v, uint32_t slot, struct parts *p)
{
	struct store_name name = store_name_of(slot);
	int fd;

	*p = (struct parts){ .sock = -1, .pidfd = -1, .memory = -1, .ledger = -1 };
	while ((fd = store_take(v->store, name.s)) != -1)
		sort_in(p, fd);
}

static void
close_parts(struct parts *p)
{
	replace(&p->sock, -1);
	replace(&p->pidfd, -1);
	replace(&p->memory, -1);
	replace(&p->ledger, -1);
}

/* --- A pool --- */

static void
drop_slot(struct vault *v, uint32_t slot, struct parts *p)
{
	struct store_name name = store_name_of(slot);

	if (p->count > 0)
		store_drop(v->store, name.s, p->count);
	close_parts(p);
	atomic_store(&v->table->slot[slot].state, SLOT_FREE);
}

static void
adopt_pool(struct vault *v, uint32_t slot, struct parts *p)
{
	struct slot *s = &v->table->slot[slot];
	struct holding *h = &v->holdings[slot];
	int r = -EPROTO, larger = p->memory;

	if (size_of(p->memory) != (off_t)(s->chunks * CHUNK_SIZE)) {
		p->memory =
		    p->ledger; /* a small pool's ledger is larger than its memory */
		p->ledger = larger;
	}
	if (p->sock != -1 && p->memory != -1 && p->ledger != -1)
		r = heap_adopt(
		    &h->heap, s->heap, p->memory, p->ledger, s->chunks, s->pinned);
	if (r != 0) {
		log_errno("keeper", -r,
		    "pool %u %s (uid %u pid %d) cannot be taken over, and ends", s->id,
		    s->name, s->uid, s->pid);
		drop_slot(v, slot, p);
		return;
	}
	h->sock = p->sock;
	h->pidfd = p->pidfd;
	h->stored = p->count;
	v->locked += heap_charge(s->chunks, s->pinned);
	v->sessions++;
}

static void
hold_foreign(struct vault *v, uint32_t slot, struct parts *p)
{
	struct holding *h = &v->holdings[slot];
	const int memfds[] = { p->memory, p->ledger };
	int r = foreign_hold(&h->foreign, p->sock, p->pidfd, memfds);

	p->sock = p->pidfd = -1;
	close_parts(p); /* the mappings are enough, and the store has its own */
	if (r != 0)
		log_errno("keeper", -r, "slot %u of another budd is not locked", slot);
	h->stored = p->count;
	v->locked += h->foreign.locked;
	v->foreign++;
	atomic_store(&v->table->slot[slot].state, SLOT_FOREIGN);
}

static void
adopt_slot(struct vault *v, uint32_t slot)
{
	struct parts p;

	take_parts(v, slot, &p);
	switch ((enum slot_state)atomic_load(&v->table->slot[slot].state)) {
	case SLOT_OPEN:
		adopt_pool(v, slot, &p);
		return;
	case SLOT_FOREIGN:
		hold_foreign(v, slot, &p);
		return;
	case SLOT_FREE:    /* ended, and the store was not told */
	case SLOT_SESSION: /* its connection ended with the keeper */
	case SLOT_POOL:    /* its client was not told of it */
	case SLOT_ENDING:
		break;
	}
	drop_slot(v, slot, &p);
}

/* --- All of it --- */

static bool
adopt_tables(struct vault *v)
{
	v->table_fd = store_take(v->store, STORE_TABLE);
	v->records = store_take(v->store, STORE_RECORDS);
	if (v->records != -1 && size_of(v->records) == (off_t)RECORDS_SIZE(TABLE_SLOTS))
		v->table = table_adopt(v->table_fd);
	return v->table != NULL;
}

/* What cannot be read makes room for what can. */
static int
begin_anew(struct vault *v)
{
	if (v->table_fd != -1)
		store_drop(v->store, STORE_TABLE, 1);
	if (v->records != -1)
		store_drop(v->store, STORE_RECORDS, 1);
	replace(&v->table_fd, -1);
	replace(&v->records, -1);
	return vault_create_tables(v);
}

/* Of a descriptor that nobody has taken; -1: it is of none. */
static int32_t
slot_of(const struct systemd_fd *f)
{
	int32_t slot = store_slot_of(f->name);

	return f->fd != -1 && slot < (int32_t)TABLE_SLOTS ? slot : -1;
}

/* Pools that came without a table of ours. */
static void
mark_foreign(struct vault *v)
{
	for (unsigned int i = 0; i < v->store->received_count; i++) {
		int32_t slot = slot_of(&v->store->received[i]);

		if (slot != -1)
			atomic_store(&v->table->slot[slot].state, SLOT_FOREIGN);
	}
}

/* First those that the store has something of, then those that it should have. */
static void
adopt_slots(struct vault *v)
{
	for (unsigned int i = 0; i < v->store->received_count; i++) {
		int32_t slot = slot_of(&v->store->received[i]);

		if (slot != -1)
			adopt_slot(v, (uint32_t)slot);
	}
	for (uint32_t i = 0; i < TABLE_SLOTS; i++)
		if (atomic_load(&v->table->slot[i].state) != SLOT_FREE &&
		    v->holdings[i].stored == 0)
			adopt_slot(v, i);
}

static void
drop_unknown(struct store *st)
{
	for (unsigned int i = 0; i < st->received_count; i++) {
		struct systemd_fd *f = &st->received[i];

		if (f->fd == -1)
			continue;
		log_warn(
		    "keeper", "the store has \"%s\", which is not budd's", f->name);
		store_drop(st, f->name, 1);
		close(f->fd);
		f->fd = -1;
	}
}

int
vault_adopt(struct vault *v)
{
	struct instant start = clock_now();
	int r;

	if (!adopt_tables(v)) {
		if ((r = begin_anew(v)) != 0)
			return r;
		mark_foreign(v);
	} else {
		v->table->restarts++; /* the arbiter's, too */
	}
	adopt_slots(v);
	drop_unknown(v->store);
	if (v->sessions > 0)
		log_info("keeper",
		    "%u pools were taken over in %lld ms, %llu bytes are locked",
		    v->sessions, (long long)instant_ms_since(clock_now(), start),
		    (unsigned long long)v->locked);
	if (v->foreign > 0)
		log_warn("keeper",
		    "%u pools are of a budd of another layout: they stay locked until "
		    "their processes end, and do not grow",
		    v->foreign);
	return 0;
}
