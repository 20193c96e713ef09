/* SPDX-License-Identifier: ISC */

/* The real budctl, run as an operator would, against a fake arbiter. $BUDCTL names it. */
#include <stdlib.h>

#include "tests/budctl_run.h"

int
main(void)
{
	Suite *s = suite_create("budctl");
	SRunner *r;
	int failed;

	suite_add_tcase(s, budctl_line_tests());
	suite_add_tcase(s, budctl_status_tests());
	suite_add_tcase(s, budctl_show_tests());
	suite_add_tcase(s, budctl_top_tests());
	suite_add_tcase(s, budctl_change_tests());
	suite_add_tcase(s, budctl_explain_tests());
	suite_add_tcase(s, budctl_doctor_tests());
	suite_add_tcase(s, budctl_watch_tests());
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
