/* SPDX-License-Identifier: ISC */

/*
 * What systemd, as our service manager, gives and takes: descriptors at the start, those it
 * keeps for us, and notices of how we are. All of libsystemd that budd uses is behind these
 * calls (systemd.c); configured without it, there is nobody to talk to (systemd_none.c).
 *
 * The calls of the keeper, and of nobody else: systemd listens to our main process only. A
 * notice is one datagram and waits for nothing, unless systemd itself is stuck.
 */
#ifndef DAEMON_SYSTEMD_H
#define DAEMON_SYSTEMD_H

#include <stdbool.h>
#include <stdint.h>

#define SYSTEMD_NAME_SIZE 5u /* of a descriptor's name, its NUL included; see store.h */

struct systemd_fd {
	int fd; /* -1: taken */
	char name[SYSTEMD_NAME_SIZE];
};

/** systemd_receive() - the descriptors we were started with, close-on-exec; once
 * @fdsp:	receives an array to free(); names that are too long are cut off
 * Return: how many; 0: none; or a negative errno */
int systemd_receive(struct systemd_fd **fdsp);
/** systemd_is_there() - somebody takes our notices */
bool systemd_is_there(void);
/** systemd_watchdog_us() - that it waits for a sign of life; 0: it does not */
uint64_t systemd_watchdog_us(void);

/** systemd_store() - have copies of @fds kept under @name; whether there was room is not
 * told. 0 or a negative errno */
int systemd_store(const char *name, const int *fds, unsigned int n);
/** systemd_unstore() - let go of all descriptors of that name */
void systemd_unstore(const char *name);
/** systemd_barrier() - all that was said has been heard; 0, or a negative errno after a
 * few seconds */
int systemd_barrier(void);

void systemd_say_ready(void);
void systemd_say_reloading(void);
void systemd_say_stopping(void);
void systemd_say_alive(void);
/** systemd_say_status() - a line for people, in `systemctl status` */
void systemd_say_status(const char *line);

#endif
