/* SPDX-License-Identifier: ISC */

/*
 * The keeper.
 *
 * One loop over three descriptors: signals, new connections, the arbiter. Everything is a
 * record of the channel, carried out at once, in order; each is bounded (a slice of memory
 * at most), so that nobody waits for another's gigabyte.
 *
 * An arbiter that dies is replaced, and the new one is handed what there is, a message a
 * turn of the loop. A message that the arbiter does not take at once waits in `unsent`;
 * until it is gone the keeper accepts and answers nothing, so one place is enough.
 */
#include "daemon/keeper.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/arbiter.h"
#include "daemon/channel.h"
#include "daemon/config.h"
#include "daemon/core.h"
#include "daemon/heap.h"
#include "daemon/log.h"
#include "daemon/record.h"
#include "daemon/table.h"
#include "proto/wire.h"

#define CHANNEL_FDS      3u  /* socket, pidfd, ledger */
#define RESTART_PAUSE_MS 100 /* after an arbiter that did not live that long */

/* What belongs to a slot and cannot lie in shared memory. */
struct holding {
	int sock;
	int pidfd;
	struct heap heap;
};

struct unsent {
	struct channel_msg msg;
	int fds[CHANNEL_FDS];
	unsigned int nfds;
	bool full;
};

struct keeper {
	struct keeper_spec spec;
	struct table *table;
	int table_fd;
	int records; /* memfd */
	struct holding *holdings;
	uint32_t sessions;
	uint64_t host_wall;
	uint64_t locked; /* bytes, all pools and ledgers */
	int signals;
	int channel; /* -1: no arbiter */
	pid_t arbiter;
	uint32_t restarts;
	struct instant started;
	struct instant arbiter_started;
	uint32_t handed_over; /* slots; beyond the last one: READY was said too */
	struct unsent unsent;
	bool stop;
};

/* --- To the arbiter --- */

static void
flush_unsent(struct keeper *k)
{
	struct unsent *u = &k->unsent;
	int r;

	if (!u->full || k->channel == -1)
		return;
	r = wire_send(k->channel, &u->msg, sizeof(u->msg), u->fds, u->nfds);
	if (r == WIRE_E_AGAIN)
		return;
	u->full = false; /* if the arbiter is gone, its successor learns it otherwise */
	if (r < 0)
		log_errno("keeper", -r, "cannot send to the arbiter");
}

/* The descriptors stay in the holding, which outlives the message. */
static void
tell(struct keeper *k, const struct channel_msg *msg, const int *fds, unsigned int nfds)
{
	assert(!k->unsent.full);
	k->unsent.msg = *msg;
	k->unsent.nfds = nfds;
	for (unsigned int i = 0; i < nfds; i++)
		k->unsent.fds[i] = fds[i];
	k->unsent.full = true;
	flush_unsent(k);
}

static void
tell_session(struct keeper *k, uint32_t slot)
{
	const struct slot *s = &k->table->slot[slot];
	const struct holding *h = &k->holdings[slot];
	struct channel_msg msg = { .type = CHANNEL_SESSION,
		.id = s->id,
		.slot = slot,
		.pid = s->pid,
		.uid = s->uid,
		.gid = s->gid };
	int fds[CHANNEL_FDS] = { h->sock };
	unsigned int nfds = 1;

	/* A kernel without pidfds: the arbiter then gets the socket in its place, and knows
	 * by `error`. */
	fds[nfds++] = h->pidfd != -1 ? h->pidfd : h->sock;
	msg.error = h->pidfd != -1 ? 0 : ENOSYS;
	if (atomic_load(&s->state) == SLOT_OPEN) {
		msg.chunks = s->chunks;
		msg.pinned = s->pinned;
		memcpy(msg.name, s->name, sizeof(msg.name));
		fds[nfds++] = h->heap.ledger;
	}
	tell(k, &msg, fds, nfds);
}

/* --- Sessions and pools --- */

static struct slot *
find_slot(struct keeper *k, const struct channel_msg *m, struct holding **holdingp)
{
	struct slot *s;

	if (m->slot >= k->table->slots)
		return NULL;
	s = &k->table->slot[m->slot];
	*holdingp = &k->holdings[m->slot];
	return atomic_load(&s->state) != SLOT_FREE && s->id == m->id ? s : NULL;
}

