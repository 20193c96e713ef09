/* SPDX-License-Identifier: ISC */

/* BUD_DEBUG=1 in the environment: each message on stderr. */
#ifndef CLIENT_DEBUG_H
#define CLIENT_DEBUG_H

#include <stdbool.h>

#include "proto/messages.h"

/** bud__debug_wanted() - does the environment ask for it? */
bool bud__debug_wanted(void);
/** bud__debug_message() - one line: direction, name, tag, and what matters of it */
void bud__debug_message(const char *direction, const union proto_msg *msg);

#endif
