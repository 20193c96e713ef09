/* SPDX-License-Identifier: ISC */

/* A line of GET /v1/events, for people. */
#ifndef BUDCTL_WATCH_H
#define BUDCTL_WATCH_H

#include <cjson/cJSON.h>

/** watch_text() - what happened, in one line without its end; free() it
 * @event:	any object; one of a later version is shown with all that it has */
char *watch_text(const cJSON *event);

#endif
