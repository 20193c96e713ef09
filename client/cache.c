/* SPDX-License-Identifier: ISC */

/*
 * Thread caches, the library's part: who owns which, what is done when one is empty or full,
 * when a thread ends, when budd is away. proto/cache.c has the argument why nobody is stranded
 * and nobody has a buffer twice.
 *
 * A thread gets a cache when it first needs something of a pool, the lowest one that is
 * free, and keeps it until it ends. bud_inline_1 names the pool that the thread used last,
 * by an id that is never used again, so that a pool which was closed by another thread is
 * not taken for the one that got its address. Other pools' caches are found by a walk.
 *
 * In a cache lies only what was taken from the map in the present tick, so that its chunk has
 * that tick's stamp, and a hit needs to write none. Buffers that were held for longer go to the
 * map at once.
 *
 * A refill takes one buffer at first, then two, four, up to half of a stack, until the cache
 * is emptied, at the latest with the next tick: who holds many buffers and gives few back gets
 * them side by side from the bottom, as if there were no cache.
 *
 * With BUD_DEBUG there are none: each bud_free() then sees at once what is wrong with it.
 */
#include "client/cache.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/alloc.h"
#include "client/link.h"

#define FORKED_ID  UINT64_MAX
#define HUNGER_MAX 6u /* a batch of 64: half of a stack */

__attribute__((
    tls_model("initial-exec"))) __thread struct bud_inline_thread bud_inline_1;
/* The pool for which there was no cache left; it is not looked for again. */
static __thread uint64_t none_for;

static pthread_key_t at_thread_end;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool may_cache; /* written once */

/* --- Pools --- */

static void give_up(void *arg);

static int
membarrier(int command)
{
	return (int)syscall(SYS_membarrier, command, 0, 0);
}

/* budd's barrier reaches those that registered; the other is our own, when budd is away. */
static void
prepare(void)
{
	may_cache = membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) == 0 &&
		    membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0 &&
		    pthread_key_create(&at_thread_end, give_up) == 0;
}

int
bud__caches_create(struct bud_pool *pool)
{
	static _Atomic uint64_t last_id;

	pthread_once(&once, prepare);
	pool->id = atomic_fetch_add(&last_id, 1) + 1;
	if (!may_cache || pool->debug || pool->ledger.header->caches == 0)
		return 0;
	pool->caches = calloc(LEDGER_CACHES, sizeof(*pool->caches));
	if (pool->caches == NULL)
		return -ENOMEM;
	pool->ledger.caches = LEDGER_CACHES;
	return 0;
}

void
bud__caches_free(struct bud_pool *pool)
{
	for (uint32_t i = 0; pool->caches != NULL && i < LEDGER_CACHES; i++)
		free((void *)atomic_load(&pool->caches[i]));
	free((void *)(uintptr_t)pool->caches); /* casts _Atomic away */
	pool->caches = NULL;
}

void
bud__caches_forked(struct bud_pool *pool)
{
	pool->id = FORKED_ID;
}

/* --- Whose is it --- */

static struct bud_inline_thread *
owner_of(const struct bud_pool *pool, uint32_t i)
{
	struct bud__cache *m =
	    atomic_load_explicit(&pool->caches[i], memory_order_acquire);

	return m != NULL ? atomic_load_explicit(&m->owner, memory_order_relaxed) : NULL;
}

/* What is remembered of a cache is made with its first owner, and stays: most pools have one
 * or two. NULL: out of memory. */
static struct bud__cache *
remember(struct bud_pool *pool, uint32_t i)
{
	struct bud__cache *m = atomic_load(&pool->caches[i]), *made;

	if (m != NULL || (made = calloc(1, sizeof(*made))) == NULL)
		return m;
	if (atomic_compare_exchange_strong(&pool->caches[i], &m, made))
		return made;
	free((void *)made); /* another thread was faster */
	return m;
}

static struct bud__cache *
memory_of(struct bud_pool *pool, const struct bud_inline_cache *c)
{
	return atomic_load_explicit(
	    &pool->caches[ledger_cache_number(&pool->ledger, c)], memory_order_relaxed);
}

