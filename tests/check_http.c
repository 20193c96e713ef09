/* SPDX-License-Identifier: ISC */

/* The status socket, asked byte by byte. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "daemon/seats.h"
#include "tests/fake_server.h"

static struct fake_server server;
static char answer[1 << 20];

static void
fill(struct fake *f)
{
	struct session *s = fake_add(f, "media", 4, 8); /* id 7 */

	fake_grow(f, s, 8, 8);
	s = fake_add(f, "closing", 4, 8); /* id 8: has no pool any more */
	s->state = SESSION_NEW;
}

static void
setup(void)
{
	signal(SIGPIPE, SIG_IGN);
	fake_server_start(&server, fill);
}

static void
teardown(void)
{
	fake_server_stop(&server);
}

/* --- One who asks --- */

static void
say(int sock, const char *text)
{
	ck_assert_int_eq(send(sock, text, strlen(text), 0), (ssize_t)strlen(text));
}

/* Everything until the other side closes. */
static const char *
listen_to(int sock)
{
	size_t used = 0;
	ssize_t n;

	while ((n = recv(sock, answer + used, sizeof(answer) - 1 - used, 0)) > 0)
		used += (size_t)n;
	ck_assert_msg(n == 0 || errno == ECONNRESET, "the connection stays open");
	answer[used] = '\0';
	close(sock);
	return answer;
}

static const char *
ask(const char *method, const char *path)
{
	int sock = fake_server_connect(&server);
	char request[1024];

	snprintf(request, sizeof(request),
	    "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", method,
	    path);
	say(sock, request);
	return listen_to(sock);
}

static const char *
get(const char *path)
{
	return ask("GET", path);
}

static int
code(const char *text)
{
	int number = 0;

	ck_assert_msg(sscanf(text, "HTTP/1.1 %d", &number) == 1, "no HTTP: '%s'", text);
	return number;
}

static const char *
body(const char *text)
{
	const char *end = strstr(text, "\r\n\r\n");

	ck_assert_ptr_nonnull(end);
	return end + 4;
}

static cJSON *
parse(const char *text)
{
	cJSON *json = cJSON_Parse(body(text));

	ck_assert_msg(cJSON_IsObject(json), "no JSON object: '%s'", body(text));
	return json;
}

static bool
is_served(void)
{
	return code(get("/v1/status")) == 200;
}

/* --- What there is --- */

START_TEST(status_is_json)
{
	cJSON *json = parse(get("/v1/status"));

	ck_assert_int_eq(code(answer), 200);
	ck_assert_ptr_nonnull(strstr(answer, "Content-Type: application/json\r\n"));
	ck_assert_int_eq(cJSON_GetArraySize(cJSON_GetObjectItem(json, "pools")), 1);
	cJSON_Delete(json);
}
END_TEST

START_TEST(root_lists_what_there_is)
{
	cJSON *json = parse(get("/"));

	ck_assert_int_eq(code(answer), 200);
	ck_assert_ptr_nonnull(strstr(answer, "\"/v1/status\""));
	ck_assert_ptr_nonnull(strstr(answer, "\"/v1/pools/ID\""));
	cJSON_Delete(json);
}
END_TEST

START_TEST(pools_are_listed_by_id_and_name)
{
	cJSON *json = parse(get("/v1/pools")),
	      *pools = cJSON_GetObjectItem(json, "pools");

	ck_assert_int_eq(cJSON_GetArraySize(pools), 1);
	ck_assert_int_eq(cJSON_GetObjectItem(pools->child, "id")->valueint, 7);
	cJSON_Delete(json);
}
END_TEST

START_TEST(pool_is_found_by_its_id)
{
	cJSON *json = parse(get("/v1/pools/7"));

	ck_assert_int_eq(code(answer), 200);
	ck_assert_str_eq(cJSON_GetObjectItem(json, "name")->valuestring, "media");
	ck_assert_ptr_nonnull(strstr(answer, "\"map\""));
	cJSON_Delete(json);
}
END_TEST

