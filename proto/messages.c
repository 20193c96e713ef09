/* SPDX-License-Identifier: ISC */

/* Messages: their sizes, names and limits. No I/O. */
#include "proto/messages.h"

#include <string.h>

enum direction {
	FROM_CLIENT = 1,
	FROM_BUDD = 2,
};

static const struct {
	const char *name;
	size_t size;
	enum direction direction;
} types[] = {
	[PROTO_HELLO] = { "HELLO", sizeof(struct proto_hello), FROM_CLIENT },
	[PROTO_WELCOME] = { "WELCOME", sizeof(struct proto_welcome), FROM_BUDD },
	[PROTO_ALLOC] = { "ALLOC", sizeof(struct proto_alloc), FROM_CLIENT },
	[PROTO_GRANT] = { "GRANT", sizeof(struct proto_tag), FROM_BUDD },
	[PROTO_REFUSE] = { "REFUSE", sizeof(struct proto_refuse), FROM_BUDD },
	[PROTO_DONE] = { "DONE", sizeof(struct proto_done), FROM_CLIENT },
	[PROTO_CANCEL] = { "CANCEL", sizeof(struct proto_tag), FROM_CLIENT },
	[PROTO_DOORBELL] = { "DOORBELL", sizeof(struct proto_header), FROM_CLIENT },
	[PROTO_CLOSE] = { "CLOSE", sizeof(struct proto_header), FROM_CLIENT },
	[PROTO_RESTARTED] = { "RESTARTED", sizeof(struct proto_header), FROM_BUDD },
	[PROTO_HINT] = { "HINT", sizeof(struct proto_hint_msg), FROM_CLIENT },
	[PROTO_WATCH] = { "WATCH", sizeof(struct proto_watch), FROM_CLIENT },
	[PROTO_EVENT] = { "EVENT", sizeof(struct proto_event), FROM_BUDD },
	[PROTO_BLOCK] = { "BLOCK", sizeof(struct proto_block), FROM_BUDD },
	[PROTO_RELEASE] = { "RELEASE", sizeof(struct proto_block), FROM_BUDD },
	[PROTO_GAVE_UP] = { "GAVE-UP", sizeof(struct proto_block), FROM_CLIENT },
	[PROTO_RESUMED] = { "RESUMED", sizeof(struct proto_header), FROM_CLIENT },
};

static bool
type_exists(uint32_t type)
{
	return type < sizeof(types) / sizeof(types[0]) && types[type].name != NULL;
}

size_t
proto_size(uint32_t type)
{
	return type_exists(type) ? types[type].size : 0;
}

const char *
proto_name(uint32_t type)
{
	return type_exists(type) ? types[type].name : "(no such message)";
}

void
proto_init(union proto_msg *msg, enum proto_type type)
{
	memset(msg, 0, sizeof(*msg));
	msg->header.type = type;
	msg->header.size = (uint32_t)proto_size(type);
}

static bool
all_zero(const char *p, size_t n)
{
	while (n > 0 && *p == '\0')
		p++, n--;
	return n == 0;
}

/* Ends within its field, and nothing is hidden behind the end. */
static bool
string_ok(const char *s, size_t size)
{
	size_t len = strnlen(s, size);

	return len < size && all_zero(s + len, size - len);
}

/* Names go into logs, JSON and terminals. */
static bool
may_be_in_name(char c)
{
	return c > ' ' && c <= '~' && strchr("/\"\\", c) == NULL;
}

static bool
name_ok(const char *s)
{
	for (; *s != '\0'; s++)
		if (!may_be_in_name(*s))
			return false;
	return true;
}

void
proto_put_command(struct proto_hello *hello, const char *name)
{
	size_t n = strnlen(name, sizeof(hello->command) - 1);

	memset(hello->command, 0, sizeof(hello->command));
	for (size_t i = 0; i < n; i++)
		hello->command[i] = may_be_in_name(name[i]) ? name[i] : '_';
}

