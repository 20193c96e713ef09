/* SPDX-License-Identifier: ISC */

/* Who may open a pool of a section. */
#ifndef DAEMON_ACCESS_H
#define DAEMON_ACCESS_H

#include <stdbool.h>
#include <sys/types.h>

struct config_pool;

/** access_may_open() - root; anybody, where the section names nobody; its user; whoever is
 * in its group. Asks the system's user database, and may read files for it */
bool access_may_open(const struct config_pool *section, uid_t uid, gid_t gid);

#endif
