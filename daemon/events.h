/* SPDX-License-Identifier: ISC */

/*
 * GET /v1/events: a stream of JSON objects, one a line, to each of those who listen.
 *
 * A listener costs a bounded amount of memory: what it does not read in time it loses, and is
 * told how many lines that were. There are EVENTS_READERS_MAX of them, and of one user (but
 * root and the user that budd runs as) EVENTS_USER_MAX. One that takes nothing while there
 * is something to send is cut off by the time-out of the status socket, and one that says
 * anything behind its request is sent away.
 */
#ifndef DAEMON_EVENTS_H
#define DAEMON_EVENTS_H

#include <stdbool.h>
#include <sys/types.h>

#include <cjson/cJSON.h>

struct event_base;
struct evhttp_request;
struct events;

#define EVENTS_READERS_MAX 32u
#define EVENTS_USER_MAX    8u
#define EVENTS_BACKLOG_MAX 65536u /* bytes that a listener may be behind */

/** events_create() - nobody listens yet; NULL: no memory
 * @each_second:	is called while somebody listens */
struct events *events_create(
    struct event_base *base, void (*each_second)(void *arg), void *arg);
/** events_free() - before evhttp_free(), which ends the connections; NULL is fine */
void events_free(struct events *e);

/** events_join() - answer @req, a GET, with the stream
 * @uid:	who listens
 * @samples:	also the lines that come each second
 * @timeout_s:	of a listener that takes nothing
 * Return: 200 and the request is ours; 429, 500, and it is not */
int events_join(struct events *e, struct evhttp_request *req, uid_t uid, bool samples,
    int timeout_s);
/** events_first() - what the one who joined last is to read first; @line becomes ours */
void events_first(struct events *e, cJSON *line);

/** events_wanted() - whether anybody listens; false of NULL. Asked before an event is made */
bool events_wanted(const struct events *e);
/** events_samples_wanted() - ... to what comes each second */
bool events_samples_wanted(const struct events *e);
/** events_begin() - {"event": @name, "time"}; NULL: no memory */
cJSON *events_begin(const char *name);
/** events_tell() - to all who listen
 * @complete:	false: there was no memory for all of it; they are told of a loss instead
 * @line:	becomes ours */
void events_tell(struct events *e, bool complete, cJSON *line);
/** events_sample() - ... who want samples */
void events_sample(struct events *e, bool complete, cJSON *line);

#endif
