/* SPDX-License-Identifier: ISC */

/* Copying a file through an io_uring, piece by piece, several under way at a time. Whose
 * memory the pieces lie in is the caller's. */
#ifndef EXAMPLES_COPY_H
#define EXAMPLES_COPY_H

#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COPY_ALIGN     4096u /* what O_DIRECT needs, of memory, offsets and lengths */
#define COPY_DEPTH_MAX 64u

/* Where buffers come from, and how they are used. */
struct copy_memory {
	void *arg;
	/* A buffer of @size, by and by: calls granted(buf, error, to), from within or later;
	 * returns 0 or a negative errno. */
	int (*request)(void *arg, size_t size,
	    void (*granted)(void *buf, int error, void *to), void *to);
	void (*give)(void *arg, void *buf);
	void (*prep_read)(void *arg, struct io_uring_sqe *sqe, int fd, void *buf,
	    unsigned int len, uint64_t offset);
	void (*prep_write)(void *arg, struct io_uring_sqe *sqe, int fd, const void *buf,
	    unsigned int len, uint64_t offset);
	void (*prep_send)(
	    void *arg, struct io_uring_sqe *sqe, int fd, const void *buf, size_t len);
	/* Is this completion the memory's own? NULL: never */
	bool (*handle)(void *arg, const struct io_uring_cqe *cqe);
};

struct copy {
	struct io_uring *ring;
	const struct copy_memory *memory;
	int from;           /* a regular file */
	int to;             /* a file as large as it gets, or a stream socket */
	bool to_socket;     /* then pieces go in order */
	uint64_t size;      /* bytes to copy */
	size_t piece;       /* bytes at a time, a multiple of COPY_ALIGN */
	unsigned int depth; /* pieces at a time, 1..COPY_DEPTH_MAX */
	/* Called now and then with the bytes that are through; may be NULL. */
	void (*progress)(uint64_t done, uint64_t size, void *arg);
	void *progress_arg;
};

/**
 * copy_run() - copy it all
 *
 * A last piece that is no multiple of COPY_ALIGN is written to a file rounded up: the caller
 * cuts the file.
 *
 * Return: 0, or a negative errno (-ENODATA: the file became shorter); nothing is under way
 * then, and all buffers were given back
 */
int copy_run(const struct copy *copy);

#endif
