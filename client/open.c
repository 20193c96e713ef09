/* SPDX-License-Identifier: ISC */

/*
 * Opening a pool: HELLO, WELCOME with two descriptors, and the mappings.
 *
 * Descriptors and mappings are made with the register locked, in short steps, so that a
 * fork() in another thread finds each either not yet made or in a pool of the register,
 * whose child's side closes it. Waiting for budd is done without.
 *
 * budd is privileged, and yet what it says is checked: a size that is wrong would become
 * a SIGBUS much later.
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/cache.h"
#include "client/debug.h"
#include "client/link.h"
#include "client/memory.h"
#include "client/request.h"
#include "proto/wire.h"

#define OPEN_NS        ((int64_t)10 * 1000000000) /* the longest wait for budd */
#define CONFIG_MAX     4096u /* a config->size beyond is nonsense */
#define FDS_OF_WELCOME 2u    /* the memory's, the ledger's */

/* --- What the caller wishes --- */

static bool
all_zero(const unsigned char *p, size_t n)
{
	while (n > 0 && *p == 0)
		p++, n--;
	return n == 0;
}

/* A caller of another version has fewer fields, which count as 0, or more, which we
 * cannot honour unless they are 0. */
static int
config_read(struct bud_config *c, const struct bud_config *given)
{
	*c = (struct bud_config){ .size = sizeof(*c) };
	if (given == NULL)
		return 0;
	if (given->size < offsetof(struct bud_config, base) || given->size > CONFIG_MAX)
		return -EINVAL;
	memcpy(c, given, given->size < sizeof(*c) ? given->size : sizeof(*c));
	if (given->size > sizeof(*c) &&
	    !all_zero(
		(const unsigned char *)given + sizeof(*c), given->size - sizeof(*c)))
		return -EINVAL;
	c->size = sizeof(*c);
	return (c->flags & ~BUD_LOCAL) == 0 ? 0 : -EINVAL;
}

static int
address_of(const char *path, struct sockaddr_un *a)
{
	if (path == NULL)
		path = secure_getenv("BUD_SOCKET");
	if (path == NULL || *path == '\0')
		path = BUD_SOCKET_PATH;
	if (strlen(path) >= sizeof(a->sun_path))
		return -ENAMETOOLONG;
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	memcpy(a->sun_path, path, strlen(path) + 1);
	return 0;
}

/* Whole chunks; a wish beyond all memory is cut by budd as any other. */
static uint64_t
whole_chunks(size_t bytes)
{
	return bytes > UINT64_MAX - CHUNK_SIZE
		   ? UINT64_MAX - CHUNK_SIZE + 1
		   : (bytes + CHUNK_SIZE - 1) / CHUNK_SIZE * CHUNK_SIZE;
}

static int
hello_of(const struct bud_config *c, union proto_msg *hello)
{
	proto_init(hello, PROTO_HELLO);
	hello->hello.version_min = PROTO_VERSION;
	hello->hello.version_max = PROTO_VERSION;
	hello->hello.base = whole_chunks(c->base);
	hello->hello.add = whole_chunks(c->add);
	hello->hello.wall = whole_chunks(c->wall);
	if (c->pool != NULL) {
		if (strlen(c->pool) >= sizeof(hello->hello.pool))
			return -EINVAL;
		memcpy(hello->hello.pool, c->pool, strlen(c->pool));
	}
	proto_put_command(&hello->hello, program_invocation_short_name);
	return proto_check_client(hello, hello->header.size) == 0 ? 0 : -EINVAL;
}

/* --- The connection --- */

