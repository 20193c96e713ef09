/* SPDX-License-Identifier: ISC */

/*
 * Copies of a file, O_DIRECT, to a file and to a TCP socket of this host: with read() and
 * write() on malloc, and with the engine of bud-copy on malloc, on registered buffers of
 * its own, and on those of a pool. Prints lines "target/method MB-per-s".
 *
 * usage: copy DIR MIB	(the files are made in DIR, and removed)
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bud-uring.h"
#include "examples/copy.h"

#define PIECE ((size_t)256 << 10)
#define DEPTH 8u

static struct io_uring ring;
static struct bud_pool *pool;
static struct bud_uring *uring;

/* --- Memory of our own: DEPTH buffers --- */

static char *own;
static bool own_taken[DEPTH];
static bool own_registered;

static int
own_request(
    void *arg, size_t size, void (*granted)(void *buf, int error, void *to), void *to)
{
	unsigned int i = 0;

	(void)arg;
	(void)size;
	while (own_taken[i])
		i++;
	own_taken[i] = true;
	granted(own + i * PIECE, 0, to);
	return 0;
}

static void
own_give(void *arg, void *buf)
{
	(void)arg;
	own_taken[(size_t)((char *)buf - own) / PIECE] = false;
}

static void
own_prep_read(void *arg, struct io_uring_sqe *sqe, int fd, void *buf, unsigned int len,
    uint64_t offset)
{
	(void)arg;
	if (own_registered)
		io_uring_prep_read_fixed(sqe, fd, buf, len, offset, 0);
	else
		io_uring_prep_read(sqe, fd, buf, len, offset);
}

static void
own_prep_write(void *arg, struct io_uring_sqe *sqe, int fd, const void *buf,
    unsigned int len, uint64_t offset)
{
	(void)arg;
	if (own_registered)
		io_uring_prep_write_fixed(sqe, fd, buf, len, offset, 0);
	else
		io_uring_prep_write(sqe, fd, buf, len, offset);
}

static void
own_prep_send(void *arg, struct io_uring_sqe *sqe, int fd, const void *buf, size_t len)
{
	(void)arg;
	if (own_registered)
		io_uring_prep_send_zc_fixed(sqe, fd, buf, len, 0, 0, 0);
	else
		io_uring_prep_send(sqe, fd, buf, len, 0);
}

static const struct copy_memory own_memory = { NULL, own_request, own_give,
	own_prep_read, own_prep_write, own_prep_send, NULL };

/* --- A pool's --- */

static int
pool_request(
    void *arg, size_t size, void (*granted)(void *buf, int error, void *to), void *to)
{
	void *buf = bud_alloc(pool, size, 0);

	(void)arg;
	if (buf == NULL)
		return -errno;
	granted(buf, 0, to);
	return 0;
}

static void
pool_give(void *arg, void *buf)
{
	(void)arg;
	bud_free(pool, buf);
}

static void
pool_prep_read(void *arg, struct io_uring_sqe *sqe, int fd, void *buf, unsigned int len,
    uint64_t offset)
{
	(void)arg;
	bud_uring_prep_read_fixed(uring, sqe, fd, buf, len, offset);
}

static void
pool_prep_write(void *arg, struct io_uring_sqe *sqe, int fd, const void *buf,
    unsigned int len, uint64_t offset)
{
	(void)arg;
	bud_uring_prep_write_fixed(uring, sqe, fd, buf, len, offset);
}

static void
pool_prep_send(void *arg, struct io_uring_sqe *sqe, int fd, const void *buf, size_t len)
{
	(void)arg;
	bud_uring_prep_send_zc(uring, sqe, fd, buf, len, 0);
}

static bool
pool_handle(void *arg, const struct io_uring_cqe *cqe)
{
	(void)arg;
	return bud_uring_handle(uring, cqe);
}

static const struct copy_memory pool_memory = { NULL, pool_request, pool_give,
	pool_prep_read, pool_prep_write, pool_prep_send, pool_handle };

/* --- Copies --- */

static void
plain_copy(int from, int to, uint64_t size)
{
	char *buf = aligned_alloc(COPY_ALIGN, PIECE);
	ssize_t n;

	for (uint64_t done = 0; done < size; done += (uint64_t)n) {
		if ((n = read(from, buf, PIECE)) <= 0)
			err(1, "read");
		for (ssize_t out = 0, w; out < n; out += w)
			if ((w = write(to, buf + out, (size_t)(n - out))) <= 0)
				err(1, "write");
	}
	free(buf);
}

static void
engine_copy(
    int from, int to, uint64_t size, bool to_socket, const struct copy_memory *m)
{
	const struct copy c = { .ring = &ring,
		.memory = m,
		.from = from,
		.to = to,
		.to_socket = to_socket,
		.size = size,
		.piece = PIECE,
		.depth = DEPTH };
	int r = copy_run(&c);

	if (r != 0)
		errx(1, "copy: %s", strerror(-r));
}