START_TEST(metrics_are_openmetrics_unless_only_text_is_wanted)
{
	int sock = fake_server_connect(&server);

	ck_assert_int_eq(code(get("/metrics")), 200);
	ck_assert_ptr_nonnull(strstr(answer, "application/openmetrics-text"));
	ck_assert_ptr_nonnull(strstr(answer, "\n# TYPE budd_queued counter\n"));
	ck_assert_ptr_nonnull(strstr(answer, "\nbudd_queued_total 0\n"));
	ck_assert_ptr_nonnull(
	    strstr(answer, "\nbudd_pool_pinned_bytes{id=\"7\",pool=\"media\","));
	ck_assert_str_eq(answer + strlen(answer) - 6, "# EOF\n");
	say(sock, "GET /metrics HTTP/1.1\r\nAccept: text/plain\r\n"
		  "Connection: close\r\n\r\n");
	ck_assert_int_eq(code(listen_to(sock)), 200);
	ck_assert_ptr_nonnull(strstr(answer, "text/plain; version=0.0.4"));
	ck_assert_ptr_nonnull(strstr(answer, "\n# TYPE budd_queued_total counter\n"));
	ck_assert_ptr_null(strstr(answer, "# EOF"));
}
END_TEST

START_TEST(query_is_passed_over)
{
	ck_assert_int_eq(code(get("/v1/status?pretty=1")), 200);
}
END_TEST

START_TEST(head_has_the_length_and_no_body)
{
	ck_assert_int_eq(code(ask("HEAD", "/v1/pools")), 200);
	ck_assert_str_eq(body(answer), "");
	ck_assert_ptr_nonnull(strstr(answer, "Content-Length: "));
	ck_assert_ptr_null(strstr(answer, "Content-Length: 0\r\n"));
}
END_TEST

/* --- What there is not --- */

static const struct {
	const char *path;
	int code;
} wrong[] = {
	{ "/v1/pools/99", 404 },
	{ "/v1/pools/8", 404 }, /* a session without a pool */
	{ "/v1/pools/4294967295", 404 },
	{ "/v1/pools/4294967296", 400 },
	{ "/v1/pools/99999999999999999999999", 400 },
	{ "/v1/pools/-1", 400 },
	{ "/v1/pools/+7", 400 },
	{ "/v1/pools/7x", 400 },
	{ "/v1/pools/7/", 400 },
	{ "/v1/pools/", 400 },
	{ "/v1/pools/media", 400 },
	{ "/v1/status/", 404 },
	{ "/v1", 404 },
	{ "/nothing", 404 },
	{ "//", 404 },
	{ "/%2e%2e/etc/passwd", 404 },
};
#define WRONG ((int)(sizeof(wrong) / sizeof(wrong[0])))

START_TEST(wrong_path_is_an_error_in_json)
{
	cJSON *json = parse(get(wrong[_i].path));

	ck_assert_int_eq(code(answer), wrong[_i].code);
	ck_assert(cJSON_IsString(cJSON_GetObjectItem(json, "error")));
	cJSON_Delete(json);
}
END_TEST

static const char *const methods[] = { "POST", "PUT", "DELETE", "PATCH", "OPTIONS",
	"TRACE" };
#define METHODS ((int)(sizeof(methods) / sizeof(methods[0])))

START_TEST(other_method_is_405_and_told_what_is_allowed)
{
	ck_assert_int_eq(code(ask(methods[_i], "/v1/status")), 405);
	ck_assert_ptr_nonnull(strstr(answer, "Allow: GET, HEAD\r\n"));
	ck_assert_ptr_nonnull(strstr(body(answer), "{\"error\":"));
}
END_TEST

START_TEST(unknown_method_is_501)
{
	ck_assert_int_eq(code(ask("BREW", "/v1/status")), 501);
}
END_TEST

/* --- Changes --- */

#define NOBODY 65534u
#define DAEMON 1u

static const char *
send_body(int sock, const char *method, const char *path, const char *text, size_t size)
{
	char head[256];

	snprintf(head, sizeof(head),
	    "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
	    "Content-Length: %zu\r\n\r\n",
	    method, path, size);
	say(sock, head);
	ck_assert_int_eq(send(sock, text, size, 0), (ssize_t)size);
	return listen_to(sock);
}

