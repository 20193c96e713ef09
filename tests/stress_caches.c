/* SPDX-License-Identifier: ISC */

/*
 * Thread caches under stress: processes of two threads each share one ledger, take, give and
 * cache, with the very lines of bud-inline.h, while budd (the daemon's own pool.c and caches.c)
 * ticks, takes from idle caches, lets somebody wait, grows, closes and releases blocks. The
 * processes are stopped and go on at random; budd is killed at random, and its heir settles what
 * it was about. No client that shares a ledger with another process exists: it is the hardest
 * case for what the two sides share.
 *
 * Who owns a buffer writes its mark into a plain shadow array, frame by frame, and finds it there
 * when it gives the buffer back; budd does the same for what it has closed. In the end all is
 * back. Then, in a second round, the processes are killed, too: budd must survive what they leave.
 *
 * In a build with the thread sanitizer all are threads of one process, and nobody is stopped or
 * killed. Usage: stress_caches [SECONDS [SEED]]; BUD_SOAK has the seconds otherwise.
 */
#include <err.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bud-inline.h"
#include "daemon/caches.h"
#include "daemon/core.h"
#include "daemon/membarrier.h"
#include "proto/cache.h"

#ifdef __SANITIZE_THREAD__
#define IN_PROCESSES false
#else
#define IN_PROCESSES true
#endif

#define PROCESSES   3u
#define THREADS     (PROCESSES * 2)
#define BASE        8u /* chunks */
#define ADD         4u
#define BLOCKS      4u /* additional ones, at the most */
#define CHUNKS      (BASE + ADD * BLOCKS)
#define WALL        (64 * CHUNK_SIZE) /* what caches are sized by */
#define HELD        40u
#define LARGEST     8u /* order */
#define BUDD        0x80000000u
#define PATIENCE_MS 60000u

/* Between the processes. */
struct shared {
	atomic_bool stop;
	atomic_uint violations, bells;
	_Atomic uint64_t taken, hits, full, flushed;
	_Atomic uint64_t grown, released, refused, called_in, ticks, heirs;
	uint32_t shadow[CHUNKS * CHUNK_FRAMES]; /* plain: that is the point */
	struct record record;
};

static struct shared *shared;
static struct ledger ledger, *const l = &ledger;

static void
violation(const char *what, uint32_t frame, uint32_t a, uint32_t b)
{
	if (atomic_fetch_add(&shared->violations, 1) < 10)
		fprintf(stderr, "stress: %s: frame %u: %#x, %#x\n", what, frame, a, b);
}

static uint32_t
below(uint64_t *seed, uint32_t n)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return (uint32_t)(*seed >> 33) % n;
}

static void
own(uint32_t frame, uint32_t frames, uint32_t from, uint32_t to)
{
	for (uint32_t f = frame; f < frame + frames; f++) {
		if (shared->shadow[f] != from)
			violation(
			    "owned by two", f, shared->shadow[f], to != 0 ? to : from);
		shared->shadow[f] = to;
	}
}

/* --- A thread of a client: what bud-inline.h needs of the library --- */

struct bud_pool {
	uint64_t id;
};

static struct bud_pool the_pool = { 1 };
__thread struct bud_inline_thread bud_inline_1;

struct thread {
	pthread_t thread;
	uint32_t id;
	uint64_t seed, taken, hits, full;
	uint32_t n, target, from[BUD_INLINE_ORDERS];
	uint32_t frame[HELD];
	unsigned int order[HELD];
};

static void
gave(void)
{
	if (ledger_queued(l))
		atomic_fetch_add(&shared->bells, 1);
}

static void
empty(struct bud_inline_cache *c)
{
	uint32_t bad;

	if (cache_empty(l, c, &bad) != 0)
		violation("cached twice", bad, 0, 0);
	atomic_fetch_add_explicit(&shared->flushed, 1, memory_order_relaxed);
}

static bool
enter(struct bud_inline_cache *c)
{
	uint32_t stop = cache_claim(c);

	if ((stop & CACHE_TAKER) != 0)
		return false;
	if ((stop & CACHE_TICK) != 0)
		cache_clear_tick(c);
	if (c == bud_inline_1.cache)
		bud_inline_1.mark = LEDGER_MARK(0, ledger_tick(l));
	if (stop != 0)
		empty(c);
	return true;
}

