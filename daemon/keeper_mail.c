/* SPDX-License-Identifier: ISC */

/*
 * What the keeper says to the arbiter.
 *
 * A message that the arbiter does not take at once waits in `mail`; until it is gone the keeper
 * accepts and answers nothing, so one place is enough. A new arbiter is handed what there is, a
 * message a turn of the loop.
 */
#include <assert.h>
#include <unistd.h>

#include "daemon/arbiter.h"
#include "daemon/config.h"
#include "daemon/config_pack.h"
#include "daemon/keeper_state.h"
#include "daemon/log.h"
#include "daemon/pressure.h"
#include "proto/wire.h"

#define OFFER_PAUSE_MS \
	1000 /* between tries to have the arbiter take what it could not */

/* The descriptors of a RELOAD are made for it. */
void
keeper_drop_mail(struct keeper *k)
{
	struct channel_mail *m = &k->mail;

	for (unsigned int i = 0; m->msg.type == CHANNEL_RELOAD && i < m->nfds; i++)
		close(m->fds[i]);
	m->nfds = 0;
	k->mail_waits = false;
}

void
keeper_flush_mail(struct keeper *k)
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
	keeper_drop_mail(
	    k); /* if the arbiter is gone, its successor learns otherwise */
	if (r < 0)
		log_errno("keeper", -r, "cannot send to the arbiter");
}

void
keeper_tell(struct keeper *k, const struct channel_mail *mail)
{
	assert(!k->mail_waits);
	k->mail = *mail;
	k->mail_waits = true;
	keeper_flush_mail(k);
}

void
keeper_reload_again(struct keeper *k)
{
	k->reloaded = true;
	k->reload_from = instant_add(clock_now(), OFFER_PAUSE_MS * NS_PER_MS);
}

void
keeper_tell_reload(struct keeper *k)
{
	struct channel_mail mail = { .msg = { .type = CHANNEL_RELOAD,
					 .host_wall = k->vault.host_wall,
					 .read_at = k->read_at.ns } };
	struct pressure_sources sources;
	int fd = config_pack(k->spec.config);

	if (fd < 0) {
		log_errno("keeper", -fd,
		    "the arbiter cannot be told of the reload; trying again in a "
		    "second");
		keeper_reload_again(k);
		return;
	}
	k->reload_said = true;
	mail.fds[mail.nfds++] = fd;
	pressure_open(&sources, &k->spec.config->host.pressure);
	for (unsigned int i = 0; i < PRESSURE_SOURCES; i++) {
		if (sources.of[i].fd == -1)
			continue;
		mail.fds[mail.nfds++] = sources.of[i].fd;
		mail.msg.sources |= 1u << i;
		mail.msg.talking |= (uint32_t)sources.of[i].talks << i;
	}
	keeper_tell(k, &mail);
}

/* A message a turn; true while there is more. */
bool
keeper_hand_over(struct keeper *k)
{
	struct channel_mail mail;

	if (k->ready_said || k->mail_waits)
		return !k->ready_said;
	if (vault_next(&k->vault, &k->handed_over, &mail)) {
		keeper_tell(k, &mail);
		return true;
	}
	k->ready_said = true;
	mail = (struct channel_mail){ .msg = { .type = CHANNEL_READY } };
	keeper_tell(k, &mail);
	return false;
}

bool
keeper_is_offering(const struct keeper *k)
{
	return k->offered < k->vault.table->slots;
}

/* What the arbiter could not take, a session a turn. */
void
keeper_offer_again(struct keeper *k)
{
	struct instant now = clock_now();
	struct channel_mail mail;

	if (!keeper_is_offering(k)) {
		if (!k->vault.has_untaken || instant_before(now, k->offer_from))
			return;
		k->vault.has_untaken = false;
		k->offered = 0;
		k->offer_from = instant_add(now, OFFER_PAUSE_MS * NS_PER_MS);
	}
	if (vault_untaken_next(&k->vault, &k->offered, &mail))
		keeper_tell(k, &mail);
}
