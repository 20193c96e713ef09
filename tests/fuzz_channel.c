/* SPDX-License-Identifier: ISC */

/*
 * The channel as the keeper reads it: the keeper's vault, with real memory, and an arbiter
 * that may say anything in any order, about sessions that are, were and never were; with
 * clients that come and hang up, and arbiters that are replaced. Whatever it says, the wall
 * of the host holds, the vault's books are right, and one session, of which the arbiter never
 * speaks as it should, keeps its memory and its bytes. At the end of each input all else is
 * gone: memory, descriptors and locks.
 *
 * The input is a program: bytes are steps and what they need. libFuzzer: tests/fuzz.sh;
 * without it: fuzz_main.c.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/arbiter.h"
#include "daemon/store.h"
#include "daemon/vault.h"
#include "proto/wire.h"

#define CLIENTS   6u  /* that come, in one input */
#define SLOTS     32u /* that can have been used */
#define HOST_WALL (5 * UINT64_C(1) << 20)
#define LOOK_EACH 64u /* inputs, for what the kernel says is locked */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct party {
	uint32_t id;
	uint32_t slot;
	int sock; /* the client's end; -1: it has hung up */
};

struct program {
	const uint8_t *at;
	size_t left;
};

static struct vault vault;
static struct party innocent;
static unsigned char *kept; /* a frame of its memory */
static struct party clients[CLIENTS];
static uint32_t count;
static uint64_t locked_kib;

/* In the arbiter's stead. */
struct instant
clock_now(void)
{
	return (struct instant){ NS_PER_S };
}

#define must(holds) must_((holds), __LINE__)
static void
must_(bool holds, int line)
{
	if (holds)
		return;
	fprintf(stderr, "fuzz_channel.c:%d does not hold\n", line);
	abort();
}

static uint32_t
next(struct program *in, unsigned int bytes)
{
	uint32_t value = 0;

	for (; bytes > 0 && in->left > 0; bytes--, in->left--)
		value = value << 8 | *in->at++;
	return value;
}

/* --- What must hold --- */

static void
check_books(void)
{
	uint64_t sum = 0;
	uint32_t sessions = 0, ending = 0;

	for (uint32_t i = 0; i < SLOTS; i++) {
		const struct slot *s = &vault.table->slot[i];
		const struct holding *h = &vault.holdings[i];
		uint32_t state = atomic_load(&s->state);
		bool has_pool =
		    state == SLOT_POOL || state == SLOT_OPEN || state == SLOT_ENDING;

		sessions += state != SLOT_FREE;
		ending += state == SLOT_ENDING;
		must((h->heap.memory_addr != NULL) == has_pool);
		must((state == SLOT_FREE || state == SLOT_ENDING) == (h->sock == -1));
		if (!has_pool)
			continue;
		must(s->pinned == h->heap.pinned && s->pinned <= s->chunks);
		must(s->chunks == h->heap.chunks && s->heap == h->heap.kind);
		sum += heap_charge(s->chunks, s->pinned);
	}
	must(sessions == vault.sessions && ending == vault.ending);
	must(sum == vault.locked && sum <= HOST_WALL);
}

static void
check_mail(const struct channel_msg *m, const struct channel_mail *mail)
{
	must(mail->msg.id == m->id && mail->msg.slot == m->slot);
	must(mail->nfds <= CHANNEL_FDS_MAX && mail->msg.error >= 0);
	must(mail->nfds == (mail->msg.type == CHANNEL_CREATED && mail->msg.error == 0));
	for (unsigned int i = 0; i < mail->nfds; i++)
		must(fcntl(mail->fds[i], F_GETFD) != -1);
}

static void
check_innocent(void)
{
	const struct slot *s = &vault.table->slot[innocent.slot];

	must(s->id == innocent.id && atomic_load(&s->state) == SLOT_OPEN);
	must(s->pinned == 1 && kept[0] == 0xa5 && kept[FRAME_SIZE - 1] == 0x5a);
}

