/* SPDX-License-Identifier: ISC */

/* budctl web: what it was asked for, and the loop. */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>
#include <event2/event.h>

#include "budctl/command.h"
#include "budctl/terminal.h"
#include "budctl/web.h"

static int
family_of(const char *host)
{
	struct in6_addr address;

	if (inet_pton(AF_INET, host, &address) == 1)
		return AF_INET;
	return inet_pton(AF_INET6, host, &address) == 1 ? AF_INET6 : AF_UNSPEC;
}

/* "127.0.0.1:8765", "[::1]:8765". False: it is nothing like that. */
static bool
parse_address(const char *text, struct web_address *addressp)
{
	const char *colon = strrchr(text, ':'), *error;
	size_t length = colon != NULL ? (size_t)(colon - text) : 0;
	bool brackets = length > 2 && text[0] == '[' && text[length - 1] == ']';
	struct web_address a = { 0 };

	if (brackets) {
		text++;
		length -= 2;
	}
	if (length == 0 || length >= sizeof(a.host))
		return false;
	memcpy(a.host, text, length);
	a.port = (unsigned short)strtonum(colon + 1, 0, UINT16_MAX, &error);
	if (error != NULL || family_of(a.host) != (brackets ? AF_INET6 : AF_INET))
		return false;
	*addressp = a;
	return true;
}

static bool
is_loopback(const struct web_address *a)
{
	return strncmp(a->host, "127.", 4) == 0 || strcmp(a->host, "::1") == 0;
}

/* Exit code 0 to go on. */
static enum budctl_exit
check(const struct options *o, struct web_address *addressp)
{
	const char *listen = o->listen != NULL ? o->listen : WEB_LISTEN_DEFAULT;
	char *safe = terminal_safe(listen);
	enum budctl_exit code = BUDCTL_USAGE;

	if (!parse_address(listen, addressp)) {
		warnx("--listen wants ADDRESS:PORT, like " WEB_LISTEN_DEFAULT
		      " or [::1]:8765, not '%s'",
		    safe);
	} else if (!is_loopback(addressp) && !o->allow_remote) {
		warnx("%s can be reached from other hosts, and whoever reaches it sees "
		      "the "
		      "pools, users and commands of this one; if that is meant, say "
		      "--allow-remote",
		    safe);
	} else {
		code = BUDCTL_OK;
		if (!is_loopback(addressp))
			warnx("warning: whoever reaches %s sees the pools, users and "
			      "commands of this host",
			    safe);
	}
	free(safe);
	return code;
}

static void
web_on_signal(evutil_socket_t signal_number, short events, void *arg)
{
	(void)signal_number;
	(void)events;
	event_base_loopbreak(arg);
}

static bool
dispatch(struct event_base *base)
{
	struct event *term = evsignal_new(base, SIGTERM, web_on_signal, base),
		     *intr = evsignal_new(base, SIGINT, web_on_signal, base);
	bool ok = term != NULL && intr != NULL && event_add(term, NULL) == 0 &&
		  event_add(intr, NULL) == 0 && event_base_dispatch(base) == 0;

	if (term != NULL)
		event_free(term);
	if (intr != NULL)
		event_free(intr);
	return ok;
}

static enum budctl_exit
serve(const struct options *o, const struct web_address *a, struct event_base *base,
    struct web_proxy *proxy)
{
	struct web_server *server;
	bool v6 = strchr(a->host, ':') != NULL, ok;
	int r = web_server_create(&server, base, proxy, a, o->host);

	if (r != 0) {
		warnx("cannot listen at %s port %u: %s%s", a->host, a->port,
		    strerror(-r), r == -EADDRINUSE ? "; --listen names another" : "");
		return BUDCTL_FAILED;
	}
	printf("http://%s%s%s:%u/\n", v6 ? "[" : "", a->host, v6 ? "]" : "",
	    web_server_port(server));
	fflush(stdout);
	ok = dispatch(base);
	web_server_free(server);
	return ok ? BUDCTL_OK : BUDCTL_FAILED;
}

enum budctl_exit
web_command(const struct options *o, char *const args[])
{
	struct web_address address;
	struct event_base *base;
	struct web_proxy *proxy = NULL;
	enum budctl_exit code = check(o, &address);

	(void)args;
	if (code != BUDCTL_OK)
		return code;
	signal(SIGPIPE, SIG_IGN);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	base = event_base_new();
	if (base == NULL || (proxy = web_proxy_create(base, o->socket)) == NULL) {
		warnx("no memory for a server");
		code = BUDCTL_FAILED;
	} else {
		code = serve(o, &address, base, proxy);
	}
	web_proxy_free(proxy);
	if (base != NULL)
		event_base_free(base);
	curl_global_cleanup();
	return code;
}
