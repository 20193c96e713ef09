/* SPDX-License-Identifier: ISC */

/*
 * A fake of libbud, without budd: for testing programs that use it.
 *
 * $STUB_BUFFERS buffers (default 64) of 256 KiB each, whatever size is asked for: few of
 * them force waiting. Requests queue first in, first out. A buffer is overwritten when
 * it is freed (and poisoned under AddressSanitizer), so that whoever sends from it
 * later is found out by a checksum; a bad free aborts, and so does a bud_close() that
 * finds a buffer still out, which the real one would forgive. $STUB_BUFFER_MAX: larger
 * requests are EMSGSIZE. A socket that is named, in the configuration, must exist. One
 * thread only.
 */
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "bud.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(addr, size)   ((void)(addr), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(addr, size) ((void)(addr), (void)(size))
#endif

#define BUFFER_SIZE ((size_t)256 * 1024)
#define POISON      0xdb

struct stub_request {
	TAILQ_ENTRY(stub_request) link;
	uintptr_t tag; /* what the caller holds: valid for ever, as it points nowhere */
	size_t size;
	int64_t deadline_ms; /* -1: none */
	int error;
	void *buf;
	bud_granted_fn *granted;
	void *arg;
};
TAILQ_HEAD(stub_queue, stub_request);

struct bud_pool {
	char *memory;
	size_t *size; /* of the buffer in each place; 0: free */
	size_t count;
	size_t used_count;
	size_t buffer_max;
	int epoll, event, timer;
	uintptr_t last_tag;
	bool closing;
	struct stub_queue waiting;
	struct stub_queue ended; /* their callbacks are due */
};

/* bud_cancel() is given no pool. */
static struct bud_pool *the_pool;

static int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static size_t
number_from(const char *name, size_t otherwise)
{
	const char *text = getenv(name);

	return text != NULL ? strtoul(text, NULL, 10) : otherwise;
}

static void
watch(struct bud_pool *p, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN };

	if (fd == -1 || epoll_ctl(p->epoll, EPOLL_CTL_ADD, fd, &ev) == -1)
		abort();
}

