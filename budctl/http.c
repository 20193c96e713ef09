/* SPDX-License-Identifier: ISC */

/* Asking budd. */
#include "budctl/http.h"

#include <err.h>
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <curl/curl.h>

#include "budctl/fields.h"
#include "budctl/terminal.h"

struct body {
	char *text;
	size_t size;
};

static size_t
on_data(char *data, size_t one, size_t count, void *arg)
{
	struct body *b = arg;
	size_t size = one * count;
	char *text;

	if (size > HTTP_BODY_MAX - b->size)
		return 0;
	if ((text = realloc(b->text, b->size + size + 1)) == NULL)
		return 0;
	memcpy(text + b->size, data, size);
	b->text = text;
	b->size += size;
	text[b->size] = '\0';
	return size;
}

static CURL *
make_request(const char *socket, const char *path, struct body *body)
{
	CURL *curl = curl_easy_init();
	char url[128];

	if (curl == NULL)
		return NULL;
	snprintf(url, sizeof(url), "http://localhost%s", path);
	curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* whatever http_proxy says */
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, HTTP_TIMEOUT_S);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
	return curl;
}

/* --- What went wrong --- */

static bool quiet; /* whoever asks wants to know whether, not why not */

struct remedy {
	char text[256];
};

/* The socket's mode says for whom it is. */
static struct remedy
remedy(const char *socket, int error)
{
	struct remedy r = {
		"start budd (systemctl start budd), or name its status socket by "
		"-S"
	};
	const struct group *group = NULL;
	struct stat st;

	if (error != EACCES && error != EPERM)
		return r;
	if (stat(socket, &st) == 0 && (st.st_mode & S_IWGRP) != 0)
		group = getgrgid(st.st_gid);
	if (group != NULL)
		snprintf(r.text, sizeof(r.text),
		    "it is for root and the group %s: adduser NAME %s, and log in "
		    "again",
		    group->gr_name, group->gr_name);
	else
		strlcpy(r.text,
		    "ask for the group that may read the status ([status] in "
		    "budd.conf)",
		    sizeof(r.text));
	return r;
}

static enum budctl_exit
unreachable(const char *socket, const char *why, const char *what_to_do)
{
	char *safe = terminal_safe(socket);

	if (!quiet)
		warnx("cannot reach budd at %s: %s; %s", safe, why, what_to_do);
	free(safe);
	return BUDCTL_UNREACHABLE;
}

static enum budctl_exit
not_reached(CURL *curl, CURLcode code, const char *socket)
{
	long error = 0;

	curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &error);
	if (code == CURLE_COULDNT_CONNECT && error != 0)
		return unreachable(
		    socket, strerror((int)error), remedy(socket, (int)error).text);
	if (code == CURLE_OPERATION_TIMEDOUT)
		return unreachable(socket, "no answer for 5 s",
		    "its arbiter may hang: see the log of budd");
	return unreachable(socket, curl_easy_strerror(code), remedy(socket, 0).text);
}

static enum budctl_exit
refused(long status, const cJSON *json)
{
	char *why = terminal_safe(field_text(json, "error"));

	if (quiet)
		;
	else if (why[0] != '\0')
		warnx("budd: %s", why);
	else
		warnx("budd answered with HTTP status %ld", status);
	free(why);
	return status == 403 ? BUDCTL_DENIED : BUDCTL_FAILED;
}

static enum budctl_exit
judge(long status, const struct body *body, cJSON **jsonp)
{
	cJSON *json = body->text != NULL ? cJSON_Parse(body->text) : NULL;
	enum budctl_exit code = BUDCTL_FAILED;

	if (status == 200 && cJSON_IsObject(json)) {
		*jsonp = json;
		return BUDCTL_OK;
	}
	if (status == 200 && !quiet)
		warnx("budd answered something that is not a JSON object");
	else if (status != 200)
		code = refused(status, json);
	cJSON_Delete(json);
	return code;
}

static bool
is_too_long(const char *socket)
{
	return strlen(socket) >= sizeof(((struct sockaddr_un *)NULL)->sun_path);
}