static int
check_client_fields(const union proto_msg *m)
{
	bool ok = true;

	switch ((enum proto_type)m->header.type) {
	case PROTO_HELLO:
		ok = string_ok(m->hello.pool, sizeof(m->hello.pool)) &&
		     name_ok(m->hello.pool) &&
		     string_ok(m->hello.command, sizeof(m->hello.command)) &&
		     name_ok(m->hello.command);
		break;
	case PROTO_ALLOC:
		ok = m->alloc.tag != 0 && m->alloc.size_bytes != 0 &&
		     m->alloc.count >= 1 && m->alloc.count <= PROTO_COUNT_MAX &&
		     m->alloc.timeout_ms >= -1;
		break;
	case PROTO_DONE:
		ok = m->done.tag != 0 && m->done.outcome <= PROTO_FAILED &&
		     m->done.reserved == 0;
		break;
	case PROTO_CANCEL:
		ok = m->tag.tag != 0;
		break;
	case PROTO_HINT:
		ok = m->hint.hint == PROTO_TRANSFER_END && m->hint.reserved == 0;
		break;
	case PROTO_WATCH:
		ok = (m->watch.mask & ~(PROTO_EVENTS | PROTO_EVENT_BLOCKS)) == 0 &&
		     m->watch.reserved == 0;
		break;
	case PROTO_GAVE_UP:
		ok = m->block.ask != 0 && m->block.bytes == 0 && m->block.reserved == 0;
		break;
	case PROTO_DOORBELL:
	case PROTO_CLOSE:
	case PROTO_WELCOME:
	case PROTO_GRANT:
	case PROTO_REFUSE:
	case PROTO_RESTARTED:
	case PROTO_RESUMED:
	case PROTO_EVENT:
	case PROTO_BLOCK:
	case PROTO_RELEASE:
		break;
	}
	return ok ? 0 : PROTO_E_VALUE;
}

static int
check_budd_fields(const union proto_msg *m)
{
	bool ok = true;

	switch ((enum proto_type)m->header.type) {
	case PROTO_WELCOME:
		ok = m->welcome.base > 0 && m->welcome.base <= m->welcome.wall &&
		     m->welcome.wall <= m->welcome.memory_size;
		break;
	case PROTO_GRANT:
		ok = m->tag.tag != 0;
		break;
	case PROTO_REFUSE:
		ok = m->refuse.error > 0 && m->refuse.reserved == 0 &&
		     string_ok(m->refuse.reason, sizeof(m->refuse.reason));
		break;
	case PROTO_EVENT:
		ok = m->event.event != 0 && (m->event.event & ~PROTO_EVENTS) == 0 &&
		     (m->event.event & (m->event.event - 1)) == 0 &&
		     m->event.reserved == 0;
		break;
	case PROTO_BLOCK:
		ok = m->block.bytes > 0 && m->block.ask == 0 && m->block.reserved == 0;
		break;
	case PROTO_RELEASE:
		ok = m->block.bytes > 0 && m->block.ask != 0 && m->block.reserved == 0;
		break;
	case PROTO_RESTARTED:
	case PROTO_RESUMED:
	case PROTO_HINT:
	case PROTO_WATCH:
	case PROTO_HELLO:
	case PROTO_ALLOC:
	case PROTO_DONE:
	case PROTO_CANCEL:
	case PROTO_DOORBELL:
	case PROTO_CLOSE:
	case PROTO_GAVE_UP:
		break;
	}
	return ok ? 0 : PROTO_E_VALUE;
}

/* Who speaks another version says another HELLO, and is told so. */
static int
check_hello_frame(const union proto_msg *msg, size_t len)
{
	const struct proto_hello *m = &msg->hello;

	if (len < offsetof(struct proto_hello, base) || m->header.size != len)
		return PROTO_E_SIZE;
	if (m->version_min > m->version_max)
		return PROTO_E_VALUE;
	if (PROTO_VERSION < m->version_min || PROTO_VERSION > m->version_max)
		return PROTO_E_VERSION;
	return len == sizeof(*m) || (len > sizeof(*m) && m->version_max > PROTO_VERSION)
		   ? 0
		   : PROTO_E_SIZE;
}

static int
check_frame(const union proto_msg *msg, size_t len, enum direction direction)
{
	if (len < sizeof(msg->header))
		return PROTO_E_SIZE;
	if (!type_exists(msg->header.type) ||
	    types[msg->header.type].direction != direction)
		return PROTO_E_TYPE;
	if (msg->header.type == PROTO_HELLO)
		return check_hello_frame(msg, len);
	if (len != types[msg->header.type].size || msg->header.size != len)
		return PROTO_E_SIZE;
	return 0;
}

int
proto_check_client(const union proto_msg *msg, size_t len)
{
	int r = check_frame(msg, len, FROM_CLIENT);

	return r != 0 ? r : check_client_fields(msg);
}

int
proto_check_budd(const union proto_msg *msg, size_t len)
{
	int r = check_frame(msg, len, FROM_BUDD);

	return r != 0 ? r : check_budd_fields(msg);
}

const char *
proto_strerror(int error)
{
	switch (error) {
	case PROTO_E_SIZE:
		return "a message of the wrong size";
	case PROTO_E_TYPE:
		return "a message of a type that is not sent in this direction";
	case PROTO_E_VALUE:
		return "a message with a value out of range";
	case PROTO_E_VERSION:
		return "a message of another version of the protocol";
	}
	return "no error";
}
