/* SPDX-License-Identifier: ISC */

/* What is wrong with budd.conf, and where: a line for each. */
#ifndef DAEMON_CONFIG_REPORT_H
#define DAEMON_CONFIG_REPORT_H

#include <stdio.h>

#define CONFIG_QUOTED_MAX 60 /* bytes of a line that an error repeats */

/* A line of a file. Files are told apart by the pointer to their name. */
struct config_place {
	const char *file;
	unsigned int line; /* 0: the file as a whole; of a key: it is not given */
};

struct config_report {
	FILE *to;
	unsigned int errors; /* the ones not told, too */
};

void config_error(struct config_report *r, struct config_place at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/** config_warning() - the same, and no reason to refuse the file */
void config_warning(struct config_report *r, struct config_place at, const char *fmt,
    ...) __attribute__((format(printf, 3, 4)));
/** config_report_end() - how many errors were not told, if any; @file is the first one */
void config_report_end(struct config_report *r, const char *file);

#endif
