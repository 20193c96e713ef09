/* SPDX-License-Identifier: ISC */

/*
 * budd.conf: from texts to values.
 *
 * In two steps. First line by line, file by file: each key is put into its section, or an
 * error is told (config_text.c, config_section.c, config_key.c). Then section by section:
 * defaults that depend on other keys, and keys against each other (config_check.c).
 */
#include "daemon/config.h"

#include <assert.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config_check.h"
#include "daemon/config_file.h"
#include "daemon/config_section.h"
#include "daemon/config_text.h"
#include "daemon/config_value.h"

static uid_t
uid_of(const char *user)
{
	const struct passwd *pw = user[0] != '\0' ? getpwnam(user) : NULL;

	return pw != NULL ? pw->pw_uid : CONFIG_NO_ID;
}

static gid_t
gid_of(const char *group)
{
	const struct group *gr = group[0] != '\0' ? getgrnam(group) : NULL;

	return gr != NULL ? gr->gr_gid : CONFIG_NO_ID;
}

/* Returns false when out of memory; @c can be freed then too. */
static bool
fill(struct config *c, const struct config_sections *all)
{
	const struct config_section *s;
	struct config_pool *pool;

	STAILQ_FOREACH (s, &all->list, entry) {
		if (s->kind == CONFIG_HOST)
			c->host = s->host;
		if (s->kind == CONFIG_STATUS) {
			strlcpy(
			    c->status_group, s->status_group, sizeof(c->status_group));
			c->queued_event_ns = s->queued_event_ns;
		}
		if (s->kind != CONFIG_POOL)
			continue;
		pool = malloc(sizeof(*pool));
		if (pool == NULL)
			return false;
		*pool = s->pool;
		pool->uid = uid_of(pool->user);
		pool->gid = gid_of(pool->group);
		STAILQ_INSERT_TAIL(&c->pools, pool, entry);
	}
	c->status_gid = gid_of(c->status_group);
	c->tuners_gid = gid_of(CONFIG_TUNERS);
	return true;
}

static struct config *
create(struct config_sections *all, const char *name)
{
	struct config *c = calloc(1, sizeof(*c));

	if (c != NULL)
		STAILQ_INIT(&c->pools);
	if (c == NULL || !fill(c, all)) {
		config_error(
		    &all->report, (struct config_place){ name, 0 }, "out of memory");
		config_free(c);
		return NULL;
	}
	return c;
}

int
config_parse(struct config **configp, const struct config_text *texts, size_t count,
    FILE *errors)
{
	struct config_sections all = { .report = { .to = errors } };
	struct config *c = NULL;

	STAILQ_INIT(&all.list);
	for (size_t i = 0; i < count; i++)
		config_text_read(&texts[i], &all);
	config_check(&all);
	config_report_end(&all.report, texts[0].name);
	if (all.report.errors == 0)
		c = create(&all, texts[0].name);
	config_sections_free(&all);
	if (c == NULL)
		return -1;
	*configp = c;
	return 0;
}

int
config_load(struct config **configp, const char *path, FILE *errors)
{
	const char *name = path != NULL ? path : CONFIG_PATH;
	struct config_report report = { .to = errors };
	struct config_files files;
	int r = -1;

	config_files_read(&files, name, path == NULL, &report);
	config_report_end(&report, name);
	if (report.errors == 0)
		r = config_parse(configp, files.texts, files.count, errors);
	config_files_free(&files);
	return r;
}

void
config_free(struct config *c)
{
	struct config_pool *pool;

	if (c == NULL)
		return;
	while ((pool = STAILQ_FIRST(&c->pools)) != NULL) {
		STAILQ_REMOVE_HEAD(&c->pools, entry);
		free(pool);
	}
	free(c);
}

const struct config_pool *
config_pool_find(const struct config *c, const char *name)
{
	const struct config_pool *pool, *fallback = NULL;

	STAILQ_FOREACH (pool, &c->pools, entry) {
		if (strcmp(pool->name, name) == 0)
			return pool;
		if (strcmp(pool->name, CONFIG_DEFAULT_POOL) == 0)
			fallback = pool;
	}
	assert(fallback != NULL);
	return fallback;
}

uint64_t
config_wall_mib(uint64_t wall_bytes)
{
	return wall_bytes / CONFIG_MIB + (wall_bytes % CONFIG_MIB >= CONFIG_MIB / 2);
}
