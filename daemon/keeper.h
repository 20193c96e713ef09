/* SPDX-License-Identifier: ISC */

/*
 * The keeper: the privileged half of budd. It holds the memory and whatever must outlive a
 * mistake: connections, the table, the lock on each page. It decides nothing but that no
 * wall of the host is passed and that a prefix moves at its end alone; and it reads nothing
 * that a client wrote.
 */
#ifndef DAEMON_KEEPER_H
#define DAEMON_KEEPER_H

#include <stdint.h>

struct config;
struct store;

struct keeper_spec {
	int client_listener;
	int status_listener;
	struct store *store; /* what an earlier keeper left, and where ours goes */
	uint64_t host_wall;  /* bytes; what config leaves open has been found out */
	const char *config_path;
	struct config *config; /* becomes the keeper's */
};

/** keeper_main() - serve until SIGTERM or SIGINT; returns the process's exit status. The
 * listeners stay the caller's */
int keeper_main(const struct keeper_spec *spec);

#endif
