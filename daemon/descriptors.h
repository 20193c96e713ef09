/* SPDX-License-Identifier: ISC */

/* How many descriptors there are, and how many clients they are enough for. */
#ifndef DAEMON_DESCRIPTORS_H
#define DAEMON_DESCRIPTORS_H

#include <stdint.h>

/** Why a client is refused (EUSERS: EMFILE would speak of a limit of its own) */
#define DESCRIPTORS_NONE_LEFT                                                  \
	"budd has no descriptors left for another client: raise LimitNOFILE= " \
	"or lower clients_max"

/** descriptors_raise() - the soft limit to the hard one; that of most systems is 1024 */
void descriptors_raise(void);
/** descriptors_fit() - no more clients than there are descriptors for, whoever needs most of
 * them: without one a keeper could not start an arbiter. Says so in the log */
void descriptors_fit(uint32_t *clients_max);

#endif
