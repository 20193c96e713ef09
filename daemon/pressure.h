/* SPDX-License-Identifier: ISC */

/*
 * Memory pressure of the host: tells somebody when the kernel (PSI), or the service manager
 * by systemd's protocol ($MEMORY_PRESSURE_WATCH), says that memory is short.
 */
#ifndef DAEMON_PRESSURE_H
#define DAEMON_PRESSURE_H

struct config_pressure;
struct event_base;
struct pressure;

#define PRESSURE_REST_S 1 /* at most one call in so many seconds */

/**
 * pressure_create() - watch what there is to watch
 * @config:	the trigger of our own
 * @pressed:	is called from the loop; may not pressure_free()
 *
 * What cannot be watched is logged, with the reason and what to do, and passed over.
 *
 * Return: NULL if nothing is watched
 */
struct pressure *pressure_create(struct event_base *base,
    const struct config_pressure *config, void (*pressed)(void *arg), void *arg);
/** pressure_free() - NULL is fine */
void pressure_free(struct pressure *p);

#endif
