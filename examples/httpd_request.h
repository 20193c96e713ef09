/* SPDX-License-Identifier: ISC */

/* The head of one HTTP/1.x request, taken apart in place. No I/O, no allocation. */
#ifndef EXAMPLES_HTTPD_REQUEST_H
#define EXAMPLES_HTTPD_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#define HTTPD_HEAD_MAX 8192u /* bytes of a request's head, the empty line included */

enum httpd_method {
	HTTPD_GET,
	HTTPD_HEAD,
	HTTPD_OTHER, /* one that HTTP knows, and we do not serve */
	HTTPD_UNKNOWN,
};

/* Strings point into the head; NULL: not there. */
struct httpd_request {
	enum httpd_method method;
	bool keep_alive;
	bool has_body;    /* one follows, and we will not read it */
	const char *path; /* decoded, without leading slashes; "." is the root */
	const char *range;
	const char *if_range;
	const char *if_modified_since;
	const char *if_none_match;
};

/**
 * httpd_request_length() - how long the head is that starts here
 *
 * Return: bytes up to and with the empty line; 0: it has not all come yet
 */
size_t httpd_request_length(const char *buf, size_t len);

/**
 * httpd_request_parse() - take a head apart
 * @head:	changed in place; must outlive @request
 * @len:	as httpd_request_length() said
 * @request:	always filled in; after an error only @method, @keep_alive and @has_body
 *		say anything
 *
 * Return: 0, or the status code of the refusal: 400, 405, 501, 505
 */
int httpd_request_parse(char *head, size_t len, struct httpd_request *request);

#endif
