/* SPDX-License-Identifier: ISC */

/* Between pools: who may grow next when there is not enough for all. Part of the core. */
#ifndef DAEMON_SHARE_H
#define DAEMON_SHARE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/clock.h"

struct core;
struct place;
struct pool;

/** share_shortage() - what a pool of @planned chunks would lack */
enum shortage {
	SHORT_OF_NOTHING,
	SHORT_OF_HOST,
	SHORT_OF_USER,
	SHORT_OF_GROUP,
};
enum shortage share_shortage(
    const struct core *c, const struct pool *p, uint32_t planned);
/** share_concerns() - is memory that @q takes, or gives back, what @p starves for? */
bool share_concerns(const struct core *c, const struct pool *q, const struct pool *p);
/** share_compare() - a / wa against b / wb, both of bytes: less, equal or greater than 0 */
int share_compare(uint64_t a, uint32_t wa, uint64_t b, uint32_t wb);
/** share_fits() - would a pool of @planned chunks stay within the walls that it shares with
 * others: the host's, its user's, its group's? */
bool share_fits(const struct core *c, const struct pool *p, uint32_t planned);
/** share_admit() - may it grow to @planned chunks now? If not, it is starved from here on,
 * blocks that others can spare are closed, and share_serve() will come back to it */
bool share_admit(struct core *c, struct pool *p, uint32_t planned);
/** share_before() - of two that starve, is it @a's turn before @b's? */
bool share_before(struct core *c, const struct pool *a, const struct pool *b);
/** share_is_wanted() - does another starve for what @p would take? */
bool share_is_wanted(const struct core *c, const struct pool *p);
/** share_join() - stand in line for a block of @ask chunks, until share_serve() */
void share_join(struct core *c, struct pool *p, uint32_t ask);
/** share_forget() - it does not want a block any more */
void share_forget(struct core *c, struct pool *p);
/** share_inherit() - it starved under an earlier arbiter, and has its place back; for a
 * while, until its client asks again */
void share_inherit(struct core *c, struct pool *p, struct instant now);
/** share_disinherit() - the while is over: a client that has not asked loses the place */
void share_disinherit(struct core *c, struct pool *p, struct instant now);
/** share_serve() - memory became free, or somebody began to starve: serve those who wait for
 * it, in their order */
void share_serve(struct core *c, struct instant now);
/** share_moved() - after @p left the line, or found another place in it: what was kept for
 * it others may have, and another may stand in line for its group */
void share_moved(
    struct core *c, const struct pool *p, const struct place *was, struct instant now);
/** share_squeeze() - have others spare blocks for those who starve; at every tick, since
 * clients empty blocks unseen */
void share_squeeze(struct core *c);

#endif
