/* SPDX-License-Identifier: ISC */

/*
 * libbud-event: the buffers of a pool in a program that lives on libevent.
 *
 *	struct bud_event *e;
 *
 *	bud_event_open(&e, pool, base);		callbacks of the pool run from the loop
 *	bud_event_request(e, bev, size, timeout_ms, granted, arg, NULL);
 *	...
 *	static void
 *	granted(void *buf, int error, void *arg)
 *	{
 *		n = read(file, buf, size);
 *		bud_event_add(e, bufferevent_get_output(bev), buf, n);
 *	}						freed when the last byte is sent
 *
 * A pool that the loop must not wait for is opened with BUD_LOCAL: then bud_alloc() with a
 * timeout of 0 takes what is free and asks nobody, and bud_event_request() does the asking.
 *
 * Threads: those of the event_base: one at a time. The pool itself serves others, too.
 *
 * fork: the child has no pool. It frees what evbuffers hold of it, without reading it, and
 * calls bud_event_close(), before event_reinit().
 */
#ifndef BUD_EVENT_H
#define BUD_EVENT_H

#include <bud.h>
#include <event2/util.h>
#include <stddef.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bud_event;
struct bud_event_request;
struct bufferevent;
struct evbuffer;
struct event_base;

/**
 * bud_event_open() - attach a pool to a loop
 * @eventp:	receives the handle; written on success only; end it with bud_event_close()
 * @base:	calls bud_dispatch() from now on, when there is something to do
 *
 * Return: 0; -EINVAL (the parent's pool, after fork()), -ENOMEM
 */
int bud_event_open(
    struct bud_event **eventp, struct bud_pool *pool, struct event_base *base);

/**
 * bud_event_close() - detach it
 * @event:	NULL is fine
 *
 * Ends all requests that wait; their callbacks do not come. Before bud_close(), and before
 * event_base_free(). A bufferevent gives its output back a round of the loop after
 * bufferevent_free(): until then this is -EBUSY, and the loop has to go on.
 *
 * Return: 0; -EBUSY when evbuffers still hold buffers of the pool; then nothing was done
 */
int bud_event_close(struct bud_event *event);

/**
 * bud_event_add() - append a buffer of the pool to an evbuffer, without a copy
 * @buf:	from bud_alloc() or a grant; the evbuffer's from now on
 * @len:	bytes of it
 *
 * It is freed to the pool when the last byte is drained: sent, or thrown away with the
 * evbuffer. Nobody writes to it until then.
 *
 * Return: 0; -EINVAL (a @len of 0), -ENOMEM; then @buf is still the caller's
 */
int bud_event_add(struct bud_event *event, struct evbuffer *out, void *buf, size_t len);

/**
 * bud_event_read() - read from a socket straight into a buffer of the pool
 * @in:		receives it at its end; see bud_event_add(). Not the input of a bufferevent,
 *		which allows nobody else to add to it: read with an event of one's own
 * @fd:		a socket or a pipe, not blocking
 * @max:	bytes at the most; the buffer is as large as what has come
 *
 * Does not wait, neither for data nor for memory.
 *
 * Return: bytes; 0 at the end of the stream; -EAGAIN: nothing has come; -ENOBUFS: no buffer
 * is free: stop reading, bud_event_request(), go on in its callback; -ENOTCONN: likewise,
 * and budd is away, so that only a bud_free() of the program's own makes room; another
 * negative errno
 */
ssize_t bud_event_read(
    struct bud_event *event, struct evbuffer *in, evutil_socket_t fd, size_t max);

/**
 * bud_event_request() - bud_request() that ends with a bufferevent
 * @bev:	for whom; NULL: for nobody in particular. It must have a callback set, for
 *		that is how one that was freed is known
 * @granted:	called from the loop, once
 * @requestp:	receives a handle for bud_event_cancel(), valid until @granted is called or
 *		@bev freed; may be NULL
 *
 * When @bev is freed while the request waits, the request is cancelled (within
 * BUD_EVENT_NOTICE_MS; the library holds on to @bev until then) and @granted is not called;
 * a buffer that was granted goes back to the pool.
 *
 * Return: 0; -EINVAL, -EMSGSIZE, -ENOMEM, and @granted is not called
 */
int bud_event_request(struct bud_event *event, struct bufferevent *bev, size_t size,
    int timeout_ms, bud_granted_fn *granted, void *arg,
    struct bud_event_request **requestp);
#define BUD_EVENT_NOTICE_MS 20

/**
 * bud_event_cancel() - end a request; its callback does not come
 * @request:	NULL is fine
 */
void bud_event_cancel(struct bud_event_request *request);

#ifdef __cplusplus
}
#endif

#endif
