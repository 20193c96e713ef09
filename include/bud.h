/* SPDX-License-Identifier: ISC */

/*
 * libbud: pinned buffers out of a pool that sizes itself.
 *
 * budd pins the memory, this library maps it and hands it out. Buffers are 4 KiB x 2^k,
 * aligned to their size up to 256 KiB; they never move and are never paged out, and the
 * process is charged for none of it.
 *
 *	struct bud_pool *pool;
 *	void *buf;
 *
 *	if (bud_open(&pool, NULL) == 0) {
 *		if ((buf = bud_alloc(pool, 65536, 1000)) != NULL) {
 *			... read into it, send from it ...
 *			bud_free(pool, buf);
 *		}
 *		bud_close(pool);
 *	}
 *
 * Threads: a pool serves all threads of the process that opened it. The library starts
 * no thread, installs no signal handler, and prints only when BUD_DEBUG is set in the
 * environment (or when it aborts the process over a bad bud_free()). bud_open(),
 * bud_alloc(), bud_allocv() and bud_free() are no cancellation points: a pthread_cancel()
 * of a thread that waits there takes effect later.
 *
 * fork: the child has no pool; each call returns EINVAL there, bud_free() and
 * bud_close() do nothing. It may open pools of its own. Descriptors close on exec. If the
 * program closes them all, as daemons do at their start, budd is away for the pool.
 *
 * Errors: functions that return int return 0 or a negative errno; bud_alloc() returns
 * NULL and sets errno. None returns EINTR. Where a call may need budd:
 *
 *	EAGAIN		the timeout was 0, and nothing can be had without waiting
 *	ETIMEDOUT	the timeout passed
 *	EMSGSIZE	more than the pool can ever hold in one piece
 *	EINVAL		a size of 0, or another argument out of range; or a pool of
 *			the parent, after fork()
 *	ENOMEM		the process itself is out of memory (from bud_open() also: the
 *			base could not be pinned)
 *	EACCES		budd does not let this user open that pool
 *	ECANCELED	cancelled, or the pool was closed meanwhile
 *	ENOTCONN	budd is away: what is mapped works on, nothing new can be had
 */
#ifndef BUD_H
#define BUD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bud_pool;
struct bud_request;

/* Flags of struct bud_config and of bud_request(). */
#define BUD_LOCAL \
	0x1u /* with a timeout of 0: not even a system call, only what is free now */

/**
 * struct bud_config - what to ask budd for
 * @size:	sizeof(struct bud_config), so that later versions can add to it
 * @socket:	path of budd's socket, 107 bytes at most; NULL: $BUD_SOCKET (which
 *		a program with raised privileges does not look at), else the path built in
 * @pool:	section of budd.conf to open, 63 bytes at most; NULL: "default". A name
 *		without a section of its own gets the limits of "default", and serves as a
 *		label
 * @base:	bytes pinned at once and kept; 0: as the section says
 * @add:	bytes of each additional block; 0: as the section says
 * @wall:	most bytes ever pinned; 0: as the section says
 * @flags:	BUD_LOCAL: no call with a timeout of 0 asks budd
 *
 * Sizes are rounded up to 256 KiB (2 MiB where the section's heap has large pages). A wish
 * above what the section allows is cut to it; bud_stat() tells what one got. The structure
 * and its strings are read by bud_open() alone, and remain the caller's.
 */
struct bud_config {
	size_t size;
	const char *socket;
	const char *pool;
	size_t base;
	size_t add;
	size_t wall;
	unsigned int flags;
};

/**
 * struct bud_stat - a pool as it is now
 * @size:	sizeof(struct bud_stat), set by the caller
 * @base:	bytes of the base block
 * @add:	bytes of each additional block
 * @wall:	the most bytes the pool may pin
 * @pinned:	bytes pinned now
 * @used:	bytes in buffers now
 * @blocks:	number of blocks, the base block included
 * @waiting:	requests in the pool's queue
 *
 * The figures are read one after the other, while others change them.
 */
struct bud_stat {
	size_t size;
	uint64_t base;
	uint64_t add;
	uint64_t wall;
	uint64_t pinned;
	uint64_t used;
	uint32_t blocks;
	uint32_t waiting;
};