static void
leave(struct bud_inline_cache *c)
{
	while ((cache_leave(c) & CACHE_QUEUED) != 0 && cache_holds(c) && enter(c))
		continue;
}

static void
yield(struct bud_inline_cache *c)
{
	if (enter(c)) {
		empty(c);
		leave(c);
	}
}

void
bud_inline_stopped(struct bud_pool *pool)
{
	(void)pool;
	if (enter(bud_inline_1.cache))
		leave(bud_inline_1.cache);
	gave();
}

/* In pages: where the client would have its memory mapped. Nobody reads it. */
static char *const memory = (char *)((uintptr_t)1 << 40);

void *
bud_inline_taken(struct bud_pool *pool, uint32_t frame)
{
	bud_inline_stopped(pool);
	return memory + (uint64_t)frame * FRAME_SIZE;
}

static bool
take_from_map(unsigned int order, uint32_t *framep)
{
	bool taken;

	atomic_fetch_add(&l->header->entered, 1);
	taken = ledger_take(l, order, framep) == 0;
	atomic_fetch_add(&l->header->left, 1);
	gave(); /* a row may have been put back */
	return taken;
}

static bool
take_beyond(struct thread *t, unsigned int order, uint32_t *framep)
{
	struct bud_inline_cache *c = bud_inline_1.cache;
	bool taken = false;

	if (ledger_queued(l)) {
		yield(c);
		gave();
		return false;
	}
	if (order < BUD_INLINE_ORDERS && c->stack[order].capacity > 0 && enter(c)) {
		struct bud_inline_stack *s = &c->stack[order];

		cache_refill(l, c, order, 1u << below(&t->seed, 6), &t->from[order]);
		if ((taken = s->count > 0)) {
			*framep = s->frame[s->count - 1];
			__atomic_store_n(&s->count, s->count - 1, __ATOMIC_RELAXED);
		}
		leave(c);
		gave();
	}
	return taken || take_from_map(order, framep);
}

static void
give_beyond(uint32_t frame, unsigned int order)
{
	struct bud_inline_cache *c = bud_inline_1.cache;
	struct bud_inline_stack *s = &c->stack[order];
	uint32_t bad;
	int r;

	if (ledger_queued(l)) {
		yield(c);
	} else if (order < BUD_INLINE_ORDERS && s->capacity > 0 && enter(c)) {
		bool kept = ledger_is_of_tick(l, frame, order, ledger_tick(l));

		if (kept && s->count == s->capacity &&
		    cache_flush(l, c, order, s->capacity / 2, &bad) != 0)
			violation("cached twice", bad, 0, 0);
		if (kept) {
			__atomic_store_n(&s->frame[s->count], frame, __ATOMIC_RELAXED);
			__atomic_store_n(&s->count, s->count + 1, __ATOMIC_RELAXED);
		}
		leave(c);
		if (kept) {
			gave();
			return;
		}
	}
	atomic_fetch_add(&l->header->entered, 1);
	if ((r = ledger_give(l, frame)) != 0)
		violation("not given", frame, (uint32_t)r, order);
	atomic_fetch_add(&l->header->left, 1);
	gave();
}

static void
thread_take(struct thread *t)
{
	unsigned int order =
	    below(&t->seed, 4) == 0 ? below(&t->seed, LARGEST + 2) : below(&t->seed, 4);
	char *buf = bud_inline_take(&the_pool, FRAME_SIZE << order);
	uint32_t frame;

	if (buf != NULL) {
		frame = (uint32_t)((uint64_t)(buf - memory) / FRAME_SIZE);
		t->hits++;
	} else if (!take_beyond(t, order, &frame)) {
		t->full++;
		return;
	}
	if (ledger_order_at(l, frame) != (int)order)
		violation("order lost", frame, order, t->id);
	own(frame, 1u << order, 0, t->id);
	t->frame[t->n] = frame;
	t->order[t->n++] = order;
	t->taken++;
}

static void
thread_give(struct thread *t)
{
	uint32_t i = below(&t->seed, t->n), frame = t->frame[i];
	unsigned int order = t->order[i];

	own(frame, 1u << order, t->id, 0);
	t->n--;
	t->frame[i] = t->frame[t->n];
	t->order[i] = t->order[t->n];
	if (!bud_inline_give(&the_pool, memory + (uint64_t)frame * FRAME_SIZE))
		give_beyond(frame, order);
}

