/* SPDX-License-Identifier: ISC */

/*
 * Answers: RFC 9110, as far as a server of plain files needs it.
 *
 * There are no entity tags: If-None-Match can match only by "*", and an If-Range that
 * holds a tag never does, so that nobody pastes two versions of a file together.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "examples/httpd_reply.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/util.h>

#include "examples/httpd_request.h"

#define RETRY_AFTER_S 1

static const char *
reason(int status)
{
	static const struct {
		int status;
		const char *reason;
	} reasons[] = {
		{ 200, "OK" },
		{ 206, "Partial Content" },
		{ 304, "Not Modified" },
		{ 400, "Bad Request" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 416, "Range Not Satisfiable" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" },
		{ 501, "Not Implemented" },
		{ 503, "Service Unavailable" },
		{ 505, "HTTP Version Not Supported" },
	};
	size_t i;

	for (i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "Error";
}

/* The three forms that RFC 9110 knows; nothing in this program sets a locale. */
static bool
parse_date(const char *s, time_t *tp)
{
	static const char *const forms[] = { "%a, %d %b %Y %H:%M:%S GMT",
		"%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y" };
	const char *end;
	struct tm tm;
	size_t i;

	for (i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		memset(&tm, 0, sizeof(tm));
		end = strptime(s, forms[i], &tm);
		if (end != NULL && *end == '\0') {
			*tp = timegm(&tm);
			return true;
		}
	}
	return false;
}

/* Digits, at least one. What does not fit is as large as can be: beyond any file. */
static bool
parse_number(const char **sp, uint64_t *np)
{
	const char *s = *sp;
	uint64_t n = 0;

	if (*s < '0' || *s > '9')
		return false;
	for (; *s >= '0' && *s <= '9'; s++)
		n = n > (UINT64_MAX - 9) / 10 ? UINT64_MAX
					      : n * 10 + (uint64_t)(*s - '0');
	*sp = s;
	*np = n;
	return true;
}

/*
 * One range of bytes, cut to the file. Return 200 for what is to be ignored (several
 * ranges, other units, no sense), else 206 or 416.
 */
static int
parse_range(const char *s, uint64_t size, uint64_t *firstp, uint64_t *lengthp)
{
	uint64_t first, last = UINT64_MAX;

	if (strncasecmp(s, "bytes=", 6) != 0)
		return 200;
	s += 6;
	if (*s == '-') {
		s++;
		if (!parse_number(&s, &last) || *s != '\0')
			return 200;
		if (last == 0 || size == 0)
			return 416;
		*lengthp = last < size ? last : size;
		*firstp = size - *lengthp;
		return 206;
	}
	if (!parse_number(&s, &first) || *s++ != '-')
		return 200;
	if (*s != '\0' && (!parse_number(&s, &last) || *s != '\0' || last < first))
		return 200;
	if (first >= size)
		return 416;
	*firstp = first;
	*lengthp = (last < size ? last + 1 : size) - first;
	return 206;
}

static bool
is_unmodified(const struct httpd_request *q, const struct httpd_file *file)
{
	time_t since;

	if (q->if_none_match != NULL) /* and then the date does not count */
		return strcmp(q->if_none_match, "*") == 0;
	return q->if_modified_since != NULL &&
	       parse_date(q->if_modified_since, &since) && file->modified <= since;
}

static bool
wants_range(const struct httpd_request *q, const struct httpd_file *file)
{
	time_t date;

	if (q->range == NULL || q->method != HTTPD_GET)
		return false;
	return q->if_range == NULL ||
	       (parse_date(q->if_range, &date) && date == file->modified);
}

void
httpd_reply_decide(
    struct httpd_reply *r, const struct httpd_request *q, int parsed, int root)
{
	int status;

	*r = (struct httpd_reply)HTTPD_REPLY_NONE;
	/* A body that we do not read would be taken for the next request. */
	r->keep_alive = q->keep_alive && !q->has_body;
	r->no_body = q->method == HTTPD_HEAD;

	status = parsed != 0 ? parsed : httpd_file_open(root, q->path, &r->file);
	if (status != 0) {
		httpd_reply_error(r, status);
		return;
	}
	r->status = 200;
	r->left = r->file.size;
	if (is_unmodified(q, &r->file)) {
		r->status = 304;
		r->left = 0;
	} else if (wants_range(q, &r->file)) {
		r->status = parse_range(q->range, r->file.size, &r->offset, &r->left);
		if (r->status == 416)
			r->left = 0;
	}
}

void
httpd_reply_error(struct httpd_reply *r, int status)
{
	httpd_reply_end(r);
	r->status = status;
	r->left = 0;
}

static int
add_date(struct evbuffer *out, const char *name, time_t t)
{
	char date[64];
	struct tm tm;

	if (gmtime_r(&t, &tm) == NULL)
		return 0; /* a file from beyond the calendar goes without */
	evutil_date_rfc1123(date, sizeof(date), &tm);
	return evbuffer_add_printf(out, "%s: %s\r\n", name, date);
}

/* What tells of the file: its type, its date, and which part of it this is. */
static int
add_file(struct evbuffer *out, const struct httpd_reply *r, time_t now)
{
	const struct httpd_file *f = &r->file;
	int n;

	/* A date in the future would make caches believe that nothing ever changes. */
	n = add_date(out, "Last-Modified", f->modified < now ? f->modified : now);
	if (n != -1)
		n = evbuffer_add_printf(out, "Accept-Ranges: bytes\r\n");
	if (n == -1 || r->status == 304)
		return n;
	if (r->status == 206)
		n = evbuffer_add_printf(out,
		    "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n",
		    r->offset, r->offset + r->left - 1, f->size);
	if (n == -1)
		return n;
	return evbuffer_add_printf(out,
	    "Content-Type: %s\r\nContent-Length: %" PRIu64 "\r\n\r\n", f->type,
	    r->left);
}

static int
add_error(struct evbuffer *out, const struct httpd_reply *r)
{
	char text[64];
	int n, len;

	len = snprintf(text, sizeof(text), "%d %s\n", r->status, reason(r->status));
	n = evbuffer_add_printf(out,
	    "Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n", len);
	if (n != -1 && r->status == 405)
		n = evbuffer_add_printf(out, "Allow: GET, HEAD\r\n");
	if (n != -1 && r->status == 416)
		n = evbuffer_add_printf(
		    out, "Content-Range: bytes */%" PRIu64 "\r\n", r->file.size);
	if (n != -1 && r->status == 503)
		n = evbuffer_add_printf(out, "Retry-After: %d\r\n", RETRY_AFTER_S);
	if (n == -1)
		return n;
	return evbuffer_add_printf(out, "\r\n%s", r->no_body ? "" : text);
}

int
httpd_reply_head(struct httpd_reply *r, struct evbuffer *out, time_t now)
{
	int n;

	r->started = true;
	n = evbuffer_add_printf(out,
	    "HTTP/1.1 %d %s\r\nServer: bud-httpd\r\nConnection: %s\r\n", r->status,
	    reason(r->status), r->keep_alive ? "keep-alive" : "close");
	if (n != -1)
		n = add_date(out, "Date", now);
	if (n == -1)
		return -ENOMEM;
	if (r->status >= 400)
		n = add_error(out, r);
	else
		n = add_file(out, r, now);
	if (n != -1 && r->status == 304)
		n = evbuffer_add(out, "\r\n", 2);
	if (r->no_body)
		r->left = 0;
	return n == -1 ? -ENOMEM : 0;
}

void
httpd_reply_end(struct httpd_reply *r)
{
	if (r->file.fd != -1)
		close(r->file.fd);
	r->file.fd = -1;
}