/**
 * bud_granted_fn - how a bud_request() ended
 * @buf:	the buffer, now the caller's until bud_free(); NULL on failure
 * @error:	0, or a negative errno (-ETIMEDOUT, -ECANCELED, -EAGAIN, -ENOTCONN)
 * @arg:	as given to bud_request()
 *
 * Called from bud_dispatch() or bud_close(), in the thread that called that, with no lock
 * held: it may call anything of this library, bud_close() included.
 */
typedef void bud_granted_fn(void *buf, int error, void *arg);

/**
 * bud_open() - open a pool of one's own at budd
 * @poolp:	receives the pool; written on success only; end it with bud_close()
 * @config:	wishes; NULL: the defaults
 *
 * The base block is pinned and mapped when this returns. Waits for budd, ten seconds at
 * the longest. Any thread may open pools, as many as budd lets it: each is a connection, and
 * six descriptors.
 *
 * Return: 0; -ENOENT or -ECONNREFUSED (no budd at that socket), -EACCES (the socket, or that
 * pool, is not for this user), -ENOMEM or -ENOSPC (the base does not fit into the host's wall,
 * or could not be pinned), -EUSERS (too many clients, or too many of this user),
 * -EPROTONOSUPPORT (a budd of another version), -EPROTO (what answers is no budd),
 * -ETIMEDOUT (it did not answer), -EINVAL (a @config of a wrong size, with flags that there
 * are not, or with a name of more than 63 bytes), -ENAMETOOLONG (the socket's path),
 * -EMFILE or -ENFILE. BUD_DEBUG=1 in the environment shows budd's own words
 */
int bud_open(struct bud_pool **poolp, const struct bud_config *config);

/**
 * bud_close() - end the pool, and with it all its buffers
 * @pool:	the pool; NULL is fine
 *
 * Requests that still wait end with ECANCELED; callbacks that are still due run from
 * here. Threads that wait in bud_alloc() are sent away first; starting a new call on
 * the pool meanwhile is the caller's mistake. The memory is unmapped: touching a buffer
 * afterwards is a fault. Waits a second at the longest, for a budd that does not read; the
 * memory is given back when budd has heard of it, or when the process ends.
 */
void bud_close(struct bud_pool *pool);

/**
 * bud_alloc() - borrow a pinned buffer from the pool
 * @pool:	an open pool; any thread
 * @size:	bytes, at least 1; rounded up to 4 KiB x 2^k
 * @timeout_ms:	longest wait for our turn in the queue; 0 does not queue (though the
 *		pool may grow for us), -1 waits without end
 *
 * Costs no system call while the pool has room and nobody queues. The buffer is aligned
 * to its rounded size up to 256 KiB, never moves and never swaps; it is the caller's
 * until bud_free(). It reads as zero only where nobody in this pool has used it before.
 *
 * Return: the buffer; or NULL with errno EAGAIN, ETIMEDOUT, EMSGSIZE, EINVAL, ENOMEM,
 * ECANCELED, ENOTCONN
 */
void *bud_alloc(struct bud_pool *pool, size_t size, int timeout_ms);

/**
 * bud_allocv() - borrow several buffers of one size, all or none
 * @pool:	an open pool; any thread
 * @size:	bytes of each, at least 1; rounded up to 4 KiB x 2^k
 * @bufs:	receives @count buffers, each the caller's until its bud_free(); written on
 *		success only
 * @count:	1..BUD_COUNT_MAX
 * @timeout_ms:	as of bud_alloc()
 *
 * Programs that need several buffers at a time avoid waiting for each other half-served by
 * asking for all at once.
 *
 * Return: 0; -EAGAIN, -ETIMEDOUT, -EMSGSIZE (all of them together are more than the pool can
 * ever hold), -EINVAL, -ENOMEM, -ECANCELED, -ENOTCONN
 */
int bud_allocv(struct bud_pool *pool, size_t size, void **bufs, unsigned int count,
    int timeout_ms);
#define BUD_COUNT_MAX 1024u

/**
 * bud_free() - give a buffer back
 * @pool:	the pool that it is from; any thread, also another than the one that took it
 * @buf:	the start of a buffer of this pool, as it was handed out; NULL is fine
 *
 * Never waits. A buffer that is not this pool's, is free already, or a pointer into the
 * middle of one is a bug that corrupts data sooner or later: the process is told which
 * pointer it was, and aborted.
 */
