/* SPDX-License-Identifier: ISC */

/* A pool of a budd of another layout. */
#include "daemon/foreign.h"

#include <errno.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* The pages that are there, and no hole: that is what was pinned. */
static int
lock_data(struct foreign *f, int fd, const struct foreign_map *m)
{
	off_t from, to = 0;

	while ((from = lseek(fd, to, SEEK_DATA)) != -1) {
		if ((to = lseek(fd, from, SEEK_HOLE)) == -1)
			return -errno;
		if (mlock2((char *)m->addr + from, (size_t)(to - from), 0) == -1)
			return -errno;
		f->locked += (uint64_t)(to - from);
	}
	return errno == ENXIO ? 0 : -errno;
}

static int
hold_memfd(struct foreign *f, int fd, struct foreign_map *m)
{
	struct stat st;

	if (fd == -1)
		return 0;
	if (fstat(fd, &st) == -1)
		return -errno;
	m->size = (size_t)st.st_size;
	m->addr = mmap(
	    NULL, m->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (m->addr == MAP_FAILED) {
		m->addr = NULL;
		return -errno;
	}
	if (madvise(m->addr, m->size, MADV_DONTFORK) == -1)
		return -errno;
	return lock_data(f, fd, m);
}

int
foreign_hold(struct foreign *f, int sock, int pidfd, const int memfds[FOREIGN_MAPS])
{
	int r = 0, error;

	f->pidfd = pidfd;
	if (sock != -1) {
		shutdown(sock, SHUT_RDWR);
		close(sock);
	}
	for (unsigned int i = 0; i < FOREIGN_MAPS; i++) {
		error = hold_memfd(f, memfds[i], &f->map[i]);
		r = r != 0 ? r : error;
	}
	return r;
}

bool
foreign_is_over(const struct foreign *f)
{
	struct pollfd p = { .fd = f->pidfd, .events = POLLIN };

	return f->pidfd == -1 || poll(&p, 1, 0) != 0;
}

void
foreign_fini(struct foreign *f)
{
	for (unsigned int i = 0; i < FOREIGN_MAPS; i++)
		if (f->map[i].addr != NULL)
			munmap(f->map[i].addr, f->map[i].size);
	if (f->pidfd != -1)
		close(f->pidfd);
	*f = FOREIGN_EMPTY;
}
