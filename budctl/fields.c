/* SPDX-License-Identifier: ISC */

/* Reading JSON. */
#include "budctl/fields.h"

#include <err.h>
#include <stdio.h>
#include <string.h>

#include "budctl/command.h"

static const cJSON *
field(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key);
}

double
field_real(const cJSON *object, const char *key)
{
	const cJSON *item = field(object, key);

	return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

uint64_t
field_number(const cJSON *object, const char *key)
{
	double value = field_real(object, key);

	if (!(value > 0))
		return 0;
	return value < (double)UINT64_MAX ? (uint64_t)value : UINT64_MAX;
}

bool
field_bool(const cJSON *object, const char *key)
{
	return cJSON_IsTrue(field(object, key));
}

const char *
field_text(const cJSON *object, const char *key)
{
	const cJSON *item = field(object, key);

	return cJSON_IsString(item) ? item->valuestring : "";
}

bool
field_list_has(const cJSON *object, const char *key, const char *word)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, field(object, key))
		if (cJSON_IsString(item) && strcmp(item->valuestring, word) == 0)
			return true;
	return false;
}

void
fields_print(const cJSON *json)
{
	char *text = cJSON_Print(json);

	if (text == NULL)
		errx(BUDCTL_FAILED, "no memory");
	puts(text);
	cJSON_free(text);
}
