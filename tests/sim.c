/* SPDX-License-Identifier: ISC */

/* The clock, the keeper, and a client's life. */
#include "tests/sim.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "tests/sim_load.h"
#include "tests/sim_report.h"
#include "tests/sim_trace.h"

#define MIB             ((double)((uint64_t)1 << 20))
#define REGROWTH_WITHIN (300 * NS_PER_S)

/* --- Events --- */

static bool
event_before(const struct sim_event *a, const struct sim_event *b)
{
	return a->ns != b->ns ? a->ns < b->ns : a->serial < b->serial;
}

static void
push(struct sim *s, struct sim_event e)
{
	struct sim_heap *h = &s->heap;
	size_t i = h->n++;

	if (h->n > h->room) {
		h->room = h->room == 0 ? 1024 : 2 * h->room;
		h->events = reallocarray(h->events, h->room, sizeof(h->events[0]));
	}
	e.serial = h->serial++;
	for (; i > 0 && event_before(&e, &h->events[(i - 1) / 2]); i = (i - 1) / 2)
		h->events[i] = h->events[(i - 1) / 2];
	h->events[i] = e;
}

static struct sim_event
pop(struct sim_heap *h)
{
	struct sim_event first = h->events[0], last = h->events[--h->n];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < h->n) {
		if (child + 1 < h->n &&
		    event_before(&h->events[child + 1], &h->events[child]))
			child++;
		if (!event_before(&h->events[child], &last))
			break;
		h->events[i] = h->events[child];
		i = child;
	}
	h->events[i] = last;
	return first;
}

static void
push_for(struct sim_client *c, enum sim_event_kind kind, int64_t ns, uint32_t frame)
{
	push(c->sim, (struct sim_event){ .ns = sim_now(c->sim) + (ns > 0 ? ns : 0),
			 .client = c,
			 .kind = kind,
			 .frame = frame,
			 .life = c->life });
}

int64_t
sim_now(const struct sim *s)
{
	return s->world.now.ns;
}

void
sim_wake(struct sim_client *c, int64_t ns)
{
	push_for(c, SIM_WAKE, ns, 0);
}

/* --- Chance: splitmix64, one stream a client --- */

