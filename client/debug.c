/* SPDX-License-Identifier: ISC */

/*
 * BUD_DEBUG=1 prints each message, one line in one write(), so that threads do not mix.
 *
 *	libbud[4711] -> ALLOC 3: 65536 bytes x 1, 1000 ms
 */
#include "client/debug.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool
bud__debug_wanted(void)
{
	const char *value = secure_getenv("BUD_DEBUG");

	return value != NULL && *value != '\0' && strcmp(value, "0") != 0;
}

static void
describe(char *buf, size_t size, const union proto_msg *m)
{
	switch ((enum proto_type)m->header.type) {
	case PROTO_HELLO:
		snprintf(buf, size, " pool \"%.*s\", as \"%.*s\"",
		    (int)sizeof(m->hello.pool), m->hello.pool,
		    (int)sizeof(m->hello.command), m->hello.command);
		break;
	case PROTO_WELCOME:
		snprintf(buf, size, " base %" PRIu64 ", add %" PRIu64 ", wall %" PRIu64,
		    m->welcome.base, m->welcome.add, m->welcome.wall);
		break;
	case PROTO_ALLOC:
		snprintf(buf, size,
		    " %" PRIu64 ": %" PRIu64 " bytes x %" PRIu32 ", %d ms",
		    m->alloc.tag, m->alloc.size_bytes, m->alloc.count,
		    m->alloc.timeout_ms);
		break;
	case PROTO_GRANT:
	case PROTO_CANCEL:
		snprintf(buf, size, " %" PRIu64, m->tag.tag);
		break;
	case PROTO_DONE:
		snprintf(buf, size, " %" PRIu64 ": %s", m->done.tag,
		    m->done.outcome == PROTO_USED ? "used" : "failed");
		break;
	case PROTO_REFUSE:
		snprintf(buf, size, " %" PRIu64 ": %s%s%.*s", m->refuse.tag,
		    strerrordesc_np(m->refuse.error) != NULL
			? strerrordesc_np(m->refuse.error)
			: "an unknown error",
		    m->refuse.reason[0] != '\0' ? ": " : "",
		    (int)sizeof(m->refuse.reason), m->refuse.reason);
		break;
	case PROTO_WATCH:
		snprintf(buf, size, " %#" PRIx32, m->watch.mask);
		break;
	case PROTO_EVENT:
		snprintf(buf, size, " %#" PRIx32 ": %" PRIu64 " bytes", m->event.event,
		    m->event.bytes);
		break;
	case PROTO_BLOCK:
	case PROTO_RELEASE:
	case PROTO_GAVE_UP:
		snprintf(buf, size, " %" PRIu32 ": %" PRIu64 " bytes at %" PRIu64,
		    m->block.ask, m->block.bytes, m->block.offset);
		break;
	case PROTO_DOORBELL:
	case PROTO_CLOSE:
	case PROTO_HINT:
	case PROTO_RESTARTED:
	case PROTO_RESUMED:
		break;
	}
}

void
bud__debug_message(const char *direction, const union proto_msg *msg)
{
	char detail[PROTO_REASON_SIZE + 128] = "", line[sizeof(detail) + 64];
	int n;

	describe(detail, sizeof(detail), msg);
	n = snprintf(line, sizeof(line), "libbud[%d] %s %s%s\n", (int)getpid(),
	    direction, proto_name(msg->header.type), detail);
	/* Nobody can be told of an error of stderr. */
	if (n > 0 && write(STDERR_FILENO, line, (size_t)n) == -1)
		return;
}
