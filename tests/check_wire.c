/* SPDX-License-Identifier: ISC */

/* The wire: records and descriptors over a socket pair, and none of them lost. */
#include "proto/wire.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define MANY 8 /* descriptors, more than fit */

static int ours, theirs, before;

static int
count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	ck_assert_ptr_nonnull(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

static void
setup(void)
{
	int pair[2];

	ck_assert_int_eq(
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	ours = pair[0];
	theirs = pair[1];
	before = count_fds();
}

static void
teardown(void)
{
	close(ours);
	close(theirs);
}

/* Sends @n copies of standard input's descriptor without wire_send()'s bound. */
static void
send_raw(const void *msg, size_t size, unsigned int n)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(MANY * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)msg, .iov_len = size };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	int fds[MANY] = { 0 };

	if (n > 0) {
		struct cmsghdr *c = &control.align;

		h.msg_control = control.bytes;
		h.msg_controllen = CMSG_SPACE(n * sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	ck_assert_int_eq(sendmsg(theirs, &h, 0), (int)size);
}

static int
receive(char *buf, size_t size, size_t *lenp, int *fds, unsigned int nfds)
{
	return wire_recv(ours, buf, size, lenp, fds, nfds);
}

START_TEST(a_record_arrives_as_it_was_sent)
{
	char buf[16] = { 0 };
	size_t len = 0;

	ck_assert_int_eq(wire_send(theirs, "hello", 6, NULL, 0), 0);
	ck_assert_int_eq(wire_send(theirs, "you", 4, NULL, 0), 0);
	ck_assert_int_eq(receive(buf, sizeof(buf), &len, NULL, 0), 0);
	ck_assert_uint_eq(len, 6);
	ck_assert_str_eq(buf, "hello");
	ck_assert_int_eq(receive(buf, sizeof(buf), &len, NULL, 0), 0);
	ck_assert_uint_eq(len, 4);
	ck_assert_str_eq(buf, "you");
}
END_TEST

START_TEST(a_record_that_just_fits_passes_and_a_byte_more_does_not)
{
	char buf[4];
	size_t len = 77;

	ck_assert_int_eq(wire_send(theirs, "1234", 4, NULL, 0), 0);
	ck_assert_int_eq(receive(buf, sizeof(buf), &len, NULL, 0), 0);
	ck_assert_uint_eq(len, 4);
	len = 77;
	ck_assert_int_eq(wire_send(theirs, "12345", 5, NULL, 0), 0);
	ck_assert_int_eq(receive(buf, sizeof(buf), &len, NULL, 0), WIRE_E_BAD);
	ck_assert_uint_eq(len, 77);
}
END_TEST

START_TEST(nothing_to_receive_would_wait)
{
	char buf[4];
	size_t len;

	ck_assert_int_eq(receive(buf, sizeof(buf), &len, NULL, 0), WIRE_E_AGAIN);
}
END_TEST

START_TEST(a_full_socket_would_wait_and_goes_on_when_it_is_read)
{
	char buf[512] = { 0 };
	size_t len;
	int r, sent = 0;

	while ((r = wire_send(theirs, buf, sizeof(buf), NULL, 0)) == 0)
		sent++;
	ck_assert_int_eq(r, WIRE_E_AGAIN);
	ck_assert_int_gt(sent, 1);
	while (sent-- > 0)
		ck_assert_int_eq(receive(buf, sizeof(buf), &len, NULL, 0), 0);
	ck_assert_int_eq(wire_send(theirs, buf, sizeof(buf), NULL, 0), 0);
}
END_TEST

START_TEST(a_peer_that_hung_up_is_closed_after_its_last_record)
{
	char buf[4];
	size_t len;

	ck_assert_int_eq(wire_send(theirs, "bye", 4, NULL, 0), 0);
	close(theirs);
	ck_assert_int_eq(receive(buf, sizeof(buf), &len, NULL, 0), 0);
	ck_assert_int_eq(receive(buf, sizeof(buf), &len, NULL, 0), WIRE_E_CLOSED);
}
END_TEST

START_TEST(sending_to_a_peer_that_hung_up_says_so_and_raises_no_signal)
{
	close(theirs);
	signal(SIGPIPE, SIG_DFL);
	ck_assert_int_eq(wire_send(ours, "x", 1, NULL, 0), WIRE_E_CLOSED);
}
END_TEST

START_TEST(a_peer_that_left_our_record_unread_is_closed)
{
	char buf[4];
	size_t len;

	ck_assert_int_eq(wire_send(ours, "x", 1, NULL, 0), 0);
	close(theirs);
	ck_assert_int_eq(receive(buf, sizeof(buf), &len, NULL, 0), WIRE_E_CLOSED);
}
END_TEST

START_TEST(an_empty_record_counts_as_closed)
{
	char buf[4];
	size_t len;

	ck_assert_int_eq(wire_send(theirs, "", 0, NULL, 0), 0);
	ck_assert_int_eq(receive(buf, sizeof(buf), &len, NULL, 0), WIRE_E_CLOSED);
}
END_TEST

START_TEST(another_kind_of_failure_is_a_negative_errno)
{
	char buf[4];
	size_t len;

	ck_assert_int_eq(wire_recv(-1, buf, sizeof(buf), &len, NULL, 0), -EBADF);
	ck_assert_int_eq(wire_send(-1, buf, sizeof(buf), NULL, 0), -EBADF);
}
END_TEST

START_TEST(descriptors_arrive_in_order_and_close_on_exec)
{
	int sent[2] = { 0, ours }, got[4];
	char buf[4];
	size_t len;

	ck_assert_int_eq(wire_send(theirs, "x", 1, sent, 2), 0);
	ck_assert_int_eq(receive(buf, sizeof(buf), &len, got, 4), 0);
	for (int i = 0; i < 2; i++)
		ck_assert_int_ne(fcntl(got[i], F_GETFD) & FD_CLOEXEC, 0);
	ck_assert_int_eq(wire_send(theirs, "y", 1, NULL, 0), 0);
	ck_assert_int_eq(
	    recv(got[1], buf, sizeof(buf), MSG_DONTWAIT), 1); /* it is ours */
	ck_assert_int_eq(got[2], -1);
	ck_assert_int_eq(got[3], -1);
	ck_assert_int_eq(count_fds(), before + 2);
}
END_TEST

START_TEST(the_most_descriptors_that_the_wire_carries_arrive)
{
	int sent[WIRE_FDS_MAX] = { 0 }, got[WIRE_FDS_MAX];
	char buf[4];
	size_t len;

	ck_assert_int_eq(wire_send(theirs, "x", 1, sent, WIRE_FDS_MAX), 0);
	ck_assert_int_eq(receive(buf, sizeof(buf), &len, got, WIRE_FDS_MAX), 0);
	ck_assert_int_eq(count_fds(), before + (int)WIRE_FDS_MAX);
}
END_TEST

START_TEST(descriptors_that_nobody_expects_are_closed)
{
	char buf[4];
	size_t len;

	for (unsigned int n = 1; n <= MANY; n++) {
		send_raw("x", 1, n);
		ck_assert_int_eq(receive(buf, sizeof(buf), &len, NULL, 0), WIRE_E_BAD);
		ck_assert_int_eq(count_fds(), before);
	}
}
END_TEST

START_TEST(one_descriptor_too_many_costs_them_all)
{
	int got[WIRE_FDS_MAX];
	char buf[4];
	size_t len;

	for (unsigned int room = 1; room <= WIRE_FDS_MAX; room++) {
		send_raw("x", 1, room + 1);
		ck_assert_int_eq(
		    receive(buf, sizeof(buf), &len, got, room), WIRE_E_BAD);
		for (unsigned int i = 0; i < room; i++)
			ck_assert_int_eq(got[i], -1);
		ck_assert_int_eq(count_fds(), before);
	}
}
END_TEST

static int
highest_fd(void)
{
	DIR *d = opendir("/proc/self/fd");
	const struct dirent *e;
	int highest = 0;

	ck_assert_ptr_nonnull(d);
	while ((e = readdir(d)) != NULL)
		highest = atoi(e->d_name) > highest ? atoi(e->d_name) : highest;
	closedir(d);
	return highest;
}

/* Return: the lowest that is free; there is no other below it, and all above are free */
static int
fill_gaps(void)
{
	int highest = highest_fd(), fd;

	while ((fd = dup(0)) <= highest)
		ck_assert_int_ne(fd, -1);
	close(fd);
	return fd;
}

/* All or none; the bytes are there, and the next record is as ever. */
START_TEST(descriptors_beyond_our_limit_are_missed_and_the_rest_is_there)
{
	int lowest = fill_gaps(), held = count_fds(), got[2];
	struct rlimit limit, few;
	char buf[4];
	size_t len;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	for (int room = 0; room <= 2; room++) {
		send_raw("abc", 3, 2);
		few = (struct rlimit){ (rlim_t)(lowest + room), limit.rlim_max };
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
		ck_assert_int_eq(receive(buf, sizeof(buf), &len, got, 2),
		    room == 2 ? 0 : WIRE_E_NOFDS);
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
		ck_assert_uint_eq(len, 3);
		ck_assert_int_eq(memcmp(buf, "abc", 3), 0);
		ck_assert_int_eq(got[0] != -1, room == 2);
		ck_assert_int_eq(got[1] != -1, room == 2);
		ck_assert_int_eq(count_fds(), held + (room == 2 ? 2 : 0));
	}
}
END_TEST

START_TEST(a_truncated_record_costs_its_descriptors)
{
	int got[2];
	char buf[4];
	size_t len;

	send_raw("12345", 5, 2);
	ck_assert_int_eq(receive(buf, sizeof(buf), &len, got, 2), WIRE_E_BAD);
	ck_assert_int_eq(count_fds(), before);
}
END_TEST

START_TEST(an_empty_record_costs_its_descriptors)
{
	int got[2];
	char buf[4];
	size_t len;

	send_raw("", 0, 2);
	ck_assert_int_eq(receive(buf, sizeof(buf), &len, got, 2), WIRE_E_CLOSED);
	ck_assert_int_eq(count_fds(), before);
}
END_TEST

START_TEST(bad_records_do_not_disturb_the_next_one)
{
	char buf[8];
	size_t len;

	send_raw("123456789", 9, 0);
	send_raw("x", 1, 3);
	ck_assert_int_eq(wire_send(theirs, "fine", 5, NULL, 0), 0);
	ck_assert_int_eq(receive(buf, sizeof(buf), &len, NULL, 0), WIRE_E_BAD);
	ck_assert_int_eq(receive(buf, sizeof(buf), &len, NULL, 0), WIRE_E_BAD);
	ck_assert_int_eq(receive(buf, sizeof(buf), &len, NULL, 0), 0);
	ck_assert_str_eq(buf, "fine");
	ck_assert_int_eq(count_fds(), before);
}
END_TEST

START_TEST(the_senders_descriptors_stay_its_own)
{
	int sent[1] = { dup(0) };

	ck_assert_int_eq(wire_send(theirs, "x", 1, sent, 1), 0);
	ck_assert_int_ne(fcntl(sent[0], F_GETFD), -1);
}
END_TEST

static void
on_alarm(int signo)
{
	(void)signo;
}

START_TEST(signals_do_not_show)
{
	struct itimerval often = { { 0, 50 }, { 0, 50 } }, never = { 0 };
	struct sigaction sa = { .sa_handler = on_alarm }; /* no SA_RESTART */
	char buf[8];
	size_t len;

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 0; i < 20000; i++) {
		ck_assert_int_eq(wire_send(theirs, "x", 1, NULL, 0), 0);
		ck_assert_int_eq(receive(buf, sizeof(buf), &len, NULL, 0), 0);
	}
	setitimer(ITIMER_REAL, &never, NULL);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("wire");
	TCase *t = tcase_create("wire");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_record_arrives_as_it_was_sent);
	tcase_add_test(t, a_record_that_just_fits_passes_and_a_byte_more_does_not);
	tcase_add_test(t, nothing_to_receive_would_wait);
	tcase_add_test(t, a_full_socket_would_wait_and_goes_on_when_it_is_read);
	tcase_add_test(t, a_peer_that_hung_up_is_closed_after_its_last_record);
	tcase_add_test(t, sending_to_a_peer_that_hung_up_says_so_and_raises_no_signal);
	tcase_add_test(t, a_peer_that_left_our_record_unread_is_closed);
	tcase_add_test(t, an_empty_record_counts_as_closed);
	tcase_add_test(t, another_kind_of_failure_is_a_negative_errno);
	tcase_add_test(t, descriptors_arrive_in_order_and_close_on_exec);
	tcase_add_test(t, the_most_descriptors_that_the_wire_carries_arrive);
	tcase_add_test(t, descriptors_that_nobody_expects_are_closed);
	tcase_add_test(t, one_descriptor_too_many_costs_them_all);
	tcase_add_test(
	    t, descriptors_beyond_our_limit_are_missed_and_the_rest_is_there);
	tcase_add_test(t, a_truncated_record_costs_its_descriptors);
	tcase_add_test(t, an_empty_record_costs_its_descriptors);
	tcase_add_test(t, bad_records_do_not_disturb_the_next_one);
	tcase_add_test(t, the_senders_descriptors_stay_its_own);
	tcase_add_test(t, signals_do_not_show);
	suite_add_tcase(s, t);
	return s;
}

int
main(void)
{
	SRunner *runner = srunner_create(suite());
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
