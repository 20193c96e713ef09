/* SPDX-License-Identifier: ISC */

#include "tests/budctl_run.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct budctl_run run;

void
budctl_fill(struct fake *f)
{
	struct session *s = fake_add(f, "media", 4, 8); /* id 7 */

	fake_grow(f, s, 8, 8);
	fake_take(s, CHUNK_SIZE);
	s->pool.record->tick_count = 70;
	fake_wait(f, s, 1, 8 * CHUNK_SIZE);       /* it is its turn */
	fake_wait(f, s, 2, 8 * CHUNK_SIZE);       /* waits */
	fake_add(f, "twin", 4, 8);                /* id 8 */
	fake_add(f, "twin", 4, 8);                /* id 9 */
	fake_add(f, "7", 4, 8);                   /* id 10 */
	s = fake_add(f, "\033[2Jevil\xff", 4, 8); /* id 11 */
	strlcpy(s->command,
	    "\x07\xc2\x9b"
	    "31m",
	    sizeof(s->command));
	s->uid = 54321;
	s = fake_add(f, "gr\xc3\xbc\xc3\x9f", 4, 8); /* id 12 */
	fake_grow(f, s, 16, 4);
	s = fake_add(f, "spare", 4, 8); /* id 13 */
	fake_grow(f, s, 8, 8);
	fake_grow(f, s, 8, 8);
}

void
budctl_setup(void)
{
	unsetenv("NO_COLOR");
	setenv("LC_ALL", "C", 1);
	fake_server_start(&run.server, budctl_fill);
	setenv("BUD_STATUS_SOCKET", run.server.path, 1);
}

void
budctl_teardown(void)
{
	fake_server_stop(&run.server);
}

void
budctl_setup_alone(void)
{
	setenv("LC_ALL", "C", 1);
	setenv("BUD_STATUS_SOCKET", "/nonexistent/status.sock", 1);
}

static void
slurp(char *text, FILE *from)
{
	size_t n;

	rewind(from);
	n = fread(text, 1, BUDCTL_TEXT_MAX - 1, from);
	text[n] = '\0';
	fclose(from);
}

int
budctl(const char *line)
{
	const char *program = getenv("BUDCTL");
	char name[] = "budctl", words[256], *argv[16] = { name }, *rest = words;
	FILE *to_out = tmpfile(), *to_err = tmpfile();
	int argc = 1, status;
	pid_t pid;

	ck_assert(to_out != NULL && to_err != NULL);
	strlcpy(words, line, sizeof(words));
	while (argc < 15 && (argv[argc] = strsep(&rest, " ")) != NULL)
		argc += argv[argc][0] != '\0';
	argv[argc] = NULL;
	if ((pid = fork()) == 0) {
		if (run.as_nobody && (setgid(65534) != 0 || setuid(65534) != 0))
			_exit(127);
		dup2(fileno(to_out), STDOUT_FILENO);
		dup2(fileno(to_err), STDERR_FILENO);
		execv(program != NULL ? program : "budctl/budctl", argv);
		_exit(127);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	slurp(run.out, to_out);
	slurp(run.err, to_err);
	ck_assert_msg(WIFEXITED(status), "budctl died: %s", run.err);
	ck_assert_int_ne(WEXITSTATUS(status), 127);
	return WEXITSTATUS(status);
}

void
budctl_is_one_line(const char *text)
{
	ck_assert_msg(
	    strchr(text, '\n') == text + strlen(text) - 1, "not one line: '%s'", text);
}
