/* SPDX-License-Identifier: ISC */

/* What systemd gives and takes. */
#include "daemon/systemd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#define BARRIER_US UINT64_C(5000000)

static void
free_names(char **names)
{
	for (char **n = names; n != NULL && *n != NULL; n++)
		free(*n);
	free(names);
}

int
systemd_receive(struct systemd_fd **fdsp)
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(1, &names);
	struct systemd_fd *fds;

	if (n <= 0)
		return n;
	if ((fds = calloc((size_t)n, sizeof(*fds))) == NULL) {
		free_names(names);
		return -ENOMEM;
	}
	for (int i = 0; i < n; i++) {
		fds[i].fd = SD_LISTEN_FDS_START + i;
		strlcpy(fds[i].name, names[i], sizeof(fds[i].name));
	}
	free_names(names);
	*fdsp = fds;
	return n;
}

bool
systemd_is_there(void)
{
	return getenv("NOTIFY_SOCKET") != NULL;
}

uint64_t
systemd_watchdog_us(void)
{
	uint64_t us;

	return sd_watchdog_enabled(0, &us) > 0 ? us : 0;
}

/* FDPOLL=0: a socket that has hung up stays, since its client may live and hold memory. */
int
systemd_store(const char *name, const int *fds, unsigned int n)
{
	char text[64];
	int r;

	snprintf(text, sizeof(text), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
	r = sd_pid_notify_with_fds(0, 0, text, fds, n);
	return r < 0 ? r : 0;
}

void
systemd_unstore(const char *name)
{
	sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%s", name);
}

int
systemd_barrier(void)
{
	int r = sd_notify_barrier(0, BARRIER_US);

	return r < 0 ? r : 0;
}

void
systemd_say_ready(void)
{
	sd_notify(0, "READY=1");
}

void
systemd_say_reloading(void)
{
	sd_notify(0, "RELOADING=1");
}

void
systemd_say_stopping(void)
{
	sd_notify(0, "STOPPING=1");
}

void
systemd_say_alive(void)
{
	sd_notify(0, "WATCHDOG=1");
}

void
systemd_say_status(const char *line)
{
	sd_notifyf(0, "STATUS=%s", line);
}
