/* SPDX-License-Identifier: ISC */

/*
 * The head of a request.
 *
 * Strict where leniency lets two programs read one request differently (spaces before
 * a colon, folded lines, two lengths, bytes that are no text), lenient where RFC 9112
 * asks for it (a bare LF ends a line too).
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "examples/httpd_request.h"

#include <string.h>
#include <strings.h>

enum field {
	FIELD_CONNECTION,
	FIELD_CONTENT_LENGTH,
	FIELD_HOST,
	FIELD_IF_MODIFIED_SINCE,
	FIELD_IF_NONE_MATCH,
	FIELD_IF_RANGE,
	FIELD_RANGE,
	FIELD_TRANSFER_ENCODING,
	FIELD_MAX,
};

static const struct {
	const char *name;
	bool is_list; /* may come several times */
} fields[FIELD_MAX] = {
	[FIELD_CONNECTION] = { "connection", true },
	[FIELD_CONTENT_LENGTH] = { "content-length", false },
	[FIELD_HOST] = { "host", false },
	[FIELD_IF_MODIFIED_SINCE] = { "if-modified-since", false },
	[FIELD_IF_NONE_MATCH] = { "if-none-match", true },
	[FIELD_IF_RANGE] = { "if-range", false },
	[FIELD_RANGE] = { "range", false },
	[FIELD_TRANSFER_ENCODING] = { "transfer-encoding", true },
};

struct head {
	const char *values[FIELD_MAX];
	int minor; /* of HTTP/1.minor */
	bool close;
	bool keep_alive;
};

