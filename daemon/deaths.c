/* SPDX-License-Identifier: ISC */

/* Deaths of arbiters. */
#include "daemon/deaths.h"

void
deaths_note(struct deaths *d, struct instant now)
{
	d->at[d->count++ % DEATHS_MANY] = now;
}

/* The slot that is written next holds the oldest. */
bool
deaths_are_many(const struct deaths *d, struct instant now)
{
	return d->count >= DEATHS_MANY &&
	       instant_before(
		   now, instant_add(d->at[d->count % DEATHS_MANY], DEATHS_PERIOD_NS));
}
