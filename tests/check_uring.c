/* SPDX-License-Identifier: ISC */

/* libbud-uring with a real ring, a real budd, files and a socket peer. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bud-uring.h"
#include "tests/client_process.h"
#include "tests/manager.h"

#define CHUNK   (256 * KIB)
#define ENTRIES 64u
/* A pass each 40 ms; a base and up to six blocks. */
#define CONFIG                                                    \
	"[host]\ntick = 5ms\nrelease_period = 40ms\nidle = 5ms\n" \
	"unregister_timeout = 5s\n"                               \
	"[pool default]\nbase = 256K\nadd = 256K\nwall = 1536K\nwall_max = 1536K\n"
#define BLOCKS 6u

static struct manager m; /* of a test that restarts all of budd */
static struct daemon plain, *d = &plain;
static struct bud_pool *pool;
static struct io_uring ring;
static struct bud_uring *u;
static int file = -1;

/* What came for the program itself. */
static unsigned int completions;
static int last_result;

static bool
ring_is_there(void)
{
	struct io_uring probe;
	int r = io_uring_queue_init(2, &probe, 0);

	if (r == 0)
		io_uring_queue_exit(&probe);
	else
		skip("this kernel, or this container, has no io_uring");
	return r == 0;
}

static void
open_ring(void)
{
	must(io_uring_queue_init(ENTRIES, &ring, 0) == 0);
	must(bud_uring_open(&u, pool, &ring) == 0);
}

static void
open_file(void)
{
	char path[80];

	snprintf(path, sizeof(path), "%s/data", d->dir);
	/* Where O_DIRECT is not to be had (tmpfs before 6.6), it is the same but for that. */
	if ((file = open(
		 path, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0600)) == -1)
		file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	must(file != -1);
	must(unlink(path) == 0);
}

static void
open_all(void)
{
	pool = open_pool(d, NULL);
	open_ring();
	open_file();
	completions = 0;
}

static void
enter(void)
{
	d = &plain;
	daemon_start(d, CONFIG);
	open_all();
}

static void
enter_managed(void)
{
	d = &m.d;
	manager_start(&m, CONFIG);
	d->may_restart = true;
	open_all();
}

static void
close_all(void)
{
	close(file);
	bud_uring_close(u);
	io_uring_queue_exit(&ring);
	bud_close(pool);
}

static void
leave(void)
{
	close_all();
	daemon_stop(d);
}

static void
leave_managed(void)
{
	close_all();
	manager_stop(&m);
}

/* What a program's loop does, for ten milliseconds at the most. */
static void
turn(void)
{
	struct __kernel_timespec ts = { .tv_nsec = 10000000 };
	struct io_uring_cqe *cqe;

	must(io_uring_submit(&ring) >= 0);
	if (io_uring_wait_cqe_timeout(&ring, &cqe, &ts) != 0)
		return;
	while (io_uring_peek_cqe(&ring, &cqe) == 0) {
		struct io_uring_cqe copy = *cqe;

		io_uring_cqe_seen(&ring, cqe);
		if (bud_uring_handle(u, &copy))
			continue;
		must(copy.user_data == 7);
		if ((copy.flags & IORING_CQE_F_NOTIF) == 0)
			last_result = copy.res;
		if ((copy.flags & IORING_CQE_F_MORE) == 0)
			completions++;
	}
}

static bool
after_turn(bool done)
{
	if (!done)
		turn();
	return done;
}

static struct bud_uring_stat
figures(void)
{
	struct bud_uring_stat s = { .size = sizeof(s) };

	must(bud_uring_stat(u, &s) == 0);
	return s;
}

static void
finish(struct io_uring_sqe *sqe, size_t len)
{
	unsigned int before = completions;

	sqe->user_data = 7;
	for (int i = 0; i < 1000 && completions == before; i++)
		turn();
	must(completions == before + 1);
	must(last_result == (int)len);
}

static bool
write_all(const void *buf, size_t len, uint64_t offset)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	bool fixed;

	must(sqe != NULL);
	fixed =
	    bud_uring_prep_write_fixed(u, sqe, file, buf, (unsigned int)len, offset);
	finish(sqe, len);
	return fixed;
}

static bool
read_all(void *buf, size_t len, uint64_t offset)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	bool fixed;

	must(sqe != NULL);
	fixed = bud_uring_prep_read_fixed(u, sqe, file, buf, (unsigned int)len, offset);
	finish(sqe, len);
	return fixed;
}