static uint64_t
locked_now_kib(void)
{
	unsigned long long kib = 0;
	char line[256];
	FILE *f = fopen("/proc/self/status", "re");

	must(f != NULL);
	while (fgets(line, sizeof(line), f) != NULL)
		sscanf(line, "VmLck: %llu", &kib);
	fclose(f);
	return kib;
}

static int
lowest_fd(void)
{
	int fd = dup(STDERR_FILENO);

	close(fd);
	return fd;
}

/* --- The arbiter --- */

/* About the innocent it says nothing that would be right. */
static void
say(struct channel_msg *m)
{
	struct channel_mail mail;

	if (m->slot == innocent.slot && m->id == innocent.id)
		m->id++;
	if (vault_obey(&vault, m, &mail) == VAULT_ANSWER)
		check_mail(m, &mail);
	check_books();
}

static void
hand_over(void)
{
	struct channel_mail mail;
	uint32_t slot = 0, n = 0;

	while (vault_next(&vault, &slot, &mail)) {
		must(mail.msg.type == CHANNEL_SESSION && mail.nfds >= 2);
		must((mail.nfds == 3) == (mail.msg.chunks != 0));
		n++;
	}
	must(n == vault.sessions - vault.ending);
}

/* What an arbiter could not take comes again, once each time. */
static void
offer_again(void)
{
	struct channel_mail mail;
	uint32_t slot = 0;

	while (vault_untaken_next(&vault, &slot, &mail))
		must(mail.msg.type == CHANNEL_SESSION && mail.nfds == 3);
	slot = 0;
	must(!vault_untaken_next(&vault, &slot, &mail));
}

/* --- Clients --- */

static struct party
admit(void)
{
	struct party p;
	struct channel_mail mail;
	int pair[2], small = 1;

	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	must(vault_admit(&vault, pair[0], &mail) == 0);
	p = (struct party){ mail.msg.id, mail.msg.slot, pair[1] };
	must(p.slot < SLOTS);
	return p;
}

static void
come(void)
{
	if (count < CLIENTS)
		clients[count++] = admit();
	check_books();
}

static void
hang_up(struct party *p)
{
	if (p->sock != -1)
		close(p->sock);
	p->sock = -1;
}

/* So that it cannot be sent a WELCOME. */
static void
stuff(const struct party *p)
{
	int sock = vault.holdings[p->slot].sock;

	if (vault.table->slot[p->slot].id == p->id && sock != -1)
		while (wire_send(sock, p, sizeof(*p), NULL, 0) == 0)
			;
}

/* --- Steps --- */

static const enum channel_type requests[] = { CHANNEL_CREATE, CHANNEL_PIN,
	CHANNEL_UNPIN, CHANNEL_AUDIT, CHANNEL_WELCOME, CHANNEL_END, CHANNEL_PIN,
	CHANNEL_UNTAKEN };

static const uint32_t edges[] = { 0x7f, 0x80, 0x3fff, 0x4000, CHUNKS_MAX - 8,
	CHUNKS_MAX - 1, CHUNKS_MAX, CHUNKS_MAX + 1, 0x7fffffff, 0x80000000, 0xfffffff8,
	0xffffffff };

/* Small, about what is pinned, at an edge, or anything. */
static uint32_t
number(struct program *in, uint32_t pinned)
{
	uint32_t how = next(in, 1);

	if (how < 0x40)
		return how;
	if (how < 0x80)
		return pinned + how - 0x50;
	if (how < 0xc0)
		return edges[how % (sizeof(edges) / sizeof(edges[0]))];
	return next(in, 4);
}

/* One that came, and may be gone; or nobody. */
static void
aim(struct channel_msg *m, struct program *in, uint32_t *pinnedp)
{
	uint32_t who = next(in, 1);
	const struct party *p = &clients[who % count];

	m->id = p->id;
	m->slot = p->slot;
	*pinnedp = vault.table->slot[p->slot].pinned;
	if (who >= 0xf0)
		m->id = next(in, 4);
	else if (who >= 0xe0)
		m->slot = number(in, 0);
	else if (who >= 0xd8)
		m->slot = innocent.slot;
}

