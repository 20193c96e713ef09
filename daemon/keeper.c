/* SPDX-License-Identifier: ISC */

/*
 * The keeper.
 *
 * One loop over three descriptors: signals, new connections, the arbiter. Everything is a
 * record of the channel, carried out at once, in order; each is bounded (a slice of memory
 * at most), so that nobody waits for another's gigabyte.
 *
 * An arbiter that dies is replaced, and the new one is handed what there is, a message a
 * turn of the loop. A message that the arbiter does not take at once waits in `mail`; until
 * it is gone the keeper accepts and answers nothing, so one place is enough.
 */
#include "daemon/keeper.h"

#include <assert.h>
#include <errno.h>
#include <libutil.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/arbiter.h"
#include "daemon/channel.h"
#include "daemon/config.h"
#include "daemon/config_pack.h"
#include "daemon/deaths.h"
#include "daemon/descriptors.h"
#include "daemon/heap.h"
#include "daemon/hostwall.h"
#include "daemon/largepages.h"
#include "daemon/log.h"
#include "daemon/privileges.h"
#include "daemon/pulse.h"
#include "daemon/sandbox.h"
#include "daemon/systemd.h"
#include "daemon/vault.h"
#include "proto/wire.h"

#define RESTART_PAUSE_MS 100  /* after an arbiter that did not live that long */
#define ACCEPT_PAUSE_MS  1000 /* after an accept() for which something was short */
#define MAIL_PAUSE_MS \
	10 /* when there is room for a message, but not for its descriptors */
#define REST_PAUSE_MS  1000 /* between tries to give pages back */
#define OFFER_PAUSE_MS 1000 /* ... and to have the arbiter take what it could not */
#define END_MS         1000 /* that an arbiter is given to end by itself */

struct keeper {
	struct keeper_spec spec;
	struct vault vault;
	int signals;
	int channel; /* -1: no arbiter */
	pid_t arbiter;
	bool condemned; /* it is being ended for something that it did */
	bool fault;     /* the one before it died of its own doing */
	struct deaths deaths;
	struct pulse pulse;
	struct instant read_at; /* when the configuration was */
	struct instant started;
	struct instant arbiter_started;
	struct instant accept_from; /* no accept() before this */
	struct instant rest_from;   /* no try to give pages back before this */
	struct instant offer_from;  /* likewise to offer what was untaken */
	uint32_t offered;           /* slots, of this round; all: there is none on */
	uint32_t handed_over;       /* slots */
	bool ready_said;            /* after all of them */
	bool reloaded;              /* ... and the arbiter does not know */
	bool mail_waits;
	struct instant mail_from; /* it is not tried again before this */
	struct channel_mail mail;
	bool stop;
};

/* --- To the arbiter --- */

/* The descriptors of a RELOAD are made for it. */
static void
drop_mail(struct keeper *k)
{
	struct channel_mail *m = &k->mail;

	for (unsigned int i = 0; m->msg.type == CHANNEL_RELOAD && i < m->nfds; i++)
		close(m->fds[i]);
	m->nfds = 0;
	k->mail_waits = false;
}

static void
flush_mail(struct keeper *k)
{
	struct channel_mail *m = &k->mail;
	int r;

	if (!k->mail_waits || k->channel == -1)
		return;
	r = wire_send(k->channel, &m->msg, sizeof(m->msg), m->fds, m->nfds);
	if (r == WIRE_E_AGAIN) {
		k->mail_from = instant_add(clock_now(), MAIL_PAUSE_MS * NS_PER_MS);
		return;
	}
	drop_mail(k); /* if the arbiter is gone, its successor learns otherwise */
	if (r < 0)
		log_errno("keeper", -r, "cannot send to the arbiter");
}

static void
tell(struct keeper *k, const struct channel_mail *mail)
{
	assert(!k->mail_waits);
	k->mail = *mail;
	k->mail_waits = true;
	flush_mail(k);
}

