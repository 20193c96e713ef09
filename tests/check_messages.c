/* SPDX-License-Identifier: ISC */

/* Messages: which records are valid, and in which direction. */
#include "proto/messages.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const enum proto_type from_client[] = { PROTO_HELLO, PROTO_ALLOC, PROTO_DONE,
	PROTO_CANCEL, PROTO_DOORBELL, PROTO_CLOSE, PROTO_HINT, PROTO_WATCH,
	PROTO_GAVE_UP, PROTO_RESUMED };
static const enum proto_type from_budd[] = { PROTO_WELCOME, PROTO_GRANT, PROTO_REFUSE,
	PROTO_RESTARTED, PROTO_EVENT, PROTO_BLOCK, PROTO_RELEASE };

#define N(array) (sizeof(array) / sizeof((array)[0]))

/* A valid message of the type. */
static union proto_msg
make(enum proto_type type)
{
	union proto_msg m;

	proto_init(&m, type);
	switch (type) {
	case PROTO_HELLO:
		m.hello.version_min = m.hello.version_max = PROTO_VERSION;
		strcpy(m.hello.pool, "web");
		break;
	case PROTO_WELCOME:
		m.welcome.version = PROTO_VERSION;
		m.welcome.base = 1;
		m.welcome.wall = m.welcome.memory_size = 2;
		break;
	case PROTO_ALLOC:
		m.alloc.tag = m.alloc.size_bytes = m.alloc.count = 1;
		break;
	case PROTO_GRANT:
	case PROTO_CANCEL:
		m.tag.tag = 1;
		break;
	case PROTO_DONE:
		m.done.tag = 1;
		break;
	case PROTO_REFUSE:
		m.refuse.error = 1;
		break;
	case PROTO_HINT:
		m.hint.hint = PROTO_TRANSFER_END;
		break;
	case PROTO_EVENT:
		m.event.event = PROTO_EVENT_GROWN;
		break;
	case PROTO_RELEASE:
		m.block.ask = 1;
		m.block.bytes = 1;
		break;
	case PROTO_BLOCK:
		m.block.bytes = 1;
		break;
	case PROTO_GAVE_UP:
		m.block.ask = 1;
		break;
	case PROTO_WATCH:
	case PROTO_DOORBELL:
	case PROTO_CLOSE:
	case PROTO_RESTARTED:
	case PROTO_RESUMED:
		break;
	}
	return m;
}

static int
check_client(const union proto_msg *m)
{
	return proto_check_client(m, m->header.size);
}

static int
check_budd(const union proto_msg *m)
{
	return proto_check_budd(m, m->header.size);
}

START_TEST(init_zeroes_the_message_and_fills_in_the_header)
{
	union proto_msg m;

	memset(&m, 0xaa, sizeof(m));
	proto_init(&m, PROTO_HELLO);
	ck_assert_uint_eq(m.header.type, PROTO_HELLO);
	ck_assert_uint_eq(m.header.size, sizeof(struct proto_hello));
	for (size_t i = sizeof(m.header); i < sizeof(m); i++)
		ck_assert_int_eq(((char *)&m)[i], 0);
}
END_TEST

START_TEST(every_type_has_a_size_and_a_name_and_no_other_number_has)
{
	for (uint32_t type = PROTO_HELLO; type <= PROTO_RESUMED; type++) {
		ck_assert_uint_ge(proto_size(type), sizeof(struct proto_header));
		ck_assert_uint_le(proto_size(type), sizeof(union proto_msg));
		ck_assert_int_ne(proto_name(type)[0], '(');
	}
	ck_assert_uint_eq(proto_size(0), 0);
	ck_assert_uint_eq(proto_size(PROTO_RESUMED + 1), 0);
	ck_assert_uint_eq(proto_size(UINT32_MAX), 0);
	ck_assert_ptr_nonnull(proto_name(0));
	ck_assert_ptr_nonnull(proto_name(UINT32_MAX));
}
END_TEST

