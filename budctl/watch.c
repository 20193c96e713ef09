/* SPDX-License-Identifier: ISC */

/*
 * budctl watch: events as they come.
 *
 * The stream ends with the arbiter, and the next one is there in a moment, with all pools:
 * whoever watches expects to go on. So the command connects again, for RETURN_S; and for
 * ever with --reconnect, which also waits for a budd that has not been started yet. What
 * happened in between, nobody tells.
 */
#include "budctl/watch.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "budctl/command.h"
#include "budctl/http.h"
#include "budctl/terminal.h"

#define RETURN_S 5
#define PAUSE_MS 100

static bool
on_line(const char *line, void *arg)
{
	const struct options *o = arg;
	cJSON *event;
	char *text;

	if (o->json) {
		puts(line);
	} else if ((event = cJSON_Parse(line)) != NULL) {
		puts(text = watch_text(event));
		free(text);
		cJSON_Delete(event);
	}
	return fflush(stdout) == 0 && !ferror(stdout);
}

static void
say(const char *what, const char *socket)
{
	char *safe = terminal_safe(socket);

	warnx("%s %s", what, safe);
	free(safe);
}

static double
now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
pause_a_moment(void)
{
	struct timespec t = { .tv_nsec = PAUSE_MS * 1000000L };

	nanosleep(&t, NULL);
}

/* Until budd answers; what it says is the caller's. */
static enum budctl_exit
wait_for_budd(const struct options *o, double limit_s)
{
	double end = now_s() + limit_s;
	enum budctl_exit code;

	do {
		pause_a_moment();
		code = http_probe(o->socket);
	} while (code == BUDCTL_UNREACHABLE && (o->reconnect || now_s() < end));
	return code;
}

enum budctl_exit
watch_command(const struct options *o, char *const args[])
{
	struct options copy = *o;
	enum budctl_exit code;

	(void)args;
	if (o->reconnect && http_probe(o->socket) == BUDCTL_UNREACHABLE) {
		say("waiting for budd at", o->socket);
		wait_for_budd(o, 0);
	}
	while ((code = http_stream(o->socket, "/v1/events", on_line, &copy)) ==
	       BUDCTL_OK) {
		if (ferror(stdout))
			break;
		if (wait_for_budd(o, RETURN_S) == BUDCTL_UNREACHABLE) {
			say("budd has gone from", o->socket);
			return BUDCTL_UNREACHABLE;
		}
	}
	return code;
}
