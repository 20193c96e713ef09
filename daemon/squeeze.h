/* SPDX-License-Identifier: ISC */

/* Pressure between pools: blocks that others can spare for one that starves. */
#ifndef DAEMON_SQUEEZE_H
#define DAEMON_SQUEEZE_H

struct core;
struct pool;

/** squeeze_for() - close empty last blocks of others, one of each pool at a time, until
 * enough for @p, which starves and is the first in line, is on its way; tell those above
 * their share, once */
void squeeze_for(struct core *c, const struct pool *p);
/** squeeze_is_over() - nobody starves any more: the next shortage is news again */
void squeeze_is_over(struct core *c);

#endif