void bud_free(struct bud_pool *pool, void *buf);

/**
 * bud_usable_size() - how large a buffer really is
 * @pool:	an open pool; any thread
 * @buf:	the start of a buffer
 *
 * Does not wait, and asks nobody.
 *
 * Return: bytes, at least what was asked for; 0 for a pointer that is no buffer of the
 * pool
 */
size_t bud_usable_size(struct bud_pool *pool, const void *buf);

/**
 * bud_request() - ask for a buffer and be called when it is there
 * @pool:	an open pool; any thread
 * @size:	bytes, at least 1; rounded up to 4 KiB x 2^k
 * @timeout_ms:	longest wait for its turn, as of bud_alloc(): milliseconds, 0 does not queue,
 *		-1 waits without end
 * @flags:	0, or BUD_LOCAL
 * @granted:	called exactly once, from bud_dispatch() (or bud_close()), never from within
 *		bud_request()
 * @arg:	handed on to @granted; the library does not look at it
 * @requestp:	receives a handle for bud_cancel(), valid for ever; may be NULL
 *
 * Does not wait. What is wrong at once is returned, and @granted not called.
 *
 * Return: 0; -EINVAL, -EMSGSIZE (more than the pool can ever hold), -ENOMEM, -ECANCELED (the
 * pool is being closed)
 */
int bud_request(struct bud_pool *pool, size_t size, int timeout_ms, unsigned int flags,
    bud_granted_fn *granted, void *arg, struct bud_request **requestp);

/**
 * bud_cancel() - end a request early; its callback comes with -ECANCELED
 * @request:	the handle of bud_request(); any thread
 *
 * Does not wait. The callback still comes from bud_dispatch(). A buffer that was granted but
 * not yet told goes back to the pool.
 *
 * Return: 0; -ENOENT from within or after its callback; -EINVAL for a pool of the parent,
 * after fork()
 */
int bud_cancel(struct bud_request *request);

/**
 * bud_fd() - a descriptor to poll for reading; then call bud_dispatch()
 * @pool:	an open pool; any thread
 *
 * It is the same each time and belongs to the pool: bud_close() closes it. Use it in poll(),
 * epoll or an event library, level-triggered, and read nothing from it.
 *
 * Return: the descriptor; -EINVAL for a pool of the parent, after fork()
 */
int bud_fd(struct bud_pool *pool);

/**
 * bud_dispatch() - run the callbacks of all requests that have ended, and of events
 * @pool:	an open pool; any thread, and from within a callback, too
 *
 * Does not wait. Callbacks run in the calling thread. Of two threads that dispatch at the same
 * time each runs some of them, none twice.
 *
 * Return: how many callbacks ran, 0 or more; -EINVAL for a pool of the parent, after fork()
 */
int bud_dispatch(struct bud_pool *pool);

/**
 * bud_stat() - figures of the pool, without asking budd
 * @pool:	an open pool; any thread
 * @stat:	@size set by the caller; the rest is filled in
 *
 * Does not wait, but walks over the pool's free map: not for each buffer.
 *
 * Return: 0; -EINVAL (a @size that is too small, or a pool of the parent, after fork())
 */
int bud_stat(struct bud_pool *pool, struct bud_stat *stat);

/* Hints. */
#define BUD_TRANSFER_END 1u

/**
 * bud_hint() - tell budd what it cannot know
 * @pool:	an open pool; any thread
 * @hint:	BUD_TRANSFER_END: a transfer has ended; blocks that are empty now need not wait
 *		for their idle period. One of them stays as headroom all the same
 *
 * Does not wait. If budd is so far behind that its socket is full, the hint leaves with
 * the next call that has something to say to budd, or in bud_dispatch().
 *
 * Return: 0; -EINVAL (no such hint, or a pool of the parent, after fork()), -ENOTCONN (budd
 * is away)
 */
int bud_hint(struct bud_pool *pool, unsigned int hint);

/* Events, a bit each. */
#define BUD_PRESSURE \
	0x1u /* others wait for memory, and this pool has more than its share */
