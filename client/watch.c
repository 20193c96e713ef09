/* SPDX-License-Identifier: ISC */

/* Events of a pool, and hints about it. */
#include "client/watch.h"

#include <errno.h>
#include <unistd.h>

#include "client/link.h"
#include "client/pool.h"

_Static_assert(BUD_PRESSURE == PROTO_EVENT_PRESSURE && BUD_GROWN == PROTO_EVENT_GROWN &&
		   BUD_RELEASED == PROTO_EVENT_RELEASED,
    "the same bits in the API and on the wire");

static bool
is_calm(const struct bud_pool *pool)
{
	return pool->ended_count == 0 && pool->watch.due == 0 && pool->blocks.due == 0;
}

void
bud__rouse(struct bud_pool *pool)
{
	const uint64_t one = 1;

	if (is_calm(pool) && write(pool->event_fd, &one, sizeof(one)) == -1)
		return; /* EAGAIN: it is readable as it is */
}

void
bud__calm(struct bud_pool *pool)
{
	uint64_t count;

	if (is_calm(pool) && read(pool->event_fd, &count, sizeof(count)) == -1)
		return; /* EAGAIN: was read already */
}

static unsigned int
kind(uint32_t event)
{
	return (unsigned int)__builtin_ctz(event);
}

void
bud__watch_note(struct bud_pool *pool, const struct proto_event *m)
{
	struct bud__watch *w = &pool->watch;

	if ((w->mask & m->event) == 0)
		return;
	bud__rouse(pool);
	w->due |= m->event;
	w->bytes[kind(m->event)] += m->bytes;
}

uint32_t
bud__watch_mask(const struct bud_pool *pool)
{
	return pool->watch.mask | (pool->blocks.block != NULL ? PROTO_EVENT_BLOCKS : 0);
}

void
bud__watch_again(struct bud_pool *pool)
{
	if (bud__watch_mask(pool) != 0)
		bud__note(pool, PROTO_WATCH, 0, bud__watch_mask(pool));
}

/* With the last of them the descriptor is quiet again. */
static void
forget(struct bud_pool *pool, uint32_t events)
{
	if ((pool->watch.due & events) == 0)
		return;
	pool->watch.due &= ~events;
	bud__calm(pool);
}

bool
bud__watch_take(struct bud_pool *pool, unsigned int *eventp, uint64_t *bytesp)
{
	struct bud__watch *w = &pool->watch;

	if (w->due == 0)
		return false;
	*eventp = w->due & -w->due;
	*bytesp = w->bytes[kind(*eventp)];
	w->bytes[kind(*eventp)] = 0;
	forget(pool, *eventp);
	return true;
}

int
bud_watch(struct bud_pool *pool, unsigned int mask, bud_event_fn *event, void *arg)
{
	if (atomic_load(&pool->forked) || (mask & ~PROTO_EVENTS) != 0 ||
	    (mask != 0 && event == NULL))
		return -EINVAL;
	pthread_mutex_lock(&pool->lock);
	forget(pool, ~mask);
	pool->watch.mask = mask;
	pool->watch.event = event;
	pool->watch.arg = arg;
	bud__note(pool, PROTO_WATCH, 0, bud__watch_mask(pool));
	pthread_mutex_unlock(&pool->lock);
	return atomic_load(&pool->away) ? -ENOTCONN : 0;
}

int
bud_hint(struct bud_pool *pool, unsigned int hint)
{
	if (atomic_load(&pool->forked) || hint != BUD_TRANSFER_END)
		return -EINVAL;
	pthread_mutex_lock(&pool->lock);
	bud__note(pool, PROTO_HINT, 0, PROTO_TRANSFER_END);
	pthread_mutex_unlock(&pool->lock);
	return atomic_load(&pool->away) ? -ENOTCONN : 0;
}
