/* SPDX-License-Identifier: ISC */

/* The arbiter: the loop around the core. */
#include "daemon/arbiter.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "daemon/blame.h"
#include "daemon/config_pack.h"
#include "daemon/events.h"
#include "daemon/hostnote.h"
#include "daemon/http.h"
#include "daemon/log.h"
#include "daemon/news.h"
#include "daemon/outq.h"
#include "daemon/pressure.h"
#include "daemon/privileges.h"
#include "daemon/record.h"
#include "daemon/sandbox.h"
#include "daemon/session.h"
#include "daemon/step.h"
#include "proto/wire.h"

/* Two slices a pool under way, and what a session needs beside. */
#define TO_KEEPER_MAX(slots) (8 * (size_t)(slots))

/* Long enough for a client to say again what it had asked for. */
#define DROP_NS NS_PER_S

struct instant
clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (struct instant){ ts.tv_sec * NS_PER_S + ts.tv_nsec };
}

const struct config *
arbiter_config(const struct arbiter *a)
{
	return a->reloaded != NULL ? a->reloaded : a->spec.config;
}

struct record *
arbiter_record(struct arbiter *a, uint32_t slot)
{
	return (struct record *)(void *)(a->records + (size_t)slot * RECORD_STRIDE);
}

void
arbiter_tell_keeper(struct arbiter *a, const struct channel_msg *msg)
{
	int r;

	step();
	r = outq_send(a->to_keeper, msg, sizeof(*msg));
	step();
	if (r == 0)
		return;
	/* Without the keeper there is nothing to do; the next arbiter begins afresh. If it
	 * is gone itself, that is how budd ends. */
	if (r != -EPIPE)
		log_err("arbiter", "the keeper does not take a message (%d)", r);
	event_base_loopbreak(a->base);
}

void
arbiter_rewind(struct arbiter *a)
{
	struct instant due = core_next_due(&a->core), now;
	struct timeval tv;
	int64_t wait;

	if (due.ns == INSTANT_NEVER.ns) {
		event_del(a->clockwork);
		return;
	}
	now = clock_now();
	wait = due.ns > now.ns ? due.ns - now.ns : 0;
	wait = (wait + 999) / 1000; /* never before it is due */
	tv.tv_sec = wait / 1000000;
	tv.tv_usec = wait % 1000000;
	event_add(a->clockwork, &tv);
}

static void
arbiter_on_clockwork(evutil_socket_t fd, short events, void *arg)
{
	struct arbiter *a = arg;

	(void)fd;
	(void)events;
	core_run(&a->core, clock_now());
	arbiter_rewind(a);
}

static struct core_params
params_of(const struct config_host *host, uint64_t host_wall)
{
	int64_t release = host->release_period_ns / host->tick_ns;
	int64_t idle = (host->idle_ns + host->tick_ns - 1) / host->tick_ns;

	int64_t give_up =
	    (host->unregister_timeout_ns + host->tick_ns - 1) / host->tick_ns;

	/* A year has more ticks of 1 ms than fit. */
	release = release < UINT32_MAX ? release : UINT32_MAX;
	idle = idle < UINT32_MAX ? idle : UINT32_MAX;
	return (struct core_params){ .host_wall = host_wall,
		.audit_ns = audit_period_ns(host->release_period_ns),
		.tick_ns = host->tick_ns,
		.release_ticks = release > 0 ? (uint32_t)release : 1,
		.idle_ticks = (uint32_t)idle,
		.give_up_ticks = (uint32_t)give_up,
		.overtaken_max = host->overtaken_max,
		.user_wall = host->user_wall,
		.user_pools = host->user_pools,
		.user_requests = host->user_requests };
}

/* --- Memory pressure of the host --- */

static void
arbiter_on_pressure(void *arg)
{
	struct arbiter *a = arg;
	struct session *s;
	unsigned int blocks = 0;

	TAILQ_FOREACH (s, &a->sessions, entry)
		if (session_has_pool(s))
			blocks += core_release(&a->core, &s->pool, RELEASE_PRESSURE);
	log_info("pressure", "the host is short of memory: %u blocks go", blocks);
	news_pressure(a, blocks);
	arbiter_rewind(a);
}

static void
watch_pressure(struct arbiter *a, struct pressure_sources *sources)
{
	pressure_free(a->pressure);
	a->pressure = pressure_create(a->base, sources, arbiter_on_pressure, a);
}

/* --- From the keeper --- */

/* Those that are there follow the configuration, in their order. */
static void
take_sources(
    struct pressure_sources *sources, const struct channel_msg *msg, const int *fds)
{
	*sources = PRESSURE_NONE;
	for (unsigned int i = 0; i < PRESSURE_SOURCES; i++)
		if ((msg->sources & 1u << i) != 0)
			sources->of[i] = (struct pressure_source){ *fds++,
				(msg->talking & 1u << i) != 0 };
}

