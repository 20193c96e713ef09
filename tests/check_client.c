/* SPDX-License-Identifier: ISC */

/* libbud without waiting: opening, the fast path, bad frees, figures, fork. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bud.h"
#include "tests/fakebudd.h"

#define BASE   8u  /* chunks: 2 MiB */
#define CHUNKS 64u /* 16 MiB */
#define MANY   100000

static struct fakebudd fake;
static struct bud_pool *pool;

static void
setup(void)
{
	fake_init(&fake, BASE, CHUNKS);
	pool = fake_open(&fake);
}

static void
teardown(void)
{
	bud_close(pool);
	fake_fini(&fake);
}

static void
setup_fake(void)
{
	fake_init(&fake, BASE, CHUNKS);
}

static void
teardown_fake(void)
{
	fake_fini(&fake);
}

/* --- Opening --- */

static int
try_open(void)
{
	return fake_try_open(&fake, &pool, NULL);
}

START_TEST(hello_carries_name_and_wishes_in_whole_chunks)
{
	struct bud_config c = { .size = sizeof(c),
		.pool = "video",
		.base = 1,
		.add = CHUNK_SIZE,
		.wall = CHUNK_SIZE + 1 };

	ck_assert_int_eq(fake_try_open(&fake, &pool, &c), 0);
	ck_assert_str_eq(fake.hello.hello.pool, "video");
	ck_assert_str_eq(fake.hello.hello.command, program_invocation_short_name);
	ck_assert_uint_eq(fake.hello.hello.base, CHUNK_SIZE);
	ck_assert_uint_eq(fake.hello.hello.add, CHUNK_SIZE);
	ck_assert_uint_eq(fake.hello.hello.wall, 2 * CHUNK_SIZE);
	bud_close(pool);
	fake_expect(&fake, PROTO_CLOSE, NULL);
}
END_TEST

START_TEST(the_socket_is_found_in_the_environment)
{
	setenv("BUD_SOCKET", fake.path, 1);
	fake_answer(&fake);
	ck_assert_int_eq(bud_open(&pool, NULL), 0);
	fake_join(&fake);
	bud_close(pool);
}
END_TEST

START_TEST(a_config_of_an_older_caller_is_enough)
{
	struct bud_config c = { .size = offsetof(struct bud_config, base),
		.base = SIZE_MAX,
		.flags = ~0u }; /* beyond its size: not read */

	ck_assert_int_eq(fake_try_open(&fake, &pool, &c), 0);
	ck_assert_uint_eq(fake.hello.hello.base, 0);
	bud_close(pool);
}
END_TEST

START_TEST(a_config_out_of_range_is_invalid)
{
	char long_name[PROTO_NAME_SIZE + 1];
	struct {
		struct bud_config c;
		uint64_t newer;
	} big = { .c = { .size = sizeof(big) }, .newer = 1 };
	struct bud_config c = { .size = 0 };

	ck_assert_int_eq(bud_open(&pool, &c), -EINVAL);
	c.size = offsetof(struct bud_config, base) - 1;
	ck_assert_int_eq(bud_open(&pool, &c), -EINVAL);
	ck_assert_int_eq(bud_open(&pool, &big.c), -EINVAL);
	c = (struct bud_config){ .size = sizeof(c), .flags = 2 };
	ck_assert_int_eq(bud_open(&pool, &c), -EINVAL);
	c = (struct bud_config){ .size = sizeof(c), .pool = "a b" };
	ck_assert_int_eq(bud_open(&pool, &c), -EINVAL);
	memset(long_name, 'x', sizeof(long_name));
	long_name[PROTO_NAME_SIZE] = '\0';
	c.pool = long_name;
	ck_assert_int_eq(bud_open(&pool, &c), -EINVAL);
}
END_TEST

