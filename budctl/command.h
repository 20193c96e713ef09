/* SPDX-License-Identifier: ISC */

/* The commands: each prints what was asked, or one line of what is wrong. */
#ifndef BUDCTL_COMMAND_H
#define BUDCTL_COMMAND_H

#include <stdbool.h>

/* Exit codes; budctl --help tells them. */
enum budctl_exit {
	BUDCTL_OK = 0,
	BUDCTL_FAILED = 1,      /* budd said no: no such pool, several of that name */
	BUDCTL_USAGE = 2,       /* the command line is wrong */
	BUDCTL_UNREACHABLE = 3, /* nobody answers at the socket */
	BUDCTL_DENIED = 4,      /* budd lets others do this */
};

struct options {
	const char *socket;
	bool json;
	bool control_blocks;
	bool reconnect; /* of watch */
	/* of top */
	const char *interval; /* NULL: the default */
	const char *sort;     /* NULL: the default */
	bool once;
	/* of web */
	const char *listen; /* NULL: the default */
	const char *host;   /* NULL: no other name */
	bool allow_remote;
};

/** status_command() - budctl status */
enum budctl_exit status_command(const struct options *o, char *const args[]);
/** show_command() - budctl show POOL */
enum budctl_exit show_command(const struct options *o, char *const args[]);
/** top_command() - budctl top; ends on q or a signal */
enum budctl_exit top_command(const struct options *o, char *const args[]);
/** doctor_command() - budctl doctor; BUDCTL_FAILED: there is a fault */
enum budctl_exit doctor_command(const struct options *o, char *const args[]);
/** explain_command() - budctl explain POOL */
enum budctl_exit explain_command(const struct options *o, char *const args[]);
/** watch_command() - budctl watch; ends with budd */
enum budctl_exit watch_command(const struct options *o, char *const args[]);
/** set_command() - budctl set POOL key=value ..., budctl set host key=value ... */
enum budctl_exit set_command(const struct options *o, char *const args[]);
/** release_command() - budctl release [POOL] */
enum budctl_exit release_command(const struct options *o, char *const args[]);
/** web_command() - budctl web; ends on SIGTERM or SIGINT */
enum budctl_exit web_command(const struct options *o, char *const args[]);

#endif
