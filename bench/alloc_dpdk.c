/* SPDX-License-Identifier: ISC */

/* DPDK's rte_mempool, one of each size; with its cache of a thread, or -DNO_CACHE. */
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mempool.h>

#include "bench/loop.h"

#ifdef NO_CACHE
#define CACHE 0
#else
#define CACHE 256
#endif
#define ORDERS 9u

static struct rte_mempool *pools[ORDERS];

static inline unsigned int
order_of(size_t size)
{
	return (unsigned int)(63 - 12 - __builtin_clzl(size));
}

static void
setup(void)
{
	static char a0[] = "bench", a1[] = "--no-huge", a2[] = "--no-pci", a3[] = "-m",
		    a4[] = "5000", a5[] = "--no-telemetry", a6[] = "--log-level=1",
		    a7[] = "-l", a8[] = "0", a9[] = "--no-shconf";
	char *argv[] = { a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, NULL };
	char name[16];

	if (rte_eal_init(10, argv) < 0)
		errx(1, "rte_eal_init: %s", rte_strerror(rte_errno));
	for (unsigned int i = 0; i < ORDERS; i++) {
		unsigned int n = i <= 4 ? 4095 : 1023;

		snprintf(name, sizeof(name), "order%u", i);
		pools[i] = rte_mempool_create(name, n, PAGE << i, CACHE, 0, NULL, NULL,
		    NULL, NULL, SOCKET_ID_ANY, 0);
		if (pools[i] == NULL)
			errx(1, "rte_mempool_create: %s", rte_strerror(rte_errno));
	}
}

/* Only threads that it knows have a cache. */
static void
setup_thread(void)
{
	if (rte_lcore_id() == LCORE_ID_ANY && rte_thread_register() != 0)
		errx(1, "rte_thread_register: %s", rte_strerror(rte_errno));
}

static inline void *
take(size_t size)
{
	void *buf;

	return rte_mempool_get(pools[order_of(size)], &buf) == 0 ? buf : NULL;
}

static inline void
give(void *buf, size_t size)
{
	rte_mempool_put(pools[order_of(size)], buf);
}
