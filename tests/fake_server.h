/* SPDX-License-Identifier: ISC */

/* The status socket of a fake arbiter, served by a child process. */
#ifndef TESTS_FAKE_SERVER_H
#define TESTS_FAKE_SERVER_H

#include <sys/types.h>

#include "tests/fake_arbiter.h"

struct fake_server {
	char dir[64];
	char path[96]; /* of the socket */
	pid_t pid;     /* -1: none */
};

/** fake_server_bind() - a new directory and a listening socket in it; returns the socket */
int fake_server_bind(struct fake_server *s);
/** fake_server_start() - bind, and serve what @fill puts into a fake arbiter */
void fake_server_start(struct fake_server *s, void (*fill)(struct fake *));
/** fake_server_say() - bind, and answer each connection with @text, whatever it asks */
void fake_server_say(struct fake_server *s, const char *text);
/** fake_server_say_once() - likewise the first one alone, and go */
void fake_server_say_once(struct fake_server *s, const char *text);
/** fake_server_stop() - end it; the test fails if it had died before, or leaked */
void fake_server_stop(struct fake_server *s);
/** fake_server_connect() - a connection whose reads fail after 5 s */
int fake_server_connect(const struct fake_server *s);

#endif
