/* SPDX-License-Identifier: ISC */

/*
 * Clients of several users, and a budd that knows them by name: it sees a passwd and a
 * group of the test's own, in a mount namespace of its own, and becomes its user budd. The
 * clients' numbers are made up; they need no names. All of it needs root.
 */
#ifndef TESTS_PEERS_H
#define TESTS_PEERS_H

#include "tests/client_process.h"
#include "tests/daemon.h"

#define PEER_BUDD     64123
#define PEER_ANN      20001 /* user ann, and a group of that number without a name */
#define PEER_BOB      20002
#define PEER_FRIENDS  20010 /* groups */
#define PEER_WATCHERS 20011
#define PEER_BUDADM   20012

struct peer {
	const char *who;
	uid_t uid;
	gid_t gid;
	gid_t group;         /* one more; 0: none */
	unsigned int before; /* groups of no meaning that come before that one */
};

/** peer_become() - for good, in a process of a client; others of its user may trace it */
void peer_become(const struct peer *p);

/** peers_start() - budd with this budd.conf, as user budd */
void peers_start(struct daemon *d, const char *config);
/** peers_stop() - daemon_stop(), and the files are gone */
void peers_stop(struct daemon *d);
/** peers_enter(), peers_leave() - the two as a fixture, which compares what budd has before and
 * after; without root nothing is done, and the tests skip */
void peers_enter(struct daemon *d, const char *config, struct daemon_snapshot *before);
void peers_leave(struct daemon *d, const struct daemon_snapshot *before);

#endif
