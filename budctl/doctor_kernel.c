/* SPDX-License-Identifier: ISC */

/* What the kernel has of what bud uses: tried, where that harms nobody, rather than guessed
 * from its version. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "budctl/doctor.h"
#include "daemon/membarrier.h"

#define PAGE_BYTES 4096u

static void
find_version(struct doctor *d)
{
	struct utsname u;

	if (uname(&u) == 0)
		doctor_find(
		    d, "kernel", VERDICT_OK, NULL, "%s %s", u.sysname, u.release);
}

static void
find_memfd(struct doctor *d)
{
	int fd = memfd_create("budctl-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd != -1 && ftruncate(fd, PAGE_BYTES) == 0 &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		doctor_find(d, "memfd", VERDICT_OK, NULL, "memory files can be sealed");
	else
		doctor_find(d, "memfd", VERDICT_FAULT,
		    "use a kernel with CONFIG_MEMFD_CREATE, and no filter against it",
		    "no sealed memory files: %s", strerror(errno));
	if (fd != -1)
		close(fd);
}

static void
find_mlock2(struct doctor *d)
{
	void *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return;
	if (mlock2(page, PAGE_BYTES, 0) == 0)
		doctor_find(d, "mlock2", VERDICT_OK, NULL, "a page can be locked");
	else if (errno == ENOSYS)
		doctor_find(d, "mlock2", VERDICT_FAULT, "use Linux 4.4 or later",
		    "the kernel does not have it");
	else
		doctor_find(d, "mlock2", VERDICT_WARNING,
		    "raise the limit (ulimit -l), or look for a filter of system calls",
		    "this user cannot lock a single page: %s", strerror(errno));
	munmap(page, PAGE_BYTES);
}

static void
find_membarrier(struct doctor *d)
{
	if (membarrier_is_there())
		doctor_find(d, "membarrier", VERDICT_OK, NULL,
		    "threads of clients may have caches");
	else
		doctor_find(d, "membarrier", VERDICT_WARNING,
		    "use Linux 4.16 or later, with CONFIG_MEMBARRIER",
		    "not there: threads of clients do without caches, and allocate "
		    "slower");
}

static void
find_pidfd(struct doctor *d)
{
	int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);

	if (fd != -1)
		doctor_find(d, "pidfd", VERDICT_OK, NULL,
		    "the end of a client is noticed at once");
	else
		doctor_find(d, "pidfd", VERDICT_WARNING, "use Linux 5.3 or later",
		    "%s: memory of a client that hangs up and lives is kept longer",
		    strerror(errno));
	if (fd != -1)
		close(fd);
}

static void
find_psi(struct doctor *d)
{
	char text[256];

	if (doctor_read("/proc/pressure/memory", text, sizeof(text)))
		doctor_find(d, "pressure", VERDICT_OK, NULL,
		    "the kernel tells when memory is short (PSI)");
	else
		doctor_find(d, "pressure", VERDICT_WARNING,
		    "boot with psi=1, or use a kernel with CONFIG_PSI",
		    "no PSI: budd gives nothing back when the host is short of memory, "
		    "unless its service manager says so");
}

static void
find_seccomp(struct doctor *d)
{
	char text[256];

	if (doctor_read("/proc/sys/kernel/seccomp/actions_avail", text, sizeof(text)))
		doctor_find(d, "seccomp", VERDICT_OK, NULL,
		    "budd can lock itself in (seccomp)");
	else
		doctor_find(d, "seccomp", VERDICT_WARNING,
		    "use a kernel with CONFIG_SECCOMP_FILTER",
		    "no filters of system calls");
}

void
doctor_kernel(struct doctor *d)
{
	find_version(d);
	find_memfd(d);
	find_mlock2(d);
	find_membarrier(d);
	find_pidfd(d);
	find_psi(d);
	find_seccomp(d);
}
