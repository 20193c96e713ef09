/* SPDX-License-Identifier: ISC */

/* A pool under the names of the method's control structures. */
#ifndef BUDCTL_CONTROL_H
#define BUDCTL_CONTROL_H

#include <cjson/cJSON.h>

/** control_print() - BudCtl_t of the pool, and Buddy_t of each block, on stdout
 * @pool:	the answer to GET /v1/pools/ID */
void control_print(const cJSON *pool);

#endif
