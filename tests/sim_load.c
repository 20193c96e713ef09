/* SPDX-License-Identifier: ISC */

/*
 * Workloads. Sizes are log-uniform, as buffers of servers are: as many of 4 KiB as of 256.
 * An adversary is every tenth client; the others are steady, and show what it costs them.
 */
#include "tests/sim_load.h"

#include <math.h>
#include <string.h>

#define MIB ((uint64_t)1 << 20)

static int64_t
seconds(double s)
{
	return (int64_t)(s * (double)NS_PER_S);
}

/* From @from to @to, both powers of two, less a little: sizes are rarely powers of two. */
static uint64_t
log_uniform(struct sim_client *c, double from, double to)
{
	return (uint64_t)(from * pow(to / from, sim_uniform(c)));
}

static double
pareto(struct sim_client *c, double mean)
{
	double alpha = 1.5; /* heavy: no variance */

	return mean * (alpha - 1) / alpha / pow(1 - sim_uniform(c), 1 / alpha);
}

static void
demand(struct sim_client *c, uint64_t size_bytes, double hold_s, int32_t timeout_ms)
{
	struct sim_demand d = { size_bytes, 1, timeout_ms, seconds(hold_s) };

	sim_demand(c, &d);
}

/* --- Without malice --- */

/* Poisson: a buffer a second, each held for two. */
static void
steady_wake(struct sim_client *c)
{
	if (c->phase++ > 0)
		demand(c, log_uniform(c, 4096, 262144), sim_exponential(c, 2), 10000);
	sim_wake(c, seconds(sim_exponential(c, 1)));
}

/* Ten minutes of little, then half a minute of forty times as much. */
static void
burst_wake(struct sim_client *c)
{
	bool burst;

	if (c->until == 0)
		c->until = sim_now(c->sim) + seconds(630 * sim_uniform(c));
	burst = sim_now(c->sim) >= c->until;
	if (burst && sim_now(c->sim) >= c->until + seconds(30))
		c->until += seconds(630);
	if (c->phase++ > 0)
		demand(c, log_uniform(c, 4096, 262144), sim_exponential(c, 2), 10000);
	sim_wake(c, seconds(sim_exponential(c, burst ? 0.05 : 2)));
}

/* On and off, both Pareto, as sessions are; and so is the time for which buffers are held.
 */
static void
pareto_wake(struct sim_client *c)
{
	bool on = c->phase % 2 != 0;

	if (sim_now(c->sim) >= c->until) {
		on = c->until != 0 && !on;
		c->phase = on;
		c->until = sim_now(c->sim) + seconds(pareto(c, on ? 10 : 50));
	}
	if (!on) {
		sim_wake(c, c->until - sim_now(c->sim));
		return;
	}
	demand(c, log_uniform(c, 4096, (double)MIB), pareto(c, 2), 10000);
	sim_wake(c, seconds(sim_exponential(c, 0.1)));
}

/* --- With malice --- */

static bool
is_adversary(const struct sim_client *c)
{
	return c->number % 10 == 0;
}

/* Takes all it can get and waits for more, which cannot come. */
static void
hold_wake(struct sim_client *c)
{
	if (!is_adversary(c)) {
		steady_wake(c);
		return;
	}
	while (c->waiting < 4)
		demand(c, MIB, 300, 30000);
	sim_wake(c, seconds(1));
}

/* Comes, floods, cancels, and goes. */
static void
churn_wake(struct sim_client *c)
{
	if (!is_adversary(c)) {
		steady_wake(c);
		return;
	}
	if (c->phase++ < 20) {
		for (int i = 0; i < 8; i++)
			demand(c, log_uniform(c, 4096, 4.0 * (double)MIB),
			    sim_exponential(c, 0.5), -1);
		if (sim_uniform(c) < 0.3)
			sim_cancel_all(c);
	} else {
		c->phase = 0;
		sim_close(c); /* and opens again when it wakes */
	}
	sim_wake(c, seconds(sim_exponential(c, 0.5)));
}

/* Nothing less than the whole wall. */
static void
largest_wake(struct sim_client *c)
{
	if (!is_adversary(c)) {
		steady_wake(c);
		return;
	}
	if (c->waiting == 0)
		demand(c, c->wp->pool.limits.wall, sim_exponential(c, 5), 60000);
	sim_wake(c, seconds(sim_exponential(c, 10)));
}

/* Everybody wants more than there is: a chunk more at once whenever one came, each held for
 * a while; and of each eleven minutes a client rests for one, so that memory moves. */
static void
want_more(struct sim_client *c)
{
	while (c->waiting == 0)
		demand(c, CHUNK_SIZE, sim_exponential(c, 30), -1);
}

static void
saturated_wake(struct sim_client *c)
{
	int64_t now = sim_now(c->sim);

	if (c->until == 0)
		c->until = now + seconds(600 * sim_uniform(c));
	if (now < c->until) {
		want_more(c);
		sim_wake(c, seconds(5));
		return;
	}
	sim_cancel_all(c);
	c->until = now + seconds(660);
	sim_wake(c, seconds(60));
}

static const struct sim_workload workloads[] = {
	{ "steady", "Poisson, 4 to 256 KiB, a buffer a second held for two",
	    steady_wake, NULL, 0.25 },
	{ "burst", "a little, and for 30 s of each 630 forty times as much", burst_wake,
	    NULL, 0.25 },
	{ "pareto", "on and off, heavy-tailed, up to 1 MiB", pareto_wake, NULL, 0.25 },
	{ "hold", "a tenth holds what it gets and waits for more", hold_wake, NULL,
	    0.05 },
	{ "churn", "a tenth comes, floods, cancels and goes", churn_wake, NULL, 0.05 },
	{ "largest", "a tenth asks for its whole wall at once", largest_wake, NULL,
	    0.05 },
	{ "saturated", "all want more than there is", saturated_wake, want_more, 0.25 },
};

const struct sim_workload *
sim_workload_find(const char *name)
{
	for (size_t i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++)
		if (strcmp(workloads[i].name, name) == 0)
			return &workloads[i];
	return NULL;
}

void
sim_workload_list(FILE *f)
{
	for (size_t i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++)
		fprintf(f, "      %-10s %s\n", workloads[i].name, workloads[i].what);
}