static void
take_all(void **bufs)
{
	for (unsigned int i = 0; i < BLOCKS; i++) {
		bufs[i] = bud_alloc(pool, CHUNK, PATIENCE_MS);
		must(bufs[i] != NULL);
	}
}

static void
free_all(void **bufs)
{
	for (unsigned int i = 0; i < BLOCKS; i++)
		bud_free(pool, bufs[i]);
}

START_TEST(what_is_written_is_read_back_through_registered_buffers)
{
	char *a = bud_alloc(pool, 65536, 0), *b = bud_alloc(pool, 65536, 0);

	ck_assert(a != NULL && b != NULL);
	paint(a, 65536, 11);
	ck_assert(write_all(a, 65536, 0));
	ck_assert(read_all(b, 65536, 0));
	ck_assert(painted(b, 65536, 11));
	ck_assert(read_all(b + 4096, 4096, 8192)); /* into the midst of a buffer */
	ck_assert_int_eq(memcmp(b + 4096, a + 8192, 4096), 0);
	ck_assert_uint_eq(figures().fixed_count, 3);
	ck_assert_uint_eq(figures().plain_count, 0);
	ck_assert_uint_eq(figures().registered, CHUNK);
}
END_TEST

START_TEST(slots_follow_the_blocks_as_they_come_and_go)
{
	void *bufs[BLOCKS];

	for (unsigned int round = 0; round < 3; round++) {
		take_all(bufs);
		eventually(after_turn(figures().registered == BLOCKS * CHUNK));
		for (unsigned int i = 0; i < BLOCKS; i++) {
			paint(bufs[i], CHUNK, round * BLOCKS + i);
			ck_assert(write_all(bufs[i], CHUNK, i * CHUNK));
			memset(bufs[i], 0, CHUNK);
		}
		/* A registration of before would read into a page that we do not see. */
		for (unsigned int i = 0; i < BLOCKS; i++) {
			ck_assert(read_all(bufs[i], CHUNK, i * CHUNK));
			ck_assert(painted(bufs[i], CHUNK, round * BLOCKS + i));
		}
		free_all(bufs);
		eventually(after_turn(stat_of(pool).blocks == 1));
		ck_assert_uint_eq(figures().registered, CHUNK);
		ck_assert_uint_eq(figures().given_up, (round + 1) * (BLOCKS - 1));
	}
	ck_assert(daemon_figure(d, "pools.0.counters.kept") == 0);
	ck_assert_uint_eq(figures().plain_count, 0);
}
END_TEST

/* The pool grows and shrinks as it likes; what is read is always what is seen. */
START_TEST(no_read_ever_goes_to_a_page_that_is_gone)
{
	int64_t until = now_ms() + (int64_t)(soak_s() * 1000);
	void *bufs[BLOCKS];
	uint64_t n = 0;

	while (now_ms() < until) {
		unsigned int take = 1 + (unsigned int)(n % BLOCKS);

		for (unsigned int i = 0; i < take; i++)
			bufs[i] = bud_alloc(pool, CHUNK, PATIENCE_MS);
		for (unsigned int i = 0; i < take; i++, n++) {
			ck_assert_ptr_nonnull(bufs[i]);
			paint(bufs[i], CHUNK, n);
			write_all(bufs[i], CHUNK, 0);
			memset(bufs[i], 0xee, CHUNK);
			read_all(bufs[i], CHUNK, 0);
			ck_assert_msg(painted(bufs[i], CHUNK, n), "operation %lu", n);
		}
		for (unsigned int i = 0; i < take; i++)
			bud_free(pool, bufs[i]);
		for (uint64_t i = 0; i < n % 7; i++)
			turn();
	}
	printf("%lu buffers through the ring, %lu registered and %lu not; %lu blocks "
	       "given up\n",
	    n, figures().fixed_count, figures().plain_count, figures().given_up);
}
END_TEST

/* Reads into @buf, which is buffer 0 of @r. */
static void
read_into_own(struct io_uring *r, void *buf)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(r);
	struct io_uring_cqe *cqe;

	io_uring_prep_read_fixed(sqe, file, buf, CHUNK, 0, 0);
	must(io_uring_submit_and_wait(r, 1) == 1);
	must(io_uring_peek_cqe(r, &cqe) == 0 && cqe->res == (int)CHUNK);
	io_uring_cqe_seen(r, cqe);
}

/* What all of this is for, and what we believe of the kernel: a program that registers memory
 * and does not say so reads into a page that it does not see, and is told of no error. */