static cJSON *
change(const char *method, const char *path, const char *text)
{
	return parse(
	    send_body(fake_server_connect(&server), method, path, text, strlen(text)));
}

static double
number(const cJSON *object, const char *key)
{
	const cJSON *item = cJSON_GetObjectItem(object, key);

	ck_assert_msg(cJSON_IsNumber(item), "%s is no number", key);
	return item->valuedouble;
}

/* A number of the pool, or the host, as it is now. */
static double
now(const char *path, const char *key)
{
	cJSON *json = parse(get(path));
	double value = number(json, key);

	cJSON_Delete(json);
	return value;
}

START_TEST(pool_is_changed_and_told)
{
	cJSON *json = change("PATCH", "/v1/pools/7",
	    "{\"wall\": 67108864, \"add\": 1048576, \"weight\": 9,"
	    " \"check_idle\": false, \"policy\": \"several\"}");

	ck_assert_int_eq(code(answer), 200);
	ck_assert_double_eq(number(json, "id"), 7);
	ck_assert_double_eq(number(json, "wall"), 67108864);
	ck_assert_double_eq(number(json, "above_wall"), 0);
	cJSON_Delete(json);
	ck_assert_double_eq(now("/v1/pools/7", "add_size"), 1048576);
	ck_assert_double_eq(now("/v1/pools/7", "weight"), 9);
	ck_assert_ptr_nonnull(strstr(answer, "\"flags\":[]"));
	ck_assert_ptr_nonnull(strstr(answer, "\"policy\":\"several\""));
}
END_TEST

START_TEST(wall_below_what_is_pinned_tells_what_is_above_it)
{
	cJSON *json = change("PATCH", "/v1/pools/7", "{\"wall\": 1048576}");

	ck_assert_int_eq(code(answer), 200);
	ck_assert_double_eq(number(json, "above_wall"), 2097152);
	cJSON_Delete(json);
}
END_TEST

START_TEST(change_shows_in_the_status_at_once)
{
	get("/v1/status");
	cJSON_Delete(change("PATCH", "/v1/pools/7", "{\"weight\": 77}"));
	ck_assert_ptr_nonnull(strstr(get("/v1/status"), "\"weight\":77,"));
}
END_TEST

START_TEST(host_is_changed_and_told)
{
	cJSON *json = change("PATCH", "/v1/host",
	    "{\"wall\":1073741824,\"tick_ms\":250,\"user_pools\":3}");

	ck_assert_int_eq(code(answer), 200);
	ck_assert_double_eq(number(json, "wall"), 1073741824);
	ck_assert_double_eq(number(json, "tick_ms"), 250);
	ck_assert_double_eq(number(json, "release_period_ms"), 60000);
	cJSON_Delete(json);
	ck_assert_double_eq(now("/v1/host", "user_pools"), 3);
}
END_TEST

static const struct {
	const char *path;
	const char *body;
	const char *told[3];
} refused[] = {
	{ "/v1/pools/7", "", { "JSON object" } },
	{ "/v1/pools/7", "{\"wall\":1}", { "wall", "1", "262144" } },
	{ "/v1/pools/7", "{\"wall\":524288}", { "wall", "524288", "1048576" } },
	{ "/v1/pools/7", "{\"wall\":1073741825}",
	    { "wall", "1073741825", "1073741824" } },
	{ "/v1/pools/7", "{\"weight\":5,\"add\":1}", { "add", "1", "262144" } },
	{ "/v1/pools/7", "{\"weight\":5,\"add\":1074003968}",
	    { "add", "1073741824", "wall_max" } },
	{ "/v1/pools/7", "{\"weight\":5,\"colour\":1}",
	    { "colour", "known", "policy" } },
	{ "/v1/pools/7", "{\"weight\":5,\"policy\":\"x\"}",
	    { "policy", "x", "fixed" } },
	{ "/v1/host", "{\"user_pools\":5,\"wall\":4294967297}",
	    { "wall", "4294967297", "keeper" } },
	{ "/v1/host", "{\"user_pools\":5,\"tick_ms\":61000}",
	    { "release_period_ms", "60000", "61000" } },
};
#define REFUSED ((int)(sizeof(refused) / sizeof(refused[0])))

