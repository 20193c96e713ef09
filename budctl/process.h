/* SPDX-License-Identifier: ISC */

/* The process behind a pool. */
#ifndef BUDCTL_PROCESS_H
#define BUDCTL_PROCESS_H

#include <cjson/cJSON.h>

struct process_name {
	char text[64];
};

/**
 * process_name() - the command of a pool's client
 * @owner:	has "command", "pid" and "uid"
 *
 * budd does not see the processes of others where its service hides them (ProtectProc=), and
 * says "?". Whoever runs budctl may see them all the same.
 */
struct process_name process_name(const cJSON *owner);

#endif
