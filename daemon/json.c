/* SPDX-License-Identifier: ISC */

/* Making JSON. */
#include "daemon/json.h"

#include <stdlib.h>
#include <string.h>

#define DIGITS_MAX 20 /* of UINT64_MAX */

bool
json_put(cJSON *object, const char *key, cJSON *item)
{
	if (item != NULL && cJSON_AddItemToObjectCS(object, key, item))
		return true;
	cJSON_Delete(item);
	return false;
}

bool
json_append(cJSON *array, cJSON *item)
{
	if (item != NULL && cJSON_AddItemToArray(array, item))
		return true;
	cJSON_Delete(item);
	return false;
}

/* cJSON knows doubles, prints each with "%1.15g" and reads it back, to see whether that was
 * precise: a third of what a status cost. */
bool
json_put_number(cJSON *object, const char *key, uint64_t value)
{
	char text[DIGITS_MAX + 1], *p = text + DIGITS_MAX;

	*p = '\0';
	do
		*--p = (char)('0' + value % 10);
	while ((value /= 10) != 0);
	return json_put(object, key, cJSON_CreateRaw(p));
}

bool
json_put_real(cJSON *object, const char *key, double value)
{
	return json_put(object, key, cJSON_CreateNumber(value));
}

bool
json_put_bool(cJSON *object, const char *key, bool value)
{
	return json_put(object, key, cJSON_CreateBool(value));
}

bool
json_put_word(cJSON *object, const char *key, const char *word)
{
	return json_put(object, key, cJSON_CreateStringReference(word));
}

static bool
is_continuation(unsigned char byte)
{
	return (byte & 0xc0) == 0x80;
}

/* Bytes of the valid UTF-8 character at @s, which a NUL ends somewhere; 0: none. */
static size_t
utf8_length(const unsigned char *s)
{
	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4 || !is_continuation(s[1]))
		return 0;
	if (s[0] < 0xe0)
		return 2;
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0; /* too long a form, a surrogate, or beyond Unicode */
	if (!is_continuation(s[2]))
		return 0;
	if (s[0] < 0xf0)
		return 3;
	return is_continuation(s[3]) ? 4 : 0;
}

static void
mend_utf8(char *text)
{
	for (size_t i = 0, n; text[i] != '\0'; i += n) {
		n = utf8_length((const unsigned char *)text + i);
		if (n == 0) {
			text[i] = '?';
			n = 1;
		}
	}
}

bool
json_put_text(cJSON *object, const char *key, const char *text, size_t size)
{
	char *copy = strndup(text, size);
	bool ok;

	if (copy == NULL)
		return false;
	mend_utf8(copy);
	ok = json_put(object, key, cJSON_CreateString(copy));
	free(copy);
	return ok;
}
