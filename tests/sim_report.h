/* SPDX-License-Identifier: ISC */

/* What came of a run of budsim. */
#ifndef TESTS_SIM_REPORT_H
#define TESTS_SIM_REPORT_H

#include "tests/sim.h"

/** sim_report_sizes() - the sizes that were not given, by the workload or its trace */
void sim_report_sizes(struct sim *s);
/** sim_report_begin() - starts the stopwatch, opens the CSV; 0, or -1 and a line */
int sim_report_begin(struct sim *s);
void sim_report_sample(struct sim *s);
/** sim_report_end() - the line of results, and the plot; 0 or -1 */
int sim_report_end(struct sim *s);

#endif
