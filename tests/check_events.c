/* SPDX-License-Identifier: ISC */

/* The stream of events: what is told of real clients, and to listeners of all kinds. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bud.h"
/* Sanitizers keep what was freed for a while. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLACK ((uint64_t)1 << 30)
#else
#define SLACK ((uint64_t)0)
#endif

#include "tests/client_process.h"
#include "tests/daemon.h"
#include "tests/raw.h"

#define CHUNK        (256 * KIB)
#define OTHER        12345 /* a uid that is neither root nor in any group */
#define USER_MAX     8     /* EVENTS_USER_MAX */
#define SEATS        64    /* SEATS_MAX */
#define FLOOD        4000  /* changes: more lines than a listener may be behind */
#define ARBITER_GROW (4 * MIB)

#define CONFIG                                                                  \
	"[host]\ntick = 5ms\nrelease_period = 1h\nidle = 1h\n"                  \
	"[pool default]\nbase = 256K\nadd = 256K\nwall = 1M\nwall_max = 1M\n"   \
	"[pool closed]\nuser = nobody\n[pool ahead]\nbase = 512K\nadd = 256K\n" \
	"wall = 1M\nheadroom = 256K\n[status]\nqueued_event = 1ms\n"

/* One who listens. Of a chunked answer, the lines of JSON are those that begin with '{'. */
struct listener {
	int sock;
	size_t used;
	char text[65536];
};

static struct daemon d;
static struct daemon_snapshot before;
static struct listener ear;

/* --- Listening --- */

static int
dial(void)
{
	const struct timeval longest = { .tv_sec = PATIENCE_MS / 1000 };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strlcpy(a.sun_path, d.status, sizeof(a.sun_path));
	ck_assert_int_ne(sock, -1);
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &longest, sizeof(longest));
	ck_assert_int_eq(connect(sock, (struct sockaddr *)&a, sizeof(a)), 0);
	return sock;
}

