/* SPDX-License-Identifier: ISC */

/* budd without libsystemd: nobody is there. */
#include <errno.h>
#include <stddef.h>

#include "daemon/systemd.h"

int
systemd_receive(struct systemd_fd **fdsp)
{
	*fdsp = NULL;
	return 0;
}

bool
systemd_is_there(void)
{
	return false;
}

uint64_t
systemd_watchdog_us(void)
{
	return 0;
}

int
systemd_store(const char *name, const int *fds, unsigned int n)
{
	(void)name;
	(void)fds;
	(void)n;
	return -ENOTSUP;
}

void
systemd_unstore(const char *name)
{
	(void)name;
}

int
systemd_barrier(void)
{
	return -ENOTSUP;
}

void
systemd_say_ready(void)
{
}

void
systemd_say_reloading(void)
{
}

void
systemd_say_stopping(void)
{
}

void
systemd_say_alive(void)
{
}

void
systemd_say_status(const char *line)
{
	(void)line;
}