enum method {
	READ_WRITE,
	URING,
	URING_REGISTERED,
	POOL,
	METHODS
};
static const char *const names[] = { "read-write", "uring-malloc",
	"uring-own-registered", "uring-pool-registered" };

static void
begin(enum method method)
{
	const struct iovec iov = { own, DEPTH * PIECE };
	int r;

	if (method == READ_WRITE)
		return;
	if ((r = io_uring_queue_init(256, &ring, 0)) != 0)
		errx(1, "io_uring: %s", strerror(-r));
	own_registered = method == URING_REGISTERED;
	if (own_registered && (r = io_uring_register_buffers(&ring, &iov, 1)) != 0)
		errx(1, "registering: %s", strerror(-r));
	if (method == POOL && (r = bud_uring_open(&uring, pool, &ring)) != 0)
		errx(1, "bud_uring_open: %s", strerror(-r));
}

static void
end(enum method method)
{
	if (method == POOL)
		bud_uring_close(uring);
	if (method != READ_WRITE)
		io_uring_queue_exit(&ring);
}

static void
copy(enum method method, int from, int to, uint64_t size, bool to_socket)
{
	if (method == READ_WRITE)
		plain_copy(from, to, size);
	else
		engine_copy(from, to, size, to_socket,
		    method == POOL ? &pool_memory : &own_memory);
}

static double
seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int
open_direct(const char *path, int flags)
{
	int fd = open(path, flags | O_DIRECT | O_CLOEXEC, 0600);

	if (fd == -1 && errno == EINVAL)
		fd = open(path, flags | O_CLOEXEC, 0600); /* the file system has none */
	if (fd == -1)
		err(1, "%s", path);
	return fd;
}

/* A process that throws away what it receives. */
static pid_t
start_sink(int *sockp)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
	pid_t pid;

	if (bind(listener, (struct sockaddr *)&a, len) == -1 ||
	    listen(listener, 1) == -1 ||
	    getsockname(listener, (struct sockaddr *)&a, &len) == -1)
		err(1, "socket");
	if ((pid = fork()) == 0) {
		fd = accept(listener, NULL, NULL);
		while (recv(fd, NULL, 1 << 20, MSG_TRUNC) > 0)
			;
		_exit(0);
	}
	*sockp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (pid == -1 || connect(*sockp, (struct sockaddr *)&a, len) == -1)
		err(1, "connect");
	close(listener);
	return pid;
}

static double
to_file(enum method m, const char *source, const char *target, uint64_t size)
{
	int from = open_direct(source, O_RDONLY),
	    to = open_direct(target, O_WRONLY | O_CREAT);
	double start = seconds(), took;

	copy(m, from, to, size, false);
	took = seconds() - start;
	close(from);
	close(to);
	return (double)size / 1e6 / took;
}

static double
to_socket(enum method m, const char *source, uint64_t size)
{
	int from = open_direct(source, O_RDONLY), to;
	pid_t pid = start_sink(&to);
	double start = seconds(), took;

	copy(m, from, to, size, true);
	close(to);
	waitpid(pid, NULL, 0); /* all has arrived */
	took = seconds() - start;
	close(from);
	return (double)size / 1e6 / took;
}

static void
make_file(const char *path, uint64_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	char *buf = malloc(PIECE);

	if (fd == -1 || buf == NULL)
		err(1, "%s", path);
	for (uint64_t i = 0; i < size; i += PIECE) {
		memset(buf, (int)(i / PIECE), PIECE);
		if (write(fd, buf, PIECE) != (ssize_t)PIECE)
			err(1, "%s", path);
	}
	fsync(fd);
	close(fd);
	free(buf);
}

int
main(int argc, char **argv)
{
	char source[4096], target[4096];
	uint64_t size;
	int r;

	if (argc != 3)
		errx(2, "usage: copy DIR MIB");
	size = strtoul(argv[2], NULL, 10) << 20;
	snprintf(source, sizeof(source), "%s/source", argv[1]);
	snprintf(target, sizeof(target), "%s/target", argv[1]);
	if ((r = bud_open(&pool, NULL)) != 0)
		errx(1, "bud_open: %s", strerror(-r));
	own = aligned_alloc(COPY_ALIGN, DEPTH * PIECE);
	memset(own, 1, DEPTH * PIECE);
	make_file(source, size);
	make_file(target, size); /* what is copied finds its blocks on the disk */
	for (int m = 0; m < METHODS; m++) {
		begin((enum method)m);
		printf("file/%s %.1f\n", names[m],
		    to_file((enum method)m, source, target, size));
		printf("socket/%s %.1f\n", names[m],
		    to_socket((enum method)m, source, size));
		end((enum method)m);
	}
	unlink(source);
	unlink(target);
	bud_close(pool);
	return 0;
}
