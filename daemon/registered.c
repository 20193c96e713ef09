/* SPDX-License-Identifier: ISC */

/*
 * Pools whose client registers their memory with devices. Part of the core.
 *
 * A page that is registered outlives a punch: the device keeps writing into a page that
 * nobody else sees. So before a block of such a pool goes, its client is asked to give it
 * up. The block is closed first: nothing can be allocated in it, and nothing was.
 *
 *	STEADY --closed, asked--> ASKED --gave up--> RELEASING --> (gone) STEADY
 *	   ^                        |
 *	   +--- kept: the deadline, the pool needs it itself, nobody listens
 *
 * A client that does not answer by the deadline has its block again, and is not asked for a
 * release period. Nothing else would help anybody: as long as it is registered its pages
 * cannot be had, whatever budd does; and to its client, to the walls and to those who wait
 * it is what a block with one buffer in it is. One that lies (gives up what it goes on
 * using) hurts its own data, and the kernel charges the pages to its own memlock limit.
 *
 * The number of the question is what tells its answer from a late one to the question
 * before, under which the client may have registered the block again meanwhile. Number and
 * `registers` are in the record, so that no other arbiter takes a block unasked, or takes
 * the answer that was meant for its predecessor.
 */
#include "daemon/core.h"

bool
registered_may_go(const struct core *c, const struct pool *p)
{
	return !p->record->registers || (!p->deaf && c->tick >= p->ask_again);
}

static uint64_t
closed_bytes(const struct pool *p)
{
	return (p->planned - pool_opened(p)) * CHUNK_SIZE;
}

void
registered_ask(struct core *c, struct pool *p)
{
	p->phase = POOL_ASKED;
	p->ask_ends = c->tick + c->params.give_up_ticks;
	if (++p->record->asks == 0)
		p->record->asks = 1;
	c->ops->tell(c->ctx, p, CORE_ASKED, closed_bytes(p));
}

void
registered_keep(struct core *c, struct pool *p)
{
	uint64_t bytes = closed_bytes(p);

	p->to_release = 0;
	pool_reopen_last(p);
	c->ops->tell(c->ctx, p, CORE_KEPT, bytes);
}

void
registered_tick(struct core *c, struct pool *p)
{
	if (c->tick < p->ask_ends)
		return;
	p->record->kept++;
	p->ask_again = c->tick + c->params.release_ticks;
	registered_keep(c, p);
}

void
core_register(struct core *c, struct pool *p, bool registers)
{
	p->record->registers = registers;
	if (!registers && p->phase == POOL_ASKED)
		shrink_go(c, p);
}

void
core_gave_up(struct core *c, struct pool *p, uint64_t offset, uint32_t ask)
{
	/* Messages cross: what was not asked, or is not any more, is no mistake. */
	if (p->phase == POOL_ASKED && ask == p->record->asks &&
	    offset == pool_opened(p) * CHUNK_SIZE)
		shrink_go(c, p);
}
