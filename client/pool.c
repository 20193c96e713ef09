/* SPDX-License-Identifier: ISC */

/*
 * The register of the process's pools, what fork() does to them, and their end.
 *
 * fork() takes every lock there is, so that the child finds each pool whole. It keeps
 * none: its descriptors are closed at once (a child that held the socket would keep a
 * dead parent's pool alive), the mappings were never copied, and `forked` answers each
 * call. What remains is memory of the heap, which bud_close() gives back.
 */
#include "client/pool.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cache.h"
#include "client/dispatch.h"
#include "client/link.h"
#include "client/memory.h"
#include "client/request.h"
#include "proto/wire.h"

#define CLOSE_MS 1000 /* that a full socket may take to accept our CLOSE */

LIST_HEAD(pools, bud_pool);

static pthread_mutex_t pools_lock = PTHREAD_MUTEX_INITIALIZER;
static struct pools pools = LIST_HEAD_INITIALIZER(pools);
static pthread_once_t once = PTHREAD_ONCE_INIT;

void
bud__pools_lock(void)
{
	pthread_mutex_lock(&pools_lock);
}

void
bud__pools_unlock(void)
{
	pthread_mutex_unlock(&pools_lock);
}

void
bud__pools_each(void (*f)(struct bud_pool *pool, struct bud_inline_thread *arg),
    struct bud_inline_thread *arg)
{
	struct bud_pool *pool;

	bud__pools_lock();
	LIST_FOREACH (pool, &pools, entry)
		f(pool, arg);
	bud__pools_unlock();
}

struct bud_pool *
bud__pools_find(uint64_t tag, struct bud__request **requestp)
{
	struct bud__request *r, key = { .tag = tag };
	struct bud_pool *pool;

	LIST_FOREACH (pool, &pools, entry) {
		pthread_mutex_lock(&pool->lock);
		if ((r = RB_FIND(bud__tags, &pool->tags, &key)) != NULL) {
			*requestp = r;
			return pool;
		}
		pthread_mutex_unlock(&pool->lock);
	}
	return NULL;
}

int
bud__hold_cancel(void)
{
	int state;

	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	return state;
}

void
bud__resume_cancel(int state)
{
	(void)pthread_setcancelstate(state, NULL);
}

/* --- Descriptors --- */

bool
bud__owns_descriptors(const struct bud_pool *pool)
{
	struct stat st;

	if (pool->sock == -1)
		return true;
	return fstat(pool->sock, &st) == 0 && st.st_dev == pool->sock_dev &&
	       st.st_ino == pool->sock_ino;
}

int
bud__above_stdio(int fd)
{
	int above, error;

	if (fd == -1 || fd > STDERR_FILENO)
		return fd;
	above = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	error = errno;
	close(fd);
	errno = error;
	return above;
}

/* --- fork --- */

static void
close_fd(int *fdp)
{
	if (*fdp != -1)
		close(*fdp);
	*fdp = -1;
}

static void
close_all(struct bud_pool *pool)
{
	if (!bud__owns_descriptors(pool))
		return;
	close_fd(&pool->outer_epoll);
	close_fd(&pool->timer_fd);
	close_fd(&pool->event_fd);
	close_fd(&pool->io_epoll);
	close_fd(&pool->memory_fd);
	close_fd(&pool->sock);
}

static void
before_fork(void)
{
	struct bud_pool *pool;

	bud__pools_lock();
	LIST_FOREACH (pool, &pools, entry)
		pthread_mutex_lock(&pool->lock);
}

static void
in_parent(void)
{
	struct bud_pool *pool;

	LIST_FOREACH (pool, &pools, entry)
		pthread_mutex_unlock(&pool->lock);
	bud__pools_unlock();
}

static void
in_child(void)
{
	struct bud_pool *pool;

	LIST_FOREACH (pool, &pools, entry) {
		atomic_store(&pool->forked, true);
		bud__caches_forked(pool);
		close_all(pool);
		/* Not mapped here: something else may come to lie there. */
		pool->memory = NULL;
		pool->ledger.base = NULL;
	}
	in_parent();
}

