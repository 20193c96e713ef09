/* SPDX-License-Identifier: ISC */

/* struct config, then each struct config_pool, as they lie in memory. */
#include "daemon/config_pack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/config.h"

#define PACK_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)

static bool
put(int fd, const void *from, size_t size)
{
	return write(fd, from, size) == (ssize_t)size;
}

static bool
put_all(int fd, const struct config *c)
{
	const struct config_pool *pool;

	if (!put(fd, c, sizeof(*c)))
		return false;
	STAILQ_FOREACH (pool, &c->pools, entry)
		if (!put(fd, pool, sizeof(*pool)))
			return false;
	return true;
}

int
config_pack(const struct config *c)
{
	int fd = memfd_create("bud-config", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd == -1)
		return -errno;
	if (put_all(fd, c) && fcntl(fd, F_ADD_SEALS, PACK_SEALS) == 0)
		return fd;
	close(fd);
	return -ENOMEM;
}

/* @offsetp moves on; false: there is no more. */
static bool
get(int fd, off_t *offsetp, void *to, size_t size)
{
	if (pread(fd, to, size, *offsetp) != (ssize_t)size)
		return false;
	*offsetp += (off_t)size;
	return true;
}

int
config_unpack(int fd, struct config **configp)
{
	struct config *c = malloc(sizeof(*c));
	struct config_pool one, *pool;
	off_t offset = 0;

	if (c == NULL)
		return -ENOMEM;
	if (!get(fd, &offset, c, sizeof(*c))) {
		free(c);
		return -EPROTO;
	}
	STAILQ_INIT(&c->pools); /* the pointers were another's */
	while (get(fd, &offset, &one, sizeof(one))) {
		if ((pool = malloc(sizeof(*pool))) == NULL) {
			config_free(c);
			return -ENOMEM;
		}
		*pool = one;
		STAILQ_INSERT_TAIL(&c->pools, pool, entry);
	}
	*configp = c;
	return 0;
}
