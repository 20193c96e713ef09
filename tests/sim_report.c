/* SPDX-License-Identifier: ISC */

/* What came of a run: sizes before it, a line, a CSV and a plot after it. */
#include "tests/sim_report.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/sim_load.h"
#include "tests/sim_trace.h"

#define MIB     ((uint64_t)1 << 20)
#define SAMPLES 2000

static struct timespec stopwatch;

static uint64_t
whole_chunks(uint64_t bytes)
{
	return (bytes + CHUNK_SIZE - 1) / CHUNK_SIZE * CHUNK_SIZE;
}

static uint64_t
peak_of_trace(const struct sim_options *o, const struct sim_trace *t)
{
	return o->peak_of_buffers ? t->peak_buffers : t->peak;
}

/* The wall is the peak, in sixteen blocks, of which the base is one. */
static void
sizes_of_trace(struct sim_options *o, const struct sim_trace *t)
{
	uint64_t block = whole_chunks((peak_of_trace(o, t) + 15) / 16);

	o->clients = 1;
	o->wall = o->wall != 0 ? o->wall : 16 * block;
	o->base = o->base != 0 ? o->base : block;
	o->add = o->add != 0 ? o->add : block;
	if (o->seconds <= 0)
		o->seconds = (double)t->span_ns / 1e9;
}

void
sim_report_sizes(struct sim *s)
{
	struct sim_options *o = &s->options;
	double all;

	if (s->trace != NULL)
		sizes_of_trace(o, s->trace);
	if (o->seconds <= 0)
		o->seconds = 3600;
	o->wall = whole_chunks(o->wall != 0 ? o->wall : 64 * MIB);
	o->base = whole_chunks(o->base != 0 ? o->base : MIB);
	if (o->add == 0)
		o->add = o->wall / 16 > MIB ? o->wall / 16 : MIB;
	o->add = whole_chunks(o->add);
	all = (double)o->wall * o->clients * s->workload->host_part;
	if (all < 1.5 * (double)o->base * o->clients)
		all = 1.5 * (double)o->base * o->clients;
	if (o->host_wall == 0)
		o->host_wall = (uint64_t)all;
	if (o->csv != NULL || o->plot != NULL)
		s->sample_ns = (int64_t)(o->seconds * 1e9 / SAMPLES);
}

static FILE *
open_for_writing(const char *path)
{
	FILE *f = fopen(path, "w");

	if (f == NULL)
		fprintf(stderr, "budsim: %s: %s\n", path, strerror(errno));
	return f;
}

int
sim_report_begin(struct sim *s)
{
	char path[4096];

	(void)clock_gettime(CLOCK_MONOTONIC, &stopwatch);
	if (s->sample_ns == 0)
		return 0;
	snprintf(
	    path, sizeof(path), "%s", s->options.csv != NULL ? s->options.csv : "");
	if (s->options.csv == NULL)
		snprintf(path, sizeof(path), "%s.csv", s->options.plot);
	if ((s->csv = open_for_writing(path)) == NULL)
		return -1;
	fprintf(s->csv, "t_s,pinned,used,waiting\n");
	return 0;
}

void
sim_report_sample(struct sim *s)
{
	const struct sim_figures *f = &s->figures;

	fprintf(s->csv, "%.3f,%" PRIu64 ",%" PRIu64 ",%" PRIu32 "\n",
	    (double)(sim_now(s) - s->start) / 1e9, f->pinned, f->used, f->waiting);
}

/* --- The plot --- */

static void
write_script(FILE *f, const struct sim *s)
{
	const char *stem = s->options.plot;
	char csv[4096];

	snprintf(csv, sizeof(csv), "%s.csv", stem);
	fprintf(f,
	    "# gnuplot %s.gp\n"
	    "set terminal pngcairo size 1200,600\n"
	    "set output '%s.png'\n"
	    "set datafile separator ','\n"
	    "set title 'budsim: %s, %" PRIu32 " clients, policy %s'\n"
	    "set xlabel 'virtual time, s'\n"
	    "set ylabel 'MiB'\n"
	    "set y2label 'requests waiting'\n"
	    "set ytics nomirror\n"
	    "set y2tics\n"
	    "set yrange [0:*]\n"
	    "set y2range [0:*]\n"
	    "set key top left\n"
	    "plot '%s' skip 1 using 1:($2/1048576) with steps title 'pinned', \\\n"
	    "     '' skip 1 using 1:($3/1048576) with steps title 'used', \\\n"
	    "     '' skip 1 using 1:4 axes x1y2 with impulses title 'waiting'\n",
	    stem, stem, s->workload->name, s->options.clients, s->options.policy->name,
	    s->options.csv != NULL ? s->options.csv : csv);
}

