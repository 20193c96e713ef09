/* SPDX-License-Identifier: ISC */

/* budsim: see sim.h. */
#include <stdlib.h>

#include "tests/sim.h"
#include "tests/sim_options.h"

int
main(int argc, char **argv)
{
	struct sim_options options;

	sim_options_read(&options, argc, argv);
	return sim_run(&options) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