/* What a thread holds wanders between nothing and much, and now and then it sleeps. */
static void
thread_step(struct thread *t)
{
	if (below(&t->seed, 300) == 0)
		t->target = below(&t->seed, 3) == 0 ? below(&t->seed, HELD) : 2;
	if (below(&t->seed, 3000) == 0)
		usleep(below(&t->seed, 2000));
	if (t->n < HELD && below(&t->seed, 100) < (t->n < t->target ? 70u : 30u))
		thread_take(t);
	else if (t->n > 0)
		thread_give(t);
}

static void *
thread_main(void *arg)
{
	struct thread *t = arg;
	struct bud_inline_cache *c = ledger_cache(l, t->id - 1);

	bud_inline_1 = (struct bud_inline_thread){ .pool = the_pool.id,
		.cache = c,
		.memory = memory,
		.frames = CHUNKS * CHUNK_FRAMES,
		.order = (const uint8_t *)(uintptr_t)l->order,
		.mark = LEDGER_MARK(0, 0) };
	while (!atomic_load_explicit(&shared->stop, memory_order_relaxed))
		thread_step(t);
	while (t->n > 0)
		thread_give(t);
	while (cache_holds(c)) /* a taker may be at it */
		yield(c);
	atomic_fetch_add(&shared->taken, t->taken);
	atomic_fetch_add(&shared->hits, t->hits);
	atomic_fetch_add(&shared->full, t->full);
	return NULL;
}

static void
client_main(struct thread *threads, uint32_t n)
{
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) !=
	    0)
		err(1, "membarrier");
	for (uint32_t i = 0; i < n; i++)
		if (pthread_create(
			&threads[i].thread, NULL, thread_main, &threads[i]) != 0)
			errx(1, "pthread_create");
}

static void
client_join(struct thread *threads, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		pthread_join(threads[i].thread, NULL);
}

/* --- budd --- */

static bool
barrier(void *ctx)
{
	(void)ctx;
	return membarrier_all();
}

static const struct core_ops ops = { .barrier = barrier };

struct budd {
	struct core core;
	struct pool pool;
	uint64_t seed;
	uint32_t tick;
};

static const struct pool_limits limits = { .base = BASE * CHUNK_SIZE,
	.add = ADD * CHUNK_SIZE,
	.wall = CHUNKS * CHUNK_SIZE,
	.wall_max = CHUNKS * CHUNK_SIZE };

/* What is not open is budd's to write. */
static void
punch(uint32_t from, uint32_t to)
{
	own(from * CHUNK_FRAMES, (to - from) * CHUNK_FRAMES, 0, BUDD);
	own(from * CHUNK_FRAMES, (to - from) * CHUNK_FRAMES, BUDD, 0);
}

static void
open_rest(struct pool *p)
{
	p->pinned = p->planned;
	punch(pool_opened(p), p->pinned);
	pool_open_to(p, p->pinned);
	p->phase = POOL_STEADY;
}

/* As core_adopt() and finish_the_half_done(): what was half done ends as a growth. */
static void
inherit(struct budd *b, bool wiped)
{
	struct pool *p = &b->pool;

	b->core.ops = &ops;
	pool_init(p, 1, &limits, l, &shared->record);
	while (p->phase == POOL_UNSETTLED && !pool_settle(p))
		usleep(100); /* a thread that is stopped goes on some time */
	p->phase = POOL_STEADY;
	if (pool_blocks(p) == 0)
		pool_add_block(p, BASE);
	if (wiped) { /* a death between marks and words of the shadow */
		uint32_t opened = pool_opened(p);

		for (uint32_t f = opened * CHUNK_FRAMES; f < CHUNKS * CHUNK_FRAMES; f++)
			if (shared->shadow[f] == BUDD)
				shared->shadow[f] = 0;
	}
	open_rest(p);
	b->tick = atomic_load(&l->header->tick);
}

static void
release(struct budd *b)
{
	struct pool *p = &b->pool;

	if (pool_blocks(p) < 2)
		return;
	caches_call_in(&b->core, p);
	if (!pool_close_last(p)) {
		atomic_fetch_add(&shared->refused, 1);
		return;
	}
	punch(pool_opened(p), p->planned);
	p->pinned = pool_opened(p);
	pool_drop_block(p);
	p->phase = POOL_STEADY;
	atomic_fetch_add(&shared->released, 1);
}

