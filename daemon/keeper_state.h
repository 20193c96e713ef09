/* SPDX-License-Identifier: ISC */

/*
 * What the keeper's parts share, and nobody else: its state, and what each part does with it.
 *
 *	keeper.c	 the loop: signals, new connections, what the arbiter says
 *	keeper_mail.c	 what is said to the arbiter
 *	keeper_arbiter.c the arbiter's life: started, watched, ended, started again
 *	keeper_reload.c	 budd.conf, read again
 */
#ifndef DAEMON_KEEPER_STATE_H
#define DAEMON_KEEPER_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/channel.h"
#include "daemon/clock.h"
#include "daemon/deaths.h"
#include "daemon/keeper.h"
#include "daemon/pulse.h"
#include "daemon/vault.h"

/* Before a message is sent again, for which there was room, but not for its descriptors. */
#define MAIL_PAUSE_MS 10

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
	bool reload_said;           /* to this arbiter, at some time */
	struct instant reload_from; /* it is not told of it before this */
	bool mail_waits;
	struct instant mail_from; /* it is not tried again before this */
	struct channel_mail mail;
	bool stop;
};

/* keeper_mail.c. None waits; a message that finds no room is kept, and sent by
 * keeper_flush_mail(). */

/** keeper_tell() - say it now or later; nothing else may wait to be said */
void keeper_tell(struct keeper *k, const struct channel_mail *mail);
void keeper_flush_mail(struct keeper *k);
/** keeper_drop_mail() - nobody is there to hear it */
void keeper_drop_mail(struct keeper *k);
void keeper_tell_reload(struct keeper *k);
/** keeper_reload_again() - the arbiter could not take it, and is told again a while later */
void keeper_reload_again(struct keeper *k);
/** keeper_hand_over() - a message of what there is to a new arbiter; true while there is more */
bool keeper_hand_over(struct keeper *k);
/** keeper_offer_again() - a session that the arbiter could not take, if it is time to */
void keeper_offer_again(struct keeper *k);
bool keeper_is_offering(const struct keeper *k);

/* keeper_arbiter.c */
void keeper_start_arbiter(struct keeper *k);
/** keeper_reap_arbiter() - see whether it has died, and do what is left to do */
void keeper_reap_arbiter(struct keeper *k);
/** keeper_restart_pause_ms() - until another may be started */
int keeper_restart_pause_ms(const struct keeper *k);
/** keeper_condemn() - end it for what it did; SIGCHLD goes on from there */
void keeper_condemn(struct keeper *k);
/** keeper_end_arbiter() - the keeper ends: wait for it, for a while */
void keeper_end_arbiter(struct keeper *k);
void keeper_close_channel(struct keeper *k);
void keeper_take_pulse(struct keeper *k);
void keeper_on_pong(struct keeper *k, const struct channel_msg *msg);
/** keeper_end_stuck_arbiter() - if it has not answered for too long */
void keeper_end_stuck_arbiter(struct keeper *k);

/* keeper_reload.c */
struct config;
void keeper_reload(struct keeper *k);
/** keeper_note_pages() - warn of heaps that will not get the pages they are named for */
void keeper_note_pages(const struct config *config);
/** keeper_allow_memory() - of the length that the sections allow; it never shrinks */
void keeper_allow_memory(struct vault *v, const struct config *config);

#endif
