/* SPDX-License-Identifier: ISC */

/* A fake world for the core. */
#include "tests/world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(condition) must((condition), #condition, __func__, __LINE__)

static void
must(bool holds, const char *what, const char *where, int line)
{
	if (holds)
		return;
	fprintf(stderr, "world: %s:%d: does not hold: %s\n", where, line, what);
	abort();
}

static struct world_pool *
of_pool(struct pool *p)
{
	return p->shell;
}

static struct world_request *
request_of(const struct world_pool *p, uint64_t tag)
{
	MUST(tag > p->forgotten && tag <= p->nrequests);
	return &p->requests[tag - 1 - p->forgotten];
}

static void
forget_turn(struct world_pool *p, uint64_t tag)
{
	uint32_t i = 0;

	while (i < p->nturns && p->turns[i] != tag)
		i++;
	MUST(i < p->nturns);
	p->nturns--;
	memmove(&p->turns[i], &p->turns[i + 1], (p->nturns - i) * sizeof(p->turns[0]));
}

/* --- What the core asks --- */

static void
ask_keeper(struct world *w, struct world_pool *p, enum world_question question,
    struct chunk_range r)
{
	MUST(r.from < r.to && r.to - r.from <= pool_slice(&p->pool));
	if (p->question == WORLD_PIN && question == WORLD_PIN) {
		MUST(p->next.to == 0 && pool_slices(&p->pool) == 2);
		p->next = r;
		return;
	}
	MUST(p->question == WORLD_NOTHING);
	p->question = question;
	p->range = r;
	TAILQ_INSERT_TAIL(&w->questions, p, waiting);
}

static void
on_pin(void *ctx, struct pool *pool, struct chunk_range r)
{
	struct world *w = ctx;

	w->pins++;
	MUST(r.from == (of_pool(pool)->question == WORLD_PIN ? of_pool(pool)->range.to
							     : of_pool(pool)->pinned));
	MUST(r.to <= pool_wall_chunks(pool));
	ask_keeper(w, of_pool(pool), WORLD_PIN, r);
}

static void
on_unpin(void *ctx, struct pool *pool, struct chunk_range r)
{
	struct world *w = ctx;

	w->unpins++;
	MUST(r.to == of_pool(pool)->pinned);
	MUST(r.from >= pool_opened(pool) && r.from >= pool_block(pool, 0).to);
	ask_keeper(w, of_pool(pool), WORLD_UNPIN, r);
}

/* First in, first out: whoever came earlier has had its turn. */
static void
check_order(const struct pool *pool, uint64_t tag)
{
	const struct request *r;

	TAILQ_FOREACH (r, &pool->queue.requests, entry) {
		MUST(r->state == REQUEST_GRANTED);
		if (r->tag == tag)
			return;
	}
	MUST(!"granted, and not in the queue");
}

static void
on_grant(void *ctx, struct pool *pool, uint64_t tag)
{
	struct world *w = ctx;
	struct world_pool *p = of_pool(pool);
	struct world_request *r = request_of(p, tag);

	w->grants++;
	MUST(r->state == WORLD_ASKED);
	check_order(pool, tag);
	r->state = WORLD_TURN;
	p->turns = reallocarray(p->turns, p->nturns + 1, sizeof(p->turns[0]));
	p->turns[p->nturns++] = tag;
	if (w->watch != NULL && w->watch->turn != NULL)
		w->watch->turn(w->watcher, p, tag);
}

static void
on_refuse(void *ctx, struct pool *pool, uint64_t tag, int error)
{
	struct world *w = ctx;
	struct world_pool *p = of_pool(pool);
	struct world_request *r = request_of(p, tag);

	w->refusals++;
	MUST(error > 0);
	MUST(r->state == WORLD_ASKED);
	r->state = WORLD_REFUSED;
	r->error = error;
	if (w->watch != NULL && w->watch->refused != NULL)
		w->watch->refused(w->watcher, p, tag, error);
}

