/* SPDX-License-Identifier: ISC */

/*
 * bud-copy: a file to a file or to a socket, through the registered buffers of a pool.
 *
 * O_DIRECT reads from the disk into the pool and writes out of it, or the network sends from
 * it: no byte passes through the page cache, and none is copied where device and network
 * can do without.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bud-uring.h"
#include "examples/copy.h"

#define PIECE 262144u
#define DEPTH 8u
#define WIDTH 30 /* of the bar */

struct program {
	struct bud_pool *pool;
	struct bud_uring *uring;
	struct io_uring ring;
	struct copy copy;
	bool quiet;
	struct timespec began;
	int64_t shown_ms;
};

static const char help[] =
    "usage: bud-copy [-q] [-b BYTES] [-d DEPTH] [-p POOL] [-s SOCKET] FILE TO\n"
    "\n"
    "Copies FILE through pinned buffers of a pool that are registered with io_uring. "
    "TO is\n"
    "a file, or tcp:HOST:PORT, to which the bytes of FILE are sent.\n"
    "\n"
    "  -b BYTES   a piece, 4096 x 2^k up to 256 MiB [262144]\n"
    "  -d DEPTH   pieces under way at a time, 1 to 64 [8]\n"
    "  -p POOL    section of budd.conf [default]\n"
    "  -s SOCKET  budd's socket [$BUD_SOCKET, or the one built in]\n"
    "  -q         no progress, no figures\n"
    "  -h, --help     this\n"
    "  -V, --version  the version\n";

/* --- The pool's memory --- */

static int
pool_request(
    void *arg, size_t size, void (*granted)(void *buf, int error, void *to), void *to)
{
	struct program *p = arg;
	void *buf = bud_alloc(p->pool, size, 0); /* BUD_LOCAL: asks nobody */

	if (buf == NULL)
		return bud_request(p->pool, size, -1, 0, granted, to, NULL);
	granted(buf, 0, to);
	return 0;
}

static void
pool_give(void *arg, void *buf)
{
	bud_free(((struct program *)arg)->pool, buf);
}

static void
pool_prep_read(void *arg, struct io_uring_sqe *sqe, int fd, void *buf, unsigned int len,
    uint64_t offset)
{
	bud_uring_prep_read_fixed(
	    ((struct program *)arg)->uring, sqe, fd, buf, len, offset);
}

static void
pool_prep_write(void *arg, struct io_uring_sqe *sqe, int fd, const void *buf,
    unsigned int len, uint64_t offset)
{
	bud_uring_prep_write_fixed(
	    ((struct program *)arg)->uring, sqe, fd, buf, len, offset);
}

static void
pool_prep_send(void *arg, struct io_uring_sqe *sqe, int fd, const void *buf, size_t len)
{
	bud_uring_prep_send_zc(
	    ((struct program *)arg)->uring, sqe, fd, buf, len, MSG_NOSIGNAL);
}

static bool
pool_handle(void *arg, const struct io_uring_cqe *cqe)
{
	return bud_uring_handle(((struct program *)arg)->uring, cqe);
}

/* --- Files and sockets --- */

/* O_DIRECT where the file system has it. */
static int
open_direct(const char *path, int flags)
{
	int fd = open(path, flags | O_DIRECT | O_CLOEXEC, 0666);

	if (fd == -1 && errno == EINVAL)
		fd = open(path, flags | O_CLOEXEC, 0666);
	if (fd == -1)
		err(1, "%s", path);
	return fd;
}

