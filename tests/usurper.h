/* SPDX-License-Identifier: ISC */

/*
 * An arbiter that was taken over: tests/budd-usurper is budd, linked so that the keeper starts
 * this one instead of its own where the suite says so. It has the filter, the privileges and
 * the descriptors of an arbiter, and says to the keeper what it likes.
 *
 * Suite and arbiters share a file with this struct, named by BUD_USURPER.
 */
#ifndef TESTS_USURPER_H
#define TESTS_USURPER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define USURPER_ENV "BUD_USURPER"

/* A client of these names is its prey, and so is one that has no pool yet. All others are
 * innocent: it knows them, but must have no way to them but by what they would be asked for. */
#define USURPER_PREY "prey"

enum usurpation {
	USURP_NONE,       /* an honest arbiter */
	USURP_LENGTH,     /* ENDs of all, of @arg bytes */
	USURP_TYPE,       /* a message of type @arg about each */
	USURP_SLOT,       /* ENDs of slot @arg */
	USURP_DESCRIPTOR, /* an END with a descriptor */
	USURP_GHOSTS,     /* requests for what has ended, and never was */
	USURP_NUMBERS,    /* every edge of every number, for its prey */
	USURP_RANDOM,     /* @arg messages of anything, seed @seed */
	USURP_GREED,      /* all memory that can be had */
	USURP_FLOOD,      /* until `enough`: requests, and it reads the answers */
	USURP_DEAF,       /* likewise, and it does not */
	USURP_STUFFED,  /* its prey cannot be sent a WELCOME: their sockets are full */
	USURP_SCRIBBLE, /* @arg bytes in the records of its prey, and in its note */
	USURP_HANG_UP,  /* it closes the channel, and stays */
	USURP_RUIN,     /* it gives back the pages of all, and ends all */
};

struct usurper {
	_Atomic uint32_t
	    what; /* enum usurpation, of the next arbiter; it makes it NONE */
	uint32_t arg;
	uint32_t seed;
	_Atomic pid_t pid;        /* of the one that has begun */
	_Atomic uint32_t known;   /* sessions that it was handed */
	_Atomic uint64_t said;    /* messages that the keeper's socket took */
	_Atomic uint64_t answers; /* and what came */
	_Atomic uint64_t refused; /* answers with an error */
	_Atomic bool enough;      /* the suite has seen it flood */
	_Atomic bool done;        /* it has said all; it waits for its end */
};

#endif
