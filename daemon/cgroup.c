/* SPDX-License-Identifier: ISC */

/* Memory cgroups. */
#include "daemon/cgroup.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_SIZE 4096u
#define LINE_SIZE (PATH_SIZE + 64u)
#define REST      ((uint64_t)16 << 20) /* bytes for ourselves, or */
#define REST_PART 8u                   /* ... this part of the limit, if that is more */

/* "max", a file that is not there, and what is no number are no limit. */
static uint64_t
read_limit(const char *dir, const char *name)
{
	char path[PATH_SIZE + 64], text[32] = "", *end;
	uint64_t limit = UINT64_MAX;
	FILE *f;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path) ||
	    (f = fopen(path, "re")) == NULL)
		return UINT64_MAX;
	if (fgets(text, sizeof(text), f) != NULL && text[0] >= '0' && text[0] <= '9') {
		limit = strtoull(text, &end, 10);
		if (*end != '\n' && *end != '\0')
			limit = UINT64_MAX;
	}
	fclose(f);
	return limit;
}

/* Of this directory and all above it, the root of the hierarchy among them: in a container
 * that is a cgroup like any other. */
static uint64_t
least_upwards(const char *root, const char *path)
{
	static const char *const files[] = { "memory.max", "memory.high",
		"memory.limit_in_bytes" };
	size_t root_length = strlen(root);
	uint64_t least = UINT64_MAX, limit;
	char dir[PATH_SIZE], *slash;

	if (snprintf(dir, sizeof(dir), "%s%s", root, path) >= (int)sizeof(dir))
		return UINT64_MAX;
	for (;;) {
		for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
			if ((limit = read_limit(dir, files[i])) < least)
				least = limit;
		slash = strrchr(dir + root_length, '/');
		if (slash == NULL)
			return least;
		*slash = '\0';
	}
}

/* A line is "ID:CONTROLLERS:PATH"; those of version 2 have no controllers. */
static uint64_t
limit_of_line(char *line, const char *root)
{
	char *controllers = strchr(line, ':'), *path, *word, *next;
	char v1[PATH_SIZE];

	if (controllers == NULL || (path = strchr(++controllers, ':')) == NULL)
		return UINT64_MAX;
	*path++ = '\0';
	path[strcspn(path, "\n")] = '\0';
	if (controllers[0] == '\0')
		return least_upwards(root, path);
	for (word = strtok_r(controllers, ",", &next); word != NULL;
	     word = strtok_r(NULL, ",", &next))
		if (strcmp(word, "memory") == 0 &&
		    snprintf(v1, sizeof(v1), "%s/memory", root) < (int)sizeof(v1))
			return least_upwards(v1, path);
	return UINT64_MAX;
}

uint64_t
cgroup_memory_limit(const char *self, const char *root)
{
	uint64_t least = UINT64_MAX, limit;
	char line[LINE_SIZE];
	FILE *f = fopen(self, "re");

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if ((limit = limit_of_line(line, root)) < least)
			least = limit;
	if (f != NULL)
		fclose(f);
	return least;
}

uint64_t
cgroup_room(uint64_t limit)
{
	uint64_t rest = limit / REST_PART > REST ? limit / REST_PART : REST;

	if (limit == UINT64_MAX)
		return limit;
	return limit - (rest < limit / 2 ? rest : limit / 2);
}