static int
connect_to(const char *where)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	const char *colon = strrchr(where, ':');
	struct addrinfo *list, *a;
	char host[256];
	int fd = -1, r;

	if (colon == NULL || (size_t)(colon - where) >= sizeof(host))
		errx(2, "tcp:%s: not tcp:HOST:PORT", where);
	snprintf(host, sizeof(host), "%.*s", (int)(colon - where), where);
	if ((r = getaddrinfo(host, colon + 1, &hints, &list)) != 0)
		errx(1, "%s: %s", where, gai_strerror(r));
	for (a = list; a != NULL && fd == -1; a = a->ai_next) {
		fd =
		    socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
		if (fd != -1 && connect(fd, a->ai_addr, a->ai_addrlen) == -1) {
			r = errno;
			close(fd);
			errno = r;
			fd = -1;
		}
	}
	freeaddrinfo(list);
	if (fd == -1)
		err(1, "tcp:%s", where);
	return fd;
}

static void
open_both(struct copy *c, const char *from, const char *to)
{
	struct stat st, there;

	c->from = open_direct(from, O_RDONLY);
	if (fstat(c->from, &st) == -1)
		err(1, "%s", from);
	if (!S_ISREG(st.st_mode))
		errx(1, "%s: not a regular file", from);
	c->size = (uint64_t)st.st_size;
	c->to_socket = strncmp(to, "tcp:", 4) == 0;
	if (c->to_socket) {
		c->to = connect_to(to + 4);
		return;
	}
	/* What is there stays until it is known to be another file, and that all can begin. */
	c->to = open_direct(to, O_WRONLY | O_CREAT);
	if (fstat(c->to, &there) == -1)
		err(1, "%s", to);
	if (!S_ISREG(there.st_mode))
		errx(1, "%s: not a regular file; to a peer it is tcp:HOST:PORT", to);
	if (st.st_dev == there.st_dev && st.st_ino == there.st_ino)
		errx(1, "%s and %s are the same file: nothing was copied", from, to);
}

/* From here on the copy takes the place of what was there. */
static void
empty_target(const struct copy *c, const char *to)
{
	if (!c->to_socket && ftruncate(c->to, 0) == -1)
		err(1, "%s", to);
}

/* --- Progress --- */

static int64_t
elapsed_ms(const struct program *p)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (t.tv_sec - p->began.tv_sec) * 1000 +
	       (t.tv_nsec - p->began.tv_nsec) / 1000000;
}

static double
mb_per_s(uint64_t bytes, int64_t ms)
{
	return (double)bytes / 1e3 / (double)(ms > 0 ? ms : 1);
}

static uint64_t
pinned_kib(const struct program *p)
{
	struct bud_stat s = { .size = sizeof(s) };

	(void)bud_stat(p->pool, &s);
	return s.pinned / 1024;
}

static void
on_progress(uint64_t done, uint64_t size, void *arg)
{
	struct program *p = arg;
	int64_t ms = elapsed_ms(p);
	int filled = (int)((double)done / (double)size * WIDTH);

	if (done < size && ms < p->shown_ms + 100)
		return;
	p->shown_ms = ms;
	fprintf(stderr, "\r[%.*s%*s] %3.0f %%  %.0f MB/s  pool %" PRIu64 " KiB ",
	    filled, "##############################", WIDTH - filled, "",
	    (double)done / (double)size * 100, mb_per_s(done, ms), pinned_kib(p));
}

/* What the registration came to, when it is not all that it could be. */
static void
report(struct program *p)
{
	struct bud_uring_stat s = { .size = sizeof(s) };
	int64_t ms = elapsed_ms(p);
	char text[512];

	(void)bud_uring_stat(p->uring, &s);
	fprintf(stderr,
	    "%s%" PRIu64 " bytes in %.2f s, %.0f MB/s; %" PRIu64
	    " operations on registered buffers, %" PRIu64 " on others\n",
	    p->copy.progress != NULL ? "\n" : "", p->copy.size, (double)ms / 1e3,
	    mb_per_s(p->copy.size, ms), s.fixed_count, s.plain_count);
	bud_uring_explain(p->uring, text, sizeof(text));
	if (s.plain_count > 0)
		fprintf(stderr, "bud-copy: %s\n", text);
}

/* --- main --- */

