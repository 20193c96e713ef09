/* SPDX-License-Identifier: ISC */

/* budctl: the operator's command. Options and the table of commands. */
#include <err.h>
#include <getopt.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "budctl/command.h"
#include "budctl/terminal.h"
#include "budctl/web.h"

#define OPERANDS_MAX 32

/* Long options without a letter; as bits, those that a command takes. */
enum long_option {
	LONG_JSON,
	LONG_CONTROL_BLOCKS,
	LONG_INTERVAL,
	LONG_SORT,
	LONG_ONCE,
	LONG_RECONNECT,
	LONG_LISTEN,
	LONG_HOST,
	LONG_ALLOW_REMOTE,
};
#define BIT(option) (1u << (option))
#define OPTIONS_WEB (BIT(LONG_LISTEN) | BIT(LONG_HOST) | BIT(LONG_ALLOW_REMOTE))
#define LONG_BASE   256 /* beyond all letters */

struct command {
	const char *name;
	const char *operands; /* as the help tells them */
	int least;            /* of operands */
	int most;
	unsigned int options; /* that it takes */
	enum budctl_exit (*run)(const struct options *o, char *const args[]);
	const char *help;
};

static enum budctl_exit help_command(const struct options *o, char *const args[]);
static enum budctl_exit version_command(const struct options *o, char *const args[]);

