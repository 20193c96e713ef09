/* SPDX-License-Identifier: ISC */

/* A budd that does what a test says. */
#include "tests/fakebudd.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/wire.h"

#define SOON_MS 20000

/* --- Its memory --- */

static int
memfd(const char *name, uint64_t size, void *mapp)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	void *p;

	ck_assert_int_ne(fd, -1);
	ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(p, MAP_FAILED);
	memcpy(mapp, &p, sizeof(p));
	return fd;
}

void
fake_grow(struct fakebudd *f, uint32_t n)
{
	struct ledger_header *h = f->ledger.header;

	/* Pinned first: the pages are there before a client can see them. */
	memset(f->memory + f->opened * CHUNK_SIZE, 0, n * CHUNK_SIZE);
	atomic_store(&h->open, f->opened + n);
	for (uint32_t i = 0; i < n; i++)
		ledger_open_chunk(&f->ledger, f->opened++);
	atomic_store(&h->pinned, f->opened * CHUNK_SIZE);
	atomic_fetch_add(&h->blocks, 1);
}

void
fake_queued(struct fakebudd *f, bool queued)
{
	ledger_set_queued(&f->ledger, queued);
}

bool
fake_unused(const struct fakebudd *f)
{
	return ledger_check(&f->ledger, f->opened) &&
	       ledger_count_free(&f->ledger, (struct chunk_range){ 0, f->opened }) ==
		   f->opened * CHUNK_FRAMES;
}

static void
make_ledger(struct fakebudd *f, uint32_t base, uint32_t chunks)
{
	void *p;

	f->memory_size = chunks * CHUNK_SIZE;
	f->memory_fd = memfd("fake-memory", f->memory_size, &f->memory);
	f->ledger_fd = memfd("fake-ledger", ledger_size(chunks), &p);
	ledger_attach(&f->ledger, p, chunks, f->caches);
	ledger_init(&f->ledger);
	atomic_store(&f->ledger.header->base, base * CHUNK_SIZE);
	atomic_store(&f->ledger.header->add, CHUNK_SIZE);
	atomic_store(&f->ledger.header->wall, f->memory_size);
	fake_grow(f, base);
}

static void
make_answer(struct fakebudd *f, uint32_t base)
{
	struct proto_welcome *w = &f->answer.welcome;

	proto_init(&f->answer, PROTO_WELCOME);
	f->answer_size = sizeof(*w);
	w->version = PROTO_VERSION;
	w->ledger_version = LEDGER_VERSION;
	w->pool_id = 1;
	w->base = base * CHUNK_SIZE;
	w->add = CHUNK_SIZE;
	w->wall = w->memory_size = w->max_buffer = f->memory_size;
	f->answer_fds[0] = f->memory_fd;
	f->answer_fds[1] = f->ledger_fd;
	f->answer_nfds = 2;
}

/* --- Its socket --- */