/* For want of a descriptor, or of memory, that may be there again in a second. */
static void
put_off_reload(struct arbiter *a, int error)
{
	struct channel_msg msg = { .type = CHANNEL_RELOAD };

	if (!a->reload_put_off)
		log_errno("arbiter", error,
		    "the new configuration is not taken yet, trying again each "
		    "second%s",
		    error == EMFILE ? "; raise LimitNOFILE=" : "");
	a->reload_put_off = true;
	arbiter_tell_keeper(a, &msg);
}

static void
arbiter_reload(struct arbiter *a, const struct channel_msg *msg, const int *fds)
{
	struct pressure_sources sources;
	struct config *config;
	struct core_params params;
	int r;

	if (fds[0] == -1) {
		put_off_reload(a, EMFILE);
		return;
	}
	r = config_unpack(fds[0], &config);
	close(fds[0]);
	take_sources(&sources, msg, fds + 1);
	watch_pressure(a, &sources);
	if (r != 0) {
		put_off_reload(a, -r);
		return;
	}
	a->reload_put_off = false;
	config_free(a->reloaded);
	a->reloaded = config;
	a->spec.host_wall = msg->host_wall;
	a->spec.read_at.ns = msg->read_at;
	params = params_of(&config->host, msg->host_wall);
	core_set_params(&a->core, &params, clock_now());
	news_reloaded(a);
}

/* For want of something that may be there again, or for ever. */
static void
give_back_session(struct arbiter *a, const struct channel_msg *session, int error)
{
	struct channel_msg msg = { .type = CHANNEL_END,
		.id = session->id,
		.slot = session->slot,
		.error = error };

	if (error == ENOMEM || error == EMFILE)
		msg.type = CHANNEL_UNTAKEN;
	else
		log_errno("arbiter", error, "cannot serve session %u, and end it",
		    session->id);
	arbiter_tell_keeper(a, &msg);
}

static void
on_session(struct arbiter *a, const struct channel_msg *msg, const int *fds)
{
	int pidfd = fds[1], r;

	if (fds[0] == -1) {
		give_back_session(a, msg, EMFILE);
		return;
	}
	if (msg->error != 0 && pidfd != -1) {
		close(pidfd);
		pidfd = -1;
	}
	blame_begin(a, msg->id, msg->slot);
	r = session_create(a, msg, fds[0], pidfd, fds[2]);
	blame_end(a);
	if (r != 0) {
		give_back_session(a, msg, -r);
		return;
	}
	if (!a->ready)
		return; /* all of them are started then */
	session_start(session_at(a, msg->slot, msg->id));
	if (msg->chunks != 0)
		log_info("arbiter", "pool %u %s is served again", msg->id, msg->name);
}

static void
on_ready(struct arbiter *a)
{
	struct session *s;

	TAILQ_FOREACH (s, &a->sessions, entry)
		session_start(s);
	a->ready = true;
	log_info("arbiter", "serving");
}

static void
on_answer(struct arbiter *a, const struct channel_msg *msg, int fd)
{
	struct session *s = session_at(a, msg->slot, msg->id);

	if (s == NULL) {
		if (fd != -1)
			close(fd);
		return;
	}
	blame_begin(a, s->id, s->slot);
	if (msg->type == CHANNEL_CREATED)
		session_on_created(
		    s, msg->error == 0 && fd == -1 ? EMFILE : msg->error, fd);
	else if (msg->type == CHANNEL_AUDITED)
		session_on_audited(s, msg);
	else if (msg->type == CHANNEL_UNWELCOMED)
		session_refuse(s, msg->error, "budd cannot send the client its memory");
	else if (msg->type == CHANNEL_PINNED)
		session_on_pinned(s, msg);
	else
		session_on_unpinned(s, msg->pinned);
	blame_end(a);
}

static void
on_ping(struct arbiter *a, const struct channel_msg *msg)
{
	struct channel_msg pong = { .type = CHANNEL_PONG };
	struct pool *p;

	a->foreign = msg->foreign;
	TAILQ_FOREACH (p, &a->core.pools, entry)
		pong.waiting += p->queue.length;
	arbiter_tell_keeper(a, &pong);
}

