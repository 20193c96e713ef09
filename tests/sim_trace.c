/* SPDX-License-Identifier: ISC */

/* Replay of a demand trace. */
#include "tests/sim_trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim_load.h"

#define LINE_SIZE 256

/* A row's model: which trace it is shows in its header. */
struct model {
	const char *header;
	void (*demand)(struct sim_arrival *a, const uint64_t columns[3]);
};

/* 4 KiB per prompt token, held for 0.2 s and 20 ms per output token. */
static void
azure_demand(struct sim_arrival *a, const uint64_t columns[3])
{
	a->ns = (int64_t)columns[0] * NS_PER_MS;
	a->size_bytes = columns[1] * 4096;
	a->hold_ns = (200 + 20 * (int64_t)columns[2]) * NS_PER_MS;
}

/* Time 40 times as fast; held for as long as 50 KB/s take, within bounds; 1 MiB at most. */
static void
web_demand(struct sim_arrival *a, const uint64_t columns[3])
{
	double hold_s = (double)columns[1] / 50e3;

	hold_s = hold_s < 0.2 ? 0.2 : hold_s > 60 ? 60 : hold_s;
	a->ns = (int64_t)columns[0] * NS_PER_MS / 40;
	a->size_bytes = columns[1] < 1048576 ? columns[1] : 1048576;
	a->hold_ns = (int64_t)(hold_s * (double)NS_PER_S);
}

static const struct model models[] = {
	{ "t_ms,context_tokens,generated_tokens", azure_demand },
	{ "t_ms,bytes,peer", web_demand },
};

static const struct model *
model_of(char *header)
{
	header[strcspn(header, "\r\n")] = '\0';
	for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++)
		if (strcmp(models[i].header, header) == 0)
			return &models[i];
	return NULL;
}

static bool
read_columns(const char *line, uint64_t columns[3])
{
	char *end;

	for (int i = 0; i < 3; i++) {
		errno = 0;
		columns[i] = strtoull(line, &end, 10);
		if (end == line || errno != 0 || (i < 2 && *end != ','))
			return false;
		line = end + 1;
	}
	return columns[0] < INT64_MAX / NS_PER_MS && columns[1] < UINT64_C(1) << 40 &&
	       columns[2] < UINT64_C(1) << 40;
}

static int
read_rows(struct sim_trace *t, FILE *f)
{
	const struct model *m;
	uint64_t columns[3];
	char line[LINE_SIZE];

	if (fgets(line, sizeof(line), f) == NULL || (m = model_of(line)) == NULL)
		return -1;
	while (fgets(line, sizeof(line), f) != NULL) {
		if (!read_columns(line, columns))
			return -1;
		if ((t->n & (t->n - 1)) == 0) /* a power of two: it is full */
			t->arrivals = reallocarray(t->arrivals,
			    t->n == 0 ? 1 : 2 * t->n, sizeof(t->arrivals[0]));
		m->demand(&t->arrivals[t->n], columns);
		if (t->arrivals[t->n].size_bytes == 0)
			t->arrivals[t->n].size_bytes = 1;
		t->n++;
	}
	return ferror(f) || t->n == 0 ? -1 : 0;
}

/* --- The fluid demand: what would be held if nobody ever waited --- */

struct change {
	int64_t ns;
	int64_t bytes, buffer_bytes;
};

static int
compare_changes(const void *va, const void *vb)
{
	const struct change *a = va, *b = vb;

	if (a->ns != b->ns)
		return a->ns < b->ns ? -1 : 1;
	return a->bytes < b->bytes ? -1
				   : a->bytes > b->bytes; /* what goes goes first */
}

static void
find_peaks(struct sim_trace *t)
{
	struct change *changes = calloc(2 * t->n, sizeof(*changes));
	int64_t bytes = 0, buffer_bytes = 0;

	for (size_t i = 0; i < t->n; i++) {
		const struct sim_arrival *a = &t->arrivals[i];
		int64_t size = (int64_t)a->size_bytes;
		int64_t buffer = (int64_t)(FRAME_SIZE << ledger_order(a->size_bytes));

		changes[2 * i] = (struct change){ a->ns, size, buffer };
		changes[2 * i + 1] =
		    (struct change){ a->ns + a->hold_ns, -size, -buffer };
		t->mean += (double)size * (double)a->hold_ns;
		if (a->ns + a->hold_ns > t->span_ns)
			t->span_ns = a->ns + a->hold_ns;
	}
	qsort(changes, 2 * t->n, sizeof(*changes), compare_changes);
	for (size_t i = 0; i < 2 * t->n; i++) {
		bytes += changes[i].bytes;
		buffer_bytes += changes[i].buffer_bytes;
		if (bytes > (int64_t)t->peak)
			t->peak = (uint64_t)bytes;
		if (buffer_bytes > (int64_t)t->peak_buffers)
			t->peak_buffers = (uint64_t)buffer_bytes;
	}
	t->mean /= (double)t->span_ns;
	free(changes);
}

static bool
ends_in_gz(const char *path)
{
	size_t n = strlen(path);

	return n > 3 && strcmp(path + n - 3, ".gz") == 0;
}

/* gzip gets the file as its input, so that no shell sees the name. */
static FILE *
open_gz(const char *path)
{
	FILE *f;

	if (setenv("BUDSIM_TRACE", path, 1) != 0)
		return NULL;
	f = popen("exec gzip -dc <\"$BUDSIM_TRACE\"", "r");
	return f;
}

int
sim_trace_read(struct sim_trace *t, const char *path)
{
	bool gz = ends_in_gz(path), is_stdin = strcmp(path, "-") == 0;
	FILE *f = gz ? open_gz(path) : is_stdin ? stdin : fopen(path, "r");
	int r;

	*t = (struct sim_trace){ 0 };
	if (f == NULL) {
		fprintf(stderr, "budsim: %s: %s\n", path, strerror(errno));
		return -1;
	}
	r = read_rows(t, f);
	if (gz)
		r |= pclose(f) != 0 ? -1 : 0;
	else if (!is_stdin)
		fclose(f);
	if (r != 0) {
		fprintf(stderr, "budsim: %s: no trace that it knows, row %zu\n", path,
		    t->n + 2);
		return -1;
	}
	find_peaks(t);
	return 0;
}

void
sim_trace_fini(struct sim_trace *t)
{
	free(t->arrivals);
}

void
sim_trace_figures(const struct sim_trace *t, FILE *f)
{
	fprintf(f,
	    "# trace: %zu arrivals in %.0f s; demand peak %.1f MiB, in buffers %.1f "
	    "MiB, "
	    "mean %.1f MiB, peak/mean %.1f\n",
	    t->n, (double)t->arrivals[t->n - 1].ns / 1e9, (double)t->peak / 1048576,
	    (double)t->peak_buffers / 1048576, t->mean / 1048576,
	    (double)t->peak / t->mean);
}

/* --- The client --- */

static void
trace_wake(struct sim_client *c)
{
	struct sim_trace *t = c->sim->trace;
	int64_t since = sim_now(c->sim) - c->sim->start;

	while (t->next < t->n && t->arrivals[t->next].ns <= since) {
		const struct sim_arrival *a = &t->arrivals[t->next++];
		struct sim_demand d = { a->size_bytes, 1, -1, a->hold_ns };

		sim_demand(c, &d);
	}
	if (t->next < t->n)
		sim_wake(c, t->arrivals[t->next].ns - since);
}

const struct sim_workload sim_workload_trace = {
	.name = "trace",
	.what = "one client replays a file",
	.wake = trace_wake,
	.host_part = 2,
};