static void
make_current(struct bud_pool *pool, struct bud_inline_cache *c)
{
	bud_inline_1 = (struct bud_inline_thread){ .pool = pool->id,
		.cache = c,
		.memory = pool->memory,
		.frames = pool->memory_size / FRAME_SIZE,
		.order = (const uint8_t *)(uintptr_t)pool->ledger.order,
		.mark = LEDGER_MARK(0, memory_of(pool, c)->tick) };
}

static uint32_t
index_of(struct bud_pool *pool, struct bud_inline_thread *owner)
{
	uint32_t i = 0, n = ledger_caches(&pool->ledger);

	while (i < n && owner_of(pool, i) != owner)
		i++;
	return i < n ? i : LEDGER_CACHES;
}

static uint32_t
acquire(struct bud_pool *pool)
{
	for (uint32_t i = 0; i < LEDGER_CACHES; i++) {
		struct bud_inline_thread *nobody = NULL;
		struct bud__cache *m;

		if (owner_of(pool, i) != NULL)
			continue;
		if ((m = remember(pool, i)) == NULL)
			break;
		if (atomic_compare_exchange_strong(&m->owner, &nobody, &bud_inline_1))
			return i;
	}
	none_for = pool->id;
	return LEDGER_CACHES;
}

static void
raise_used(struct ledger_header *h, uint32_t used)
{
	uint32_t was = atomic_load(&h->caches_used);

	while (was < used && !atomic_compare_exchange_weak(&h->caches_used, &was, used))
		continue;
}

/* A cache becomes the thread's. budd looks at caches_used after it set `queued`, and whoever
 * is away after it set `away`; so only now do we look at those, and use it another time. */
static struct bud_inline_cache *
settle_in(struct bud_pool *pool, uint32_t i)
{
	struct bud_inline_cache *c = ledger_cache(&pool->ledger, i);

	raise_used(pool->ledger.header, i + 1);
	if (ledger_queued(&pool->ledger) || atomic_load(&pool->away))
		return NULL;
	make_current(pool, c);
	return c;
}

static struct bud_inline_cache *
find(struct bud_pool *pool)
{
	uint32_t i = index_of(pool, &bud_inline_1);

	if (i == LEDGER_CACHES) {
		if (none_for == pool->id ||
		    pthread_setspecific(at_thread_end, &bud_inline_1) != 0 ||
		    (i = acquire(pool)) == LEDGER_CACHES)
			return NULL;
		cache_setup(ledger_cache(&pool->ledger, i),
		    atomic_load_explicit(
			&pool->ledger.header->wall, memory_order_relaxed));
	}
	return settle_in(pool, i);
}

/* The thread's cache, or NULL. */
static struct bud_inline_cache *
mine(struct bud_pool *pool)
{
	if (pool->caches == NULL)
		return NULL;
	return bud_inline_1.pool == pool->id ? bud_inline_1.cache : find(pool);
}

/* --- At work in it --- */

static bool
empty(struct bud_pool *pool, struct bud_inline_cache *c)
{
	struct bud__cache *m = memory_of(pool, c);
	bool held = cache_holds(c);
	uint32_t bad;

	if (held && cache_empty(&pool->ledger, c, &bad) != 0)
		bud__bad_free(
		    pool, pool->memory + bad * FRAME_SIZE, "it is free already");
	/* The lowest address again, so that the top drains. */
	memset(m->from, 0, sizeof(m->from));
	memset(m->hunger, 0, sizeof(m->hunger));
	return held;
}

/* Whatever a tick finds in a cache goes, so that all in it is of one. */
static bool
renew(struct bud_pool *pool, struct bud_inline_cache *c)
{
	struct bud__cache *m = memory_of(pool, c);
	uint32_t tick = ledger_tick(&pool->ledger);

	if (m->tick == tick)
		return false;
	m->tick = tick;
	if (bud_inline_1.pool == pool->id)
		bud_inline_1.mark = LEDGER_MARK(0, tick);
	return true;
}

