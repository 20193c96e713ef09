/* SPDX-License-Identifier: ISC */

/*
 * The blocks of a pool as registered buffers of an io_uring; on libbud's public calls alone.
 *
 * Blocks are a stack, and so are the slots: a block that comes gets the next ones, a block
 * that is asked for is the last, and its slots are given back. A slot is a piece of a block:
 * the kernel takes no more than 1 GiB as one buffer, and where the memlock limit ends in the
 * midst of a block, the lower part of it is registered, which is used first.
 *
 *	UNUSED --registered--> live (below `count`) --RELEASE--> leaving --tag--> UNUSED
 *
 * A registration ends when the last operation that uses it has ended; then the kernel posts
 * a completion with its tag. Only when the tags of all its slots have come is a block given
 * up. A slot may be used again before: it counts the tags that are still to come.
 *
 * Tags, and the user_data of the poll, are addresses within `marks`, which is of no other
 * use: no pointer of the program's is among them, and they stay valid when the handle is
 * freed. All rings share them; a completion is looked at with the handle of its ring.
 */
#include "bud-uring.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SLOTS_MAX 2048u /* a pool has 1,024 blocks at the most */
#define PIECE_MAX ((size_t)1 << 30)
#define CHUNK     ((size_t)256 << 10) /* blocks consist of them */
#define OPEN_MS   2000                /* for budd to say which blocks there are */

enum {
	MARK_POLL = SLOTS_MAX,
	MARK_CANCEL,
	MARKS
};

static const char marks[MARKS];

struct slot {
	char *start;
	size_t bytes;
	unsigned int tags; /* registrations of it that have not ended */
};

struct bud_uring {
	struct bud_pool *pool;
	struct io_uring *ring;
	unsigned int count; /* of slots that are live */
	bool has_send_zc;
	bool told;    /* at least one block */
	bool polling; /* the poll of bud_fd() is under way */
	bool closed;  /* by a callback of the bud_dispatch() that is under way */
	unsigned int inside;
	char *asked; /* the block that is to be given up when its tags have come */
	char *asked_end;
	char *known_end; /* of the last block that we were told of */
	uint64_t registered;
	uint64_t
	    known; /* bytes of all blocks that we were told of, and that are there */
	uint64_t fixed_count;
	uint64_t plain_count;
	uint64_t given_up;
	int error;
	struct slot slots[SLOTS_MAX];
};

static uint64_t
mark(unsigned int i)
{
	return (uint64_t)(uintptr_t)&marks[i];
}

/* --- Slots --- */

/* Empties the slot if @bytes is 0. */
static int
update(struct bud_uring *u, unsigned int i, char *start, size_t bytes)
{
	struct iovec iov = { .iov_base = start, .iov_len = bytes };
	__u64 tag = bytes > 0 ? mark(i) : 0;
	int r;

	r = io_uring_register_buffers_update_tag(u->ring, i, &iov, &tag, 1);
	return r == 1 ? 0 : r < 0 ? r : -EIO;
}

static int
push(struct bud_uring *u, char *start, size_t bytes)
{
	struct slot *s = &u->slots[u->count];
	int r;

	if (u->count == SLOTS_MAX)
		return -ENOSPC;
	if ((r = update(u, u->count, start, bytes)) != 0)
		return r;
	s->start = start;
	s->bytes = bytes;
	s->tags++;
	u->count++;
	u->registered += bytes;
	return 0;
}

static void
pop(struct bud_uring *u)
{
	struct slot *s = &u->slots[u->count - 1];

	/* An error would mean that the ring is gone, and the registration with it; the tag
	 * never comes then, and budd keeps the block. */
	(void)update(u, u->count - 1, NULL, 0);
	u->registered -= s->bytes;
	u->count--;
}

/* As much of the block as the limit allows. */
static void
push_block(struct bud_uring *u, char *start, size_t bytes)
{
	size_t piece = bytes < PIECE_MAX ? bytes : PIECE_MAX;

	while (bytes > 0) {
		if (piece > bytes)
			piece = bytes;
		if ((u->error = push(u, start, piece)) == 0) {
			start += piece;
			bytes -= piece;
			continue;
		}
		piece = piece / 2 / CHUNK * CHUNK;
		if (u->error != -ENOMEM || piece == 0)
			return;
	}
}

/* The live slot in which all of [buf, buf + len) lies; -1: none. */
static int
find(const struct bud_uring *u, const void *buf, size_t len)
{
	const char *p = buf;
	unsigned int low = 0, high = u->count;

	while (low < high) {
		unsigned int mid = low + (high - low) / 2;
		const struct slot *s = &u->slots[mid];

		if (p < s->start)
			high = mid;
		else if (p >= s->start + s->bytes)
			low = mid + 1;
		else
			return len <= (size_t)(s->start + s->bytes - p) ? (int)mid : -1;
	}
	return -1;
}

/* --- Blocks --- */

