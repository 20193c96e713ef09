/* SPDX-License-Identifier: ISC */

/* libbud-event with a real libevent, a real budd, and peers in processes of their own. */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bud-event.h"
#include "tests/client_process.h"
#include "tests/daemon.h"

#define CHUNK (256 * KIB)
#define WALL  MIB
#define CONFIG                                                 \
	"[host]\ntick = 5ms\nrelease_period = 1h\nidle = 1h\n" \
	"[pool default]\nbase = 256K\nadd = 256K\nwall = 1M\nwall_max = 1M\n"
#define STREAM (64 * CHUNK) /* that goes through a pool of four */

static struct daemon d;
static struct bud_pool *pool;
static struct event_base *base;
static struct bud_event *e;

static void
enter(void)
{
	daemon_start(&d, CONFIG);
	pool = open_pool(&d, NULL);
	base = event_base_new();
	must(base != NULL);
	must(bud_event_open(&e, pool, base) == 0);
}

/* All buffers are back: nothing was lost on the way. */
static void
leave(void)
{
	while (bud_event_close(e) == -EBUSY)
		event_base_loop(base, EVLOOP_NONBLOCK);
	event_base_free(base);
	ck_assert_uint_eq(stat_of(pool).used, 0);
	eventually(stat_of(pool).waiting == 0 || bud_hint(pool, BUD_TRANSFER_END) != 0);
	bud_close(pool);
	daemon_stop(&d);
}

static void
turn(void)
{
	struct timeval tv = { .tv_usec = 10000 };

	event_base_loopexit(base, &tv);
	event_base_loop(base, EVLOOP_ONCE);
}

static bool
after_turn(bool done)
{
	if (!done)
		turn();
	return done;
}

struct grant {
	void *buf;
	int error;
	unsigned int calls;
};

static void
on_granted(void *buf, int error, void *arg)
{
	struct grant *g = arg;

	g->buf = buf;
	g->error = error;
	g->calls++;
}

static void
take_all(void **bufs)
{
	for (int i = 0; i < 4; i++)
		must((bufs[i] = bud_alloc(pool, CHUNK, PATIENCE_MS)) != NULL);
}

static void
free_all(void **bufs)
{
	for (int i = 0; i < 4; i++)
		bud_free(pool, bufs[i]);
}

static void
on_nothing(struct bufferevent *bev, void *arg)
{
	(void)bev;
	(void)arg;
}

static void
on_end(struct bufferevent *bev, short what, void *arg)
{
	(void)arg;
	if ((what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) != 0)
		bufferevent_free(bev);
}

/* A connection, as a program has it; @peer is the other end. */
static struct bufferevent *
connection(int *peer)
{
	struct bufferevent *bev;
	int pair[2];

	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) ==
	     0);
	bev = bufferevent_socket_new(base, pair[0], BEV_OPT_CLOSE_ON_FREE);
	must(bev != NULL);
	bufferevent_setcb(bev, on_nothing, NULL, on_end, NULL);
	must(bufferevent_enable(bev, EV_READ | EV_WRITE) == 0);
	*peer = pair[1];
	return bev;
}

static bool
has_hung_up(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_DONTWAIT) == 0;
}

/* --- Requests --- */

START_TEST(a_request_is_granted_from_the_loop)
{
	struct grant g = { 0 };

	ck_assert_int_eq(bud_event_request(e, NULL, CHUNK, 0, on_granted, &g, NULL), 0);
	ck_assert_uint_eq(g.calls, 0);
	eventually(after_turn(g.calls == 1));
	ck_assert_ptr_nonnull(g.buf);
	bud_free(pool, g.buf);
}
END_TEST

START_TEST(at_the_wall_a_request_waits_for_a_free_or_its_deadline)
{
	struct grant first = { 0 }, second = { 0 };
	void *bufs[4];

	take_all(bufs);
	ck_assert_int_eq(
	    bud_event_request(e, NULL, CHUNK, -1, on_granted, &first, NULL), 0);
	ck_assert_int_eq(
	    bud_event_request(e, NULL, CHUNK, 20, on_granted, &second, NULL), 0);
	eventually(after_turn(second.calls == 1));
	ck_assert_int_eq(second.error, -ETIMEDOUT);
	ck_assert_uint_eq(first.calls, 0);
	bud_free(pool, bufs[0]);
	eventually(after_turn(first.calls == 1));
	bufs[0] = first.buf;
	free_all(bufs);
}
END_TEST

