/* SPDX-License-Identifier: ISC */

/* The command line of budsim. */
#include "tests/sim_options.h"

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim_load.h"

#define CLIENTS_MAX 10000u

static const char usage[] =
    "usage: budsim [options]\n"
    "Runs budd's core in virtual time and prints one line of results.\n"
    "  --workload NAME     one of those below, or trace:FILE (CSV; .gz through gzip;\n"
    "                      - is stdin). Default: steady\n"
    "  --clients N         1 to 10000, default 1000\n"
    "  --users N           that they belong to in turn; default: each is its own\n"
    "  --weights 1:2:4     of the clients in turn\n"
    "  --hours H, --seconds S   of virtual time; default 1 h, or the whole trace\n"
    "  --seed N            default 1\n"
    "  --host-wall SIZE    default: a part of all walls, by the workload\n"
    "  --wall, --base, --add, --headroom SIZE   of a pool: 64M, 1M, wall/16, 0; with "
    "a\n"
    "                      trace its peak, and a sixteenth of it each\n"
    "  --peak raw|buffers  of the trace: as it is, or as rounded to buffers\n"
    "  --policy NAME       fixed, several or growing\n"
    "  --period S, --idle S, --tick S   of the release pass: 60, 300, 0.5\n"
    "  --pin-us US, --pin-us-per-mib US   the keeper's time: 20 a slice, 300\n"
    "  --answer-us US      a client's, from its turn to DONE: 20\n"
    "  --hold FACTOR       of the times for which buffers are held: 1\n"
    "  --csv FILE          pinned, used, waiting over virtual time\n"
    "  --plot STEM         STEM.csv and STEM.gp; STEM.png if gnuplot is there\n"
    "  --header            say what the columns are\n"
    "  --help\n"
    "workloads:\n";

enum option_key {
	OPT_WORKLOAD,
	OPT_CLIENTS,
	OPT_USERS,
	OPT_WEIGHTS,
	OPT_HOURS,
	OPT_SECONDS,
	OPT_SEED,
	OPT_HOST_WALL,
	OPT_WALL,
	OPT_BASE,
	OPT_ADD,
	OPT_HEADROOM,
	OPT_PEAK,
	OPT_POLICY,
	OPT_PERIOD,
	OPT_IDLE,
	OPT_TICK,
	OPT_PIN_US,
	OPT_PIN_US_PER_MIB,
	OPT_ANSWER_US,
	OPT_HOLD,
	OPT_CSV,
	OPT_PLOT,
	OPT_HEADER,
	OPT_HELP,
};

static const struct option long_options[] = {
	{ "workload", required_argument, NULL, OPT_WORKLOAD },
	{ "clients", required_argument, NULL, OPT_CLIENTS },
	{ "users", required_argument, NULL, OPT_USERS },
	{ "weights", required_argument, NULL, OPT_WEIGHTS },
	{ "hours", required_argument, NULL, OPT_HOURS },
	{ "seconds", required_argument, NULL, OPT_SECONDS },
	{ "seed", required_argument, NULL, OPT_SEED },
	{ "host-wall", required_argument, NULL, OPT_HOST_WALL },
	{ "wall", required_argument, NULL, OPT_WALL },
	{ "base", required_argument, NULL, OPT_BASE },
	{ "add", required_argument, NULL, OPT_ADD },
	{ "headroom", required_argument, NULL, OPT_HEADROOM },
	{ "peak", required_argument, NULL, OPT_PEAK },
	{ "policy", required_argument, NULL, OPT_POLICY },
	{ "period", required_argument, NULL, OPT_PERIOD },
	{ "idle", required_argument, NULL, OPT_IDLE },
	{ "tick", required_argument, NULL, OPT_TICK },
	{ "pin-us", required_argument, NULL, OPT_PIN_US },
	{ "pin-us-per-mib", required_argument, NULL, OPT_PIN_US_PER_MIB },
	{ "answer-us", required_argument, NULL, OPT_ANSWER_US },
	{ "hold", required_argument, NULL, OPT_HOLD },
	{ "csv", required_argument, NULL, OPT_CSV },
	{ "plot", required_argument, NULL, OPT_PLOT },
	{ "header", no_argument, NULL, OPT_HEADER },
	{ "help", no_argument, NULL, OPT_HELP },
	{ NULL, 0, NULL, 0 },
};

static double
number(const char *text, double least, double most)
{
	char *end;
	double x;

	errno = 0;
	x = strtod(text, &end);
	if (end == text || *end != '\0' || errno != 0 || !(x >= least && x <= most))
		errx(2, "%s: not a number from %g to %g", text, least, most);
	return x;
}