static void
on_message(struct arbiter *a, const struct channel_msg *msg, const int *fds)
{
	switch ((enum channel_type)msg->type) {
	case CHANNEL_SESSION:
		on_session(a, msg, fds);
		return;
	case CHANNEL_READY:
		on_ready(a);
		return;
	case CHANNEL_CREATED:
	case CHANNEL_PINNED:
	case CHANNEL_UNPINNED:
	case CHANNEL_AUDITED:
	case CHANNEL_UNWELCOMED:
		on_answer(a, msg, fds[0]);
		return;
	case CHANNEL_RELOAD:
		arbiter_reload(a, msg, fds);
		return;
	case CHANNEL_PING:
		on_ping(a, msg);
		return;
	case CHANNEL_PONG:
	case CHANNEL_UNTAKEN:
	case CHANNEL_CREATE:
	case CHANNEL_PIN:
	case CHANNEL_UNPIN:
	case CHANNEL_AUDIT:
	case CHANNEL_WELCOME:
	case CHANNEL_END:
		break;
	}
	log_err("arbiter", "the keeper sent a message of type %u", msg->type);
}

static void
arbiter_on_keeper(evutil_socket_t fd, short events, void *arg)
{
	struct arbiter *a = arg;
	struct channel_msg msg;
	int fds[CHANNEL_FDS_MAX];
	size_t len;
	int r = wire_recv(fd, &msg, sizeof(msg), &len, fds, CHANNEL_FDS_MAX);

	(void)events;
	if (r == WIRE_E_AGAIN)
		return;
	step();
	if ((r != 0 && r != WIRE_E_NOFDS) || len != sizeof(msg)) {
		event_base_loopbreak(a->base); /* the keeper is gone, and so are we */
		return;
	}
	on_message(a, &msg, fds);
	arbiter_rewind(a);
}

/* --- Life --- */

static int
arbiter_init(struct arbiter *a, const struct arbiter_spec *spec)
{
	struct core_params params = params_of(&spec->config->host, spec->host_wall);

	*a = (struct arbiter){ .spec = *spec, .born = clock_now() };
	TAILQ_INIT(&a->sessions);
	if ((a->by_slot = calloc(spec->slots, sizeof(struct session *))) == NULL)
		return -ENOMEM;
	a->records = mmap(NULL, RECORDS_SIZE(spec->slots), PROT_READ | PROT_WRITE,
	    MAP_SHARED, spec->records, 0);
	if (a->records == MAP_FAILED)
		return -errno;
	a->note = (struct record_note *)(void *)arbiter_record(a, spec->slots);
	blame_inherit(a);
	hostnote_apply(a, &params);
	core_init(&a->core, &params, &session_core_ops, a);
	if (spec->drop) {
		log_err("arbiter", "too many died: what clients wait for is refused");
		a->drop_until = instant_add(clock_now(), DROP_NS);
	}
	if ((a->base = event_base_new()) == NULL)
		return -ENOMEM;
	a->to_keeper = outq_create(a->base, spec->channel, TO_KEEPER_MAX(spec->slots));
	a->from_keeper = event_new(
	    a->base, spec->channel, EV_READ | EV_PERSIST, arbiter_on_keeper, a);
	a->clockwork = evtimer_new(a->base, arbiter_on_clockwork, a);
	if (a->to_keeper == NULL || a->from_keeper == NULL || a->clockwork == NULL)
		return -ENOMEM;
	/* One that could not be asked for its status would not be replaced for that. */
	if ((a->events = events_create(a->base, news_each_second, a)) == NULL ||
	    (spec->status_listener != -1 &&
		(a->http = http_create(a, spec->status_listener)) == NULL))
		return -ENOMEM;
	watch_pressure(a, &a->spec.pressure);
	return event_add(a->from_keeper, NULL) == 0 ? 0 : -ENOMEM;
}

/* The process ends next: what the system takes back anyway is not taken apart here, but
 * for what a leak checker would hold against us. */
static void
arbiter_fini(struct arbiter *a)
{
	struct session *s;

	core_freeze(&a->core);
	while ((s = TAILQ_FIRST(&a->sessions)) != NULL) {
		if (session_has_pool(s))
			core_close(&a->core, &s->pool, clock_now());
		session_free(s);
	}
	core_fini(&a->core);
	events_free(a->events);
	http_free(a->http);
	pressure_free(a->pressure);
	outq_free(a->to_keeper);
	event_free(a->from_keeper);
	event_free(a->clockwork);
	event_base_free(a->base);
	free(a->by_slot);
	config_free(a->reloaded);
}

int
arbiter_main(const struct arbiter_spec *spec)
{
	struct arbiter a;
	int r;

	setproctitle("arbiter");
	if ((r = privileges_of_arbiter()) != 0 || (r = arbiter_init(&a, spec)) != 0 ||
	    (r = sandbox_enter(SANDBOX_ARBITER, log_is_syslog())) != 0) {
		log_errno("arbiter", -r, "cannot start");
		return 1;
	}
	event_base_dispatch(a.base);
	arbiter_fini(&a);
	return 0;
}
