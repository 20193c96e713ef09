/* SPDX-License-Identifier: ISC */

/* budctl doctor: findings, and those who make them. */
#ifndef BUDCTL_DOCTOR_H
#define BUDCTL_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "budctl/command.h"

enum verdict {
	VERDICT_OK,
	VERDICT_WARNING, /* it works, less well than it could */
	VERDICT_FAULT,   /* something will not work */
};

struct doctor {
	const struct options *options;
	cJSON *findings;
	enum verdict worst;
	const cJSON *status; /* GET /v1/status; NULL: budd does not answer */
};

/** doctor_find() - one more finding
 * @remedy:	what to do; NULL if there is nothing to be done */
void doctor_find(struct doctor *d, const char *what, enum verdict verdict,
    const char *remedy, const char *format, ...) __attribute__((format(printf, 5, 6)));

/** doctor_memory() - limits on locked memory, cgroups, swap, large pages */
void doctor_memory(struct doctor *d);
/** doctor_kernel() - what the kernel has of what bud uses */
void doctor_kernel(struct doctor *d);
/** doctor_budd() - its sockets, groups, versions and pools */
void doctor_budd(struct doctor *d);

/* Small files, as the kernel has them. */

/** doctor_read() - its beginning; false: it cannot be read
 * @text:	receives at most @size - 1 bytes, without the newline at the end */
bool doctor_read(const char *path, char *text, size_t size);
/** doctor_number() - behind @key in a file of lines, or the first one of it; false: none
 * there
 * @key:	"SwapTotal:"; or ""
 * @base:	10 or 16 */
bool doctor_number(const char *path, const char *key, int base, uint64_t *valuep);

#endif
