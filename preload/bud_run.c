/* SPDX-License-Identifier: ISC */

/* bud-run: starts a program whose large blocks come from a pool. */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/config_value.h"
#include "preload/settings.h"

#define CANNOT_START 125 /* as env(1) and nice(1) do */
#define CANNOT_EXEC  126
#define NOT_FOUND    127

static const char usage_text[] =
    "usage: bud-run [OPTION]... PROGRAM [ARGUMENT]...\n"
    "\n"
    "Runs PROGRAM with its large blocks of memory in a pool of budd's: pinned, and "
    "not\n"
    "charged to the program. What the pool does not have, the program's own allocator\n"
    "serves, as it does everything when budd is away.\n"
    "\n"
    "options:\n"
    "  -t, --threshold SIZE  requests from SIZE on go to the pool [16K]; 4K at least\n"
    "  -p, --pool NAME       section of budd.conf, or label [the program's name]\n"
    "  -b, --base SIZE       pinned from the beginning [as the section says]\n"
    "  -a, --add SIZE        what the pool grows by [as the section says]\n"
    "  -w, --wall SIZE       the most it may pin [as the section says]\n"
    "  -s, --socket PATH     budd's socket [" BUD_SOCKET_PATH "]\n"
    "  -l, --library PATH    the library to preload [" PRELOAD_PATH "]\n"
    "  -v, --verbose         notes on standard error: pools, forks, what goes wrong\n"
    "  -h, --help            this text\n"
    "  -V, --version         the version of bud-run\n";

static const struct option long_options[] = {
	{ "threshold", required_argument, NULL, 't' },
	{ "pool", required_argument, NULL, 'p' },
	{ "base", required_argument, NULL, 'b' },
	{ "add", required_argument, NULL, 'a' },
	{ "wall", required_argument, NULL, 'w' },
	{ "socket", required_argument, NULL, 's' },
	{ "library", required_argument, NULL, 'l' },
	{ "verbose", no_argument, NULL, 'v' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

__attribute__((noreturn)) static void
wrong_usage(void)
{
	fputs("try 'bud-run --help'\n", stderr);
	exit(CANNOT_START);
}

static void
set(const char *name, const char *value)
{
	if (setenv(name, value, 1) == -1)
		err(CANNOT_START, "setenv %s", name);
}

static void
set_size(const char *name, const char *option, const char *text, uint64_t least)
{
	uint64_t bytes;
	char number[24];

	if (config_parse_size(text, &bytes) != 0) {
		warnx("--%s: '%s' is no size: bytes, or a number with K, M, G or T",
		    option, text);
		wrong_usage();
	}
	if (bytes < least) {
		warnx("--%s: %s is below %" PRIu64 "K", option, text, least >> 10);
		wrong_usage();
	}
	(void)snprintf(number, sizeof(number), "%" PRIu64, bytes);
	set(name, number);
}

/* Its place in front of what is preloaded already; once. */
static void
set_preload(const char *path)
{
	const char *others = getenv("LD_PRELOAD");
	char *all,
	    *library = realpath(path, NULL); /* the program may change directory */

	if (library == NULL || access(library, R_OK) == -1)
		err(CANNOT_START, "%s: the library to preload", path);
	if (strpbrk(library, ": \t\n") != NULL)
		errx(CANNOT_START,
		    "%s: no spaces or colons, please: LD_PRELOAD has no "
		    "way to quote them",
		    library);
	if (others == NULL || *others == '\0') {
		set("LD_PRELOAD", library);
	} else if (strstr(others, library) == NULL) {
		if (asprintf(&all, "%s:%s", library, others) == -1)
			errx(CANNOT_START, "out of memory");
		set("LD_PRELOAD", all);
		free(all);
	}
	free(library);
}

static const char *
parse_options(int argc, char **argv)
{
	const char *library = PRELOAD_PATH;
	int c;

	/* '+': the program's own options are not ours. */
	while ((c = getopt_long(
		    argc, argv, "+t:p:b:a:w:s:l:vhV", long_options, NULL)) != -1) {
		switch (c) {
		case 't':
			set_size(SETTING_THRESHOLD, "threshold", optarg, THRESHOLD_MIN);
			break;
		case 'p':
			set(SETTING_POOL, optarg);
			break;
		case 'b':
			set_size(SETTING_BASE, "base", optarg, 0);
			break;
		case 'a':
			set_size(SETTING_ADD, "add", optarg, 0);
			break;
		case 'w':
			set_size(SETTING_WALL, "wall", optarg, 0);
			break;
		case 's':
			set("BUD_SOCKET", optarg);
			break;
		case 'l':
			library = optarg;
			break;
		case 'v':
			set(SETTING_VERBOSE, "1");
			break;
		case 'h':
			fputs(usage_text, stdout);
			exit(0);
		case 'V':
			puts("bud-run " PACKAGE_VERSION);
			exit(0);
		default:
			wrong_usage();
		}
	}
	return library;
}

int
main(int argc, char **argv)
{
	const char *library = parse_options(argc, argv);

	if (optind == argc) {
		warnx("which program?");
		wrong_usage();
	}
	set_preload(library);
	execvp(argv[optind], argv + optind);
	warn("%s", argv[optind]);
	return errno == ENOENT ? NOT_FOUND : CANNOT_EXEC;
}
