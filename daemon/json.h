/* SPDX-License-Identifier: ISC */

/*
 * Making JSON, on top of cJSON: each of these gives a value to an object or an array, or
 * drops it and is false when there is no memory, also for what was to be added. So they
 * are chained with &&, and one cJSON_Delete() undoes the rest.
 */
#ifndef DAEMON_JSON_H
#define DAEMON_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>

/* @key is a literal: it is neither copied nor freed. @item becomes the object's. */
bool json_put(cJSON *object, const char *key, cJSON *item);
/** json_put_number() - as digits: what reads the item and not the text finds no cJSON_Number */
bool json_put_number(cJSON *object, const char *key, uint64_t value);
bool json_put_real(cJSON *object, const char *key, double value);
bool json_put_bool(cJSON *object, const char *key, bool value);
/** json_put_word() - a literal of ours */
bool json_put_word(cJSON *object, const char *key, const char *word);
/** json_put_text() - a text of somebody else's: what is not UTF-8 becomes '?'
 * @size:	of the array that holds it, with or without a NUL */
bool json_put_text(cJSON *object, const char *key, const char *text, size_t size);
bool json_append(cJSON *array, cJSON *item);

#endif