#define BUD_GROWN    0x2u /* blocks of @bytes were added */
#define BUD_RELEASED 0x4u /* blocks of @bytes were given back */

/**
 * bud_event_fn - something happened to the pool
 * @event:	one of the bits above
 * @bytes:	since it was told last; 0 for BUD_PRESSURE
 * @arg:	as given to bud_watch()
 */
typedef void bud_event_fn(unsigned int event, uint64_t bytes, void *arg);

/**
 * bud_watch() - be told of events
 * @pool:	an open pool; any thread
 * @mask:	which ones; 0: none any more
 * @event:	called from bud_dispatch(). The last call of bud_watch() holds for the pool
 * @arg:	handed on to @event; the library does not look at it
 *
 * Does not wait.
 * Events of one kind that come before the next bud_dispatch() are told as one. A program
 * that is told of BUD_PRESSURE does the others a favour by freeing what it can spare.
 *
 * Return: 0; -EINVAL (no such event, a @mask without @event, or a pool of the parent, after
 * fork()), -ENOTCONN (budd is away)
 */
int bud_watch(struct bud_pool *pool, unsigned int mask, bud_event_fn *event, void *arg);

/* What a bud_block_fn is told. */
#define BUD_BLOCK_ADDED   1u /* the pool has this block, new or as before: register it */
#define BUD_BLOCK_RELEASE 2u /* it is to go: unregister it, then bud_gave_up() */

/**
 * bud_block_fn - a block of the pool came, or is to go
 * @what:	one of the above
 * @start:	its first byte
 * @bytes:	its size
 * @arg:	as given to bud_watch_blocks()
 */
typedef void bud_block_fn(unsigned int what, void *start, size_t bytes, void *arg);

/**
 * bud_watch_blocks() - for programs that register the pool's memory with a device
 * @pool:	an open pool; any thread
 * @block:	called from bud_dispatch(); NULL: nothing is registered any more
 * @arg:	handed on to @block; the library does not look at it
 *
 * A page that is registered (with io_uring, RDMA, VFIO) outlives the release of its block:
 * the device goes on with the old page, and the program sees another. From here on budd
 * therefore asks before a block goes. @block is told of each block that there is, the base
 * block first, and of each that comes; only of these may anything be registered. Of
 * BUD_BLOCK_RELEASE it is told when a block is to go, in which nothing is allocated: end
 * whatever the device still does there, unregister it, and call bud_gave_up(), from here or
 * later. If that takes longer than budd waits (unregister_timeout in budd.conf, 1 s), or the
 * pool needs the block itself, then the block stays, and is told as BUD_BLOCK_ADDED again.
 *
 * A thread that waits in bud_alloc() runs no callbacks: a program that has no other thread
 * to dispatch uses bud_request(). The last call of bud_watch_blocks() holds for the pool.
 * libbud-uring does all of this for io_uring; see bud-uring.h.
 *
 * Does not wait.
 *
 * Return: 0; -EINVAL for a pool of the parent, after fork(); -ENOTCONN (budd is away)
 */
int bud_watch_blocks(struct bud_pool *pool, bud_block_fn *block, void *arg);

/**
 * bud_gave_up() - the block is not registered any more: budd may have it
 * @pool:	an open pool; any thread
 * @start:	as told with BUD_BLOCK_RELEASE
 *
 * Does not wait. Nothing may be registered there until the block is told again.
 *
 * Return: 0; -ENOENT when budd does not ask for that block, or not any more; -ENOTCONN (budd
 * is away); -EINVAL for a pool of the parent, after fork()
 */
int bud_gave_up(struct bud_pool *pool, void *start);

/**
 * bud_locate() - where in the pool's memfd a pointer lies, for sendfile(), splice(),
 * XDP
 * @pool:	an open pool; any thread
 * @buf:	a buffer, or a pointer into one
 * @fdp:	receives the memfd; it belongs to the pool: neither close it nor change its length
 * @offsetp:	receives the offset of @buf in it, bytes
 *
 * Does not wait, and asks nobody.
 *
 * Return: 0; -EINVAL for a pointer outside the pool, or a pool of the parent, after fork()
 */
int bud_locate(struct bud_pool *pool, const void *buf, int *fdp, uint64_t *offsetp);

#ifdef __cplusplus
}
#endif

#endif
