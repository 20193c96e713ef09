/* SPDX-License-Identifier: ISC */

/* What is locked, and what adds up. */
#include "tests/witness.h"

#include <check.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/daemon.h"

#define PAGE        4096u
#define PAGES_MAX   1024u
#define PFN_MASK    ((UINT64_C(1) << 55) - 1)
#define KPF_MLOCKED 33

static void *
look(void *arg)
{
	struct witness *w = arg;
	uint64_t locked;

	for (; !atomic_load(&w->end); w->looks++) {
		locked = daemon_locked(w->daemon);
		if (locked < w->least)
			w->dipped_to = locked;
		nap();
	}
	return NULL;
}

void
witness_note(struct witness *w, const struct daemon *d)
{
	*w = (struct witness){ .daemon = d, .least = daemon_locked(d) };
	ck_assert_uint_gt(w->least, 0);
}

void
witness_start(struct witness *w)
{
	ck_assert_int_eq(pthread_create(&w->thread, NULL, look, w), 0);
}

uint64_t
witness_stop(struct witness *w)
{
	atomic_store(&w->end, true);
	ck_assert_int_eq(pthread_join(w->thread, NULL), 0);
	ck_assert_uint_gt(w->looks, 0);
	ck_assert_uint_eq(w->dipped_to, 0);
	return w->looks;
}

static uint64_t
figure(const cJSON *o, const char *key)
{
	return (uint64_t)cJSON_GetNumberValue(cJSON_GetObjectItem(o, key));
}

bool
figures_add_up(const struct daemon *d)
{
	cJSON *status = daemon_status(d);
	const cJSON *host = cJSON_GetObjectItem(status, "host"), *p;
	uint64_t pinned = figure(host, "pinned"), sum = figure(host, "ledgers");
	bool steady = true;

	cJSON_ArrayForEach (p, cJSON_GetObjectItem(status, "pools")) {
		const cJSON *phase = cJSON_GetObjectItem(p, "phase");

		sum += figure(p, "pinned");
		steady &=
		    cJSON_IsString(phase) && strcmp(phase->valuestring, "steady") == 0;
	}
	cJSON_Delete(status);
	return steady && pinned == sum && pinned == daemon_locked(d);
}

static bool
is_locked(int pagemap, int flags, uintptr_t page)
{
	uint64_t entry, word;

	return pread(pagemap, &entry, 8, (off_t)(page / PAGE * 8)) == 8 &&
	       pread(flags, &word, 8, (off_t)((entry & PFN_MASK) * 8)) == 8 &&
	       (word >> KPF_MLOCKED & 1) != 0;
}

bool
pages_are_locked(const void *buf, size_t size, bool *seen)
{
	static unsigned char there[PAGES_MAX];
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	int flags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	bool all = size <= PAGES_MAX * PAGE &&
		   mincore((void *)(uintptr_t)buf, size, there) == 0;

	*seen = pagemap != -1 && flags != -1 && geteuid() == 0;
	for (size_t i = 0; all && i < size / PAGE; i++)
		all = (there[i] & 1) != 0 &&
		      (!*seen || is_locked(pagemap, flags, (uintptr_t)buf + i * PAGE));
	if (pagemap != -1)
		close(pagemap);
	if (flags != -1)
		close(flags);
	return all;
}
