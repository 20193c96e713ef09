/* SPDX-License-Identifier: ISC */

/* An arbiter that was taken over. It sleeps in poll(): its filter allows no other. */
#include "tests/usurper.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/arbiter.h"
#include "daemon/channel.h"
#include "daemon/heap_kind.h"
#include "daemon/log.h"
#include "daemon/privileges.h"
#include "daemon/record.h"
#include "daemon/sandbox.h"
#include "proto/wire.h"

#define KNOWN_MAX 4096u

struct known {
	struct channel_msg session; /* pinned and chunks as the keeper told last */
	int sock;
	bool is_prey;
	bool ended;
};

static struct usurper *shared;
static int channel;
static struct known known[KNOWN_MAX];
static uint32_t count;
static bool ready;

/* --- The channel --- */

static void
wait_for_the_end(void)
{
	for (;;)
		poll(NULL, 0, 1000);
}

static struct known *
find(uint32_t id)
{
	for (uint32_t i = 0; i < count; i++)
		if (known[i].session.id == id)
			return &known[i];
	return NULL;
}

static void
meet(const struct channel_msg *msg, int sock)
{
	struct known *k = &known[count];

	if (count == KNOWN_MAX)
		return;
	k->session = *msg;
	k->sock = sock;
	k->is_prey = msg->chunks == 0 || strcmp(msg->name, USURPER_PREY) == 0;
	atomic_store(&shared->known, ++count);
}

static void
note(const struct channel_msg *msg)
{
	struct known *k = find(msg->id);

	atomic_fetch_add(&shared->answers, 1);
	atomic_fetch_add(&shared->refused, msg->error != 0);
	if (k == NULL)
		return;
	k->session.pinned = msg->pinned;
}

/* Whatever there is to be read; false: the keeper has hung up. */
static bool
hear(void)
{
	struct channel_msg msg;
	int fds[CHANNEL_FDS_MAX], r;
	size_t len;

	while ((r = wire_recv(
		    channel, &msg, sizeof(msg), &len, fds, CHANNEL_FDS_MAX)) == 0) {
		if (msg.type == CHANNEL_SESSION) {
			meet(&msg, fds[0]);
			fds[0] = -1;
		} else if (msg.type == CHANNEL_READY) {
			ready = true;
		} else {
			note(&msg);
		}
		for (unsigned int i = 0; i < CHANNEL_FDS_MAX; i++)
			if (fds[i] != -1)
				close(fds[i]);
	}
	return r == WIRE_E_AGAIN;
}

static void
await(short events)
{
	struct pollfd p = { .fd = channel, .events = events };

	poll(&p, 1, 1000);
}

static void
send_record(const void *bytes, size_t size, int fd, bool listens)
{
	int r;

	while ((r = wire_send(channel, bytes, size, &fd, fd != -1)) == WIRE_E_AGAIN) {
		if (listens && !hear())
			break;
		if (atomic_load(&shared->enough))
			return;
		await(listens ? POLLIN | POLLOUT : POLLOUT);
	}
	if (r == 0)
		atomic_fetch_add(&shared->said, 1);
	if (r == WIRE_E_CLOSED || (listens && !hear())) {
		wait_for_the_end();
	}
}

static void
say(const struct channel_msg *msg)
{
	send_record(msg, sizeof(*msg), -1, true);
}

/* Until the keeper has answered all that it was asked: as many answers as there were when it
 * answers one more. */
static void
settle(const struct known *k)
{
	uint64_t before = atomic_load(&shared->answers);
	struct channel_msg look = {
		.type = CHANNEL_AUDIT, .id = k->session.id, .slot = k->session.slot
	};

	say(&look);
	while (hear() && atomic_load(&shared->answers) <= before)
		await(POLLIN);
}

static struct channel_msg
about(const struct known *k, enum channel_type type)
{
	return (struct channel_msg){
		.type = type, .id = k->session.id, .slot = k->session.slot
	};
}

static const enum channel_type requests[] = { CHANNEL_CREATE, CHANNEL_PIN,
	CHANNEL_UNPIN, CHANNEL_AUDIT, CHANNEL_WELCOME, CHANNEL_UNTAKEN, CHANNEL_END };
#define REQUESTS (sizeof(requests) / sizeof(requests[0]))

/* --- What makes no sense --- */

static void
wrong_lengths(void)
{
	static char record[1 << 16];

	for (uint32_t i = 0; i < count; i++) {
		struct channel_msg end = about(&known[i], CHANNEL_END);

		memcpy(record, &end, sizeof(end));
		send_record(record, shared->arg, -1, true);
	}
}

static void
wrong_types(void)
{
	for (uint32_t i = 0; i < count; i++) {
		struct channel_msg msg = about(&known[i], CHANNEL_END);

		msg.type = shared->arg;
		say(&msg);
	}
}