static void
make_listener(struct fakebudd *f)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	strcpy(f->dir, "/tmp/fakebudd.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/sock", f->dir);
	strcpy(a.sun_path, f->path);
	f->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	ck_assert_int_ne(f->listener, -1);
	ck_assert_int_eq(bind(f->listener, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(listen(f->listener, 8), 0);
}

static void
init(struct fakebudd *f, uint32_t base, uint32_t chunks, uint32_t caches)
{
	*f = (struct fakebudd){ .conn = -1, .caches = caches };
	make_ledger(f, base, chunks);
	make_listener(f);
	make_answer(f, base);
}

void
fake_init(struct fakebudd *f, uint32_t base, uint32_t chunks)
{
	init(f, base, chunks, 0);
}

void
fake_init_caching(struct fakebudd *f, uint32_t base, uint32_t chunks)
{
	init(f, base, chunks, LEDGER_CACHES);
}

void
fake_fini(struct fakebudd *f)
{
	fake_hang_up(f);
	close(f->listener);
	close(f->memory_fd);
	close(f->ledger_fd);
	munmap(f->memory, f->memory_size);
	munmap(f->ledger.base, ledger_size(f->ledger.chunks));
	unlink(f->path);
	rmdir(f->dir);
}

/* Check's assertions work in the test's own thread only. */
static bool
receive(struct fakebudd *f, union proto_msg *msg)
{
	struct pollfd p = { .fd = f->conn, .events = POLLIN };
	size_t len;

	return poll(&p, 1, SOON_MS) == 1 &&
	       wire_recv(f->conn, msg, sizeof(*msg), &len, NULL, 0) == 0 &&
	       proto_check_client(msg, len) == 0;
}

static void *
answer(void *arg)
{
	struct fakebudd *f = arg;
	union proto_msg restarted;

	f->conn = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
	proto_init(&restarted, PROTO_RESTARTED);
	for (unsigned int i = 0; i < f->restarts; i++) {
		receive(f, &f->hello);
		wire_send(f->conn, &restarted, restarted.header.size, NULL, 0);
	}
	if (!receive(f, &f->hello))
		return NULL;
	if (f->answer_size == 0)
		fake_hang_up(f);
	else
		wire_send(
		    f->conn, &f->answer, f->answer_size, f->answer_fds, f->answer_nfds);
	return NULL;
}

void
fake_answer(struct fakebudd *f)
{
	ck_assert_int_eq(pthread_create(&f->thread, NULL, answer, f), 0);
}

void
fake_join(struct fakebudd *f)
{
	pthread_join(f->thread, NULL);
}

int
fake_try_open(
    struct fakebudd *f, struct bud_pool **poolp, const struct bud_config *config)
{
	struct bud_config c = { .size = sizeof(c) };
	int r;

	if (config != NULL)
		c = *config;
	c.socket = f->path;
	fake_answer(f);
	r = bud_open(poolp, &c);
	fake_join(f);
	return r;
}

struct bud_pool *
fake_open(struct fakebudd *f)
{
	struct bud_pool *pool = NULL;

	ck_assert_int_eq(fake_try_open(f, &pool, NULL), 0);
	ck_assert_ptr_nonnull(pool);
	return pool;
}

/* --- What it hears --- */

void
fake_expect(struct fakebudd *f, enum proto_type type, union proto_msg *msg)
{
	union proto_msg m;

	ck_assert_msg(receive(f, &m), "no %s came", proto_name(type));
	ck_assert_str_eq(proto_name(m.header.type), proto_name(type));
	if (msg != NULL)
		*msg = m;
}

uint64_t
fake_expect_alloc(struct fakebudd *f, uint64_t size_bytes)
{
	union proto_msg m;

	fake_expect(f, PROTO_ALLOC, &m);
	ck_assert_uint_eq(m.alloc.size_bytes, size_bytes);
	return m.alloc.tag;
}

void
fake_expect_done(struct fakebudd *f, uint64_t tag, enum proto_outcome outcome)
{
	union proto_msg m;

	fake_expect(f, PROTO_DONE, &m);
	ck_assert_uint_eq(m.done.tag, tag);
	ck_assert_uint_eq(m.done.outcome, outcome);
}

void
fake_expect_cancel(struct fakebudd *f, uint64_t tag)
{
	union proto_msg m;

	fake_expect(f, PROTO_CANCEL, &m);
	ck_assert_uint_eq(m.tag.tag, tag);
}

void
fake_expect_nothing(struct fakebudd *f)
{
	union proto_msg m;
	size_t len;
	int r;

	r = wire_recv(f->conn, &m, sizeof(m), &len, NULL, 0);
	ck_assert_msg(r == WIRE_E_AGAIN, "%s came",
	    r == 0 ? proto_name(m.header.type) : "the end of the connection");
}

/* --- What it says --- */

void
fake_send(struct fakebudd *f, const union proto_msg *msg)
{
	ck_assert_int_eq(wire_send(f->conn, msg, msg->header.size, NULL, 0), 0);
}

void
fake_grant(struct fakebudd *f, uint64_t tag)
{
	union proto_msg m;

	proto_init(&m, PROTO_GRANT);
	m.tag.tag = tag;
	fake_send(f, &m);
}

void
fake_refuse(struct fakebudd *f, uint64_t tag, int error)
{
	union proto_msg m;

	proto_init(&m, PROTO_REFUSE);
	m.refuse.tag = tag;
	m.refuse.error = error;
	fake_send(f, &m);
}

void
fake_restarted(struct fakebudd *f)
{
	union proto_msg m;

	proto_init(&m, PROTO_RESTARTED);
	fake_send(f, &m);
}

void
fake_hang_up(struct fakebudd *f)
{
	if (f->conn != -1)
		close(f->conn);
	f->conn = -1;
}

/* --- Waiters --- */

static void *
wait_for_buffer(void *arg)
{
	struct waiter *w = arg;

	w->buf = bud_alloc(w->pool, w->size, w->timeout_ms);
	w->error = w->buf == NULL ? errno : 0;
	return NULL;
}

void
waiter_start(struct waiter *w, struct bud_pool *pool, size_t size, int timeout_ms)
{
	*w = (struct waiter){ .pool = pool, .size = size, .timeout_ms = timeout_ms };
	ck_assert_int_eq(pthread_create(&w->thread, NULL, wait_for_buffer, w), 0);
}

void *
waiter_join(struct waiter *w)
{
	ck_assert_int_eq(pthread_join(w->thread, NULL), 0);
	return w->buf;
}
