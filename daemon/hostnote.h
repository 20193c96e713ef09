/* SPDX-License-Identifier: ISC */

/*
 * What an operator has set for the host, kept where it outlives an arbiter, as what is set for
 * a pool is: until the configuration is read again.
 */
#ifndef DAEMON_HOSTNOTE_H
#define DAEMON_HOSTNOTE_H

struct arbiter;
struct core_params;

/** hostnote_keep() - @params are in force from now on */
void hostnote_keep(struct arbiter *a, const struct core_params *params);
/** hostnote_apply() - at the start of an arbiter: into @params, which are as the configuration
 * has them. What could not have been set is passed over */
void hostnote_apply(const struct arbiter *a, struct core_params *params);

#endif