static void
tell_reload(struct keeper *k)
{
	struct channel_mail mail = { .msg = { .type = CHANNEL_RELOAD,
					 .host_wall = k->vault.host_wall,
					 .read_at = k->read_at.ns } };
	struct pressure_sources sources;
	int fd = config_pack(k->spec.config);

	if (fd < 0) {
		log_errno("keeper", -fd, "the arbiter cannot be told of the reload");
		return;
	}
	mail.fds[mail.nfds++] = fd;
	pressure_open(&sources, &k->spec.config->host.pressure);
	for (unsigned int i = 0; i < PRESSURE_SOURCES; i++) {
		if (sources.of[i].fd == -1)
			continue;
		mail.fds[mail.nfds++] = sources.of[i].fd;
		mail.msg.sources |= 1u << i;
		mail.msg.talking |= (uint32_t)sources.of[i].talks << i;
	}
	tell(k, &mail);
}

/* A message a turn; true while there is more. */
static bool
hand_over(struct keeper *k)
{
	struct channel_mail mail;

	if (k->ready_said || k->mail_waits)
		return !k->ready_said;
	if (vault_next(&k->vault, &k->handed_over, &mail)) {
		tell(k, &mail);
		return true;
	}
	k->ready_said = true;
	mail = (struct channel_mail){ .msg = { .type = CHANNEL_READY } };
	tell(k, &mail);
	return false;
}

static bool
is_offering(const struct keeper *k)
{
	return k->offered < k->vault.table->slots;
}

/* What the arbiter could not take, a session a turn. */
static void
offer_again(struct keeper *k)
{
	struct instant now = clock_now();
	struct channel_mail mail;

	if (!is_offering(k)) {
		if (!k->vault.has_untaken || instant_before(now, k->offer_from))
			return;
		k->vault.has_untaken = false;
		k->offered = 0;
		k->offer_from = instant_add(now, OFFER_PAUSE_MS * NS_PER_MS);
	}
	if (vault_untaken_next(&k->vault, &k->offered, &mail))
		tell(k, &mail);
}

/* --- New connections --- */

static void
refuse_connection(struct keeper *k, int sock, int why)
{
	union proto_msg msg;

	proto_init(&msg, PROTO_REFUSE);
	msg.refuse.error = EUSERS;
	if (why == VAULT_E_USER)
		snprintf(msg.refuse.reason, sizeof(msg.refuse.reason),
		    "the user has %u connections, and user_clients in budd.conf allows "
		    "no more",
		    k->vault.user_clients);
	else
		snprintf(msg.refuse.reason, sizeof(msg.refuse.reason),
		    "%u clients are connected, and clients_max in budd.conf allows no "
		    "more",
		    k->vault.sessions);
	wire_send(sock, &msg, proto_size(PROTO_REFUSE), NULL, 0);
	log_warn("keeper", "refused a client: %s", msg.refuse.reason);
}

static void
on_no_connection(struct keeper *k)
{
	if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
		return;
	log_errno("keeper", errno, "cannot accept a client; trying again in a second");
	k->accept_from = instant_add(clock_now(), ACCEPT_PAUSE_MS * NS_PER_MS);
}

static void
accept_client(struct keeper *k)
{
	int flags = SOCK_CLOEXEC | SOCK_NONBLOCK, r = VAULT_E_FULL;
	int sock = accept4(k->spec.client_listener, NULL, NULL, flags);
	struct channel_mail mail;

	if (sock == -1) {
		on_no_connection(k);
		return;
	}
	if (k->vault.sessions < k->spec.config->host.clients_max)
		r = vault_admit(&k->vault, sock, &mail);
	if (r == 0) {
		tell(k, &mail);
		return;
	}
	if (r > 0)
		refuse_connection(k, sock, r);
	else
		log_errno("keeper", -r, "cannot tell who a client is");
	close(sock);
}

/* --- Arbiters --- */

static void
close_channel(struct keeper *k)
{
	if (k->channel != -1)
		close(k->channel);
	k->channel = -1;
	if (k->mail_waits)
		drop_mail(k);
}

static void
run_arbiter(struct keeper *k, int channel)
{
	struct arbiter_spec spec = { .channel = channel,
		.status_listener = k->spec.status_listener,
		.records = k->vault.records,
		.slots = k->vault.table->slots,
		.keeper_pid = getppid(),
		.restarts = k->vault.table->restarts,
		.fault = k->fault,
		.drop = deaths_are_many(&k->deaths, k->arbiter_started),
		.started = k->started,
		.host_wall = k->vault.host_wall,
		.read_at = k->read_at,
		.config = k->spec.config };
	sigset_t none;

	vault_leave(&k->vault);
	close(k->signals);
	close(k->spec.client_listener);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGINT, SIG_IGN); /* a terminal's goes to both; the keeper decides */
	signal(SIGHUP, SIG_IGN); /* likewise: the keeper sends RELOAD */
	pressure_open(&spec.pressure, &k->spec.config->host.pressure);
	_exit(arbiter_main(&spec));
}

