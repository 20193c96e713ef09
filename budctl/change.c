/* SPDX-License-Identifier: ISC */

/*
 * "key=value" into JSON. The keys and the way to write values are those of budd.conf;
 * whether a value is possible is for budd to say.
 */
#include "budctl/change.h"

#include <err.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "budctl/command.h"
#include "budctl/terminal.h"
#include "daemon/config_value.h"

#define EXACT_MAX ((uint64_t)1 << 53) /* JSON's numbers are exact below */

enum kind {
	SIZE,
	TIME, /* given to budd in ms */
	COUNT,
	FLAG,
	WORD,
};

struct change_key {
	const char *name; /* NULL ends a table */
	const char *json;
	enum kind kind;
};

static const struct change_key pool_keys[] = {
	{ "wall", "wall", SIZE },
	{ "add", "add", SIZE },
	{ "weight", "weight", COUNT },
	{ "check_idle", "check_idle", FLAG },
	{ "policy", "policy", WORD },
	{ NULL, NULL, WORD },
};

static const struct change_key host_keys[] = {
	{ "wall", "wall", SIZE },
	{ "tick", "tick_ms", TIME },
	{ "release_period", "release_period_ms", TIME },
	{ "idle", "idle_ms", TIME },
	{ "overtaken_max", "overtaken_max", COUNT },
	{ "user_wall", "user_wall", SIZE },
	{ "user_pools", "user_pools", COUNT },
	{ "user_requests", "user_requests", COUNT },
	{ NULL, NULL, WORD },
};

static const char *const expected[] = {
	[SIZE] = "a size, like 256M",
	[TIME] = "a time of whole milliseconds, like 500ms or 5min",
	[COUNT] = "a whole number",
	[FLAG] = "yes or no",
	[WORD] = "a word",
};

/* --- Values --- */

/* @r: what the parser said. */
static cJSON *
number(int r, const uint64_t *value)
{
	return r == 0 && *value < EXACT_MAX ? cJSON_CreateNumber((double)*value) : NULL;
}

static cJSON *
time_json(const char *text)
{
	int64_t ns = 0;
	int r = config_parse_time(text, &ns);
	uint64_t ms = (uint64_t)(ns / CONFIG_MS);

	return ns % CONFIG_MS == 0 ? number(r, &ms) : NULL;
}

static cJSON *
value_json(enum kind kind, const char *text)
{
	uint64_t value = 0;
	bool yes = false;

	switch (kind) {
	case SIZE:
		return number(config_parse_size(text, &value), &value);
	case TIME:
		return time_json(text);
	case COUNT:
		return number(config_parse_count(text, &value), &value);
	case FLAG:
		return config_parse_bool(text, &yes) == 0 ? cJSON_CreateBool(yes)
							  : NULL;
	case WORD:
		return text[0] != '\0' ? cJSON_CreateString(text) : NULL;
	}
	return NULL;
}

/* --- Words --- */

static void
complain(const char *word, const char *why)
{
	char *safe = terminal_safe(word);

	warnx("'%s': %s; try budctl --help", safe, why);
	free(safe);
}

static bool
unknown(const struct change_key keys[], const char *word)
{
	char why[256] = "the keys are";

	for (size_t i = 0; keys[i].name != NULL; i++) {
		strlcat(why, i > 0 ? ", " : " ", sizeof(why));
		strlcat(why, keys[i].name, sizeof(why));
	}
	complain(word, why);
	return false;
}

static const struct change_key *
find_key(const struct change_key keys[], const char *name, size_t length)
{
	for (; keys->name != NULL; keys++)
		if (strlen(keys->name) == length &&
		    strncmp(keys->name, name, length) == 0)
			return keys;
	return NULL;
}

static bool
add_word(cJSON *o, const struct change_key keys[], const char *word)
{
	const char *value = strchr(word, '=');
	const struct change_key *key;
	cJSON *json;
	char why[80];

	if (value == NULL) {
		complain(word, "is no key=value");
		return false;
	}
	if ((key = find_key(keys, word, (size_t)(value - word))) == NULL)
		return unknown(keys, word);
	if (cJSON_GetObjectItemCaseSensitive(o, key->json) != NULL) {
		complain(word, "is given twice");
		return false;
	}
	if ((json = value_json(key->kind, value + 1)) == NULL) {
		snprintf(
		    why, sizeof(why), "the value has to be %s", expected[key->kind]);
		complain(word, why);
		return false;
	}
	return cJSON_AddItemToObject(o, key->json, json);
}

static cJSON *
parse(const struct change_key keys[], char *const words[])
{
	cJSON *o = cJSON_CreateObject();

	if (o == NULL)
		errx(BUDCTL_FAILED, "no memory");
	for (; *words != NULL; words++) {
		if (!add_word(o, keys, *words)) {
			cJSON_Delete(o);
			return NULL;
		}
	}
	return o;
}

cJSON *
change_parse_pool(char *const words[])
{
	return parse(pool_keys, words);
}

cJSON *
change_parse_host(char *const words[])
{
	return parse(host_keys, words);
}
