/* SPDX-License-Identifier: ISC */

/* Asking budd. */
#include "budctl/http.h"

#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
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

static const char *
remedy(int error)
{
	if (error == EACCES || error == EPERM)
		return "ask for the group that may read the status ([status] in "
		       "budd.conf)";
	return "start budd (systemctl start budd), or name its status socket by -S";
}

static enum budctl_exit
unreachable(const char *socket, const char *why, const char *what_to_do)
{
	char *safe = terminal_safe(socket);

	warnx("cannot reach budd at %s: %s; %s", safe, why, what_to_do);
	free(safe);
	return BUDCTL_UNREACHABLE;
}

static enum budctl_exit
explain(CURL *curl, CURLcode code, const char *socket)
{
	long error = 0;

	curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &error);
	if (code == CURLE_COULDNT_CONNECT && error != 0)
		return unreachable(socket, strerror((int)error), remedy((int)error));
	if (code == CURLE_OPERATION_TIMEDOUT)
		return unreachable(socket, "no answer for 5 s",
		    "its arbiter may hang: see the log of budd");
	return unreachable(socket, curl_easy_strerror(code), remedy(0));
}

static enum budctl_exit
refused(long status, const cJSON *json)
{
	char *why = terminal_safe(field_text(json, "error"));

	if (why != NULL && why[0] != '\0')
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
	if (status == 200)
		warnx("budd answered something that is not a JSON object");
	else
		code = refused(status, json);
	cJSON_Delete(json);
	return code;
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

	if (strlen(socket) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
		return unreachable(socket, strerror(ENAMETOOLONG), remedy(0));
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
		result = explain(curl, code, socket);
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
