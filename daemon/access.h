/* SPDX-License-Identifier: ISC */

/*
 * Who may do what, by what the kernel said of a peer. These ask the system's user database,
 * and may read files for it.
 */
#ifndef DAEMON_ACCESS_H
#define DAEMON_ACCESS_H

#include <stdbool.h>
#include <sys/types.h>

struct config;
struct config_pool;

#define ACCESS_TUNERS "budadm" /* the group whose members may change a living budd */

/** access_may_open() - root; anybody, where the section names nobody; its user; whoever is
 * in its group */
bool access_may_open(const struct config_pool *section, uid_t uid, gid_t gid);
/** access_may_look() - at the status: anybody, where [status] names no group; who is in
 * it, and who may tune */
bool access_may_look(const struct config *c, uid_t uid, gid_t gid);
/** access_may_tune() - root, the user that budd runs as, and the group ACCESS_TUNERS */
bool access_may_tune(uid_t uid, gid_t gid);

#endif