START_TEST(what_can_never_be_is_an_error_at_once)
{
	struct grant g = { 0 };
	struct bufferevent *bev;
	int peer;

	ck_assert_int_eq(
	    bud_event_request(e, NULL, 2 * WALL, -1, on_granted, &g, NULL), -EMSGSIZE);
	ck_assert_int_eq(
	    bud_event_request(e, NULL, 0, -1, on_granted, &g, NULL), -EINVAL);
	ck_assert_int_eq(bud_event_request(e, NULL, 1, -1, NULL, &g, NULL), -EINVAL);
	bev = connection(&peer);
	bufferevent_setcb(bev, NULL, NULL, NULL, NULL);
	ck_assert_int_eq(
	    bud_event_request(e, bev, 1, -1, on_granted, &g, NULL), -EINVAL);
	bufferevent_free(bev);
	close(peer);
	turn();
	ck_assert_uint_eq(g.calls, 0);
}
END_TEST

START_TEST(a_cancelled_request_calls_nobody_and_leaves_the_queue)
{
	struct bud_event_request *r;
	struct grant g = { 0 };
	void *bufs[4];

	take_all(bufs);
	ck_assert_int_eq(bud_event_request(e, NULL, CHUNK, -1, on_granted, &g, &r), 0);
	eventually(after_turn(stat_of(pool).waiting == 1));
	bud_event_cancel(r);
	eventually(after_turn(stat_of(pool).waiting == 0));
	free_all(bufs);
	for (int i = 0; i < 3; i++)
		turn();
	ck_assert_uint_eq(g.calls, 0);
	bud_event_cancel(NULL);
}
END_TEST

/* The client leaves: its connection's callback frees the bufferevent, and that is all that
 * the program does about the request. */
START_TEST(a_request_is_cancelled_when_its_client_leaves)
{
	struct grant g = { 0 };
	struct bufferevent *bev;
	void *bufs[4];
	int peer;

	take_all(bufs);
	bev = connection(&peer);
	ck_assert_int_eq(bud_event_request(e, bev, CHUNK, -1, on_granted, &g, NULL), 0);
	eventually(after_turn(stat_of(pool).waiting == 1));
	close(peer);
	eventually(after_turn(stat_of(pool).waiting == 0));
	free_all(bufs);
	for (int i = 0; i < 3; i++)
		turn();
	ck_assert_uint_eq(g.calls, 0);
}
END_TEST

START_TEST(a_request_is_cancelled_when_its_bufferevent_is_freed)
{
	struct grant g[3] = { { 0 } };
	struct bufferevent *bev;
	void *bufs[4];
	int peer;

	take_all(bufs);
	bev = connection(&peer);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(
		    bud_event_request(e, bev, CHUNK, -1, on_granted, &g[i], NULL), 0);
	eventually(after_turn(stat_of(pool).waiting == 3));
	ck_assert(!has_hung_up(peer));
	bufferevent_free(bev);
	eventually(after_turn(stat_of(pool).waiting == 0));
	eventually(after_turn(has_hung_up(peer))); /* nobody holds on to it */
	close(peer);
	free_all(bufs);
	for (int i = 0; i < 3; i++)
		ck_assert_uint_eq(g[i].calls, 0);
}
END_TEST

START_TEST(a_grant_that_crosses_the_end_of_its_bufferevent_goes_back)
{
	struct grant g = { 0 };
	struct bufferevent *bev;
	int peer;

	bev = connection(&peer);
	ck_assert_int_eq(bud_event_request(e, bev, CHUNK, -1, on_granted, &g, NULL), 0);
	bufferevent_free(bev);
	eventually(after_turn(stat_of(pool).used == 0));
	turn();
	ck_assert_uint_eq(g.calls, 0);
	close(peer);
}
END_TEST

START_TEST(closing_ends_what_waits_without_a_word)
{
	struct grant g = { 0 };
	struct bufferevent *bev;
	void *bufs[4];
	int peer;

	take_all(bufs);
	bev = connection(&peer);
	ck_assert_int_eq(bud_event_request(e, bev, CHUNK, -1, on_granted, &g, NULL), 0);
	ck_assert_int_eq(bud_event_close(e), 0);
	eventually(bud_dispatch(pool) >= 0 && stat_of(pool).waiting == 0);
	ck_assert_uint_eq(g.calls, 0);
	bufferevent_free(bev);
	close(peer);
	free_all(bufs);
	ck_assert_int_eq(bud_event_open(&e, pool, base), 0);
}
END_TEST

/* --- evbuffers --- */

START_TEST(a_buffer_is_freed_when_its_last_byte_is_drained)
{
	struct evbuffer *out = evbuffer_new();
	char *buf = bud_alloc(pool, 4096, 0);

	paint(buf, 4096, 1);
	ck_assert_int_eq(bud_event_add(e, out, buf, 0), -EINVAL);
	ck_assert_int_eq(bud_event_add(e, out, buf, 4096), 0);
	ck_assert_ptr_eq(evbuffer_pullup(out, 4096), buf); /* no copy */
	ck_assert_int_eq(evbuffer_drain(out, 4095), 0);
	ck_assert_uint_eq(stat_of(pool).used, 4096);
	ck_assert_int_eq(bud_event_close(e), -EBUSY);
	ck_assert_int_eq(evbuffer_drain(out, 1), 0);
	ck_assert_uint_eq(stat_of(pool).used, 0);
	evbuffer_free(out);
}
END_TEST

