/* SPDX-License-Identifier: ISC */

/* The log: where lines go, and what may be in them. */
#include "daemon/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define LOG_IDENT "budd"
#define CUT       "..." /* ends a line that was too long */
#define STAMP_MAX 64    /* bytes of a time stamp or prefix */

enum sink {
	SINK_STDERR,
	SINK_JOURNAL,
	SINK_SYSLOG
};

static enum sink sink = SINK_STDERR;
static char debugged[LOG_TOKEN_MAX];

static const char *
level_name(int level)
{
	switch (level) {
	case LOG_ERR:
		return "err";
	case LOG_WARNING:
		return "warn";
	case LOG_INFO:
		return "info";
	}
	return "debug";
}

/*
 * The variable alone is not enough: programs inherit it whose stderr was sent elsewhere
 * since, a shell on a desktop for one. So systemd puts the device and inode into it.
 */
static bool
stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	uintmax_t dev, ino;
	struct stat st;

	return stream != NULL && sscanf(stream, "%ju:%ju", &dev, &ino) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

void
log_init(bool foreground)
{
	tzset(); /* reads a file, which may be out of reach later */
	sink = SINK_SYSLOG;
	if (foreground)
		sink = stderr_is_journal() ? SINK_JOURNAL : SINK_STDERR;
	else
		openlog(LOG_IDENT, LOG_PID | LOG_NDELAY, LOG_DAEMON);
}

bool
log_is_syslog(void)
{
	return sink == SINK_SYSLOG;
}

void
log_debug_token(const char *token)
{
	strlcpy(debugged, token != NULL ? token : "", sizeof(debugged));
}

/* U+0080 to U+009F are control characters too, for a terminal that speaks UTF-8. */
static bool
is_control(const char *c)
{
	unsigned char byte = (unsigned char)c[0], next = (unsigned char)c[1];

	return byte < ' ' || byte == 0x7f ||
	       (byte == 0xc2 && next >= 0x80 && next < 0xa0);
}

static void
clean(char *line)
{
	for (; *line != '\0'; line++) {
		if (!is_control(line))
			continue;
		if ((unsigned char)*line == 0xc2)
			line[1] = '?';
		*line = '?';
	}
}

/* At @end, or before the character that stands across it: half of one is no text. */
static void
cut(char *end)
{
	int i;

	for (i = 0; i < 3 && ((unsigned char)*end & 0xc0) == 0x80; i++)
		end--;
	strlcpy(end, CUT, sizeof(CUT));
}

/* What stands before the level in the foreground. */
static void
put_stamp(int level, char *stamp, size_t size)
{
	char date[32] = "";
	struct timespec now;
	struct tm tm;

	if (sink == SINK_JOURNAL) {
		snprintf(stamp, size, "<%d>", level);
		return;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	if (localtime_r(&now.tv_sec, &tm) != NULL)
		strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", &tm);
	snprintf(stamp, size, "%s.%03ld ", date, now.tv_nsec / 1000000);
}

static void
put_line(int level, const char *line)
{
	char out[STAMP_MAX + LOG_LINE_MAX + 1];
	ssize_t n;

	if (sink == SINK_SYSLOG) {
		syslog(level, "%s", line);
		return;
	}
	put_stamp(level, out, STAMP_MAX);
	strlcat(out, line, sizeof(out) - 1);
	strlcat(out, "\n", sizeof(out));
	do
		n = write(STDERR_FILENO, out, strlen(out));
	while (n == -1 && errno == EINTR);
}

static void log_line(int level, const char *token, int error, const char *fmt,
    va_list ap) __attribute__((format(printf, 4, 0)));

/* @error 0: none. It is the part that a long line keeps. */
static void
log_line(int level, const char *token, int error, const char *fmt, va_list ap)
{
	char line[LOG_LINE_MAX], tail[128] = "";
	int saved = errno;
	size_t len, room;

	if (error != 0)
		snprintf(tail, sizeof(tail), ": %s", strerror(abs(error)));
	room = sizeof(line) - strlen(tail);
	snprintf(line, room, "%s %s ", level_name(level), token);
	len = strlen(line);
	if ((size_t)vsnprintf(line + len, room - len, fmt, ap) >= room - len)
		cut(line + room - sizeof(CUT));
	strlcat(line, tail, sizeof(line));
	clean(line);
	put_line(level, line);
	errno = saved;
}

void
log_err(const char *token, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line(LOG_ERR, token, 0, fmt, ap);
	va_end(ap);
}

void
log_warn(const char *token, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line(LOG_WARNING, token, 0, fmt, ap);
	va_end(ap);
}

void
log_info(const char *token, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line(LOG_INFO, token, 0, fmt, ap);
	va_end(ap);
}

void
log_debug(const char *token, const char *fmt, ...)
{
	va_list ap;

	if (strcmp(debugged, token) != 0 && strcmp(debugged, "all") != 0)
		return;
	va_start(ap, fmt);
	log_line(LOG_DEBUG, token, 0, fmt, ap);
	va_end(ap);
}

void
log_errno(const char *token, int error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line(LOG_ERR, token, error, fmt, ap);
	va_end(ap);
}
