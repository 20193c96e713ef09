/* SPDX-License-Identifier: ISC */

/*
 * A service manager of the test's own: to budd it looks like systemd. A thread of it takes
 * the notices, and keeps the descriptors that come with them; each start of budd gets those.
 */
#ifndef TESTS_MANAGER_H
#define TESTS_MANAGER_H

#include <pthread.h>
#include <stdbool.h>

#include "tests/daemon.h"

#define MANAGER_KEPT_MAX 480u

struct kept {
	char name[16];
	int fd;
};

struct manager {
	struct daemon d;
	/* Set before manager_start(). */
	unsigned int room;        /* descriptors that are kept, and told in $FDSTORE */
	bool room_is_secret;      /* ... or not told */
	unsigned int watchdog_ms; /* 0: none */
	bool listens;             /* the sockets are the manager's */
	/* What came of it, under the lock. */
	pthread_mutex_t lock;
	pthread_t thread;
	int notices;
	char address[64];
	struct kept kept[MANAGER_KEPT_MAX];
	unsigned int kept_count;
	unsigned int ready;
	unsigned int reloading;
	unsigned int alive;
	unsigned int settled;
	char status[256];
	int listener[2]; /* clients, status */
};

/** manager_start() - it, and a budd with this configuration */
void manager_start(struct manager *m, const char *config);
/** manager_launch() - budd again, after it has ended in whatever way */
void manager_launch(struct manager *m);
/** manager_kill() - SIGKILL to the keeper; on return both of budd's processes are gone */
void manager_kill(struct manager *m);
/** manager_stop() - budd ends as it should; nothing is left of either */
void manager_stop(struct manager *m);
/** manager_forget() - drop all that is kept, as systemd does on `systemctl stop` */
void manager_forget(struct manager *m);

/** manager_kept() - descriptors by now, of one name, or with NULL of all */
unsigned int manager_kept(struct manager *m, const char *name);
unsigned int manager_alive(struct manager *m);
unsigned int manager_ready(struct manager *m);
/** manager_says() - the status line contains @text */
bool manager_says(struct manager *m, const char *text);

#endif
