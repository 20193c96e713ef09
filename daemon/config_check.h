/* SPDX-License-Identifier: ISC */

/* The keys of budd.conf against each other. */
#ifndef DAEMON_CONFIG_CHECK_H
#define DAEMON_CONFIG_CHECK_H

struct config_sections;

/**
 * config_check() - fill in the defaults that follow from other keys, and judge the whole
 *
 * Afterwards "host", "status" and "pool default" are there, or an error was told. A key
 * whose value is bad is unknown here, and whatever depends on it is not judged, so that
 * one mistake is one error.
 */
void config_check(struct config_sections *all);

#endif
