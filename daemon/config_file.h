/* SPDX-License-Identifier: ISC */

/* The files that make up a configuration: budd.conf and its drop-ins. */
#ifndef DAEMON_CONFIG_FILE_H
#define DAEMON_CONFIG_FILE_H

#include <stdbool.h>
#include <stddef.h>

struct config_report;
struct config_text;

struct config_files {
	struct config_text *texts;
	size_t count;
};

/**
 * config_files_read() - a file and its drop-ins, in their order
 * @path:	whose drop-ins are PATH.d/NAME.conf
 * @optional:	if it is missing, it counts as empty; its drop-ins hold all the same
 * @files:	receives the texts, at least one; config_files_free() it in any case
 * @report:	is told of each file that cannot be read, or is no text
 */
void config_files_read(struct config_files *files, const char *path, bool optional,
    struct config_report *report);
void config_files_free(struct config_files *files);

#endif