static void
say(int sock, const char *text)
{
	ck_assert_int_eq(
	    send(sock, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void
ask_for(struct listener *l, const char *path)
{
	char text[128];

	*l = (struct listener){ .sock = dial() };
	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
	say(l->sock, text);
}

/* More of what it is sent; false: the connection has ended, or nothing came. */
static bool
receive(struct listener *l)
{
	ssize_t n;

	ck_assert_uint_lt(l->used, sizeof(l->text) - 1);
	n = recv(l->sock, l->text + l->used, sizeof(l->text) - 1 - l->used, 0);
	if (n <= 0)
		return false;
	l->used += (size_t)n;
	l->text[l->used] = '\0';
	return true;
}

/* The next line of any kind, without its end. */
static bool
next_line(struct listener *l, char *line, size_t size)
{
	char *end;

	while ((end = memchr(l->text, '\n', l->used)) == NULL)
		if (!receive(l))
			return false;
	*end = '\0';
	strlcpy(line, l->text, size);
	l->used -= (size_t)(end + 1 - l->text);
	memmove(l->text, end + 1, l->used + 1);
	return true;
}

/* The next event; NULL: the stream has ended. */
static cJSON *
hear(struct listener *l)
{
	char line[4096];
	cJSON *json;

	do
		if (!next_line(l, line, sizeof(line)))
			return NULL;
	while (line[0] != '{');
	json = cJSON_Parse(line);
	ck_assert_msg(json != NULL, "no JSON: %s", line);
	ck_assert(cJSON_IsNumber(cJSON_GetObjectItem(json, "time")));
	return json;
}

static const char *
text_of(const cJSON *json, const char *key)
{
	const cJSON *item = cJSON_GetObjectItem(json, key);

	return cJSON_IsString(item) ? item->valuestring : "";
}

static double
number_of(const cJSON *json, const char *key)
{
	const cJSON *item = cJSON_GetObjectItem(json, key);

	ck_assert_msg(cJSON_IsNumber(item), "%s is no number", key);
	return item->valuedouble;
}

/* The next event of that name; those before it are passed over. */
static cJSON *
await(struct listener *l, const char *name)
{
	cJSON *json;

	while ((json = hear(l)) != NULL && strcmp(text_of(json, "event"), name) != 0)
		cJSON_Delete(json);
	ck_assert_msg(json != NULL, "no event '%s' came", name);
	return json;
}

static void
listen_to(struct listener *l, const char *path)
{
	ask_for(l, path);
	cJSON_Delete(await(l, "hello"));
}

static void
enter(void)
{
	daemon_start(&d, CONFIG);
	daemon_snapshot(&d, &before);
	listen_to(&ear, "/v1/events");
}

static void
leave(void)
{
	close(ear.sock);
	daemon_expect_same(&d, &before);
	daemon_stop(&d);
}

/* --- What is told --- */

START_TEST(first_comes_who_tells)
{
	struct listener l;
	cJSON *json;

	ask_for(&l, "/v1/events");
	json = hear(&l);
	ck_assert_str_eq(text_of(json, "event"), "hello");
	ck_assert_double_eq(number_of(json, "pid"), d.keeper);
	ck_assert_double_eq(number_of(json, "restarts"), 0);
	cJSON_Delete(json);
	close(l.sock);
}
END_TEST

START_TEST(pool_is_told_of_when_it_opens_and_closes_with_what_it_held)
{
	struct bud_pool *pool = open_pool(&d, "default");
	cJSON *json = await(&ear, "opened"), *who = cJSON_GetObjectItem(json, "pool");

	ck_assert_str_eq(text_of(who, "name"), "default");
	ck_assert_double_eq(number_of(who, "pid"), getpid());
	ck_assert_double_eq(number_of(json, "wall"), MIB);
	cJSON_Delete(json);
	ck_assert_ptr_nonnull(bud_alloc(pool, 64 * KIB, 0));
	bud_close(pool);
	json = await(&ear, "closed");
	ck_assert_double_eq(number_of(json, "used"), 64 * KIB);
	ck_assert_double_eq(number_of(json, "pinned"), CHUNK);
	ck_assert_str_eq(text_of(json, "reason"), "by the client");
	cJSON_Delete(json);
}
END_TEST

START_TEST(growth_and_release_tell_why)
{
	struct bud_pool *pool = open_pool(&d, "default");
	void *bufs[4];
	cJSON *json;

	for (int i = 0; i < 4; i++)
		ck_assert_ptr_nonnull(bufs[i] = bud_alloc(pool, CHUNK, 0));
	json = await(&ear, "grown");
	ck_assert_str_eq(text_of(json, "reason"), "request");
	ck_assert_double_eq(number_of(json, "bytes"), CHUNK);
	ck_assert_double_eq(number_of(json, "pinned"), 2 * CHUNK);
	cJSON_Delete(json);
	for (int i = 0; i < 4; i++)
		bud_free(pool, bufs[i]);
	ck_assert_int_eq(bud_hint(pool, BUD_TRANSFER_END), 0);
	json = await(&ear, "released");
	ck_assert_str_eq(text_of(json, "reason"), "transfer");
	ck_assert_double_eq(number_of(json, "bytes"), CHUNK);
	cJSON_Delete(json);
	bud_close(pool);
}
END_TEST

START_TEST(growth_ahead_of_demand_says_so)
{
	struct bud_pool *pool = open_pool(&d, "ahead");
	cJSON *json;
	void *buf;

	ck_assert_ptr_nonnull(bud_alloc(pool, CHUNK, 0));
	do { /* the mark may be set a moment after the pool is opened */
		ck_assert_ptr_nonnull(buf = bud_alloc(pool, CHUNK, 0));
		bud_free(pool, buf);
	} while (daemon_figure(&d, "pools.0.counters.grown") < 1);
	json = await(&ear, "grown");
	ck_assert_str_eq(text_of(json, "reason"), "headroom");
	cJSON_Delete(json);
	bud_close(pool);
}
END_TEST

static void
granted(void *buf, int error, void *arg)
{
	(void)buf;
	(void)error;
	(void)arg;
}

START_TEST(who_waits_for_long_is_told_of_and_when_it_is_served)
{
	struct bud_pool *pool = open_pool(&d, "default");
	struct bud_request *request;
	void *buf = bud_alloc(pool, MIB / 2, -1), *rest = bud_alloc(pool, CHUNK, -1);
	cJSON *json;

	ck_assert(buf != NULL && rest != NULL);
	ck_assert_int_eq(bud_request(pool, MIB / 2, -1, 0, granted, NULL, &request), 0);
	json = await(&ear, "queued");
	ck_assert_double_eq(number_of(json, "size"), MIB / 2);
	ck_assert_double_eq(number_of(json, "count"), 1);
	ck_assert_double_eq(number_of(json, "waiting"), 1);
	ck_assert_double_ge(number_of(json, "waited_ms"), 1);
	ck_assert_str_eq(text_of(json, "waits_for"), "nothing");
	cJSON_Delete(json);
	bud_free(pool, buf);
	cJSON_Delete(await(&ear, "served"));
	bud_close(pool);
}
END_TEST

START_TEST(refusals_are_told_once_a_second_with_their_number)
{
	struct bud_pool *pool = open_pool(&d, "default");
	double told = 0;
	int refused = 0;
	cJSON *json;

	while (bud_alloc(pool, CHUNK, 0) != NULL)
		;
	for (refused = 1; refused < 50; refused++)
		ck_assert_ptr_null(bud_alloc(pool, CHUNK, 0));
	while (told < refused) {
		json = await(&ear, "refused");
		ck_assert_str_eq(text_of(json, "error"), "EAGAIN");
		told += number_of(json, "count");
		cJSON_Delete(json);
	}
	ck_assert_double_eq(told, refused);
	bud_close(pool);
}
END_TEST

static void
open_what_is_closed(struct client *me, void *arg)
{
	const struct bud_config config = {
		.size = sizeof(config), .socket = d.socket, .pool = "closed"
	};
	struct bud_pool *pool;

	(void)me;
	(void)arg;
	must(bud_open(&pool, &config) == -EACCES);
}

START_TEST(client_that_gets_no_pool_is_told_of)
{
	struct client c;
	cJSON *json;

	if (!need_root())
		return;
	client_run_as(&c, OTHER, MIB, open_what_is_closed, NULL);
	client_join(&c);
	json = await(&ear, "denied");
	ck_assert_ptr_nonnull(strstr(text_of(json, "reason"), "may not open"));
	cJSON_Delete(json);
}
END_TEST

/* Its memory is its own until it ends, so it is a process that does. */
static void
misbehave(struct client *me, void *arg)
{
	struct raw r;

	(void)me;
	(void)arg;
	raw_open(&r, &d, "default");
	must(raw_send(&r, "x", 1));
	raw_expect_end(&r);
}

START_TEST(client_that_misbehaves_is_told_of)
{
	struct client c;
	cJSON *json;

	client_run(&c, misbehave, NULL);
	json = await(&ear, "dropped");
	ck_assert_str_ne(text_of(json, "reason"), "");
	cJSON_Delete(json);
	client_join(&c);
	cJSON_Delete(await(&ear, "closed"));
}
END_TEST

static void
change_host(int sock, const char *key, unsigned int value)
{
	char body[64], text[256];

	snprintf(body, sizeof(body), "{\"%s\":%u}", key, value);
	snprintf(text, sizeof(text),
	    "PATCH /v1/host HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s",
	    strlen(body), body);
	say(sock, text);
	ck_assert_int_gt(recv(sock, text, sizeof(text), 0), 0);
	while (recv(sock, text, sizeof(text), MSG_DONTWAIT) > 0)
		;
}

START_TEST(changes_of_an_operator_are_told)
{
	int sock = dial();
	cJSON *json;

	change_host(sock, "user_pools", 77);
	json = await(&ear, "changed");
	ck_assert_str_eq(text_of(json, "what"), "user_pools 77");
	ck_assert_double_eq(number_of(json, "uid"), geteuid());
	cJSON_Delete(json);
	close(sock);
}
END_TEST

static void
punch(struct client *me, void *arg)
{
	struct raw r;

	(void)arg;
	raw_open(&r, &d, "default");
	must(fallocate(r.memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		 (off_t)CHUNK) == 0);
	client_wait(me, "end");
	raw_close(&r);
}

START_TEST(pages_that_were_not_locked_any_more_are_told)
{
	int sock = dial();
	struct client c;
	cJSON *json;

	change_host(sock, "release_period_ms", 10); /* and so an audit each second */
	client_run(&c, punch, NULL);
	json = await(&ear, "audit");
	ck_assert_double_eq(number_of(json, "pages"), CHUNK / 4096);
	cJSON_Delete(json);
	client_say(&c, "end");
	client_join(&c);
	close(sock);
}
END_TEST

START_TEST(reload_is_told)
{
	ck_assert_int_eq(kill(d.keeper, SIGHUP), 0);
	cJSON_Delete(await(&ear, "reloaded"));
}
END_TEST

START_TEST(stream_ends_with_its_arbiter_and_the_next_tells_of_it)
{
	struct listener l;
	cJSON *json;

	d.may_restart = true;
	daemon_kill_arbiter(&d);
	while ((json = hear(&ear)) != NULL)
		cJSON_Delete(json);
	ask_for(&l, "/v1/events");
	json = await(&l, "restart");
	ck_assert_double_eq(number_of(json, "restarts"), 1);
	ck_assert_double_ge(number_of(json, "ago_s"), 0);
	cJSON_Delete(json);
	close(l.sock);
}
END_TEST

START_TEST(samples_come_to_those_who_want_them)
{
	struct bud_pool *pool = open_pool(&d, "default");
	struct listener l;
	cJSON *json;

	ck_assert_ptr_nonnull(bud_alloc(pool, 64 * KIB, 0));
	listen_to(&l, "/v1/events?samples=1");
	json = await(&l, "sample");
	ck_assert_double_eq(number_of(json, "pools"), 1);
	ck_assert_double_eq(number_of(json, "used"), 64 * KIB);
	ck_assert_double_ge(number_of(json, "pinned"), CHUNK);
	ck_assert_double_eq(number_of(json, "waiting"), 0);
	cJSON_Delete(json);
	close(l.sock);
	bud_close(pool);
}
END_TEST

/* --- Listeners of all kinds --- */

static uint64_t
resident(pid_t pid)
{
	unsigned long pages = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/statm", pid);
	f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%*u %lu", &pages), 1);
	fclose(f);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* What is in the socket's own buffer comes first; then the loss, and its extent. */
START_TEST(who_reads_too_slowly_is_told_what_it_lost)
{
	int small = 4096, sock = dial();
	uint64_t was = resident(daemon_arbiter(&d));
	unsigned int heard = 0, lost = 0;
	struct listener slow;
	cJSON *json;

	listen_to(&slow, "/v1/events");
	setsockopt(slow.sock, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	for (unsigned int i = 1; i <= FLOOD; i++) {
		change_host(sock, "user_pools", i);
		cJSON_Delete(await(&ear, "changed")); /* one who keeps up */
	}
	ck_assert_uint_lt(resident(daemon_arbiter(&d)), SLACK + was + ARBITER_GROW);
	while (heard + lost < FLOOD) {
		ck_assert_ptr_nonnull(json = hear(&slow));
		if (strcmp(text_of(json, "event"), "lost") == 0)
			lost += (unsigned int)number_of(json, "lines");
		else
			heard++;
		cJSON_Delete(json);
	}
	ck_assert_uint_gt(lost, 0);
	ck_assert_uint_gt(heard, 0);
	ck_assert_uint_eq(heard + lost, FLOOD);
	change_host(sock, "user_pools", 1); /* and from then on it hears again */
	cJSON_Delete(await(&slow, "changed"));
	close(slow.sock);
	close(sock);
}
END_TEST

START_TEST(who_speaks_into_the_stream_is_sent_away)
{
	struct listener l;
	cJSON *json;

	listen_to(&l, "/v1/events");
	say(l.sock, "?");
	while ((json = hear(&l)) != NULL) /* ends by itself */
		cJSON_Delete(json);
	ck_assert_int_ne(errno, EAGAIN);
	close(l.sock);
	cJSON_Delete(daemon_status(&d));
}
END_TEST

START_TEST(who_pours_into_the_stream_fills_nothing)
{
	static const char junk[65536];
	uint64_t was = resident(daemon_arbiter(&d));
	struct listener l;
	size_t poured = 0;
	ssize_t n;

	listen_to(&l, "/v1/events");
	while (poured < 64 * MIB &&
	       (n = send(l.sock, junk, sizeof(junk), MSG_NOSIGNAL | MSG_DONTWAIT)) > 0)
		poured += (size_t)n;
	cJSON_Delete(daemon_status(&d));
	ck_assert_uint_lt(resident(daemon_arbiter(&d)), SLACK + was + ARBITER_GROW);
	close(l.sock);
}
END_TEST

START_TEST(listener_is_not_cut_off_for_those_who_ask)
{
	int socks[SEATS + 8];
	cJSON *json;

	for (size_t i = 0; i < SIZEOF_ARRAY(socks); i++)
		socks[i] = dial();
	cJSON_Delete(daemon_status(&d)); /* all of them have been let in */
	kill(d.keeper, SIGHUP);
	json = await(&ear, "reloaded");
	cJSON_Delete(json);
	for (size_t i = 0; i < SIZEOF_ARRAY(socks); i++)
		close(socks[i]);
}
END_TEST

static void
listen_too_often(struct client *me, void *arg)
{
	struct listener l[USER_MAX + 1];
	char line[128] = "";

	(void)arg;
	for (int i = 0; i < USER_MAX; i++)
		listen_to(&l[i], "/v1/events");
	ask_for(&l[USER_MAX], "/v1/events");
	must(next_line(&l[USER_MAX], line, sizeof(line)));
	must(strncmp(line, "HTTP/1.1 429 ", 13) == 0);
	client_say(me, "done");
	client_wait(me, "end");
}

START_TEST(one_user_cannot_take_all_places)
{
	struct listener l;
	struct client c;

	if (!need_root())
		return;
	client_run_as(&c, OTHER, MIB, listen_too_often, NULL);
	client_wait(&c, "done");
	listen_to(&l, "/v1/events"); /* another can */
	close(l.sock);
	client_say(&c, "end");
	client_join(&c);
}
END_TEST

START_TEST(head_asks_for_no_stream)
{
	char text[1024];
	int sock = dial();
	ssize_t n;

	say(sock, "HEAD /v1/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	n = recv(sock, text, sizeof(text) - 1, 0);
	ck_assert_int_gt(n, 0);
	text[n] = '\0';
	ck_assert_ptr_nonnull(strstr(text, " 200 OK\r\n"));
	close(sock);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("events");
	TCase *told = tcase_create("told"), *heard = tcase_create("heard");

	tcase_add_checked_fixture(told, enter, leave);
	tcase_set_timeout(told, 30);
	tcase_add_test(told, first_comes_who_tells);
	tcase_add_test(
	    told, pool_is_told_of_when_it_opens_and_closes_with_what_it_held);
	tcase_add_test(told, growth_and_release_tell_why);
	tcase_add_test(told, growth_ahead_of_demand_says_so);
	tcase_add_test(told, who_waits_for_long_is_told_of_and_when_it_is_served);
	tcase_add_test(told, refusals_are_told_once_a_second_with_their_number);
	tcase_add_test(told, client_that_gets_no_pool_is_told_of);
	tcase_add_test(told, client_that_misbehaves_is_told_of);
	tcase_add_test(told, changes_of_an_operator_are_told);
	tcase_add_test(told, pages_that_were_not_locked_any_more_are_told);
	tcase_add_test(told, reload_is_told);
	tcase_add_test(told, stream_ends_with_its_arbiter_and_the_next_tells_of_it);
	tcase_add_test(told, samples_come_to_those_who_want_them);
	suite_add_tcase(s, told);
	tcase_add_checked_fixture(heard, enter, leave);
	tcase_set_timeout(heard, 60);
	tcase_add_test(heard, who_reads_too_slowly_is_told_what_it_lost);
	tcase_add_test(heard, who_speaks_into_the_stream_is_sent_away);
	tcase_add_test(heard, who_pours_into_the_stream_fills_nothing);
	tcase_add_test(heard, listener_is_not_cut_off_for_those_who_ask);
	tcase_add_test(heard, one_user_cannot_take_all_places);
	tcase_add_test(heard, head_asks_for_no_stream);
	suite_add_tcase(s, heard);
	return s;
}

int
main(void)
{
	return daemon_suite(suite());
}
