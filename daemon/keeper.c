/* SPDX-License-Identifier: ISC */

/*
 * The keeper.
 *
 * One loop over three descriptors: signals, new connections, the arbiter. Everything is a
 * record of the channel, carried out at once, in order; each is bounded (a slice of memory
 * at most), so that nobody waits for another's gigabyte.
 */
#include "daemon/keeper.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/arbiter.h"
#include "daemon/config.h"
#include "daemon/keeper_state.h"
#include "daemon/log.h"
#include "daemon/privileges.h"
#include "daemon/sandbox.h"
#include "daemon/systemd.h"
#include "proto/wire.h"

#define ACCEPT_PAUSE_MS 1000 /* after an accept() for which something was short */
#define REST_PAUSE_MS   1000 /* between tries to give pages back */

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
		keeper_tell(k, &mail);
		return;
	}
	if (r > 0)
		refuse_connection(k, sock, r);
	else
		log_errno("keeper", -r, "cannot tell who a client is");
	close(sock);
}

/* --- Signals --- */

static void
on_hangup(struct keeper *k)
{
	systemd_say_reloading();
	keeper_reload(k);
	systemd_say_ready();
}

static void
on_signal(struct keeper *k)
{
	struct signalfd_siginfo info;

	while (read(k->signals, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			keeper_reap_arbiter(k);
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

/* --- The loop --- */

/* false: it is nothing that an arbiter of ours says. */
static bool
obey(struct keeper *k, const struct channel_msg *msg)
{
	struct channel_mail answer;

	if (msg->type == CHANNEL_PONG) {
		if (!pulse_is_out(&k->pulse))
			return false;
		keeper_on_pong(k, msg);
		return true;
	}
	if (msg->type == CHANNEL_RELOAD) {
		if (k->reload_said)
			keeper_reload_again(k);
		return k->reload_said;
	}
	/* On a processor that we share with a client it goes on first with what is there. */
	if (msg->type == CHANNEL_PIN && msg->ahead != 0)
		sched_yield();
	switch (vault_obey(&k->vault, msg, &answer)) {
	case VAULT_ANSWER:
		keeper_tell(k, &answer);
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
	keeper_close_channel(k);
	if (r == WIRE_E_CLOSED && hung_up) {
		kill(k->arbiter, SIGKILL); /* unless it is dead, or about to be */
		return;
	}
	log_err("keeper",
	    "the arbiter (pid %d) sent what none sends (%zu bytes, type %u), and "
	    "is "
	    "ended",
	    k->arbiter, len, msg.type);
	keeper_condemn(k);
}

/* The arbiter has all there is and has taken all that was said. */
static bool
is_quiet(struct keeper *k)
{
	if (k->channel == -1 || keeper_hand_over(k) || k->mail_waits)
		return false;
	if (k->reloaded && !instant_before(clock_now(), k->reload_from)) {
		k->reloaded = false;
		keeper_tell_reload(k);
	} else if (pulse_is_due(&k->pulse, clock_now())) {
		keeper_take_pulse(k);
	} else {
		keeper_offer_again(k);
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
		return keeper_restart_pause_ms(k);
	if (k->mail_waits && instant_before(clock_now(), k->mail_from))
		return k->vault.ending > 0 ? 0 : MAIL_PAUSE_MS;
	if (k->vault.ending > 0 ||
	    (k->channel != -1 && (!quiet || keeper_is_offering(k)) && !k->mail_waits))
		return 0; /* there is more to give back, or to hand over */
	if (instant_before(clock_now(), k->accept_from))
		return ACCEPT_PAUSE_MS;
	return pulse_wait_ms(&k->pulse, clock_now());
}

static int
timeout_ms(const struct keeper *k, bool quiet)
{
	int ms = wait_ms(k, quiet);

	if ((k->vault.has_rest || k->vault.has_untaken || k->reloaded) &&
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
	if (k->arbiter == 0 && keeper_restart_pause_ms(k) == 0 && !k->stop) {
		keeper_start_arbiter(k);
		return; /* what was polled is not of this one's channel */
	}
	keeper_end_stuck_arbiter(k);
	if (sends && fds[CHANNEL].revents != 0)
		keeper_flush_mail(k);
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
	keeper_allow_memory(&k.vault, spec->config);
	keeper_note_pages(spec->config);
	pulse_init(&k.pulse);
	keeper_start_arbiter(&k);
	while (!k.stop)
		turn(&k);
	systemd_say_stopping();
	log_info("keeper", "stopping: %u clients, %llu bytes are unlocked",
	    k.vault.sessions, (unsigned long long)k.vault.locked);
	keeper_end_arbiter(&k);
	vault_fini(&k.vault);
	close(k.signals);
	config_free(k.spec.config);
	return 0;
}