static void
grow(struct budd *b)
{
	if (pool_blocks(&b->pool) > BLOCKS)
		return;
	pool_add_block(&b->pool, ADD);
	open_rest(&b->pool);
	atomic_fetch_add(&shared->grown, 1);
}

/* Somebody waits for a while, and budd looks again upon each bell. */
static void
queue(struct budd *b)
{
	b->pool.call_in = true;
	for (uint32_t i = 1 + below(&b->seed, 8); i > 0; i--) {
		ledger_set_queued(l, true);
		atomic_fetch_add(
		    &shared->called_in, caches_call_in(&b->core, &b->pool));
		usleep(below(&b->seed, 100));
	}
	ledger_set_queued(l, false);
}

static void
budd_step(struct budd *b)
{
	pool_publish(&b->pool, ++b->tick);
	switch (below(&b->seed, 5)) {
	case 0:
		grow(b);
		break;
	case 1:
	case 2:
		release(b);
		break;
	case 3:
		queue(b);
		break;
	case 4:
		caches_tick(&b->core, &b->pool);
		atomic_fetch_add(&shared->ticks, 1);
		break;
	}
	b->pool.calls = 0;
	if (pool_used(&b->pool) > CHUNKS * CHUNK_SIZE)
		violation("count", 0, 0, 0);
	usleep(below(&b->seed, 60));
}

static void *
budd_main(void *arg)
{
	struct budd *b = arg;

	while (!atomic_load_explicit(&shared->stop, memory_order_relaxed))
		budd_step(b);
	return NULL;
}

/* --- The whole --- */

static void
start(void)
{
	size_t size = ledger_size(CHUNKS);
	char *p = mmap(NULL, sizeof(*shared) + 4096 + size, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		err(1, "mmap");
	shared = (void *)(p + size);
	ledger_attach(l, p, CHUNKS, LEDGER_CACHES);
	ledger_init(l);
	atomic_store(&l->header->caches_used, THREADS);
	for (uint32_t i = 0; i < THREADS; i++)
		cache_setup(ledger_cache(l, i), WALL);
}

static uint64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* All of what is to be seen has happened; or it never will. */
static bool
is_over(uint64_t until_ms)
{
	return now_ms() >= until_ms + PATIENCE_MS ||
	       (now_ms() >= until_ms && atomic_load(&shared->grown) > 0 &&
		   atomic_load(&shared->released) > 0 &&
		   atomic_load(&shared->called_in) > 0);
}

static pid_t
fork_budd(struct budd *b)
{
	pid_t pid = fork();

	if (pid == 0) {
		inherit(b, true);
		budd_main(b);
		_exit(0);
	}
	atomic_fetch_add(&shared->heirs, 1);
	return pid;
}

static pid_t
fork_client(struct thread *threads)
{
	pid_t pid = fork();

	if (pid == 0) {
		client_main(threads, 2);
		client_join(threads, 2);
		_exit(0);
	}
	return pid;
}

static void
must_end(pid_t pid, int status)
{
	int got;

	if (waitpid(pid, &got, 0) != pid || got != status)
		violation("ended", (uint32_t)pid, (uint32_t)got, (uint32_t)status);
}

/* Stops one client for a moment, or ends budd. */
static void
harass(pid_t *clients, pid_t *budd, struct budd *b)
{
	uint32_t i = below(&b->seed, PROCESSES + 1);

	usleep(below(&b->seed, 3000));
	if (i == PROCESSES) {
		kill(*budd, SIGKILL);
		must_end(*budd, SIGKILL);
		*budd = fork_budd(b);
		return;
	}
	kill(clients[i], SIGSTOP);
	usleep(below(&b->seed, 5000));
	kill(clients[i], SIGCONT);
}

static void
play_in_processes(
    struct thread *threads, struct budd *b, uint64_t until_ms, bool kill_all)
{
	pid_t clients[PROCESSES], budd;

	atomic_store(&shared->stop, false);
	budd = fork_budd(b);
	for (uint32_t i = 0; i < PROCESSES; i++)
		clients[i] = fork_client(&threads[2 * i]);
	while (!is_over(until_ms))
		harass(clients, &budd, b);
	for (uint32_t i = 0; kill_all && i < PROCESSES; i++)
		kill(clients[i], SIGKILL);
	if (kill_all)
		usleep(20000); /* budd goes on with what they left */
	atomic_store(&shared->stop, true);
	for (uint32_t i = 0; i < PROCESSES; i++)
		must_end(clients[i], kill_all ? SIGKILL : 0);
	must_end(budd, 0);
}

static void
play_in_threads(struct thread *threads, struct budd *b, uint64_t until_ms)
{
	pthread_t budd;

	inherit(b, false);
	client_main(threads, THREADS);
	if (pthread_create(&budd, NULL, budd_main, b) != 0)
		errx(1, "pthread_create");
	while (!is_over(until_ms))
		usleep(10000);
	atomic_store(&shared->stop, true);
	client_join(threads, THREADS);
	pthread_join(budd, NULL);
}

/* What must hold in the end: name, and whether it does. */
static unsigned int
judge(struct budd *b)
{
	struct chunk_range all = { 0, 0 };
	unsigned int failed = 0;

	inherit(b, IN_PROCESSES);
	all.to = pool_opened(&b->pool);
	const struct {
		const char *name;
		bool holds;
	} verdicts[] = {
		{ "no frame had two owners", atomic_load(&shared->violations) == 0 },
		{ "nothing is left in a cache", caches_frames(&b->pool) == 0 },
		{ "all frames are free again",
		    ledger_count_free(l, all) == (uint64_t)all.to * CHUNK_FRAMES },
		{ "the ledger's invariants hold", ledger_check(l, all.to) },
		{ "blocks came and went, and caches were taken from",
		    atomic_load(&shared->grown) > 0 &&
			atomic_load(&shared->released) > 0 &&
			atomic_load(&shared->called_in) > 0 },
	};

	for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
		printf(
		    "%s: %s\n", verdicts[i].holds ? "ok" : "FAILED", verdicts[i].name);
		failed += !verdicts[i].holds;
	}
	return failed;
}