START_TEST(every_error_has_its_own_sentence)
{
	ck_assert_str_ne(proto_strerror(PROTO_E_SIZE), proto_strerror(PROTO_E_TYPE));
	ck_assert_str_ne(proto_strerror(PROTO_E_TYPE), proto_strerror(PROTO_E_VALUE));
	ck_assert_ptr_nonnull(proto_strerror(0));
	ck_assert_ptr_nonnull(proto_strerror(-1));
}
END_TEST

START_TEST(a_client_may_send_its_own_types_only)
{
	for (size_t i = 0; i < N(from_client); i++) {
		union proto_msg m = make(from_client[i]);

		ck_assert_int_eq(check_client(&m), 0);
		ck_assert_int_eq(check_budd(&m), PROTO_E_TYPE);
	}
}
END_TEST

START_TEST(budd_may_send_its_own_types_only)
{
	for (size_t i = 0; i < N(from_budd); i++) {
		union proto_msg m = make(from_budd[i]);

		ck_assert_int_eq(check_budd(&m), 0);
		ck_assert_int_eq(check_client(&m), PROTO_E_TYPE);
	}
}
END_TEST

START_TEST(a_type_that_there_is_not_is_refused)
{
	static const uint32_t types[] = { 0, PROTO_RESUMED + 1, 255, UINT32_MAX };

	for (size_t i = 0; i < N(types); i++) {
		union proto_msg m = make(PROTO_DOORBELL);

		m.header.type = types[i];
		ck_assert_int_eq(check_client(&m), PROTO_E_TYPE);
		ck_assert_int_eq(check_budd(&m), PROTO_E_TYPE);
	}
}
END_TEST

START_TEST(a_record_has_the_size_of_its_type_and_says_so)
{
	for (uint32_t type = PROTO_HELLO; type <= PROTO_RESUMED; type++) {
		union proto_msg m = make(type);
		size_t size = m.header.size;

		for (size_t len = 0; len <= sizeof(m); len++)
			if (len != size) {
				ck_assert_int_ne(proto_check_client(&m, len), 0);
				ck_assert_int_ne(proto_check_budd(&m, len), 0);
			}
		m.header.size = (uint32_t)size + 1;
		ck_assert_int_ne(proto_check_client(&m, size), 0);
		ck_assert_int_ne(proto_check_budd(&m, size), 0);
		m.header.size = 0;
		ck_assert_int_ne(proto_check_client(&m, size), 0);
		ck_assert_int_ne(proto_check_budd(&m, size), 0);
	}
}
END_TEST

START_TEST(a_record_shorter_than_a_header_is_of_the_wrong_size)
{
	union proto_msg m = make(PROTO_DOORBELL);

	for (size_t len = 0; len < sizeof(m.header); len++)
		ck_assert_int_eq(proto_check_client(&m, len), PROTO_E_SIZE);
}
END_TEST

START_TEST(a_hello_has_a_range_of_versions_that_is_not_empty)
{
	union proto_msg m = make(PROTO_HELLO);

	m.hello.version_min = PROTO_VERSION - 1;
	m.hello.version_max = PROTO_VERSION + 1;
	ck_assert_int_eq(check_client(&m), 0);
	m.hello.version_max = PROTO_VERSION - 1;
	ck_assert_int_eq(check_client(&m), PROTO_E_VERSION);
	m.hello.version_min = m.hello.version_max = PROTO_VERSION + 1;
	ck_assert_int_eq(check_client(&m), PROTO_E_VERSION);
	m.hello.version_max = PROTO_VERSION;
	ck_assert_int_eq(check_client(&m), PROTO_E_VALUE);
}
END_TEST

/* The first was of 104 bytes. */
START_TEST(a_hello_of_another_version_may_have_another_length)
{
	union proto_msg m = make(PROTO_HELLO);
	size_t versions = offsetof(struct proto_hello, base);

	for (size_t len = versions; len <= sizeof(m); len++) {
		m.header.size = (uint32_t)len;
		m.hello.version_min = m.hello.version_max = PROTO_VERSION - 1;
		ck_assert_int_eq(check_client(&m), PROTO_E_VERSION);
		m.hello.version_max =
		    PROTO_VERSION; /* that one is too short, or long */
		ck_assert_int_eq(
		    check_client(&m), len == sizeof(m.hello) ? 0 : PROTO_E_SIZE);
		m.hello.version_max = PROTO_VERSION + 1;
		ck_assert_int_eq(
		    check_client(&m), len >= sizeof(m.hello) ? 0 : PROTO_E_SIZE);
	}
	m.header.size = (uint32_t)versions - 1;
	ck_assert_int_eq(check_client(&m), PROTO_E_SIZE);
}
END_TEST