START_TEST(a_socket_that_is_not_there_has_its_errno)
{
	struct bud_config c = { .size = sizeof(c), .socket = "/nonexistent/sock" };
	char path[200];

	ck_assert_int_eq(bud_open(&pool, &c), -ENOENT);
	memset(path, 'x', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	c.socket = path;
	ck_assert_int_eq(bud_open(&pool, &c), -ENAMETOOLONG);
	/* A socket file that nobody listens on any more. */
	c.socket = fake.path;
	close(fake.listener);
	ck_assert_int_eq(bud_open(&pool, &c), -ECONNREFUSED);
}
END_TEST

START_TEST(a_refusal_is_its_errno)
{
	proto_init(&fake.answer, PROTO_REFUSE);
	fake.answer.refuse.error = ENOSPC;
	strcpy(fake.answer.refuse.reason, "the host's wall is 1M, 1M reserved");
	fake.answer_size = sizeof(fake.answer.refuse);
	fake.answer_nfds = 0;
	ck_assert_int_eq(try_open(), -ENOSPC);
}
END_TEST

START_TEST(another_ledger_version_is_not_supported)
{
	fake.answer.welcome.ledger_version = LEDGER_VERSION + 1;
	ck_assert_int_eq(try_open(), -EPROTONOSUPPORT);
	fake_expect(&fake, PROTO_CLOSE, NULL); /* budd may have its base back */
}
END_TEST

START_TEST(a_ledger_that_is_none_is_an_error)
{
	fake.ledger.header->magic++;
	ck_assert_int_eq(try_open(), -EPROTO);
}
END_TEST

START_TEST(a_memfd_shorter_than_said_is_an_error)
{
	ck_assert_int_eq(ftruncate(fake.memory_fd, (off_t)fake.memory_size - 4096), 0);
	ck_assert_int_eq(try_open(), -EPROTO);
}
END_TEST

START_TEST(a_ledger_shorter_than_said_is_an_error)
{
	ck_assert_int_eq(
	    ftruncate(fake.ledger_fd, (off_t)ledger_size(CHUNKS) - 4096), 0);
	ck_assert_int_eq(try_open(), -EPROTO);
}
END_TEST

START_TEST(a_welcome_without_its_descriptors_is_an_error)
{
	fake.answer_nfds = (unsigned int)_i;
	ck_assert_int_eq(try_open(), -EPROTO);
}
END_TEST

START_TEST(a_malformed_welcome_is_an_error)
{
	fake.answer_size--;
	ck_assert_int_eq(try_open(), -EPROTO);
}
END_TEST

START_TEST(a_budd_that_hangs_up_refuses)
{
	fake.answer_size = 0;
	ck_assert_int_eq(try_open(), -ECONNREFUSED);
}
END_TEST

START_TEST(a_budd_that_restarts_is_greeted_again)
{
	fake.restarts = 2;
	ck_assert_int_eq(try_open(), 0);
	bud_close(pool);
}
END_TEST

/* --- Descriptors --- */

struct fds {
	int open;
	int inherited; /* by exec */
};

static struct fds
count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	struct fds n = { 0, 0 };
	struct dirent *e;
	int fd;

	while ((e = readdir(d)) != NULL) {
		fd = atoi(e->d_name);
		if (*e->d_name == '.' || fd == dirfd(d))
			continue;
		n.open++;
		n.inherited += (fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0;
	}
	closedir(d);
	return n;
}

START_TEST(descriptors_close_on_exec_and_all_of_them_at_close)
{
	struct fds before = count_fds(), during, after;

	ck_assert_int_eq(try_open(), 0);
	during = count_fds();
	bud_close(pool);
	fake_hang_up(&fake);
	after = count_fds();
	ck_assert_int_gt(during.open, before.open);
	ck_assert_int_eq(during.inherited, before.inherited);
	ck_assert_int_eq(after.open, before.open);
}
END_TEST

/* The pool's socket: the one whose peer is our budd. */
static int
find_socket(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNSPEC };
	socklen_t len;

	for (int fd = 3; fd < getdtablesize(); fd++) {
		len = sizeof(a);
		if (getpeername(fd, (struct sockaddr *)&a, &len) == 0 &&
		    strncmp(a.sun_path, fake.path, sizeof(a.sun_path)) == 0)
			return fd;
	}
	return -1;
}

