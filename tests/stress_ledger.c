/* SPDX-License-Identifier: ISC */

/*
 * Many threads at one ledger: clients take and give buffers of all orders, and budd opens
 * and closes the topmost block, toggles `queued` and counts, all at the same time.
 *
 * Who owns a buffer writes its mark into a plain shadow array, frame by frame, and finds it
 * there when it gives the buffer back: two owners of a frame see each other's marks, and the
 * thread sanitizer sees a hand-over that is not ordered. budd does the same for what it has
 * closed. Usage: stress_ledger [SECONDS [SEED]]
 */
#include <err.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proto/ledger.h"
#include "proto/ledger_plan.h"

#define CHUNKS  40u
#define BASE    24u /* chunks; the rest is a block that comes and goes */
#define CLIENTS 4u
#define HELD    48u /* buffers that a client keeps at most */
#define BUDD    0x80000000u

struct client {
	pthread_t thread;
	uint32_t id;
	uint64_t seed;
	uint64_t taken, full, rows;
	uint32_t n, target; /* buffers held, and about to be */
	uint32_t frame[HELD];
	unsigned int order[HELD];
};

static struct ledger ledger, *const l = &ledger;
static uint32_t shadow[CHUNKS * CHUNK_FRAMES]; /* plain: that is the point */
static uint32_t generation_seen[CHUNKS];
static atomic_bool stop;
static atomic_uint violations;

static void
violation(const char *what, uint32_t frame, uint32_t a, uint32_t b)
{
	if (atomic_fetch_add(&violations, 1) < 10)
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

/* --- Clients --- */

static void
own(uint32_t frame, uint32_t frames, uint32_t from, uint32_t to)
{
	for (uint32_t f = frame; f < frame + frames; f++) {
		if (shadow[f] != from)
			violation("owned by two", f, shadow[f], to != 0 ? to : from);
		shadow[f] = to;
	}
}

static void
client_take(struct client *c)
{
	unsigned int order = below(&c->seed, 8) == 0 ? 7 + below(&c->seed, 3)
						     : below(&c->seed, CHUNK_ORDER + 1);
	uint32_t *framep = &c->frame[c->n];

	if (c->n == HELD || ledger_take(l, order, framep) != 0) {
		c->full++;
		return;
	}
	if (ledger_order_at(l, *framep) != (int)order)
		violation("order lost", *framep, order, c->id);
	own(*framep, 1u << order, 0, c->id);
	c->order[c->n++] = order;
	c->taken++;
	c->rows += order > CHUNK_ORDER;
}

static void
client_give(struct client *c)
{
	uint32_t i = below(&c->seed, c->n);
	int r;

	own(c->frame[i], 1u << c->order[i], c->id, 0);
	if ((r = ledger_give(l, c->frame[i])) != 0)
		violation("not given", c->frame[i], (uint32_t)r, c->id);
	c->n--;
	c->frame[i] = c->frame[c->n];
	c->order[i] = c->order[c->n];
	(void)ledger_queued(l);
}

/* What a client holds wanders between nothing and much, so that the block empties. */
static void
client_step(struct client *c)
{
	if (below(&c->seed, 200) == 0)
		c->target = below(&c->seed, 3) == 0 ? below(&c->seed, HELD + 1) : 2;
	if (c->n == 0 || below(&c->seed, 100) < (c->n < c->target ? 70u : 30u))
		client_take(c);
	else
		client_give(c);
}

static void *
client_main(void *arg)
{
	struct client *c = arg;

	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		client_step(c);
	while (c->n > 0)
		client_give(c);
	return NULL;
}

/* --- budd --- */

/* budd may write to what it has closed: it punches. */
static void
punch(uint32_t chunk)
{
	own(chunk * CHUNK_FRAMES, CHUNK_FRAMES, 0, BUDD);
	own(chunk * CHUNK_FRAMES, CHUNK_FRAMES, BUDD, 0);
}

static bool
close_block(void)
{
	for (uint32_t c = CHUNKS; c > BASE; c--) {
		if (ledger_close_chunk(l, c - 1))
			continue;
		while (c < CHUNKS)
			ledger_reopen_chunk(l, c++);
		return false;
	}
	atomic_store(&l->header->open, BASE);
	return true;
}

static void
open_block(void)
{
	for (uint32_t c = BASE; c < CHUNKS; c++) {
		punch(c);
		ledger_open_chunk(l, c);
		if (atomic_load(&ledger_chunk(l, c)->generation) !=
		    ++generation_seen[c])
			violation("generation", c, generation_seen[c], 0);
	}
	atomic_store(&l->header->open, CHUNKS);
}

struct budd {
	pthread_t thread;
	uint64_t tries, closed;
};

static void *
budd_main(void *arg)
{
	struct budd *b = arg;
	struct chunk_range all = { 0, CHUNKS }, top = { BASE, CHUNKS };
	struct ledger_plan plan = { 0 };

	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		atomic_fetch_add(&l->header->tick, 1);
		ledger_set_queued(l, ++b->tries % 2 == 0);
		if (close_block()) {
			b->closed++;
			open_block();
		}
		if (ledger_count_free(l, all) > CHUNKS * CHUNK_FRAMES)
			violation("count", 0, 0, 0);
		(void)ledger_idle_ticks(l, all, 1);
		(void)ledger_is_empty(l, top);
		if (ledger_plan_load(&plan, l, CHUNKS) == 0)
			(void)ledger_plan_take(&plan, 3, 4);
		usleep(b->tries % 50);
	}
	ledger_plan_fini(&plan);
	return NULL;
}