START_TEST(a_buffer_is_freed_with_its_evbuffer_and_with_its_bufferevent)
{
	struct evbuffer *out = evbuffer_new();
	struct bufferevent *bev;
	int peer;

	ck_assert_int_eq(bud_event_add(e, out, bud_alloc(pool, CHUNK, 0), CHUNK), 0);
	evbuffer_free(out);
	ck_assert_uint_eq(stat_of(pool).used, 0);
	bev = connection(&peer);
	for (int i = 0; i < 4; i++) /* more than the socket takes */
		ck_assert_int_eq(bud_event_add(e, bufferevent_get_output(bev),
				     bud_alloc(pool, CHUNK, PATIENCE_MS), CHUNK),
		    0);
	turn();
	ck_assert_uint_gt(stat_of(pool).used, 0);
	bufferevent_free(bev);
	eventually(after_turn(stat_of(pool).used == 0));
	close(peer);
}
END_TEST

/* --- Peers: a stream that is many times the pool, out and back --- */

static void
send_painted(struct client *me, void *arg)
{
	int fd = *(int *)arg;
	char *buf = malloc(CHUNK), *back = malloc(CHUNK);

	(void)me;
	for (uint64_t n = 0; n < STREAM / CHUNK; n++) {
		size_t got = 0, sent = 0;

		paint(buf, CHUNK, n);
		while (got < CHUNK) { /* an echo; neither side waits for the other */
			ssize_t r;

			if (sent < CHUNK) {
				r = send(fd, buf + sent, CHUNK - sent, MSG_DONTWAIT);
				must(r > 0 || errno == EAGAIN);
				sent += r > 0 ? (size_t)r : 0;
			}
			r = recv(fd, back + got, CHUNK - got, MSG_DONTWAIT);
			must(r > 0 || (r == -1 && errno == EAGAIN));
			got += r > 0 ? (size_t)r : 0;
			if (r <= 0)
				nap();
		}
		must(painted(back, CHUNK, n));
	}
	free(buf);
	free(back);
	close(fd);
}

/* The program: an echo whose data lies in buffers of the pool from end to end. */
struct echo {
	int fd;
	struct event *readable, *writable;
	struct evbuffer *data;
	uint64_t bytes;
	unsigned int waits;
	bool ended;
};

static void
on_room(void *buf, int error, void *arg)
{
	struct echo *x = arg;

	must(error == 0);
	bud_free(pool, buf); /* there is room: read again */
	event_add(x->readable, NULL);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct echo *x = arg;
	ssize_t n = bud_event_read(e, x->data, fd, 65536);

	(void)what;
	if (n > 0) {
		x->bytes += (uint64_t)n;
		event_add(x->writable, NULL);
	} else if (n == -ENOBUFS) {
		x->waits++;
		event_del(x->readable);
		must(bud_event_request(e, NULL, 65536, -1, on_room, x, NULL) == 0);
	} else if (n == 0) {
		x->ended = true;
		event_del(x->readable);
	} else {
		must(n == -EAGAIN);
	}
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct echo *x = arg;

	(void)what;
	must(evbuffer_write(x->data, fd) > 0 || errno == EAGAIN);
	if (evbuffer_get_length(x->data) > 0)
		event_add(x->writable, NULL);
}

START_TEST(what_a_peer_sends_comes_back_through_the_pool_alone)
{
	struct echo x = { .data = evbuffer_new() };
	struct client peer;
	int pair[2];

	ck_assert_int_eq(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
	    0);
	client_run(&peer, send_painted, &pair[1]);
	close(pair[1]);
	x.fd = pair[0];
	x.readable = event_new(base, x.fd, EV_READ | EV_PERSIST, on_readable, &x);
	x.writable = event_new(base, x.fd, EV_WRITE, on_writable, &x);
	event_add(x.readable, NULL);
	eventually(after_turn(x.ended));
	client_join(&peer);
	ck_assert_uint_eq(x.bytes, STREAM);
	event_free(x.readable);
	event_free(x.writable);
	evbuffer_free(x.data);
	close(x.fd);
}
END_TEST