static void
on_opened(void *ctx, struct pool *pool, int error)
{
	struct world_pool *p = of_pool(pool);

	(void)ctx;
	MUST(!p->opened && p->open_error == 0);
	p->opened = error == 0;
	p->open_error = error;
}

static void
on_tell(void *ctx, struct pool *pool, enum core_news news, uint64_t bytes)
{
	struct world *w = ctx;

	MUST((news == CORE_PRESSURE) == (bytes == 0));
	w->told[news]++;
	of_pool(pool)->told[news]++;
	if (w->watch != NULL && w->watch->told != NULL)
		w->watch->told(w->watcher, of_pool(pool), news);
}

static bool
on_barrier(void *ctx)
{
	((struct world *)ctx)->barriers++;
	return true; /* the clients of a world run when it lets them */
}

static const struct core_ops ops = {
	.pin = on_pin,
	.unpin = on_unpin,
	.grant = on_grant,
	.refuse = on_refuse,
	.opened = on_opened,
	.tell = on_tell,
	.barrier = on_barrier,
};

/* --- Worlds and pools --- */

void
world_init(struct world *w, uint64_t host_wall)
{
	const struct core_params params = {
		.host_wall = host_wall,
		.tick_ns = 500 * NS_PER_MS,
		.release_ticks = 120,
		.idle_ticks = 600,
		.overtaken_max = 16,
	};

	*w = (struct world){ .now = { NS_PER_S } };
	TAILQ_INIT(&w->pools);
	TAILQ_INIT(&w->questions);
	core_init(&w->core, &params, &ops, w);
}

void
world_fini(struct world *w)
{
	while (!TAILQ_EMPTY(&w->pools))
		world_close(w, TAILQ_FIRST(&w->pools));
	MUST(w->core.committed == 0);
	core_fini(&w->core);
}

struct pool_limits
world_limits(uint32_t base, uint32_t add, uint32_t wall)
{
	return (struct pool_limits){
		.base = base * CHUNK_SIZE,
		.add = add * CHUNK_SIZE,
		.wall = wall * CHUNK_SIZE,
		.wall_max = wall * CHUNK_SIZE,
		.max_buffer = wall * CHUNK_SIZE,
		.weight = 1,
	};
}

static struct world_pool *
pool_create(struct world *w, const struct pool_limits *limits)
{
	struct world_pool *p = calloc(1, sizeof(*p));
	uint32_t chunks = (uint32_t)(limits->wall_max / CHUNK_SIZE);
	struct ledger l;

	p->record = calloc(1, sizeof(*p->record));
	p->ledger = aligned_alloc(4096, ledger_size(chunks));
	memset(p->ledger, 0, ledger_size(chunks));
	ledger_attach(&l, p->ledger, chunks, LEDGER_CACHES);
	ledger_init(&l);
	pool_init(&p->pool, ++w->next_id, limits, &l, p->record);
	p->pool.shell = p;
	p->world = w;
	TAILQ_INSERT_TAIL(&w->pools, p, entry);
	return p;
}

static void
pool_destroy(struct world *w, struct world_pool *p)
{
	if (p->question != WORLD_NOTHING)
		TAILQ_REMOVE(&w->questions, p, waiting);
	TAILQ_REMOVE(&w->pools, p, entry);
	free(p->ledger);
	free(p->record);
	free(p->requests);
	free(p->turns);
	free(p->held);
	free(p);
}

struct world_pool *
world_open_unsettled(struct world *w, const struct pool_limits *limits, int *errorp)
{
	struct world_pool *p = pool_create(w, limits);
	struct hurry none = { 0 };
	int r = core_open(&w->core, &p->pool, &none);

	if (r == 0)
		return p;
	pool_destroy(w, p);
	*errorp = r;
	return NULL;
}

