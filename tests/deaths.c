/* SPDX-License-Identifier: ISC */

/* Moments of death. Of system calls the arbiter is allowed few. */
#include "tests/deaths.h"

#include <err.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/step.h"
#include "proto/messages.h"

static struct deaths *deaths;

__attribute__((constructor)) static void
map_deaths(void)
{
	const char *path = getenv("BUD_DEATHS");
	int fd;

	if (path == NULL)
		return;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd == -1)
		err(1, "%s", path);
	deaths = mmap(NULL, sizeof(*deaths), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (deaths == MAP_FAILED)
		err(1, "%s", path);
	close(fd);
}

void
step(void)
{
	static uint32_t never;
	uint64_t n;

	if (deaths == NULL)
		return;
	n = atomic_fetch_add(&deaths->steps, 1) + 1;
	if (n != atomic_load(&deaths->stand_at))
		return;
	atomic_store(&deaths->stands, 1);
	/* Asleep: beside one that computes, on few processors, who is to kill it waits for its turn. */
	for (;;)
		syscall(SYS_futex, &never, FUTEX_WAIT_PRIVATE, 0, NULL);
}

void
step_heard(const union proto_msg *msg)
{
	if (deaths != NULL && msg->header.type == PROTO_ALLOC &&
	    msg->alloc.size_bytes == atomic_load(&deaths->deadly_size))
		__builtin_trap();
}
