/* SPDX-License-Identifier: ISC */

/*
 * One client.
 *
 *	          a head has come          nothing is free
 *	READING ------------------> SENDING -------------> WAITING
 *	   ^                        |  ^  ^                   |
 *	   |        reply finished  |  |  +-------------------+ granted
 *	   +------------------------+  |
 *	                            |  +--- LINGERING (--linger-ms: the piece is
 *	          no keep-alive     |          held on to after it was sent)
 *	CLOSING <-------------------+
 *
 * and from each of them to GONE, when the client has gone or its time is up.
 *
 * The body goes out in pieces. A piece is read into a buffer of the pool, lent to the
 * evbuffer by reference, and freed by on_sent() when the socket has taken it, or with
 * the evbuffer when the client has gone: the evbuffer calls on_sent() exactly once.
 *
 * Invariants:
 *   I1  a connection has at most one buffer (piece), or one request for one (request),
 *       never both;
 *   I2  request is set in WAITING alone; a connection that goes cancels it, and no callback
 *       comes;
 *   I3  after a piece the loop has its turn before the next one is read, so that nobody
 *       waits for more than one piece of anybody.
 *
 * Why neither evhttp nor a bufferevent: while a request is answered, evhttp of libevent
 * 2.1 does not read, and so does not see the client leave that waits for a buffer; made
 * to read, it ends the program when a pipelined request arrives. Its timeout also cuts
 * off whoever takes longer than that to download. And a bufferevent gives its output
 * back a round of the loop late, which could be after bud_close(). Two events and an
 * evbuffer do what we say, when we say it.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "examples/httpd_connection.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/event_struct.h>

#include "bud-event.h"
#include "examples/httpd_reply.h"
#include "examples/httpd_request.h"
#include "examples/httpd_server.h"

#define PIECE_MIN  4096u
#define CLOSING_MS 2000 /* for the client to read our last words */

enum state {
	STATE_READING,   /* a request's head */
	STATE_WAITING,   /* for a buffer */
	STATE_SENDING,   /* what out holds */
	STATE_LINGERING, /* the piece was sent, and is held a little longer */
	STATE_CLOSING,   /* all is said; reading what the client still sends */
	STATE_GONE,
};

struct httpd_connection {
	LIST_ENTRY(httpd_connection) link;
	struct httpd_server *server;
	enum state state;
	int fd;
	struct event readable;
	struct event writable;
	struct event timer;
	struct evbuffer *out;
	struct httpd_reply reply;
	void *piece;
	struct bud_event_request *request;
	uint64_t waiting_since_ms;
	size_t in_len;
	char in[HTTPD_HEAD_MAX];
};

static void connection_next_piece(struct httpd_connection *c);
static void connection_take_request(struct httpd_connection *c);

static uint64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* How long a state may last. In WAITING the request has a deadline of its own. */
static int
state_limit_ms(const struct httpd_server *s, enum state state)
{
	switch (state) {
	case STATE_READING:
	case STATE_SENDING:
		return s->idle_ms;
	case STATE_LINGERING:
		return s->linger_ms;
	case STATE_CLOSING:
		return CLOSING_MS;
	case STATE_WAITING:
	case STATE_GONE:
		break;
	}
	return -1;
}

static void
connection_set_timer(struct httpd_connection *c, int ms)
{
	struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	if (ms >= 0)
		event_add(&c->timer, &tv);
	else
		event_del(&c->timer);
}

/*
 * Reading goes on in all states, for that is how we learn that the client has left;
 * only when it has pipelined more than we hold does it stop until we are READING again.
 */
static void
connection_change_state(struct httpd_connection *c, enum state state)
{
	c->state = state;
	connection_set_timer(c, state_limit_ms(c->server, state));
	if (state == STATE_CLOSING)
		c->in_len = 0;
	if (c->in_len < sizeof(c->in))
		event_add(&c->readable, NULL);
}

void
httpd_connection_close(struct httpd_connection *c)
{
	struct httpd_server *s = c->server;

	if (c->state == STATE_GONE)
		return;
	c->state = STATE_GONE; /* on_sent() does not linger now */
	event_del(&c->readable);
	event_del(&c->writable);
	event_del(&c->timer);
	evbuffer_free(c->out); /* calls on_sent() if the socket has not taken it all */
	bud_free(s->pool, c->piece);
	c->piece = NULL;
	httpd_reply_end(&c->reply);
	close(c->fd);
	LIST_REMOVE(c, link);
	bud_event_cancel(c->request);
	free(c);
	httpd_server_departed(s);
}

/*
 * The client is done with, unless it has more to ask. Closing at once would make the
 * kernel answer bytes that we did not read (a body, say) with a reset, and that takes
 * our reply from the client's hands.
 */
