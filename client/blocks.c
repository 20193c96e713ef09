/* SPDX-License-Identifier: ISC */

/*
 * The blocks of a pool.
 *
 * budd tells of them in the order in which they lie, and takes only the last one; so a
 * message about one says that there is none behind it, and a new listing (after RESTARTED)
 * begins with the base. What a program was told twice it takes for once.
 */
#include "client/blocks.h"

#include <errno.h>
#include <stdlib.h>

#include "client/link.h"
#include "client/pool.h"

static void
settle(struct bud_pool *pool, struct bud__block *b)
{
	if (b->due == 0)
		return;
	b->due = 0;
	if (--pool->blocks.due == 0)
		bud__calm(pool);
}

/* What lies at or behind @offset is not there any more. */
static void
forget_from(struct bud_pool *pool, uint64_t offset)
{
	struct bud__blocks *l = &pool->blocks;

	while (l->count > 0 && l->list[l->count - 1].offset >= offset)
		settle(pool, &l->list[--l->count]);
}

static struct bud__block *
append(struct bud__blocks *l)
{
	size_t capacity = l->capacity * 2 + 8;
	struct bud__block *list = l->list;

	if (l->count == l->capacity) {
		list = reallocarray(list, capacity, sizeof(*list));
		if (list == NULL)
			return NULL;
		l->list = list;
		l->capacity = capacity;
	}
	return &list[l->count++];
}

static bool
is_in_memory(const struct bud_pool *pool, const struct proto_block *m)
{
	return m->offset % CHUNK_SIZE == 0 && m->bytes % CHUNK_SIZE == 0 &&
	       m->offset < pool->memory_size &&
	       m->bytes <= pool->memory_size - m->offset;
}

void
bud__blocks_note(struct bud_pool *pool, const struct proto_block *m)
{
	struct bud__block *b;

	if (!is_in_memory(pool, m)) {
		bud__away(pool);
		return;
	}
	if (pool->blocks.block == NULL)
		return; /* it crossed our WATCH */
	forget_from(pool, m->offset);
	/* Without memory it is never told: not registered, or not given up; budd keeps it. */
	if ((b = append(&pool->blocks)) == NULL)
		return;
	*b = (struct bud__block){ .offset = m->offset,
		.bytes = m->bytes,
		.ask = m->ask,
		.due = m->ask != 0 ? BUD_BLOCK_RELEASE : BUD_BLOCK_ADDED };
	bud__rouse(pool);
	pool->blocks.due++;
}

bool
bud__blocks_take(struct bud_pool *pool, struct bud__block *block)
{
	struct bud__blocks *l = &pool->blocks;
	size_t i = 0;

	if (l->due == 0)
		return false;
	while (l->list[i].due == 0)
		i++;
	*block = l->list[i];
	settle(pool, &l->list[i]);
	return true;
}

int
bud_watch_blocks(struct bud_pool *pool, bud_block_fn *block, void *arg)
{
	if (atomic_load(&pool->forked))
		return -EINVAL;
	pthread_mutex_lock(&pool->lock);
	forget_from(pool, 0);
	pool->blocks.block = block;
	pool->blocks.arg = arg;
	bud__note(pool, PROTO_WATCH, 0, bud__watch_mask(pool));
	pthread_mutex_unlock(&pool->lock);
	return atomic_load(&pool->away) ? -ENOTCONN : 0;
}

static struct bud__block *
find(struct bud__blocks *l, uint64_t offset)
{
	for (size_t i = l->count; i-- > 0;)
		if (l->list[i].offset == offset)
			return &l->list[i];
	return NULL;
}

int
bud_gave_up(struct bud_pool *pool, void *start)
{
	struct bud__block *b;
	uint64_t offset;
	int error = -ENOENT;

	if (atomic_load(&pool->forked))
		return -EINVAL;
	offset = (uintptr_t)start - (uintptr_t)pool->memory;
	pthread_mutex_lock(&pool->lock);
	b = find(&pool->blocks, offset);
	if (b != NULL && b->ask != 0) {
		uint32_t ask = b->ask;

		forget_from(pool, offset);
		bud__note(pool, PROTO_GAVE_UP, offset, ask);
		error = atomic_load(&pool->away) ? -ENOTCONN : 0;
	}
	pthread_mutex_unlock(&pool->lock);
	return error;
}
