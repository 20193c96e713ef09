/* SPDX-License-Identifier: ISC */

#include "preload/snapshot.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "preload/arena.h"
#include "preload/pinned.h"
#include "preload/settings.h"

#define LARGE_PAGE ((size_t)2 << 20)

/* The copy of one arena: each buffer lies at its offset, and nothing where there is
 * none. */
struct snapshot {
	char *copy;  /* NULL: no buffers; MAP_FAILED: no room */
	size_t size; /* bytes to the end of the last buffer */
};

static struct snapshot snapshots[ARENAS_MAX];
static pthread_mutex_t lock =
    PTHREAD_MUTEX_INITIALIZER; /* from before to after a fork */
static bool verbose;

static size_t
extent_of(const struct arena *a)
{
	size_t from = 0, size, end = 0;

	for (; (size = arena_next(a, &from)) > 0; from = end)
		end = from + size;
	return end;
}

/* Private memory, aligned as the pool is: then moving it moves whole page tables. Large
 * pages may hold up to 2 MiB for the least buffer; in sum no more than the pool has. */
static char *
reserve(size_t size)
{
	size_t head;
	char *p;

	p = mmap(NULL, size + LARGE_PAGE, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return p;
	head = (LARGE_PAGE - (uintptr_t)p % LARGE_PAGE) % LARGE_PAGE;
	if (head > 0)
		munmap(p, head);
	munmap(p + head + size, LARGE_PAGE - head);
	madvise(p + head, size, MADV_HUGEPAGE);
	return p + head;
}

/* Buffers that other threads take from here on are not ours to give to a child. */
static size_t
copy_buffers(const struct arena *a, const struct snapshot *s)
{
	size_t from = 0, size, bytes = 0;

	while ((size = arena_next(a, &from)) > 0 && from < s->size) {
		if (size > s->size - from)
			size = s->size - from;
		memcpy(s->copy + from, (const char *)a->start + from, size);
		bytes += size;
		from += size;
	}
	return bytes;
}

static size_t
copy_arena(const struct arena *a, struct snapshot *s)
{
	*s = (struct snapshot){ .size = a->pool != NULL ? extent_of(a) : 0 };
	if (s->size == 0)
		return 0;
	if ((s->copy = reserve(s->size)) == MAP_FAILED) {
		note("fork: no memory for a copy of %zu bytes: the child has no access "
		     "to "
		     "its large blocks. Raise ulimit -v, or vm.overcommit_memory",
		    s->size);
		return 0;
	}
	return copy_buffers(a, s);
}

static int64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void
before_fork(void)
{
	int64_t begun = now_us();
	const struct arena *a;
	size_t bytes = 0;

	pthread_mutex_lock(&lock);
	memset(snapshots, 0, sizeof(snapshots));
	for (unsigned int i = 0; (a = arena_at(i)) != NULL; i++)
		bytes += copy_arena(a, &snapshots[i]);
	if (verbose && bytes > 0)
		note("fork: %zu bytes copied in %ld us", bytes,
		    (long)(now_us() - begun));
}

static void
in_parent(void)
{
	for (unsigned int i = 0; i < ARENAS_MAX; i++)
		if (snapshots[i].copy != NULL && snapshots[i].copy != MAP_FAILED)
			munmap(snapshots[i].copy, snapshots[i].size);
	pthread_mutex_unlock(&lock);
}

/* Where the pool was, nothing is mapped. Without a copy, nothing else may come to lie
 * there: who touches it shall fault. */
static void
move_in(struct arena *a, const struct snapshot *s)
{
	void *start = (void *)a->start;

	if (s->copy == NULL) {
		arena_inherit(a, 0);
		return;
	}
	if (s->copy == MAP_FAILED || mremap(s->copy, s->size, s->size,
					 MREMAP_MAYMOVE | MREMAP_FIXED, start) != start)
		(void)mmap(start, s->size, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	arena_inherit(a, s->size);
}

static void
in_child(void)
{
	struct arena *a;

	pinned_forked();
	for (unsigned int i = 0; (a = arena_at(i)) != NULL; i++)
		if (a->pool != NULL)
			move_in(a, &snapshots[i]);
	arena_drop_empty();
	pthread_mutex_unlock(&lock);
}

void
snapshot_init(bool says)
{
	verbose = says;
	if (pthread_atfork(before_fork, in_parent, in_child) != 0)
		note("fork cannot be watched: children have no large blocks");
}

/* From before libbud takes its locks for the fork to when it has given them back, this
 * thread must not enter it, though other handlers may allocate. */
void
snapshot_pool_opened(void)
{
	static _Atomic bool done;

	if (!atomic_exchange(&done, true))
		(void)pthread_atfork(pinned_hold, pinned_resume, pinned_resume);
}

bool
snapshot_possible(void)
{
	const struct arena *a;
	bool enough = true;
	size_t size;
	char *p;

	for (unsigned int i = 0; enough && (a = arena_at(i)) != NULL; i++) {
		if (a->pool == NULL || (size = extent_of(a)) == 0)
			continue;
		p = reserve(size);
		enough = p != MAP_FAILED;
		if (enough)
			munmap(p, size);
	}
	return enough;
}
