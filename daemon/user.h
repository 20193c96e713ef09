/* SPDX-License-Identifier: ISC */

/*
 * Users and groups: whom the pools belong to. A user is a uid, with all of its connections; a
 * group is a section with a wall_total, which its pools share.
 */
#ifndef DAEMON_USER_H
#define DAEMON_USER_H

#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "proto/messages.h"

struct pool;

struct user {
	LIST_ENTRY(user) entry;
	uid_t uid;
	uint32_t pools;     /* those that are hurried included */
	uint32_t hurries;   /* pools that are not there yet; see hurry.h */
	uint32_t requests;  /* in the queues of all its pools */
	uint32_t weight;    /* the largest of its pools' */
	uint64_t charge;    /* bytes pinned or promised, ledgers included */
	uint64_t hurried;   /* ... of that, for those that are not there yet */
	uint64_t pinned;    /* bytes pinned */
	struct pool *first; /* of those that starve; scratch of share.c */
};

struct group {
	LIST_ENTRY(group) entry;
	char name[PROTO_NAME_SIZE];
	uint32_t pools;
	uint64_t wall;
	uint64_t charge;     /* bytes of memory pinned or promised, without ledgers */
	struct pool *oldest; /* of those that starve; scratch of share.c */
};

LIST_HEAD(user_list, user);
LIST_HEAD(group_list, group);

/** user_get() - the user of that uid, made if need be; NULL: no memory */
struct user *user_get(struct user_list *users, uid_t uid);
/** user_find() - the user of that uid; NULL: it has no pool */
struct user *user_find(const struct user_list *users, uid_t uid);
/** user_put() - one pool less; frees the user with its last */
void user_put(struct user *u);
/** group_get() - the group of that name, made if need be; its wall is now @wall */
struct group *group_get(struct group_list *groups, const char *name, uint64_t wall);
void group_put(struct group *g);

#endif