static void
connection_finish_reply(struct httpd_connection *c)
{
	httpd_reply_end(&c->reply);
	c->server->totals.requests++;
	if (c->reply.keep_alive && !c->server->stopping) {
		connection_change_state(c, STATE_READING);
		connection_take_request(c);
		return;
	}
	if (shutdown(c->fd, SHUT_WR) == -1)
		httpd_connection_close(c);
	else
		connection_change_state(c, STATE_CLOSING);
}

/* All that was in out has been sent, and on_sent() has been here. */
static void
connection_go_on(struct httpd_connection *c)
{
	if (c->piece != NULL)
		connection_change_state(c, STATE_LINGERING);
	else if (c->reply.left > 0)
		connection_next_piece(c);
	else
		connection_finish_reply(c);
}

/* Return whether c is still there. */
static bool
connection_write(struct httpd_connection *c)
{
	int n = evbuffer_write(c->out, c->fd);

	if (n > 0)
		c->server->totals.bytes += (uint64_t)n;
	if (n <= 0 && errno != EAGAIN && errno != EINTR) {
		httpd_connection_close(c);
		return false;
	}
	return true;
}

/*
 * Send what is in out: now, as far as the socket takes it. That the rest of the reply
 * waits for the loop is I3; a reply that is through, with nothing pipelined behind it,
 * is not sent round once more for nothing.
 */
static void
connection_send(struct httpd_connection *c)
{
	connection_change_state(c, STATE_SENDING);
	if (!connection_write(c))
		return;
	if (evbuffer_get_length(c->out) == 0 && c->piece == NULL &&
	    c->reply.left == 0 && c->in_len == 0)
		connection_finish_reply(c);
	else
		event_add(&c->writable, NULL);
}

static void
connection_send_head(struct httpd_connection *c)
{
	if (httpd_reply_head(&c->reply, c->out, time(NULL)) != 0)
		httpd_connection_close(c);
	else
		connection_send(c);
}

/* Too late for an error message once the head has gone: then closing is the message. */
static void
connection_fail(struct httpd_connection *c, int status)
{
	if (c->reply.started) {
		httpd_connection_close(c);
		return;
	}
	httpd_reply_error(&c->reply, status);
	connection_send_head(c);
}

/* The evbuffer needs the piece no longer: sent, or the client has gone. */
static void
on_sent(const void *data, size_t len, void *arg)
{
	struct httpd_connection *c = arg;

	(void)len;
	assert(data == c->piece);
	(void)data;
	if (c->server->linger_ms > 0 && c->state != STATE_GONE)
		return; /* LINGERING comes next */
	bud_free(c->server->pool, c->piece);
	c->piece = NULL;
}

/* Fill @buf, which is ours now, from the file and send it. */
static void
connection_send_piece(struct httpd_connection *c, void *buf, size_t size)
{
	struct httpd_reply *r = &c->reply;
	size_t len = r->left < size ? (size_t)r->left : size;

	assert(c->piece == NULL && c->request == NULL); /* I1 */
	if (httpd_file_read(r->file.fd, buf, len, r->offset) != 0) {
		bud_free(c->server->pool, buf);
		connection_fail(c, 500);
		return;
	}
	if (!r->started && httpd_reply_head(r, c->out, time(NULL)) != 0) {
		bud_free(c->server->pool, buf);
		httpd_connection_close(c);
		return;
	}
	c->piece = buf;
	if (evbuffer_add_reference(c->out, buf, len, on_sent, c) == -1) {
		httpd_connection_close(c); /* frees the piece */
		return;
	}
	r->offset += len;
	r->left -= len;
	connection_send(c);
}

/* 4 KiB x 2^k: what is left, or the largest piece. */
static size_t
piece_size(uint64_t left, size_t piece_max)
{
	size_t size = PIECE_MIN;

	while (size < left && size < piece_max)
		size *= 2;
	return size;
}

/* The pool never holds a buffer as large as @size. Return whether a smaller may do. */
static bool
connection_reduce_piece(struct httpd_connection *c, size_t size)
{
	if (size <= PIECE_MIN)
		return false;
	if (c->server->piece_max >= size)
		c->server->piece_max = size / 2;
	return true;
}

static void
on_granted(void *buf, int error, void *arg)
{
	struct httpd_connection *c = arg;
	struct httpd_server *s = c->server;
	uint64_t waited_ms = now_ms() - c->waiting_since_ms;

	c->request = NULL;
	if (waited_ms > s->totals.wait_longest_ms)
		s->totals.wait_longest_ms = waited_ms;
	assert(c->state == STATE_WAITING);
	if (error == 0) {
		connection_send_piece(
		    c, buf, piece_size(c->reply.left, bud_usable_size(s->pool, buf)));
	} else {
		s->totals.refusals++;
		connection_fail(c, 503);
	}
}

/*
 * The pool was opened with BUD_LOCAL: bud_alloc() looks at what is free in this process
 * and talks to nobody, and bud_event_request() asks budd without making the loop wait.
 */
