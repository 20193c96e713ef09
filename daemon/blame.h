/* SPDX-License-Identifier: ISC */

/*
 * Who is to blame for the death of an arbiter.
 *
 * While an arbiter is busy with a session, a note of that stands in memory which outlives
 * it. If it dies of its own doing then (deaths.h), its heir lays the death at the door of
 * that session. A session that has two of them is not listened to any more, as if it had
 * misbehaved: whatever it said, or has said and nobody has read yet, ends no third arbiter.
 * When deaths are many, one is enough. If its pool was taken over and a death is laid at its
 * door all the same, it was the pool: then nobody touches that either, until its process is
 * gone. Its pages stay locked in any case.
 */
#ifndef DAEMON_BLAME_H
#define DAEMON_BLAME_H

#include <stdint.h>

struct arbiter;

#define BLAME_DEATHS 2u /* of a session; with the next one its pool is let alone, too */

enum blame_verdict {
	BLAME_NONE,
	BLAME_DEAF, /* its pool is taken over, and nobody listens to it */
	BLAME_SHUN, /* not even that */
};

/** blame_begin() - what follows, until blame_end(), is done for this session */
void blame_begin(struct arbiter *a, uint32_t session, uint32_t slot);
void blame_end(struct arbiter *a);
/** blame_inherit() - at the start of an arbiter: whose doing was it? */
void blame_inherit(struct arbiter *a);
/** blame_meet() - a session comes from the keeper; one that is new here has a clean record */
enum blame_verdict blame_meet(struct arbiter *a, uint32_t session, uint32_t slot);

#endif
