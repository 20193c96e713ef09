/* SPDX-License-Identifier: ISC */

/* A pool's memory and its ledger, as the keeper holds them. */
#include "daemon/heap.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proto/ledger.h"

#define HEAP_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB (21u << 26)
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

/* A length that nobody can change, and under our uid a mode that keeps a client from
 * handing it on through /proc. */
static int
sealed_memfd(const char *name, unsigned int flags, size_t size, int *fdp)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);

	if (fd == -1)
		return -errno;
	if (ftruncate(fd, (off_t)size) == -1 ||
	    fcntl(fd, F_ADD_SEALS, HEAP_SEALS) == -1 || fchmod(fd, 0600) == -1) {
		int r = -errno;

		close(fd);
		return r;
	}
	*fdp = fd;
	return 0;
}

/* Without MAP_NORESERVE, hugetlb would take the whole length out of the host's reserve. */
static int
map_private_to_us(int fd, char *place, size_t size, char **addrp)
{
	void *p = mmap(place, size, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_NORESERVE | (place != NULL ? MAP_FIXED : 0), fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	/* An arbiter is a fork of the keeper, and must never hold data. */
	if (madvise(p, size, MADV_DONTFORK) == -1 ||
	    madvise(p, size, MADV_DONTDUMP) == -1) {
		int r = -errno;

		munmap(p, size);
		return r;
	}
	*addrp = p;
	return 0;
}

/* Address space of @size bytes that starts at a multiple of @align. */
static char *
aligned_place(size_t size, size_t align)
{
	char *p = mmap(NULL, size + align, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t head;

	if (p == MAP_FAILED)
		return NULL;
	head = (align - (uintptr_t)p % align) % align;
	if (head > 0)
		munmap(p, head);
	munmap(p + head + size, align - head);
	return p + head;
}

static int
map_memory(struct heap *h)
{
	size_t size = h->chunks * CHUNK_SIZE;
	size_t page = heap_kind_chunks(h->kind) * CHUNK_SIZE;
	char *place = NULL;
	int r;

	if (h->kind != HEAP_PAGE && (place = aligned_place(size, page)) == NULL)
		return -errno;
	r = map_private_to_us(h->memory, place, size, &h->memory_addr);
	if (r != 0) {
		if (place != NULL)
			munmap(place, size);
		return r;
	}
	/* A kernel that knows no large pages refuses either, and gives small ones. */
	if (h->kind != HEAP_HUGE)
		madvise(h->memory_addr, size,
		    h->kind == HEAP_THP ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	return 0;
}

static int
map_both(struct heap *h)
{
	int r = map_memory(h);

	return r != 0 ? r
		      : map_private_to_us(
			    h->ledger, NULL, ledger_size(h->chunks), &h->ledger_addr);
}

/* mlock2() rather than mlock(): sanitizers turn the latter into nothing. */
static int
lock_pages(char *addr, size_t size)
{
	return size == 0 || mlock2(addr, size, 0) == 0 ? 0 : -errno;
}

int
heap_lock_memory(const struct heap *h, size_t offset, size_t size)
{
	char *addr = h->memory_addr + offset;

	if (h->kind != HEAP_HUGE)
		return lock_pages(addr, size);
	if (madvise(addr, size, MADV_POPULATE_WRITE) == 0)
		return 0;
	return errno == EFAULT ? -ENOMEM : -errno; /* a touch would raise SIGBUS */
}

static uint64_t
faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return (uint64_t)usage.ru_minflt + (uint64_t)usage.ru_majflt;
}

/*
 * Pages of which size these are, the kernel shows to the privileged alone, or in a smaps as
 * long as the memory. But to populate a page is one fault, whatever its size, and these are
 * counted for each thread: so a slice's faults tell, for nothing. That holds for memory that
 * is new; what is in the page cache already is mapped several pages a fault.
 */
static int
pin_memory(struct heap *h, size_t offset, size_t size)
{
	uint64_t before = faults(), pages;
	int r = heap_lock_memory(h, offset, size);

	pages = faults() - before;
	h->page_shift = 0;
	if (r != 0 || pages == 0)
		return r;
	h->page_shift = FRAME_SHIFT;
	while (pages << (h->page_shift + 1) <= size &&
	       2ull << h->page_shift <= heap_kind_chunks(h->kind) * CHUNK_SIZE)
		h->page_shift++;
	return 0;
}

/* The system call for the same reason: they do so to munlock(), too. */
static void
unlock_pages(char *addr, size_t size)
{
	syscall(SYS_munlock, addr, size);
}

/* Pages that cannot be given back stay, unlocked, and hold what the client left there. */
static int
unlock_and_punch(char *addr, int fd, size_t offset, size_t size)
{
	if (size == 0)
		return 0;
	unlock_pages(addr + offset, size);
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
		   (off_t)size) == 0
		   ? 0
		   : -errno;
}

static int
lock_span(struct heap *h, struct ledger_span s)
{
	return lock_pages(h->ledger_addr + s.from, s.to - s.from);
}

int
heap_init(struct heap *h, enum heap_kind kind, uint32_t chunks)
{
	unsigned int flags = kind == HEAP_HUGE ? MFD_HUGETLB | MFD_HUGE_2MB : 0;
	int r;

	*h = HEAP_EMPTY;
	h->kind = kind;
	h->chunks = chunks;
	if ((r = sealed_memfd("bud-memory", flags, chunks * CHUNK_SIZE, &h->memory)) !=
		0 ||
	    (r = sealed_memfd("bud-ledger", 0, ledger_size(chunks), &h->ledger)) != 0 ||
	    (r = map_both(h)) != 0 || (r = lock_span(h, ledger_span(chunks, 0))) != 0) {
		heap_fini(h);
		return r;
	}
	return 0;
}

void
heap_fini(struct heap *h)
{
	if (h->memory_addr != NULL)
		munmap(h->memory_addr, h->chunks * CHUNK_SIZE);
	if (h->ledger_addr != NULL)
		munmap(h->ledger_addr, ledger_size(h->chunks));
	if (h->memory != -1)
		close(h->memory);
	if (h->ledger != -1)
		close(h->ledger);
	*h = HEAP_EMPTY;
}

/* The ledger's pages that tell of chunks beyond @from, up to @to. */
static int
lock_ledger(struct heap *h, uint32_t from, uint32_t to)
{
	int r = lock_span(h, ledger_below(h->chunks, from, to));

	return r != 0 ? r : lock_span(h, ledger_above(h->chunks, from, to));
}

/* The generations stay, unlocked: a chunk that is opened anew must not look like the one
 * that the client populated before. A page for each 64 MiB. */
static int
unlock_ledger(struct heap *h, uint32_t from, uint32_t to)
{
	struct ledger_span below = ledger_below(h->chunks, to, from),
			   above = ledger_above(h->chunks, to, from);

	unlock_pages(h->ledger_addr + below.from, below.to - below.from);
	return unlock_and_punch(
	    h->ledger_addr, h->ledger, above.from, above.to - above.from);
}

/* From @from down to @to, and what was left beyond before. */
static int
give_back(struct heap *h, uint32_t from, uint32_t to)
{
	int r, error;

	if (from < h->left)
		from = h->left;
	r = unlock_and_punch(
	    h->memory_addr, h->memory, to * CHUNK_SIZE, (from - to) * CHUNK_SIZE);
	error = unlock_ledger(h, from, to);
	r = r != 0 ? r : error;
	h->left = r != 0 ? from : 0;
	return r;
}

int
heap_pin(struct heap *h, uint32_t to)
{
	uint32_t from = h->pinned;
	int r;

	assert(from < to && to <= h->chunks);
	r = pin_memory(h, from * CHUNK_SIZE, (to - from) * CHUNK_SIZE);
	if (r == 0)
		r = lock_ledger(h, from, to);
	if (r != 0) {
		(void)give_back(h, to, from);
		return r;
	}
	h->pinned = to;
	if (h->left <= to)
		h->left = 0; /* they are the pool's again */
	return 0;
}

int
heap_unpin(struct heap *h, uint32_t to)
{
	uint32_t from = h->pinned;

	assert(to <= from);
	h->pinned = to;
	return give_back(h, from, to);
}

int
heap_give_back_rest(struct heap *h)
{
	return h->left == 0 ? 0 : give_back(h, h->pinned, h->pinned);
}

/* Whoever kept a descriptor of it, or was given one, would keep the pages, too: charged to us,
 * and seen by no wall. */
void
heap_end(struct heap *h)
{
	if (h->ledger != -1) {
		heap_unpin(h, 0);
		unlock_and_punch(h->ledger_addr, h->ledger, 0, ledger_size(h->chunks));
	}
	heap_fini(h);
}

static bool
has_size(int fd, size_t size)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_size == (off_t)size;
}

