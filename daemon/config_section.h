/* SPDX-License-Identifier: ISC */

/*
 * A section of budd.conf: values, and where each was given.
 *
 * One section has the keys of all files that name it; a later file's replace an earlier
 * one's.
 */
#ifndef DAEMON_CONFIG_SECTION_H
#define DAEMON_CONFIG_SECTION_H

#include <stdbool.h>
#include <sys/queue.h>

#include "daemon/config.h"
#include "daemon/config_key.h"
#include "daemon/config_report.h"

struct config_section {
	STAILQ_ENTRY(config_section) entry;
	enum config_kind kind;
	struct config_place
	    at;     /* its title in the last file that has it; line 0: none */
	bool spare; /* a second one, or a bad name: its keys are checked, and dropped */
	struct config_place given[CONFIG_KEYS_MAX]; /* line 0: nowhere */
	bool bad[CONFIG_KEYS_MAX]; /* given or not, its value is not known */
	struct config_host host;
	struct config_pool pool; /* its name is "" in other kinds */
	char status_group[64];
	int64_t queued_event_ns;
};

/* What has been read so far. */
struct config_sections {
	STAILQ_HEAD(, config_section) list;
	unsigned int count;
	struct config_report report;
};

/** config_section_open() - the section of a title, "pool NAME"; NULL, and told: none */
struct config_section *config_section_open(
    struct config_sections *all, struct config_place at, const char *title);
/** config_section_need() - the section; with defaults only if no file has it. NULL, and
 * told: out of memory */
struct config_section *config_section_need(
    struct config_sections *all, enum config_kind kind, const char *name);
/** config_section_set() - a key of @s, or what is wrong with it is told */
void config_section_set(struct config_sections *all, struct config_section *s,
    struct config_place at, const char *name, const char *value);
/** config_section_field() - where @s has the value of a key */
void *config_section_field(struct config_section *s, unsigned int key);
/** config_sections_free() - all of them */
void config_sections_free(struct config_sections *all);

#endif