static int
make_socket(struct bud_pool *pool)
{
	struct stat st;
	int r = 0;

	bud__pools_lock();
	pool->sock =
	    bud__above_stdio(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
	if (pool->sock == -1 || fstat(pool->sock, &st) == -1)
		r = -errno;
	bud__pools_unlock();
	if (r == 0) {
		pool->sock_dev = st.st_dev;
		pool->sock_ino = st.st_ino;
	}
	return r;
}

/* connect() waits for room in budd's backlog; the send timeout bounds that. */
static int
connect_to(struct bud_pool *pool, const struct sockaddr_un *a, int64_t until_ns)
{
	struct timeval longest;
	int64_t left_us;

	do {
		if ((left_us = (until_ns - bud__now_ns()) / 1000) <= 0)
			return -ETIMEDOUT;
		longest.tv_sec = (time_t)(left_us / 1000000);
		longest.tv_usec = (suseconds_t)(left_us % 1000000);
		if (setsockopt(pool->sock, SOL_SOCKET, SO_SNDTIMEO, &longest,
			sizeof(longest)) == -1)
			return -errno;
		if (connect(pool->sock, (const struct sockaddr *)a, sizeof(*a)) == 0)
			return 0;
	} while (errno == EINTR);
	return errno == EAGAIN ? -ETIMEDOUT : -errno;
}

static int
say(struct bud_pool *pool, const union proto_msg *msg)
{
	switch (bud__send(pool, msg)) {
	case 0:
		return 0;
	case WIRE_E_AGAIN: /* the first message on a new socket: no memory */
		return -ENOMEM;
	default:
		return -ECONNREFUSED;
	}
}

/* One message, and the descriptors of a WELCOME; 0, WIRE_E_AGAIN or a negative errno. */
static int
hear(struct bud_pool *pool, union proto_msg *msg, int *fds)
{
	size_t len;
	int r;

	r = wire_recv(pool->sock, msg, sizeof(*msg), &len, fds, FDS_OF_WELCOME);
	if (r == WIRE_E_CLOSED)
		return -ECONNREFUSED;
	if (r == WIRE_E_BAD)
		return -EPROTO;
	if (r == WIRE_E_NOFDS)
		return -EMFILE;
	if (r != 0)
		return r;
	if (proto_check_budd(msg, len) != 0)
		return -EPROTO;
	if (pool->debug)
		bud__debug_message("<-", msg);
	return 0;
}

static int
wait_readable(struct bud_pool *pool, int64_t until_ns)
{
	struct pollfd p = { .fd = pool->sock, .events = POLLIN };
	int64_t ms = (until_ns - bud__now_ns() + 999999) / 1000000;

	if (ms <= 0)
		return -ETIMEDOUT;
	if (poll(&p, 1, (int)ms) == -1 && errno != EINTR)
		return -errno;
	return 0;
}

/* --- WELCOME --- */

static int
check_welcome(const struct proto_welcome *w)
{
	if (w->version != PROTO_VERSION || w->ledger_version != LEDGER_VERSION)
		return -EPROTONOSUPPORT;
	if (w->memory_size % CHUNK_SIZE != 0 ||
	    w->memory_size / CHUNK_SIZE > CHUNKS_MAX || w->max_buffer == 0)
		return -EPROTO;
	return 0;
}

static int
check_fd(int fd, uint64_t size)
{
	struct stat st;

	if (fd == -1)
		return -EPROTO;
	if (fstat(fd, &st) == -1)
		return -errno;
	return st.st_size >= 0 && (uint64_t)st.st_size == size ? 0 : -EPROTO;
}

static int
check_ledger(const struct bud_pool *pool)
{
	const struct ledger_header *h = pool->ledger.header;

	if (h->magic != LEDGER_MAGIC)
		return -EPROTO;
	if (h->version != LEDGER_VERSION)
		return -EPROTONOSUPPORT;
	return h->chunks == pool->ledger.chunks ? 0 : -EPROTO;
}

static int
move_in(struct bud_pool *pool, const struct proto_welcome *w, const int *fds)
{
	int r;

	if ((r = check_welcome(w)) != 0 ||
	    (r = check_fd(fds[0], w->memory_size)) != 0 ||
	    (r = check_fd(
		 fds[1], ledger_size((uint32_t)(w->memory_size / CHUNK_SIZE)))) != 0)
		return r;
	pool->memory_size = w->memory_size;
	pool->max_buffer =
	    w->max_buffer < w->memory_size ? w->max_buffer : w->memory_size;
	if ((r = bud__memory_map(pool, fds[0], fds[1])) != 0)
		return r;
	return check_ledger(pool);
}

/* budd has pinned a base for us, or is about to: it may have it back. */
static void
say_close(struct bud_pool *pool)
{
	union proto_msg msg;

	proto_init(&msg, PROTO_CLOSE);
	(void)bud__send(pool, &msg);
}

static int
on_welcome(struct bud_pool *pool, const union proto_msg *msg, int *fds)
{
	int r;

	r = move_in(pool, &msg->welcome, fds);
	if (r == 0) {
		pool->memory_fd = bud__above_stdio(fds[0]);
		r = pool->memory_fd == -1 ? -errno : 0;
		fds[0] = -1;
	}
	if (r == 0)
		return 0;
	say_close(pool);
	return r;
}

/* --- The dialogue --- */

/* 0 when welcomed, WIRE_E_AGAIN to go on, or a negative errno. */
static int
on_message(struct bud_pool *pool, const union proto_msg *msg, int *fds,
    const union proto_msg *hello)
{
	int r;

	if (msg->header.type == PROTO_WELCOME)
		return on_welcome(pool, msg, fds);
	if (msg->header.type == PROTO_REFUSE && msg->refuse.tag == 0)
		return -msg->refuse.error;
	if (msg->header.type != PROTO_RESTARTED)
		return -EPROTO;
	/* The one that read our HELLO is dead: say it again. */
	r = say(pool, hello);
	return r == 0 ? WIRE_E_AGAIN : r;
}

static int
step(struct bud_pool *pool, const union proto_msg *hello)
{
	int fds[FDS_OF_WELCOME], r;
	union proto_msg msg;

	bud__pools_lock();
	if ((r = hear(pool, &msg, fds)) == 0)
		r = on_message(pool, &msg, fds, hello);
	for (unsigned int i = 0; i < FDS_OF_WELCOME; i++)
		if (fds[i] != -1)
			close(fds[i]);
	bud__pools_unlock();
	return r;
}

static int
watch(int epoll, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN };

	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev) == -1 ? -errno : 0;
}

