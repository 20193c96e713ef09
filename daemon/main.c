/* SPDX-License-Identifier: ISC */

/* budd: options, sockets, and the start of the keeper. */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/config.h"
#include "daemon/descriptors.h"
#include "daemon/heap.h"
#include "daemon/hostwall.h"
#include "daemon/keeper.h"
#include "daemon/largepages.h"
#include "daemon/listener.h"
#include "daemon/log.h"
#include "daemon/privileges.h"
#include "daemon/store.h"
#include "proto/ledger.h"

struct options {
	const char *config_path;
	const char *socket_path;
	const char *status_path;
	const char *debug_token;
	bool test;
	bool foreground;
};

static void
usage(FILE *out)
{
	fprintf(out,
	    "usage: budd [-dhtV] [-D TOKEN] [-f FILE] [-s SOCKET] [-S STATUS_SOCKET]\n"
	    "\n"
	    "The daemon of bud: pins memory for clients, in pools that size "
	    "themselves.\n"
	    "\n"
	    "  -f FILE           configuration [%s]\n"
	    "  -s SOCKET         where clients connect [%s]\n"
	    "  -S STATUS_SOCKET  where budctl connects [%s]\n"
	    "  -t                check the configuration and exit\n"
	    "  -d                stay in the foreground, log to stderr\n"
	    "  -D TOKEN          log details of TOKEN (session, wire, all ...)\n"
	    "  -h                this text\n"
	    "  -V                the version\n"
	    "\n"
	    "SIGHUP reads the configuration again; SIGTERM ends budd and all pools.\n",
	    CONFIG_PATH, BUD_SOCKET_PATH, BUD_STATUS_SOCKET_PATH);
}

static void
parse_options(int argc, char **argv, struct options *o)
{
	int c;

	while ((c = getopt_long(argc, argv, "f:s:S:tdD:hV",
		    (const struct option[]){ { "help", no_argument, NULL, 'h' },
			{ "version", no_argument, NULL, 'V' }, { NULL, 0, NULL, 0 } },
		    NULL)) != -1) {
		switch (c) {
		case 'f':
			o->config_path = optarg;
			break;
		case 's':
			o->socket_path = optarg;
			break;
		case 'S':
			o->status_path = optarg;
			break;
		case 't':
			o->test = true;
			break;
		case 'd':
			o->foreground = true;
			break;
		case 'D':
			o->debug_token = optarg;
			break;
		case 'h':
			usage(stdout);
			exit(0);
		case 'V':
			printf("budd %s\n", PACKAGE_VERSION);
			exit(0);
		default:
			usage(stderr);
			exit(2);
		}
	}
	if (optind < argc) {
		warnx("unexpected argument: %s", argv[optind]);
		usage(stderr);
		exit(2);
	}
}

static uint64_t
smallest_pool(void)
{
	return heap_charge(1, 1);
}

static struct listener clients = { .fd = -1 }, status = { .fd = -1 };

static void
close_listeners(void)
{
	listener_close(&status);
	listener_close(&clients);
}

/* One from the service manager, or, from nowhere, our own. */
static int
open_clients(const struct options *o, int fd, char *why, size_t why_size)
{
	int r;

	if (fd != -1)
		return listener_adopt(&clients, fd, SOCK_SEQPACKET, why, why_size);
	if ((r = listener_lock(&clients, o->socket_path, why, why_size)) != 0)
		return r;
	return listener_open(
	    &clients, o->socket_path, SOCK_SEQPACKET, 0666, why, why_size);
}

static int
open_status(const struct options *o, int fd, char *why, size_t why_size)
{
	if (fd != -1)
		return listener_adopt(&status, fd, SOCK_STREAM, why, why_size);
	return listener_open(&status, o->status_path, SOCK_STREAM, 0666, why, why_size);
}

static void
open_listeners(const struct options *o, struct store *st)
{
	char why[512];

	if (open_clients(o, store_take(st, STORE_CLIENTS), why, sizeof(why)) != 0 ||
	    open_status(o, store_take(st, STORE_STATUS), why, sizeof(why)) != 0) {
		close_listeners();
		errx(1, "%s", why);
	}
}

/* After all that can go wrong where the user sees it. The directory stays: paths may be
 * relative to it. */
static void
go_to_background(void)
{
	if (daemon(1, 0) == -1)
		err(1, "daemon");
	listener_write_pid(&clients);
}

static void
warn_line(void *ctx, const char *line)
{
	fprintf(ctx, "budd: warning: on this host, %s\n", line);
}

/* Not of the file, but of what it meets here. */
static void
warn_of_pages(const struct config *config)
{
	struct largepages large;

	largepages_read(&large, LARGEPAGES_PATH);
	largepages_check(&large, config, warn_line, stderr);
}

int
main(int argc, char **argv)
{
	struct options o = { .socket_path = BUD_SOCKET_PATH,
		.status_path = BUD_STATUS_SOCKET_PATH };
	struct keeper_spec spec = { 0 };
	struct store store;
	char why[512];
	int r;

	setproctitle_init(argc, argv, environ);
	parse_options(argc, argv, &o);
	if (config_load(&spec.config, o.config_path, stderr) != 0)
		return 1;
	if (o.test) {
		warn_of_pages(spec.config);
		printf("%s: ok\n", o.config_path != NULL ? o.config_path : CONFIG_PATH);
		config_free(spec.config);
		return 0;
	}
	log_init(true);
	if (hostwall_find(spec.config->host.wall, smallest_pool(), &spec.host_wall, why,
		sizeof(why)) != 0)
		errx(1, "%s", why);
	if ((r = store_init(&store)) != 0)
		errc(1, -r, "descriptors of the service manager");
	open_listeners(&o, &store);
	if (!o.foreground)
		go_to_background();
	log_init(o.foreground);
	log_debug_token(o.debug_token);
	descriptors_raise();
	descriptors_fit(&spec.config->host.clients_max);
	signal(SIGPIPE, SIG_IGN);
	log_info("budd",
	    "version %s, host wall %llu bytes, clients at %s, status at %s",
	    PACKAGE_VERSION, (unsigned long long)spec.host_wall, o.socket_path,
	    o.status_path);
	if ((r = privileges_of_keeper()) != 0) {
		close_listeners();
		errc(1, -r, "privileges");
	}
	spec.config_path = o.config_path;
	spec.store = &store;
	spec.client_listener = clients.fd;
	spec.status_listener = status.fd;
	r = keeper_main(&spec);
	close_listeners();
	store_fini(&store);
	return r;
}
