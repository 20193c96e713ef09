/* SPDX-License-Identifier: ISC */

/*
 * A policy: when a pool grows ahead of demand, how large a block is, and what the release
 * pass gives back. It sees figures and answers with figures; the core does the rest, and
 * keeps to the walls whatever a policy says.
 */
#ifndef DAEMON_POLICY_H
#define DAEMON_POLICY_H

#include <stdbool.h>
#include <stdint.h>

/* A pool as a policy sees it. Chunks. */
struct policy_view {
	uint32_t blocks;      /* the base block included */
	uint32_t idle_blocks; /* from the last one down: empty, and idle long enough */
	uint32_t planned;
	uint32_t wall;
	uint32_t add;
	uint32_t headroom; /* asked for by the section */
	bool mark_passed;  /* a buffer was taken within `headroom` of the end */
};

struct policy {
	const char *name;
	/* May a block be added before anybody has to ask for it? */
	bool (*grows_ahead)(const struct policy_view *v);
	/* Chunks of the next block; the request, if there is one, needs @need. */
	uint32_t (*block)(const struct policy_view *v, uint32_t need);
	/* How many of the last blocks this pass gives back, at most blocks - 1. */
	uint32_t (*releases)(const struct policy_view *v);
};

/* The method's rule, and the default: equal blocks; one is given back if it and the one
 * before it are idle. */
extern const struct policy policy_fixed;
/* All idle blocks but one are given back in one pass. */
extern const struct policy policy_several;
/* Blocks of variable size: a quarter of what there is, at least `add`. */
extern const struct policy policy_growing;

/** policy_find() - by its name in budd.conf; NULL: there is none */
const struct policy *policy_find(const char *name);
/** policy_number() - a name for it that a record can hold; policy_numbered() - and back;
 * NULL: there is none */
uint32_t policy_number(const struct policy *policy);
const struct policy *policy_numbered(uint32_t number);
/** policy_names() - all of them, for people: "fixed, several, growing" */
const char *policy_names(void);

#endif
