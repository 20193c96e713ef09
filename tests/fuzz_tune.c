/* SPDX-License-Identifier: ISC */

/*
 * libFuzzer on the bodies of changes: any bytes, of any length. What is read keeps to the
 * limits that tune_body.h promises; what is refused is told, and changes nothing.
 *
 *	clang -g -O1 -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -I. \
 *	    $(pkg-config --cflags libbsd-overlay) tests/fuzz_tune.c daemon/tune_body.c \
 *	    daemon/policy.c -o fuzz_tune $(pkg-config --libs libbsd-overlay libcjson) -lm
 *	./fuzz_tune -max_total_time=60 -max_len=4096
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/policy.h"
#include "daemon/tune_body.h"
#include "proto/ledger.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool holds)
{
	if (!holds)
		abort();
}

static bool
within(uint32_t given, unsigned int key, uint64_t value, uint64_t min, uint64_t max)
{
	if ((given & 1u << key) == 0)
		return value == 0;
	return value >= min && value <= max;
}

static void
check_pool(const struct tune_pool *t)
{
	must(t->given < 1u << (TUNE_POOL_POLICY + 1));
	must(within(t->given, TUNE_POOL_WALL, t->wall, CHUNK_SIZE, TUNE_EXACT_MAX));
	must(within(t->given, TUNE_POOL_ADD, t->add, CHUNK_SIZE, TUNE_EXACT_MAX));
	must(t->add % CHUNK_SIZE == 0);
	must(within(t->given, TUNE_POOL_WEIGHT, t->weight, 1, TUNE_WEIGHT_MAX));
	must(((t->given & 1u << TUNE_POOL_POLICY) != 0) == (t->policy != NULL));
	must(t->policy == NULL || policy_find(t->policy->name) == t->policy);
}

static void
check_host(const struct tune_host *t)
{
	must(t->given < 1u << (TUNE_HOST_USER_REQUESTS + 1));
	must(within(
	    t->given, TUNE_HOST_WALL, t->wall, TUNE_HOST_WALL_MIN, TUNE_EXACT_MAX));
	must(within(t->given, TUNE_HOST_TICK, t->tick_ms, 1, TUNE_TICK_MS_MAX));
	must(within(t->given, TUNE_HOST_RELEASE_PERIOD, t->release_period_ms, 1,
	    TUNE_PERIOD_MS_MAX));
	must(within(t->given, TUNE_HOST_IDLE, t->idle_ms, 1, TUNE_PERIOD_MS_MAX));
	must(t->overtaken_max <= TUNE_OVERTAKEN_MAX);
	must(t->user_wall == 0 || t->user_wall >= TUNE_HOST_WALL_MIN);
	must(t->user_pools <= TUNE_POOLS_MAX);
	must(t->user_requests <= TUNE_REQUESTS_MAX);
}

static void
check_told(const struct tune_why *why)
{
	must(memchr(why->text, '\0', sizeof(why->text)) != NULL);
	must(why->text[0] != '\0');
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tune_pool pool = { .given = UINT32_MAX };
	struct tune_host host = { .given = UINT32_MAX };
	struct tune_release release = { .given = UINT32_MAX };
	struct tune_why why = { "" };
	char *body = malloc(size > 0 ? size : 1); /* its very size */

	if (body == NULL)
		return 0;
	memcpy(body, data, size);
	if (tune_read_pool(body, size, &pool, &why) == 0)
		check_pool(&pool);
	else
		check_told(&why);
	if (tune_read_host(body, size, &host, &why) == 0)
		check_host(&host);
	else
		must(host.given == UINT32_MAX);
	if (tune_read_release(body, size, &release, &why) == 0)
		must(release.given <= 1 && release.pool <= UINT32_MAX);
	else
		must(release.given == UINT32_MAX);
	free(body);
	return 0;
}
