/* SPDX-License-Identifier: ISC */

/*
 * The arbiter: the unprivileged half of budd, one libevent loop. It listens to clients,
 * feeds the core, asks the keeper for memory, and answers for the status. What it knows is
 * a cache of the keeper's table, the records and the ledgers; it may die at any time.
 */
#ifndef DAEMON_ARBITER_H
#define DAEMON_ARBITER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "daemon/channel.h"
#include "daemon/clock.h"
#include "daemon/config.h"
#include "daemon/core.h"
#include "daemon/pressure.h"

struct event;
struct event_base;
struct events;
struct evhttp;
struct http;
struct outq;
struct session;

TAILQ_HEAD(session_list, session);

/* What the keeper gives an arbiter at its birth. Descriptors become the arbiter's. */
struct arbiter_spec {
	int channel;
	int status_listener; /* -1: none */
	int records;         /* memfd of the records */
	uint32_t slots;
	pid_t keeper_pid;
	uint32_t restarts;      /* deaths of arbiters before this one */
	bool fault;             /* the latest was its own doing; see blame.h */
	bool drop;              /* deaths are many: the queues are dropped */
	struct instant started; /* when budd started */
	uint64_t host_wall;     /* the keeper's; changes with a reload */
	struct instant read_at; /* when the configuration was; likewise */
	const struct config *config;
	struct pressure_sources pressure;
};

struct arbiter {
	struct event_base *base;
	struct arbiter_spec spec;
	struct config
	    *reloaded; /* ours, after a reload; else spec.config is in force */
	struct core core;
	struct session_list sessions;
	struct session **by_slot; /* the same */
	char *records;
	struct record_note *note;  /* behind them */
	struct instant drop_until; /* requests are refused; see session_hears.c */
	struct outq *to_keeper;
	struct event *from_keeper;
	struct event *clockwork;
	struct http *http;
	struct events *events; /* who listens to what happens; NULL: nobody can */
	struct instant born;
	struct pressure *pressure; /* NULL: nothing to watch */
	uint32_t foreign;          /* pools of another budd, which the keeper holds */
	int ready;                 /* the keeper has handed over all that there was */
	bool reload_put_off; /* the last one could not be taken, and comes again */
};

/** arbiter_main() - run until the keeper goes away; returns the process's exit status */
int arbiter_main(const struct arbiter_spec *spec);

const struct config *arbiter_config(const struct arbiter *a);
/** arbiter_tell_keeper() - queue a message to the keeper; never waits */
void arbiter_tell_keeper(struct arbiter *a, const struct channel_msg *msg);
/** arbiter_rewind() - set the timer to what the core needs next; after each use of it */
void arbiter_rewind(struct arbiter *a);
/** arbiter_record() - the record of a slot */
struct record *arbiter_record(struct arbiter *a, uint32_t slot);

/** clock_now() - CLOCK_MONOTONIC */
struct instant clock_now(void);

#endif
