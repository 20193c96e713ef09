/* SPDX-License-Identifier: ISC */

/*
 * What the parts of check_sim share: one world for each test, and clients that are always
 * hungry. Sizes in chunks unless they are called bytes.
 */
#ifndef TESTS_SIM_CHECK_H
#define TESTS_SIM_CHECK_H

#include <check.h>
#include <stdint.h>

#include "tests/world.h"

#define CHUNKS(n) ((n)*CHUNK_SIZE)
#define FOR_EVER  (-1)

extern struct world sim_world;

/** sim_add_histories() - a test in as many loops as @few, and @a_second more for each second
 * of BUD_SOAK; or in the one that BUD_SEED tells of */
void sim_add_histories(TCase *t, const TTest *test, int few, int a_second);

void sim_host_wall(uint64_t bytes);
/** sim_pool() - settled, or the test fails */
struct world_pool *sim_pool(const struct pool_limits *limits);
/** sim_limits() - as world_limits(), of a user, with a weight */
struct pool_limits sim_limits(
    uint32_t base, uint32_t add, uint32_t wall, uid_t uid, uint32_t weight);
uint32_t sim_below(uint32_t n);

/** sim_fill() - take whole chunks until nothing is free; no growth */
void sim_fill(struct world_pool *p);
/** sim_hog() - a pool of a user of its own that holds @blocks blocks of @add above a base
 * of one chunk */
struct world_pool *sim_hog(uint32_t add, uint32_t blocks);
/** sim_give_last_block() - give back what lies in the last block */
void sim_give_last_block(struct world_pool *p);
/** sim_hungry() - every pool that asks for nothing asks for a chunk, until all of them wait
 */
void sim_hungry(struct world_pool *const *pools, uint32_t n);
/** sim_feed() - @hog gives back its blocks one by one to hungry @pools */
void sim_feed(struct world_pool *hog, struct world_pool *const *pools, uint32_t n);
/** sim_jain() - Jain's index of pinned / weight */
double sim_jain(struct world_pool *const *pools, uint32_t n);

TCase *sim_caches_tcase(void);
TCase *sim_fair_tcase(void);
TCase *sim_walls_tcase(void);
TCase *sim_method_tcase(void);
TCase *sim_history_tcase(void);

#endif