/* Daemons do: close what they do not know; then something else gets the number. */
START_TEST(a_socket_that_others_closed_is_left_alone)
{
	int number, pair[2];
	void *buf;
	char c;

	ck_assert_int_eq(try_open(), 0);
	ck_assert_ptr_nonnull(buf = bud_alloc(pool, 4096, 0));
	ck_assert_int_ne(number = find_socket(), -1);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	ck_assert_int_eq(dup2(pair[1], number), number);

	/* A bell, a request, and the end: none of them reaches the stranger. */
	fake_queued(&fake, true);
	bud_free(pool, buf);
	ck_assert_ptr_null(bud_alloc(pool, fake.memory_size, 0));
	ck_assert_int_eq(errno, ENOTCONN);
	bud_close(pool);
	ck_assert_int_eq(recv(pair[0], &c, 1, MSG_DONTWAIT), -1);
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert_int_eq(send(pair[0], "x", 1, 0), 1);
	ck_assert_int_eq(recv(number, &c, 1, 0), 1);
}
END_TEST

START_TEST(descriptors_are_never_standard_input_or_output)
{
	int saved = dup(STDIN_FILENO);

	close(STDIN_FILENO);
	ck_assert_int_eq(try_open(), 0);
	/* Unless our budd, in this same process, got that number for its end. */
	ck_assert(fake.conn == STDIN_FILENO || fcntl(STDIN_FILENO, F_GETFD) == -1);
	ck_assert_int_eq(dup2(saved, STDIN_FILENO), STDIN_FILENO);
	close(saved);
	bud_close(pool);
}
END_TEST

START_TEST(an_open_that_fails_leaves_no_descriptor)
{
	struct fds before = count_fds();

	fake.answer.welcome.ledger_version = LEDGER_VERSION + 1;
	ck_assert_int_ne(try_open(), 0);
	fake_hang_up(&fake);
	ck_assert_int_eq(count_fds().open, before.open);
}
END_TEST

/* --- The fast path --- */

START_TEST(sizes_round_up_and_buffers_align_to_them)
{
	static const size_t sizes[][2] = { { 1, 4096 }, { 4096, 4096 }, { 4097, 8192 },
		{ 65536, 65536 }, { 65537, 131072 }, { 262144, 262144 },
		{ 262145, 524288 }, { 1048576, 1048576 } };
	size_t align = sizes[_i][1] < CHUNK_SIZE ? sizes[_i][1] : CHUNK_SIZE;
	char *p = bud_alloc(pool, sizes[_i][0], 0);

	ck_assert_ptr_nonnull(p);
	ck_assert_uint_eq(bud_usable_size(pool, p), sizes[_i][1]);
	ck_assert_uint_eq((uintptr_t)p % align, 0);
	memset(p, 0xa5, sizes[_i][1]);
	bud_free(pool, p);
	ck_assert_uint_eq(bud_usable_size(pool, p), 0);
	ck_assert(fake_unused(&fake));
	fake_expect_nothing(&fake);
}
END_TEST

START_TEST(the_memory_starts_at_a_large_page)
{
	ck_assert_uint_eq((uintptr_t)bud_alloc(pool, 4096, 0) % (2u << 20), 0);
}
END_TEST

static void
expect_error(size_t size, int timeout_ms, int error)
{
	errno = 0;
	ck_assert_ptr_null(bud_alloc(pool, size, timeout_ms));
	ck_assert_int_eq(errno, error);
}