START_TEST(a_command_is_made_fit_to_be_printed)
{
	union proto_msg m = make(PROTO_HELLO);
	char longer[PROTO_COMMAND_SIZE + 9];

	proto_put_command(&m.hello, "a b/c\"d\\e\n\xc3\xa4~");
	ck_assert_str_eq(m.hello.command, "a_b_c_d_e___~");
	ck_assert_int_eq(check_client(&m), 0);
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	proto_put_command(&m.hello, longer);
	ck_assert_uint_eq(strlen(m.hello.command), PROTO_COMMAND_SIZE - 1);
	ck_assert_int_eq(check_client(&m), 0);
	proto_put_command(&m.hello, "");
	ck_assert_int_eq(check_client(&m), 0); /* who says nothing of itself */
	m.hello.command[0] = '\n';
	ck_assert_int_eq(check_client(&m), PROTO_E_VALUE);
	m.hello.command[0] = '\0';
	m.hello.command[1] = 'x'; /* behind the end */
	ck_assert_int_eq(check_client(&m), PROTO_E_VALUE);
	memset(m.hello.command, 'x', sizeof(m.hello.command));
	ck_assert_int_eq(check_client(&m), PROTO_E_VALUE);
}
END_TEST

START_TEST(a_name_ends_within_its_field)
{
	union proto_msg m = make(PROTO_HELLO);

	memset(m.hello.pool, 'x', PROTO_NAME_SIZE - 1);
	ck_assert_int_eq(check_client(&m), 0);
	m.hello.pool[PROTO_NAME_SIZE - 1] = 'x';
	ck_assert_int_eq(check_client(&m), PROTO_E_VALUE);
	memset(m.hello.pool, 0, PROTO_NAME_SIZE);
	ck_assert_int_eq(check_client(&m), 0); /* empty: the default */
}
END_TEST

START_TEST(nothing_hides_behind_the_end_of_a_name)
{
	for (size_t i = strlen("web") + 1; i < PROTO_NAME_SIZE; i++) {
		union proto_msg m = make(PROTO_HELLO);

		m.hello.pool[i] = 'x';
		ck_assert_int_eq(check_client(&m), PROTO_E_VALUE);
	}
}
END_TEST

START_TEST(a_name_can_be_printed_anywhere)
{
	static const char bad[] = "\x01\t\n\r\x1b /\x7f";
	union proto_msg m;

	for (size_t i = 0; i < strlen(bad); i++) {
		m = make(PROTO_HELLO);
		m.hello.pool[1] = bad[i];
		ck_assert_int_eq(check_client(&m), PROTO_E_VALUE);
	}
	m = make(PROTO_HELLO);
	strcpy(m.hello.pool, "Web-1.2_x:y@z");
	ck_assert_int_eq(check_client(&m), 0);
}
END_TEST

START_TEST(an_alloc_has_a_tag_a_size_a_count_and_a_timeout)
{
	union proto_msg m = make(PROTO_ALLOC);

	m.alloc.tag = 0;
	ck_assert_int_eq(check_client(&m), PROTO_E_VALUE);
	m.alloc.tag = UINT64_MAX;
	ck_assert_int_eq(check_client(&m), 0);
	m.alloc.size_bytes = 0;
	ck_assert_int_eq(check_client(&m), PROTO_E_VALUE);
	m.alloc.size_bytes = UINT64_MAX;
	ck_assert_int_eq(check_client(&m), 0);
	m.alloc.count = 0;
	ck_assert_int_eq(check_client(&m), PROTO_E_VALUE);
	m.alloc.count = PROTO_COUNT_MAX;
	ck_assert_int_eq(check_client(&m), 0);
	m.alloc.count = PROTO_COUNT_MAX + 1;
	ck_assert_int_eq(check_client(&m), PROTO_E_VALUE);
	m.alloc.count = 1;
	m.alloc.timeout_ms = -1;
	ck_assert_int_eq(check_client(&m), 0);
	m.alloc.timeout_ms = -2;
	ck_assert_int_eq(check_client(&m), PROTO_E_VALUE);
	m.alloc.timeout_ms = INT32_MAX;
	ck_assert_int_eq(check_client(&m), 0);
}
END_TEST

