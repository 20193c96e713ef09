/* SPDX-License-Identifier: ISC */

/* Users and groups. */
#include "daemon/access.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/config.h"

#define GROUPS_FEW 64 /* and more take memory for a moment */

bool
access_peer_of(int sock, struct access_peer *peer)
{
	struct ucred cred;
	socklen_t size = sizeof(cred);

	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &size) == -1)
		return false;
	*peer = (struct access_peer){ cred.uid, cred.gid, sock };
	return true;
}

static bool
contains(const gid_t *groups, size_t n, gid_t wanted)
{
	while (n > 0)
		if (groups[--n] == wanted)
			return true;
	return false;
}

/* The kernel says how many there are when they do not fit. */
static bool
has_group(int sock, gid_t wanted)
{
	gid_t few[GROUPS_FEW], *groups = few;
	socklen_t size = sizeof(few);
	bool found = false;
	int r;

	r = getsockopt(sock, SOL_SOCKET, SO_PEERGROUPS, few, &size);
	if (r == -1 && errno == ERANGE && (groups = malloc(size)) != NULL)
		r = getsockopt(sock, SOL_SOCKET, SO_PEERGROUPS, groups, &size);
	if (r == 0)
		found = contains(groups, size / sizeof(*groups), wanted);
	if (groups != few)
		free(groups);
	return found;
}

static bool
is_in_group(const struct access_peer *peer, gid_t wanted)
{
	if (wanted == CONFIG_NO_ID)
		return false;
	return peer->gid == wanted ||
	       (peer->sock != -1 && has_group(peer->sock, wanted));
}

bool
access_may_open(const struct config_pool *section, const struct access_peer *peer)
{
	if (peer->uid == 0 || (section->user[0] == '\0' && section->group[0] == '\0'))
		return true;
	return (section->uid != CONFIG_NO_ID && peer->uid == section->uid) ||
	       is_in_group(peer, section->gid);
}

bool
access_may_tune(const struct config *c, const struct access_peer *peer)
{
	return peer->uid == 0 || peer->uid == geteuid() ||
	       is_in_group(peer, c->tuners_gid);
}

bool
access_may_look(const struct config *c, const struct access_peer *peer)
{
	return c->status_group[0] == '\0' || access_may_tune(c, peer) ||
	       is_in_group(peer, c->status_gid);
}
