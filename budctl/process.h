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
 * What the client said of itself. Of one that said nothing budd says "?" where its service hides
 * the processes of others (ProtectProc=). Whoever runs budctl may see them all the same.
 */
struct process_name process_name(const cJSON *owner);

#endif