/* --- The whole --- */

static void
start(uint64_t seed, struct client *clients, struct budd *budd)
{
	void *memory = aligned_alloc(4096, ledger_size(CHUNKS));

	if (memory == NULL)
		err(1, "aligned_alloc");
	memset(memory, 0, ledger_size(CHUNKS));
	ledger_attach(l, memory, CHUNKS, 0);
	ledger_init(l);
	for (uint32_t c = 0; c < BASE; c++)
		ledger_open_chunk(l, c);
	open_block();
	for (uint32_t i = 0; i < CLIENTS; i++) {
		clients[i] = (struct client){ .id = i + 1, .seed = seed * 977 + i + 1 };
		if (pthread_create(
			&clients[i].thread, NULL, client_main, &clients[i]) != 0)
			errx(1, "pthread_create");
	}
	if (pthread_create(&budd->thread, NULL, budd_main, budd) != 0)
		errx(1, "pthread_create");
}

static void
finish(struct client *clients, struct budd *budd)
{
	uint64_t taken = 0, full = 0, rows = 0;

	atomic_store(&stop, true);
	pthread_join(budd->thread, NULL);
	for (uint32_t i = 0; i < CLIENTS; i++) {
		pthread_join(clients[i].thread, NULL);
		taken += clients[i].taken;
		full += clients[i].full;
		rows += clients[i].rows;
	}
	printf("stress: %ju taken, of them %ju rows of chunks, %ju not to be had; "
	       "the block closed %ju times in %ju tries\n",
	    (uintmax_t)taken, (uintmax_t)rows, (uintmax_t)full, (uintmax_t)budd->closed,
	    (uintmax_t)budd->tries);
}

/* What must hold in the end: name, and whether it does. */
static unsigned int
judge(void)
{
	struct chunk_range all = { 0, CHUNKS };
	const struct {
		const char *name;
		bool holds;
	} verdicts[] = {
		{ "no frame had two owners", atomic_load(&violations) == 0 },
		{ "all frames are free again",
		    ledger_count_free(l, all) == CHUNKS * CHUNK_FRAMES },
		{ "the ledger's invariants hold", ledger_check(l, CHUNKS) },
	};
	unsigned int failed = 0;

	for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
		printf(
		    "%s: %s\n", verdicts[i].holds ? "ok" : "FAILED", verdicts[i].name);
		failed += !verdicts[i].holds;
	}
	printf("%zu passed, %u failed, 0 skipped\n",
	    sizeof(verdicts) / sizeof(verdicts[0]) - failed, failed);
	return failed;
}

int
main(int argc, char **argv)
{
	static struct client clients[CLIENTS];
	static struct budd budd;
	unsigned int failed;
	double seconds = argc > 1 ? atof(argv[1]) : 2;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL);

	printf("stress: %g s, seed %ju\n", seconds, (uintmax_t)seed);
	start(seed, clients, &budd);
	usleep((useconds_t)(seconds * 1e6));
	finish(clients, &budd);
	failed = judge();
	free(l->base);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
