/* SPDX-License-Identifier: ISC */

/*
 * What the keeper holds: the table, and for each slot of it a connection and the memory of
 * its pool. It carries out what the arbiter asks, one bounded step each, and checks what it
 * must not be trusted with: that no wall of the host is passed, and that a prefix moves at
 * its end alone.
 */
#ifndef DAEMON_VAULT_H
#define DAEMON_VAULT_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/channel.h"
#include "daemon/clock.h"
#include "daemon/foreign.h"
#include "daemon/heap.h"
#include "daemon/table.h"

struct store;

/* What belongs to a slot and cannot lie in shared memory. */
struct holding {
	int sock;
	int pidfd; /* -1: none */
	struct heap heap;
	unsigned int stored;    /* descriptors in the store; 0: it ends with us */
	bool unwelcome;         /* its client could not be sent its memory */
	bool untaken;           /* the arbiter could not serve it; it comes again */
	bool untaken_said;      /* in the log, of this arbiter */
	struct foreign foreign; /* of a SLOT_FOREIGN */
};

#define HOLDING_EMPTY      \
	((struct holding){ \
	    .sock = -1, .pidfd = -1, .heap = HEAP_EMPTY, .foreign = FOREIGN_EMPTY })

struct vault {
	struct store *store; /* not ours */
	struct table *table;
	int table_fd;
	int records; /* memfd; a stride for each slot */
	struct holding *holdings;
	uint32_t user_clients; /* connections that a user may have; 0: no limit */
	int pagemap;           /* of ourselves, for the audit; -1: not to be had */
	uint32_t lowest_free;  /* all slots below are taken */
	uint32_t sessions;
	uint32_t ending;     /* slots whose memory is not all given back yet */
	uint32_t foreign;    /* slots held for a budd of another layout */
	bool store_is_short; /* the latest pool did not get into it */
	uint64_t host_wall;
	uint64_t longest;    /* memory that a section has ever allowed, bytes */
	uint64_t unreturned; /* times that pages could not be given back */
	bool has_rest;       /* there are such */
	bool has_untaken;    /* sessions that came back since the last round of them */
	struct instant untaken_said; /* ... and when the log was told of one */
	uint64_t locked;             /* bytes, all pools and ledgers */
};

/** vault_init() - an empty one, or that of an earlier keeper if the store has it: then all
 * of its pools are locked again on return (vault_adopt.c)
 * @store:	stays the caller's, and outlives the vault
 *
 * Return: 0 or a negative errno; vault_fini() it either way */
int vault_init(struct vault *v, struct store *store, uint64_t host_wall);
/** vault_fini() - unlock and close what we have. No pool is ended by that: what others hold
 * of it, a client or the store, goes on */
void vault_fini(struct vault *v);
/** vault_leave() - in a forked child: close our copies of all but the records */
void vault_leave(struct vault *v);

#define VAULT_E_FULL 1 /* all slots are taken */
#define VAULT_E_USER 2 /* the user has as many as one may have */

/**
 * vault_admit() - take in a new connection
 * @sock:	becomes the vault's on success only
 * @mail:	receives the SESSION for the arbiter
 *
 * Return: 0, VAULT_E_FULL, VAULT_E_USER, or a negative errno
 */
int vault_admit(struct vault *v, int sock, struct channel_mail *mail);
enum vault_reply {
	VAULT_QUIET,    /* there is nothing to be said */
	VAULT_ANSWER,   /* @mail is the answer */
	VAULT_NONSENSE, /* no arbiter of ours says this */
};
/** vault_obey() - do what the arbiter asks, or do not: it may be anybody's by now */
enum vault_reply vault_obey(
    struct vault *v, const struct channel_msg *m, struct channel_mail *mail);

/** vault_end_slice() - give one slice of what ends, if anything does, back to the system */
void vault_end_slice(struct vault *v);

/** vault_give_back_rests() - try again with pages that could not be given back (has_rest) */
void vault_give_back_rests(struct vault *v);

/** vault_pools() - pools that are open */
uint32_t vault_pools(const struct vault *v);
/** vault_end_foreign() - let go of those whose processes are gone */
void vault_end_foreign(struct vault *v);

/** vault_untaken_next() - the SESSION of the first one from *@slotp on that the arbiter could
 * not serve, to be tried again; *@slotp is moved beyond it, and those on the way whose
 * processes are gone end; false: there is none (vault_untaken.c) */
bool vault_untaken_next(struct vault *v, uint32_t *slotp, struct channel_mail *mail);

/* Between the vault's own files. */

/** vault_has_session() - the slot is somebody's, of whom the arbiter knows */
bool vault_has_session(const struct vault *v, uint32_t slot);
/** vault_is_foreign() - the slot is held for a budd of another layout */
bool vault_is_foreign(const struct vault *v, uint32_t slot);
/** vault_find_free() - the lowest free slot; or the table's end */
uint32_t vault_find_free(struct vault *v);
/** vault_note_store() - what the store said to a pool; told once, not for each */
void vault_note_store(struct vault *v, int r);
/** vault_unstore() - the store keeps the pool of @slot no longer */
void vault_unstore(struct vault *v, uint32_t slot);
/** vault_unpin_to() - give the chunks of a pool beyond @to back to the system */
void vault_unpin_to(struct vault *v, struct slot *s, struct holding *h, uint32_t to);

/** vault_untaken() - the arbiter cannot serve the session in @slot now, for @error */
void vault_untaken(struct vault *v, uint32_t slot, int error);
/** vault_end_session() - it is over: connection and pool go, the latter slice by slice */
void vault_end_session(struct vault *v, uint32_t slot);
/** vault_session_mail() - the SESSION of @slot, which has one */
void vault_session_mail(
    const struct vault *v, uint32_t slot, struct channel_mail *mail);

/** vault_create_tables() - table and records, empty and in the store; 0 or a negative
 * errno */
int vault_create_tables(struct vault *v);
/** vault_adopt() - after vault_init() took what there was: table, records, pools; 0 or a
 * negative errno: there is no budd to be made of this */
int vault_adopt(struct vault *v);

/** vault_forget_unwelcomed() - before another arbiter: a pool whose client has not been told
 * of it is as if it had never been asked for */
void vault_forget_unwelcomed(struct vault *v);
/** vault_next() - the SESSION of the first slot in use from *@slotp on, which is moved beyond
 * it; false: there is none */
bool vault_next(struct vault *v, uint32_t *slotp, struct channel_mail *mail);

#endif
