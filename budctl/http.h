/* SPDX-License-Identifier: ISC */

/* Asking budd: HTTP over its status socket, by libcurl. */
#ifndef BUDCTL_HTTP_H
#define BUDCTL_HTTP_H

#include <stdbool.h>

#include <cjson/cJSON.h>

#include "budctl/command.h"

#define HTTP_TIMEOUT_S 5L
#define HTTP_LINE_MAX  ((size_t)1 << 20)  /* bytes, of a stream */
#define HTTP_BODY_MAX  ((size_t)64 << 20) /* bytes */

/** http_get() - ask for @path; what goes wrong is told on stderr
 * @jsonp:	receives an object, on BUDCTL_OK only; cJSON_Delete() it */
enum budctl_exit http_get(const char *socket, const char *path, cJSON **jsonp);
/** http_send() - likewise with a body, to change something
 * @method:	"PATCH" or "POST"
 * Return: also BUDCTL_DENIED */
enum budctl_exit http_send(const char *socket, const char *method, const char *path,
    const cJSON *body, cJSON **jsonp);

/** http_try() - as http_get(), and nothing is told */
enum budctl_exit http_try(const char *socket, const char *path, cJSON **jsonp);
/** http_probe() - does budd answer? Nothing is told */
enum budctl_exit http_probe(const char *socket);
/**
 * http_stream() - ask for @path, whose answer does not end
 * @on_line:	is given each line, without its end; false ends the stream
 *
 * Return: BUDCTL_OK after a stream that had begun; else what went wrong was told
 */
enum budctl_exit http_stream(const char *socket, const char *path,
    bool (*on_line)(const char *line, void *arg), void *arg);

#endif
