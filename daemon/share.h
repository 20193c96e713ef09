/* SPDX-License-Identifier: ISC */

/* Between pools: who may grow next when there is not enough for all. Part of the core. */
#ifndef DAEMON_SHARE_H
#define DAEMON_SHARE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/clock.h"

struct core;
struct pool;

/** share_fits() - would a pool of @planned chunks stay within the walls that it shares with
 * others: the host's, its user's, its group's? */
bool share_fits(const struct core *c, const struct pool *p, uint32_t planned);
/** share_admit() - may it grow to @planned chunks now? If not, it is starved from here on,
 * blocks that others can spare are closed, and share_serve() will come back to it */
bool share_admit(struct core *c, struct pool *p, uint32_t planned);
/** share_before() - is it @a's turn before @b's, when both want a block? */
bool share_before(const struct core *c, const struct pool *a, const struct pool *b);
/** share_is_wanted() - does another starve for what @p would take? */
bool share_is_wanted(const struct core *c, const struct pool *p);
/** share_join() - stand in line for a block of @ask chunks, until share_serve() */
void share_join(struct core *c, struct pool *p, uint32_t ask);
/** share_forget() - it does not want a block any more */
void share_forget(struct core *c, struct pool *p);
/** share_serve() - memory became free, or somebody began to starve: serve those who wait for
 * it, in their order */
void share_serve(struct core *c, struct instant now);
/** share_squeeze() - at every tick: an end of pressure is noted here */
void share_squeeze(struct core *c);

#endif
