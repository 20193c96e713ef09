/* SPDX-License-Identifier: ISC */

/*
 * The log: lines of a level, a token and a text that starts with its subject:
 *
 *   info session pool 7 (uid 1000 pid 4242): opened, base 1 MiB
 *
 * The token names the part of budd that speaks, and is what debugging is enabled by.
 * A line is cut to LOG_LINE_MAX bytes; control characters in it become '?', so that a
 * name that a client chose cannot forge another line. errno is left alone, nothing is
 * allocated here, and a log that cannot be written is not an error.
 *
 * Not for signal handlers. Until log_init() lines go to stderr.
 */
#ifndef DAEMON_LOG_H
#define DAEMON_LOG_H

#include <stdbool.h>

#define LOG_LINE_MAX  1024 /* bytes of a line, its NUL included */
#define LOG_TOKEN_MAX 32   /* of a token, its NUL included */

/**
 * log_init() - choose where lines go
 * @foreground:	true: to stderr, one write(2) a line, with a time stamp; or, if stderr
 *		is the journal's (JOURNAL_STREAM), with the prefix of sd-daemon(3).
 *		false: to syslog(3), LOG_DAEMON
 *
 * Opens what it needs at once, so that it may be called before a sandbox closes.
 */
void log_init(bool foreground);
/** log_is_syslog() - lines go to syslog, not to stderr */
bool log_is_syslog(void);
/** log_debug_token() - let log_debug() speak for one token; NULL: none, "all": each */
void log_debug_token(const char *token);

void log_err(const char *token, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void log_warn(const char *token, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void log_info(const char *token, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void log_debug(const char *token, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/** log_errno() - log_err() with ": " and what @error means; errno's sign or negative */
void log_errno(const char *token, int error, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