static void
destroy_pool(struct keeper *k, struct slot *s, struct holding *h)
{
	if (atomic_load(&s->state) == SLOT_SESSION)
		return;
	atomic_store(&s->state, SLOT_SESSION);
	k->locked -= heap_charge(s->chunks, s->pinned);
	s->pinned = 0;
	heap_fini(&h->heap);
}

static void
end_session(struct keeper *k, struct slot *s, struct holding *h)
{
	destroy_pool(k, s, h);
	close(h->sock);
	if (h->pidfd != -1)
		close(h->pidfd);
	h->sock = h->pidfd = -1;
	atomic_store(&s->state, SLOT_FREE);
	k->sessions--;
}

/* An earlier pool of the slot left its record; blocks that are not counted do not matter.
 * Done here, so that no arbiter ever adopts a pool with another's blocks. */
static bool
clear_record(struct keeper *k, uint32_t slot)
{
	static const char zeros[offsetof(struct record, block_chunks)];

	return pwrite(k->records, zeros, sizeof(zeros), (off_t)slot * RECORD_STRIDE) ==
	       sizeof(zeros);
}

static void
create_pool(
    struct keeper *k, struct slot *s, struct holding *h, const struct channel_msg *m)
{
	struct channel_msg answer = { .type = CHANNEL_CREATED, .id = s->id };
	int r = -EINVAL;

	if (atomic_load(&s->state) == SLOT_SESSION && m->chunks > 0 &&
	    m->chunks <= CHUNKS_MAX) {
		r = -ENOSPC;
		if (k->locked + heap_charge(m->chunks, 0) <= k->host_wall)
			r = heap_init(&h->heap, m->chunks);
	}
	if (r == 0 && !clear_record(k, m->slot))
		r = -EIO;
	if (r != 0) {
		heap_fini(&h->heap);
		answer.error = -r;
		tell(k, &answer, NULL, 0);
		return;
	}
	s->chunks = m->chunks;
	s->pinned = 0;
	memcpy(s->name, m->name, sizeof(s->name));
	s->name[sizeof(s->name) - 1] = '\0';
	k->locked += heap_charge(s->chunks, 0);
	atomic_store(&s->state, SLOT_POOL);
	tell(k, &answer, &h->heap.ledger, 1);
}

static int
pin_slice(
    struct keeper *k, struct slot *s, struct holding *h, const struct channel_msg *m)
{
	uint64_t more;
	int r;

	if (m->from != s->pinned || m->to <= m->from || m->to > s->chunks ||
	    m->to - m->from > SLICE_CHUNKS)
		return -EINVAL;
	more = heap_charge(s->chunks, m->to) - heap_charge(s->chunks, m->from);
	if (k->locked + more > k->host_wall)
		return -ENOSPC;
	if ((r = heap_pin(&h->heap, m->to)) != 0)
		return r;
	k->locked += more;
	s->pinned = m->to;
	return 0;
}

static int
unpin_slice(
    struct keeper *k, struct slot *s, struct holding *h, const struct channel_msg *m)
{
	if (m->to != s->pinned || m->from >= m->to || m->to - m->from > SLICE_CHUNKS)
		return -EINVAL;
	k->locked -= heap_charge(s->chunks, m->to) - heap_charge(s->chunks, m->from);
	s->pinned = m->from;
	heap_unpin(&h->heap, m->from);
	return 0;
}

static void
change_prefix(
    struct keeper *k, struct slot *s, struct holding *h, const struct channel_msg *m)
{
	bool pin = m->type == CHANNEL_PIN;
	struct channel_msg answer = { .type = pin ? CHANNEL_PINNED : CHANNEL_UNPINNED,
		.id = s->id };
	int r = -EINVAL;

	if (atomic_load(&s->state) != SLOT_SESSION)
		r = pin ? pin_slice(k, s, h, m) : unpin_slice(k, s, h, m);
	answer.error = -r;
	answer.pinned = s->pinned;
	tell(k, &answer, NULL, 0);
}

/* A client that does not take its welcome, the first message of all, gets no other. */
static void
welcome(
    struct keeper *k, struct slot *s, struct holding *h, const struct channel_msg *m)
{
	int fds[] = { h->heap.memory, h->heap.ledger };
	int r;

	(void)k;
	if (atomic_load(&s->state) != SLOT_POOL)
		return;
	r = wire_send(h->sock, &m->welcome, sizeof(m->welcome), fds, 2);
	if (r == 0)
		atomic_store(&s->state, SLOT_OPEN);
	else
		shutdown(h->sock, SHUT_RDWR);
}