struct world_pool *
world_open_hurried(struct world *w, const struct pool_limits *limits, struct hurry *h)
{
	struct world_pool *p = pool_create(w, limits);

	ask_keeper(w, p, WORLD_PIN, (struct chunk_range){ 0, h->chunks });
	if (core_open(&w->core, &p->pool, h) == 0)
		return p;
	pool_destroy(w, p);
	return NULL;
}

struct world_pool *
world_open_with(struct world *w, const struct pool_limits *limits)
{
	struct world_pool *p;
	int error;

	if ((p = world_open_unsettled(w, limits, &error)) != NULL)
		world_settle(w);
	return p;
}

struct world_pool *
world_open(struct world *w, uint32_t base, uint32_t add, uint32_t wall)
{
	struct pool_limits limits = world_limits(base, add, wall);

	return world_open_with(w, &limits);
}

void
world_close(struct world *w, struct world_pool *p)
{
	core_close(&w->core, &p->pool, w->now);
	pool_destroy(w, p);
}

void
world_drop(struct world *w, struct world_pool *p)
{
	for (uint64_t i = 0; i < p->nrequests - p->forgotten; i++)
		if (p->requests[i].state < WORLD_USED)
			p->requests[i].state = WORLD_GONE;
	p->nturns = 0;
	core_drop_requests(&w->core, &p->pool, w->now);
}

struct world_pool *
world_adopt(struct world *w, const struct world_pool *dead, bool heard)
{
	const struct pool_limits *limits = &dead->pool.limits;
	struct world_pool *p = pool_create(w, limits);

	memcpy(p->record, dead->record, sizeof(*p->record));
	memcpy(p->ledger, dead->ledger,
	    ledger_size((uint32_t)(limits->wall_max / CHUNK_SIZE)));
	p->held = calloc(dead->nheld + 1, sizeof(p->held[0]));
	if (dead->nheld > 0)
		memcpy(p->held, dead->held, dead->nheld * sizeof(p->held[0]));
	p->nheld = dead->nheld;
	p->pinned = dead->pinned;
	if (heard && dead->question == WORLD_PIN)
		p->pinned = dead->range.to;
	else if (heard && dead->question == WORLD_UNPIN)
		p->pinned = dead->range.from;
	pool_init(&p->pool, p->pool.id, limits, &p->pool.ledger, p->record);
	p->pool.shell = p;
	core_adopt(&w->core, &p->pool, p->pinned, w->now);
	return p;
}

/* --- The keeper --- */

static void
answer_pin(struct world *w, struct world_pool *p, struct chunk_range r)
{
	int error = 0;

	if (p->next.to != 0) {
		p->question = WORLD_PIN;
		p->range = p->next;
		p->next = (struct chunk_range){ 0, 0 };
		TAILQ_INSERT_TAIL(&w->questions, p, waiting);
	}
	if (r.from != p->pinned)
		error = EINVAL; /* the one before it failed */
	else if (w->fail_in > 0 && --w->fail_in == 0)
		error = w->fail_error;
	else
		p->pinned = r.to;
	core_pinned(&w->core, &p->pool, p->pinned, error, w->now);
}

bool
world_step(struct world *w)
{
	struct world_pool *p = TAILQ_FIRST(&w->questions);
	enum world_question question;

	if (p == NULL)
		return false;
	TAILQ_REMOVE(&w->questions, p, waiting);
	question = p->question;
	p->question = WORLD_NOTHING;
	if (question == WORLD_PIN) {
		answer_pin(w, p, p->range);
	} else {
		p->pinned = p->range.from;
		core_unpinned(&w->core, &p->pool, p->pinned, w->now);
	}
	return true;
}

void
world_settle(struct world *w)
{
	unsigned int steps = 0;

	while (world_step(w))
		MUST(++steps < 1000000); /* growing and shrinking in turn, for ever? */
}

void
world_fail_pin(struct world *w, unsigned int nth, int error)
{
	w->fail_in = nth;
	w->fail_error = error;
}

/* --- Time --- */

