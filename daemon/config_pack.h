/* SPDX-License-Identifier: ISC */

/*
 * A configuration as a descriptor. The keeper reads budd.conf and looks names up; an arbiter
 * asks nobody, and gets the result: after a reload both have the same.
 */
#ifndef DAEMON_CONFIG_PACK_H
#define DAEMON_CONFIG_PACK_H

struct config;

/** config_pack() - a sealed memfd with all of @c; it is the caller's
 * Return: the descriptor or a negative errno */
int config_pack(const struct config *c);
/** config_unpack() - what config_pack() put there, by this very budd; @fd stays the caller's
 * Return: 0, and *@configp is to be freed with config_free(); or a negative errno */
int config_unpack(int fd, struct config **configp);

#endif