START_TEST(what_can_never_be_met_is_refused_without_budd)
{
	void *bufs[1];

	expect_error(0, 0, EINVAL);
	expect_error(1, -2, EINVAL);
	expect_error(CHUNKS * CHUNK_SIZE + 1, -1, EMSGSIZE);
	expect_error(SIZE_MAX, -1, EMSGSIZE);
	ck_assert_int_eq(bud_allocv(pool, 4096, bufs, 0, 0), -EINVAL);
	ck_assert_int_eq(bud_allocv(pool, 4096, bufs, BUD_COUNT_MAX + 1, 0), -EINVAL);
	ck_assert_int_eq(bud_allocv(pool, 4096, NULL, 1, 0), -EINVAL);
	fake_expect_nothing(&fake);
}
END_TEST

START_TEST(a_hundred_thousand_pairs_leave_the_pool_as_it_was)
{
	void *first = bud_alloc(pool, 65536, 0), *buf;

	bud_free(pool, first);
	for (int i = 0; i < MANY; i++) {
		buf = bud_alloc(pool, 65536, 0);
		ck_assert_ptr_eq(buf, first);
		bud_free(pool, buf);
	}
	ck_assert(fake_unused(&fake));
	fake_expect_nothing(&fake);
}
END_TEST

START_TEST(what_is_written_is_in_budds_memory_and_stays)
{
	char *p = bud_alloc(pool, 4096, 0), *q = bud_alloc(pool, 4096, 0);
	uint64_t offset;
	int fd;

	strcpy(p, "one");
	strcpy(q, "two");
	fake_grow(&fake, 8);
	ck_assert_ptr_nonnull(bud_alloc(pool, 4 * CHUNK_SIZE, 0));
	ck_assert_str_eq(p, "one");
	ck_assert_int_eq(bud_locate(pool, q, &fd, &offset), 0);
	ck_assert_str_eq(fake.memory + offset, "two");
	ck_assert_int_eq((int)pread(fd, p, 4, (off_t)offset), 4);
	ck_assert_str_eq(p, "two");
}
END_TEST

START_TEST(locate_knows_the_middle_of_a_buffer_and_no_stranger)
{
	char *p = bud_alloc(pool, 8192, 0);
	uint64_t start, offset;
	int fd;

	ck_assert_int_eq(bud_locate(pool, p, &fd, &start), 0);
	ck_assert_int_eq(bud_locate(pool, p + 4097, &fd, &offset), 0);
	ck_assert_uint_eq(offset, start + 4097);
	ck_assert_int_eq(bud_locate(pool, &start, &fd, &offset), -EINVAL);
	ck_assert_int_eq(bud_locate(pool, NULL, &fd, &offset), -EINVAL);
	/* The pages behind what is open are not the pool's yet. */
	ck_assert_int_eq(
	    bud_locate(pool, p - start + BASE * CHUNK_SIZE - 1, &fd, &offset), 0);
	ck_assert_int_eq(
	    bud_locate(pool, p - start + BASE * CHUNK_SIZE, &fd, &offset), -EINVAL);
}
END_TEST

START_TEST(usable_size_knows_no_stranger)
{
	char *p = bud_alloc(pool, 8192, 0);

	ck_assert_uint_eq(bud_usable_size(pool, NULL), 0);
	ck_assert_uint_eq(bud_usable_size(pool, &p), 0);
	ck_assert_uint_eq(bud_usable_size(pool, p + 1), 0);
	ck_assert_uint_eq(bud_usable_size(pool, p + 4096), 0);
}
END_TEST

START_TEST(allocv_takes_all_of_them)
{
	void *bufs[BASE];

	ck_assert_int_eq(bud_allocv(pool, CHUNK_SIZE, bufs, BASE, 0), 0);
	for (unsigned int i = 0; i < BASE; i++) {
		memset(bufs[i], (int)i, CHUNK_SIZE);
		ck_assert_uint_eq(bud_usable_size(pool, bufs[i]), CHUNK_SIZE);
	}
	for (unsigned int i = 0; i < BASE; i++) {
		ck_assert_int_eq(*(char *)bufs[i], (int)i);
		bud_free(pool, bufs[i]);
	}
	ck_assert(fake_unused(&fake));
	fake_expect_nothing(&fake);
}
END_TEST