START_TEST(change_that_is_wrong_anywhere_changes_nothing_and_says_why)
{
	cJSON *json = change("PATCH", refused[_i].path, refused[_i].body);
	const char *why = cJSON_GetStringValue(cJSON_GetObjectItem(json, "error"));

	ck_assert_int_eq(code(answer), 400);
	ck_assert_ptr_nonnull(why);
	for (int i = 0; i < 3 && refused[_i].told[i] != NULL; i++)
		ck_assert_msg(strstr(why, refused[_i].told[i]) != NULL,
		    "'%s' is not in: %s", refused[_i].told[i], why);
	cJSON_Delete(json);
	ck_assert_double_eq(now("/v1/pools/7", "weight"), 3);
	ck_assert_double_eq(now("/v1/pools/7", "wall"), 1073741824 - 1000);
	ck_assert_double_eq(now("/v1/host", "user_pools"), 0);
}
END_TEST

START_TEST(pool_that_is_not_there_cannot_be_changed)
{
	cJSON_Delete(change("PATCH", "/v1/pools/99", "{\"weight\":5}"));
	ck_assert_int_eq(code(answer), 404);
	cJSON_Delete(change("PATCH", "/v1/pools/8", "{\"weight\":5}"));
	ck_assert_int_eq(code(answer), 404);
	cJSON_Delete(change("PATCH", "/v1/pools/x", "{\"weight\":5}"));
	ck_assert_int_eq(code(answer), 400);
}
END_TEST

static const char *const all[] = { "", "{}", " \r\n" };

START_TEST(release_without_a_pool_is_for_all)
{
	cJSON *json = change("POST", "/v1/release", all[_i]);

	ck_assert_int_eq(code(answer), 200);
	ck_assert_double_eq(number(json, "blocks"), 1);
	ck_assert_double_eq(number(cJSON_GetObjectItem(json, "pools")->child, "id"), 7);
	cJSON_Delete(json);
}
END_TEST

START_TEST(release_of_one_pool_names_it)
{
	cJSON *json = change("POST", "/v1/release", "{\"pool\": 7}");

	ck_assert_double_eq(number(json, "blocks"), 1);
	cJSON_Delete(json);
	cJSON_Delete(change("POST", "/v1/release", "{\"pool\": 8}"));
	ck_assert_int_eq(code(answer), 404);
	cJSON_Delete(change("POST", "/v1/release", "{\"pool\": \"media\"}"));
	ck_assert_int_eq(code(answer), 400);
}
END_TEST

static const struct {
	const char *method;
	const char *path;
	const char *allowed;
} not_so[] = {
	{ "GET", "/v1/release", "Allow: POST\r\n" },
	{ "PATCH", "/v1/release", "Allow: POST\r\n" },
	{ "POST", "/v1/pools/7", "Allow: GET, HEAD, PATCH\r\n" },
	{ "PUT", "/v1/host", "Allow: GET, HEAD, PATCH\r\n" },
	{ "PATCH", "/v1/pools", "Allow: GET, HEAD\r\n" },
};
#define NOT_SO ((int)(sizeof(not_so) / sizeof(not_so[0])))

START_TEST(page_tells_how_it_can_be_used)
{
	cJSON_Delete(change(not_so[_i].method, not_so[_i].path, "{}"));
	ck_assert_int_eq(code(answer), 405);
	ck_assert_ptr_nonnull(strstr(answer, not_so[_i].allowed));
}
END_TEST

/* --- Who may change something --- */

static bool
is_root(const char *test)
{
	if (geteuid() == 0)
		return true;
	printf("skip: %s: needs root\n", test);
	return false;
}

/* The kernel notes who connects at that moment. */
static int
connect_as(uid_t uid, gid_t gid)
{
	int sock;

	ck_assert_int_eq(setegid(gid), 0);
	ck_assert_int_eq(seteuid(uid), 0);
	sock = fake_server_connect(&server);
	ck_assert_int_eq(seteuid(0), 0);
	ck_assert_int_eq(setegid(0), 0);
	return sock;
}