/* Claims the cache and does what it was stopped for; false: a taker is at it. */
static bool
enter(struct bud_pool *pool, struct bud_inline_cache *c, bool *gavep)
{
	uint32_t stop = cache_claim(c);

	if ((stop & CACHE_TAKER) != 0)
		return false;
	if ((stop & CACHE_TICK) != 0)
		cache_clear_tick(c);
	if ((renew(pool, c) || stop != 0) && empty(pool, c))
		*gavep = true;
	return true;
}

/* Whoever came to take something, and found us in it, has raised a bit before. */
static void
leave(struct bud_pool *pool, struct bud_inline_cache *c, bool *gavep)
{
	while ((cache_leave(c) & (CACHE_QUEUED | CACHE_AWAY)) != 0 && cache_holds(c) &&
	       enter(pool, c, gavep))
		continue;
}

/* Buffers of a chunk that is new to us fault page by page. */
static void
populate(struct bud_pool *pool, const struct bud_inline_stack *s, unsigned int order)
{
	for (uint32_t i = 0; i < s->count; i++)
		(void)bud__deliver(pool, order, s->frame[i]);
}

static bool
beyond_mark(struct bud_pool *pool, const struct bud_inline_stack *s, unsigned int order)
{
	uint32_t last = ((uint32_t)1 << order) - 1, highest = 0;

	for (uint32_t i = 0; i < s->count; i++)
		if (s->frame[i] > highest)
			highest = s->frame[i];
	return ledger_claim_mark(&pool->ledger, highest + last);
}

static void
refill(struct bud_pool *pool, struct bud_inline_cache *c, unsigned int order,
    struct bud__news *news)
{
	struct bud__cache *m = memory_of(pool, c);
	struct bud_inline_stack *s = &c->stack[order];
	uint32_t want = (uint32_t)1 << m->hunger[order];

	news->gave = news->gave || order > CHUNK_ORDER; /* rows that were put back */
	if (cache_refill(&pool->ledger, c, order, want, &m->from[order]) == 0)
		return;
	m->flushed[order] = false;
	if (m->hunger[order] < HUNGER_MAX)
		m->hunger[order]++;
	populate(pool, s, order);
	if (beyond_mark(pool, s, order))
		news->belled = true;
}

bool
bud__cache_take(
    struct bud_pool *pool, unsigned int order, uint32_t *framep, struct bud__news *news)
{
	struct bud_inline_cache *c = mine(pool);
	struct bud_inline_stack *s;
	bool taken = false;

	if (c == NULL || c->stack[order].capacity == 0 || !enter(pool, c, &news->gave))
		return false;
	s = &c->stack[order];
	if (s->count == 0)
		refill(pool, c, order, news);
	if (s->count > 0) {
		*framep = s->frame[s->count - 1];
		__atomic_store_n(&s->count, s->count - 1, __ATOMIC_RELAXED);
		taken = true;
	}
	leave(pool, c, &news->gave);
	return taken;
}

/* The older part of a full stack goes: a quarter, and half if that was not enough. If it were
 * always half, bursts of more than that could refill and flush in each round for ever. */
static void
make_room(struct bud_pool *pool, struct bud_inline_cache *c, unsigned int order)
{
	struct bud_inline_stack *s = &c->stack[order];
	struct bud__cache *m = memory_of(pool, c);
	uint32_t keep = m->flushed[order] ? s->capacity / 2 : s->capacity * 3 / 4, bad;

	if (s->count < s->capacity)
		return;
	if (cache_flush(&pool->ledger, c, order, keep, &bad) != 0)
		bud__bad_free(
		    pool, pool->memory + bad * FRAME_SIZE, "it is free already");
	m->flushed[order] = true;
	m->from[order] = 0;
}

