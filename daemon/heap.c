/* SPDX-License-Identifier: ISC */

/* A pool's memory and its ledger, as the keeper holds them. */
#include "daemon/heap.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proto/ledger.h"

#define HEAP_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/* A length that nobody can change, and under our uid a mode that keeps a client from
 * handing it on through /proc. */
static int
sealed_memfd(const char *name, size_t size, int *fdp)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

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

static int
map_private_to_us(int fd, size_t size, char **addrp)
{
	void *p =
	    mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);

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

/* mlock2() rather than mlock(): sanitizers turn the latter into nothing. */
static int
lock_pages(char *addr, size_t size)
{
	return size == 0 || mlock2(addr, size, 0) == 0 ? 0 : -errno;
}

/* The system call for the same reason: they do so to munlock(), too. */
static void
unlock_pages(char *addr, size_t size)
{
	syscall(SYS_munlock, addr, size);
}

static void
unlock_and_punch(char *addr, int fd, size_t offset, size_t size)
{
	if (size == 0)
		return;
	unlock_pages(addr + offset, size);
	fallocate(
	    fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size);
}

int
heap_init(struct heap *h, uint32_t chunks)
{
	size_t size = chunks * CHUNK_SIZE;
	int r;

	*h = HEAP_EMPTY;
	h->chunks = chunks;
	if ((r = sealed_memfd("bud-memory", size, &h->memory)) != 0 ||
	    (r = sealed_memfd("bud-ledger", ledger_size(chunks), &h->ledger)) != 0 ||
	    (r = map_private_to_us(h->memory, size, &h->memory_addr)) != 0 ||
	    (r = map_private_to_us(h->ledger, ledger_size(chunks), &h->ledger_addr)) !=
		0 ||
	    (r = lock_pages(h->ledger_addr, ledger_resident(chunks, 0))) != 0) {
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

/* The pages of the ledger's arrays that tell of chunks beyond @from, up to @to. */
static int
lock_ledger(struct heap *h, uint32_t from, uint32_t to)
{
	size_t offset, had, size;
	int r = 0;

	for (unsigned int a = 0; a < LEDGER_ARRAYS && r == 0; a++) {
		had = ledger_pages(h->chunks, a, from, &offset);
		size = ledger_pages(h->chunks, a, to, &offset) - had;
		r = lock_pages(h->ledger_addr + offset + had, size);
	}
	return r;
}

/* The generations stay, unlocked: a chunk that is opened anew must not look like the one
 * that the client populated before. A page for each 256 MiB. */
static void
unlock_ledger(struct heap *h, uint32_t from, uint32_t to)
{
	size_t offset, keep, size;

	for (unsigned int a = 0; a < LEDGER_ARRAYS; a++) {
		keep = ledger_pages(h->chunks, a, to, &offset);
		size = ledger_pages(h->chunks, a, from, &offset) - keep;
		if (a == LEDGER_GENERATION)
			unlock_pages(h->ledger_addr + offset + keep, size);
		else
			unlock_and_punch(
			    h->ledger_addr, h->ledger, offset + keep, size);
	}
}

static void
unpin_memory(struct heap *h, uint32_t from, uint32_t to)
{
	unlock_and_punch(
	    h->memory_addr, h->memory, to * CHUNK_SIZE, (from - to) * CHUNK_SIZE);
}

int
heap_pin(struct heap *h, uint32_t to)
{
	uint32_t from = h->pinned;
	int r;

	assert(from < to && to <= h->chunks);
	r = lock_pages(h->memory_addr + from * CHUNK_SIZE, (to - from) * CHUNK_SIZE);
	if (r == 0)
		r = lock_ledger(h, from, to);
	if (r != 0) {
		unlock_ledger(h, to, from);
		unpin_memory(h, to, from);
		return r;
	}
	h->pinned = to;
	return 0;
}

void
heap_unpin(struct heap *h, uint32_t to)
{
	assert(to <= h->pinned);
	unpin_memory(h, h->pinned, to);
	unlock_ledger(h, h->pinned, to);
	h->pinned = to;
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

	if ((r = map_private_to_us(
		 h->memory, h->chunks * CHUNK_SIZE, &h->memory_addr)) != 0 ||
	    (r = map_private_to_us(
		 h->ledger, ledger_size(h->chunks), &h->ledger_addr)) != 0)
		return r;
	/* Slices that were being pinned, or given back. */
	unpin_memory(h, h->chunks, pinned);
	unlock_ledger(h, h->chunks, pinned);
	if ((r = lock_pages(h->memory_addr, pinned * CHUNK_SIZE)) != 0 ||
	    (r = lock_pages(h->ledger_addr, ledger_resident(h->chunks, 0))) != 0)
		return r;
	return lock_ledger(h, 0, pinned);
}

int
heap_adopt(struct heap *h, int memory, int ledger, uint32_t chunks, uint32_t pinned)
{
	int r;

	if (chunks == 0 || chunks > CHUNKS_MAX || pinned > chunks ||
	    !has_size(memory, chunks * CHUNK_SIZE) ||
	    !has_size(ledger, ledger_size(chunks)))
		return -EPROTO;
	*h = (struct heap){ .memory = memory, .ledger = ledger, .chunks = chunks };
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
