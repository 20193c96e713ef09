/* SPDX-License-Identifier: ISC */

/*
 * What is told to those who listen to /v1/events; doc/status.md has each event with its keys.
 * Each of these costs a comparison while nobody listens.
 */
#ifndef DAEMON_NEWS_H
#define DAEMON_NEWS_H

#include <stdint.h>
#include <sys/types.h>

#include "daemon/core.h"

struct arbiter;
struct channel_msg;
struct session;

/** news_hello() - to the one who joined last: what budd this is, and that it began anew */
void news_hello(const struct arbiter *a);
/** news_each_second() - those who wait for long, refusals that were held back, and samples;
 * @arg is the arbiter */
void news_each_second(void *arg);

void news_opened(const struct session *s);
/** news_closed() - before it is taken apart; @used bytes were in buffers */
void news_closed(const struct session *s, uint64_t used, const char *why);
/** news_dropped() - it is not listened to any more; its memory stays until it is gone */
void news_dropped(const struct session *s, const char *why);
/** news_denied() - it gets no pool */
void news_denied(const struct session *s, const char *why);
/** news_of_core() - a pool has grown or shrunk, or has too much */
void news_of_core(const struct session *s, enum core_news news, uint64_t bytes);
/** news_refused() - a request; @error is a positive errno. A pool has one such event a
 * second, with how many there were */
void news_refused(struct session *s, int error);
/** news_served() - a turn was given to one that was told of as waiting for long */
void news_served(const struct session *s, const struct request *r);
/** news_audited() - @pages: of the whole pool, that were not locked */
void news_audited(const struct session *s, uint64_t pages, int error);
/** news_pressure() - the host is short of memory; @blocks go */
void news_pressure(const struct arbiter *a, unsigned int blocks);
/** news_changed() - by an operator
 * @s:	NULL: the host */
void news_changed(
    const struct arbiter *a, const struct session *s, uid_t uid, const char *what);
/** news_reloaded() - budd.conf was read again */
void news_reloaded(const struct arbiter *a);

#endif