static void
start_arbiter(struct keeper *k)
{
	int pair[2], flags = SOCK_CLOEXEC | SOCK_NONBLOCK;

	vault_forget_unwelcomed(&k->vault);
	k->arbiter_started = clock_now();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | flags, 0, pair) == -1) {
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
		k->arbiter = 0;
		return;
	}
	wire_refuse_fds(pair[0]);
	k->channel = pair[0];
	k->handed_over = 0;
	k->offered = k->vault.table->slots;
	k->vault.has_untaken = false;
	pulse_begin(&k->pulse, clock_now());
	k->ready_said = k->reloaded = false;
}

/* What a dead arbiter had ended is ended: a client that said CLOSE says it once. All else its
 * successor finds undone, as if it had died a step earlier; so what may be a queue full of
 * slices keeps nobody waiting. */
static void
obey_the_dead(struct keeper *k)
{
	struct channel_mail answer;
	struct channel_msg msg;
	size_t len;

	while (k->channel != -1 &&
	       wire_recv(k->channel, &msg, sizeof(msg), &len, NULL, 0) == 0)
		if (len == sizeof(msg) && msg.type == CHANNEL_END)
			(void)vault_obey(&k->vault, &msg, &answer);
}

/* Whoever may send a SIGKILL does not thereby say anything about us. */
static bool
is_own_doing(const struct keeper *k, int status)
{
	return k->condemned || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL;
}