void
world_pass_time(struct world *w, int64_t ns)
{
	struct instant end = instant_add(w->now, ns), due;

	for (;;) {
		due = core_next_due(&w->core);
		if (instant_before(end, due))
			break;
		if (instant_before(w->now, due))
			w->now = due;
		core_run(&w->core, w->now);
		MUST(instant_before(w->now, core_next_due(&w->core)));
	}
	w->now = end;
}

void
world_pass_ticks(struct world *w, uint32_t ticks)
{
	while (ticks-- > 0) {
		world_pass_time(w, w->core.params.tick_ns);
		world_settle(w);
	}
}

/* --- Clients --- */

static void
forget_ended(struct world_pool *p)
{
	uint64_t n = p->nrequests - p->forgotten, ended = 0;

	while (ended < n && p->requests[ended].state >= WORLD_USED)
		ended++;
	p->forgotten += ended;
	memmove(p->requests, &p->requests[ended], (n - ended) * sizeof(p->requests[0]));
}

static void
make_room_for_request(struct world *w, struct world_pool *p)
{
	if (p->nrequests - p->forgotten < p->room)
		return;
	if (w->forgetful && p->room > 0)
		forget_ended(p);
	if (2 * (p->nrequests - p->forgotten) < p->room)
		return;
	p->room = p->room == 0 ? 4 : 2 * p->room;
	p->requests = reallocarray(p->requests, p->room, sizeof(p->requests[0]));
}

uint64_t
world_ask(struct world *w, struct world_pool *p, uint64_t size_bytes, uint32_t count,
    int32_t timeout_ms)
{
	struct proto_alloc alloc = {
		.header = { PROTO_ALLOC, sizeof(alloc) },
		.size_bytes = size_bytes,
		.count = count,
		.timeout_ms = timeout_ms,
	};

	make_room_for_request(w, p);
	alloc.tag = ++p->nrequests;
	*request_of(p, alloc.tag) = (struct world_request){
		.state = WORLD_ASKED,
		.order = ledger_order(size_bytes),
		.count = count,
	};
	core_request(&w->core, &p->pool, &alloc, w->now);
	return alloc.tag;
}

void
world_cancel(struct world *w, struct world_pool *p, uint64_t tag)
{
	struct world_request *r = request_of(p, tag);

	if (r->state == WORLD_TURN) { /* the GRANT was the answer; there is no other */
		forget_turn(p, tag);
		r->state = WORLD_REFUSED;
		r->error = ECANCELED;
	}
	core_cancel(&w->core, &p->pool, tag, w->now);
}

const struct world_request *
world_request(const struct world_pool *p, uint64_t tag)
{
	return request_of(p, tag);
}

static bool
take(struct world_pool *p, unsigned int order)
{
	uint32_t frame;

	if (ledger_take(&p->pool.ledger, order, &frame) != 0)
		return false;
	MUST(frame / CHUNK_FRAMES < pool_opened(&p->pool));
	p->held = reallocarray(p->held, p->nheld + 1, sizeof(p->held[0]));
	p->held[p->nheld++] = frame;
	return true;
}

bool
world_take(struct world_pool *p, uint64_t size_bytes)
{
	return !ledger_queued(&p->pool.ledger) && world_take_regardless(p, size_bytes);
}

bool
world_take_regardless(struct world_pool *p, uint64_t size_bytes)
{
	if (!take(p, ledger_order(size_bytes)))
		return false;
	if (ledger_claim_mark(&p->pool.ledger, p->held[p->nheld - 1]))
		core_doorbell(&p->world->core, &p->pool, p->world->now);
	return true;
}

static void
give(struct world_pool *p, uint32_t index)
{
	MUST(index < p->nheld);
	MUST(ledger_give(&p->pool.ledger, p->held[index]) == 0);
	p->held[index] = p->held[--p->nheld];
}

void
world_give(struct world *w, struct world_pool *p, uint32_t index)
{
	give(p, index);
	if (ledger_queued(&p->pool.ledger))
		core_doorbell(&w->core, &p->pool, w->now);
}

