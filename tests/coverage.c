/* SPDX-License-Identifier: ISC */

/*
 * For scripts/coverage: processes that end without exit() leave their counters behind.
 *
 * Arbiters and most clients of the tests end by _exit() or by SIGKILL. Here _exit() writes the
 * counters first, and a kill(SIGKILL) gives its victim a moment to do so, in which it does
 * nothing else: it must not notice that a signal came. The linker puts these in the place of
 * the real ones (--wrap). What is stopped, or killed by the kernel, is lost all the same.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define DUMP_SIGNAL 61
#define MOMENT_NS   30000000

extern void __gcov_dump(void);
extern void __real__exit(int status) __attribute__((noreturn));
extern int __real_kill(pid_t pid, int sig);
void __wrap__exit(int status) __attribute__((noreturn));
int __wrap_kill(pid_t pid, int sig);

static void
wait_for_the_end(int sig)
{
	(void)sig;
	for (;;)
		pause();
}

/* SIGKILL is under way. What came in the midst of malloc() may not end well in another one;
 * then the counters are lost, and nobody is to know. */
static void
dump(int sig)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	dup2(null, STDERR_FILENO);
	signal(SIGABRT, wait_for_the_end);
	signal(SIGSEGV, wait_for_the_end);
	__gcov_dump();
	wait_for_the_end(sig);
}

__attribute__((constructor)) static void
listen_for_it(void)
{
	signal(DUMP_SIGNAL, dump);
}

void
__wrap__exit(int status)
{
	__gcov_dump();
	__real__exit(status);
}

int
__wrap_kill(pid_t pid, int sig)
{
	const struct timespec moment = { .tv_nsec = MOMENT_NS };

	if (sig == SIGKILL && pid > 0 && __real_kill(pid, DUMP_SIGNAL) == 0)
		nanosleep(&moment, NULL);
	return __real_kill(pid, sig);
}