static void
obey(struct keeper *k, const struct channel_msg *m)
{
	struct holding *h;
	struct slot *s = find_slot(k, m, &h);

	if (s == NULL)
		return;
	switch ((enum channel_type)m->type) {
	case CHANNEL_CREATE:
		create_pool(k, s, h, m);
		return;
	case CHANNEL_PIN:
	case CHANNEL_UNPIN:
		change_prefix(k, s, h, m);
		return;
	case CHANNEL_WELCOME:
		welcome(k, s, h, m);
		return;
	case CHANNEL_DESTROY:
		destroy_pool(k, s, h);
		return;
	case CHANNEL_END:
		end_session(k, s, h);
		return;
	case CHANNEL_SESSION:
	case CHANNEL_READY:
	case CHANNEL_CREATED:
	case CHANNEL_PINNED:
	case CHANNEL_UNPINNED:
	case CHANNEL_RELOAD:
		break;
	}
	log_err("keeper", "the arbiter sent a message of type %u", m->type);
}

/* --- New connections --- */

static int
peer_pidfd(int sock, pid_t pid)
{
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
	int fd;
	socklen_t len = sizeof(fd);

	if (getsockopt(sock, SOL_SOCKET, SO_PEERPIDFD, &fd, &len) == 0)
		return fd;
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

static void
refuse_connection(struct keeper *k, int sock)
{
	union proto_msg msg;

	proto_init(&msg, PROTO_REFUSE);
	msg.refuse.error = EUSERS;
	snprintf(msg.refuse.reason, sizeof(msg.refuse.reason),
	    "%u clients are connected, and clients_max in budd.conf allows no more",
	    k->sessions);
	wire_send(sock, &msg, proto_size(PROTO_REFUSE), NULL, 0);
	log_warn("keeper", "refused a client: %s", msg.refuse.reason);
	close(sock);
}

static uint32_t
free_slot(const struct keeper *k)
{
	uint32_t i = 0;

	while (
	    i < k->table->slots && atomic_load(&k->table->slot[i].state) != SLOT_FREE)
		i++;
	return i;
}

static void
accept_client(struct keeper *k)
{
	int sock =
	    accept4(k->spec.client_listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	uint32_t i = free_slot(k);
	struct ucred peer;
	socklen_t len = sizeof(peer);
	struct slot *s;

	if (sock == -1) {
		if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
			log_errno("keeper", errno, "cannot accept a client");
		return;
	}
	if (k->sessions >= k->spec.config->host.clients_max || i == k->table->slots) {
		refuse_connection(k, sock);
		return;
	}
	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) == -1) {
		log_errno("keeper", errno, "cannot tell who a client is");
		close(sock);
		return;
	}
	k->holdings[i] = (struct holding){
		.sock = sock, .pidfd = peer_pidfd(sock, peer.pid), .heap = HEAP_EMPTY
	};
	s = &k->table->slot[i];
	s->id = ++k->table->last_id;
	s->pid = peer.pid;
	s->uid = peer.uid;
	s->gid = peer.gid;
	s->chunks = s->pinned = 0;
	atomic_store(&s->state, SLOT_SESSION);
	k->sessions++;
	tell_session(k, i);
}

/* --- Arbiters --- */

static void
close_channel(struct keeper *k)
{
	if (k->channel != -1)
		close(k->channel);
	k->channel = -1;
	k->unsent.full = false;
}

/* A pool whose client has not been told of it is as if it had never been asked for. */
static void
forget_unwelcomed(struct keeper *k)
{
	for (uint32_t i = 0; i < k->table->slots; i++)
		if (atomic_load(&k->table->slot[i].state) == SLOT_POOL)
			destroy_pool(k, &k->table->slot[i], &k->holdings[i]);
}

static void
run_arbiter(struct keeper *k, int channel)
{
	struct arbiter_spec spec = { .channel = channel,
		.status_listener = k->spec.status_listener,
		.records = k->records,
		.slots = k->table->slots,
		.keeper_pid = getppid(),
		.restarts = k->restarts,
		.started = k->started,
		.host_wall = k->host_wall,
		.config_path = k->spec.config_path,
		.config = k->spec.config };
	sigset_t none;

	for (uint32_t i = 0; i < k->table->slots; i++) {
		if (atomic_load(&k->table->slot[i].state) == SLOT_FREE)
			continue;
		close(k->holdings[i].sock);
		if (k->holdings[i].pidfd != -1)
			close(k->holdings[i].pidfd);
		if (k->holdings[i].heap.memory != -1)
			close(k->holdings[i].heap.memory);
		if (k->holdings[i].heap.ledger != -1)
			close(k->holdings[i].heap.ledger);
	}
	close(k->signals);
	close(k->spec.client_listener);
	table_free(k->table, k->table_fd);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGINT, SIG_IGN); /* a terminal's goes to both; the keeper decides */
	signal(SIGHUP, SIG_IGN); /* likewise: the keeper sends RELOAD */
	_exit(arbiter_main(&spec));
}

