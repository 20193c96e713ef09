/* SPDX-License-Identifier: ISC */

/*
 * budd.conf: the values, their defaults, and what makes a file wrong.
 *
 * The file is INI, read with inih. Sizes are written 64M, 1G, 256K; times 500ms, 60s,
 * 5min, 2h. An unknown section or key, a key twice, and an impossible value are errors
 * that name file, line, value, limit and remedy; all errors are told, not only the first.
 *
 * Drop-ins: the files FILE.d/NAME.conf are read behind FILE, in the order of their names,
 * but those whose NAME starts with a dot. A key there replaces the same key of the same
 * section in the files before; each file has to be right by itself, too.
 *
 * A key that a section does not give has the built-in default, in every section: what
 * [pool default] says holds for the pools that have no section of their own, and for no
 * others.
 */
#ifndef DAEMON_CONFIG_H
#define DAEMON_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "daemon/heap_kind.h"
#include "proto/messages.h"

#define CONFIG_PATH         SYSCONFDIR "/budd.conf"
#define CONFIG_DEFAULT_POOL "default"
#define CONFIG_CLIENTS_MAX  10000u     /* the most that clients_max may be */
#define CONFIG_BLOCKS_MAX   1000u      /* blocks that a pool may have at its wall_max */
#define CONFIG_SECTIONS_MAX 1000u      /* of all files together */
#define CONFIG_FILE_MAX     (1u << 20) /* bytes of a file */
#define CONFIG_TUNERS       "budadm"   /* whose members may change a living budd */
#define CONFIG_NO_ID        UINT32_MAX /* nobody's uid, no group's gid */
#define CONFIG_ERRORS_MAX   100u       /* errors told; the others are counted */

/* A trigger of the kernel's (PSI): tasks stalled for memory so long within a window. */
struct config_pressure {
	bool on;           /* off */
	bool full;         /* all tasks stalled at once, not some */
	int64_t stall_ns;  /* above 0, at most the window */
	int64_t window_ns; /* 500ms..10s */
};

/* [host] */
struct config_host {
	uint64_t wall;      /* bytes pinned for all pools; 0: budd finds it out */
	uint64_t user_wall; /* bytes that a user's pools may pin; 0: no limit */
	int64_t tick_ns;    /* 500ms; 1ms..1h */
	int64_t release_period_ns; /* 60s; at least a tick, at most 365d */
	int64_t idle_ns;           /* 5min; 1ms..365d */
	int64_t hello_timeout_ns;  /* 10s: a client that connects and says nothing */
	int64_t unregister_timeout_ns; /* 1s: that a client may take for it; 1ms..1h */
	uint32_t clients_max;          /* 1000; 1..CONFIG_CLIENTS_MAX */
	uint32_t user_clients;  /* connections of a user; 0: no limit; 0..10000 */
	uint32_t overtaken_max; /* 16; 0..10000 */
	uint32_t user_pools;    /* that a user may have open; 0: no limit; 0..10000 */
	uint32_t user_requests; /* alive, of a user; 0: no limit; 0..1000000 */
	struct config_pressure pressure;
};

/*
 * [pool NAME]: what the pools opened under that name are allowed, in bytes.
 *
 * base <= wall <= wall_max, add <= wall, max_buffer <= wall_max, headroom <= wall, and
 * at most CONFIG_BLOCKS_MAX blocks in wall_max; base <= wall_total, if there is one. base,
 * add and wall_max are whole pages of the heap, and the wall has room for one: 256K, or 2M
 * of thp and huge.
 */
struct config_pool {
	STAILQ_ENTRY(config_pool) entry;
	char name[PROTO_NAME_SIZE];
	char user[64];     /* who may open it; empty: anybody */
	char group[64];    /* or who is in this group; empty: anybody */
	uid_t uid;         /* of these names, as they were when the file was read; */
	gid_t gid;         /* CONFIG_NO_ID: there is none */
	uint64_t base;     /* 1M, or the wall if that is smaller */
	uint64_t add;      /* a sixteenth of the wall, at least 1M, at most the wall */
	uint64_t wall;     /* as given; 64M, or the host's wall if that is smaller */
	uint64_t wall_max; /* the length of the memfd: what the wall can be raised to;
			    * 16 x wall, but no more than the host's wall (in whole
			    * pages) where the file gives that; of heap huge, the wall */
	uint64_t headroom; /* 0 */
	uint64_t max_buffer; /* the wall */
	uint64_t wall_total; /* of all pools of this section together; 0: no limit */
	uint32_t weight;     /* 1; 1..1000 */
	enum heap_kind heap; /* page */
	char policy[16];     /* fixed; one that policy_find() knows */
	bool check_idle;     /* yes */
};

/* Flat but for the list: config_pack() copies it byte for byte. */
struct config {
	struct config_host host;
	STAILQ_HEAD(, config_pool) pools; /* "default" always among them */
	char status_group[64];   /* [status] group; empty: everybody may look */
	gid_t status_gid;        /* CONFIG_NO_ID: there is none */
	gid_t tuners_gid;        /* of CONFIG_TUNERS; CONFIG_NO_ID: there is none */
	int64_t queued_event_ns; /* 1s: who waits longer is told of in /v1/events */
};

/* A text, and what errors call it: texts are told apart by that pointer. */
struct config_text {
	const char *name;
	const char *text;
};

/**
 * config_load() - read a file and its drop-ins
 * @path:	NULL: the default path, where a missing file is like an empty one
 * @configp:	receives the configuration; written on success only; config_free() it
 * @errors:	receives what is wrong, and warnings, a line each: "FILE:LINE: reason",
 *		"FILE:LINE: warning: reason"; or "FILE: reason" if no line is at fault
 *
 * Looks users and groups up, which may wait for the network; call it before serving.
 *
 * Return: 0, or -1 after at least one error line
 */
int config_load(struct config **configp, const char *path, FILE *errors);
/** config_parse() - the same for @count texts in memory, at least one, in their order */
int config_parse(struct config **configp, const struct config_text *texts, size_t count,
    FILE *errors);
/** config_free() - NULL is fine */
void config_free(struct config *c);

/** config_pool_find() - the section of that name, else "default"; never NULL */
const struct config_pool *config_pool_find(const struct config *c, const char *name);

/** config_wall_mib() - a wall rounded to the nearest MiB */
uint64_t config_wall_mib(uint64_t wall_bytes);

#endif
