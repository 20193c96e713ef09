/* SPDX-License-Identifier: ISC */

/* The keys of budd.conf: which there are, in which section, and what each may be. */
#ifndef DAEMON_CONFIG_KEY_H
#define DAEMON_CONFIG_KEY_H

#include <stddef.h>
#include <stdint.h>

#include "proto/ledger.h"

#define CONFIG_POOL_SIZE_MAX (CHUNKS_MAX * CHUNK_SIZE) /* what a ledger can tell of */
#define CONFIG_WEIGHT_MAX    1000u

enum config_kind {
	CONFIG_HOST,
	CONFIG_POOL,
	CONFIG_STATUS,
	CONFIG_KINDS
};

enum config_host_key {
	HOST_WALL,
	HOST_TICK,
	HOST_RELEASE_PERIOD,
	HOST_IDLE,
	HOST_HELLO_TIMEOUT,
	HOST_UNREGISTER_TIMEOUT,
	HOST_CLIENTS_MAX,
	HOST_USER_CLIENTS,
	HOST_OVERTAKEN_MAX,
	HOST_USER_WALL,
	HOST_USER_POOLS,
	HOST_USER_REQUESTS,
	HOST_PRESSURE,
};

enum config_pool_key {
	POOL_USER,
	POOL_GROUP,
	POOL_BASE,
	POOL_ADD,
	POOL_WALL,
	POOL_WALL_MAX,
	POOL_WALL_TOTAL,
	POOL_WEIGHT,
	POOL_HEAP,
	POOL_HEADROOM,
	POOL_MAX_BUFFER,
	POOL_POLICY,
	POOL_CHECK_IDLE,
	POOL_KEYS
};

#define CONFIG_KEYS_MAX POOL_KEYS /* no section has more */

/* Why a value is refused; what is printed is "KEY = VALUE", and then this. */
struct config_why {
	char text[200];
};

struct config_key {
	const char *name;
	/* 0, or -1 and *why; *field is written on success only. */
	int (*set)(const struct config_key *k, const char *value, void *field,
	    struct config_why *why);
	size_t offset; /* of the field in struct config_section */
	uint64_t min;
	uint64_t max;
	const char *zero; /* what 0 means where it is below min; NULL: nothing */
};

/* A kind of section. */
struct config_keys {
	const char *name;
	const struct config_key *keys;
	unsigned int count;
};

extern const struct config_keys config_keys[CONFIG_KINDS];

/** config_key_find() - its index in the section's keys; their count: there is none */
unsigned int config_key_find(enum config_kind kind, const char *name);

/** config_key_unknown() - what to say of a key that config_key_find() does not find */
void config_key_unknown(
    enum config_kind kind, const char *name, struct config_why *why);

#endif