static void
wrong_slots(void)
{
	for (uint32_t i = 0; i < count; i++) {
		struct channel_msg end = about(&known[i], CHANNEL_END);

		end.slot = shared->arg;
		say(&end);
	}
}

static void
descriptors(void)
{
	for (uint32_t i = 0; i < count; i++) {
		struct channel_msg end = about(&known[i], CHANNEL_END);

		send_record(&end, sizeof(end), known[i].sock, true);
	}
}

/* --- What does --- */

/* All requests about nobody: the keeper has no answer to any. */
static void
ask_of(uint32_t id, uint32_t slot)
{
	for (size_t i = 0; i < REQUESTS; i++) {
		struct channel_msg msg = { .type = requests[i],
			.id = id,
			.slot = slot,
			.to = 1,
			.chunks = 4 };

		say(&msg);
	}
}

static void
ghosts(void)
{
	struct known *last = NULL;

	for (uint32_t i = 0; i < count; i++) {
		const struct channel_msg *s = &known[i].session;

		ask_of(s->id + 1000, s->slot);
		ask_of(0, s->slot);
		ask_of(UINT32_MAX, s->slot);
		ask_of(s->id, s->slot + 5000);
		if (!known[i].is_prey)
			continue;
		if (last != NULL) {
			struct channel_msg end = about(last, CHANNEL_END);

			say(&end);
			say(&end);
			ask_of(last->session.id, last->session.slot);
		}
		last = &known[i];
	}
	settle(last); /* the one answer that there is to be */
}

static const uint32_t edges[] = { 0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 32, 33, 0x3fff,
	0x4000, 0xffffff, 0x1000000, 0x1000001, 0x7fffffff, 0x80000000, 0xfffffffc,
	0xffffffff };
#define EDGES (sizeof(edges) / sizeof(edges[0]))

static void
edges_of(const struct known *k, enum channel_type type)
{
	struct channel_msg msg = about(k, type);

	for (size_t i = 0; i < EDGES; i++) {
		for (size_t j = 0; j < EDGES; j++) {
			msg.from = msg.chunks = edges[i];
			msg.to = msg.heap = edges[j];
			say(&msg);
		}
		msg.from = k->session.pinned; /* as it is now, and then too far */
		msg.to = edges[i];
		say(&msg);
	}
}

static void
numbers(void)
{
	for (uint32_t i = 0; i < count; i++)
		for (size_t t = 0; known[i].is_prey && t < REQUESTS - 3; t++)
			edges_of(&known[i], requests[t]);
	settle(&known[0]);
}

static uint32_t
anything(void)
{
	uint32_t r = (uint32_t)random();

	switch (r >> 8 & 7) {
	case 0:
		return edges[(r >> 16) % EDGES];
	case 1:
		return (uint32_t)random() << 1 ^ r;
	default:
		return (r >> 16) % 10;
	}
}

/* About its prey, or about nobody. */
static void
say_anything(void)
{
	struct channel_msg msg;
	const struct known *k = &known[(uint32_t)random() % count];
	unsigned char *bytes = (unsigned char *)&msg;

	for (size_t i = 0; i < sizeof(msg); i++)
		bytes[i] = (unsigned char)random();
	msg.type = requests[(uint32_t)random() % REQUESTS];
	if ((msg.type == CHANNEL_END || msg.type == CHANNEL_UNTAKEN) &&
	    random() % 50 != 0)
		msg.type = CHANNEL_PIN;
	msg.id = k->session.id + (k->is_prey ? 0 : 1 + (uint32_t)random() % 1000000);
	msg.slot = k->session.slot;
	msg.from = random() % 2 == 0 ? k->session.pinned : anything();
	msg.to = random() % 2 == 0 ? msg.from + (uint32_t)random() % 6 : anything();
	if (msg.type == CHANNEL_UNPIN && random() % 2 == 0) {
		msg.to = k->session.pinned;
		msg.from = msg.to - (uint32_t)random() % 6;
	}
	msg.chunks = anything();
	msg.heap = (uint32_t)random() % 4;
	say(&msg);
}

static void
random_messages(void)
{
	srandom(shared->seed);
	for (uint32_t i = 0; i < shared->arg; i++)
		say_anything();
}

static void
pin_all(struct known *k)
{
	struct channel_msg pin = about(k, CHANNEL_PIN);
	uint64_t refused = atomic_load(&shared->refused);

	while (atomic_load(&shared->refused) == refused) {
		pin.from = k->session.pinned;
		pin.to = pin.from + heap_kind_slice(HEAP_PAGE);
		say(&pin);
		settle(k);
	}
}

