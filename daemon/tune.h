/* SPDX-License-Identifier: ISC */

/*
 * Changes to a living budd, which an operator asks for through the status socket. Each is
 * done as a whole or not at all, takes effect at once, and is logged with who asked for it.
 *
 * What is set for a pool stands in its record, and holds for as long as the pool. What is
 * set for the host holds until the configuration is read again.
 */
#ifndef DAEMON_TUNE_H
#define DAEMON_TUNE_H

#include <sys/types.h>

#include <cjson/cJSON.h>

#include "daemon/tune_body.h"

struct arbiter;
struct session;

/** tune_pool() - change the pool of a session that has one
 * @uid:	who asks; allowed already, for the log
 * Return: 0, or -1 and *@why: nothing was changed */
int tune_pool(
    struct session *s, const struct tune_pool *t, uid_t uid, struct tune_why *why);
/** tune_host() - likewise */
int tune_host(
    struct arbiter *a, const struct tune_host *t, uid_t uid, struct tune_why *why);
/** tune_release() - a release pass, now
 * @only:	a session that has a pool; NULL: all pools
 * Return: {"blocks", "pools": [{"id", "name", "blocks"}]}, those pools that give blocks
 * back; NULL: no memory, but it was done */
cJSON *tune_release(struct arbiter *a, struct session *only, uid_t uid);

#endif
