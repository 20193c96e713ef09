/* SPDX-License-Identifier: ISC */

/*
 * USDT probes: a nop each, and a note in the file that tells tracers where and with what.
 * Where sys/sdt.h was not there when bud was built, they are nothing at all; the arguments
 * must have no side effects. They are listed in budd(8).
 */
#ifndef DAEMON_PROBES_H
#define DAEMON_PROBES_H

#ifdef HAVE_SYS_SDT_H
#include <sys/sdt.h>
#else
#define DTRACE_PROBE3(provider, name, a, b, c) ((void)(a), (void)(b), (void)(c))
#endif

/* A request of @bytes has its turn after @ns. */
#define PROBE_GRANT(pool, bytes, ns) DTRACE_PROBE3(budd, grant, pool, bytes, ns)
/* A request of @bytes has to wait; with it, @length are in the pool's queue. */
#define PROBE_QUEUE(pool, bytes, length) DTRACE_PROBE3(budd, queue, pool, bytes, length)
/* A block of @bytes was added, @ns after it was wanted. */
#define PROBE_GROW(pool, bytes, ns) DTRACE_PROBE3(budd, grow, pool, bytes, ns)
/* A block of @bytes was given back, for an enum release_reason. */
#define PROBE_RELEASE(pool, bytes, reason) \
	DTRACE_PROBE3(budd, release, pool, bytes, reason)

#endif
