/* SPDX-License-Identifier: ISC */

/* The command line of budsim. */
#ifndef TESTS_SIM_OPTIONS_H
#define TESTS_SIM_OPTIONS_H

#include "tests/sim.h"

/** sim_options_read() - prints what is wrong, or the help, and exits */
void sim_options_read(struct sim_options *o, int argc, char **argv);

#endif
