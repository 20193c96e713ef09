/* SPDX-License-Identifier: ISC */

/*
 * The pieces of a copy.
 *
 *	         granted           read            written, or sent and let go of
 *	ASKING ----------> READING -----> MOVING ---------------------------> FREE
 *	   ^                                (a socket: LOADED until its turn)    |
 *	   +---------------------------- the next offset ------------------------+
 *
 * After the first error nothing new begins, and what is under way is waited for.
 */
#include "examples/copy.h"

#include <errno.h>
#include <stdlib.h>

#define PROGRESS_NS 100000000

enum piece_state {
	PIECE_FREE,
	PIECE_ASKING,
	PIECE_READING,
	PIECE_LOADED,
	PIECE_MOVING
};

struct run;

struct piece {
	struct run *run;
	enum piece_state state;
	void *buf;
	uint64_t offset;
	size_t len;
	size_t got;        /* bytes read */
	size_t moved;      /* ... written or sent */
	bool busy;         /* an operation has not had its result */
	unsigned int lent; /* sends whose buffer the network still needs */
};

struct run {
	const struct copy *copy;
	uint64_t next; /* offset of the next piece to begin */
	uint64_t send; /* ... to send */
	uint64_t done;
	unsigned int under_way; /* pieces that are not FREE */
	int error;
	struct piece pieces[COPY_DEPTH_MAX];
};

static void piece_begin(struct piece *p);

static void
fail(struct run *r, int error)
{
	if (r->error == 0)
		r->error = error;
}

static struct io_uring_sqe *
get_sqe(struct piece *p)
{
	struct io_uring *ring = p->run->copy->ring;
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	if (sqe == NULL && io_uring_submit(ring) >= 0)
		sqe = io_uring_get_sqe(ring);
	return sqe;
}

static size_t
aligned(size_t len)
{
	return (len + COPY_ALIGN - 1) / COPY_ALIGN * COPY_ALIGN;
}

static void
piece_end(struct piece *p)
{
	struct run *r = p->run;

	r->copy->memory->give(r->copy->memory->arg, p->buf);
	p->buf = NULL;
	p->state = PIECE_FREE;
	r->under_way--;
	piece_begin(p);
}

/* Whatever comes next of what is not finished; on error, the end. */
static void
piece_go_on(struct piece *p)
{
	const struct copy *c = p->run->copy;
	struct io_uring_sqe *sqe = p->run->error == 0 ? get_sqe(p) : NULL;
	char *buf = p->buf;

	if (sqe == NULL) {
		fail(p->run, -ENOMEM);
		if (p->lent == 0)
			piece_end(p);
		return;
	}
	if (p->state == PIECE_READING)
		c->memory->prep_read(c->memory->arg, sqe, c->from, buf + p->got,
		    (unsigned int)aligned(p->len - p->got), p->offset + p->got);
	else if (c->to_socket)
		c->memory->prep_send(
		    c->memory->arg, sqe, c->to, buf + p->moved, p->len - p->moved);
	else
		c->memory->prep_write(c->memory->arg, sqe, c->to, buf + p->moved,
		    (unsigned int)aligned(p->len - p->moved), p->offset + p->moved);
	io_uring_sqe_set_data(sqe, p);
	p->busy = true;
}

/* A socket gets one piece after the other. */
static void
send_next(struct run *r)
{
	for (unsigned int i = 0; i < r->copy->depth; i++) {
		struct piece *p = &r->pieces[i];

		if (p->state == PIECE_LOADED &&
		    (p->offset == r->send || r->error != 0)) {
			p->state = PIECE_MOVING;
			piece_go_on(p);
		}
	}
}

static void
on_granted(void *buf, int error, void *to)
{
	struct piece *p = to;

	if (error != 0) {
		fail(p->run, error);
		p->state = PIECE_FREE;
		p->run->under_way--;
		return;
	}
	p->buf = buf;
	p->state = PIECE_READING;
	piece_go_on(p);
}

static void
piece_begin(struct piece *p)
{
	struct run *r = p->run;
	const struct copy *c = r->copy;
	uint64_t left = c->size - r->next;
	int error;

	if (r->error != 0 || left == 0)
		return;
	*p = (struct piece){ .run = r,
		.state = PIECE_ASKING,
		.offset = r->next,
		.len = left < c->piece ? (size_t)left : c->piece };
	r->next += p->len;
	r->under_way++;
	error = c->memory->request(c->memory->arg, c->piece, on_granted, p);
	if (error != 0)
		on_granted(NULL, error, p);
}

static void
on_read(struct piece *p, size_t n)
{
	p->got += n < p->len - p->got ? n : p->len - p->got;
	if (n == 0)
		fail(p->run, -ENODATA);
	else if (p->got < p->len && p->got % COPY_ALIGN != 0)
		fail(p->run, -EIO); /* O_DIRECT cannot go on from there */
	if (p->got < p->len) {
		piece_go_on(p);
		return;
	}
	p->state = p->run->copy->to_socket ? PIECE_LOADED : PIECE_MOVING;
	if (p->state == PIECE_MOVING)
		piece_go_on(p);
}

static void
on_moved(struct piece *p, size_t n)
{
	struct run *r = p->run;

	n = n < p->len - p->moved ? n : p->len - p->moved;
	p->moved += n;
	r->done += n;
	if (p->moved < p->len) {
		piece_go_on(p);
		return;
	}
	r->send += p->len;
	if (p->lent == 0)
		piece_end(p);
}

static void
piece_on_result(struct piece *p, const struct io_uring_cqe *cqe)
{
	if ((cqe->flags & IORING_CQE_F_NOTIF) != 0) {
		p->lent--;
		if (p->lent == 0 && !p->busy &&
		    (p->moved == p->len || p->run->error != 0))
			piece_end(p);
		return;
	}
	p->busy = false;
	p->lent += (cqe->flags & IORING_CQE_F_MORE) != 0;
	if (cqe->res < 0) {
		fail(p->run, cqe->res);
		if (p->lent == 0)
			piece_end(p);
	} else if (p->state == PIECE_READING) {
		on_read(p, (size_t)cqe->res);
	} else {
		on_moved(p, (size_t)cqe->res);
	}
}

static void
take_completions(struct run *r)
{
	const struct copy_memory *m = r->copy->memory;
	struct io_uring_cqe *cqe;

	while (io_uring_peek_cqe(r->copy->ring, &cqe) == 0) {
		struct io_uring_cqe copy = *cqe;

		io_uring_cqe_seen(r->copy->ring, cqe);
		if (m->handle == NULL || !m->handle(m->arg, &copy))
			piece_on_result(io_uring_cqe_get_data(&copy), &copy);
	}
	if (r->copy->to_socket)
		send_next(r);
}

int
copy_run(const struct copy *c)
{
	struct __kernel_timespec ts = { .tv_nsec = PROGRESS_NS };
	struct run *r = calloc(1, sizeof(*r));
	struct io_uring_cqe *cqe;
	int error;

	if (r == NULL)
		return -ENOMEM;
	r->copy = c;
	for (unsigned int i = 0; i < c->depth; i++) {
		r->pieces[i].run = r;
		piece_begin(&r->pieces[i]);
	}
	while (r->under_way > 0) {
		error = io_uring_submit_and_wait_timeout(c->ring, &cqe, 1, &ts, NULL);
		if (error < 0 && error != -ETIME && error != -EINTR && error != -EAGAIN)
			fail(r, error);
		take_completions(r);
		if (c->progress != NULL)
			c->progress(r->done, c->size, c->progress_arg);
	}
	error = r->error;
	free(r);
	return error;
}