void
world_give_frame(struct world *w, struct world_pool *p, uint32_t frame)
{
	uint32_t i = p->nheld; /* what was taken last is often given first */

	while (i > 0 && p->held[i - 1] != frame)
		i--;
	MUST(i > 0);
	world_give(w, p, i - 1);
}

void
world_give_all(struct world *w, struct world_pool *p)
{
	while (p->nheld > 0)
		world_give(w, p, p->nheld - 1);
}

/* All its buffers, or none. */
static bool
use_turn(struct world_pool *p, const struct world_request *r)
{
	for (uint32_t i = 0; i < r->count; i++) {
		if (take(p,
			r->order)) { /* the DONE that follows rings for the mark, too */
			(void)ledger_claim_mark(&p->pool.ledger, p->held[p->nheld - 1]);
			continue;
		}
		while (i-- > 0)
			give(p, p->nheld - 1);
		return false;
	}
	return true;
}

static void
end_turn(struct world *w, struct world_pool *p, enum proto_outcome outcome)
{
	uint64_t tag = p->turns[0];

	forget_turn(p, tag);
	request_of(p, tag)->state = outcome == PROTO_USED ? WORLD_USED : WORLD_ASKED;
	core_done(&w->core, &p->pool, tag, outcome, w->now);
}

bool
world_answer(struct world *w, struct world_pool *p)
{
	bool used;

	if (p->nturns == 0)
		return false;
	used = use_turn(p, request_of(p, p->turns[0]));
	end_turn(w, p, used ? PROTO_USED : PROTO_FAILED);
	return true;
}

void
world_fail_turn(struct world *w, struct world_pool *p)
{
	MUST(p->nturns > 0);
	end_turn(w, p, PROTO_FAILED);
}

void
world_answer_all(struct world *w)
{
	struct world_pool *p;
	unsigned int steps = 0;
	bool busy = true;

	while (busy) {
		MUST(++steps < 1000000);
		busy = world_step(w);
		TAILQ_FOREACH (p, &w->pools, entry)
			if (world_answer(w, p))
				busy = true;
	}
}

/* --- Judgement --- */

/* The ledger tells of what the client holds, and of nothing else. */
static void
check_held(const struct world_pool *p)
{
	uint64_t frames = 0;
	int order;

	for (uint32_t i = 0; i < p->nheld; i++) {
		order = ledger_order_at(&p->pool.ledger, p->held[i]);
		MUST(order >= 0);
		frames += (uint64_t)1 << order;
	}
	MUST(pool_used(&p->pool) == frames * FRAME_SIZE);
	MUST(ledger_check(&p->pool.ledger, pool_opened(&p->pool)));
}

static void
check_requests(const struct world_pool *p)
{
	uint32_t alive = 0, turns = 0;

	for (uint64_t i = 0; i < p->nrequests - p->forgotten; i++) {
		alive += p->requests[i].state < WORLD_USED;
		turns += p->requests[i].state == WORLD_TURN;
	}
	MUST(alive == p->pool.queue.length);
	MUST(turns == p->nturns);
	MUST(ledger_queued(&p->pool.ledger) == (alive > 0 || p->pool.keeps_queued));
}

static void
check_pool(const struct world_pool *p)
{
	const struct pool *pool = &p->pool;

	MUST(pool_check(pool));
	MUST(pool->pinned == p->pinned);
	MUST(pool->planned <= pool_wall_chunks(pool) || p->lowered);
	MUST(pool->slices_out ==
	     (p->question == WORLD_PIN) + (uint32_t)(p->next.to != 0));
	MUST((p->question != WORLD_NOTHING || pool->slice_due) ==
	     (pool->phase != POOL_STEADY && pool->phase != POOL_ASKED));
	check_held(p);
	check_requests(p);
}

