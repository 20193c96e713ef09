/* SPDX-License-Identifier: ISC */

/* Users and groups. */
#include "daemon/user.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct user *
user_find(const struct user_list *users, uid_t uid)
{
	struct user *u;

	LIST_FOREACH (u, users, entry)
		if (u->uid == uid)
			break;
	return u;
}

struct user *
user_get(struct user_list *users, uid_t uid)
{
	struct user *u = user_find(users, uid);

	if (u == NULL) {
		if ((u = calloc(1, sizeof(*u))) == NULL)
			return NULL;
		u->uid = uid;
		u->weight = 1;
		LIST_INSERT_HEAD(users, u, entry);
	}
	u->pools++;
	return u;
}

void
user_put(struct user *u)
{
	if (--u->pools > 0)
		return;
	LIST_REMOVE(u, entry);
	free(u);
}

struct group *
group_get(struct group_list *groups, const char *name, uint64_t wall)
{
	struct group *g;

	LIST_FOREACH (g, groups, entry)
		if (strcmp(g->name, name) == 0)
			break;
	if (g == NULL) {
		if ((g = calloc(1, sizeof(*g))) == NULL)
			return NULL;
		memcpy(g->name, name, strnlen(name, sizeof(g->name) - 1));
		LIST_INSERT_HEAD(groups, g, entry);
	}
	g->wall = wall;
	g->pools++;
	return g;
}

void
group_put(struct group *g)
{
	if (--g->pools > 0)
		return;
	LIST_REMOVE(g, entry);
	free(g);
}
