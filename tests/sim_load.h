/* SPDX-License-Identifier: ISC */

/* Workloads: what the clients of budsim do. */
#ifndef TESTS_SIM_LOAD_H
#define TESTS_SIM_LOAD_H

#include "tests/sim.h"

struct sim_workload {
	const char *name;
	const char *what;
	/* The client's pool is open; or it was woken, as it asked to be. */
	void (*wake)(struct sim_client *c);
	/* A request of its was served; NULL: it does not care. */
	void (*served)(struct sim_client *c);
	double host_part; /* of all walls together: the host's wall by default */
};

/** sim_workload_find() - by name; NULL: there is none */
const struct sim_workload *sim_workload_find(const char *name);
/** sim_workload_list() - their names and what they are, for --help */
void sim_workload_list(FILE *f);

extern const struct sim_workload sim_workload_trace;

#endif
