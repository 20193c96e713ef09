/* SPDX-License-Identifier: ISC */

/*
 * What a client and budd say to each other.
 *
 * client -> budd                  budd -> client
 *   HELLO version, pool, wishes     WELCOME limits + memory, ledger   first, and once;
 *                                   REFUSE tag 0, error, reason       or this, the end
 *   ALLOC tag, size, count, timeout GRANT tag                         your turn: take it
 *                                   REFUSE tag, error, reason         instead of GRANT
 *   DONE tag, outcome               GRANT tag                         if the turn failed
 *   CANCEL tag                      REFUSE tag, ECANCELED             or the GRANT that
 *                                                                     crossed it
 *   DOORBELL                                                          no answer
 *   HINT hint                                                         no answer
 *   WATCH mask                      EVENT event, bytes                as they happen
 *                                   BLOCK offset, bytes               with the bit BLOCKS
 *   GAVE-UP offset, ask             RELEASE offset, bytes, ask        unregister it first
 *   CLOSE                                                             no answer
 *   RESUMED, ALLOC again, in order  RESTARTED                         budd forgot who waits
 *
 * One message is one SOCK_SEQPACKET record of fixed size, in host byte order. Reserved
 * fields and bytes behind the end of a string are zero. Numbers of types are never
 * reused. Changing a struct raises PROTO_VERSION.
 *
 * Tags are the client's: not 0, and none twice while a request under it is alive. An
 * ALLOC under a tag that budd knows already is ignored, so that a client which is not
 * sure sends it again; so are DONE and CANCEL of one that it does not know, since
 * messages cross. A client answers a GRANT that it does not expect with DONE,
 * PROTO_USED. A second HELLO is ignored: who gets RESTARTED before its WELCOME says
 * HELLO again.
 *
 * Registered memory. A page that is registered with a device (io_uring, RDMA) outlives its
 * release: the device goes on with a page that is nobody's. So a client that registers any
 * watches PROTO_EVENT_BLOCKS. It is told of each block that its pool has, and of those that
 * come; of these alone it registers anything. Before a block goes, budd closes it and says
 * RELEASE; the client unregisters it, and says GAVE-UP with the number of that RELEASE. If
 * it does not in time, or the pool needs the block itself, budd keeps the block and says
 * BLOCK again. A GAVE-UP under another number answers a question of before: it is ignored.
 *
 * After RESTARTED budd passes over each ALLOC, DONE and CANCEL until RESUMED: they may have
 * been sent before the client knew, and be in front of older ones, which come again.
 */
#ifndef PROTO_MESSAGES_H
#define PROTO_MESSAGES_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROTO_VERSION      3u
#define PROTO_NAME_SIZE    64u   /* of a pool's name, its NUL included */
#define PROTO_COMMAND_SIZE 32u   /* of a program's name, its NUL included */
#define PROTO_REASON_SIZE  160u  /* of a refusal's text, its NUL included */
#define PROTO_COUNT_MAX    1024u /* buffers in one request */
#define PROTO_REQUESTS_MAX 4096u /* requests that one pool may have alive */

enum proto_type {
	PROTO_HELLO = 1,
	PROTO_WELCOME = 2,
	PROTO_ALLOC = 3,
	PROTO_GRANT = 4,
	PROTO_REFUSE = 5,
	PROTO_DONE = 6,
	PROTO_CANCEL = 7,
	PROTO_DOORBELL = 8,
	PROTO_CLOSE = 9,
	PROTO_RESTARTED = 10,
	PROTO_HINT = 11,
	PROTO_WATCH = 12,
	PROTO_EVENT = 13,
	PROTO_BLOCK = 14,
	PROTO_RELEASE = 15,
	PROTO_GAVE_UP = 16,
	PROTO_RESUMED = 17,
};

enum proto_hint {
	PROTO_TRANSFER_END = 1, /* what is empty now will not be needed soon */
};

/* Bits of WATCH; an EVENT has one of them, but for the last. */
#define PROTO_EVENT_PRESSURE \
	0x1u /* others wait, and this pool has more than its share */
#define PROTO_EVENT_GROWN    0x2u /* a block of `bytes` was added */
#define PROTO_EVENT_RELEASED 0x4u /* a block of `bytes` was given back */
#define PROTO_EVENTS         0x7u
#define PROTO_EVENT_BLOCKS \
	0x8u /* BLOCK and RELEASE: this client registers its memory with devices */

enum proto_outcome {
	PROTO_USED = 0, /* the turn was used, or is no longer wanted: forget the tag */
	PROTO_FAILED = 1, /* nothing fitted: keep our place and grant again */
};

struct proto_header {
	uint32_t type;
	uint32_t size; /* of the whole record */
};

/* HELLO: the first message. The answer is WELCOME, or REFUSE with tag 0. The versions stand
 * here in all of them; a later one may add fields at the end, up to the longest record, which
 * budd passes over if the client speaks its version as well. */
