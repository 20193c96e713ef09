/* SPDX-License-Identifier: ISC */

/*
 * The bodies of the requests that change a living budd: JSON from somebody who may be
 * hostile, read into a change, or refused as a whole. Values are in their absolute limits
 * then; whether they fit the pool or the host is tune.c's to judge.
 */
#ifndef DAEMON_TUNE_BODY_H
#define DAEMON_TUNE_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct policy;

#define TUNE_BODY_MAX      65536u             /* bytes */
#define TUNE_EXACT_MAX     ((1ull << 53) - 1) /* JSON's numbers are exact up to here */
#define TUNE_WEIGHT_MAX    1000u
#define TUNE_OVERTAKEN_MAX 10000u
#define TUNE_POOLS_MAX     10000u
#define TUNE_REQUESTS_MAX  1000000u
#define TUNE_TICK_MS_MAX   (3600u * 1000u)                    /* 1h */
#define TUNE_PERIOD_MS_MAX (UINT64_C(365) * 24 * 3600 * 1000) /* 365d */
#define TUNE_HOST_WALL_MIN ((uint64_t)1 << 20)

/* What is wrong: key, value, limits; for people. */
struct tune_why {
	char text[256];
};

enum tune_pool_key {
	TUNE_POOL_WALL,
	TUNE_POOL_ADD,
	TUNE_POOL_WEIGHT,
	TUNE_POOL_CHECK_IDLE,
	TUNE_POOL_POLICY,
};

/* PATCH /v1/pools/ID. What was not given is 0. */
struct tune_pool {
	uint32_t given; /* a bit for each enum tune_pool_key */
	uint64_t wall;  /* bytes */
	uint64_t add;   /* bytes, whole chunks */
	uint64_t weight;
	bool check_idle;
	const struct policy *policy;
};

enum tune_host_key {
	TUNE_HOST_WALL,
	TUNE_HOST_TICK,
	TUNE_HOST_RELEASE_PERIOD,
	TUNE_HOST_IDLE,
	TUNE_HOST_OVERTAKEN_MAX,
	TUNE_HOST_USER_WALL,
	TUNE_HOST_USER_POOLS,
	TUNE_HOST_USER_REQUESTS,
};

/* PATCH /v1/host */
struct tune_host {
	uint32_t given; /* a bit for each enum tune_host_key */
	uint64_t wall;
	uint64_t tick_ms;
	uint64_t release_period_ms;
	uint64_t idle_ms;
	uint64_t overtaken_max;
	uint64_t user_wall; /* 0: no limit; so the next two */
	uint64_t user_pools;
	uint64_t user_requests;
};

/* POST /v1/release */
struct tune_release {
	uint32_t given; /* bit 0: the pool */
	uint64_t pool;  /* its id */
};

/* Each reads @body, of @size bytes and without a NUL at its end, into *@t.
 * Return: 0, or -1 and *@why; *@t is written on success only */
int tune_read_pool(
    const char *body, size_t size, struct tune_pool *t, struct tune_why *why);
int tune_read_host(
    const char *body, size_t size, struct tune_host *t, struct tune_why *why);
/** tune_read_release() - no body at all is fine, too */
int tune_read_release(
    const char *body, size_t size, struct tune_release *t, struct tune_why *why);

/** tune_because() - write *@why; returns -1 */
int tune_because(struct tune_why *why, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
