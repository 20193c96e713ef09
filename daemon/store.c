/* SPDX-License-Identifier: ISC */

/* The store. */
#include "daemon/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct store_name
store_name_of(uint32_t slot)
{
	struct store_name name;

	snprintf(name.s, sizeof(name.s), "%x", slot & 0xffff);
	return name;
}

int32_t
store_slot_of(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || strspn(name, "0123456789abcdef") != len)
		return -1;
	return (int32_t)strtol(name, NULL, 16);
}

static unsigned int
room_of_manager(void)
{
	const char *text = getenv("FDSTORE");
	unsigned long room = text != NULL ? strtoul(text, NULL, 10) : 0;

	return room > 0 && room < STORE_ROOM_MAX ? (unsigned int)room : STORE_ROOM_MAX;
}

static bool
is_listener(const char *name)
{
	return strcmp(name, STORE_CLIENTS) == 0 || strcmp(name, STORE_STATUS) == 0;
}

int
store_init(struct store *st)
{
	int n;

	*st =
	    (struct store){ .present = systemd_is_there(), .room = room_of_manager() };
	if ((n = systemd_receive(&st->received)) < 0)
		return n;
	st->received_count = (unsigned int)n;
	for (unsigned int i = 0; i < st->received_count; i++)
		st->count += !is_listener(st->received[i].name);
	return 0;
}

void
store_fini(struct store *st)
{
	for (unsigned int i = 0; i < st->received_count; i++)
		if (st->received[i].fd != -1)
			close(st->received[i].fd);
	free(st->received);
	st->received = NULL;
	st->received_count = 0;
}

int
store_take(struct store *st, const char *name)
{
	for (unsigned int i = 0; i < st->received_count; i++) {
		int fd = st->received[i].fd;

		if (fd == -1 || strcmp(st->received[i].name, name) != 0)
			continue;
		st->received[i].fd = -1;
		return fd;
	}
	return -1;
}

int
store_keep(struct store *st, const char *name, const int *fds, unsigned int n)
{
	int r;

	if (!st->present)
		return STORE_E_ABSENT;
	if (st->count > st->room || n > st->room - st->count)
		return STORE_E_FULL;
	if ((r = systemd_store(name, fds, n)) == 0)
		st->count += n;
	return r;
}

void
store_drop(struct store *st, const char *name, unsigned int n)
{
	if (!st->present)
		return;
	systemd_unstore(name);
	st->count -= n < st->count ? n : st->count;
}
