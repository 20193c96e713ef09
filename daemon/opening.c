/* SPDX-License-Identifier: ISC */

/* How a session gets its pool. */
#include "daemon/opening.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/access.h"
#include "daemon/descriptors.h"
#include "daemon/largepages.h"
#include "daemon/log.h"
#include "daemon/membarrier.h"
#include "daemon/populate.h"
#include "daemon/session.h"

/* Of what the keeper has locked, or is about to. */
static void
populate_span(struct session *s, struct ledger_span span)
{
	if (span.from < span.to)
		populate_shared((char *)s->ledger + span.from, span.to - span.from);
}

static int
map_ledger(struct session *s, int fd, uint32_t chunks, struct ledger *l)
{
	void *p;

	s->ledger_size = ledger_size(chunks);
	p = mmap(NULL, s->ledger_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	s->ledger = p;
	populate_span(s, ledger_span(chunks, 0));
	ledger_attach(l, p, chunks, membarrier_is_there() ? LEDGER_CACHES : 0);
	return 0;
}

static uint64_t
least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* @page: bytes of a page of the heap, a power of two. */
static uint64_t
whole_down(uint64_t bytes, uint64_t page)
{
	return bytes & ~(page - 1);
}

static uint64_t
whole_up(uint64_t bytes, uint64_t page)
{
	return whole_down(bytes + page - 1, page);
}

static uint64_t
cut_wish(uint64_t wish, uint64_t allowed, uint64_t page)
{
	return wish == 0 || wish > allowed ? allowed
					   : least(whole_up(wish, page), allowed);
}

static void
set_limits(
    struct session *s, const struct config_pool *section, const struct proto_hello *m)
{
	struct pool_limits *l = &s->limits;
	uint64_t page = heap_kind_chunks(section->heap) * CHUNK_SIZE;

	l->heap = section->heap;
	l->wall = cut_wish(m->wall, section->wall, page);
	l->base =
	    least(cut_wish(m->base, section->base, page), whole_down(l->wall, page));
	l->add = cut_wish(m->add, section->add, page);
	if (l->add > l->wall - l->base && l->wall - l->base >= page)
		l->add = whole_down(l->wall - l->base, page);
	l->wall_max =
	    least(section->wall_max, whole_down(s->arbiter->spec.host_wall, page));
	if (l->wall_max < l->wall)
		l->wall_max = l->wall;
	l->max_buffer = section->max_buffer;
	l->headroom = section->headroom;
	l->weight = section->weight;
	l->uid = s->uid;
	l->policy = policy_find(section->policy);
	l->keep_idle = !section->check_idle;
	l->group = s->section; /* the configuration may go before us */
	l->group_wall = section->wall_total;
}

static uint32_t
memory_chunks(const struct pool_limits *l)
{
	uint64_t page = heap_kind_chunks(l->heap) * CHUNK_SIZE;

	return (uint32_t)(whole_up(l->wall_max, page) / CHUNK_SIZE);
}

/* The keeper pins while we look at the ledger. */
static void
ask_for_memory(struct session *s)
{
	struct channel_msg msg = { .type = CHANNEL_CREATE,
		.id = s->id,
		.slot = s->slot,
		.heap = s->limits.heap,
		.chunks = memory_chunks(&s->limits) };

	strlcpy(msg.name, s->name, sizeof(msg.name));
	arbiter_tell_keeper(s->arbiter, &msg);
	s->hurried = core_hurry(&s->arbiter->core, &s->hurry, &s->limits, msg.chunks);
	if (s->hurried == 0)
		return;
	msg = (struct channel_msg){
		.type = CHANNEL_PIN, .id = s->id, .slot = s->slot, .to = s->hurried
	};
	arbiter_tell_keeper(s->arbiter, &msg);
}

void
opening_on_other_hello(struct session *s, const struct proto_hello *m)
{
	char reason[PROTO_REASON_SIZE];

	if (s->state != SESSION_NEW)
		return;
	snprintf(reason, sizeof(reason),
	    "the client speaks versions %u to %u of the protocol, this budd %u",
	    m->version_min, m->version_max, PROTO_VERSION);
	session_refuse(s, EPROTONOSUPPORT, reason);
}

void
opening_on_hello(struct session *s, const union proto_msg *msg)
{
	const struct proto_hello *m = &msg->hello;
	const struct config *config = arbiter_config(s->arbiter);
	const struct access_peer peer = { s->uid, s->gid, s->sock };
	const struct config_pool *section;
	char reason[PROTO_REASON_SIZE];

	if (s->state != SESSION_NEW)
		return; /* said again after RESTARTED, to be sure */
	if (m->command[0] != '\0')
		strlcpy(s->command, m->command, sizeof(s->command));
	strlcpy(s->name, m->pool[0] != '\0' ? m->pool : CONFIG_DEFAULT_POOL,
	    sizeof(s->name));
	section = config_pool_find(config, s->name);
	if (!access_may_open(section, &peer)) {
		snprintf(reason, sizeof(reason),
		    "uid %u may not open pool \"%s\" (user, group of its section)",
		    s->uid, section->name);
		session_refuse(s, EACCES, reason);
		return;
	}
	strlcpy(s->section, section->name, sizeof(s->section));
	set_limits(s, section, m);
	event_del(s->later);
	s->state = SESSION_CREATING;
	ask_for_memory(s);
}

static void
refuse_for_memory(struct session *s, int error)
{
	const struct core *c = &s->arbiter->core;
	char reason[PROTO_REASON_SIZE];
	struct largepages large;

	if (error == EMFILE) {
		session_refuse(s, EUSERS, DESCRIPTORS_NONE_LEFT);
		return;
	}
	largepages_read(&large, LARGEPAGES_PATH);
	if (s->limits.heap == HEAP_HUGE && error != EDQUOT && error != ENOSPC)
		snprintf(reason, sizeof(reason),
		    "a base of %" PRIu64 " bytes of huge pages: %s; %" PRIu64
		    " are reserved (of 2M), %" PRIu64 " free: raise vm.nr_hugepages",
		    s->limits.base, strerror(error), large.huge_total, large.huge_free);
	else if (error == EDQUOT)
		snprintf(reason, sizeof(reason),
		    "uid %u has %u pools, and user_pools in budd.conf allows no more",
		    s->uid, c->params.user_pools);
	else
		snprintf(reason, sizeof(reason),
		    "a base of %" PRIu64
		    " bytes cannot be pinned: %s; host wall %" PRIu64
		    ", pinned %" PRIu64 ", user_wall %" PRIu64 ", wall_total %" PRIu64,
		    s->limits.base, strerror(error), c->params.host_wall, c->committed,
		    c->params.user_wall, s->limits.group_wall);
	session_refuse(s, error, reason);
}

/* What an operator may change: it is the pool's from here on, not its section's. */
static void
record_limits(struct record *r, const struct pool_limits *l)
{
	r->wall = l->wall;
	r->add = l->add;
	r->weight = l->weight;
	r->policy = policy_number(l->policy);
	r->keep_idle = l->keep_idle;
}

/* The ledger's pages that tell of the new chunks. */
static void
populate_ledger(struct session *s, uint32_t from, uint32_t to)
{
	uint32_t chunks = s->pool.ledger.chunks;

	if (from >= to || to > chunks)
		return;
	populate_span(s, ledger_below(chunks, from, to));
	populate_span(s, ledger_above(chunks, from, to));
}

void
session_on_created(struct session *s, int error, int ledger)
{
	struct record *record = arbiter_record(s->arbiter, s->slot);
	uint32_t chunks = memory_chunks(&s->limits);
	struct ledger l;

	if (error == 0)
		error = -map_ledger(s, ledger, chunks, &l);
	if (ledger != -1)
		close(ledger);
	if (error != 0) {
		refuse_for_memory(s, error);
		return;
	}
	ledger_init(&l);
	record_limits(record, &s->limits);
	strlcpy(record->command, s->command, sizeof(record->command));
	pool_init(&s->pool, s->id, &s->limits, &l, record);
	s->pool.shell = s;
	core_is_now(&s->arbiter->core, clock_now());
	if ((error = core_open(&s->arbiter->core, &s->pool, &s->hurry)) != 0) {
		refuse_for_memory(s, -error);
		return;
	}
	s->state = SESSION_OPENING;
	populate_ledger(s, 0, s->hurried);
}

/* Told once, not at each tick that tries again. */
static void
note_growth(struct session *s, int error)
{
	char why[200] = "";
	struct largepages large;

	if (error != 0 && error != s->grow_error) {
		largepages_read(&large, LARGEPAGES_PATH);
		largepages_why(&large, s->limits.heap, why, sizeof(why));
		log_errno("pool", error, "pool %u %s cannot grow%s%s", s->id, s->name,
		    why[0] != '\0' ? "; " : "", why);
	}
	s->grow_error = error;
}

void
session_on_pinned(struct session *s, const struct channel_msg *msg)
{
	if (!session_has_pool(s))
		return;
	if (msg->error == 0) {
		pool_note_pages(&s->pool, msg->page_shift);
		if (s->pool.pinned >= s->hurried)
			populate_ledger(s, s->pool.pinned, msg->pinned);
	}
	if (s->pool.welcome && s->pool.pin_error == 0)
		note_growth(s, msg->error);
	core_pinned(&s->arbiter->core, &s->pool, msg->pinned, msg->error, clock_now());
	if (s->open_error != 0)
		refuse_for_memory(s, s->open_error);
}

void
session_on_unpinned(struct session *s, uint32_t pinned)
{
	if (session_has_pool(s))
		core_unpinned(&s->arbiter->core, &s->pool, pinned, clock_now());
}

/* --- After an arbiter's death --- */

static bool
pool_is_not_begun(const struct record *r)
{
	uint32_t blocks = atomic_load(&r->blocks);

	return blocks == 0 || blocks > RECORD_BLOCKS_MAX;
}

/* 0: they do not fit into the memory. */
static uint32_t
sum_of_blocks(const struct record *r, uint32_t chunks)
{
	uint32_t blocks = atomic_load(&r->blocks), sum = 0;

	for (uint32_t i = 0; i < blocks; i++) {
		if (r->block[i].chunks == 0 || r->block[i].chunks > chunks - sum)
			return 0;
		sum += r->block[i].chunks;
	}
	return sum;
}

bool
opening_is_sound(struct session *s, const struct channel_msg *msg)
{
	const struct record *r = arbiter_record(s->arbiter, s->slot);
	uint64_t most = msg->chunks * CHUNK_SIZE;
	uint32_t planned;

	if (pool_is_not_begun(r))
		return true; /* which is another story */
	planned = sum_of_blocks(r, msg->chunks);
	return planned >= msg->pinned && planned > 0 &&
	       atomic_load(&r->opened) <= planned &&
	       atomic_load(&r->doubt) <= planned && r->add > 0 && r->add <= most &&
	       r->wall <= most && r->wall >= r->block[0].chunks * CHUNK_SIZE &&
	       policy_numbered(r->policy) != NULL;
}

/* What the record does not say is as its section says today. */
int
opening_adopt(struct session *s, const struct channel_msg *msg, int ledger)
{
	struct record *record = arbiter_record(s->arbiter, s->slot);
	const struct config_pool *section;
	struct ledger l;
	int r = map_ledger(s, ledger, msg->chunks, &l);

	if (r != 0)
		return r;
	if (pool_is_not_begun(record))
		return -EPROTO;
	memcpy(s->name, msg->name, sizeof(s->name));
	if (record->command[0] != '\0') /* it may be scribbled over, like all of it */
		memcpy(s->command, record->command, sizeof(s->command) - 1);
	section = config_pool_find(arbiter_config(s->arbiter), s->name);
	strlcpy(s->section, section->name, sizeof(s->section));
	s->limits = (struct pool_limits){ .base = record->block[0].chunks * CHUNK_SIZE,
		.add = record->add,
		.wall = record->wall,
		.wall_max = msg->chunks * CHUNK_SIZE,
		.heap = msg->heap,
		.max_buffer = section->max_buffer,
		.headroom = section->headroom,
		.weight = record->weight,
		.uid = s->uid,
		.policy = policy_numbered(record->policy),
		.keep_idle = record->keep_idle != 0,
		.group = s->section,
		.group_wall = section->wall_total };
	pool_init(&s->pool, s->id, &s->limits, &l, record);
	s->pool.shell = s;
	s->state = SESSION_OPEN;
	r = core_adopt(&s->arbiter->core, &s->pool, msg->pinned, clock_now());
	if (r != 0)
		s->state = SESSION_NEW; /* the core does not know it */
	return r;
}