static const char *
ask_as(uid_t uid, gid_t gid, const char *body)
{
	return send_body(
	    connect_as(uid, gid), "PATCH", "/v1/pools/7", body, strlen(body));
}

START_TEST(others_may_look_and_change_nothing)
{
	int sock;

	if (!is_root(__func__))
		return;
	ck_assert_int_eq(code(ask_as(NOBODY, NOBODY, "{\"weight\":5}")), 403);
	ck_assert_ptr_nonnull(strstr(answer, "403 Forbidden"));
	ck_assert_ptr_nonnull(strstr(body(answer), CONFIG_TUNERS));
	ck_assert_int_eq(code(ask_as(NOBODY, NOBODY, "garbage")), 403);
	sock = connect_as(NOBODY, NOBODY);
	ck_assert_int_eq(code(send_body(sock, "POST", "/v1/release", "", 0)), 403);
	sock = connect_as(NOBODY, NOBODY);
	ck_assert_int_eq(
	    code(send_body(sock, "PATCH", "/v1/host", "{\"tick_ms\":1}", 13)), 403);
	sock = connect_as(NOBODY, NOBODY);
	say(sock, "GET /v1/pools/7 HTTP/1.1\r\nConnection: close\r\n\r\n");
	ck_assert_int_eq(code(listen_to(sock)), 200);
	ck_assert_double_eq(now("/v1/pools/7", "weight"), 3);
}
END_TEST

static void
fill_as_daemon(struct fake *f)
{
	fill(f);
	if (setresgid(DAEMON, DAEMON, DAEMON) != 0 ||
	    setresuid(DAEMON, DAEMON, DAEMON) != 0)
		abort();
}

START_TEST(user_that_budd_runs_as_may_change_it)
{
	if (!is_root(__func__))
		return;
	fake_server_stop(&server);
	fake_server_start(&server, fill_as_daemon);
	ck_assert_int_eq(code(ask_as(DAEMON, NOBODY, "{\"weight\":5}")), 200);
	ck_assert_int_eq(code(ask_as(NOBODY, DAEMON, "{\"weight\":6}")), 403);
	ck_assert_int_eq(code(ask_as(0, 0, "{\"weight\":7}")), 200);
}
END_TEST

#define SOME_GROUP 54321

static void
fill_with_tuners(struct fake *f)
{
	fill(f);
	f->config.tuners_gid = SOME_GROUP;
}

static void
fill_with_watchers(struct fake *f)
{
	fill(f);
	strlcpy(f->config.status_group, "watchers", sizeof(f->config.status_group));
	f->config.status_gid = SOME_GROUP;
}

/* With so many groups beside, the one that counts the last. */
static int
connect_as_member(uid_t uid, gid_t gid, size_t others)
{
	gid_t *groups = calloc(others + 1, sizeof(*groups));
	int sock;

	ck_assert_ptr_nonnull(groups);
	for (size_t i = 0; i < others; i++)
		groups[i] = (gid_t)(1000 + i);
	groups[others] = SOME_GROUP;
	ck_assert_int_eq(syscall(SYS_setgroups, others + 1, groups), 0);
	sock = connect_as(uid, gid);
	ck_assert_int_eq(syscall(SYS_setgroups, 0, NULL), 0);
	free(groups);
	return sock;
}

static int
look_from(int sock)
{
	say(sock, "GET /v1/pools/7 HTTP/1.1\r\nConnection: close\r\n\r\n");
	return code(listen_to(sock));
}

static int
tune_from(int sock)
{
	return code(send_body(sock, "PATCH", "/v1/pools/7", "{\"weight\":5}", 12));
}