size_t
httpd_request_length(const char *buf, size_t len)
{
	const char *end = buf + len, *line = buf, *lf;

	while ((lf = memchr(line, '\n', (size_t)(end - line))) != NULL) {
		if (lf == line || (lf == line + 1 && *line == '\r'))
			return (size_t)(lf + 1 - buf);
		line = lf + 1;
	}
	return 0;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_token(const char *s)
{
	static const char chars[] =
	    "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

	return *s != '\0' && s[strspn(s, chars)] == '\0';
}

/* The next line, without its end. NULL when there is none, or it is no text. */
static char *
next_line(char **cursorp)
{
	char *line = strsep(cursorp, "\n");
	const char *s;
	size_t len;

	if (line == NULL)
		return NULL;
	len = strlen(line);
	if (len > 0 && line[len - 1] == '\r')
		line[len - 1] = '\0';
	for (s = line; *s != '\0'; s++)
		if (((unsigned char)*s < ' ' && *s != '\t') || *s == '\177')
			return NULL;
	return line;
}

static int
hex(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Once: what is %25 in it stays a percent sign. */
static bool
decode(char *s)
{
	char *to = s;

	for (; *s != '\0'; s++) {
		if (*s == '%') {
			if (hex(s[1]) == -1 || hex(s[2]) == -1)
				return false;
			*to = (char)(hex(s[1]) * 16 + hex(s[2]));
			if (*to++ == '\0')
				return false;
			s += 2;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
	return true;
}

/* Both "/path?query" and "http://host/path?query", which a proxy's client sends. */
static bool
parse_target(char *target, const char **pathp)
{
	if (strncasecmp(target, "http://", 7) == 0) {
		target += 7;
		target += strcspn(target, "/?");
	} else if (*target != '/') {
		return false;
	}
	if (target[strcspn(target, "#\t")] != '\0')
		return false;
	target[strcspn(target, "?")] = '\0';
	if (!decode(target))
		return false;
	target += strspn(target, "/");
	*pathp = *target != '\0' ? target : ".";
	return true;
}

static enum httpd_method
parse_method(const char *name)
{
	static const char *const others[] = { "POST", "PUT", "DELETE", "PATCH",
		"OPTIONS", "TRACE", "CONNECT" };
	size_t i;

	if (strcmp(name, "GET") == 0)
		return HTTPD_GET;
	if (strcmp(name, "HEAD") == 0)
		return HTTPD_HEAD;
	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (strcmp(name, others[i]) == 0)
			return HTTPD_OTHER;
	return HTTPD_UNKNOWN;
}

static int
parse_version(const char *s, int *minorp)
{
	if (strlen(s) != 8 || strncmp(s, "HTTP/", 5) != 0 || !is_digit(s[5]) ||
	    s[6] != '.' || !is_digit(s[7]))
		return 400;
	if (s[5] != '1')
		return 505;
	*minorp = s[7] - '0';
	return 0;
}

static void
parse_connection(struct head *h, char *value)
{
	char *token;

	while ((token = strsep(&value, ", \t")) != NULL) {
		if (strcasecmp(token, "close") == 0)
			h->close = true;
		else if (strcasecmp(token, "keep-alive") == 0)
			h->keep_alive = true;
	}
}

static bool
parse_field(struct head *h, char *line)
{
	const char *name = strsep(&line, ":");
	char *value = line, *end;
	size_t i;

	/* Also refuses a folded line and a space before the colon. */
	if (value == NULL || !is_token(name))
		return false;
	value += strspn(value, " \t");
	for (end = value + strlen(value);
	     end > value && (end[-1] == ' ' || end[-1] == '\t'); end--)
		;
	*end = '\0';

	for (i = 0; i < FIELD_MAX; i++) {
		if (strcasecmp(name, fields[i].name) != 0)
			continue;
		if (h->values[i] != NULL && !fields[i].is_list)
			return false;
		h->values[i] = value;
		if (i == FIELD_CONNECTION)
			parse_connection(h, value);
	}
	return true;
}

static bool
parse_body(const struct head *h, bool *has_bodyp)
{
	const char *length = h->values[FIELD_CONTENT_LENGTH];
	bool encoded = h->values[FIELD_TRANSFER_ENCODING] != NULL;

	if (length != NULL) {
		if (*length == '\0' || length[strspn(length, "0123456789")] != '\0')
			return false;
		if (encoded)
			return false; /* two lengths: somebody is being fooled */
	}
	*has_bodyp = encoded || (length != NULL && length[strspn(length, "0")] != '\0');
	return true;
}

/* A method that we do not serve still needs a whole head, to go on after it. */
static int
parse_lines(char *head, struct head *h, struct httpd_request *request)
{
	char *target, *line = next_line(&head);
	const char *method;
	int status;

	if (line == NULL)
		return 400;
	method = strsep(&line, " ");
	target = strsep(&line, " ");
	if (target == NULL || line == NULL || !is_token(method) || *target == '\0')
		return 400;
	request->method = parse_method(method);
	if ((status = parse_version(line, &h->minor)) != 0)
		return status;
	while ((line = next_line(&head)) != NULL && *line != '\0')
		if (!parse_field(h, line))
			return 400;
	if (line == NULL || (h->minor > 0 && h->values[FIELD_HOST] == NULL))
		return 400;
	if (!parse_body(h, &request->has_body))
		return 400;
	request->keep_alive = !h->close && (h->minor > 0 || h->keep_alive);

	if (request->method == HTTPD_OTHER)
		return 405;
	if (request->method == HTTPD_UNKNOWN)
		return 501;
	return parse_target(target, &request->path) ? 0 : 400;
}

int
httpd_request_parse(char *head, size_t len, struct httpd_request *request)
{
	struct head h = { .close = false };
	int status;

	*request = (struct httpd_request){ .method = HTTPD_UNKNOWN };
	if (memchr(head, '\0', len) != NULL)
		return 400;
	head[len - 1] = '\0'; /* the last LF, so that all of it is one string */
	if ((status = parse_lines(head, &h, request)) != 0)
		return status;
	request->range = h.values[FIELD_RANGE];
	request->if_range = h.values[FIELD_IF_RANGE];
	request->if_modified_since = h.values[FIELD_IF_MODIFIED_SINCE];
	request->if_none_match = h.values[FIELD_IF_NONE_MATCH];
	return 0;
}