uint64_t
sim_random(struct sim_client *c)
{
	uint64_t x = c->random += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

double
sim_uniform(struct sim_client *c)
{
	return (double)(sim_random(c) >> 11) * 0x1p-53;
}

double
sim_exponential(struct sim_client *c, double mean)
{
	return -mean * log(1 - sim_uniform(c));
}

/* --- What waits --- */

static struct sim_wait *
wait_of(const struct sim_client *c, uint64_t tag)
{
	return c->room == 0 ? NULL : &c->waits[tag & (c->room - 1)];
}

static void
wait_store(struct sim_client *c, struct sim_wait wait)
{
	struct sim_wait *old = c->waits, *slot = wait_of(c, wait.tag);
	uint32_t room = c->room;

	if (slot != NULL && slot->tag == 0) {
		*slot = wait;
		return;
	}
	c->room = room == 0 ? 4 : 2 * room;
	c->waits = calloc(c->room, sizeof(c->waits[0]));
	for (uint32_t i = 0; i < room; i++)
		if (old[i].tag != 0)
			wait_store(c, old[i]);
	free(old);
	wait_store(c, wait);
}

static void
wait_end(struct sim_client *c, struct sim_wait *wait)
{
	wait->tag = 0;
	c->waiting--;
	c->sim->figures.waiting--;
}

/* --- A client --- */

static void
hold(struct sim_client *c, uint32_t frame, int64_t hold_ns)
{
	uint64_t bytes = FRAME_SIZE << ledger_order_at(&c->wp->pool.ledger, frame);
	struct sim_figures *f = &c->sim->figures;

	c->used += bytes;
	f->used += bytes;
	if (f->used > f->used_peak)
		f->used_peak = f->used;
	push_for(c, SIM_GIVE, (int64_t)((double)hold_ns * c->sim->options.hold), frame);
}

static void
give(struct sim_client *c, uint32_t frame)
{
	uint64_t bytes = FRAME_SIZE << ledger_order_at(&c->wp->pool.ledger, frame);

	c->used -= bytes;
	c->sim->figures.used -= bytes;
	world_give_frame(&c->sim->world, c->wp, frame);
}

void
sim_demand(struct sim_client *c, const struct sim_demand *d)
{
	struct sim_figures *f = &c->sim->figures;
	struct sim_wait wait = { .since = sim_now(c->sim), .hold_ns = d->hold_ns };

	assert(d->count == 1);
	f->requests++;
	if (world_take(c->wp, d->size_bytes)) {
		hold(c, c->wp->held[c->wp->nheld - 1], d->hold_ns);
		return;
	}
	/* Before it is asked: the answer may come from within. */
	f->asked++;
	f->waiting++;
	c->waiting++;
	wait.tag = c->wp->nrequests + 1;
	wait_store(c, wait);
	(void)world_ask(&c->sim->world, c->wp, d->size_bytes, 1, d->timeout_ms);
}

void
sim_cancel_all(struct sim_client *c)
{
	for (uint32_t i = 0; i < c->room; i++) {
		uint64_t tag = c->waits[i].tag;

		if (tag == 0)
			continue;
		wait_end(c, &c->waits[i]);
		world_cancel(&c->sim->world, c->wp, tag);
	}
}

static void
note_wait(struct sim_figures *f, int64_t ns)
{
	unsigned int bucket = (unsigned int)(16 * log2((double)ns / 1000 + 1));

	f->served++;
	f->wait_ns += (double)ns;
	f->waits[bucket < SIM_WAIT_BUCKETS ? bucket : SIM_WAIT_BUCKETS - 1]++;
}

/* It takes its buffer and says so; or fails, and gets another turn. */
static void
answer(struct sim_client *c)
{
	struct world_pool *wp = c->wp;
	struct sim_wait *wait;
	int64_t hold_ns;

	if (wp->nturns == 0)
		return; /* cancelled meanwhile */
	wait = wait_of(c, wp->turns[0]);
	hold_ns = wait->hold_ns;
	(void)world_answer(&c->sim->world, wp);
	if (world_request(wp, wait->tag)->state != WORLD_USED)
		return;
	note_wait(&c->sim->figures, sim_now(c->sim) - wait->since);
	wait_end(c, wait);
	hold(c, wp->held[wp->nheld - 1], hold_ns);
	if (c->sim->workload->served != NULL)
		c->sim->workload->served(c);
}

static struct pool_limits
limits_of(const struct sim_client *c)
{
	const struct sim_options *o = &c->sim->options;

	return (struct pool_limits){
		.base = o->base,
		.add = o->add,
		.wall = o->wall,
		.wall_max = o->wall,
		.max_buffer = o->wall,
		.headroom = o->headroom,
		.weight = o->weights[c->number % o->nweights],
		.uid = o->users == 0 ? c->number : c->number % o->users,
		.policy = o->policy,
	};
}

bool
sim_open(struct sim_client *c)
{
	struct pool_limits limits = limits_of(c);
	int error;

	c->wp = world_open_unsettled(&c->sim->world, &limits, &error);
	if (c->wp == NULL)
		return false;
	c->wp->owner = c;
	c->released = -1;
	return true;
}

/* Bytes times time, of the client and of all. */
static void
account(struct sim_client *c, uint64_t pinned)
{
	struct sim *s = c->sim;
	struct sim_figures *f = &s->figures;
	int64_t now = sim_now(s);

	c->pinned_ns += (double)c->pinned * (double)(now - c->accounted);
	f->pinned_ns += (double)f->pinned * (double)(now - s->accounted);
	c->accounted = s->accounted = now;
	f->pinned += pinned - c->pinned;
	c->pinned = pinned;
	if (f->pinned > f->peak)
		f->peak = f->pinned;
}

void
sim_close(struct sim_client *c)
{
	for (uint32_t i = 0; i < c->room; i++)
		if (c->waits[i].tag != 0)
			wait_end(c, &c->waits[i]);
	c->sim->figures.used -= c->used;
	c->used = 0;
	c->sim->figures.queued += c->wp->record->counters.queued;
	account(c, 0);
	world_close(&c->sim->world, c->wp);
	c->wp = NULL;
	c->life++; /* what was to happen to it will not */
}

static void
wake(struct sim_client *c)
{
	if (c->wp == NULL && !sim_open(c))
		sim_wake(c, NS_PER_S);
	else if (!c->wp->opened)
		sim_wake(c, 20 * NS_PER_MS);
	else
		c->sim->workload->wake(c);
}

/* --- What the core says --- */

static void
on_turn(void *watcher, struct world_pool *p, uint64_t tag)
{
	struct sim *s = watcher;

	(void)tag;
	push_for(p->owner, SIM_ANSWER, (int64_t)(s->options.answer_us * 1e3), 0);
}

static void
on_refused(void *watcher, struct world_pool *p, uint64_t tag, int error)
{
	struct sim *s = watcher;
	struct sim_wait *wait = wait_of(p->owner, tag);

	if (wait->tag != tag)
		return; /* cancelled */
	if (error == ETIMEDOUT)
		s->figures.timeouts++;
	else
		s->figures.refused++;
	wait_end(p->owner, wait);
}

static void
on_told(void *watcher, struct world_pool *p, enum core_news news)
{
	struct sim *s = watcher;
	struct sim_client *c = p->owner;

	switch (news) {
	case CORE_GROWN:
		s->figures.grown++;
		if (c->released >= 0 && sim_now(s) - c->released < REGROWTH_WITHIN)
			s->figures.regrown++;
		break;
	case CORE_RELEASED:
		s->figures.released++;
		c->released = sim_now(s);
		break;
	case CORE_PRESSURE:
		s->figures.pressures++;
		break;
	case CORE_ASKED: /* no client of the simulator registers its memory */
	case CORE_KEPT:
		break;
	}
}

static const struct world_watch watch = { on_turn, on_refused, on_told };

/* --- The keeper: one slice after the other --- */

static void
start_keeper(struct sim *s)
{
	const struct world_pool *p = TAILQ_FIRST(&s->world.questions);
	double mib;

	if (s->keeper_busy || p == NULL)
		return;
	mib = (double)((p->range.to - p->range.from) * CHUNK_SIZE) / MIB;
	s->keeper_busy = true;
	push(s, (struct sim_event){ .kind = SIM_KEEPER,
		    .ns = sim_now(s) + (int64_t)((s->options.pin_us +
						     s->options.pin_us_per_mib * mib) *
						 1e3) });
}

static void
keeper_is_done(struct sim *s)
{
	struct world_pool *p = TAILQ_FIRST(&s->world.questions);

	s->keeper_busy = false;
	if (p == NULL)
		return; /* its pool was closed meanwhile */
	(void)world_step(&s->world);
	account(p->owner, p->pinned * CHUNK_SIZE);
}

/* --- The run --- */

static void
happen(struct sim *s, const struct sim_event *e)
{
	struct sim_client *c = e->client;

	s->figures.events++;
	if (c != NULL && c->life != e->life)
		return;
	switch (e->kind) {
	case SIM_WAKE:
		wake(c);
		break;
	case SIM_GIVE:
		give(c, e->frame);
		break;
	case SIM_ANSWER:
		answer(c);
		break;
	case SIM_KEEPER:
		keeper_is_done(s);
		break;
	case SIM_SAMPLE:
		sim_report_sample(s);
		push(s, (struct sim_event){
			    .kind = SIM_SAMPLE, .ns = sim_now(s) + s->sample_ns });
		break;
	}
}

static void
live(struct sim *s)
{
	struct sim_event e;
	struct instant due;

	for (;;) {
		due = core_next_due(&s->world.core);
		if (s->heap.n > 0 && s->heap.events[0].ns <= due.ns)
			due.ns = s->heap.events[0].ns;
		if (due.ns > s->end)
			break;
		s->world.now = due;
		if (s->heap.n > 0 && s->heap.events[0].ns == due.ns) {
			e = pop(&s->heap);
			happen(s, &e);
		} else {
			core_run(&s->world.core, due);
		}
		start_keeper(s);
	}
	s->world.now.ns = s->end;
}

static void
set_params(struct sim *s)
{
	const struct sim_options *o = &s->options;
	struct core_params params = s->world.core.params;

	params.tick_ns = (int64_t)(o->tick_s * 1e9);
	params.release_ticks = (uint32_t)(o->period_s / o->tick_s);
	params.idle_ticks = (uint32_t)(o->idle_s / o->tick_s);
	core_set_params(&s->world.core, &params, s->world.now);
}

static void
begin(struct sim *s)
{
	world_init(&s->world, s->options.host_wall);
	s->world.watch = &watch;
	s->world.watcher = s;
	s->world.forgetful = true;
	set_params(s);
	s->start = s->accounted = sim_now(s);
	s->end = s->start + (int64_t)(s->options.seconds * 1e9);
	s->clients = calloc(s->options.clients, sizeof(s->clients[0]));
	for (uint32_t i = 0; i < s->options.clients; i++) {
		struct sim_client *c = &s->clients[i];

		*c = (struct sim_client){ .sim = s,
			.number = i,
			.accounted = s->start,
			.random = s->options.seed * UINT64_C(1000003) + i };
		(void)sim_random(c);
		sim_wake(c, 0);
	}
	if (s->sample_ns > 0)
		push(s, (struct sim_event){ .kind = SIM_SAMPLE, .ns = s->start });
}

static void
finish(struct sim *s)
{
	for (uint32_t i = 0; i < s->options.clients; i++) {
		struct sim_client *c = &s->clients[i];

		if (c->wp != NULL)
			sim_close(c);
		else
			account(c, 0);
		free(c->waits);
	}
	s->figures.grants = s->world.grants;
	world_fini(&s->world);
	free(s->heap.events);
}

int
sim_run(const struct sim_options *options)
{
	struct sim s = { .options = *options };
	struct sim_trace trace;
	int r;

	s.workload = &sim_workload_trace;
	if (options->trace == NULL)
		s.workload = sim_workload_find(options->workload);
	else if (sim_trace_read(&trace, options->trace) != 0)
		return -1;
	else
		s.trace = &trace;
	sim_report_sizes(&s);
	if (sim_report_begin(&s) != 0)
		return -1;
	begin(&s);
	live(&s);
	finish(&s);
	r = sim_report_end(&s);
	free(s.clients);
	if (s.trace != NULL)
		sim_trace_fini(s.trace);
	return r;
}