static int
make_events(struct bud_pool *pool)
{
	int r = 0;

	bud__pools_lock();
	pool->io_epoll = bud__above_stdio(epoll_create1(EPOLL_CLOEXEC));
	pool->outer_epoll = bud__above_stdio(epoll_create1(EPOLL_CLOEXEC));
	pool->event_fd = bud__above_stdio(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	pool->timer_fd = bud__above_stdio(
	    timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
	if (pool->io_epoll == -1 || pool->outer_epoll == -1 || pool->event_fd == -1 ||
	    pool->timer_fd == -1)
		r = -errno;
	bud__pools_unlock();
	if (r != 0)
		return r;
	if ((r = watch(pool->io_epoll, pool->sock)) != 0 ||
	    (r = watch(pool->outer_epoll, pool->io_epoll)) != 0 ||
	    (r = watch(pool->outer_epoll, pool->event_fd)) != 0)
		return r;
	return watch(pool->outer_epoll, pool->timer_fd);
}

static int
introduce(struct bud_pool *pool, const union proto_msg *hello, int64_t until_ns)
{
	int r = say(pool, hello);

	/* A budd that hung up at once may have said why: listen in any case. */
	if (r != 0 && r != -ECONNREFUSED)
		return r;
	/* Meanwhile budd is at work. */
	if ((r = make_events(pool)) != 0) {
		say_close(pool);
		return r;
	}
	while ((r = step(pool, hello)) == WIRE_E_AGAIN)
		if ((r = wait_readable(pool, until_ns)) != 0)
			return r;
	return r;
}

static int
open_at(struct bud_pool *pool, const struct sockaddr_un *address,
    const union proto_msg *hello)
{
	int64_t until_ns = bud__now_ns() + OPEN_NS;
	int cancel = bud__hold_cancel(), r;

	if ((r = make_socket(pool)) == 0 &&
	    (r = connect_to(pool, address, until_ns)) == 0)
		r = introduce(pool, hello, until_ns);
	bud__resume_cancel(cancel);
	if (r != 0)
		return r;
	bud__memory_populate(pool, (struct chunk_range){ 0, bud__memory_open(pool) });
	return bud__caches_create(pool);
}

int
bud_open(struct bud_pool **poolp, const struct bud_config *config)
{
	struct sockaddr_un address;
	union proto_msg hello;
	struct bud_config c;
	struct bud_pool *pool;
	int r;

	if ((r = config_read(&c, config)) != 0 ||
	    (r = address_of(c.socket, &address)) != 0 ||
	    (r = hello_of(&c, &hello)) != 0)
		return r;
	if ((pool = bud__pool_create()) == NULL)
		return -ENOMEM;
	pool->flags = c.flags;
	pool->debug = bud__debug_wanted();
	if ((r = open_at(pool, &address, &hello)) != 0) {
		bud__pool_free(pool);
		return r;
	}
	*poolp = pool;
	return 0;
}
