/* SPDX-License-Identifier: ISC */

/*
 * Between a session's own files: session.c is its life, session_says.c what it says to the
 * client and to the keeper, session_hears.c what the client says to it.
 */
#ifndef DAEMON_SESSION_PARTS_H
#define DAEMON_SESSION_PARTS_H

#include <event2/util.h>
#include <stdint.h>

#include "daemon/session.h"

#define SUBJECT       "pool %u %s (uid %u pid %d %s)"
#define SUBJECT_OF(s) (s)->id, (s)->name, (s)->uid, (s)->pid, (s)->command

/* Ends of several kinds. All but the last may free it. */

/** session_end() - it is over, and so is its pool; frees it */
void session_end(struct session *s, const char *why);
/** session_drop() - it misbehaved: costs this client its service, and nobody else anything */
void session_drop(struct session *s, const char *why);
/** session_on_hangup() - there is nothing more to read */
void session_on_hangup(struct session *s);
/** session_break() - session_drop(), from the loop: for where the core is at work */
void session_break(struct session *s, const char *why);

/* To the client. Never frees it. */

/** session_send() - or break it, if it does not read what is sent */
void session_send(struct session *s, const union proto_msg *msg);
void session_send_refuse(
    struct session *s, uint64_t tag, int error, const char *reason);
/** session_send_blocks() - all blocks that are the client's, and the one that it is being
 * asked for */
void session_send_blocks(struct session *s);

/** session_on_readable() - of its socket; @arg: the session, which may be no more afterwards */
void session_on_readable(evutil_socket_t fd, short events, void *arg);

#endif
