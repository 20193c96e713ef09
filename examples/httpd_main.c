/* SPDX-License-Identifier: ISC */

/*
 * bud-httpd: a file server whose data lives in pinned buffers of a bud pool.
 *
 * An example of how a network application uses the pool: it pins little when it is
 * idle, more when it is busy, never more than the wall; and at the wall its clients
 * wait for their turn while the loop serves the others.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <libutil.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bud.h"
#include "examples/httpd_file.h"
#include "examples/httpd_server.h"

#define DEFAULT_LISTEN  "127.0.0.1:8080"
#define DEFAULT_POOL    "bud-httpd"
#define DEFAULT_WAIT_MS 30000
#define DEFAULT_IDLE_MS 60000
#define MS_MAX          86400000
#define PIECE_MAX       (256u * 1024)

struct options {
	const char *root;
	const char *listen;
	struct bud_config config;
	int wait_ms;
	int idle_ms;
	int linger_ms;
	bool quiet;
};

static void
usage(void)
{
	printf(
	    "usage: bud-httpd [option ...]\n"
	    "Serve the files of a directory over HTTP, from a pool of pinned "
	    "memory.\n\n"
	    "  --root DIR            the directory (default: .)\n"
	    "  --listen ADDR:PORT    where to listen; port 0 picks one (default: %s)\n"
	    "  --pool NAME           section of budd.conf, or a label (default: %s)\n"
	    "  --base SIZE           pinned at once and kept, such as 1M (default: as\n"
	    "                        budd.conf says)\n"
	    "  --add SIZE            pinned at a time when more is needed (default: "
	    "as\n"
	    "                        budd.conf says)\n"
	    "  --wall SIZE           most that is ever pinned (default: as budd.conf "
	    "says)\n"
	    "  --wait-timeout MS     longest wait for a buffer; then 503 (default: "
	    "%d)\n"
	    "  --idle-timeout MS     longest wait for a client, to ask for something "
	    "or\n"
	    "                        to take what it asked for (default: %d)\n"
	    "  --linger-ms MS        hold each buffer so much longer, as a slow "
	    "network\n"
	    "                        would (default: 0)\n"
	    "  --socket PATH         budd's socket (default: $BUD_SOCKET, else\n"
	    "                        %s)\n"
	    "  --quiet               print nothing but errors\n"
	    "  -V, --version         print the version\n"
	    "  -h, --help            print this\n",
	    DEFAULT_LISTEN, DEFAULT_POOL, DEFAULT_WAIT_MS, DEFAULT_IDLE_MS,
	    BUD_SOCKET_PATH);
}

static size_t
parse_size(const char *option, const char *text)
{
	uint64_t n;

	if (*text < '0' || *text > '9' || expand_number(text, &n) == -1 || n == 0 ||
	    n > SIZE_MAX)
		errx(2, "--%s %s: not a size; give one such as 256K, 64M or 1G", option,
		    text);
	return (size_t)n;
}

static int
parse_ms(const char *option, const char *text, int min)
{
	char *end;
	long ms;

	errno = 0;
	ms = strtol(text, &end, 10);
	if (*text == '\0' || *end != '\0' || errno != 0 || ms < min || ms > MS_MAX)
		errx(2, "--%s %s: give milliseconds, %d to %d", option, text, min,
		    MS_MAX);
	return (int)ms;
}

enum long_option {
	OPTION_ROOT = 256,
	OPTION_LISTEN,
	OPTION_POOL,
	OPTION_BASE,
	OPTION_ADD,
	OPTION_WALL,
	OPTION_WAIT,
	OPTION_IDLE,
	OPTION_LINGER,
	OPTION_SOCKET,
	OPTION_QUIET,
};

static const struct option long_options[] = {
	{ "root", required_argument, NULL, OPTION_ROOT },
	{ "listen", required_argument, NULL, OPTION_LISTEN },
	{ "pool", required_argument, NULL, OPTION_POOL },
	{ "base", required_argument, NULL, OPTION_BASE },
	{ "add", required_argument, NULL, OPTION_ADD },
	{ "wall", required_argument, NULL, OPTION_WALL },
	{ "wait-timeout", required_argument, NULL, OPTION_WAIT },
	{ "idle-timeout", required_argument, NULL, OPTION_IDLE },
	{ "linger-ms", required_argument, NULL, OPTION_LINGER },
	{ "socket", required_argument, NULL, OPTION_SOCKET },
	{ "quiet", no_argument, NULL, OPTION_QUIET },
	{ "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static void
parse_option(struct options *o, int option)
{
	switch (option) {
	case OPTION_ROOT:
		o->root = optarg;
		break;
	case OPTION_LISTEN:
		o->listen = optarg;
		break;
	case OPTION_POOL:
		o->config.pool = optarg;
		break;
	case OPTION_BASE:
		o->config.base = parse_size("base", optarg);
		break;
	case OPTION_ADD:
		o->config.add = parse_size("add", optarg);
		break;
	case OPTION_WALL:
		o->config.wall = parse_size("wall", optarg);
		break;
	case OPTION_WAIT:
		o->wait_ms = parse_ms("wait-timeout", optarg, 0);
		break;
	case OPTION_IDLE:
		o->idle_ms = parse_ms("idle-timeout", optarg, 1);
		break;
	case OPTION_LINGER:
		o->linger_ms = parse_ms("linger-ms", optarg, 0);
		break;
	case OPTION_SOCKET:
		o->config.socket = optarg;
		break;
	case OPTION_QUIET:
		o->quiet = true;
		break;
	case 'V':
		printf("bud-httpd %s\n", PACKAGE_VERSION);
		exit(0);
	case 'h':
		usage();
		exit(0);
	default:
		fprintf(stderr, "bud-httpd --help lists the options\n");
		exit(2);
	}
}

static void
parse_options(struct options *o, int argc, char **argv)
{
	int option;

	while ((option = getopt_long(argc, argv, "hV", long_options, NULL)) != -1)
		parse_option(o, option);
	if (optind != argc)
		errx(2, "%s: no such argument; the directory is given with --root",
		    argv[optind]);
}

static void
open_root(const char *dir, int *rootp)
{
	int r = httpd_file_root(dir, rootp);

	if (r == -ENOSYS)
		errx(1,
		    "openat2() is not to be had here (Linux before 5.6, or a sandbox "
		    "that hides it); without it nothing keeps us below %s",
		    dir);
	if (r != 0)
		errx(1, "cannot serve %s: %s; name a directory with --root", dir,
		    strerror(-r));
}

static void
open_pool(const struct options *o, struct bud_pool **poolp)
{
	const char *socket = o->config.socket;
	int r = bud_open(poolp, &o->config);

	if (r == 0)
		return;
	if (socket == NULL && (socket = getenv("BUD_SOCKET")) == NULL)
		socket = BUD_SOCKET_PATH;
	switch (-r) {
	case ENOENT:
	case ECONNREFUSED:
		errx(1,
		    "no budd at %s: start one (budd -d -s %s), or say with --socket "
		    "where it is",
		    socket, socket);
	case EACCES:
		errx(1,
		    "budd at %s does not let this user open the pool \"%s\": see user "
		    "and group in budd.conf, or name another with --pool",
		    socket, o->config.pool);
	case ENOMEM:
	case ENOSPC:
		errx(1,
		    "the base does not fit into what budd may pin (wall of [host] in "
		    "budd.conf): give a smaller --base, or end other clients");
	case ETIMEDOUT:
		errx(1, "budd at %s does not answer: see its log, or start it again",
		    socket);
	}
	errx(1, "cannot open the pool \"%s\" at %s: %s", o->config.pool, socket,
	    strerror(-r));
}

static void
start_server(struct httpd_server *s, const char *listen)
{
	int r = httpd_server_start(s, listen);

	if (r == -EINVAL)
		errx(2,
		    "--listen %s: give an address and a port, such as %s or [::1]:0",
		    listen, DEFAULT_LISTEN);
	if (r != 0)
		errx(1, "cannot listen at %s: %s; choose another place with --listen",
		    listen, strerror(-r));
}

/* Sizes of a pool are multiples of 256 KiB. */
static const char *
size_text(uint64_t bytes, char buf[static 32])
{
	if (bytes % (1024 * 1024) == 0)
		snprintf(buf, 32, "%" PRIu64 "M", bytes / (1024 * 1024));
	else
		snprintf(buf, 32, "%" PRIu64 "K", bytes / 1024);
	return buf;
}