static void
give_up_if_ended(struct bud_uring *u)
{
	char *start = u->asked;

	if (start == NULL)
		return;
	for (unsigned int i = u->count; i < SLOTS_MAX; i++)
		if (u->slots[i].tags > 0 && u->slots[i].start >= start &&
		    u->slots[i].start < u->asked_end)
			return;
	u->asked = NULL;
	/* -ENOENT: it is not asked for any more. */
	if (bud_gave_up(u->pool, start) == 0)
		u->given_up++;
}

static void
on_added(struct bud_uring *u, char *start, size_t bytes)
{
	if (u->asked == start)
		u->asked = NULL; /* it stays */
	if (u->known_end != NULL && start < u->known_end)
		return; /* told again; what could not be registered then stays so */
	u->known_end = start + bytes;
	u->known += bytes;
	push_block(u, start, bytes);
}

static void
on_release(struct bud_uring *u, char *start, size_t bytes)
{
	if (u->known_end != NULL && start < u->known_end) {
		u->known -= (uint64_t)(u->known_end - start);
		u->known_end = start;
	}
	while (u->count > 0 && u->slots[u->count - 1].start >= start)
		pop(u);
	u->asked = start;
	u->asked_end = start + bytes;
	give_up_if_ended(u);
}

static void
on_block(unsigned int what, void *start, size_t bytes, void *arg)
{
	struct bud_uring *u = arg;

	u->told = true;
	if (what == BUD_BLOCK_RELEASE)
		on_release(u, start, bytes);
	else
		on_added(u, start, bytes);
}

/* --- Completions --- */

static struct io_uring_sqe *
get_sqe(struct bud_uring *u)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(u->ring);

	if (sqe == NULL && io_uring_submit(u->ring) >= 0)
		sqe = io_uring_get_sqe(u->ring);
	return sqe;
}

/* Once, not multishot: armed anew it looks whether there is more to read. */
static void
arm_poll(struct bud_uring *u)
{
	struct io_uring_sqe *sqe;
	int fd = bud_fd(u->pool);

	if (u->polling || fd < 0 || (sqe = get_sqe(u)) == NULL)
		return;
	io_uring_prep_poll_add(sqe, fd, POLLIN);
	sqe->user_data = mark(MARK_POLL);
	u->polling = true;
}

static void
dispatch(struct bud_uring *u)
{
	u->inside++;
	(void)bud_dispatch(u->pool); /* -EINVAL: a child of fork() */
	u->inside--;
	if (!u->closed)
		arm_poll(u);
	else if (u->inside == 0)
		free(u);
}

static void
on_tag(struct bud_uring *u, unsigned int i)
{
	if (u->slots[i].tags > 0)
		u->slots[i].tags--;
	give_up_if_ended(u);
}

bool
bud_uring_handle(struct bud_uring *u, const struct io_uring_cqe *cqe)
{
	uint64_t i = cqe->user_data - mark(0);

	if (i >= MARKS)
		return false;
	if (u == NULL)
		return true;
	if (i < SLOTS_MAX) {
		on_tag(u, (unsigned int)i);
	} else if (i == MARK_POLL) {
		u->polling = false;
		dispatch(u);
	}
	return true;
}

/* --- Life --- */

static bool
is_child(const struct bud_uring *u)
{
	return bud_fd(u->pool) == -EINVAL;
}

static int64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void
wait_for_blocks(struct bud_uring *u)
{
	struct pollfd p = { .fd = bud_fd(u->pool), .events = POLLIN };
	int64_t until = now_ms() + OPEN_MS, left;

	while (!u->told && (left = until - now_ms()) > 0) {
		if (poll(&p, 1, (int)left) == -1 && errno != EINTR)
			return;
		if (bud_dispatch(u->pool) < 0)
			return;
	}
}

static bool
knows(struct io_uring *ring, int opcode)
{
	struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
	bool known = probe != NULL && io_uring_opcode_supported(probe, opcode);

	io_uring_free_probe(probe);
	return known;
}

int
bud_uring_open(struct bud_uring **uringp, struct bud_pool *pool, struct io_uring *ring)
{
	struct bud_uring *u;
	int r;

	if ((r = bud_fd(pool)) < 0)
		return r;
	if ((u = calloc(1, sizeof(*u))) == NULL)
		return -ENOMEM;
	u->pool = pool;
	u->ring = ring;
	u->has_send_zc = knows(ring, IORING_OP_SEND_ZC);
	if ((r = io_uring_register_buffers_sparse(ring, SLOTS_MAX)) != 0) {
		free(u);
		return r == -EINVAL ? -ENOSYS : r;
	}
	if ((r = bud_watch_blocks(pool, on_block, u)) != 0) {
		(void)io_uring_unregister_buffers(ring);
		free(u);
		return r;
	}
	wait_for_blocks(u);
	arm_poll(u);
	*uringp = u;
	return 0;
}

static void
cancel_poll(struct bud_uring *u)
{
	struct io_uring_sqe *sqe;

	if (!u->polling || (sqe = get_sqe(u)) == NULL)
		return;
	io_uring_prep_poll_remove(sqe, mark(MARK_POLL));
	sqe->user_data = mark(MARK_CANCEL);
	(void)io_uring_submit(u->ring);
}

