/* SPDX-License-Identifier: ISC */

/*
 * budsim: budd's core in virtual time, with a fake keeper that takes its time, and clients
 * that follow a workload. What happens next is the earliest of: an event in the heap, and
 * what the core itself has due; nothing is stepped through in between.
 *
 *	sim.c         the clock, the keeper, and a client's life: ask, wait, hold, give back
 *	sim_load.c    workloads: when a client asks, for how much, for how long
 *	sim_trace.c   one client that replays a trace
 *	sim_report.c  what came of it: a line, a CSV, a plot
 *	sim_options.c the command line
 */
#ifndef TESTS_SIM_H
#define TESTS_SIM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "tests/world.h"

#define SIM_WEIGHTS_MAX 16u

struct sim;
struct sim_client;
struct sim_workload;

struct sim_options {
	uint32_t clients;
	uint32_t users; /* that they belong to, in turn; 0: each to one of its own */
	double seconds; /* of virtual time */
	uint64_t seed;
	uint64_t host_wall, wall, base, add, headroom; /* bytes; 0: by the workload */
	const struct policy *policy;
	uint32_t weights[SIM_WEIGHTS_MAX]; /* of the clients, in turn */
	uint32_t nweights;
	double period_s, idle_s, tick_s; /* of the release pass */
	double pin_us_per_mib, pin_us;   /* the keeper's time */
	double answer_us;                /* a client's, from its turn to DONE */
	double hold; /* factor of the times for which buffers are held */
	bool peak_of_buffers;
	bool header;
	const char *workload;
	const char *trace; /* path, or NULL */
	const char *csv;   /* path, or NULL */
	const char *plot;  /* stem of paths, or NULL */
};

/* What a client asks for. */
struct sim_demand {
	uint64_t size_bytes;
	uint32_t count;
	int32_t timeout_ms;
	int64_t hold_ns;
};

enum sim_event_kind {
	SIM_WAKE, /* of a client: its pool is opened; its workload says what is next */
	SIM_GIVE, /* back a buffer */
	SIM_ANSWER, /* a turn */
	SIM_KEEPER, /* has done what it was asked */
	SIM_SAMPLE, /* of the figures */
};

struct sim_event {
	int64_t ns;
	uint64_t
	    serial; /* those of the same instant happen in the order of their making */
	struct sim_client *client;
	enum sim_event_kind kind;
	uint32_t frame; /* SIM_GIVE */
	uint32_t life;  /* of the client: an event of an earlier one is void */
};

struct sim_heap {
	struct sim_event *events;
	size_t n, room;
	uint64_t serial;
};

/* A request that waits. Tags are dense, so they are kept by the last bits of the tag. */
struct sim_wait {
	uint64_t tag; /* 0: none */
	int64_t since;
	int64_t hold_ns;
};

struct sim_client {
	struct world_pool *wp; /* NULL: not open */
	struct sim *sim;
	uint32_t number;
	uint32_t life;
	uint64_t random;
	struct sim_wait *waits; /* that of tag t is [t & (room - 1)] */
	uint32_t room;
	uint32_t waiting; /* asked, and neither used nor refused */
	/* For the workloads. */
	uint32_t phase;
	int64_t until;
	/* For the report. */
	double pinned_ns; /* bytes times ns, up to `accounted` */
	int64_t accounted;
	uint64_t pinned, used;
	int64_t released; /* when a block was released last; -1: never */
};

#define SIM_WAIT_BUCKETS 1024u

struct sim_figures {
	uint64_t requests; /* also those that the ledger alone served */
	uint64_t asked;    /* of budd */
	uint64_t served;   /* of those, and these waited: */
	double wait_ns;
	uint64_t waits[SIM_WAIT_BUCKETS]; /* by the logarithm of the time */
	uint64_t grants, queued, refused, timeouts, grown, released, regrown;
	uint64_t pressures;
	double pinned_ns; /* bytes times ns */
	uint64_t pinned, peak, used, used_peak;
	uint32_t waiting;
	uint64_t events;
};

struct sim {
	struct world world;
	struct sim_options options;
	const struct sim_workload *workload;
	struct sim_heap heap;
	struct sim_client *clients;
	struct sim_figures figures;
	struct sim_trace *trace;
	bool keeper_busy;
	int64_t start, end, accounted;
	int64_t sample_ns;
	FILE *csv;
};

/** sim_run() - a whole run, from options to the report; 0, or -1 and a line on stderr */
int sim_run(const struct sim_options *options);

/* For workloads. */

int64_t sim_now(const struct sim *s);
/** sim_wake() - let the client's workload be asked again after @ns */
void sim_wake(struct sim_client *c, int64_t ns);
/** sim_demand() - take a buffer, or ask for it; it is given back after it was held */
void sim_demand(struct sim_client *c, const struct sim_demand *d);
/** sim_open() - false: the core would not have it */
bool sim_open(struct sim_client *c);
/** sim_close() - the client leaves, with all that it holds */
void sim_close(struct sim_client *c);
/** sim_cancel_all() - what it waits for it does not want any more */
void sim_cancel_all(struct sim_client *c);
uint64_t sim_random(struct sim_client *c);
/** sim_uniform() - in [0, 1) */
double sim_uniform(struct sim_client *c);
/** sim_exponential() - with that mean */
double sim_exponential(struct sim_client *c, double mean);

#endif