bool
bud__cache_give(struct bud_pool *pool, uint32_t frame, unsigned int order)
{
	struct bud_inline_cache *c = mine(pool);
	struct bud_inline_stack *s;
	bool gave, kept; /* the caller looks in any case */

	if (c == NULL || c->stack[order].capacity == 0 || !enter(pool, c, &gave))
		return false;
	kept = ledger_is_of_tick(&pool->ledger, frame, order, memory_of(pool, c)->tick);
	if (kept) {
		s = &c->stack[order];
		make_room(pool, c, order);
		__atomic_store_n(&s->frame[s->count], frame, __ATOMIC_RELAXED);
		__atomic_store_n(&s->count, s->count + 1, __ATOMIC_RELAXED);
	}
	leave(pool, c, &gave);
	return kept;
}

bool
bud__cache_yield(struct bud_pool *pool)
{
	struct bud_inline_cache *c;
	bool gave = false;
	uint32_t i;

	if (pool->caches == NULL ||
	    (i = index_of(pool, &bud_inline_1)) == LEDGER_CACHES)
		return false;
	c = ledger_cache(&pool->ledger, i);
	if (!cache_holds(c))
		return false;
	/* Otherwise a taker is at it, who may have found us in a hit and left it alone. */
	if (!enter(pool, c, &gave))
		return true;
	if (empty(pool, c))
		gave = true;
	leave(pool, c, &gave);
	return gave;
}

uint64_t
bud__cache_frames(const struct bud_pool *pool)
{
	struct chunk_range all = { 0, pool->ledger.chunks };

	return cached_frames(&pool->ledger, pool->ledger.chunks, all);
}

/* --- What a hit hands on --- */

void
bud_inline_stopped(struct bud_pool *pool)
{
	struct bud_inline_cache *c = bud_inline_1.cache;
	bool gave;

	/* Otherwise a taker is at it, who may have found us busy and left it alone. */
	if (enter(pool, c, &gave))
		leave(pool, c, &gave);
	bud__gave(pool);
}

void *
bud_inline_taken(struct bud_pool *pool, uint32_t frame)
{
	bud_inline_stopped(pool);
	return pool->memory + frame * FRAME_SIZE;
}

/* --- Ends --- */

static void
leave_pool(struct bud_pool *pool, struct bud_inline_thread *owner)
{
	struct bud_inline_cache *c;
	uint32_t i;
	bool gave;

	if (pool->caches == NULL || atomic_load(&pool->forked) ||
	    (i = index_of(pool, owner)) == LEDGER_CACHES)
		return;
	c = ledger_cache(&pool->ledger, i);
	/* If budd is at it, what is left in it goes on as the next owner's. */
	if (enter(pool, c, &gave)) {
		empty(pool, c);
		leave(pool, c, &gave);
	}
	bud__gave(pool);
	atomic_store(&memory_of(pool, c)->owner, NULL);
}

/* The destructor of a thread. Others of its destructors may still allocate: then it has a
 * cache again, and we are called again. */
static void
give_up(void *arg)
{
	bud_inline_1.pool = 0;
	bud__pools_each(leave_pool, arg);
}

static void
take_all(struct bud_pool *pool, struct bud_inline_cache *c)
{
	unsigned int order;
	uint32_t frame;

	while (cache_top(c, &order, &frame)) {
		cache_drop(c, order);
		if (frame / CHUNK_FRAMES < pool->ledger.chunks &&
		    ledger_give_begin(&pool->ledger, frame, order))
			ledger_give_end(&pool->ledger, frame, order);
	}
}

/* What budd was about to take when it died stays in that cache, out of reach: whether budd is
 * dead, or only misbehaved, is not known here. */
void
bud__caches_end(struct bud_pool *pool)
{
	uint32_t n = ledger_caches(&pool->ledger);
	bool ours[LEDGER_CACHES], ready;

	for (uint32_t i = 0; i < n; i++) {
		cache_raise(ledger_cache(&pool->ledger, i), CACHE_AWAY);
		ours[i] = cache_seize(ledger_cache(&pool->ledger, i));
	}
	ready = n > 0 && membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0;
	for (uint32_t i = 0; i < n; i++) {
		if (!ours[i])
			continue;
		if (ready && !cache_is_busy(ledger_cache(&pool->ledger, i)))
			take_all(pool, ledger_cache(&pool->ledger, i));
		cache_lower(ledger_cache(&pool->ledger, i), CACHE_TAKER);
	}
}
