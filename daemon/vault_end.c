/* SPDX-License-Identifier: ISC */

/* How pools and sessions end, slice by slice, and slots become free. */
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/store.h"
#include "daemon/vault.h"

static void
close_fd(int fd)
{
	if (fd != -1)
		close(fd);
}

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

void
vault_unstore(struct vault *v, uint32_t slot)
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

	vault_unstore(v, slot);
	close_fd(h->sock);
	close_fd(h->pidfd);
	h->sock = h->pidfd = -1;
	h->untaken = false;
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

void
vault_unpin_to(struct vault *v, struct slot *s, struct holding *h, uint32_t to)
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
		vault_unpin_to(v, s, h, s->pinned - heap_kind_slice(s->heap));
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

		if (!vault_is_foreign(v, i) || !foreign_is_over(&h->foreign))
			continue;
		log_info("keeper", "slot %u of another budd: its process has ended", i);
		vault_unstore(v, i);
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
	uint32_t i = vault_find_free(v);
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
