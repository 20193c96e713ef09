/* SPDX-License-Identifier: ISC */

/* Replay of a demand trace by one client. tests/traces/README.md has the demand model. */
#ifndef TESTS_SIM_TRACE_H
#define TESTS_SIM_TRACE_H

#include "tests/sim.h"

struct sim_arrival {
	int64_t ns; /* since the first */
	int64_t hold_ns;
	uint64_t size_bytes;
};

struct sim_trace {
	struct sim_arrival *arrivals;
	size_t n, next;
	uint64_t peak;         /* of the demand as it is, bytes */
	uint64_t peak_buffers; /* as it is rounded to buffers */
	double mean;           /* of the demand as it is */
	int64_t span_ns;       /* to the end of the last hold */
};

/** sim_trace_read() - from a CSV, "-" for stdin, or through gzip if the name ends in .gz
 * Return: 0, or -1 and a line on stderr */
int sim_trace_read(struct sim_trace *t, const char *path);
void sim_trace_fini(struct sim_trace *t);
/** sim_trace_figures() - a line of its own for the report */
void sim_trace_figures(const struct sim_trace *t, FILE *f);

#endif