static void
connection_next_piece(struct httpd_connection *c)
{
	struct httpd_server *s = c->server;
	size_t size;
	void *buf;
	int r;

	do {
		size = piece_size(c->reply.left, s->piece_max);
		if ((buf = bud_alloc(s->pool, size, 0)) != NULL) {
			connection_send_piece(c, buf, size);
			return;
		}
		r = bud_event_request(
		    s->grants, NULL, size, s->wait_ms, on_granted, c, &c->request);
	} while (r == -EMSGSIZE && connection_reduce_piece(c, size));
	if (r != 0) {
		c->request = NULL;
		connection_fail(c, 503);
		return;
	}
	c->waiting_since_ms = now_ms();
	s->totals.waits++;
	connection_change_state(c, STATE_WAITING);
}

static void
connection_drop_input(struct httpd_connection *c, size_t len)
{
	c->in_len -= len;
	memmove(c->in, c->in + len, c->in_len);
}

/* READING: answer the first request of those that have come whole. */
static void
connection_take_request(struct httpd_connection *c)
{
	struct httpd_request request = { .method = HTTPD_UNKNOWN };
	size_t len, blank = 0;
	int parsed;

	while (blank < c->in_len && (c->in[blank] == '\r' || c->in[blank] == '\n'))
		blank++; /* some clients end a body with a line too many */
	connection_drop_input(c, blank);
	len = httpd_request_length(c->in, c->in_len);
	if (len > 0) {
		parsed = httpd_request_parse(c->in, len, &request);
	} else if (c->in_len == sizeof(c->in)) {
		len = c->in_len;
		parsed = 431;
	} else if (c->in_len > 0 && (c->in[0] < 'A' || c->in[0] > 'Z')) {
		len = c->in_len; /* TLS, most likely: it would wait for us to answer */
		parsed = 400;
	} else {
		return;
	}
	/* The request points into in[]; once decided, it is needed no longer. */
	httpd_reply_decide(&c->reply, &request, parsed, c->server->root);
	connection_drop_input(c, len);
	if (c->reply.left == 0 || c->reply.no_body)
		connection_send_head(c);
	else
		connection_next_piece(c);
}

/*
 * A client that has stopped talking has stopped listening. Only the linger, which
 * stands for a slow network, runs its time all the same; then we get here again.
 */
static void
connection_hung_up(struct httpd_connection *c)
{
	if (c->state == STATE_LINGERING)
		event_del(&c->readable);
	else
		httpd_connection_close(c);
}

static void
on_readable(evutil_socket_t fd, short events, void *arg)
{
	struct httpd_connection *c = arg;
	ssize_t n;

	(void)events;
	n = read(fd, c->in + c->in_len, sizeof(c->in) - c->in_len);
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		connection_hung_up(c);
		return;
	}
	if (c->state == STATE_CLOSING)
		return; /* into the void */
	c->in_len += (size_t)n;
	if (c->in_len == sizeof(c->in))
		event_del(&c->readable);
	if (c->state == STATE_READING)
		connection_take_request(c);
}

static void
on_writable(evutil_socket_t fd, short events, void *arg)
{
	struct httpd_connection *c = arg;

	(void)fd;
	(void)events;
	assert(c->state == STATE_SENDING);
	if (evbuffer_get_length(c->out) > 0 && !connection_write(c))
		return;
	if (evbuffer_get_length(c->out) > 0) {
		connection_set_timer(c, c->server->idle_ms);
		event_add(&c->writable, NULL);
	} else {
		connection_go_on(c);
	}
}

static void
on_timer(evutil_socket_t fd, short events, void *arg)
{
	struct httpd_connection *c = arg;

	(void)fd;
	(void)events;
	if (c->state != STATE_LINGERING) {
		httpd_connection_close(c);
		return;
	}
	bud_free(c->server->pool, c->piece);
	c->piece = NULL;
	connection_go_on(c);
}

int
httpd_connection_accept(struct httpd_server *s, int fd)
{
	struct httpd_connection *c = calloc(1, sizeof(*c));

	if (c == NULL || (c->out = evbuffer_new()) == NULL) {
		free(c);
		close(fd);
		return -ENOMEM;
	}
	c->server = s;
	c->fd = fd;
	c->reply = (struct httpd_reply)HTTPD_REPLY_NONE;
	event_assign(&c->readable, s->base, fd, EV_READ | EV_PERSIST, on_readable, c);
	event_assign(&c->writable, s->base, fd, EV_WRITE, on_writable, c);
	evtimer_assign(&c->timer, s->base, on_timer, c);
	LIST_INSERT_HEAD(&s->connections, c, link);
	connection_change_state(c, STATE_READING);
	return 0;
}

void
httpd_connection_finish(struct httpd_connection *c)
{
	if (c->state == STATE_READING || c->state == STATE_CLOSING)
		httpd_connection_close(c);
}

struct httpd_connection *
httpd_connection_next(const struct httpd_connection *c)
{
	return LIST_NEXT(c, link);
}
