/* SPDX-License-Identifier: ISC */

/* bud, called through the library, or with INLINE its inline path compiled in. BENCH_POOL names
 * the pool; BUD_SOCKET budd's socket. */
#include "bench/loop.h"

#ifdef INLINE
#include "bud-inline.h"
#define bud_alloc bud_alloc_inline
#define bud_free  bud_free_inline
#else
#include "bud.h"
#endif

static struct bud_pool *pool;

static void
setup(void)
{
	struct bud_config config = { .size = sizeof(config) };
	int r;

	config.pool = getenv("BENCH_POOL");
	if ((r = bud_open(&pool, &config)) != 0)
		errx(1, "bud_open: %s", strerror(-r));
}

static void
setup_thread(void)
{
}

static inline void *
take(size_t size)
{
	return bud_alloc(pool, size, -1);
}

static inline void
give(void *buf, size_t size)
{
	(void)size;
	bud_free(pool, buf);
}
