/* SPDX-License-Identifier: ISC */

/* The sections of budd.conf: found, opened, and filled key by key. */
#include "daemon/config_section.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/config_value.h"

static struct config_section *
find(struct config_sections *all, enum config_kind kind, const char *name)
{
	struct config_section *s;

	STAILQ_FOREACH (s, &all->list, entry)
		if (!s->spare && s->kind == kind && strcmp(s->pool.name, name) == 0)
			return s;
	return NULL;
}

static struct config_section *
add(struct config_sections *all, struct config_place at, enum config_kind kind,
    const char *name)
{
	struct config_section *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		config_error(&all->report, at, "out of memory");
		return NULL;
	}
	s->kind = kind;
	s->at = at;
	s->host = (struct config_host){
		.tick_ns = 500 * CONFIG_MS,
		.release_period_ns = 60 * CONFIG_SECOND,
		.idle_ns = 5 * CONFIG_MINUTE,
		.hello_timeout_ns = 10 * CONFIG_SECOND,
		.unregister_timeout_ns = CONFIG_SECOND,
		.clients_max = 1000,
		.overtaken_max = 16,
	};
	s->queued_event_ns = CONFIG_SECOND;
	s->pool = (struct config_pool){
		.weight = 1,
		.policy = "fixed",
		.check_idle = true,
	};
	strlcpy(s->pool.name, name, sizeof(s->pool.name));
	STAILQ_INSERT_TAIL(&all->list, s, entry);
	return s;
}

/* The same rule as a HELLO's: names go into logs, JSON and terminals. */
static bool
pool_name_ok(struct config_report *r, struct config_place at, const char *name)
{
	const unsigned char *c = (const unsigned char *)name;

	if (*name == '\0') {
		config_error(r, at,
		    "[pool] needs a name: write [pool NAME], for example [pool %s]",
		    CONFIG_DEFAULT_POOL);
		return false;
	}
	if (strlen(name) >= PROTO_NAME_SIZE) {
		config_error(r, at,
		    "[pool %.*s...]: a name of %zu bytes, at most %u fit: shorten it",
		    CONFIG_QUOTED_MAX, name, strlen(name), PROTO_NAME_SIZE - 1);
		return false;
	}
	while (*c > ' ' && *c != 0x7f && *c != '/')
		c++;
	if (*c == '\0')
		return true;
	config_error(r, at,
	    "[pool %s]: no space, slash or control character may be in a name: use -",
	    name);
	return false;
}

static struct config_section *
open_section(struct config_sections *all, struct config_place at, enum config_kind kind,
    const char *name)
{
	bool named = kind != CONFIG_POOL || pool_name_ok(&all->report, at, name);
	struct config_section *s = find(all, kind, name);
	bool twice = named && s != NULL && s->at.file == at.file;

	if (named && s != NULL && !twice) { /* from another file: go on with it */
		s->at = at;
		return s;
	}
	if (all->count >= CONFIG_SECTIONS_MAX) {
		if (all->count++ == CONFIG_SECTIONS_MAX)
			config_error(&all->report, at,
			    "more than %u sections: delete some", CONFIG_SECTIONS_MAX);
		return NULL;
	}
	all->count++;
	if (twice)
		config_error(&all->report, at,
		    "section [%s%s%s] is there twice, on line %u first: make them one",
		    config_keys[kind].name, *name != '\0' ? " " : "", name, s->at.line);
	s = add(all, at, kind, name);
	if (s != NULL)
		s->spare = !named || twice;
	return s;
}

struct config_section *
config_section_open(
    struct config_sections *all, struct config_place at, const char *title)
{
	static const char blanks[] = " \t\r\v\f";
	size_t word = strcspn(title, blanks);

	if (strcmp(title, "host") == 0)
		return open_section(all, at, CONFIG_HOST, "");
	if (strcmp(title, "status") == 0)
		return open_section(all, at, CONFIG_STATUS, "");
	if (word == strlen("pool") && memcmp(title, "pool", word) == 0)
		return open_section(
		    all, at, CONFIG_POOL, title + word + strspn(title + word, blanks));
	config_error(&all->report, at,
	    "unknown section [%.*s]: there are [host], [pool NAME], [status]",
	    CONFIG_QUOTED_MAX, title);
	return NULL;
}

struct config_section *
config_section_need(
    struct config_sections *all, enum config_kind kind, const char *name)
{
	struct config_section *s = find(all, kind, name);

	return s != NULL ? s : add(all, (struct config_place){ "budd", 0 }, kind, name);
}

void *
config_section_field(struct config_section *s, unsigned int key)
{
	return (char *)s + config_keys[s->kind].keys[key].offset;
}

/* Many files take a # behind a value for a comment; inih does not. */
static const char *
comment_hint(const char *value)
{
	return strchr(value, '#') != NULL ? " (a comment behind a value starts with ;)"
					  : "";
}

void
config_section_set(struct config_sections *all, struct config_section *s,
    struct config_place at, const char *name, const char *value)
{
	unsigned int i = config_key_find(s->kind, name);
	const struct config_key *k = &config_keys[s->kind].keys[i];
	struct config_why why;

	if (i == config_keys[s->kind].count) {
		config_key_unknown(s->kind, name, &why);
		config_error(&all->report, at, "unknown key '%s' in [%s]: %s", name,
		    config_keys[s->kind].name, why.text);
		return;
	}
	if (s->given[i].line != 0 && s->given[i].file == at.file) {
		config_error(&all->report, at,
		    "%s = %s: %s is given twice, on line %u first: delete one", name,
		    value, name, s->given[i].line);
		return;
	}
	s->given[i] = at;
	s->bad[i] = k->set(k, value, config_section_field(s, i), &why) != 0;
	if (s->bad[i])
		config_error(&all->report, at, "%s = %s%s%s", name, value, why.text,
		    comment_hint(value));
}

void
config_sections_free(struct config_sections *all)
{
	struct config_section *s;

	while ((s = STAILQ_FIRST(&all->list)) != NULL) {
		STAILQ_REMOVE_HEAD(&all->list, entry);
		free(s);
	}
}
