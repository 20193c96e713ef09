/* SPDX-License-Identifier: ISC */

/* The keeper's table. */
#include "daemon/table.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t
table_size(uint32_t slots)
{
	return sizeof(struct table) + slots * sizeof(struct slot);
}

struct table *
table_create(uint32_t slots, int *fdp)
{
	struct table *t = MAP_FAILED;
	int fd = memfd_create("bud-table", MFD_CLOEXEC), error;

	if (fd == -1)
		return NULL;
	if (ftruncate(fd, (off_t)table_size(slots)) == 0)
		t = mmap(
		    NULL, table_size(slots), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (t == MAP_FAILED) {
		error = errno;
		close(fd);
		errno = error;
		return NULL;
	}
	t->magic = TABLE_MAGIC;
	t->version = TABLE_VERSION;
	t->slots = slots;
	*fdp = fd;
	return t;
}

void
table_free(struct table *t, int fd)
{
	munmap(t, table_size(t->slots));
	close(fd);
}
