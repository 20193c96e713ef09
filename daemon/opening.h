/* SPDX-License-Identifier: ISC */

/*
 * How a session gets its pool: HELLO, the memory that the keeper makes, the base block that
 * it pins; or, after an arbiter's death, what there is already.
 */
#ifndef DAEMON_OPENING_H
#define DAEMON_OPENING_H

#include <stdbool.h>

#include "daemon/channel.h"

struct session;

/** opening_on_hello() - from NEW to CREATING, or refused */
void opening_on_hello(struct session *s, const union proto_msg *msg);
/** opening_on_other_hello() - of a version that we do not speak, which is all that may be read */
void opening_on_other_hello(struct session *s, const struct proto_hello *m);
/** opening_is_sound() - the record of the pool in @msg is one that an arbiter of ours could have
 * left: a core that believed another would fall over it, and so would the next */
bool opening_is_sound(struct session *s, const struct channel_msg *msg);
/** opening_adopt() - from NEW to OPEN, with the pool of an earlier arbiter
 * Return: 0 or a negative errno */
int opening_adopt(struct session *s, const struct channel_msg *msg, int ledger);

#endif