static int
take_over(struct heap *h, uint32_t pinned)
{
	int r;

	if ((r = map_both(h)) != 0)
		return r;
	/* Slices that were being pinned, or given back. */
	(void)give_back(h, h->chunks, pinned);
	if ((r = heap_lock_memory(h, 0, pinned * CHUNK_SIZE)) != 0 ||
	    (r = lock_span(h, ledger_span(h->chunks, 0))) != 0)
		return r;
	return lock_ledger(h, 0, pinned);
}

int
heap_adopt(struct heap *h, enum heap_kind kind, int memory, int ledger, uint32_t chunks,
    uint32_t pinned)
{
	int r;

	if (kind >= HEAP_KINDS || chunks == 0 || chunks > CHUNKS_MAX ||
	    pinned > chunks || chunks % heap_kind_chunks(kind) != 0 ||
	    !has_size(memory, chunks * CHUNK_SIZE) ||
	    !has_size(ledger, ledger_size(chunks)))
		return -EPROTO;
	*h = (struct heap){
		.memory = memory, .ledger = ledger, .kind = kind, .chunks = chunks
	};
	if ((r = take_over(h, pinned)) == 0) {
		h->pinned = pinned;
		return 0;
	}
	h->memory = h->ledger = -1; /* the caller's */
	heap_fini(h);
	return r;
}

uint64_t
heap_charge(uint32_t chunks, uint32_t pinned)
{
	return pinned * CHUNK_SIZE + ledger_resident(chunks, pinned);
}