START_TEST(member_of_budadm_may_change_it)
{
	if (!is_root(__func__))
		return;
	fake_server_stop(&server);
	fake_server_start(&server, fill_with_tuners);
	ck_assert_int_eq(tune_from(connect_as_member(NOBODY, NOBODY, 0)), 200);
	ck_assert_int_eq(tune_from(connect_as_member(NOBODY, NOBODY, 63)), 200);
	ck_assert_int_eq(tune_from(connect_as_member(NOBODY, NOBODY, 1000)), 200);
	ck_assert_int_eq(tune_from(connect_as(NOBODY, SOME_GROUP)), 200);
	ck_assert_int_eq(tune_from(connect_as(NOBODY, NOBODY)), 403);
}
END_TEST

START_TEST(where_a_group_may_look_others_may_not)
{
	if (!is_root(__func__))
		return;
	fake_server_stop(&server);
	fake_server_start(&server, fill_with_watchers);
	ck_assert_int_eq(look_from(connect_as_member(NOBODY, NOBODY, 3)), 200);
	ck_assert_int_eq(tune_from(connect_as_member(NOBODY, NOBODY, 3)), 403);
	ck_assert_int_eq(look_from(connect_as(NOBODY, NOBODY)), 403);
	ck_assert_ptr_nonnull(strstr(body(answer), "group in budd.conf is watchers"));
	ck_assert_int_eq(tune_from(connect_as(NOBODY, NOBODY)), 403);
	ck_assert_int_eq(look_from(connect_as(0, 0)), 200);
}
END_TEST

/* --- Those who do not keep to it --- */

static const char *const garbage[] = {
	"\r\n\r\n\r\n",
	"hello\r\n\r\n",
	"GET\r\n\r\n",
	"GET /v1/status\r\n\r\n",
	"GET /v1/status HTTP/9.9.9\r\n\r\n",
	"GET /v1/status HTTP/1.1\r\nno colon\r\n\r\n",
	"\x16\x03\x01\x02\x01\xfc\x03\x03\r\n\r\n",
	"\xff\xfe\xfd\xfc\n\n",
	"CONNECT x:1 HTTP/1.1\r\n\r\n",
	"GET http://[::1/ HTTP/1.1\r\n\r\n",
	"GET * HTTP/1.1\r\n\r\n",
	"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
	"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
};
#define GARBAGE ((int)(sizeof(garbage) / sizeof(garbage[0])))

START_TEST(garbage_gets_an_error_and_hurts_nobody)
{
	int sock = fake_server_connect(&server);

	say(sock, garbage[_i]);
	shutdown(sock, SHUT_WR);
	listen_to(sock);
	ck_assert(answer[0] == '\0' || code(answer) >= 400);
	ck_assert(is_served());
}
END_TEST

static char *
make_filler(int c, size_t size)
{
	char *filler = malloc(size);

	ck_assert_ptr_nonnull(filler);
	memset(filler, c, size);
	return filler;
}

static void
say_filler(int sock, size_t size)
{
	char *filler = make_filler('x', size);

	for (size_t sent = 0; sent < size;) { /* it may be cut off at any time */
		ssize_t n = send(sock, filler + sent, size - sent, 0);

		if (n <= 0)
			break;
		sent += (size_t)n;
	}
	free(filler);
}

START_TEST(header_of_8_kib_passes)
{
	int sock = fake_server_connect(&server);

	say(sock, "GET / HTTP/1.1\r\nConnection: close\r\nX: ");
	say_filler(sock, 8000);
	say(sock, "\r\n\r\n");
	ck_assert_int_eq(code(listen_to(sock)), 200);
}
END_TEST

START_TEST(longer_header_does_not)
{
	int sock = fake_server_connect(&server);

	say(sock, "GET / HTTP/1.1\r\nConnection: close\r\nX: ");
	say_filler(sock, 9000);
	ck_assert_int_eq(code(listen_to(sock)), 400);
	ck_assert(is_served());
}
END_TEST

START_TEST(endless_request_line_is_cut_off)
{
	int sock = fake_server_connect(&server);

	say_filler(sock, 1 << 20);
	listen_to(sock);
	ck_assert(answer[0] == '\0' || code(answer) == 400);
	ck_assert(is_served());
}
END_TEST

