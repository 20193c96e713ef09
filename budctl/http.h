/* SPDX-License-Identifier: ISC */

/* Asking budd: HTTP over its status socket, by libcurl. */
#ifndef BUDCTL_HTTP_H
#define BUDCTL_HTTP_H

#include <cjson/cJSON.h>

#include "budctl/command.h"

#define HTTP_TIMEOUT_S 5L
#define HTTP_BODY_MAX  ((size_t)64 << 20) /* bytes */

/** http_get() - ask for @path; what goes wrong is told on stderr
 * @jsonp:	receives an object, on BUDCTL_OK only; cJSON_Delete() it */
enum budctl_exit http_get(const char *socket, const char *path, cJSON **jsonp);
/** http_send() - likewise with a body, to change something
 * @method:	"PATCH" or "POST"
 * Return: also BUDCTL_DENIED */
enum budctl_exit http_send(const char *socket, const char *method, const char *path,
    const cJSON *body, cJSON **jsonp);

#endif
