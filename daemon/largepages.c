/* SPDX-License-Identifier: ISC */

/* What large pages the host has to give. */
#include "daemon/largepages.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/config.h"
#include "proto/ledger.h"

#define KIB       1024u
#define LARGE_KIB 2048u /* the largest page that a heap is aligned for */

/* A small file; "" if there is none. */
static void
read_text(const char *path, const char *name, char *text, size_t size)
{
	char file[256];
	ssize_t n;
	int fd;

	text[0] = '\0';
	snprintf(file, sizeof(file), "%s/%s", path, name);
	if ((fd = open(file, O_RDONLY | O_CLOEXEC)) == -1)
		return;
	if ((n = read(fd, text, size - 1)) > 0)
		text[n] = '\0';
	close(fd);
}

/* Of "always inherit [advise] never", the word that holds; "": the file does not exist. */
static void
read_choice(const char *path, const char *name, char *word, size_t size)
{
	char text[128];
	const char *open, *close;

	word[0] = '\0';
	read_text(path, name, text, sizeof(text));
	if ((open = strchr(text, '[')) == NULL || (close = strchr(open, ']')) == NULL ||
	    (size_t)(close - open) > size)
		return;
	memcpy(word, open + 1, (size_t)(close - open) - 1);
	word[close - open - 1] = '\0';
}

static uint64_t
read_number(const char *path, const char *name)
{
	char text[32];

	read_text(path, name, text, sizeof(text));
	return strtoull(text, NULL, 10);
}

/* Does this choice give large pages to a mapping that asks for them? */
static bool
gives(const char *choice)
{
	return strcmp(choice, "always") == 0 || strcmp(choice, "force") == 0 ||
	       strcmp(choice, "within_size") == 0 || strcmp(choice, "advise") == 0;
}

/* Kernels before 6.11 have no files for the sizes: the one setting is that of 2 MiB. */
static bool
gives_size(const char *path, unsigned int kib, const char *shmem_enabled)
{
	char name[80], choice[16];

	snprintf(name, sizeof(name),
	    "transparent_hugepage/hugepages-%ukB/shmem_enabled", kib);
	read_choice(path, name, choice, sizeof(choice));
	if (choice[0] == '\0')
		return kib == LARGE_KIB && gives(shmem_enabled);
	if (strcmp(shmem_enabled, "deny") == 0)
		return false;
	if (strcmp(shmem_enabled, "force") == 0)
		return kib == LARGE_KIB || gives(choice);
	return gives(strcmp(choice, "inherit") == 0 ? shmem_enabled : choice);
}

void
largepages_read(struct largepages *l, const char *path)
{
	char total[24];

	*l = (struct largepages){ .thp = 0 };
	read_choice(path, "transparent_hugepage/shmem_enabled", l->shmem_enabled,
	    sizeof(l->shmem_enabled));
	for (unsigned int kib = 8; kib <= LARGE_KIB; kib *= 2)
		if (gives_size(path, kib, l->shmem_enabled))
			l->thp |= (uint64_t)kib * KIB;
	read_text(
	    path, "hugepages/hugepages-2048kB/nr_hugepages", total, sizeof(total));
	l->huge = total[0] != '\0';
	l->huge_total = strtoull(total, NULL, 10);
	l->huge_free = read_number(path, "hugepages/hugepages-2048kB/free_hugepages");
}

bool
largepages_why(
    const struct largepages *l, enum heap_kind kind, char *why, size_t why_size)
{
	if (kind == HEAP_THP && l->thp == 0) {
		snprintf(why, why_size,
		    "heap = thp gets pages of 4K: shmem_enabled is %s: write advise "
		    "to " LARGEPAGES_PATH "/transparent_hugepage/shmem_enabled",
		    l->shmem_enabled[0] != '\0' ? l->shmem_enabled : "not there");
		return true;
	}
	if (kind == HEAP_HUGE && l->huge_free == 0) {
		snprintf(why, why_size,
		    "heap = huge has no page: %" PRIu64 " of 2M are reserved, none is "
		    "free: raise vm.nr_hugepages",
		    l->huge_total);
		return true;
	}
	return false;
}

void
largepages_check(const struct largepages *l, const struct config *config,
    void (*warn)(void *ctx, const char *line), void *ctx)
{
	const struct config_pool *p;
	char why[256], line[400];

	STAILQ_FOREACH (p, &config->pools, entry)
		if (largepages_why(l, p->heap, why, sizeof(why))) {
			snprintf(line, sizeof(line), "[pool %s] %s", p->name, why);
			warn(ctx, line);
		}
}