START_TEST(body_of_more_than_64_kib_is_too_large)
{
	int sock = fake_server_connect(&server);

	say(sock, "POST /v1/status HTTP/1.1\r\nContent-Length: 65537\r\n\r\n");
	ck_assert_int_eq(code(listen_to(sock)), 413);
	ck_assert(is_served());
}
END_TEST

START_TEST(body_of_64_kib_is_read_and_one_of_brackets_is_no_object)
{
	char *brackets = make_filler('[', 65536);
	int sock = fake_server_connect(&server);

	send_body(sock, "PATCH", "/v1/pools/7", brackets, 65536);
	ck_assert_int_eq(code(answer), 400);
	ck_assert_ptr_nonnull(strstr(body(answer), "JSON object"));
	free(brackets);
	ck_assert(is_served());
}
END_TEST

START_TEST(body_that_does_not_come_holds_nobody_up)
{
	int sock = fake_server_connect(&server);

	say(sock, "PATCH /v1/pools/7 HTTP/1.1\r\nContent-Length: 14\r\n\r\n{\"wei");
	ck_assert(is_served());
	close(sock);
	ck_assert_double_eq(now("/v1/pools/7", "weight"), 3);
}
END_TEST

START_TEST(chunked_body_is_read_too)
{
	int sock = fake_server_connect(&server);

	say(sock, "PATCH /v1/pools/7 HTTP/1.1\r\nConnection: close\r\n"
		  "Transfer-Encoding: chunked\r\n\r\n"
		  "5\r\n{\"wei\r\n7\r\nght\":5}\r\n0\r\n\r\n");
	ck_assert_int_eq(code(listen_to(sock)), 200);
	ck_assert_double_eq(now("/v1/pools/7", "weight"), 5);
}
END_TEST

START_TEST(connection_is_kept_for_the_next_request)
{
	int sock = fake_server_connect(&server);
	const char *second;

	say(sock, "GET / HTTP/1.1\r\n\r\n");
	ck_assert_int_gt(recv(sock, answer, sizeof(answer), MSG_PEEK), 0);
	say(sock, "GET /v1/pools HTTP/1.1\r\nConnection: close\r\n\r\n");
	listen_to(sock);
	second = strstr(body(answer), "HTTP/1.1 200 OK");
	ck_assert_ptr_nonnull(second);
	ck_assert_ptr_nonnull(strstr(second, "media"));
}
END_TEST

START_TEST(requests_that_come_together_are_answered_in_turn)
{
	int sock = fake_server_connect(&server);

	say(sock, "GET /a HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nConnection: close\r\n\r\n");
	ck_assert_int_eq(code(listen_to(sock)), 404);
	ck_assert_ptr_nonnull(strstr(answer, "HTTP/1.1 200 OK"));
}
END_TEST

START_TEST(client_that_says_nothing_holds_nobody_up)
{
	int silent = fake_server_connect(&server), half = fake_server_connect(&server);

	say(half, "GET /v1/sta");
	ck_assert(is_served());
	say(half, "tus HTTP/1.1\r\nConnection: close\r\n\r\n");
	ck_assert_int_eq(code(listen_to(half)), 200);
	close(silent);
}
END_TEST

START_TEST(client_that_does_not_wait_for_its_answer_hurts_nobody)
{
	for (unsigned int i = 0; i < 20; i++) {
		int sock = fake_server_connect(&server);

		say(sock, "GET /v1/status HTTP/1.1\r\n\r\n");
		close(sock);
	}
	ck_assert(is_served());
}
END_TEST

START_TEST(whoever_came_first_is_cut_off_when_there_are_too_many)
{
	int socks[SEATS_MAX + 8];
	char byte;

	for (unsigned int i = 0; i < SEATS_MAX + 8; i++)
		socks[i] = fake_server_connect(&server);
	ck_assert(is_served());
	for (unsigned int i = 0; i < 9; i++) /* is_served() took a seat too */
		ck_assert_int_eq(recv(socks[i], &byte, 1, 0), 0);
	for (unsigned int i = 9; i < SEATS_MAX + 8; i++)
		ck_assert_int_eq(recv(socks[i], &byte, 1, MSG_DONTWAIT), -1);
	for (unsigned int i = 0; i < SEATS_MAX + 8; i++)
		close(socks[i]);
	ck_assert(is_served());
}
END_TEST