static const struct command commands[] = {
	{ "status", "[--json]", 0, 0, BIT(LONG_JSON), status_command,
	    "the host, and one line for each pool" },
	{ "show", "POOL [--control-blocks] [--json]", 1, 1,
	    BIT(LONG_JSON) | BIT(LONG_CONTROL_BLOCKS), show_command,
	    "one pool: its limits, blocks (drawn), queue and counters" },
	{ "top", "[--interval TIME] [--sort KEY] [--once] [--json] [POOL]", 0, 1,
	    BIT(LONG_JSON) | BIT(LONG_INTERVAL) | BIT(LONG_SORT) | BIT(LONG_ONCE),
	    top_command, "all pools, live, and the blocks of the chosen one" },
	{ "explain", "POOL [--json]", 1, 1, BIT(LONG_JSON), explain_command,
	    "why a pool waits, and what would help" },
	{ "watch", "[--reconnect] [--json]", 0, 0, BIT(LONG_JSON) | BIT(LONG_RECONNECT),
	    watch_command, "what happens, as it happens, a line each" },
	{ "set", "POOL|host KEY=VALUE... [--json]", 2, OPERANDS_MAX, BIT(LONG_JSON),
	    set_command, "change a pool, or the host, while budd runs" },
	{ "release", "[POOL] [--json]", 0, 1, BIT(LONG_JSON), release_command,
	    "give idle blocks back now, of that pool or of all" },
	{ "doctor", "[--json]", 0, 0, BIT(LONG_JSON), doctor_command,
	    "is this host fit for bud? also without a budd" },
	{ "web", "[--listen ADDRESS:PORT] [--allow-remote] [--host NAME]", 0, 0,
	    OPTIONS_WEB, web_command,
	    "serve a page to look at, and /metrics, over TCP" },
	{ "help", "", 0, 0, 0, help_command, "this text" },
	{ "version", "", 0, 0, 0, version_command, "the version of budctl" },
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const char help_options[] =
    "\nPOOL is the id of a pool, or its name if no other pool has the same.\n"
    "\n"
    "keys of a pool:    wall=SIZE add=SIZE weight=N check_idle=yes|no policy=NAME\n"
    "keys of the host:  wall=SIZE tick=TIME release_period=TIME idle=TIME\n"
    "                   overtaken_max=N user_wall=SIZE user_pools=N\n"
    "                   user_requests=N\n"
    "They mean what they mean in budd.conf. A pool keeps them as long as it lives,\n"
    "the host until budd reads its configuration again. A SIZE is 256M or 1G, a\n"
    "TIME 500ms, 60s or 5min. A pool whose name is 'host' is meant by its id.\n"
    "set and release are for root, the user that budd runs as, and the group\n"
    "budadm.\n"
    "\n"
    "options:\n"
    "  -S, --socket PATH\n"
    "                    budd's status socket; else $BUD_STATUS_SOCKET,\n"
    "                    else " BUD_STATUS_SOCKET_PATH "\n"
    "  --json            print what budd answers, as JSON\n"
    "  --control-blocks  print the pool as BudCtl_t and Buddy_t\n"
    "  --interval TIME   top looks so often; else 1s\n"
    "  --sort KEY        of top: waiting, pinned, used, wall, name or id\n"
    "  --once            top prints one frame as text, and ends\n"
    "  --reconnect       watch waits for budd, also for one that is not there yet\n"
    "  --listen ADDRESS:PORT\n"
    "                    where web listens; else " WEB_LISTEN_DEFAULT "\n"
    "  --allow-remote    let web listen where other hosts can reach it\n"
    "  --host NAME       another name of this host that a browser or scraper\n"
    "                    may use for web\n"
    "  -h, --help        this text\n"
    "  -V, --version     the version of budctl\n"
    "\n"
    "environment:\n"
    "  BUD_STATUS_SOCKET budd's status socket\n"
    "  COLUMNS           how wide a frame of top --once is\n"
    "  NO_COLOR          if set, no colours on a terminal\n"
    "\n"
    "exit status:\n"
    "  0  it was done\n"
    "  1  budd could not do it: no such pool, several pools of that name;\n"
    "     or doctor found a fault\n"
    "  2  the command line is wrong\n"
    "  3  budd cannot be reached\n"
    "  4  this is for others to do (set, release)\n";

static enum budctl_exit
help_command(const struct options *o, char *const args[])
{
	(void)o;
	(void)args;
	printf("usage: budctl [-S PATH] COMMAND ...\n\ncommands:\n");
	for (size_t i = 0; i < COMMANDS; i++) {
		const struct command *c = &commands[i];

		printf("  %s%s%s\n                    %s\n", c->name,
		    c->operands[0] != '\0' ? " " : "", c->operands, c->help);
	}
	fputs(help_options, stdout);
	return BUDCTL_OK;
}

static enum budctl_exit
version_command(const struct options *o, char *const args[])
{
	(void)o;
	(void)args;
	printf("budctl %s\n", PACKAGE_VERSION);
	return BUDCTL_OK;
}

/* What the user typed is shown as it is, but for what a terminal would obey. */
static void
usage(const char *why, const char *typed)
{
	char *safe = terminal_safe(typed);

	warnx("%s '%s'; try budctl --help", why, safe);
	free(safe);
}

static const struct command *
find_command(const char *name)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static const struct option long_options[] = {
	{ "json", no_argument, NULL, LONG_BASE + LONG_JSON },
	{ "control-blocks", no_argument, NULL, LONG_BASE + LONG_CONTROL_BLOCKS },
	{ "interval", required_argument, NULL, LONG_BASE + LONG_INTERVAL },
	{ "sort", required_argument, NULL, LONG_BASE + LONG_SORT },
	{ "once", no_argument, NULL, LONG_BASE + LONG_ONCE },
	{ "reconnect", no_argument, NULL, LONG_BASE + LONG_RECONNECT },
	{ "listen", required_argument, NULL, LONG_BASE + LONG_LISTEN },
	{ "host", required_argument, NULL, LONG_BASE + LONG_HOST },
	{ "allow-remote", no_argument, NULL, LONG_BASE + LONG_ALLOW_REMOTE },
	{ "socket", required_argument, NULL, 'S' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

/* @given: bits of what was on the command line */
static bool
check_options(const struct command *c, unsigned int given)
{
	char why[64];

	for (const struct option *l = long_options; l->name != NULL; l++) {
		if (l->val < LONG_BASE || (given & BIT(l->val - LONG_BASE)) == 0 ||
		    (c->options & BIT(l->val - LONG_BASE)) != 0)
			continue;
		snprintf(why, sizeof(why), "--%s means nothing to", l->name);
		usage(why, c->name);
		return false;
	}
	return true;
}

static bool
check_operands(const struct command *c, int count, char *const args[])
{
	if (count < c->least)
		usage(count == 0 ? "a POOL is missing after"
				 : "a KEY=VALUE is missing after",
		    count == 0 ? c->name : args[count - 1]);
	else if (count > c->most)
		usage("one operand too many:", args[c->most]);
	return count >= c->least && count <= c->most;
}

static enum budctl_exit
run(const struct options *o, unsigned int given, int count, char *const args[])
{
	const struct command *c;

	if (count == 0) {
		warnx("no command; try budctl --help");
		return BUDCTL_USAGE;
	}
	if ((c = find_command(args[0])) == NULL) {
		usage("unknown command", args[0]);
		return BUDCTL_USAGE;
	}
	if (!check_options(c, given) || !check_operands(c, count - 1, args + 1))
		return BUDCTL_USAGE;
	return c->run(o, args + 1);
}

static const char *
default_socket(void)
{
	const char *path = getenv("BUD_STATUS_SOCKET");

	return path != NULL && path[0] != '\0' ? path : BUD_STATUS_SOCKET_PATH;
}

static void
bad_option(int option, const char *argument)
{
	char letter[3] = { '-', (char)optopt, '\0' };

	if (option == ':')
		usage("a value is missing after", optopt < 256 ? letter : argument);
	else if (optopt > 0 && optopt < 256)
		usage("unknown option", letter);
	else
		usage("unknown option", argument);
}

static void
take_long(struct options *o, enum long_option option)
{
	switch (option) {
	case LONG_JSON:
		o->json = true;
		break;
	case LONG_CONTROL_BLOCKS:
		o->control_blocks = true;
		break;
	case LONG_INTERVAL:
		o->interval = optarg;
		break;
	case LONG_SORT:
		o->sort = optarg;
		break;
	case LONG_ONCE:
		o->once = true;
		break;
	case LONG_RECONNECT:
		o->reconnect = true;
		break;
	case LONG_LISTEN:
		o->listen = optarg;
		break;
	case LONG_HOST:
		o->host = optarg;
		break;
	case LONG_ALLOW_REMOTE:
		o->allow_remote = true;
		break;
	}
}

/* Returns -1 to go on, or the exit code. */
static int
parse_options(int argc, char **argv, struct options *o, unsigned int *givenp)
{
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, ":hS:V", long_options, NULL)) != -1) {
		switch (option) {
		case 'S':
			o->socket = optarg;
			break;
		case 'h':
			return (int)help_command(o, NULL);
		case 'V':
			return (int)version_command(o, NULL);
		case '?':
		case ':':
			bad_option(option, argv[optind - 1]);
			return BUDCTL_USAGE;
		default:
			take_long(o, (enum long_option)(option - LONG_BASE));
			*givenp |= BIT(option - LONG_BASE);
		}
	}
	return -1;
}

int
main(int argc, char **argv)
{
	struct options o = { .socket = default_socket() };
	unsigned int given = 0;
	int code;

	setlocale(LC_CTYPE, "");
	terminal_init();
	code = parse_options(argc, argv, &o, &given);
	if (code == -1)
		code = (int)run(&o, given, argc - optind, argv + optind);
	if (fflush(stdout) != 0 || ferror(stdout))
		err(BUDCTL_FAILED, "standard output");
	return code;
}
