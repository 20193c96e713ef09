/* SPDX-License-Identifier: ISC */

/* The policies. */
#include "daemon/policy.h"

#include <stddef.h>
#include <string.h>

static uint32_t
larger(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

static bool
ahead_at_the_mark(const struct policy_view *v)
{
	return v->headroom > 0 && v->mark_passed;
}

static uint32_t
equal_blocks(const struct policy_view *v, uint32_t need)
{
	return larger(v->add, need);
}

/* A quarter, but never past the wall: there an equal block may still fit. */
static uint32_t
a_quarter(const struct policy_view *v, uint32_t need)
{
	uint32_t block = larger(v->planned / 4, equal_blocks(v, need));
	uint32_t left = v->wall > v->planned ? v->wall - v->planned : 0;

	return block <= left ? block : equal_blocks(v, need);
}

static uint32_t
release_one(const struct policy_view *v)
{
	return v->blocks > 1 && v->idle_blocks > 1;
}

static uint32_t
release_all_but_one(const struct policy_view *v)
{
	return v->blocks > 1 && v->idle_blocks > 1 ? v->idle_blocks - 1 : 0;
}

const struct policy policy_fixed = { "fixed", ahead_at_the_mark, equal_blocks,
	release_one };
const struct policy policy_several = { "several", ahead_at_the_mark, equal_blocks,
	release_all_but_one };
const struct policy policy_growing = { "growing", ahead_at_the_mark, a_quarter,
	release_one };

static const struct policy *const policies[] = { &policy_fixed, &policy_several,
	&policy_growing };

#define POLICIES (sizeof(policies) / sizeof(policies[0]))

const struct policy *
policy_find(const char *name)
{
	for (size_t i = 0; i < POLICIES; i++)
		if (strcmp(policies[i]->name, name) == 0)
			return policies[i];
	return NULL;
}

uint32_t
policy_number(const struct policy *policy)
{
	uint32_t i = 0;

	while (i < POLICIES && policies[i] != policy)
		i++;
	return i;
}

const struct policy *
policy_numbered(uint32_t number)
{
	return number < POLICIES ? policies[number] : NULL;
}

const char *
policy_names(void)
{
	return "fixed, several, growing";
}