START_TEST(a_done_has_a_tag_a_known_outcome_and_a_reserved_zero)
{
	union proto_msg m = make(PROTO_DONE);

	m.done.outcome = PROTO_FAILED;
	ck_assert_int_eq(check_client(&m), 0);
	m.done.outcome = PROTO_FAILED + 1;
	ck_assert_int_eq(check_client(&m), PROTO_E_VALUE);
	m = make(PROTO_DONE);
	m.done.reserved = 1;
	ck_assert_int_eq(check_client(&m), PROTO_E_VALUE);
	m = make(PROTO_DONE);
	m.done.tag = 0;
	ck_assert_int_eq(check_client(&m), PROTO_E_VALUE);
}
END_TEST

START_TEST(a_cancel_and_a_grant_have_a_tag)
{
	union proto_msg m = make(PROTO_CANCEL);

	m.tag.tag = 0;
	ck_assert_int_eq(check_client(&m), PROTO_E_VALUE);
	m = make(PROTO_GRANT);
	m.tag.tag = 0;
	ck_assert_int_eq(check_budd(&m), PROTO_E_VALUE);
}
END_TEST

START_TEST(a_welcome_has_a_base_below_the_wall_below_the_memory)
{
	union proto_msg m = make(PROTO_WELCOME);

	m.welcome.base = 0;
	ck_assert_int_eq(check_budd(&m), PROTO_E_VALUE);
	m.welcome.base = m.welcome.wall;
	ck_assert_int_eq(check_budd(&m), 0);
	m.welcome.base = m.welcome.wall + 1;
	ck_assert_int_eq(check_budd(&m), PROTO_E_VALUE);
	m = make(PROTO_WELCOME);
	m.welcome.wall = m.welcome.memory_size + 1;
	ck_assert_int_eq(check_budd(&m), PROTO_E_VALUE);
}
END_TEST

START_TEST(a_refusal_has_an_errno_and_a_reason_that_ends)
{
	union proto_msg m = make(PROTO_REFUSE);

	m.refuse.error = 0;
	ck_assert_int_eq(check_budd(&m), PROTO_E_VALUE);
	m.refuse.error = -1;
	ck_assert_int_eq(check_budd(&m), PROTO_E_VALUE);
	m = make(PROTO_REFUSE);
	m.refuse.reserved = 1;
	ck_assert_int_eq(check_budd(&m), PROTO_E_VALUE);
	m = make(PROTO_REFUSE);
	memset(m.refuse.reason, 'x', PROTO_REASON_SIZE - 1);
	ck_assert_int_eq(check_budd(&m), 0);
	m.refuse.reason[PROTO_REASON_SIZE - 1] = 'x';
	ck_assert_int_eq(check_budd(&m), PROTO_E_VALUE);
	m = make(PROTO_REFUSE);
	m.refuse.reason[PROTO_REASON_SIZE - 1] = 'x';
	ck_assert_int_eq(check_budd(&m), PROTO_E_VALUE);
}
END_TEST

START_TEST(a_hint_is_one_that_there_is)
{
	union proto_msg m = make(PROTO_HINT);

	m.hint.hint = PROTO_TRANSFER_END + 1;
	ck_assert_int_eq(check_client(&m), PROTO_E_VALUE);
	m.hint.hint = 0;
	ck_assert_int_eq(check_client(&m), PROTO_E_VALUE);
}
END_TEST

START_TEST(a_client_watches_what_there_is_to_watch)
{
	union proto_msg m = make(PROTO_WATCH);

	m.watch.mask = PROTO_EVENTS | PROTO_EVENT_BLOCKS;
	ck_assert_int_eq(check_client(&m), 0);
	m.watch.mask = PROTO_EVENT_BLOCKS << 1;
	ck_assert_int_eq(check_client(&m), PROTO_E_VALUE);
}
END_TEST

