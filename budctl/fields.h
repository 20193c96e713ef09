/* SPDX-License-Identifier: ISC */

/*
 * Reading JSON that another version of budd may have made: what is missing, or not of
 * that kind, is 0, false, "" or NULL.
 */
#ifndef BUDCTL_FIELDS_H
#define BUDCTL_FIELDS_H

#include <stdbool.h>
#include <stdint.h>

#include <cjson/cJSON.h>

uint64_t field_number(const cJSON *object, const char *key);
double field_real(const cJSON *object, const char *key);
bool field_bool(const cJSON *object, const char *key);
/** field_text() - stays the object's */
const char *field_text(const cJSON *object, const char *key);
/** field_list_has() - an array of strings, under @key, has this one */
bool field_list_has(const cJSON *object, const char *key, const char *word);
/** fields_print() - on stdout, indented */
void fields_print(const cJSON *json);

#endif
