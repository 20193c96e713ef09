/* SPDX-License-Identifier: ISC */

/*
 * The connections of the status socket: SEATS_MAX of them. Whoever comes beyond that is
 * let in, and the one that came first is cut off: so those who stay and say nothing do not
 * keep out the operator who looks why.
 */
#ifndef DAEMON_SEATS_H
#define DAEMON_SEATS_H

struct bufferevent;
struct evconnlistener;
struct event_base;
struct seats;

#define SEATS_MAX 64u

/** seats_create() - NULL: no memory */
struct seats *seats_create(void);
/** seats_watch() - accept no more than a few at @listener in a turn of the loop; it is
 * another's, and is freed before seats_free()
 * Return: 0 or -1, out of memory */
int seats_watch(
    struct seats *s, struct event_base *base, struct evconnlistener *listener);
/** seats_take() - evhttp's callback for a new connection
 * Return: for evhttp, which frees it; NULL: no memory, evhttp makes its own */
struct bufferevent *seats_take(struct seats *s, struct event_base *base);
/** seats_keep() - a connection that stays for long with a right to: it is not the one that is
 * cut for another's sake. There are to be far fewer of them than SEATS_MAX */
void seats_keep(struct seats *s, const struct bufferevent *connection);
/** seats_free() - after evhttp_free() */
void seats_free(struct seats *s);

#endif
