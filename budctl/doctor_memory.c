/* SPDX-License-Identifier: ISC */

/* How much may be locked, and what pages there are. Of a budd that answers, its own limits
 * are looked at; else those of whoever asks, who might start one. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "budctl/doctor.h"
#include "budctl/fields.h"
#include "budctl/human.h"
#include "daemon/largepages.h"

#define PATH_BYTES   512
#define CAP_IPC_LOCK 14
#define UNLIMITED    UINT64_MAX
#define SMALL        ((uint64_t)64 << 20) /* the wall of a pool, if nobody says otherwise */

/* --- Of budd, or of us --- */

static const char *
proc(const struct doctor *d, const char *name, char *path, size_t size)
{
	if (d->status != NULL)
		snprintf(path, size, "/proc/%" PRIu64 "/%s",
		    field_number(d->status, "pid"), name);
	else
		snprintf(path, size, "/proc/self/%s", name);
	return path;
}

static const char *
whose(const struct doctor *d)
{
	return d->status != NULL ? "budd" : "a budd of this user";
}

static uint64_t
wall_of(const struct doctor *d)
{
	return field_number(
	    cJSON_GetObjectItemCaseSensitive(d->status, "host"), "wall");
}

static bool
may_lock_all(const struct doctor *d)
{
	char path[PATH_BYTES];
	uint64_t caps = 0;

	return doctor_number(
		   proc(d, "status", path, sizeof(path)), "CapEff:", 16, &caps) &&
	       (caps >> CAP_IPC_LOCK & 1) != 0;
}

/* @key: a line of /proc/PID/limits */
static uint64_t
limit_of(const struct doctor *d, const char *key)
{
	char path[PATH_BYTES];
	uint64_t limit;

	return doctor_number(proc(d, "limits", path, sizeof(path)), key, 10, &limit)
		   ? limit
		   : UNLIMITED;
}

/* Of a budd in another container, there is no such process here. */
static bool
can_look(const struct doctor *d)
{
	char path[PATH_BYTES];

	return access(proc(d, "limits", path, sizeof(path)), R_OK) == 0;
}

static void
find_memlock(struct doctor *d)
{
	uint64_t limit = limit_of(d, "Max locked memory"), wall = wall_of(d);

	if (may_lock_all(d))
		doctor_find(d, "memlock", VERDICT_OK, NULL,
		    "%s has CAP_IPC_LOCK: no limit", whose(d));
	else if (limit == UNLIMITED)
		doctor_find(
		    d, "memlock", VERDICT_OK, NULL, "no limit for %s", whose(d));
	else
		doctor_find(d, "memlock",
		    limit < wall                 ? VERDICT_FAULT
		    : wall == 0 && limit < SMALL ? VERDICT_WARNING
						 : VERDICT_OK,
		    "run budd with CAP_IPC_LOCK (as its service does), or raise the "
		    "limit: "
		    "ulimit -l, LimitMEMLOCK= in its unit",
		    "%s may lock %s%s%s", whose(d), human_size(limit).text,
		    wall > 0 ? ", and its wall is " : "",
		    wall > 0 ? human_size(wall).text : "");
}

static void
find_descriptors(struct doctor *d)
{
	uint64_t limit = limit_of(d, "Max open files"),
		 clients =
		     field_number(cJSON_GetObjectItemCaseSensitive(d->status, "host"),
			 "clients_max");

	if (d->status == NULL || limit == UNLIMITED)
		return;
	doctor_find(d, "descriptors",
	    limit / 4 < clients ? VERDICT_WARNING : VERDICT_OK,
	    "LimitNOFILE= in its unit: four for each client; or a smaller clients_max",
	    "budd may open %" PRIu64 " files, for clients_max = %" PRIu64, limit,
	    clients);
}

/* --- The host --- */

static uint64_t
meminfo(const char *key)
{
	uint64_t kib = 0;

	doctor_number("/proc/meminfo", key, 10, &kib);
	return kib * 1024;
}

static void
find_memory(struct doctor *d)
{
	uint64_t total = meminfo("MemTotal:"), there = meminfo("MemAvailable:"),
		 wall = wall_of(d),
		 pinned = field_number(
		     cJSON_GetObjectItemCaseSensitive(d->status, "host"), "pinned"),
		 left = wall > pinned ? wall - pinned : 0;

	if (wall > total / 10 * 9)
		doctor_find(d, "memory", VERDICT_FAULT,
		    "budctl set host wall=SIZE, and wall in [host] of budd.conf: leave "
		    "the "
		    "rest of the host something",
		    "the host's wall is %s of %s of memory", human_size(wall).text,
		    human_size(total).text);
	else if (d->status == NULL)
		doctor_find(d, "memory", VERDICT_OK, NULL, "%s available of %s",
		    human_size(there).text, human_size(total).text);
	else
		doctor_find(d, "memory", left > there ? VERDICT_WARNING : VERDICT_OK,
		    "the host's wall cannot be reached: lower it, or free memory",
		    "%s available of %s; up to the host's wall budd would pin %s more",
		    human_size(there).text, human_size(total).text,
		    human_size(left).text);
}