int
bud_open(struct bud_pool **poolp, const struct bud_config *config)
{
	struct bud_pool *p;

	if (config != NULL && config->size != sizeof(*config))
		return -EINVAL;
	if (config != NULL && config->socket != NULL &&
	    access(config->socket, F_OK) == -1)
		return -ENOENT;
	if ((p = calloc(1, sizeof(*p))) == NULL)
		return -ENOMEM;
	p->count = number_from("STUB_BUFFERS", 64);
	p->buffer_max = number_from("STUB_BUFFER_MAX", BUFFER_SIZE);
	p->memory = aligned_alloc(BUFFER_SIZE, p->count * BUFFER_SIZE);
	p->size = calloc(p->count, sizeof(*p->size));
	if (p->memory == NULL || p->size == NULL)
		abort();
	memset(p->memory, POISON, p->count * BUFFER_SIZE);
	ASAN_POISON_MEMORY_REGION(p->memory, p->count * BUFFER_SIZE);
	p->epoll = epoll_create1(EPOLL_CLOEXEC);
	watch(p, p->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	watch(
	    p, p->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
	TAILQ_INIT(&p->waiting);
	TAILQ_INIT(&p->ended);
	the_pool = p;
	*poolp = p;
	return 0;
}

static void *
take(struct bud_pool *p, size_t size)
{
	size_t i;

	for (i = 0; i < p->count && p->size[i] != 0; i++)
		;
	if (i == p->count)
		return NULL;
	p->size[i] = size;
	p->used_count++;
	/* No more than was asked for: writing beyond it is then found out. */
	ASAN_UNPOISON_MEMORY_REGION(p->memory + i * BUFFER_SIZE, size);
	return p->memory + i * BUFFER_SIZE;
}

static size_t
rounded(size_t size)
{
	size_t n = 4096;

	while (n < size)
		n *= 2;
	return n;
}

static void
end_request(struct bud_pool *p, struct stub_request *r, void *buf, int error)
{
	uint64_t one = 1;

	TAILQ_REMOVE(&p->waiting, r, link);
	r->buf = buf;
	r->error = error;
	TAILQ_INSERT_TAIL(&p->ended, r, link);
	if (write(p->event, &one, sizeof(one)) != sizeof(one))
		abort();
}

/* The timer rings for the next deadline. */
static void
set_timer(struct bud_pool *p)
{
	struct itimerspec its = { .it_value = { 0, 0 } };
	const struct stub_request *r;
	int64_t next = -1;

	TAILQ_FOREACH (r, &p->waiting, link)
		if (r->deadline_ms != -1 && (next == -1 || r->deadline_ms < next))
			next = r->deadline_ms;
	if (next != -1) {
		its.it_value.tv_sec = next / 1000;
		its.it_value.tv_nsec = next % 1000 * 1000000 + 1;
	}
	timerfd_settime(p->timer, TFD_TIMER_ABSTIME, &its, NULL);
}

void *
bud_alloc(struct bud_pool *p, size_t size, int timeout_ms)
{
	void *buf;

	assert(timeout_ms == 0); /* the stub cannot wait */
	(void)timeout_ms;
	if (size == 0 || size > p->buffer_max) {
		errno = size == 0 ? EINVAL : EMSGSIZE;
		return NULL;
	}
	if (!TAILQ_EMPTY(&p->waiting) || (buf = take(p, rounded(size))) == NULL) {
		errno = EAGAIN;
		return NULL;
	}
	return buf;
}

static size_t
index_of(const struct bud_pool *p, const void *buf)
{
	uintptr_t offset = (uintptr_t)buf - (uintptr_t)p->memory;

	if (offset >= p->count * BUFFER_SIZE || offset % BUFFER_SIZE != 0 ||
	    p->size[offset / BUFFER_SIZE] == 0) {
		fprintf(stderr, "stub_bud: bad free of %p\n", buf);
		abort();
	}
	return offset / BUFFER_SIZE;
}

static void
give(struct bud_pool *p, void *buf)
{
	p->size[index_of(p, buf)] = 0;
	p->used_count--;
	ASAN_UNPOISON_MEMORY_REGION(buf, BUFFER_SIZE);
	memset(buf, POISON, BUFFER_SIZE);
	ASAN_POISON_MEMORY_REGION(buf, BUFFER_SIZE);
}

void
bud_free(struct bud_pool *p, void *buf)
{
	struct stub_request *r;

	if (buf == NULL)
		return;
	give(p, buf);
	if ((r = TAILQ_FIRST(&p->waiting)) != NULL)
		end_request(p, r, take(p, r->size), 0);
}

size_t
bud_usable_size(struct bud_pool *p, const void *buf)
{
	return p->size[index_of(p, buf)];
}

int
bud_request(struct bud_pool *p, size_t size, int timeout_ms, unsigned int flags,
    bud_granted_fn *granted, void *arg, struct bud_request **requestp)
{
	struct stub_request *r;
	void *buf;

	(void)flags;
	if (p->closing || size == 0 || granted == NULL)
		return -EINVAL;
	if (size > p->buffer_max)
		return -EMSGSIZE;
	if ((r = calloc(1, sizeof(*r))) == NULL)
		return -ENOMEM;
	r->tag = ++p->last_tag;
	r->deadline_ms = timeout_ms == -1 ? -1 : now_ms() + timeout_ms;
	r->size = rounded(size);
	r->granted = granted;
	r->arg = arg;
	TAILQ_INSERT_TAIL(&p->waiting, r, link);
	if (requestp != NULL)
		*requestp = (struct bud_request *)r->tag;
	if (r == TAILQ_FIRST(&p->waiting) && (buf = take(p, r->size)) != NULL)
		end_request(p, r, buf, 0);
	else if (timeout_ms == 0)
		end_request(p, r, NULL, -EAGAIN);
	set_timer(p);
	return 0;
}

int
bud_cancel(struct bud_request *request)
{
	struct bud_pool *p = the_pool;
	struct stub_request *r;
	void *buf;

	TAILQ_FOREACH (r, &p->waiting, link)
		if (r->tag == (uintptr_t)request) {
			end_request(p, r, NULL, -ECANCELED);
			return 0;
		}
	TAILQ_FOREACH (r, &p->ended, link)
		if (r->tag == (uintptr_t)request) {
			buf = r->buf;
			r->buf = NULL;
			r->error = -ECANCELED;
			bud_free(p, buf);
			return 0;
		}
	return -ENOENT;
}

int
bud_fd(struct bud_pool *p)
{
	return p->epoll;
}

int
bud_dispatch(struct bud_pool *p)
{
	struct stub_request *r, *next;
	uint64_t count;
	int n = 0;

	(void)!read(p->event, &count, sizeof(count));
	(void)!read(p->timer, &count, sizeof(count));
	for (r = TAILQ_FIRST(&p->waiting); r != NULL; r = next) {
		next = TAILQ_NEXT(r, link);
		if (r->deadline_ms != -1 && r->deadline_ms <= now_ms())
			end_request(p, r, NULL, -ETIMEDOUT);
	}
	while ((r = TAILQ_FIRST(&p->ended)) != NULL) {
		TAILQ_REMOVE(&p->ended, r, link);
		r->granted(r->buf, r->error, r->arg);
		free(r);
		n++;
	}
	set_timer(p);
	return n;
}

int
bud_stat(struct bud_pool *p, struct bud_stat *stat)
{
	const struct stub_request *r;

	*stat = (struct bud_stat){ .size = sizeof(*stat),
		.base = p->count * BUFFER_SIZE,
		.add = BUFFER_SIZE,
		.wall = p->count * BUFFER_SIZE,
		.pinned = p->count * BUFFER_SIZE,
		.used = p->used_count * BUFFER_SIZE,
		.blocks = 1 };
	TAILQ_FOREACH (r, &p->waiting, link)
		stat->waiting++;
	return 0;
}

void
bud_close(struct bud_pool *p)
{
	struct stub_request *r;

	if (p == NULL)
		return;
	p->closing = true;
	while ((r = TAILQ_FIRST(&p->waiting)) != NULL)
		end_request(p, r, NULL, -ECANCELED);
	bud_dispatch(p);
	if (p->used_count > 0) {
		fprintf(stderr, "stub_bud: closed with %zu buffers in use\n",
		    p->used_count);
		abort();
	}
	ASAN_UNPOISON_MEMORY_REGION(p->memory, p->count * BUFFER_SIZE);
	close(p->epoll);
	close(p->event);
	close(p->timer);
	free(p->memory);
	free(p->size);
	free(p);
	the_pool = NULL;
}
