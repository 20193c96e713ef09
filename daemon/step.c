/* SPDX-License-Identifier: ISC */

/* Moments of death, of which budd knows none. */
#include "daemon/step.h"

void
step(void)
{
}

void
step_heard(const union proto_msg *msg)
{
	(void)msg;
}