static void
tell(void)
{
	printf("stress: %ju taken, of them %ju hits, %ju not to be had; caches emptied "
	       "%ju times "
	       "by their owners; budd took %ju buffers for those that wait, ticked %ju "
	       "times, "
	       "grew %ju blocks and released %ju (%ju were in use); %ju arbiters\n",
	    (uintmax_t)shared->taken, (uintmax_t)shared->hits, (uintmax_t)shared->full,
	    (uintmax_t)shared->flushed, (uintmax_t)shared->called_in,
	    (uintmax_t)shared->ticks, (uintmax_t)shared->grown,
	    (uintmax_t)shared->released, (uintmax_t)shared->refused,
	    (uintmax_t)shared->heirs);
}

int
main(int argc, char **argv)
{
	static struct thread threads[THREADS];
	static struct budd b;
	const char *soak = getenv("BUD_SOAK");
	double seconds = argc > 1 ? atof(argv[1]) : soak != NULL ? atof(soak) : 2;
	unsigned int failed, passed = 5;
	uint64_t until_ms;

	b.seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL);
	printf("stress: %g s, seed %ju\n", seconds, (uintmax_t)b.seed);
	if (!membarrier_is_there()) {
		printf("skip: the kernel has no membarrier(2), so there are no caches\n"
		       "0 passed, 0 failed, 1 skipped\n");
		return EXIT_SUCCESS;
	}
	fflush(stdout);
	start();
	for (uint32_t i = 0; i < THREADS; i++)
		threads[i] =
		    (struct thread){ .id = i + 1, .seed = b.seed * 977 + i + 1 };
	until_ms = now_ms() + (uint64_t)(seconds * 1000);
	if (IN_PROCESSES)
		play_in_processes(threads, &b, until_ms, false);
	else
		play_in_threads(threads, &b, until_ms);
	failed = judge(&b);
	tell();
	passed -= failed;
	if (IN_PROCESSES) {
		fflush(stdout);
		play_in_processes(
		    threads, &b, now_ms() + (uint64_t)(seconds * 200) + 100, true);
		if (atomic_load(&shared->violations) == 0) {
			printf("ok: budd survives what killed clients leave\n");
			passed++;
		} else {
			failed++;
		}
	}
	printf("%u passed, %u failed, 0 skipped\n", passed, failed);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
