/* SPDX-License-Identifier: ISC */

/* What an operator has set for the host. */
#include "daemon/hostnote.h"

#include "daemon/arbiter.h"
#include "daemon/log.h"
#include "daemon/record.h"

#define TICK_MAX_NS (3600 * NS_PER_S)

void
hostnote_keep(struct arbiter *a, const struct core_params *params)
{
	uint32_t which = (atomic_load(&a->note->which) + 1) % 2;

	a->note->host[which] = (struct record_host){ .read_at = a->spec.read_at.ns,
		.wall = params->host_wall,
		.tick_ns = params->tick_ns,
		.release_ticks = params->release_ticks,
		.idle_ticks = params->idle_ticks,
		.overtaken_max = params->overtaken_max,
		.user_pools = params->user_pools,
		.user_requests = params->user_requests,
		.user_wall = params->user_wall };
	atomic_store(&a->note->which, which);
}

static bool
is_sound(const struct arbiter *a, const struct record_host *h)
{
	return h->wall > 0 && h->wall <= a->spec.host_wall && h->tick_ns >= NS_PER_MS &&
	       h->tick_ns <= TICK_MAX_NS && h->release_ticks > 0;
}

void
hostnote_apply(const struct arbiter *a, struct core_params *params)
{
	const struct record_host *h = &a->note->host[atomic_load(&a->note->which) % 2];

	if (h->read_at != a->spec.read_at.ns || !is_sound(a, h))
		return;
	params->host_wall = h->wall;
	params->tick_ns = h->tick_ns;
	params->release_ticks = h->release_ticks;
	params->idle_ticks = h->idle_ticks;
	params->overtaken_max = h->overtaken_max;
	params->user_pools = h->user_pools;
	params->user_requests = h->user_requests;
	params->user_wall = h->user_wall;
	log_info("arbiter", "what was set for the host is in force again");
}