START_TEST(reading_without_room_says_so_and_loses_nothing)
{
	struct evbuffer *in = evbuffer_new();
	char text[8] = "", sent[] = "seven b";
	void *bufs[4];
	int pair[2];

	ck_assert_int_eq(
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
	    0);
	ck_assert_int_eq(bud_event_read(e, in, pair[0], 0), -EINVAL);
	ck_assert_int_eq(bud_event_read(e, in, pair[0], 100), -EAGAIN);
	take_all(bufs);
	ck_assert_int_eq(write(pair[1], sent, 7), 7);
	ck_assert_int_eq(bud_event_read(e, in, pair[0], 100), -ENOBUFS);
	free_all(bufs);
	ck_assert_int_eq(bud_event_read(e, in, pair[0], 100), 7);
	ck_assert_uint_eq(stat_of(pool).used, 4096); /* as large as what came */
	ck_assert_int_eq(evbuffer_remove(in, text, 7), 7);
	ck_assert_str_eq(text, sent);
	close(pair[1]);
	ck_assert_int_eq(bud_event_read(e, in, pair[0], 100), 0);
	close(pair[0]);
	evbuffer_free(in);
}
END_TEST

/* --- What can go wrong --- */

START_TEST(it_goes_on_when_the_arbiter_dies)
{
	struct grant g = { 0 };
	void *bufs[4];

	take_all(bufs);
	ck_assert_int_eq(
	    bud_event_request(e, NULL, CHUNK, -1, on_granted, &g, NULL), 0);
	eventually(after_turn(stat_of(pool).waiting == 1));
	daemon_kill_arbiter(&d);
	eventually(after_turn(daemon_figure(&d, "pools.0.queue.length") == 1));
	bud_free(pool, bufs[0]);
	eventually(after_turn(g.calls == 1));
	bufs[0] = g.buf;
	free_all(bufs);
}
END_TEST

START_TEST(without_budd_a_free_serves_who_waits)
{
	struct grant first = { 0 }, second = { 0 };
	void *bufs[4];

	take_all(bufs);
	ck_assert_int_eq(
	    bud_event_request(e, NULL, CHUNK, -1, on_granted, &first, NULL), 0);
	eventually(after_turn(stat_of(pool).waiting == 1));
	daemon_end(&d);
	for (int i = 0; i < 3; i++)
		turn();
	ck_assert_uint_eq(first.calls, 0);
	bud_free(pool, bufs[0]);
	eventually(after_turn(first.calls == 1));
	bufs[0] = first.buf;
	ck_assert_int_eq(
	    bud_event_request(e, NULL, CHUNK, 0, on_granted, &second, NULL), 0);
	eventually(after_turn(second.calls == 1));
	ck_assert_int_eq(second.error, -ENOTCONN);
	free_all(bufs);
	daemon_launch(&d);
}
END_TEST

START_TEST(a_child_detaches_and_the_parent_goes_on)
{
	struct grant g = { 0 };
	void *bufs[4];
	int status;
	pid_t pid;

	take_all(bufs);
	ck_assert_int_eq(
	    bud_event_request(e, NULL, CHUNK, -1, on_granted, &g, NULL), 0);
	fflush(NULL);
	if ((pid = fork()) == 0) {
		struct bud_event *other;
		bool ok = bud_event_open(&other, pool, base) == -EINVAL &&
			  bud_event_request(e, NULL, 1, -1, on_granted, &g, NULL) ==
			      -EINVAL &&
			  bud_event_close(e) == 0 && event_reinit(base) == 0;

		event_base_free(base);
		bud_close(pool);
		_exit(ok ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	bud_free(pool, bufs[0]);
	eventually(after_turn(g.calls == 1));
	bufs[0] = g.buf;
	free_all(bufs);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("event");
	TCase *t = tcase_create("event");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, enter, leave);
	tcase_add_test(t, a_request_is_granted_from_the_loop);
	tcase_add_test(t, at_the_wall_a_request_waits_for_a_free_or_its_deadline);
	tcase_add_test(t, what_can_never_be_is_an_error_at_once);
	tcase_add_test(t, a_cancelled_request_calls_nobody_and_leaves_the_queue);
	tcase_add_test(t, a_request_is_cancelled_when_its_client_leaves);
	tcase_add_test(t, a_request_is_cancelled_when_its_bufferevent_is_freed);
	tcase_add_test(t, a_grant_that_crosses_the_end_of_its_bufferevent_goes_back);
	tcase_add_test(t, closing_ends_what_waits_without_a_word);
	tcase_add_test(t, a_buffer_is_freed_when_its_last_byte_is_drained);
	tcase_add_test(t, a_buffer_is_freed_with_its_evbuffer_and_with_its_bufferevent);
	tcase_add_test(t, what_a_peer_sends_comes_back_through_the_pool_alone);
	tcase_add_test(t, reading_without_room_says_so_and_loses_nothing);
	tcase_add_test(t, it_goes_on_when_the_arbiter_dies);
	tcase_add_test(t, without_budd_a_free_serves_who_waits);
	tcase_add_test(t, a_child_detaches_and_the_parent_goes_on);
	suite_add_tcase(s, t);
	return daemon_suite(s);
}