static void
open_pool(struct program *p, const char *pool, const char *socket)
{
	struct bud_config config = { .size = sizeof(config),
		.pool = pool,
		.socket = socket,
		.flags = BUD_LOCAL };
	int r;

	if ((r = bud_open(&p->pool, &config)) != 0)
		errx(1, "no pool: %s (is budd running? BUD_DEBUG=1 tells more)",
		    strerror(-r));
	if ((r = io_uring_queue_init(4 * COPY_DEPTH_MAX, &p->ring, 0)) != 0)
		errx(1, "no io_uring: %s", strerror(-r));
	if ((r = bud_uring_open(&p->uring, p->pool, &p->ring)) != 0)
		errx(1, "the pool cannot be registered: %s", strerror(-r));
}

static size_t
number(const char *text, size_t min, size_t max, char option)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end != '\0' || n < min || n > max)
		errx(2, "-%c %s: a number from %zu to %zu", option, text, min, max);
	return n;
}

static void
parse(
    struct program *p, int argc, char **argv, const char **poolp, const char **socketp)
{
	static const struct option long_options[] = { { "help", no_argument, NULL,
							  'h' },
		{ "version", no_argument, NULL, 'V' }, { 0 } };
	int o;

	while ((o = getopt_long(argc, argv, "b:d:hp:qs:V", long_options, NULL)) != -1) {
		switch (o) {
		case 'b':
			p->copy.piece = number(optarg, COPY_ALIGN, 256u << 20, 'b');
			if ((p->copy.piece & (p->copy.piece - 1)) != 0)
				errx(2, "-b %s: not 4096 x 2^k", optarg);
			break;
		case 'd':
			p->copy.depth =
			    (unsigned int)number(optarg, 1, COPY_DEPTH_MAX, 'd');
			break;
		case 'p':
			*poolp = optarg;
			break;
		case 's':
			*socketp = optarg;
			break;
		case 'q':
			p->quiet = true;
			break;
		case 'h':
			fputs(help, stdout);
			exit(0);
		case 'V':
			puts("bud-copy " PACKAGE_VERSION);
			exit(0);
		default:
			fputs(help, stderr);
			exit(2);
		}
	}
	if (argc - optind != 2) {
		fputs(help, stderr);
		exit(2);
	}
}

/* A buffered write may fail as late as here. */
static void
finish(const struct copy *c, const char *to)
{
	if (!c->to_socket &&
	    (ftruncate(c->to, (off_t)c->size) == -1 || fsync(c->to) == -1))
		err(1, "%s", to);
	if (close(c->to) == -1)
		err(1, "%s", to);
	close(c->from);
}

int
main(int argc, char **argv)
{
	const char *pool = NULL, *socket = NULL;
	static struct program p = { .copy = { .piece = PIECE, .depth = DEPTH } };
	const struct copy_memory memory = { &p, pool_request, pool_give, pool_prep_read,
		pool_prep_write, pool_prep_send, pool_handle };
	int r;

	parse(&p, argc, argv, &pool, &socket);
	open_both(&p.copy, argv[optind], argv[optind + 1]);
	open_pool(&p, pool, socket);
	empty_target(&p.copy, argv[optind + 1]);
	p.copy.ring = &p.ring;
	p.copy.memory = &memory;
	if (!p.quiet && p.copy.size > 0 && isatty(STDERR_FILENO))
		p.copy.progress = on_progress;
	p.copy.progress_arg = &p;
	clock_gettime(CLOCK_MONOTONIC, &p.began);
	if ((r = copy_run(&p.copy)) != 0)
		errx(1, "%s to %s: %s", argv[optind], argv[optind + 1], strerror(-r));
	finish(&p.copy, argv[optind + 1]);
	if (!p.quiet)
		report(&p);
	bud_uring_close(p.uring);
	io_uring_queue_exit(&p.ring);
	bud_close(p.pool);
	return 0;
}
