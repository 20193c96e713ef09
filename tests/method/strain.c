/* SPDX-License-Identifier: ISC */

/* Memory that is short. */
#include "tests/method/strain.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <unistd.h>

#include "tests/daemon.h"

#define ROOT_V1   "/sys/fs/cgroup/memory"
#define ROOT_V2   "/sys/fs/cgroup"
#define FILE_SIZE (64 * MIB)
#define TOO_SMALL "16777216" /* bytes for reading FILE_SIZE */

static char group[64]; /* its directory; "": there is none */
static bool v2, swaps;
static char swap_file[64], big_file[64];

static bool
write_text(const char *dir, const char *name, const char *text)
{
	char path[128];
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if ((fd = open(path, O_WRONLY | O_CLOEXEC)) == -1)
		return false;
	n = write(fd, text, strlen(text));
	close(fd);
	return n == (ssize_t)strlen(text);
}

static bool
make_group(void)
{
	char reclaim[128];

	v2 = access(ROOT_V2 "/cgroup.controllers", F_OK) == 0;
	snprintf(group, sizeof(group), "%s/bud-test-%d", v2 ? ROOT_V2 : ROOT_V1,
	    (int)getpid());
	snprintf(reclaim, sizeof(reclaim), "%s/%s", group,
	    v2 ? "memory.reclaim" : "memory.force_empty");
	if (mkdir(group, 0755) == 0) {
		if (access(reclaim, W_OK) == 0)
			return true;
		rmdir(group);
	}
	printf("no memory cgroup of our own: %s: %s\n", group, strerror(errno));
	group[0] = '\0';
	return false;
}

static bool
make_file(char *path, size_t size)
{
	static const char zeros[65536];
	size_t done = 0;
	int fd = mkstemp(path);

	while (fd != -1 && done < size && write(fd, zeros, sizeof(zeros)) > 0)
		done += sizeof(zeros);
	if (fd == -1)
		return false;
	fsync(fd); /* what is clean can be dropped */
	close(fd);
	return done == size;
}

static bool
make_swap(void)
{
	char command[128];

	strcpy(swap_file, "/tmp/bud-test-swap.XXXXXX");
	if (!make_file(swap_file, FILE_SIZE))
		return false;
	snprintf(command, sizeof(command), "mkswap %s >/dev/null 2>&1", swap_file);
	return system(command) == 0 && swapon(swap_file, 0) == 0;
}

void
strain_begin(void)
{
	if (!make_group())
		return;
	if (!(swaps = make_swap()))
		printf("no swap of our own: %s\n", strerror(errno));
	strcpy(big_file, "/tmp/bud-test-big.XXXXXX");
	make_file(big_file, FILE_SIZE);
}

/* What a test that failed left running is being killed meanwhile. */
static void
remove_group(void)
{
	int64_t until = now_ms() + PATIENCE_MS;

	while (rmdir(group) == -1 && errno == EBUSY && now_ms() < until)
		nap();
	if (access(group, F_OK) == 0)
		printf("left behind: %s\n", group);
	group[0] = '\0';
}

void
strain_end(void)
{
	if (swaps && swapoff(swap_file) == -1)
		printf("left behind: swap in %s\n", swap_file);
	swaps = false;
	if (swap_file[0] != '\0')
		unlink(swap_file);
	if (big_file[0] != '\0')
		unlink(big_file);
	if (group[0] != '\0')
		remove_group();
}

bool
strain_possible(void)
{
	return group[0] != '\0';
}

bool
strain_swaps(void)
{
	return swaps;
}

static void
move_to(const char *dir)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	ck_assert_msg(
	    write_text(dir, "cgroup.procs", pid), "%s: %s", dir, strerror(errno));
}

/* Where we were before. */
static char home[256];

static void
find_home(void)
{
	FILE *f = fopen("/proc/self/cgroup", "re");
	char line[256];
	const char *path;

	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		path = strstr(line, v2 ? "0::" : ":memory:");
		if (path != NULL)
			snprintf(home, sizeof(home), "%s%s", v2 ? ROOT_V2 : ROOT_V1,
			    path + (v2 ? strlen("0::") : strlen(":memory:")));
	}
	if (f != NULL)
		fclose(f);
}

void
strain_enter(void)
{
	find_home();
	move_to(group);
}

void
strain_leave(void)
{
	move_to(home);
}

void
strain_reclaim(void)
{
	/* It says EAGAIN when it found less than that. */
	write_text(group, v2 ? "memory.reclaim" : "memory.force_empty",
	    v2 ? "1073741824" : "0");
}

void
strain_suffer(void)
{
	static char part[64 * KIB];
	int fd = open(big_file, O_RDONLY | O_CLOEXEC);

	move_to(group);
	write_text(group, v2 ? "memory.high" : "memory.limit_in_bytes", TOO_SMALL);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* now it is ours to cache */
	for (;;) {
		lseek(fd, 0, SEEK_SET);
		while (read(fd, part, sizeof(part)) > 0)
			;
	}
}
