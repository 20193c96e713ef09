/* SPDX-License-Identifier: ISC */

/*
 * A live budd that is attacked, and innocent clients of it who must notice nothing.
 *
 * Two innocents work from siege_begin() to siege_end(): one fills its pool to the wall,
 * waits there in vain for a millisecond, and gives all back, so that budd grows, queues and
 * releases for it all the time; one opens a pool, uses it and closes it, again and again.
 * Each buffer is painted, and looked at before it goes.
 *
 * A client that misbehaves loses its connection, but keeps its memory while its process
 * lives; so each attacker is a process, of another user where we are root, that has ended
 * before budd's holdings are compared.
 */
#ifndef TESTS_HOSTILE_SIEGE_H
#define TESTS_HOSTILE_SIEGE_H

#include "tests/client_process.h"
#include "tests/daemon.h"
#include "tests/raw.h"

#define CHUNK (256 * KIB)
#define WALL  MIB /* of every pool, but for those that a test asks for */

/* The lines of budd.conf that make it restless, and pools small. */
#define SIEGE_HOST                                                \
	"[host]\ntick = 5ms\nrelease_period = 10ms\nidle = 5ms\n" \
	"hello_timeout = 300ms\n"
#define SIEGE_POOLS \
	"[pool default]\nbase = 256K\nadd = 256K\nwall = 1M\nwall_max = 1M\n"
#define SIEGE_CONFIG SIEGE_HOST SIEGE_POOLS

struct siege {
	struct daemon d;
	pid_t arbiter;
	struct daemon_snapshot before;
	struct client worker;
	struct client newcomer;
	bool full; /* set before siege_begin(): nobody new gets in, so no newcomer */
};

extern struct siege siege;

/** siege_begin() - budd with this budd.conf, and the innocents at work */
void siege_begin(const char *config);
/** siege_end() - the innocents were served all along and still are; keeper and arbiter are
 * those of the beginning; budd holds what it held then, and ends well */
void siege_end(void);
/** siege_served() - the innocents do another round, within PATIENCE_MS */
void siege_served(void);
/** siege_worst_ms() - the longest round of the worker so far */
int64_t siege_worst_ms(void);
/** siege_pools() - how many pools of that name there are */
unsigned int siege_pools(const char *name);

/** attack() - @fn(@arg) in a process of its own; its end is awaited, its status 0 */
void attack(client_fn *fn, void *arg);
/** attack_begin() - the same, not waiting; client_join() or client_kill() it */
void attack_begin(struct client *c, client_fn *fn, void *arg);
/** attack_together() - @n processes at a time; each gets a pointer to its own number, from
 * 0; the ends of all are awaited */
void attack_together(unsigned int n, client_fn *fn);

#endif