START_TEST(allocv_that_does_not_fit_leaves_nothing_behind)
{
	struct bud_config c = { .size = sizeof(c), .flags = BUD_LOCAL };
	struct bud_pool *local;
	struct fakebudd other;
	void *bufs[BASE + 1] = { &fake };

	fake_init(&other, BASE, CHUNKS);
	ck_assert_int_eq(fake_try_open(&other, &local, &c), 0);
	ck_assert_int_eq(bud_allocv(local, CHUNK_SIZE, bufs, BASE + 1, 0), -EAGAIN);
	ck_assert_ptr_eq(bufs[0], &fake);
	ck_assert(fake_unused(&other));
	bud_close(local);
	fake_fini(&other);
}
END_TEST

START_TEST(passing_the_low_mark_rings_once)
{
	void *p;

	atomic_store(&fake.ledger.header->low_mark, CHUNK_FRAMES);
	p = bud_alloc(pool, CHUNK_SIZE, 0);
	ck_assert_ptr_nonnull(p);
	fake_expect_nothing(&fake);
	/* Its last frame is beyond the mark, though its first is not. */
	bud_free(pool, p);
	ck_assert_ptr_nonnull(bud_alloc(pool, 2 * CHUNK_SIZE, 0));
	fake_expect(&fake, PROTO_DOORBELL, NULL);
	ck_assert_ptr_nonnull(bud_alloc(pool, 4096, 0));
	fake_expect_nothing(&fake);
}
END_TEST

/* --- Page faults --- */

static long
faults(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_minflt;
}

static long
faults_of_using(struct bud_pool *p, size_t size)
{
	char *buf = bud_alloc(p, size, 0); /* the kernel counts populating, too */
	long before = faults();

	memset(buf, 1, size);
	return faults() - before;
}

START_TEST(the_base_and_new_blocks_cost_no_page_faults)
{
	struct bud_pool *second;
	struct fakebudd other;

	if (FAKE_SANITIZED)
		return;
	/* The first pool pages in the code. */
	faults_of_using(pool, BASE * CHUNK_SIZE);
	/* The ledger is larger than what one fault maps around itself. */
	fake_init(&other, BASE, 64 * CHUNKS);
	second = fake_open(&other);
	ck_assert_int_eq(faults_of_using(second, BASE * CHUNK_SIZE), 0);

	fake_grow(&other, 2 * BASE);
	ck_assert_int_eq(faults_of_using(second, 4096), 0);
	ck_assert_int_eq(faults_of_using(second, BASE * CHUNK_SIZE), 0);
	bud_close(second);
	fake_fini(&other);
}
END_TEST

/* --- Bad frees --- */