static void
start_arbiter(struct keeper *k)
{
	int pair[2];

	forget_unwelcomed(k);
	k->arbiter_started = clock_now();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		pair) == -1) {
		log_errno("keeper", errno, "cannot start an arbiter");
		return;
	}
	k->arbiter = fork();
	if (k->arbiter == 0) {
		close(pair[0]);
		run_arbiter(k, pair[1]);
	}
	close(pair[1]);
	if (k->arbiter == -1) {
		log_errno("keeper", errno, "cannot start an arbiter");
		close(pair[0]);
		return;
	}
	k->channel = pair[0];
	k->handed_over = 0;
}

/* What a dead arbiter had asked for is done: a client that said CLOSE says it once. */
static void
obey_the_dead(struct keeper *k)
{
	struct channel_msg msg;
	size_t len;

	while (k->channel != -1 &&
	       wire_recv(k->channel, &msg, sizeof(msg), &len, NULL, 0) == 0) {
		k->unsent.full = false; /* nobody is there for an answer */
		if (len == sizeof(msg))
			obey(k, &msg);
	}
}

static void
reap_arbiter(struct keeper *k)
{
	int status;

	if (k->arbiter <= 0 || waitpid(k->arbiter, &status, WNOHANG) != k->arbiter)
		return;
	if (WIFSIGNALED(status))
		log_err("keeper",
		    "the arbiter (pid %d) was killed by signal %d; starting "
		    "another, pools are kept",
		    k->arbiter, WTERMSIG(status));
	else
		log_err("keeper",
		    "the arbiter (pid %d) ended with status %d; starting "
		    "another, pools are kept",
		    k->arbiter, WEXITSTATUS(status));
	k->arbiter = 0;
	k->restarts++;
	obey_the_dead(k);
	close_channel(k);
}

/* One that dies at once is not started again at once. */
static int
restart_pause_ms(const struct keeper *k)
{
	int64_t lived = instant_ms_since(clock_now(), k->arbiter_started);

	return lived >= RESTART_PAUSE_MS ? 0 : (int)(RESTART_PAUSE_MS - lived);
}

/* A message a turn; true while there is more. */
static bool
hand_over(struct keeper *k)
{
	struct channel_msg ready = { .type = CHANNEL_READY };

	if (k->unsent.full)
		return true;
	while (k->handed_over < k->table->slots) {
		uint32_t slot = k->handed_over++;

		if (atomic_load(&k->table->slot[slot].state) == SLOT_FREE)
			continue;
		tell_session(k, slot);
		return true;
	}
	if (k->handed_over == k->table->slots) {
		k->handed_over++;
		tell(k, &ready, NULL, 0);
	}
	return false;
}

/* --- Signals --- */

static void
reload(struct keeper *k)
{
	struct channel_msg msg = { .type = CHANNEL_RELOAD };
	struct config *config;

	if (config_load(&config, k->spec.config_path, stderr) != 0) {
		log_err("keeper",
		    "the configuration is wrong, and nothing was changed; "
		    "budd -t tells what it is");
		return;
	}
	config_free(k->spec.config);
	k->spec.config = config;
	if (config->host.wall != 0)
		k->host_wall = config->host.wall;
	if (config->host.clients_max > k->table->slots)
		log_warn("keeper",
		    "clients_max %u needs a restart; until then it is %u",
		    config->host.clients_max, k->table->slots);
	log_info("keeper", "the configuration was read again");
	if (k->channel != -1 && !k->unsent.full)
		tell(k, &msg, NULL, 0);
}

