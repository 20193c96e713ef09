/* SPDX-License-Identifier: ISC */

/* The life of arbiters: one that dies is replaced, and one that does not answer is ended. */
#include <errno.h>
#include <libutil.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/arbiter.h"
#include "daemon/config.h"
#include "daemon/keeper_state.h"
#include "daemon/log.h"
#include "proto/wire.h"

#define RESTART_PAUSE_MS 100  /* after an arbiter that did not live that long */
#define END_MS           1000 /* that an arbiter is given to end by itself */

void
keeper_close_channel(struct keeper *k)
{
	if (k->channel != -1)
		close(k->channel);
	k->channel = -1;
	if (k->mail_waits)
		keeper_drop_mail(k);
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

void
keeper_start_arbiter(struct keeper *k)
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
	k->ready_said = k->reloaded = k->reload_said = false;
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

void
keeper_reap_arbiter(struct keeper *k)
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
	keeper_close_channel(k);
}

/* One that dies at once is not started again at once. */
int
keeper_restart_pause_ms(const struct keeper *k)
{
	int64_t lived = instant_ms_since(clock_now(), k->arbiter_started);

	return lived >= RESTART_PAUSE_MS ? 0 : (int)(RESTART_PAUSE_MS - lived);
}

/* SIGCHLD goes on from here. */
void
keeper_condemn(struct keeper *k)
{
	k->condemned = true;
	kill(k->arbiter, SIGKILL);
}

void
keeper_end_arbiter(struct keeper *k)
{
	keeper_close_channel(k);
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

/* --- The pulse --- */

void
keeper_take_pulse(struct keeper *k)
{
	struct channel_mail mail = { .msg = { .type = CHANNEL_PING } };

	vault_end_foreign(&k->vault);
	mail.msg.foreign = k->vault.foreign;
	pulse_asked(&k->pulse);
	keeper_tell(k, &mail);
}

void
keeper_on_pong(struct keeper *k, const struct channel_msg *msg)
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

void
keeper_end_stuck_arbiter(struct keeper *k)
{
	if (k->arbiter <= 0 || !pulse_is_stuck(&k->pulse, clock_now()))
		return;
	log_err(
	    "keeper", "the arbiter (pid %d) does not answer, and is ended", k->arbiter);
	k->pulse.stuck = INSTANT_NEVER;
	keeper_condemn(k);
}