static void
watch_forks(void)
{
	/* Out of memory is the one error; then the child keeps the descriptors. */
	(void)pthread_atfork(before_fork, in_parent, in_child);
}

/* --- A pool's beginning and end --- */

struct bud_pool *
bud__pool_create(void)
{
	struct bud_pool *pool = calloc(1, sizeof(*pool));

	if (pool == NULL)
		return NULL;
	pool->sock = pool->memory_fd = pool->io_epoll = -1;
	pool->event_fd = pool->timer_fd = pool->outer_epoll = -1;
	RB_INIT(&pool->tags);
	RB_INIT(&pool->deadlines);
	TAILQ_INIT(&pool->waiting);
	TAILQ_INIT(&pool->blocked);
	TAILQ_INIT(&pool->ended);
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->left, NULL);

	pthread_once(&once, watch_forks);
	bud__pools_lock();
	LIST_INSERT_HEAD(&pools, pool, entry);
	bud__pools_unlock();
	return pool;
}

void
bud__pool_free(struct bud_pool *pool)
{
	bud__pools_lock();
	LIST_REMOVE(pool, entry);
	bud__memory_unmap(pool);
	close_all(pool);
	bud__pools_unlock();

	bud__caches_free(pool);
	free(pool->notes);
	free(pool->blocks.list);
	pthread_cond_destroy(&pool->left);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

/*
 * CLOSE must arrive: without it budd keeps the memory until the process ends, since
 * closing the socket alone could also be an accident. So a full socket may hold us up.
 */
static void
say_close(struct bud_pool *pool)
{
	struct pollfd p = { .fd = pool->sock, .events = POLLOUT };
	union proto_msg msg;

	if (atomic_load(&pool->away))
		return;
	proto_init(&msg, PROTO_CLOSE);
	while (bud__send(pool, &msg) == WIRE_E_AGAIN)
		if (poll(&p, 1, CLOSE_MS) == 0)
			return;
}

/* Wakes the thread that sleeps on the socket: the pool is ending, so what is always
 * readable may lie in its epoll for good. */
static void
wake_reader(struct bud_pool *pool)
{
	struct epoll_event ev = { .events = EPOLLIN };
	const uint64_t one = 1;

	if (write(pool->event_fd, &one, sizeof(one)) == sizeof(one))
		(void)epoll_ctl(pool->io_epoll, EPOLL_CTL_ADD, pool->event_fd, &ev);
}

/* Ends what waits, and waits until all threads but this one are gone. */
static void
send_away(struct bud_pool *pool)
{
	struct bud__request *r;
	unsigned int ours = bud__dispatch_abandon(pool);

	pthread_mutex_lock(&pool->lock);
	pool->closing = true;
	while ((r = TAILQ_FIRST(&pool->waiting)) != NULL)
		bud__request_end(pool, r, -ECANCELED);
	if (pool->reading)
		wake_reader(pool);
	while (pool->inside > ours)
		pthread_cond_wait(&pool->left, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
}

/* In the child of a fork() the threads that waited are not there any more; their
 * requests are. Their conditions have waiters for ever, and are not destroyed. */
static void
close_forked(struct bud_pool *pool)
{
	struct bud__request *r, *next;

	(void)bud__dispatch_abandon(pool);
	for (r = RB_MIN(bud__tags, &pool->tags); r != NULL; r = next) {
		next = RB_NEXT(bud__tags, &pool->tags, r);
		RB_REMOVE(bud__tags, &pool->tags, r);
		free(r);
	}
	bud__pools_lock();
	LIST_REMOVE(pool, entry);
	bud__pools_unlock();
	bud__memory_unmap(pool); /* it is not, but there is what belongs to it */
	bud__caches_free(pool);
	free(pool->notes);
	free(pool->blocks.list);
	free(pool);
}

void
bud_close(struct bud_pool *pool)
{
	if (pool == NULL)
		return;
	if (atomic_load(&pool->forked)) {
		close_forked(pool);
		return;
	}
	send_away(pool);
	bud__dispatch_rest(pool);
	assert(RB_EMPTY(&pool->tags));
	say_close(pool);
	bud__pool_free(pool);
}
