/* SPDX-License-Identifier: ISC */

/* Who is to blame. */
#include "daemon/blame.h"

#include "daemon/arbiter.h"
#include "daemon/log.h"
#include "daemon/record.h"

void
blame_begin(struct arbiter *a, uint32_t session, uint32_t slot)
{
	atomic_store_explicit(
	    &a->note->busy, (uint64_t)session << 32 | slot, memory_order_relaxed);
}

void
blame_end(struct arbiter *a)
{
	atomic_store_explicit(&a->note->busy, RECORD_IDLE, memory_order_relaxed);
}

void
blame_inherit(struct arbiter *a)
{
	uint64_t busy = atomic_load(&a->note->busy);
	uint32_t session = (uint32_t)(busy >> 32), slot = (uint32_t)busy;
	struct record *r;

	blame_end(a);
	if (!a->spec.fault || busy == RECORD_IDLE || slot >= a->spec.slots)
		return;
	r = arbiter_record(a, slot);
	if (r->session != session)
		return;
	r->deaths++;
	log_warn("arbiter",
	    "the one before died while it was busy with session %u: %u died so",
	    session, r->deaths);
}

enum blame_verdict
blame_meet(struct arbiter *a, uint32_t session, uint32_t slot)
{
	struct record *r = arbiter_record(a, slot);

	if (r->session != session) {
		r->deaths = 0;
		r->session = session;
	}
	if (r->deaths > BLAME_DEATHS)
		return BLAME_SHUN;
	return r->deaths >= (a->spec.drop ? 1 : BLAME_DEATHS) ? BLAME_DEAF : BLAME_NONE;
}
