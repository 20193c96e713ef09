/* SPDX-License-Identifier: ISC */

/* budctl watch: events as they come. */
#include <errno.h>
#include <stdlib.h>

#include "tests/budctl_run.h"

#define WHO                                                                       \
	"\"pool\":{\"id\":7,\"name\":\"media\",\"uid\":0,\"pid\":77,\"command\":" \
	"\"x\"}"

static const char stream[] =
    "HTTP/1.1 200 OK\r\n\r\n"
    "{\"event\":\"hello\",\"time\":1,\"version\":\"9\",\"pid\":42,\"uptime_s\":60,"
    "\"restarts\":1}\n"
    "{\"event\":\"restart\",\"restarts\":1,\"ago_s\":3}\n"
    "{\"event\":\"opened\"," WHO ",\"section\":\"s\",\"base_size\":1048576,"
    "\"add_size\":2097152,\"wall\":4194304}\n"
    "{\"event\":\"closed\"," WHO ",\"reason\":\"it hung up\",\"pinned\":1048576,"
    "\"used\":4096,\"blocks\":1,\"waiting\":2}\n"
    "{\"event\":\"denied\"," WHO ",\"reason\":\"no \\u001b[2Jroom\"}\n"
    "{\"event\":\"grown\"," WHO ",\"bytes\":1048576,\"pinned\":2097152,"
    "\"reason\":\"request\"}\n"
    "{\"event\":\"queued\"," WHO ",\"size\":4096,\"count\":3,\"waited_ms\":1500,"
    "\"waiting\":4,\"waits_for\":\"host\"}\n"
    "{\"event\":\"served\"," WHO ",\"size\":4096,\"count\":1,\"waited_ms\":2500}\n"
    "{\"event\":\"refused\"," WHO ",\"error\":\"EAGAIN\",\"count\":2}\n"
    "{\"event\":\"audit\"," WHO ",\"pages\":1,\"error\":\"no memory\"}\n"
    "{\"event\":\"pressure\",\"reason\":\"host\",\"blocks\":1}\n"
    "{\"event\":\"pressure\"," WHO ",\"reason\":\"share\",\"pinned\":4096}\n"
    "{\"event\":\"changed\",\"uid\":0,\"what\":\"wall 7\"}\n"
    "{\"event\":\"reloaded\"}\n"
    "{\"event\":\"lost\",\"lines\":12}\n"
    "{\"event\":\"danced\",\"steps\":3}\n"
    "7\n"
    "no JSON\n"
    "\n"
    "{\"event\":\"cut";

static const char *const told[] = {
	" hello    budd 9, pid 42, up 1 min, restarts 1\n",
	" restart  the arbiter was started again 3 s ago, restarts 1\n",
	" opened   pool 7 'media', x[77]: by user root, section s: base 1 MiB, add 2 "
	"MiB, "
	"wall 4 MiB\n",
	" closed   pool 7 'media', x[77]: it hung up; it had 1 MiB pinned in 1 block, "
	"4 KiB used, and 2 requests waited\n",
	" denied   pool 7 'media', x[77]: no ?[2Jroom\n",
	" grown    pool 7 'media', x[77]: a block of 1 MiB, pinned now 2 MiB "
	"(request)\n",
	" queued   pool 7 'media', x[77]: a request for 3 x 4 KiB waits since 1.5 s, 4 "
	"in "
	"the queue, for the host\n",
	" served   pool 7 'media', x[77]: the request for 4 KiB has its turn after 2.5 "
	"s\n",
	" refused  pool 7 'media', x[77]: 2 requests, the last with EAGAIN\n",
	" audit    pool 7 'media', x[77]: unlocked pages were found: 1, locked again; "
	"pages could not be locked again: no memory\n",
	" pressure the host is short of memory, blocks to go: 1\n",
	" pressure pool 7 'media', x[77]: others wait, and 4 KiB are more than its "
	"share\n",
	" changed  by user root: wall 7\n",
	" reloaded budd.conf was read again\n",
	" lost     12 lines did not reach this command\n",
	" danced   {\"event\":\"danced\",\"steps\":3}\n",
};

START_TEST(events_are_lines_until_budd_is_gone)
{
	fake_server_say_once(&run.server, stream);
	setenv("BUD_STATUS_SOCKET", run.server.path, 1);
	ck_assert_int_eq(budctl("watch"), 3);
	for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++)
		HAS(run.out, told[i]);
	HAS_NOT(run.out, "\033");
	HAS_NOT(run.out, "cut");
	budctl_is_one_line(run.err);
	HAS(run.err, "budd has gone from");
	fake_server_stop(&run.server);
}
END_TEST

START_TEST(events_that_are_not_to_be_had_are_one_line)
{
	ck_assert_int_eq(budctl("watch"), 3);
	budctl_is_one_line(run.err);
	HAS(run.err, "start budd");
	fake_server_say(&run.server,
	    "HTTP/1.1 429 No\r\n\r\n{\"error\":\"as many as there may be\"}");
	setenv("BUD_STATUS_SOCKET", run.server.path, 1);
	ck_assert_int_eq(budctl("watch"), 1);
	budctl_is_one_line(run.err);
	HAS(run.err, "as many as there may be");
	ck_assert_str_eq(run.out, "");
	fake_server_stop(&run.server);
}
END_TEST

TCase *
budctl_watch_tests(void)
{
	TCase *t = tcase_create("watch");

	tcase_set_timeout(t, 60); /* it looks for budd for 5 s */
	tcase_add_checked_fixture(t, budctl_setup_alone, NULL);
	tcase_add_test(t, events_are_lines_until_budd_is_gone);
	tcase_add_test(t, events_that_are_not_to_be_had_are_one_line);
	return t;
}
