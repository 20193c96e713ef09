/* SPDX-License-Identifier: ISC */

/*
 * The conformance suite: each requirement of the method is one test that bears its number,
 * and doc/method.md is the table. Where the core alone proves it, the core runs in a world
 * of the test's own (tests/world.h); where the kernel, the library or the tool has a part in
 * it, a real budd does (tests/daemon.h). Sizes in chunks unless they are called bytes.
 */
#ifndef TESTS_METHOD_METHOD_H
#define TESTS_METHOD_METHOD_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/daemon.h"
#include "tests/world.h"

#define CHUNKS(n) ((n)*CHUNK_SIZE)
#define FOR_EVER  (-1)
/* The method's own figures, of which the world keeps time. */
#define TICK_NS      (500 * NS_PER_MS)
#define PERIOD_TICKS 120u /* 60 s */
#define IDLE_TICKS   600u /* 5 min */

/** method_world - of the test that runs */
extern struct world method_world;

/** method_core() - a case whose tests find a new world, which is judged at their end */
TCase *method_core(Suite *s, const char *name);
/** method_daemon() - a case whose tests start budd themselves, in method_budd */
TCase *method_daemon(Suite *s, const char *name);
extern struct daemon method_budd;

/** method_pool() - opened and settled */
struct world_pool *method_pool(uint32_t base, uint32_t add, uint32_t wall);
/** method_fill() - take whole chunks until none is free; no growth */
void method_fill(struct world_pool *p);
/** method_grow() - a pool with no frame free and @blocks additional blocks */
void method_grow(struct world_pool *p, uint32_t blocks);
/** method_empty() - give back what lies in block @index */
void method_empty(struct world_pool *p, uint32_t index);
/** method_ask() - a request of so many chunks that waits as long as need be; its tag */
uint64_t method_ask(struct world_pool *p, uint32_t chunks);
enum world_state method_state(const struct world_pool *p, uint64_t tag);
uint32_t method_block_chunks(const struct world_pool *p, uint32_t index);
/** method_frame() - where the buffer that was taken last starts */
uint32_t method_frame(const struct world_pool *p);

/** method_meminfo() - a line of /proc/meminfo, in bytes; 0: there is none */
uint64_t method_meminfo(const char *name);
/** method_budctl() - what "budctl ARGS" prints about method_budd; it must succeed
 * Return: valid until the next call */
const char *method_budctl(const char *args);

void method_base(Suite *s);
void method_paging(Suite *s);
void method_growth(Suite *s);
void method_wall(Suite *s);
void method_release(Suite *s);
void method_triggers(Suite *s);
void method_structures(Suite *s);

#endif