static void
print_start(const struct options *o, const struct httpd_server *s)
{
	struct bud_stat stat = { .size = sizeof(stat) };
	char address[80], base[32], add[32], wall[32];

	if (bud_stat(s->pool, &stat) != 0)
		stat = (struct bud_stat){ .size = 0 };
	httpd_server_address(s, address, sizeof(address));
	printf("bud-httpd: serving %s at http://%s/ from pool \"%s\", base %s, add %s, "
	       "wall %s\n",
	    o->root, address, o->config.pool, size_text(stat.base, base),
	    size_text(stat.add, add), size_text(stat.wall, wall));
	fflush(stdout);
}

static void
print_totals(const struct httpd_totals *t)
{
	printf("bud-httpd: %" PRIu64 " requests, %" PRIu64 " bytes, %" PRIu64
	       " waits for a buffer (longest %" PRIu64 " ms, %" PRIu64 " in vain)\n",
	    t->requests, t->bytes, t->waits, t->wait_longest_ms, t->refusals);
}

static void
raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int
main(int argc, char **argv)
{
	struct options o = { .root = ".",
		.listen = DEFAULT_LISTEN,
		.config = { .size = sizeof(o.config),
		    .pool = DEFAULT_POOL,
		    .flags = BUD_LOCAL },
		.wait_ms = DEFAULT_WAIT_MS,
		.idle_ms = DEFAULT_IDLE_MS };
	struct httpd_server server = { .piece_max = PIECE_MAX };
	int r;

	parse_options(&o, argc, argv);
	signal(SIGPIPE, SIG_IGN);
	raise_file_limit();

	server.wait_ms = o.wait_ms;
	server.idle_ms = o.idle_ms;
	server.linger_ms = o.linger_ms;
	open_root(o.root, &server.root);
	open_pool(&o, &server.pool);
	start_server(&server, o.listen);
	if (!o.quiet)
		print_start(&o, &server);
	if ((r = httpd_server_run(&server)) != 0)
		warnx("the event loop failed");

	httpd_server_end(&server);
	bud_close(server.pool); /* here the last cancelled requests end */
	close(server.root);
	if (!o.quiet)
		print_totals(&server.totals);
	return r == 0 ? 0 : 1;
}