static uint64_t
size(const char *text)
{
	static const char units[] = "KMGT";
	const char *unit;
	char *end;
	double x;

	errno = 0;
	x = strtod(text, &end);
	if (end != text && *end != '\0' && end[1] == '\0' &&
	    (unit = strchr(units, *end)) != NULL) {
		x *= (double)((uint64_t)1 << 10 * (unit - units + 1));
		end++;
	}
	if (end == text || *end != '\0' || errno != 0 || !(x >= 1 && x <= 0x1p50))
		errx(2, "%s: not a size, such as 64M", text);
	return (uint64_t)x;
}

static void
read_weights(struct sim_options *o, const char *text)
{
	char *end = NULL;

	o->nweights = 0;
	do {
		unsigned long weight = strtoul(text, &end, 10);

		if (end == text || weight < 1 || weight > 1000 ||
		    o->nweights == SIM_WEIGHTS_MAX)
			errx(2, "%s: not weights, such as 1:2:4", text);
		o->weights[o->nweights++] = (uint32_t)weight;
		text = end + 1;
	} while (*end == ':');
	if (*end != '\0')
		errx(2, "%s: not weights, such as 1:2:4", end);
}

static void
read_workload(struct sim_options *o, const char *text)
{
	o->workload = text;
	if (strncmp(text, "trace:", 6) == 0)
		o->trace = text + 6;
	else if (sim_workload_find(text) == NULL)
		errx(2, "%s: no such workload; see --help", text);
}

static void
read_peak(struct sim_options *o, const char *text)
{
	o->peak_of_buffers = strcmp(text, "buffers") == 0;
	if (!o->peak_of_buffers && strcmp(text, "raw") != 0)
		errx(2, "%s: neither raw nor buffers", text);
}

static void
help(void)
{
	fputs(usage, stdout);
	sim_workload_list(stdout);
	exit(0);
}

static void
read_text(struct sim_options *o, int key, const char *text)
{
	switch (key) {
	case OPT_WORKLOAD:
		read_workload(o, text);
		break;
	case OPT_WEIGHTS:
		read_weights(o, text);
		break;
	case OPT_PEAK:
		read_peak(o, text);
		break;
	case OPT_POLICY:
		if ((o->policy = policy_find(text)) == NULL)
			errx(2, "%s: none of %s", text, policy_names());
		break;
	case OPT_CSV:
		o->csv = text;
		break;
	case OPT_PLOT:
		o->plot = text;
		break;
	case OPT_HEADER:
		o->header = true;
		break;
	case OPT_HELP:
		help();
		break;
	default:
		fputs(usage, stderr);
		sim_workload_list(stderr);
		exit(2);
	}
}

/* Where a number or size goes; NULL: it is no such option. */
static uint64_t *
size_of_option(struct sim_options *o, int key)
{
	switch (key) {
	case OPT_HOST_WALL:
		return &o->host_wall;
	case OPT_WALL:
		return &o->wall;
	case OPT_BASE:
		return &o->base;
	case OPT_ADD:
		return &o->add;
	case OPT_HEADROOM:
		return &o->headroom;
	default:
		return NULL;
	}
}

static double *
number_of_option(struct sim_options *o, int key)
{
	switch (key) {
	case OPT_HOURS:
	case OPT_SECONDS:
		return &o->seconds;
	case OPT_PERIOD:
		return &o->period_s;
	case OPT_IDLE:
		return &o->idle_s;
	case OPT_TICK:
		return &o->tick_s;
	case OPT_PIN_US:
		return &o->pin_us;
	case OPT_PIN_US_PER_MIB:
		return &o->pin_us_per_mib;
	case OPT_ANSWER_US:
		return &o->answer_us;
	case OPT_HOLD:
		return &o->hold;
	default:
		return NULL;
	}
}

static void
read_option(struct sim_options *o, int key, const char *text)
{
	if (size_of_option(o, key) != NULL)
		*size_of_option(o, key) = size(text);
	else if (number_of_option(o, key) != NULL)
		*number_of_option(o, key) =
		    number(text, key == OPT_TICK ? 0.001 : 0, 1e7) *
		    (key == OPT_HOURS ? 3600 : 1);
	else if (key == OPT_CLIENTS)
		o->clients = (uint32_t)number(text, 1, CLIENTS_MAX);
	else if (key == OPT_USERS)
		o->users = (uint32_t)number(text, 0, CLIENTS_MAX);
	else if (key == OPT_SEED)
		o->seed = (uint64_t)number(text, 0, 0x1p53);
	else
		read_text(o, key, text);
}

void
sim_options_read(struct sim_options *o, int argc, char **argv)
{
	int key;

	*o = (struct sim_options){ .clients = 1000,
		.seed = 1,
		.policy = &policy_fixed,
		.weights = { 1 },
		.nweights = 1,
		.period_s = 60,
		.idle_s = 300,
		.tick_s = 0.5,
		.pin_us_per_mib = 300,
		.pin_us = 20,
		.answer_us = 20,
		.hold = 1,
		.workload = "steady" };
	while ((key = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		read_option(o, key, optarg);
	if (optind != argc)
		errx(2, "%s: what is that?", argv[optind]);
}
