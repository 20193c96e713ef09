/* SPDX-License-Identifier: ISC */

/* Settings of the host, changed and put back. */
#include "tests/host_setting.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/daemon.h"
#include "tests/fork.h"

static const char *const paths[] = { SHMEM_ENABLED, SHMEM_OF_256K, NR_HUGEPAGES };

static struct {
	pid_t guard;  /* 0: none */
	int lifeline; /* open for as long as we are there, and whoever we fork */
	int lock;
	char before[SIZEOF_ARRAY(paths)][32]; /* "": there is no such setting */
} host = { .lock = -1 };

/* The one in brackets, of those that list what there is: "always [advise] never". */
static void
read_value(const char *path, char *value, size_t size)
{
	char text[128] = "", *from = text, *bracket;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd != -1) {
		if (read(fd, text, sizeof(text) - 1) == -1)
			text[0] = '\0';
		close(fd);
	}
	if ((bracket = strchr(text, '[')) != NULL)
		from = bracket + 1;
	from[strcspn(from, "]\n")] = '\0';
	snprintf(value, size, "%.*s", (int)size - 1, from);
}

bool
host_setting_write(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool written;

	if (fd == -1)
		return false;
	written = write(fd, value, strlen(value)) == (ssize_t)strlen(value);
	close(fd);
	return written;
}

static void
put_back(void)
{
	for (size_t i = 0; i < SIZEOF_ARRAY(paths); i++)
		if (host.before[i][0] != '\0')
			host_setting_write(paths[i], host.before[i]);
}

/* Ends when nobody has the other end of the pipe any more. */
__attribute__((noreturn)) static void
stand_guard(int end)
{
	char byte;

	setsid();
	signal(SIGPIPE, SIG_IGN);
	while (read(end, &byte, 1) > 0)
		;
	put_back();
	_exit(0);
}

static void
start_guard(void)
{
	int pipe_fds[2];

	ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
	host.guard = test_fork();
	if (host.guard == 0) {
		close(pipe_fds[1]);
		stand_guard(pipe_fds[0]);
	}
	close(pipe_fds[0]);
	host.lifeline = pipe_fds[1];
}

bool
host_setting_begin(void)
{
	if (getuid() != 0 || access(NR_HUGEPAGES, W_OK) != 0)
		return !skip("large pages: the settings of this host are not ours");
	host.lock = open(NR_HUGEPAGES, O_RDONLY | O_CLOEXEC);
	if (host.lock == -1 || flock(host.lock, LOCK_EX) == -1)
		return !skip("large pages: " NR_HUGEPAGES " cannot be locked");
	for (size_t i = 0; i < SIZEOF_ARRAY(paths); i++)
		read_value(paths[i], host.before[i], sizeof(host.before[i]));
	start_guard();
	return true;
}

void
host_setting_end(void)
{
	if (host.guard == 0)
		return;
	close(host.lifeline);
	waitpid(host.guard, NULL, 0);
	host.guard = 0;
	close(host.lock);
}