static void
find_swap(struct doctor *d)
{
	uint64_t total = meminfo("SwapTotal:"), there = meminfo("SwapFree:");

	if (total == 0)
		doctor_find(d, "swap", VERDICT_OK, NULL, "none");
	else
		doctor_find(d, "swap",
		    there < total / 10 ? VERDICT_WARNING : VERDICT_OK,
		    "the host is short of memory: more of it, or a smaller wall",
		    "%s free of %s; what is pinned never goes there",
		    human_size(there).text, human_size(total).text);
}

/* --- The memory cgroup --- */

/* The lines are "0::/path" of v2, and "4:memory:/path" of v1, which has the controller where
 * both are there. */
static bool
find_group(const struct doctor *d, char *file, size_t size)
{
	char path[PATH_BYTES], line[PATH_BYTES], v2[PATH_BYTES] = "";
	FILE *f = fopen(proc(d, "cgroup", path, sizeof(path)), "re");
	bool v1 = false;

	if (f == NULL)
		return false;
	while (!v1 && fgets(line, sizeof(line), f) != NULL) {
		const char *at = strstr(line, ":memory:");

		line[strcspn(line, "\n")] = '\0';
		v1 = at != NULL;
		if (v1)
			snprintf(file, size,
			    "/sys/fs/cgroup/memory%s/memory.limit_in_bytes",
			    at + strlen(":memory:"));
		else if (strncmp(line, "0::", 3) == 0)
			snprintf(v2, sizeof(v2), "%s", line + 3);
	}
	fclose(f);
	if (!v1)
		snprintf(file, size, "/sys/fs/cgroup%s/memory.max", v2);
	return v1 || v2[0] != '\0';
}

static void
find_cgroup(struct doctor *d)
{
	char file[2 * PATH_BYTES], text[64];
	uint64_t limit, wall = wall_of(d);

	if (!find_group(d, file, sizeof(file)) ||
	    !doctor_read(file, text, sizeof(text))) {
		doctor_find(
		    d, "cgroup", VERDICT_OK, NULL, "no limit that could be read");
		return;
	}
	limit = strtoull(text, NULL, 10);
	if (limit == 0 || limit > UNLIMITED / 4)
		doctor_find(d, "cgroup", VERDICT_OK, NULL, "no limit");
	else
		doctor_find(d, "cgroup", limit < wall ? VERDICT_FAULT : VERDICT_OK,
		    "MemoryMax= of its unit has to be above the host's wall: what is "
		    "pinned "
		    "cannot be reclaimed, and budd would be killed",
		    "%s may have %s%s%s (%s)", whose(d), human_size(limit).text,
		    wall > 0 ? ", and its wall is " : "",
		    wall > 0 ? human_size(wall).text : "", file);
}

/* --- Pages --- */

/* Pools that got small pages though their heap is named for large ones. */
static unsigned int
disappointed(const struct doctor *d, const char *heap)
{
	const cJSON *pool, *block;
	unsigned int n = 0;

	cJSON_ArrayForEach (
	    pool, cJSON_GetObjectItemCaseSensitive(d->status, "pools")) {
		block = cJSON_GetArrayItem(
		    cJSON_GetObjectItemCaseSensitive(pool, "blocks"), 0);
		n += strcmp(field_text(pool, "heap"), heap) == 0 &&
		     field_number(block, "page_size") <= 4096;
	}
	return n;
}

static void
find_shmem(struct doctor *d)
{
	static const char path[] =
	    LARGEPAGES_PATH "/transparent_hugepage/shmem_enabled";
	unsigned int n = disappointed(d, "thp");
	char text[128];

	if (!doctor_read(path, text, sizeof(text)))
		snprintf(text, sizeof(text), "not in this kernel");
	doctor_find(d, "shmem pages", n > 0 ? VERDICT_WARNING : VERDICT_OK,
	    "echo advise >" LARGEPAGES_PATH
	    "/transparent_hugepage/shmem_enabled; it holds "
	    "for blocks that are pinned later",
	    "%s; pools with heap = thp that got small pages: %u", text, n);
}

static void
find_huge(struct doctor *d)
{
	static const char dir[] = LARGEPAGES_PATH "/hugepages/hugepages-2048kB";
	uint64_t total = 0, there = 0;
	unsigned int n = disappointed(d, "huge");
	char path[PATH_BYTES];

	snprintf(path, sizeof(path), "%s/nr_hugepages", dir);
	doctor_number(path, "", 10, &total);
	snprintf(path, sizeof(path), "%s/free_hugepages", dir);
	doctor_number(path, "", 10, &there);
	doctor_find(d, "huge pages", n > 0 ? VERDICT_WARNING : VERDICT_OK,
	    "sysctl vm.nr_hugepages=N, early after boot",
	    "%" PRIu64 " free of %" PRIu64
	    " of 2 MiB; pools with heap = huge without any: %u",
	    there, total, n);
}

void
doctor_memory(struct doctor *d)
{
	if (can_look(d)) {
		find_memlock(d);
		find_descriptors(d);
		find_cgroup(d);
	} else {
		doctor_find(d, "limits", VERDICT_WARNING,
		    "run budctl doctor as root, where budd runs",
		    "budd's process (%" PRIu64 ") cannot be looked at from here",
		    field_number(d->status, "pid"));
	}
	find_memory(d);
	find_swap(d);
	find_huge(d);
	find_shmem(d);
}
