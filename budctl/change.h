/* SPDX-License-Identifier: ISC */

/* "key=value" as people write it, into the JSON that budd takes. */
#ifndef BUDCTL_CHANGE_H
#define BUDCTL_CHANGE_H

#include <cjson/cJSON.h>

/** change_parse_pool() - an object of all @words; cJSON_Delete() it
 * @words:	"wall=256M" ..., up to a NULL
 * Return: NULL after a line on stderr that tells what is wrong */
cJSON *change_parse_pool(char *const words[]);
/** change_parse_host() - likewise; "tick=500ms" ... */
cJSON *change_parse_host(char *const words[]);

#endif