struct proto_hello {
	struct proto_header header;
	uint32_t version_min;
	uint32_t version_max;
	uint64_t base; /* wishes in bytes; 0: as the section says */
	uint64_t add;
	uint64_t wall;
	char pool[PROTO_NAME_SIZE]; /* a section or a label; empty: "default" */
	char
	    command[PROTO_COMMAND_SIZE]; /* the program, as it calls itself; or empty */
};
static_assert(sizeof(struct proto_hello) == 136, "wire format");

/* WELCOME: with two descriptors, the memory and the ledger. Bytes. */
struct proto_welcome {
	struct proto_header header;
	uint32_t version;
	uint32_t ledger_version;
	uint64_t pool_id;
	uint64_t base;
	uint64_t add;
	uint64_t wall;
	uint64_t
	    memory_size; /* of the memfd: the most that the wall can be raised to */
	uint64_t max_buffer;
};
static_assert(sizeof(struct proto_welcome) == 64, "wire format");

/* ALLOC: @count buffers of @size_bytes, all or none. Answered by GRANT or REFUSE. */
struct proto_alloc {
	struct proto_header header;
	uint64_t tag;
	uint64_t size_bytes;
	uint32_t count;     /* 1..PROTO_COUNT_MAX */
	int32_t timeout_ms; /* 0: refuse rather than queue; -1: wait without end */
};
static_assert(sizeof(struct proto_alloc) == 32, "wire format");

/* GRANT, CANCEL: nothing but a tag. */
struct proto_tag {
	struct proto_header header;
	uint64_t tag;
};
static_assert(sizeof(struct proto_tag) == 16, "wire format");

struct proto_done {
	struct proto_header header;
	uint64_t tag;
	uint32_t outcome; /* enum proto_outcome */
	uint32_t reserved;
};
static_assert(sizeof(struct proto_done) == 24, "wire format");

struct proto_refuse {
	struct proto_header header;
	uint64_t tag;  /* 0: the HELLO, or the connection */
	int32_t error; /* a positive errno */
	uint32_t reserved;
	char reason[PROTO_REASON_SIZE]; /* for people; may be empty */
};
static_assert(sizeof(struct proto_refuse) == 184, "wire format");

struct proto_hint_msg {
	struct proto_header header;
	uint32_t hint; /* enum proto_hint */
	uint32_t reserved;
};
static_assert(sizeof(struct proto_hint_msg) == 16, "wire format");

/* WATCH: which events to be told of, from now on; 0: none. Said again after RESTARTED. */
struct proto_watch {
	struct proto_header header;
	uint32_t mask;
	uint32_t reserved;
};
static_assert(sizeof(struct proto_watch) == 16, "wire format");

struct proto_event {
	struct proto_header header;
	uint32_t event; /* one bit */
	uint32_t reserved;
	uint64_t bytes;
};
static_assert(sizeof(struct proto_event) == 24, "wire format");

/* BLOCK, RELEASE, GAVE-UP: a block of the pool; whole chunks. */
struct proto_block {
	struct proto_header header;
	uint64_t offset; /* bytes, from the start of the memory */
	uint64_t bytes;  /* GAVE-UP: 0 */
	uint32_t ask;    /* the number of a RELEASE, and of its answer; BLOCK: 0 */
	uint32_t reserved;
};
static_assert(sizeof(struct proto_block) == 32, "wire format");

/* DOORBELL, CLOSE, RESTARTED, RESUMED: nothing but the header. */

/* Large enough for any record, and aligned for each. */
union proto_msg {
	struct proto_header header;
	struct proto_hello hello;
	struct proto_welcome welcome;
	struct proto_alloc alloc;
	struct proto_tag tag;
	struct proto_done done;
	struct proto_refuse refuse;
	struct proto_hint_msg hint;
	struct proto_watch watch;
	struct proto_event event;
	struct proto_block block;
};

/** proto_init() - zero a message and fill in its header */
void proto_init(union proto_msg *msg, enum proto_type type);
/** proto_size() - the size of the records of a type; 0 for a type that there is not */
size_t proto_size(uint32_t type);
/** proto_name() - a type as a word, for logs; never NULL */
const char *proto_name(uint32_t type);

#define PROTO_E_SIZE \
	1               /* shorter or longer than its type says, or another size in it \
			 */
#define PROTO_E_TYPE  2 /* no such type, or not in this direction */
#define PROTO_E_VALUE 3 /* a field out of its range */
#define PROTO_E_VERSION \
	4 /* a HELLO of another version: nothing in it but the versions may be read */

/**
 * proto_check_client() - is this record, as received, one that a client may send?
 * @len:	bytes received
 *
 * Only what the message alone can tell; whether it is timely is the receiver's to know.
 *
 * Return: 0 or PROTO_E_*
 */
int proto_check_client(const union proto_msg *msg, size_t len);
/** proto_check_budd() - the same for what budd sends */
int proto_check_budd(const union proto_msg *msg, size_t len);
/** proto_put_command() - @name into a HELLO: what cannot be said of it becomes '_', what is too
 * long is cut */
void proto_put_command(struct proto_hello *hello, const char *name);
/** proto_strerror() - a PROTO_E_* as a sentence */
const char *proto_strerror(int error);

#endif