static void
on_signal(struct keeper *k)
{
	struct signalfd_siginfo info;

	while (read(k->signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			reap_arbiter(k);
		else if (info.ssi_signo == SIGHUP)
			reload(k);
		else
			k->stop = true;
	}
}

/* --- The loop --- */

static void
on_channel(struct keeper *k)
{
	struct channel_msg msg;
	size_t len;
	int r = wire_recv(k->channel, &msg, sizeof(msg), &len, NULL, 0);

	if (r == WIRE_E_AGAIN)
		return;
	if (r == 0 && len == sizeof(msg)) {
		obey(k, &msg);
		return;
	}
	if (r != WIRE_E_CLOSED)
		log_err("keeper", "the arbiter sent what makes no sense, and is ended");
	close_channel(k);
	kill(k->arbiter,
	    SIGKILL); /* if it is not dead already; SIGCHLD goes on from here */
}

static void
turn(struct keeper *k)
{
	enum {
		SIGNALS,
		LISTENER,
		CHANNEL
	};
	bool handing = k->channel != -1 && hand_over(k), blocked = k->unsent.full;
	bool quiet = k->channel == -1 || handing || blocked;
	struct pollfd fds[] = {
		[SIGNALS] = { .fd = k->signals, .events = POLLIN },
		[LISTENER] = { .fd = quiet ? -1 : k->spec.client_listener,
		    .events = POLLIN },
		[CHANNEL] = { .fd = k->channel,
		    .events = blocked ? POLLOUT
			      : quiet ? 0
				      : POLLIN },
	};
	int timeout = handing && !blocked ? 0 : -1;

	if (k->arbiter == 0)
		timeout = restart_pause_ms(k);
	if (poll(fds, 3, timeout) == -1)
		return;
	if (fds[SIGNALS].revents != 0)
		on_signal(k);
	if (k->arbiter == 0 && restart_pause_ms(k) == 0 && !k->stop) {
		start_arbiter(k);
		return; /* what was polled is not of this one's channel */
	}
	flush_unsent(k);
	if (k->channel != -1 && !quiet && fds[CHANNEL].revents != 0)
		on_channel(k);
	if (k->channel != -1 && !k->unsent.full && fds[LISTENER].revents != 0)
		accept_client(k);
}

static void
end_arbiter(struct keeper *k)
{
	close_channel(k);
	if (k->arbiter <= 0)
		return;
	for (int i = 0; i < 200; i++) {
		if (waitpid(k->arbiter, NULL, WNOHANG) == k->arbiter)
			return;
		usleep(5000);
	}
	kill(k->arbiter, SIGKILL);
	waitpid(k->arbiter, NULL, 0);
}

static int
create_records(uint32_t slots)
{
	int fd = memfd_create("bud-records", MFD_CLOEXEC);

	if (fd != -1 && ftruncate(fd, (off_t)slots * RECORD_STRIDE) == -1) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static int
open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, NULL) == -1)
		return -1;
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int
keeper_init(struct keeper *k, const struct keeper_spec *spec)
{
	uint32_t slots = spec->config->host.clients_max;

	*k = (struct keeper){ .spec = *spec,
		.host_wall = spec->host_wall,
		.channel = -1,
		.started = clock_now() };
	k->holdings = calloc(slots, sizeof(*k->holdings));
	k->table = table_create(slots, &k->table_fd);
	k->records = create_records(slots);
	k->signals = open_signals();
	if (k->holdings == NULL || k->table == NULL || k->records == -1 ||
	    k->signals == -1)
		return -errno;
	for (uint32_t i = 0; i < slots; i++)
		k->holdings[i] = (struct holding){ -1, -1, HEAP_EMPTY };
	return 0;
}

static void
keeper_fini(struct keeper *k)
{
	end_arbiter(k);
	for (uint32_t i = 0; i < k->table->slots; i++)
		if (atomic_load(&k->table->slot[i].state) != SLOT_FREE)
			end_session(k, &k->table->slot[i], &k->holdings[i]);
	close(k->signals);
	close(k->records);
	table_free(k->table, k->table_fd);
	free(k->holdings);
	config_free(k->spec.config);
}

int
keeper_main(const struct keeper_spec *spec)
{
	struct keeper k;
	int r = keeper_init(&k, spec);

	if (r != 0) {
		log_errno("keeper", -r, "cannot start");
		return 1;
	}
	prctl(PR_SET_DUMPABLE, 0);
	start_arbiter(&k);
	while (!k.stop)
		turn(&k);
	log_info("keeper", "stopping: %u clients, %llu bytes are unlocked", k.sessions,
	    (unsigned long long)k.locked);
	keeper_fini(&k);
	return 0;
}
