/* SPDX-License-Identifier: ISC */

/* What a request is answered with: the status, and which bytes of which file. */
#ifndef EXAMPLES_HTTPD_REPLY_H
#define EXAMPLES_HTTPD_REPLY_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "examples/httpd_file.h"

struct evbuffer;
struct httpd_request;

struct httpd_reply {
	int status;
	bool keep_alive;        /* the connection serves on after this */
	bool no_body;           /* the request was a HEAD */
	bool started;           /* its head has been formatted: too late for another */
	struct httpd_file file; /* .fd is -1 when there is nothing to read */
	uint64_t offset;        /* the next byte of the file to send */
	uint64_t left;          /* bytes of the file still to send */
};

/* An empty reply: httpd_reply_end() may be called on it. */
#define HTTPD_REPLY_NONE      \
	{                     \
		.file.fd = -1 \
	}

/**
 * httpd_reply_decide() - find out what to answer
 * @parsed:	what httpd_request_parse() returned
 * @reply:	overwritten; end it with httpd_reply_end()
 */
void httpd_reply_decide(struct httpd_reply *reply, const struct httpd_request *request,
    int parsed, int root);

/* Another answer, an error, in place of one that has not started. */
void httpd_reply_error(struct httpd_reply *reply, int status);

/**
 * httpd_reply_head() - append the head, and the short text of an error
 *
 * Return: 0, or -ENOMEM
 */
int httpd_reply_head(struct httpd_reply *reply, struct evbuffer *out, time_t now);

void httpd_reply_end(struct httpd_reply *reply);

#endif
