/* SPDX-License-Identifier: ISC */

/*
 * Settings of the host that a suite has to change: one suite of the machine at a time, and
 * put back in whatever way it ends, since a process of their own waits for that.
 */
#ifndef TESTS_HOST_SETTING_H
#define TESTS_HOST_SETTING_H

#include <stdbool.h>

#define SHMEM_ENABLED "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define SHMEM_OF_256K \
	"/sys/kernel/mm/transparent_hugepage/hugepages-256kB/shmem_enabled"
#define NR_HUGEPAGES "/proc/sys/vm/nr_hugepages"

/** host_setting_begin() - wait for other suites, and remember what is set now; call it in the
 * process that outlives each test, and before any is forked. False, aloud: not allowed */
bool host_setting_begin(void);
/** host_setting_write() - false: the host does not know it, or not this value */
bool host_setting_write(const char *path, const char *value);
/** host_setting_end() - as it was; fine without a beginning */
void host_setting_end(void);

#endif