static void
ask(struct program *in)
{
	uint32_t how = next(in, 1), pinned;
	struct channel_msg m = { .type = requests[how % 8] };

	aim(&m, in, &pinned);
	m.from = number(in, pinned);
	m.to = number(in, pinned);
	if (m.type == CHANNEL_CREATE) {
		m.chunks = m.from;
		m.heap = how / 8 % 4;
		memset(m.name, (int)m.to, sizeof(m.name));
	}
	say(&m);
}

static void
say_bytes(struct program *in)
{
	struct channel_msg m = { .type = 0 };
	size_t n = in->left < sizeof(m) ? in->left : sizeof(m);

	memcpy(&m, in->at, n);
	in->at += n;
	in->left -= n;
	say(&m);
}

static void
step(struct program *in)
{
	uint32_t what = next(in, 1);

	switch (what & 15) {
	case 9:
		say(&(struct channel_msg){ .type = number(in, 0),
		    .id = clients[0].id,
		    .slot = clients[0].slot });
		return;
	case 10:
		say_bytes(in);
		return;
	case 11:
		vault_end_slice(&vault);
		offer_again();
		return;
	case 12:
		vault_forget_unwelcomed(&vault);
		hand_over();
		return;
	case 13:
		come();
		return;
	case 14:
		hang_up(&clients[(what >> 4) % count]);
		return;
	case 15:
		stuff(&clients[(what >> 4) % count]);
		return;
	default:
		ask(in);
		return;
	}
}

/* --- Life --- */

static void
begin_once(void)
{
	static struct store store;
	struct channel_mail mail;
	int fds[2];
	char bytes[sizeof(union proto_msg)];
	size_t len;

	if (vault.table != NULL)
		return;
	must(vault_init(&vault, &store, HOST_WALL) == 0);
	vault.longest = CHUNKS_MAX * CHUNK_SIZE;
	innocent = admit();
	for (unsigned int i = 0; i < 5; i++) {
		static const enum channel_type types[] = { CHANNEL_CREATE, CHANNEL_PIN,
			CHANNEL_WELCOME, CHANNEL_AUDIT, CHANNEL_AUDIT };
		struct channel_msg m = { .type = types[i],
			.id = innocent.id,
			.slot = innocent.slot,
			.to = 1,
			.chunks = 4 };

		(void)vault_obey(&vault, &m, &mail);
	}
	must(wire_recv(innocent.sock, bytes, sizeof(bytes), &len, fds, 2) == 0);
	kept = mmap(NULL, FRAME_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
	must(kept != MAP_FAILED);
	close(fds[0]);
	close(fds[1]);
	kept[0] = 0xa5;
	kept[FRAME_SIZE - 1] = 0x5a;
	locked_kib = locked_now_kib();
}

static void
end_all(void)
{
	struct channel_mail mail;

	for (uint32_t i = 0; i < count; i++) {
		struct channel_msg m = { .type = CHANNEL_END,
			.id = clients[i].id,
			.slot = clients[i].slot };

		(void)vault_obey(&vault, &m, &mail);
		hang_up(&clients[i]);
	}
	while (vault.ending > 0)
		vault_end_slice(&vault);
	count = 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned int inputs;
	struct program in = { data, size };
	int next_fd;

	begin_once();
	next_fd = lowest_fd();
	come();
	while (in.left > 0) {
		step(&in);
		check_books();
	}
	end_all();
	check_books();
	check_innocent();
	must(vault.sessions == 1 && vault.locked == heap_charge(4, 1));
	must(lowest_fd() == next_fd);
	if (inputs++ % LOOK_EACH == 0)
		must(locked_now_kib() == locked_kib);
	return 0;
}
