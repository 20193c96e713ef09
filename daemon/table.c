/* SPDX-License-Identifier: ISC */

/* The keeper's table. */
#include "daemon/table.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define TABLE_SIZE  (sizeof(struct table) + TABLE_SLOTS * sizeof(struct slot))
#define TABLE_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static struct table *
map(int fd)
{
	return mmap(NULL, TABLE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

struct table *
table_create(int *fdp)
{
	struct table *t = MAP_FAILED;
	int fd = memfd_create("bud-table", MFD_CLOEXEC | MFD_ALLOW_SEALING), error;

	if (fd == -1)
		return NULL;
	if (ftruncate(fd, (off_t)TABLE_SIZE) == 0 &&
	    fcntl(fd, F_ADD_SEALS, TABLE_SEALS) == 0)
		t = map(fd);
	if (t == MAP_FAILED) {
		error = errno;
		close(fd);
		errno = error;
		return NULL;
	}
	t->magic = TABLE_MAGIC;
	t->layout = TABLE_LAYOUT;
	t->slots = TABLE_SLOTS;
	*fdp = fd;
	return t;
}

struct table *
table_adopt(int fd)
{
	struct stat st;
	struct table *t;

	if (fd == -1 || fstat(fd, &st) == -1 || st.st_size != (off_t)TABLE_SIZE ||
	    (t = map(fd)) == MAP_FAILED)
		return NULL;
	if (t->magic == TABLE_MAGIC && t->layout == TABLE_LAYOUT &&
	    t->slots == TABLE_SLOTS)
		return t;
	munmap(t, TABLE_SIZE);
	return NULL;
}

void
table_free(struct table *t, int fd)
{
	munmap(t, TABLE_SIZE);
	close(fd);
}
