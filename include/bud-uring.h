/* SPDX-License-Identifier: ISC */

/*
 * libbud-uring: the blocks of a pool as registered buffers of an io_uring.
 *
 * The kernel looks up and pins the pages of a registered buffer once, not with each read
 * and write. This library registers the pool's blocks, keeps the ring's slots in step as
 * blocks come and go, and gives a block up when budd asks for it. A buffer whose block is
 * not registered (it has just come, the memlock limit does not allow it, budd is away) is
 * read and written all the same, unregistered: the calls below choose.
 *
 *	struct bud_uring *u;
 *
 *	bud_uring_open(&u, pool, &ring);
 *	buf = bud_alloc(pool, size, 0);
 *	sqe = io_uring_get_sqe(&ring);
 *	bud_uring_prep_read_fixed(u, sqe, fd, buf, size, offset);
 *	io_uring_sqe_set_data(sqe, ...);
 *	for (;;) {
 *		io_uring_submit_and_wait(&ring, 1);
 *		io_uring_for_each_cqe(&ring, head, cqe)
 *			if (!bud_uring_handle(u, cqe))
 *				... one of the program's own ...
 *		io_uring_cq_advance(&ring, n);
 *	}
 *
 * The library has a poll of bud_fd() and the ends of registrations among the ring's
 * completions. bud_uring_handle() knows them by their user_data, which is an address within
 * the library, so that it is none of the program's; it calls bud_dispatch(), from which the
 * program's callbacks of bud_request() and bud_watch() run.
 *
 * Registering is charged to the program's RLIMIT_MEMLOCK (all rings of a user together)
 * unless it has CAP_IPC_LOCK. bud_uring_explain() says in a sentence what that allows.
 *
 * Threads: as the ring: one at a time, for it and for bud_dispatch() of the pool. One ring a
 * pool; the ring has no other registered buffers. It must outlive bud_uring_close(), and the
 * pool too. bud_watch_blocks() of the pool is this library's.
 *
 * fork: the child has neither the pool nor, in effect, the ring. bud_uring_close() there
 * frees what it has of memory and leaves the parent's ring alone.
 */
#ifndef BUD_URING_H
#define BUD_URING_H

#include <bud.h>
#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bud_uring;

/**
 * struct bud_uring_stat - what is registered
 * @size:	sizeof(struct bud_uring_stat), set by the caller
 * @registered:	bytes of blocks that are registered now
 * @plain:	bytes of blocks that are not
 * @limit:	bytes that RLIMIT_MEMLOCK allows; UINT64_MAX: no limit, or CAP_IPC_LOCK
 * @fixed_count:	operations prepared with a registered buffer
 * @plain_count:	... and without
 * @given_up:	blocks that were given up because budd asked
 * @error:	why the last block could not be registered, a negative errno; 0
 * @has_send_zc:	the kernel has it (6.0); else bud_uring_prep_send_zc() copies
 */
struct bud_uring_stat {
	size_t size;
	uint64_t registered;
	uint64_t plain;
	uint64_t limit;
	uint64_t fixed_count;
	uint64_t plain_count;
	uint64_t given_up;
	int error;
	int has_send_zc;
};

/**
 * bud_uring_open() - register the blocks of a pool with a ring
 * @uringp:	receives the handle; written on success only; end it with bud_uring_close()
 * @ring:	without registered buffers of its own
 *
 * Waits for budd to say which blocks there are, two seconds at the longest, and calls
 * bud_dispatch() meanwhile. That not all could be registered is no error: see
 * bud_uring_stat(). Leaves a request in the submission queue, for the next
 * io_uring_submit().
 *
 * Return: 0; -EBUSY (the ring has registered buffers), -ENOSYS (a kernel before 5.19),
 * -ENOTCONN (budd is away), -EINVAL (the parent's pool, after fork()), -ENOMEM
 */
int bud_uring_open(
    struct bud_uring **uringp, struct bud_pool *pool, struct io_uring *ring);

/**
 * bud_uring_close() - unregister all
 * @u:		NULL is fine
 *
 * No operation on a buffer of the pool may be under way. Completions of the library may
 * still lie in the ring: bud_uring_handle(NULL, cqe) knows them.
 */
void bud_uring_close(struct bud_uring *u);

/**
 * bud_uring_handle() - look at a completion
 * @u:		may be NULL, after bud_uring_close()
 *
 * Careful: runs the pool's callbacks. The program still has to mark @cqe as seen.
 *
 * Return: true if it was the library's, and the program has nothing to do with it
 */
bool bud_uring_handle(struct bud_uring *u, const struct io_uring_cqe *cqe);

/**
 * bud_uring_prep_read_fixed() - as io_uring_prep_read_fixed(), for a buffer of the pool
 * @buf:	a buffer, or a place in one
 * @len:	bytes, all of them in that buffer
 *
 * The buffer is the program's again with the completion.
 *
 * Return: whether a registered buffer is used; if not, it is io_uring_prep_read()
 */
bool bud_uring_prep_read_fixed(struct bud_uring *u, struct io_uring_sqe *sqe, int fd,
    void *buf, unsigned int len, uint64_t offset);
/** bud_uring_prep_write_fixed() - likewise */
bool bud_uring_prep_write_fixed(struct bud_uring *u, struct io_uring_sqe *sqe, int fd,
    const void *buf, unsigned int len, uint64_t offset);

/**
 * bud_uring_prep_send_zc() - send from a buffer of the pool without copying
 * @flags:	as of send(2)
 *
 * The program may free the buffer after the last completion, the one without
 * IORING_CQE_F_MORE: the first one has the result, and the second one (IORING_CQE_F_NOTIF)
 * comes when the network needs the buffer no longer. Where a copy is sent, there is one.
 *
 * Return: whether a registered buffer is used; if not, it is io_uring_prep_send()
 */
bool bud_uring_prep_send_zc(struct bud_uring *u, struct io_uring_sqe *sqe, int fd,
    const void *buf, size_t len, int flags);

/**
 * bud_uring_stat() - figures
 * Return: 0 or -EINVAL
 */
int bud_uring_stat(const struct bud_uring *u, struct bud_uring_stat *stat);

/**
 * bud_uring_explain() - a sentence about what is registered, what is not, why not, and what
 * to do about it
 * @text:	receives it, cut to @size bytes, its NUL included
 */
void bud_uring_explain(const struct bud_uring *u, char *text, size_t size);

#ifdef __cplusplus
}
#endif

#endif
