/* SPDX-License-Identifier: ISC */

/* The audit of the pins. Part of the core. */
#include "daemon/audit.h"

#include "daemon/core.h"

int64_t
audit_period_ns(int64_t release_ns)
{
	return release_ns < NS_PER_S ? NS_PER_S : release_ns;
}

/* The prefix may have moved since the last slice. */
static struct chunk_range
next_slice(const struct pool *p)
{
	struct chunk_range r = { p->audited, p->pinned };

	if (r.from > r.to)
		r.from = r.to;
	if (r.to - r.from > heap_kind_slice(p->limits.heap))
		r.to = r.from + heap_kind_slice(p->limits.heap);
	return r;
}

static void
go_to(struct core *c, struct pool *p)
{
	c->auditing = p;
	if (p != NULL)
		p->audited = p->audit_pages = 0;
}

static void
end_pool(struct core *c, struct pool *p)
{
	p->record->audit.passes++;
	go_to(c, TAILQ_NEXT(p, entry));
}

/* The keeper is asked for the next slice that there is, of this pool or a later one. */
static void
ask(struct core *c)
{
	struct chunk_range r;
	struct pool *p;

	while ((p = c->auditing) != NULL) {
		r = next_slice(p);
		if (r.from < r.to) {
			p->audited = r.to;
			c->ops->audit(c->ctx, p, r);
			return;
		}
		end_pool(c, p);
	}
}

void
audit_start(struct core *c)
{
	if (c->auditing != NULL)
		return;
	go_to(c, TAILQ_FIRST(&c->pools));
	ask(c);
}

void
audit_forget(struct core *c, struct pool *p)
{
	if (c->auditing != p)
		return;
	go_to(c, TAILQ_NEXT(p, entry)); /* the answer about @p comes to nobody */
	ask(c);
}

uint64_t
core_audited(struct core *c, struct pool *p, const struct audit_found *found, int error)
{
	struct record_audit *sum = &p->record->audit;
	uint64_t pages = 0;

	sum->holes += found->holes;
	sum->unlocked += found->unlocked;
	sum->failed += error != 0;
	if (c->auditing != p)
		return 0;
	p->audit_pages += found->holes + found->unlocked;
	if (p->audited >= p->pinned)
		pages = p->audit_pages;
	ask(c);
	return pages;
}
