/* SPDX-License-Identifier: ISC */

/* Who may do what. */
#include "daemon/access.h"

#include <grp.h>
#include <pwd.h>
#include <stddef.h>
#include <unistd.h>

#include "daemon/config.h"

#define GROUPS_MAX 256

static bool
is_user(const char *name, uid_t uid)
{
	const struct passwd *pw = name[0] != '\0' ? getpwnam(name) : NULL;

	return pw != NULL && pw->pw_uid == uid;
}

static bool
is_in_group(const char *name, uid_t uid, gid_t gid)
{
	const struct group *gr = name[0] != '\0' ? getgrnam(name) : NULL;
	const struct passwd *pw;
	gid_t groups[GROUPS_MAX], wanted;
	int n = GROUPS_MAX;

	if (gr == NULL)
		return false;
	wanted = gr->gr_gid;
	if (wanted == gid)
		return true;
	if ((pw = getpwuid(uid)) == NULL ||
	    getgrouplist(pw->pw_name, gid, groups, &n) == -1)
		return false;
	while (n > 0)
		if (groups[--n] == wanted)
			return true;
	return false;
}

bool
access_may_open(const struct config_pool *section, uid_t uid, gid_t gid)
{
	if (uid == 0 || (section->user[0] == '\0' && section->group[0] == '\0'))
		return true;
	return is_user(section->user, uid) || is_in_group(section->group, uid, gid);
}

bool
access_may_look(const struct config *c, uid_t uid, gid_t gid)
{
	return c->status_group[0] == '\0' || access_may_tune(uid, gid) ||
	       is_in_group(c->status_group, uid, gid);
}

bool
access_may_tune(uid_t uid, gid_t gid)
{
	return uid == 0 || uid == geteuid() || is_in_group(ACCESS_TUNERS, uid, gid);
}
