/* SPDX-License-Identifier: ISC */

/* The status socket, asked byte by byte. */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
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

static void
say_filler(int sock, size_t size)
{
	char *filler = malloc(size);

	ck_assert_ptr_nonnull(filler);
	memset(filler, 'x', size);
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

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, status_is_json);
	tcase_add_test(t, root_lists_what_there_is);
	tcase_add_test(t, pools_are_listed_by_id_and_name);
	tcase_add_test(t, pool_is_found_by_its_id);
	tcase_add_test(t, query_is_passed_over);
	tcase_add_test(t, head_has_the_length_and_no_body);
	tcase_add_loop_test(t, wrong_path_is_an_error_in_json, 0, WRONG);
	tcase_add_loop_test(
	    t, other_method_is_405_and_told_what_is_allowed, 0, METHODS);
	tcase_add_test(t, unknown_method_is_501);
	suite_add_tcase(s, t);
	tcase_add_checked_fixture(hostile, setup, teardown);
	tcase_set_timeout(hostile, 20);
	tcase_add_loop_test(
	    hostile, garbage_gets_an_error_and_hurts_nobody, 0, GARBAGE);
	tcase_add_test(hostile, header_of_8_kib_passes);
	tcase_add_test(hostile, longer_header_does_not);
	tcase_add_test(hostile, endless_request_line_is_cut_off);
	tcase_add_test(hostile, body_of_more_than_64_kib_is_too_large);
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