START_TEST(an_event_is_exactly_one_of_those_there_are)
{
	static const uint32_t bad[] = { 0, 3, PROTO_EVENTS, PROTO_EVENTS + 1 };
	union proto_msg m = make(PROTO_EVENT);

	for (size_t i = 0; i < N(bad); i++) {
		m.event.event = bad[i];
		ck_assert_int_eq(check_budd(&m), PROTO_E_VALUE);
	}
}
END_TEST

START_TEST(an_answer_has_the_number_of_its_question)
{
	union proto_msg m = make(PROTO_GAVE_UP);

	m.block.ask = 0;
	ck_assert_int_eq(check_client(&m), PROTO_E_VALUE);
	m = make(PROTO_RELEASE);
	m.block.ask = 0;
	ck_assert_int_eq(check_budd(&m), PROTO_E_VALUE);
	m = make(PROTO_BLOCK);
	m.block.ask = 1;
	ck_assert_int_eq(check_budd(&m), PROTO_E_VALUE);
}
END_TEST

START_TEST(a_block_has_a_size_and_a_reserved_zero)
{
	static const enum proto_type types[] = { PROTO_BLOCK, PROTO_RELEASE };
	union proto_msg m;

	for (size_t i = 0; i < N(types); i++) {
		m = make(types[i]);
		m.block.bytes = 0;
		ck_assert_int_eq(check_budd(&m), PROTO_E_VALUE);
		m = make(types[i]);
		m.block.reserved = 1;
		ck_assert_int_eq(check_budd(&m), PROTO_E_VALUE);
	}
	m = make(PROTO_GAVE_UP);
	m.block.bytes = 1;
	ck_assert_int_eq(check_client(&m), PROTO_E_VALUE);
	m = make(PROTO_GAVE_UP);
	m.block.reserved = 1;
	ck_assert_int_eq(check_client(&m), PROTO_E_VALUE);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("messages");
	TCase *t = tcase_create("messages");

	tcase_add_test(t, init_zeroes_the_message_and_fills_in_the_header);
	tcase_add_test(t, every_type_has_a_size_and_a_name_and_no_other_number_has);
	tcase_add_test(t, every_error_has_its_own_sentence);
	tcase_add_test(t, a_hint_is_one_that_there_is);
	tcase_add_test(t, a_client_watches_what_there_is_to_watch);
	tcase_add_test(t, an_event_is_exactly_one_of_those_there_are);
	tcase_add_test(t, an_answer_has_the_number_of_its_question);
	tcase_add_test(t, a_block_has_a_size_and_a_reserved_zero);
	tcase_add_test(t, a_client_may_send_its_own_types_only);
	tcase_add_test(t, budd_may_send_its_own_types_only);
	tcase_add_test(t, a_type_that_there_is_not_is_refused);
	tcase_add_test(t, a_record_has_the_size_of_its_type_and_says_so);
	tcase_add_test(t, a_record_shorter_than_a_header_is_of_the_wrong_size);
	tcase_add_test(t, a_hello_has_a_range_of_versions_that_is_not_empty);
	tcase_add_test(t, a_hello_of_another_version_may_have_another_length);
	tcase_add_test(t, a_command_is_made_fit_to_be_printed);
	tcase_add_test(t, a_name_ends_within_its_field);
	tcase_add_test(t, nothing_hides_behind_the_end_of_a_name);
	tcase_add_test(t, a_name_can_be_printed_anywhere);
	tcase_add_test(t, an_alloc_has_a_tag_a_size_a_count_and_a_timeout);
	tcase_add_test(t, a_done_has_a_tag_a_known_outcome_and_a_reserved_zero);
	tcase_add_test(t, a_cancel_and_a_grant_have_a_tag);
	tcase_add_test(t, a_welcome_has_a_base_below_the_wall_below_the_memory);
	tcase_add_test(t, a_refusal_has_an_errno_and_a_reason_that_ends);
	suite_add_tcase(s, t);
	return s;
}

int
main(void)
{
	SRunner *runner = srunner_create(suite());
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
