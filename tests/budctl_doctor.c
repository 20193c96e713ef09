/* SPDX-License-Identifier: ISC */

/* budctl doctor. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "tests/budctl_run.h"

/* The verdicts depend on the host; that the code goes with them does not. */
START_TEST(doctor_needs_no_budd)
{
	static const char *const checked[] = { "memlock", "memory", "swap",
		"huge pages", "shmem pages", "kernel", "memfd", "mlock2", "membarrier",
		"pidfd", "pressure", "seccomp", "status socket", "client socket",
		"group budadm", "user budd", "cgroup" };
	int code = budctl("doctor");

	ck_assert_int_le(code, 1);
	ck_assert_int_eq(code, strstr(run.out, "\nfault ") != NULL);
	HAS(run.out, "warning  budd            does not answer");
	HAS(run.out, "> systemctl start budd\n");
	HAS(run.out, "/nonexistent/status.sock: No such file or directory");
	for (size_t i = 0; i < sizeof(checked) / sizeof(checked[0]); i++)
		HAS(run.out, checked[i]);
	ck_assert_str_eq(run.err, "");
}
END_TEST

START_TEST(doctor_as_json_has_the_worst_verdict)
{
	cJSON *json, *finding;
	bool fault = false;
	int code = budctl("doctor --json");

	json = cJSON_Parse(run.out);
	cJSON_ArrayForEach (finding, cJSON_GetObjectItem(json, "findings"))
		fault |= strcmp(cJSON_GetObjectItem(finding, "verdict")->valuestring,
			     "fault") == 0;
	ck_assert_int_eq(fault, code == 1);
	ck_assert_int_eq(fault,
	    strcmp(cJSON_GetObjectItem(json, "verdict")->valuestring, "fault") == 0);
	cJSON_Delete(json);
}
END_TEST

START_TEST(socket_that_nobody_serves_is_a_fault)
{
	close(fake_server_bind(&run.server));
	setenv("BUD_STATUS_SOCKET", run.server.path, 1);
	ck_assert_int_eq(budctl("doctor"), 1);
	HAS(run.out, "fault    status socket");
	fake_server_stop(&run.server);
}
END_TEST

static void
host_is_in_trouble(struct fake *f)
{
	struct session *s = fake_add(f, "media", 4, 8);

	s->pool.record->audit.unlocked = 3;
	s->pool.record->audit.failed = 1;
	fake_take(s, 4 * CHUNK_SIZE);
	fake_wait(f, s, 1, CHUNK_SIZE);
	queue_head(&s->pool.queue)->since.ns -= 90 * NS_PER_S;
	f->arbiter.core.params.host_wall = (uint64_t)1 << 50;
	f->arbiter.foreign = 2;
}

START_TEST(doctor_sees_what_budd_knows)
{
	fake_server_start(&run.server, host_is_in_trouble);
	setenv("BUD_STATUS_SOCKET", run.server.path, 1);
	ck_assert_int_eq(budctl("doctor"), 1);
	HAS(run.out, "ok       budd            version " PACKAGE_VERSION ", pid 4242");
	HAS(run.out, "warning  arbiter         another took over 2 times");
	HAS(run.out, "warning  old pools       2 pools");
	HAS(run.out, "waiting         pool 7 'media' waits since 1 min 30 s\n");
	HAS(run.out, "> budctl explain 7\n");
	HAS(run.out, "fault    audit ");
	HAS(run.out, "fault    memory          the host's wall is 1 PiB");
	fake_server_stop(&run.server);
}
END_TEST

TCase *
budctl_doctor_tests(void)
{
	TCase *t = tcase_create("doctor");

	tcase_add_checked_fixture(t, budctl_setup_alone, NULL);
	tcase_add_test(t, doctor_needs_no_budd);
	tcase_add_test(t, doctor_as_json_has_the_worst_verdict);
	tcase_add_test(t, socket_that_nobody_serves_is_a_fault);
	tcase_add_test(t, doctor_sees_what_budd_knows);
	return t;
}