static void
reap_arbiter(struct keeper *k)
{
	int status;

	if (k->arbiter <= 0 || waitpid(k->arbiter, &status, WNOHANG) != k->arbiter)
		return;
	log_err("keeper",
	    "the arbiter (pid %d) %s %d; starting another, pools are kept", k->arbiter,
	    WIFSIGNALED(status) ? "was killed by signal" : "ended with status",
	    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	k->arbiter = 0;
	k->fault = is_own_doing(k, status);
	k->condemned = false;
	if (k->fault)
		deaths_note(&k->deaths, clock_now());
	k->vault.table->restarts++;
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

/* SIGCHLD goes on from here. */
static void
condemn(struct keeper *k)
{
	k->condemned = true;
	kill(k->arbiter, SIGKILL);
}

static void
end_arbiter(struct keeper *k)
{
	close_channel(k);
	if (k->arbiter <= 0)
		return;
	for (int i = 0; i < END_MS / 5; i++) {
		if (waitpid(k->arbiter, NULL, WNOHANG) == k->arbiter)
			return;
		usleep(5000);
	}
	kill(k->arbiter, SIGKILL);
	waitpid(k->arbiter, NULL, 0);
}

/* --- Signals --- */

static void
warn_line(void *ctx, const char *line)
{
	(void)ctx;
	log_warn("keeper", "%s", line);
}

static void
note_pages(const struct config *config)
{
	struct largepages large;

	largepages_read(&large, LARGEPAGES_PATH);
	largepages_check(&large, config, warn_line, NULL);
}

/* An arbiter may not know yet that a section allows less than it did. */
static void
allow_memory(struct vault *v, const struct config *config)
{
	const uint64_t page = heap_kind_chunks(HEAP_HUGE) * CHUNK_SIZE;
	const struct config_pool *pool;

	STAILQ_FOREACH (pool, &config->pools, entry) {
		uint64_t most =
		    pool->wall > pool->wall_max ? pool->wall : pool->wall_max;

		most = (most + page - 1) / page * page;
		v->longest = v->longest > most ? v->longest : most;
	}
}

static void
reload(struct keeper *k)
{
	struct config *config;
	uint64_t wall;
	char why[512];

	if (config_load(&config, k->spec.config_path, stderr) != 0) {
		log_err("keeper",
		    "the configuration is wrong, and nothing was changed; "
		    "budd -t tells what it is");
		return;
	}
	if (hostwall_find(
		config->host.wall, heap_charge(1, 1), &wall, why, sizeof(why)) != 0) {
		log_err("keeper", "nothing was changed: %s", why);
		config_free(config);
		return;
	}
	descriptors_fit(&config->host.clients_max);
	config_free(k->spec.config);
	k->spec.config = config;
	k->read_at = clock_now();
	k->vault.host_wall = wall;
	k->vault.user_clients = config->host.user_clients;
	allow_memory(&k->vault, config);
	k->reloaded = true;
	note_pages(config);
	log_info("keeper", "the configuration was read again");
}

static void
on_hangup(struct keeper *k)
{
	systemd_say_reloading();
	reload(k);
	systemd_say_ready();
}

static void
on_signal(struct keeper *k)
{
	struct signalfd_siginfo info;

	while (read(k->signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			reap_arbiter(k);
		else if (info.ssi_signo == SIGHUP)
			on_hangup(k);
		else
			k->stop = true;
	}
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

/* --- The pulse --- */

static void
take_pulse(struct keeper *k)
{
	struct channel_mail mail = { .msg = { .type = CHANNEL_PING } };

	vault_end_foreign(&k->vault);
	mail.msg.foreign = k->vault.foreign;
	pulse_asked(&k->pulse);
	tell(k, &mail);
}

static void
on_pong(struct keeper *k, const struct channel_msg *msg)
{
	const struct vault *v = &k->vault;
	char pinned[10], wall[10], foreign[48] = "", line[256];

	humanize_number(pinned, sizeof(pinned), (int64_t)v->locked, "B", HN_AUTOSCALE,
	    HN_B | HN_DECIMAL | HN_IEC_PREFIXES);
	humanize_number(wall, sizeof(wall), (int64_t)v->host_wall, "B", HN_AUTOSCALE,
	    HN_B | HN_DECIMAL | HN_IEC_PREFIXES);
	if (v->foreign > 0)
		snprintf(foreign, sizeof(foreign), "; %u pools of another budd held",
		    v->foreign);
	snprintf(line, sizeof(line), "%u pools, %s of %s pinned, %llu waiting%s%s",
	    vault_pools(v), pinned, wall, (unsigned long long)msg->waiting, foreign,
	    v->store_is_short ? "; the descriptor store is full" : "");
	pulse_answered(&k->pulse, clock_now(), line);
}

static void
end_stuck_arbiter(struct keeper *k)
{
	if (k->arbiter <= 0 || !pulse_is_stuck(&k->pulse, clock_now()))
		return;
	log_err(
	    "keeper", "the arbiter (pid %d) does not answer, and is ended", k->arbiter);
	k->pulse.stuck = INSTANT_NEVER;
	condemn(k);
}

/* --- The loop --- */

/* false: it is nothing that an arbiter of ours says. */
static bool
obey(struct keeper *k, const struct channel_msg *msg)
{
	struct channel_mail answer;

	if (msg->type == CHANNEL_PONG) {
		if (!pulse_is_out(&k->pulse))
			return false;
		on_pong(k, msg);
		return true;
	}
	/* On a processor that we share with a client it goes on first with what is there. */
	if (msg->type == CHANNEL_PIN && msg->ahead != 0)
		sched_yield();
	switch (vault_obey(&k->vault, msg, &answer)) {
	case VAULT_ANSWER:
		tell(k, &answer);
		return true;
	case VAULT_QUIET:
		return true;
	case VAULT_NONSENSE:
		break;
	}
	return false;
}

/* A record of no bytes reads like the end of the channel. */
static void
on_channel(struct keeper *k, bool hung_up)
{
	struct channel_msg msg = { .type = 0 };
	size_t len = 0;
	int r = wire_recv(k->channel, &msg, sizeof(msg), &len, NULL, 0);

	if (r == WIRE_E_AGAIN || (r == 0 && len == sizeof(msg) && obey(k, &msg)))
		return;
	close_channel(k);
	if (r == WIRE_E_CLOSED && hung_up) {
		kill(k->arbiter, SIGKILL); /* unless it is dead, or about to be */
		return;
	}
	log_err("keeper",
	    "the arbiter (pid %d) sent what none sends (%zu bytes, type %u), and "
	    "is "
	    "ended",
	    k->arbiter, len, msg.type);
	condemn(k);
}

/* The arbiter has all there is and has taken all that was said. */
static bool
is_quiet(struct keeper *k)
{
	if (k->channel == -1 || hand_over(k) || k->mail_waits)
		return false;
	if (k->reloaded) {
		k->reloaded = false;
		tell_reload(k);
	} else if (pulse_is_due(&k->pulse, clock_now())) {
		take_pulse(k);
	} else {
		offer_again(k);
	}
	return !k->mail_waits;
}

static void
give_back_rests(struct keeper *k)
{
	struct instant now = clock_now();

	if (!k->vault.has_rest || instant_before(now, k->rest_from))
		return;
	vault_give_back_rests(&k->vault);
	k->rest_from = instant_add(now, REST_PAUSE_MS * NS_PER_MS);
}

static int
wait_ms(const struct keeper *k, bool quiet)
{
	if (k->arbiter == 0)
		return restart_pause_ms(k);
	if (k->mail_waits && instant_before(clock_now(), k->mail_from))
		return k->vault.ending > 0 ? 0 : MAIL_PAUSE_MS;
	if (k->vault.ending > 0 ||
	    (k->channel != -1 && (!quiet || is_offering(k)) && !k->mail_waits))
		return 0; /* there is more to give back, or to hand over */
	if (instant_before(clock_now(), k->accept_from))
		return ACCEPT_PAUSE_MS;
	return pulse_wait_ms(&k->pulse, clock_now());
}

static int
timeout_ms(const struct keeper *k, bool quiet)
{
	int ms = wait_ms(k, quiet);

	if ((k->vault.has_rest || k->vault.has_untaken) &&
	    (ms == -1 || ms > REST_PAUSE_MS))
		return REST_PAUSE_MS;
	return ms;
}

static void
turn(struct keeper *k)
{
	enum {
		SIGNALS,
		LISTENER,
		CHANNEL
	};
	bool quiet = is_quiet(k);
	bool accepts = quiet && !instant_before(clock_now(), k->accept_from);
	bool sends = k->mail_waits && !instant_before(clock_now(), k->mail_from);
	struct pollfd fds[] = {
		[SIGNALS] = { .fd = k->signals, .events = POLLIN },
		[LISTENER] = { .fd = accepts ? k->spec.client_listener : -1,
		    .events = POLLIN },
		[CHANNEL] = { .fd = k->channel,
		    .events = sends   ? POLLOUT
			      : quiet ? POLLIN
				      : 0 },
	};

	if (poll(fds, 3, timeout_ms(k, quiet)) == -1)
		return;
	if (fds[SIGNALS].revents != 0)
		on_signal(k);
	if (k->arbiter == 0 && restart_pause_ms(k) == 0 && !k->stop) {
		start_arbiter(k);
		return; /* what was polled is not of this one's channel */
	}
	end_stuck_arbiter(k);
	if (sends && fds[CHANNEL].revents != 0)
		flush_mail(k);
	if (k->channel != -1 && quiet && fds[CHANNEL].revents != 0)
		on_channel(k, (fds[CHANNEL].revents & POLLHUP) != 0);
	if (k->channel != -1 && !k->mail_waits && fds[LISTENER].revents != 0)
		accept_client(k);
	vault_end_slice(&k->vault);
	give_back_rests(k);
}

int
keeper_main(const struct keeper_spec *spec)
{
	struct keeper k = { .spec = *spec,
		.channel = -1,
		.started = clock_now(),
		.read_at = clock_now() };
	int r = vault_init(&k.vault, spec->store, spec->host_wall);

	if (r == 0 && (k.signals = open_signals()) == -1)
		r = -errno;
	if (r == 0)
		r = privileges_hide(); /* the vault has opened its page map */
	if (r == 0)
		r = sandbox_enter(SANDBOX_KEEPER, log_is_syslog());
	if (r != 0) {
		log_errno("keeper", -r, "cannot start");
		vault_fini(&k.vault);
		return 1;
	}
	k.vault.user_clients = spec->config->host.user_clients;
	allow_memory(&k.vault, spec->config);
	note_pages(spec->config);
	pulse_init(&k.pulse);
	start_arbiter(&k);
	while (!k.stop)
		turn(&k);
	systemd_say_stopping();
	log_info("keeper", "stopping: %u clients, %llu bytes are unlocked",
	    k.vault.sessions, (unsigned long long)k.vault.locked);
	end_arbiter(&k);
	vault_fini(&k.vault);
	close(k.signals);
	config_free(k.spec.config);
	return 0;
}
