/* SPDX-License-Identifier: ISC */

/*
 * Memory pressure of the host: tells somebody when the kernel (PSI), or the service manager
 * by systemd's protocol ($MEMORY_PRESSURE_WATCH), says that memory is short.
 */
#ifndef DAEMON_PRESSURE_H
#define DAEMON_PRESSURE_H

#include <stdbool.h>

struct config_pressure;
struct event_base;
struct pressure;

#define PRESSURE_REST_S 1 /* at most one call in so many seconds */

/* What can be told of by whom. */
enum {
	PRESSURE_OWN,      /* the trigger that budd.conf asks for */
	PRESSURE_MANAGERS, /* what the service manager names in the environment */
	PRESSURE_SOURCES
};
extern const char *const pressure_names[PRESSURE_SOURCES]; /* for the log */

struct pressure_source {
	int fd;     /* -1: none */
	bool talks; /* a FIFO or socket: what can be read is the event */
};

struct pressure_sources {
	struct pressure_source of[PRESSURE_SOURCES];
};

#define PRESSURE_NONE \
	((struct pressure_sources){ .of = { { .fd = -1 }, { .fd = -1 } } })

/** pressure_open() - open what there is to watch, and set its triggers. What cannot be
 * watched is logged, with the reason and what to do, and passed over */
void pressure_open(
    struct pressure_sources *sources, const struct config_pressure *config);
/** pressure_close() - close them all */
void pressure_close(struct pressure_sources *sources);

/**
 * pressure_create() - watch
 * @sources:	become the watcher's, also if there is none
 * @pressed:	is called from the loop; may not pressure_free()
 *
 * Return: NULL if nothing is watched
 */
struct pressure *pressure_create(struct event_base *base,
    struct pressure_sources *sources, void (*pressed)(void *arg), void *arg);
/** pressure_free() - NULL is fine */
void pressure_free(struct pressure *p);

#endif