START_TEST(without_being_asked_a_read_goes_to_a_page_that_is_gone)
{
	struct bud_pool *other = open_pool(d, NULL);
	void *bufs[BLOCKS], *last = NULL;
	struct io_uring own;
	struct iovec iov;

	for (unsigned int i = 0; i < BLOCKS; i++)
		last = bufs[i] = bud_alloc(other, CHUNK, PATIENCE_MS);
	paint(last, CHUNK, 99);
	ck_assert_int_eq(pwrite(file, last, CHUNK, 0), CHUNK);
	iov = (struct iovec){ last, CHUNK };
	ck_assert_int_eq(io_uring_queue_init(4, &own, 0), 0);
	ck_assert_int_eq(io_uring_register_buffers(&own, &iov, 1), 0);
	memset(last, 0, CHUNK);
	read_into_own(&own, last);
	ck_assert(painted(last, CHUNK, 99)); /* so far it is the same page */
	for (unsigned int i = 0; i < BLOCKS; i++)
		bud_free(other, bufs[i]);
	eventually(stat_of(other).blocks == 1);
	for (unsigned int i = 0; i < BLOCKS; i++)
		bufs[i] = bud_alloc(other, CHUNK, PATIENCE_MS);
	ck_assert_ptr_eq(bufs[BLOCKS - 1], last);
	memset(last, 0, CHUNK);
	read_into_own(&own, last);
	ck_assert(!painted(last, CHUNK, 99));
	io_uring_queue_exit(&own);
	bud_close(other);
}
END_TEST

START_TEST(a_buffer_larger_than_a_block_works_too)
{
	char *buf = bud_alloc(pool, 4 * CHUNK, PATIENCE_MS);

	ck_assert_ptr_nonnull(buf);
	paint(buf, 4 * CHUNK, 5);
	write_all(buf, 4 * CHUNK, 0);
	memset(buf, 0, 4 * CHUNK);
	read_all(buf, 4 * CHUNK, 0);
	ck_assert(painted(buf, 4 * CHUNK, 5));
	bud_free(pool, buf);
}
END_TEST

static void
on_granted(void *buf, int error, void *arg)
{
	ck_assert_int_eq(error, 0);
	*(void **)arg = buf;
}

START_TEST(at_the_wall_a_request_is_granted_from_the_rings_own_loop)
{
	void *bufs[BLOCKS], *more = NULL;

	take_all(bufs);
	ck_assert_ptr_null(bud_alloc(pool, CHUNK, 0));
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert_int_eq(
	    bud_request(pool, CHUNK, PATIENCE_MS, 0, on_granted, &more, NULL), 0);
	eventually(after_turn(stat_of(pool).waiting == 1));
	ck_assert_ptr_null(more);
	bud_free(pool, bufs[0]);
	eventually(after_turn(more != NULL));
	bufs[0] = more;
	free_all(bufs);
}
END_TEST

/* --- A peer --- */

#define SENT (64 * CHUNK)

static void
receive_painted(struct client *me, void *arg)
{
	const int *pair = arg;
	int fd = pair[1];
	char *buf = malloc(CHUNK);

	(void)me;
	close(pair[0]); /* or we would never see its end */
	for (uint64_t n = 0; n < SENT / CHUNK; n++) {
		must(recv(fd, buf, CHUNK, MSG_WAITALL) == (ssize_t)CHUNK);
		must(painted(buf, CHUNK, n));
	}
	must(recv(fd, buf, 1, 0) == 0);
	free(buf);
	close(fd);
}

static void
tcp_pair(int *pair)
{
	struct sockaddr_storage a = { .ss_family = AF_INET };
	socklen_t len = sizeof(a);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	must(listen(listener, 1) == 0); /* a port of its own, and any address */
	must(getsockname(listener, (struct sockaddr *)&a, &len) == 0);
	pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(connect(pair[0], (struct sockaddr *)&a, len) == 0);
	pair[1] = accept(listener, NULL, NULL);
	must(pair[1] != -1);
	close(listener);
}

static size_t
send_some(int fd, const char *buf, size_t len)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	unsigned int before = completions;

	bud_uring_prep_send_zc(u, sqe, fd, buf, len, MSG_WAITALL);
	sqe->user_data = 7;
	for (int i = 0; i < 1000 && completions == before; i++)
		turn();
	ck_assert_uint_eq(completions, before + 1); /* the last one, of perhaps two */
	ck_assert_int_gt(last_result, 0);
	return (size_t)last_result;
}