void
bud_uring_close(struct bud_uring *u)
{
	if (u == NULL)
		return;
	if (!is_child(u)) {
		cancel_poll(u);
		while (u->count > 0)
			pop(u);
		(void)io_uring_unregister_buffers(u->ring);
		(void)bud_watch_blocks(u->pool, NULL, NULL);
	}
	u->closed = true;
	if (u->inside == 0)
		free(u);
}

/* --- Operations --- */

static int
choose(struct bud_uring *u, const void *buf, size_t len)
{
	int slot = find(u, buf, len);

	if (slot >= 0)
		u->fixed_count++;
	else
		u->plain_count++;
	return slot;
}

bool
bud_uring_prep_read_fixed(struct bud_uring *u, struct io_uring_sqe *sqe, int fd,
    void *buf, unsigned int len, uint64_t offset)
{
	int slot = choose(u, buf, len);

	if (slot >= 0)
		io_uring_prep_read_fixed(sqe, fd, buf, len, offset, slot);
	else
		io_uring_prep_read(sqe, fd, buf, len, offset);
	return slot >= 0;
}

bool
bud_uring_prep_write_fixed(struct bud_uring *u, struct io_uring_sqe *sqe, int fd,
    const void *buf, unsigned int len, uint64_t offset)
{
	int slot = choose(u, buf, len);

	if (slot >= 0)
		io_uring_prep_write_fixed(sqe, fd, buf, len, offset, slot);
	else
		io_uring_prep_write(sqe, fd, buf, len, offset);
	return slot >= 0;
}

bool
bud_uring_prep_send_zc(struct bud_uring *u, struct io_uring_sqe *sqe, int fd,
    const void *buf, size_t len, int flags)
{
	int slot = u->has_send_zc ? choose(u, buf, len) : -1;

	/* Unregistered, zero copy would pin pages for each call, and fail at the memlock
	 * limit: there a copy is better. */
	if (slot >= 0)
		io_uring_prep_send_zc_fixed(
		    sqe, fd, buf, len, flags, 0, (unsigned int)slot);
	else
		io_uring_prep_send(sqe, fd, buf, len, flags);
	u->plain_count += !u->has_send_zc;
	return slot >= 0;
}

/* --- What is allowed --- */

static bool
has_ipc_lock(void)
{
	struct __user_cap_header_struct header = { .version =
						       _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (syscall(SYS_capget, &header, data) == -1)
		return false;
	return (data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective &
		   CAP_TO_MASK(CAP_IPC_LOCK)) != 0;
}

static uint64_t
memlock_limit(void)
{
	struct rlimit limit;

	if (has_ipc_lock() || getrlimit(RLIMIT_MEMLOCK, &limit) == -1 ||
	    limit.rlim_cur == RLIM_INFINITY)
		return UINT64_MAX;
	return limit.rlim_cur;
}

int
bud_uring_stat(const struct bud_uring *u, struct bud_uring_stat *stat)
{
	struct bud_uring_stat now = { .registered = u->registered,
		.plain = u->known - u->registered,
		.limit = memlock_limit(),
		.fixed_count = u->fixed_count,
		.plain_count = u->plain_count,
		.given_up = u->given_up,
		.error = u->error,
		.has_send_zc = u->has_send_zc };

	if (stat->size < offsetof(struct bud_uring_stat, plain) ||
	    stat->size > sizeof(now))
		return -EINVAL;
	now.size = stat->size;
	memcpy(stat, &now, now.size);
	return 0;
}

void
bud_uring_explain(const struct bud_uring *u, char *text, size_t size)
{
	struct bud_uring_stat s = { .size = sizeof(s) };
	struct bud_stat pool = { .size = sizeof(pool) };

	(void)bud_uring_stat(u, &s);
	(void)bud_stat(u->pool, &pool);
	if (s.limit < pool.wall)
		snprintf(text, size,
		    "%" PRIu64 " of %" PRIu64
		    " bytes are registered; the limit of locked "
		    "memory is %" PRIu64
		    " bytes for all of a user's rings, and the pool "
		    "may grow to %" PRIu64 ": the rest works unregistered. Raise it "
		    "(ulimit -l %" PRIu64
		    ", or LimitMEMLOCK= of the unit), or give the "
		    "program CAP_IPC_LOCK",
		    s.registered, s.registered + s.plain, s.limit, pool.wall,
		    pool.wall / 1024);
	else if (s.error != 0)
		snprintf(text, size,
		    "%" PRIu64 " of %" PRIu64
		    " bytes are registered; the last block could "
		    "not be: %s%s",
		    s.registered, s.registered + s.plain, strerror(-s.error),
		    s.error == -ENOMEM ? " (other rings of this user count, too; see "
					 "ulimit -l)"
				       : "");
	else
		snprintf(text, size,
		    "%" PRIu64 " of %" PRIu64 " bytes are registered, and nothing "
		    "limits it up to the wall of %" PRIu64,
		    s.registered, s.registered + s.plain, pool.wall);
}