static void
greed(void)
{
	for (uint32_t i = 0; i < count; i++) {
		struct channel_msg create = about(&known[i], CHANNEL_CREATE);

		if (!known[i].is_prey)
			continue;
		create.chunks = shared->arg;
		if (known[i].session.chunks == 0)
			say(&create);
		pin_all(&known[i]);
	}
}

static void
flood(bool listens)
{
	for (uint32_t i = 0; !atomic_load(&shared->enough); i++) {
		const struct known *k = &known[i % count];
		struct channel_msg msg = about(k, CHANNEL_AUDIT);

		msg.to = k->session.pinned < 4 ? k->session.pinned : 4;
		send_record(&msg, sizeof(msg), -1, listens);
	}
}

/* With the flags of a socket that blocks, which all who have it share. */
static void
stuff(struct known *k)
{
	static const char junk[1024];

	while (send(k->sock, junk, sizeof(junk), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		;
	fcntl(k->sock, F_SETFL, fcntl(k->sock, F_GETFL) & ~O_NONBLOCK);
}

static void
stuffed(void)
{
	for (uint32_t i = 0; i < count; i++) {
		struct channel_msg msg = about(&known[i], CHANNEL_CREATE);

		if (!known[i].is_prey)
			continue;
		stuff(&known[i]);
		msg.chunks = shared->arg;
		if (known[i].session.chunks == 0)
			say(&msg);
		msg.type = CHANNEL_WELCOME;
		for (int n = 0; n < 100; n++)
			say(&msg);
		settle(&known[i]);
	}
}

static void
scribble(const struct arbiter_spec *spec)
{
	size_t size = RECORDS_SIZE(spec->slots);
	char *records =
	    mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, spec->records, 0);

	if (records == MAP_FAILED)
		_exit(1);
	srandom(shared->seed);
	for (uint32_t n = 0; n < shared->arg; n++) {
		const struct known *k = &known[(uint32_t)random() % count];
		size_t at = (uint32_t)random() % sizeof(struct record);

		if (k->is_prey)
			records[k->session.slot * RECORD_STRIDE + at] = (char)random();
		records[size - 4096 + (uint32_t)random() % 256] = (char)random();
	}
}

static void
ruin(void)
{
	for (uint32_t i = 0; i < count; i++) {
		struct known *k = &known[i];
		struct channel_msg msg = about(k, CHANNEL_UNPIN);

		while (k->session.pinned > 0) {
			msg.to = k->session.pinned;
			msg.from = msg.to - 1;
			say(&msg);
			settle(k);
		}
		msg.type = CHANNEL_END;
		say(&msg);
	}
}

/* --- Life --- */

static void
attack(enum usurpation what, const struct arbiter_spec *spec)
{
	switch (what) {
	case USURP_NONE:
		return;
	case USURP_LENGTH:
		wrong_lengths();
		return;
	case USURP_TYPE:
		wrong_types();
		return;
	case USURP_SLOT:
		wrong_slots();
		return;
	case USURP_DESCRIPTOR:
		descriptors();
		return;
	case USURP_GHOSTS:
		ghosts();
		return;
	case USURP_NUMBERS:
		numbers();
		return;
	case USURP_RANDOM:
		random_messages();
		return;
	case USURP_GREED:
		greed();
		return;
	case USURP_FLOOD:
	case USURP_DEAF:
		flood(what == USURP_FLOOD);
		return;
	case USURP_STUFFED:
		stuffed();
		return;
	case USURP_SCRIBBLE:
		scribble(spec);
		return;
	case USURP_HANG_UP:
		shutdown(channel, SHUT_RDWR);
		return;
	case USURP_RUIN:
		ruin();
		return;
	}
}

int __real_arbiter_main(const struct arbiter_spec *spec);
int __wrap_arbiter_main(const struct arbiter_spec *spec);

int
__wrap_arbiter_main(const struct arbiter_spec *spec)
{
	enum usurpation what = (enum usurpation)atomic_load(&shared->what);

	if (what == USURP_NONE)
		return __real_arbiter_main(spec);
	if (privileges_of_arbiter() != 0 ||
	    sandbox_enter(SANDBOX_ARBITER, log_is_syslog()) != 0)
		return 1;
	channel = spec->channel;
	while (hear() && !ready)
		await(POLLIN);
	atomic_store(&shared->what, USURP_NONE);
	atomic_store(&shared->pid, getpid());
	attack(what, spec);
	atomic_store(&shared->done, true);
	wait_for_the_end();
	return 0;
}

__attribute__((constructor)) static void
share(void)
{
	const char *path = getenv(USURPER_ENV);
	int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;

	if (fd == -1)
		errx(126, "nobody says what this budd is to do");
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (shared == MAP_FAILED)
		err(126, "%s", path);
	close(fd);
}