START_TEST(a_peer_receives_what_is_sent_without_copying)
{
	struct client peer;
	int pair[2];

	tcp_pair(pair);
	client_run(&peer, receive_painted, pair);
	close(pair[1]);
	for (uint64_t n = 0; n < SENT / CHUNK; n++) {
		char *buf = bud_alloc(pool, CHUNK, PATIENCE_MS);

		ck_assert_ptr_nonnull(buf);
		paint(buf, CHUNK, n);
		for (size_t done = 0; done < CHUNK;)
			done += send_some(pair[0], buf + done, CHUNK - done);
		memset(buf, 0xdb, CHUNK); /* nobody needs it any more */
		bud_free(pool, buf);
	}
	close(pair[0]);
	client_join(&peer);
	if (figures().has_send_zc)
		ck_assert_uint_ge(figures().fixed_count, SENT / CHUNK);
	else
		skip("this kernel has no IORING_OP_SEND_ZC: sent with a copy");
}
END_TEST

/* --- What can go wrong --- */

START_TEST(a_ring_with_buffers_of_its_own_is_refused)
{
	static char own[4096];
	struct iovec iov = { own, sizeof(own) };
	struct bud_uring *other = NULL;
	struct io_uring ring2;

	ck_assert_int_eq(io_uring_queue_init(4, &ring2, 0), 0);
	ck_assert_int_eq(io_uring_register_buffers(&ring2, &iov, 1), 0);
	ck_assert_int_eq(bud_uring_open(&other, pool, &ring2), -EBUSY);
	ck_assert_ptr_null(other);
	io_uring_queue_exit(&ring2);
}
END_TEST

START_TEST(completions_after_the_close_are_known_without_a_handle)
{
	struct io_uring_cqe *cqe;
	struct io_uring_sqe *sqe;
	void *bufs[BLOCKS];
	bool ours = false;

	take_all(bufs);
	eventually(after_turn(figures().registered == BLOCKS * CHUNK));
	turn();
	bud_uring_close(u);
	u = NULL;
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_nop(sqe);
	sqe->user_data = 7;
	ck_assert_int_ge(io_uring_submit(&ring), 1);
	while (!ours) {
		ck_assert_int_eq(io_uring_wait_cqe(&ring, &cqe), 0);
		ours = cqe->user_data == 7;
		ck_assert(bud_uring_handle(NULL, cqe) != ours);
		io_uring_cqe_seen(&ring, cqe);
	}
	free_all(bufs);
	/* budd knows that nothing is registered: it need not ask. */
	eventually(bud_dispatch(pool) >= 0 && stat_of(pool).blocks == 1);
	open_ring(); /* of leave(); the old ring goes with the process */
}
END_TEST

