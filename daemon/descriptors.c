/* SPDX-License-Identifier: ISC */

/* Descriptors and clients. */
#include "daemon/descriptors.h"

#include <sys/resource.h>

#include "daemon/log.h"

/* Of the keeper's, for a client with a pool. An arbiter needs two, and one more for the moment
 * of taking it over. */
#define CLIENT_FDS 4u
#define OTHER_FDS \
	128u /* that keeper and arbiter need beside, status connections and all */

void
descriptors_raise(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

void
descriptors_fit(uint32_t *clients_max)
{
	struct rlimit limit;
	uint64_t clients;

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
		return;
	clients = limit.rlim_cur > OTHER_FDS + CLIENT_FDS
		      ? (limit.rlim_cur - OTHER_FDS) / CLIENT_FDS
		      : 1;
	if (clients >= *clients_max)
		return;
	log_warn("budd",
	    "%llu descriptors are enough for %llu clients, not for clients_max %u: "
	    "raise LimitNOFILE= or lower clients_max; no more are let in",
	    (unsigned long long)limit.rlim_cur, (unsigned long long)clients,
	    *clients_max);
	*clients_max = (uint32_t)clients;
}