/* The child frees @bad; what it prints on its way to abort(). */
static void
expect_abort(void *first, void *bad, const char *reason)
{
	char text[256] = "", pointer[32];
	int pipe_fds[2], status;
	pid_t pid;

	ck_assert_int_eq(pipe(pipe_fds), 0);
	/* abort() takes the process: the whole scene is set in a child. */
	fflush(NULL);
	if ((pid = fork()) == 0) {
		const struct rlimit none = { 0, 0 };

		setrlimit(RLIMIT_CORE, &none);
		signal(SIGABRT, SIG_DFL);
		dup2(pipe_fds[1], STDERR_FILENO);
		fake_init(&fake, BASE, CHUNKS);
		pool = fake_open(&fake);
		unlink(fake.path); /* abort() will not */
		rmdir(fake.dir);
		if (first == NULL) {
			first = bud_alloc(pool, 65536, 0);
			bad = (char *)first + (uintptr_t)bad;
		}
		dprintf(STDERR_FILENO, "%p\n", bad);
		if (strstr(reason, "already") != NULL)
			bud_free(pool, first);
		bud_free(pool, bad);
		_exit(0);
	}
	close(pipe_fds[1]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	ck_assert_int_gt((int)read(pipe_fds[0], text, sizeof(text) - 1), 0);
	close(pipe_fds[0]);
	snprintf(pointer, sizeof(pointer), "%.*s", (int)strcspn(text, "\n"), text);
	ck_assert_msg(strstr(text + strlen(pointer), pointer) != NULL, "%s", text);
	ck_assert_msg(strstr(text, "bud_free(") != NULL, "%s", text);
	ck_assert_msg(strstr(text, reason) != NULL, "%s", text);
}

START_TEST(freeing_twice_aborts)
{
	expect_abort(NULL, (void *)0, "it is free already");
}
END_TEST

START_TEST(freeing_a_strangers_pointer_aborts)
{
	int x;

	expect_abort(&x, &x, "it is not in this pool");
}
END_TEST

START_TEST(freeing_the_middle_of_a_buffer_aborts)
{
	expect_abort(NULL, (void *)16, "it points into the middle of a buffer");
	expect_abort(NULL, (void *)4096, "no buffer of this pool starts there");
}
END_TEST

START_TEST(freeing_null_does_nothing)
{
	bud_free(pool, NULL);
	bud_close(NULL);
	ck_assert(fake_unused(&fake));
}
END_TEST

/* --- Figures --- */

START_TEST(stat_tells_what_the_ledger_tells)
{
	struct bud_stat s = { .size = sizeof(s) };

	ck_assert_ptr_nonnull(bud_alloc(pool, 5000, 0));
	ck_assert_ptr_nonnull(bud_alloc(pool, 2 * CHUNK_SIZE, 0));
	fake_grow(&fake, 1);
	/* `open` is a bound: chunks below it may not be open yet, and are not used. */
	atomic_store(&fake.ledger.header->open, BASE + 5);
	ck_assert_int_eq(bud_stat(pool, &s), 0);
	ck_assert_uint_eq(s.size, sizeof(s));
	ck_assert_uint_eq(s.base, BASE * CHUNK_SIZE);
	ck_assert_uint_eq(s.add, CHUNK_SIZE);
	ck_assert_uint_eq(s.wall, CHUNKS * CHUNK_SIZE);
	ck_assert_uint_eq(s.pinned, (BASE + 1) * CHUNK_SIZE);
	ck_assert_uint_eq(s.used, 8192 + 2 * CHUNK_SIZE);
	ck_assert_uint_eq(s.blocks, 2);
	ck_assert_uint_eq(s.waiting, 0);
}
END_TEST

START_TEST(stat_fills_in_what_the_caller_has_room_for)
{
	struct bud_stat s = { .size = offsetof(struct bud_stat, wall), .wall = 42 };

	ck_assert_int_eq(bud_stat(pool, &s), 0);
	ck_assert_uint_eq(s.add, CHUNK_SIZE);
	ck_assert_uint_eq(s.wall, 42);
	s.size = 0;
	ck_assert_int_eq(bud_stat(pool, &s), -EINVAL);
}
END_TEST

/* A header that budd, or a stray pointer, filled with nonsense stays within bounds. */
START_TEST(an_impossible_count_of_chunks_is_bounded)
{
	struct bud_stat s = { .size = sizeof(s) };
	void *p;

	atomic_store(&fake.ledger.header->open, UINT32_MAX);
	ck_assert_int_eq(bud_stat(pool, &s), 0);
	ck_assert_uint_eq(s.used, 0);
	ck_assert_ptr_nonnull(p = bud_alloc(pool, BASE * CHUNK_SIZE, 0));
	bud_free(pool, p);
}
END_TEST

/* --- fork --- */

static void
never(void *buf, int error, void *arg)
{
	(void)buf;
	(void)error;
	(void)arg;
}

/* What is wrong in the child, as a number; 0: nothing. */
static int
child_of(struct bud_request *request, void *buf, int fds_left)
{
	struct bud_stat s = { .size = sizeof(s) };
	uint64_t offset;
	void *bufs[1];
	int fd;

	if (bud_alloc(pool, 4096, -1) != NULL || errno != EINVAL)
		return 1;
	if (bud_allocv(pool, 4096, bufs, 1, -1) != -EINVAL)
		return 2;
	if (bud_request(pool, 4096, -1, 0, never, NULL, NULL) != -EINVAL)
		return 3;
	if (bud_cancel(request) != -EINVAL || bud_fd(pool) != -EINVAL)
		return 4;
	if (bud_dispatch(pool) != -EINVAL || bud_stat(pool, &s) != -EINVAL)
		return 5;
	if (bud_locate(pool, buf, &fd, &offset) != -EINVAL)
		return 6;
	if (bud_usable_size(pool, buf) != 0)
		return 7;
	bud_free(pool, buf);
	bud_free(pool, buf);
	if (count_fds().open != fds_left)
		return 8;
	/* Two processes must not hand out the same frames: it is not even mapped. */
	if (msync(buf, 4096, MS_ASYNC) != -1 || errno != ENOMEM)
		return 9;
	bud_close(pool);
	return 0;
}

static int
exit_status(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status), "killed by signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

START_TEST(a_child_has_no_pool_and_the_parent_keeps_its_own)
{
	struct bud_request *request;
	int before = count_fds().open;
	void *buf;
	pid_t pid;

	ck_assert_int_eq(try_open(), 0);
	before++; /* the fake's end of the connection */
	buf = bud_alloc(pool, 4096, 0);
	fake_queued(&fake, true);
	ck_assert_int_eq(bud_request(pool, 4096, -1, 0, never, NULL, &request), 0);
	fake_expect(&fake, PROTO_ALLOC, NULL);
	if ((pid = fork()) == 0)
		_exit(child_of(request, buf, before));
	ck_assert_int_eq(exit_status(pid), 0);

	/* The child's bud_close() said nothing, and freed nothing of ours. */
	fake_expect_nothing(&fake);
	fake_queued(&fake, false);
	bud_free(pool, buf);
	bud_close(pool);
	fake_expect(&fake, PROTO_CLOSE, NULL);
	ck_assert(fake_unused(&fake));
}
END_TEST

START_TEST(a_child_may_open_a_pool_of_its_own)
{
	struct fakebudd other;
	pid_t pid;

	ck_assert_int_eq(try_open(), 0);
	if ((pid = fork()) == 0) {
		struct bud_pool *own;
		void *buf;

		fake_init(&other, BASE, CHUNKS);
		own = fake_open(&other);
		buf = bud_alloc(own, 4096, 0);
		if (buf != NULL)
			bud_free(own, buf);
		bud_close(own);
		fake_fini(&other);
		_exit(buf == NULL);
	}
	ck_assert_int_eq(exit_status(pid), 0);
	bud_close(pool);
}
END_TEST

START_TEST(the_parents_death_hangs_up_though_a_child_lives)
{
	int pipe_fds[2];
	pid_t pid;
	char c;

	/* The parent is a child of ours, the child our grandchild. */
	ck_assert_int_eq(pipe(pipe_fds), 0);
	fake_answer(&fake);
	if ((pid = fork()) == 0) {
		struct bud_config conf = { .size = sizeof(conf), .socket = fake.path };

		close(pipe_fds[1]);
		if (bud_open(&pool, &conf) != 0)
			_exit(1);
		if (fork() == 0) {
			(void)!read(pipe_fds[0], &c, 1); /* until the test ends */
			_exit(0);
		}
		_exit(0);
	}
	ck_assert_int_eq(exit_status(pid), 0);
	fake_join(&fake);
	/* The end, and not silence. */
	ck_assert_int_eq(
	    poll(&(struct pollfd){ .fd = fake.conn, .events = POLLIN }, 1, 3000), 1);
	ck_assert_int_eq((int)read(fake.conn, &c, 1), 0);
	close(pipe_fds[1]);
	close(pipe_fds[0]);
}
END_TEST

static Suite *
client_suite(void)
{
	Suite *s = suite_create("client");
	TCase *tc = tcase_create("open");

	tcase_add_checked_fixture(tc, setup_fake, teardown_fake);
	tcase_add_test(tc, hello_carries_name_and_wishes_in_whole_chunks);
	tcase_add_test(tc, the_socket_is_found_in_the_environment);
	tcase_add_test(tc, a_config_of_an_older_caller_is_enough);
	tcase_add_test(tc, a_config_out_of_range_is_invalid);
	tcase_add_test(tc, a_socket_that_is_not_there_has_its_errno);
	tcase_add_test(tc, a_refusal_is_its_errno);
	tcase_add_test(tc, another_ledger_version_is_not_supported);
	tcase_add_test(tc, a_ledger_that_is_none_is_an_error);
	tcase_add_test(tc, a_memfd_shorter_than_said_is_an_error);
	tcase_add_test(tc, a_ledger_shorter_than_said_is_an_error);
	tcase_add_loop_test(tc, a_welcome_without_its_descriptors_is_an_error, 0, 2);
	tcase_add_test(tc, a_malformed_welcome_is_an_error);
	tcase_add_test(tc, a_budd_that_hangs_up_refuses);
	tcase_add_test(tc, a_budd_that_restarts_is_greeted_again);
	tcase_add_test(tc, descriptors_close_on_exec_and_all_of_them_at_close);
	tcase_add_test(tc, an_open_that_fails_leaves_no_descriptor);
	tcase_add_test(tc, a_socket_that_others_closed_is_left_alone);
	tcase_add_test(tc, descriptors_are_never_standard_input_or_output);
	tcase_add_test(tc, a_child_has_no_pool_and_the_parent_keeps_its_own);
	tcase_add_test(tc, a_child_may_open_a_pool_of_its_own);
	tcase_add_test(tc, the_parents_death_hangs_up_though_a_child_lives);
	suite_add_tcase(s, tc);

	tc = tcase_create("alloc");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, sizes_round_up_and_buffers_align_to_them, 0, 8);
	tcase_add_test(tc, the_memory_starts_at_a_large_page);
	tcase_add_test(tc, what_can_never_be_met_is_refused_without_budd);
	tcase_add_test(tc, a_hundred_thousand_pairs_leave_the_pool_as_it_was);
	tcase_add_test(tc, what_is_written_is_in_budds_memory_and_stays);
	tcase_add_test(tc, locate_knows_the_middle_of_a_buffer_and_no_stranger);
	tcase_add_test(tc, usable_size_knows_no_stranger);
	tcase_add_test(tc, allocv_takes_all_of_them);
	tcase_add_test(tc, allocv_that_does_not_fit_leaves_nothing_behind);
	tcase_add_test(tc, passing_the_low_mark_rings_once);
	tcase_add_test(tc, the_base_and_new_blocks_cost_no_page_faults);
	tcase_add_test(tc, freeing_null_does_nothing);
	tcase_add_test(tc, stat_tells_what_the_ledger_tells);
	tcase_add_test(tc, stat_fills_in_what_the_caller_has_room_for);
	tcase_add_test(tc, an_impossible_count_of_chunks_is_bounded);
	suite_add_tcase(s, tc);

	tc = tcase_create("bad free");
	tcase_add_test(tc, freeing_twice_aborts);
	tcase_add_test(tc, freeing_a_strangers_pointer_aborts);
	tcase_add_test(tc, freeing_the_middle_of_a_buffer_aborts);
	suite_add_tcase(s, tc);
	return s;
}

int
main(void)
{
	SRunner *sr = srunner_create(client_suite());
	int failed;

	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