START_TEST(a_child_leaves_the_parents_ring_alone)
{
	char *buf = bud_alloc(pool, 4096, 0);
	int status;
	pid_t pid;

	fflush(NULL);
	if ((pid = fork()) == 0) {
		struct bud_uring *other;
		bool refused = bud_uring_open(&other, pool, &ring) == -EINVAL;

		bud_uring_close(u);
		bud_close(pool);
		_exit(refused ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	paint(buf, 4096, 3);
	ck_assert(write_all(buf, 4096, 0));
	memset(buf, 0, 4096);
	ck_assert(read_all(buf, 4096, 0));
	ck_assert(painted(buf, 4096, 3));
	bud_free(pool, buf);
}
END_TEST

/* Everything registered, and read through it; then everything is given up when it is asked for. */
static void
go_on_over(void (*death)(void))
{
	void *bufs[BLOCKS];

	take_all(bufs);
	eventually(after_turn(figures().registered == BLOCKS * CHUNK));
	death();
	for (unsigned int i = 0; i < BLOCKS; i++) {
		paint(bufs[i], CHUNK, i);
		ck_assert(write_all(bufs[i], CHUNK, 0));
		memset(bufs[i], 0, CHUNK);
		ck_assert(read_all(bufs[i], CHUNK, 0));
		ck_assert(painted(bufs[i], CHUNK, i));
	}
	free_all(bufs);
	eventually(after_turn(stat_of(pool).blocks == 1));
	ck_assert_uint_eq(figures().given_up, BLOCKS - 1);
	ck_assert_uint_eq(figures().registered, CHUNK);
}

static void
kill_arbiter(void)
{
	daemon_kill_arbiter(d);
}

static void
restart_all(void)
{
	manager_kill(&m);
	manager_launch(&m);
}

START_TEST(it_goes_on_when_the_arbiter_dies)
{
	go_on_over(kill_arbiter);
}
END_TEST

START_TEST(it_goes_on_when_all_of_budd_is_killed_and_started_again)
{
	go_on_over(restart_all);
}
END_TEST

START_TEST(without_budd_what_is_registered_works_on)
{
	struct io_uring ring2;
	struct bud_uring *other;
	char *buf = bud_alloc(pool, 4096, 0);

	daemon_end(d);
	for (int i = 0; i < 3; i++)
		turn();
	paint(buf, 4096, 4);
	ck_assert(write_all(buf, 4096, 0));
	memset(buf, 0, 4096);
	ck_assert(read_all(buf, 4096, 0));
	ck_assert(painted(buf, 4096, 4));
	ck_assert_int_eq(io_uring_queue_init(4, &ring2, 0), 0);
	ck_assert_int_eq(bud_uring_open(&other, pool, &ring2), -ENOTCONN);
	io_uring_queue_exit(&ring2);
	daemon_launch(d);
}
END_TEST

/* --- The memlock limit --- */

static void
live_within_a_limit(struct client *me, void *arg)
{
	char text[512], *said = text;
	void *bufs[BLOCKS];

	(void)me;
	(void)arg;
	pool = open_pool(d, NULL);
	open_ring();
	bud_uring_explain(u, text, sizeof(text));
	must(strstr(said, "limit of locked memory is 786432 bytes") != NULL);
	must(strstr(said, "ulimit -l 1536") != NULL);
	must(figures().limit == 3 * CHUNK);
	take_all(bufs);
	while (figures().registered + figures().plain < BLOCKS * CHUNK)
		turn();
	must(figures().registered > 0 && figures().registered <= 3 * CHUNK);
	must(figures().error == -ENOMEM);
	for (unsigned int i = 0; i < BLOCKS; i++) {
		paint(bufs[i], CHUNK, i);
		write_all(bufs[i], CHUNK, 0);
		memset(bufs[i], 0, CHUNK);
		read_all(bufs[i], CHUNK, 0);
		must(painted(bufs[i], CHUNK, i));
	}
	must(figures().fixed_count > 0 && figures().plain_count > 0);
	free_all(bufs);
	while (stat_of(pool).blocks > 1) /* given up, registered or not */
		turn();
	bud_uring_close(u);
	io_uring_queue_exit(&ring);
	bud_close(pool);
}

START_TEST(within_a_memlock_limit_the_rest_works_unregistered_and_that_is_said)
{
	struct client c;

	if (!need_root())
		return;
	client_run_as(&c, NOBODY, 3 * CHUNK, live_within_a_limit, NULL);
	client_join(&c);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("uring");
	TCase *t = tcase_create("uring");

	if (!ring_is_there()) {
		suite_add_tcase(s, t);
		srunner_free(srunner_create(s));
		puts("0 passed, 0 failed, 1 skipped");
		return 0;
	}
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, enter, leave);
	tcase_add_test(t, what_is_written_is_read_back_through_registered_buffers);
	tcase_add_test(t, slots_follow_the_blocks_as_they_come_and_go);
	tcase_add_test(t, no_read_ever_goes_to_a_page_that_is_gone);
	tcase_add_test(t, without_being_asked_a_read_goes_to_a_page_that_is_gone);
	tcase_add_test(t, a_buffer_larger_than_a_block_works_too);
	tcase_add_test(t, at_the_wall_a_request_is_granted_from_the_rings_own_loop);
	tcase_add_test(t, a_peer_receives_what_is_sent_without_copying);
	tcase_add_test(t, a_ring_with_buffers_of_its_own_is_refused);
	tcase_add_test(t, completions_after_the_close_are_known_without_a_handle);
	tcase_add_test(t, a_child_leaves_the_parents_ring_alone);
	tcase_add_test(t, it_goes_on_when_the_arbiter_dies);
	tcase_add_test(t, without_budd_what_is_registered_works_on);
	tcase_add_test(
	    t, within_a_memlock_limit_the_rest_works_unregistered_and_that_is_said);
	suite_add_tcase(s, t);
	t = tcase_create("restarts");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, enter_managed, leave_managed);
	tcase_add_test(t, it_goes_on_when_all_of_budd_is_killed_and_started_again);
	suite_add_tcase(s, t);
	return daemon_suite(s);
}