START_TEST(seats_are_free_again_when_connections_end)
{
	int first = fake_server_connect(&server);

	for (unsigned int i = 0; i < 3 * SEATS_MAX; i++)
		ck_assert_int_eq(code(get("/")), 200);
	say(first, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
	ck_assert_int_eq(code(listen_to(first)), 200);
}
END_TEST

static void
add_cases(Suite *s)
{
	TCase *t = tcase_create("paths"), *hostile = tcase_create("hostile");
	TCase *changes = tcase_create("changes");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, status_is_json);
	tcase_add_test(t, root_lists_what_there_is);
	tcase_add_test(t, pools_are_listed_by_id_and_name);
	tcase_add_test(t, pool_is_found_by_its_id);
	tcase_add_test(t, query_is_passed_over);
	tcase_add_test(t, metrics_are_openmetrics_unless_only_text_is_wanted);
	tcase_add_test(t, head_has_the_length_and_no_body);
	tcase_add_loop_test(t, wrong_path_is_an_error_in_json, 0, WRONG);
	tcase_add_loop_test(
	    t, other_method_is_405_and_told_what_is_allowed, 0, METHODS);
	tcase_add_test(t, unknown_method_is_501);
	suite_add_tcase(s, t);
	tcase_add_checked_fixture(changes, setup, teardown);
	tcase_add_test(changes, pool_is_changed_and_told);
	tcase_add_test(changes, wall_below_what_is_pinned_tells_what_is_above_it);
	tcase_add_test(changes, change_shows_in_the_status_at_once);
	tcase_add_test(changes, host_is_changed_and_told);
	tcase_add_loop_test(changes,
	    change_that_is_wrong_anywhere_changes_nothing_and_says_why, 0, REFUSED);
	tcase_add_test(changes, pool_that_is_not_there_cannot_be_changed);
	tcase_add_loop_test(changes, release_without_a_pool_is_for_all, 0, 3);
	tcase_add_test(changes, release_of_one_pool_names_it);
	tcase_add_loop_test(changes, page_tells_how_it_can_be_used, 0, NOT_SO);
	tcase_add_test(changes, others_may_look_and_change_nothing);
	tcase_add_test(changes, user_that_budd_runs_as_may_change_it);
	tcase_add_test(changes, member_of_budadm_may_change_it);
	tcase_add_test(changes, where_a_group_may_look_others_may_not);
	suite_add_tcase(s, changes);
	tcase_add_checked_fixture(hostile, setup, teardown);
	tcase_set_timeout(hostile, 20);
	tcase_add_loop_test(
	    hostile, garbage_gets_an_error_and_hurts_nobody, 0, GARBAGE);
	tcase_add_test(hostile, header_of_8_kib_passes);
	tcase_add_test(hostile, longer_header_does_not);
	tcase_add_test(hostile, endless_request_line_is_cut_off);
	tcase_add_test(hostile, body_of_more_than_64_kib_is_too_large);
	tcase_add_test(
	    hostile, body_of_64_kib_is_read_and_one_of_brackets_is_no_object);
	tcase_add_test(hostile, body_that_does_not_come_holds_nobody_up);
	tcase_add_test(hostile, chunked_body_is_read_too);
	tcase_add_test(hostile, connection_is_kept_for_the_next_request);
	tcase_add_test(hostile, requests_that_come_together_are_answered_in_turn);
	tcase_add_test(hostile, client_that_says_nothing_holds_nobody_up);
	tcase_add_test(hostile, client_that_does_not_wait_for_its_answer_hurts_nobody);
	tcase_add_test(hostile, whoever_came_first_is_cut_off_when_there_are_too_many);
	tcase_add_test(hostile, seats_are_free_again_when_connections_end);
	suite_add_tcase(s, hostile);
}

int
main(void)
{
	Suite *s = suite_create("http");
	SRunner *r;
	int failed;

	add_cases(s);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