static void
check_user(const struct world *w, const struct user *u)
{
	const struct world_pool *p;
	uint64_t charge = u->hurried, pinned = 0;
	uint32_t requests = 0, pools = u->hurries;

	TAILQ_FOREACH (p, &w->pools, entry) {
		if (p->pool.user != u)
			continue;
		pools++;
		charge += pool_charge(&p->pool, p->pool.planned);
		pinned += p->pool.pinned * CHUNK_SIZE;
		requests += p->pool.queue.length;
	}
	MUST(u->pools == pools && u->requests == requests);
	MUST(u->charge == charge && u->pinned == pinned);
	MUST(w->core.params.user_wall == 0 || charge <= w->core.params.user_wall);
	MUST(w->core.params.user_pools == 0 || pools <= w->core.params.user_pools);
	MUST(w->core.params.user_requests == 0 ||
	     requests <= w->core.params.user_requests);
}

static void
check_group(const struct world *w, const struct group *g)
{
	const struct world_pool *p;
	uint64_t charge = 0;

	TAILQ_FOREACH (p, &w->pools, entry)
		if (p->pool.group == g)
			charge += p->pool.planned * CHUNK_SIZE;
	MUST(g->charge == charge);
	MUST(charge <= g->wall);
}

void
world_check(const struct world *w)
{
	const struct world_pool *p;
	const struct user *u;
	const struct group *g;
	uint64_t pinned = 0;
	uint32_t starved = 0;

	MUST(core_check(&w->core));
	TAILQ_FOREACH (p, &w->pools, entry) {
		check_pool(p);
		pinned += pool_charge(&p->pool, p->pinned);
		starved += p->pool.place.starved;
		MUST(p->pool.overtaken <= w->core.params.overtaken_max);
	}
	MUST(pinned <= w->core.committed);
	MUST(w->core.committed <= w->core.params.host_wall);
	MUST(starved == w->core.starved);
	LIST_FOREACH (u, &w->core.users, entry)
		check_user(w, u);
	LIST_FOREACH (g, &w->core.groups, entry)
		check_group(w, g);
}

/* Memory that would do for @p is kept for another: one of its group who came earlier, or one
 * who wants no more than it does, or who was overtaken often enough. */
static bool
is_kept_for_another(struct world *w, const struct world_pool *p)
{
	const struct world_pool *q;

	TAILQ_FOREACH (q, &w->pools, entry) {
		if (q == p || !q->pool.place.starved || !p->pool.place.starved ||
		    !share_before(&w->core, &q->pool, &p->pool))
			continue;
		if (q->pool.overtaken >= w->core.params.overtaken_max ||
		    q->pool.place.ask <= p->pool.place.ask)
			return true;
		if (q->pool.group != NULL && q->pool.group == p->pool.group)
			return true;
	}
	return false;
}

static bool
could_end_at(struct world *w, const struct world_pool *p, uint64_t planned)
{
	return planned <= pool_wall_chunks(&p->pool) &&
	       share_fits(&w->core, &p->pool, (uint32_t)planned);
}

static void
check_head(struct world *w, struct world_pool *p, const struct request *head)
{
	struct ledger_plan plan = { 0 };
	uint64_t size = request_chunks(head), add = p->pool.limits.add / CHUNK_SIZE;

	MUST(!head->try);
	MUST(ledger_plan_load(&plan, &p->pool.ledger, pool_opened(&p->pool)) == 0);
	MUST(!ledger_plan_take(&plan, head->order, head->count));
	ledger_plan_fini(&plan);
	size = size > add ? size : add;
	if (w->core.tick < p->pool.retry_tick)
		return;
	MUST(!could_end_at(w, p, pool_floor(&p->pool) + size) ||
	     is_kept_for_another(w, p));
}

void
world_check_quiet(struct world *w)
{
	struct world_pool *p;
	struct request *head;

	MUST(TAILQ_EMPTY(&w->questions));
	TAILQ_FOREACH (p, &w->pools, entry) {
		MUST(p->nturns == 0);
		if (p->opened && (head = queue_head(&p->pool.queue)) != NULL)
			check_head(w, p, head);
	}
}
