/* SPDX-License-Identifier: ISC */

/*
 * Who may do what, by what the kernel says of a peer: its user, its group, and the groups
 * that it had when it connected. No database is asked: the names in budd.conf were looked up
 * when that was read.
 */
#ifndef DAEMON_ACCESS_H
#define DAEMON_ACCESS_H

#include <stdbool.h>
#include <sys/types.h>

struct config;
struct config_pool;

struct access_peer {
	uid_t uid;
	gid_t gid;
	int sock; /* the connection; -1: it has no other groups */
};

/** access_peer_of() - who is at the other end of a UNIX socket; false: it cannot be told */
bool access_peer_of(int sock, struct access_peer *peer);

/** access_may_open() - root; anybody, where the section names nobody; its user; whoever is
 * in its group */
bool access_may_open(const struct config_pool *section, const struct access_peer *peer);
/** access_may_tune() - root, the user that budd runs as, and the group CONFIG_TUNERS */
bool access_may_tune(const struct config *c, const struct access_peer *peer);
/** access_may_look() - those; and [status] group, or anybody if it names none */
bool access_may_look(const struct config *c, const struct access_peer *peer);

#endif