static int
plot(const struct sim *s)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s.gp", s->options.plot);
	if ((f = open_for_writing(path)) == NULL)
		return -1;
	write_script(f, s);
	if (fclose(f) != 0)
		return -1;
	/* As with gzip: no shell reads the name. */
	if (setenv("BUDSIM_PLOT", path, 1) != 0 ||
	    system("command -v gnuplot >/dev/null && gnuplot \"$BUDSIM_PLOT\"") != 0)
		fprintf(stderr, "budsim: no picture; try: gnuplot %s\n", path);
	return 0;
}

/* --- The line --- */

static double
percentile_ms(const struct sim_figures *f, double part)
{
	uint64_t below = 0, most = (uint64_t)ceil(part * (double)f->served);
	unsigned int i;

	if (f->served == 0)
		return 0;
	for (i = 0; i < SIM_WAIT_BUCKETS - 1; i++)
		if ((below += f->waits[i]) >= most)
			break;
	return (exp2((i + 1) / 16.0) - 1) / 1000;
}

/* Of what each had pinned on average, for its weight. */
static double
jain(const struct sim *s)
{
	double sum = 0, squares = 0, x;

	for (uint32_t i = 0; i < s->options.clients; i++) {
		x = s->clients[i].pinned_ns /
		    s->options.weights[i % s->options.nweights];
		sum += x;
		squares += x * x;
	}
	return squares > 0 ? sum * sum / (s->options.clients * squares) : 1;
}

static double
seconds_since_begin(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - stopwatch.tv_sec) +
	       (double)(now.tv_nsec - stopwatch.tv_nsec) / 1e9;
}

static const char header[] =
    "# workload clients policy virtual_s wall_s requests asked grants queued refused "
    "timeouts "
    "wait_mean_ms wait_p99_ms growths releases regrowths pressure avg_MiB peak_MiB "
    "avg/fixed jain\n";

/* What they would pin without bud: each an area as large as its wall, or as the peak of the
 * trace. */
static double
fixed_areas(const struct sim *s)
{
	if (s->trace != NULL)
		return (double)peak_of_trace(&s->options, s->trace);
	return (double)s->options.wall * s->options.clients;
}

/* Waits are of those that asked budd. */
static void
print_line(const struct sim *s)
{
	const struct sim_options *o = &s->options;
	const struct sim_figures *f = &s->figures;
	double average = f->pinned_ns / (double)(s->end - s->start);

	printf("%-9s %5" PRIu32 " %-7s %6.0f %6.2f %9" PRIu64 " %8" PRIu64 " %8" PRIu64
	       " %7" PRIu64 " %6" PRIu64 " %6" PRIu64,
	    s->workload->name, o->clients, o->policy->name, o->seconds,
	    seconds_since_begin(), f->requests, f->asked, f->grants, f->queued,
	    f->refused, f->timeouts);
	printf(" %9.3f %9.3f %7" PRIu64 " %7" PRIu64 " %6" PRIu64 " %6" PRIu64
	       " %8.1f %8.1f %6.3f %.4f\n",
	    f->served > 0 ? f->wait_ns / (double)f->served / 1e6 : 0,
	    percentile_ms(f, 0.99), f->grown, f->released, f->regrown, f->pressures,
	    average / (double)MIB, (double)f->peak / (double)MIB,
	    average / fixed_areas(s), jain(s));
}

int
sim_report_end(struct sim *s)
{
	int r = 0;

	if (s->csv != NULL && fclose(s->csv) != 0)
		r = -1;
	if (s->options.header) {
		if (s->trace != NULL)
			sim_trace_figures(s->trace, stdout);
		fputs(header, stdout);
	}
	print_line(s);
	if (s->options.plot != NULL && plot(s) != 0)
		r = -1;
	return r;
}