/* @text: what to send, or NULL */
static enum budctl_exit
ask(const char *socket, const char *method, const char *path, const char *text,
    cJSON **jsonp)
{
	struct body body = { 0 };
	enum budctl_exit result;
	long status = 0;
	CURLcode code;
	CURL *curl;

	if (is_too_long(socket))
		return unreachable(
		    socket, strerror(ENAMETOOLONG), remedy(socket, 0).text);
	if ((curl = make_request(socket, path, &body)) == NULL)
		errx(BUDCTL_FAILED, "no memory for a request");
	if (text != NULL) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text); /* not copied */
		curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	}
	code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	if (code == CURLE_OK)
		result = judge(status, &body, jsonp);
	else
		result = not_reached(curl, code, socket);
	curl_easy_cleanup(curl);
	free(body.text);
	return result;
}

enum budctl_exit
http_get(const char *socket, const char *path, cJSON **jsonp)
{
	return ask(socket, "GET", path, NULL, jsonp);
}

enum budctl_exit
http_send(const char *socket, const char *method, const char *path, const cJSON *body,
    cJSON **jsonp)
{
	char *text = cJSON_PrintUnformatted(body);
	enum budctl_exit code;

	if (text == NULL)
		errx(BUDCTL_FAILED, "no memory for a request");
	code = ask(socket, method, path, text, jsonp);
	cJSON_free(text);
	return code;
}

/* --- A stream --- */

struct stream {
	CURL *curl;
	struct body body; /* a line that is not complete, or what else was said */
	bool (*on_line)(const char *line, void *arg);
	void *arg;
	bool begun;
	bool ended; /* by on_line() */
};

/* Gives away what is complete. */
static void
split(struct stream *s)
{
	char *line = s->body.text, *end;

	while (!s->ended && (end = strchr(line, '\n')) != NULL) {
		*end = '\0';
		s->ended = end > line && !s->on_line(line, s->arg);
		line = end + 1;
	}
	s->body.size = strlen(line);
	memmove(s->body.text, line, s->body.size + 1);
}

static size_t
on_stream(char *data, size_t one, size_t count, void *arg)
{
	struct stream *s = arg;
	long status = 0;

	if (s->body.size + one * count > HTTP_LINE_MAX ||
	    on_data(data, one, count, &s->body) != one * count)
		return 0;
	curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status != 200)
		return one * count;
	s->begun = true;
	split(s);
	return s->ended ? 0 : one * count;
}

/* What has begun may end in any way: it never ends by itself. */
static enum budctl_exit
judge_stream(struct stream *s, CURLcode code, const char *socket)
{
	cJSON *json = NULL;
	long status = 0;

	if (s->begun)
		return BUDCTL_OK;
	if (code != CURLE_OK)
		return not_reached(s->curl, code, socket);
	curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status == 200)
		return BUDCTL_OK; /* it had nothing to say */
	return judge(status, &s->body, &json);
}

enum budctl_exit
http_stream(const char *socket, const char *path,
    bool (*on_line)(const char *line, void *arg), void *arg)
{
	struct stream s = { .on_line = on_line, .arg = arg };
	enum budctl_exit result;

	if (is_too_long(socket))
		return unreachable(
		    socket, strerror(ENAMETOOLONG), remedy(socket, 0).text);
	if ((s.curl = make_request(socket, path, &s.body)) == NULL)
		errx(BUDCTL_FAILED, "no memory for a request");
	curl_easy_setopt(s.curl, CURLOPT_WRITEFUNCTION, on_stream);
	curl_easy_setopt(s.curl, CURLOPT_WRITEDATA, &s);
	curl_easy_setopt(s.curl, CURLOPT_TIMEOUT, 0L);
	curl_easy_setopt(s.curl, CURLOPT_CONNECTTIMEOUT, HTTP_TIMEOUT_S);
	result = judge_stream(&s, curl_easy_perform(s.curl), socket);
	curl_easy_cleanup(s.curl);
	free(s.body.text);
	return result;
}

enum budctl_exit
http_try(const char *socket, const char *path, cJSON **jsonp)
{
	enum budctl_exit code;

	quiet = true;
	code = http_get(socket, path, jsonp);
	quiet = false;
	return code;
}

enum budctl_exit
http_probe(const char *socket)
{
	cJSON *json;
	enum budctl_exit code = http_try(socket, "/", &json);

	if (code == BUDCTL_OK)
		cJSON_Delete(json);
	return code;
}
