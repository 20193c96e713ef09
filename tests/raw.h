/* SPDX-License-Identifier: ISC */

/* A client that speaks the wire itself, so that it can say what libbud never would. */
#ifndef TESTS_RAW_H
#define TESTS_RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/ledger.h"
#include "proto/messages.h"

struct daemon;

struct raw {
	int sock;
	int memory; /* descriptors of the WELCOME; -1: none */
	int ledger;
	struct proto_welcome welcome;
};

/** raw_connect() - connect, and say nothing */
void raw_connect(struct raw *r, const struct daemon *d);
/** raw_open() - connect, HELLO, WELCOME */
void raw_open(struct raw *r, const struct daemon *d, const char *pool);
void raw_close(struct raw *r);

/** raw_send() - any bytes, as one record; false: the socket takes no more, or is shut */
bool raw_send(struct raw *r, const void *bytes, size_t size);
/** raw_send_fd() - a message with a descriptor of ours */
bool raw_send_fd(struct raw *r, const void *bytes, size_t size, int fd);
/** raw_say() - a message as it should be, @tag where it has one */
bool raw_say(struct raw *r, enum proto_type type, uint64_t tag);
bool raw_alloc(struct raw *r, uint64_t tag, uint64_t size, int32_t timeout_ms);
/** raw_hear() - the next message within PATIENCE_MS; false: the connection has ended */
bool raw_hear(struct raw *r, union proto_msg *msg);
/** raw_expect() - the next message is of this type, and about @tag where it has one */
void raw_expect(struct raw *r, enum proto_type type, uint64_t tag);
/** raw_expect_end() - whatever still comes, then budd hangs up */
void raw_expect_end(struct raw *r);
/** raw_has_ended() - budd has hung up; what came is passed over; does not wait */
bool raw_has_ended(struct raw *r);

/** raw_map_ledger() - its mapping and size */
void *raw_map_ledger(struct raw *r, size_t *sizep);

#endif
