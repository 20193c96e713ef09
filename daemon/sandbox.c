/* SPDX-License-Identifier: ISC */

/* The filters, by libseccomp. */
#include "daemon/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/log.h"

/* A call; or, with conditions that all have to hold, a call with these arguments. A call
 * may stand here several times. */
struct rule {
	int call;
	unsigned int conditions;
	struct scmp_arg_cmp when[2];
};

struct rules {
	const struct rule *of;
	size_t count;
};

#define ANY(name)                      \
	{                              \
		.call = SCMP_SYS(name) \
	}
#define WHEN(name, a)                                                  \
	{                                                              \
		.call = SCMP_SYS(name), .conditions = 1, .when = { a } \
	}
#define WHEN2(name, a, b)                                                 \
	{                                                                 \
		.call = SCMP_SYS(name), .conditions = 2, .when = { a, b } \
	}
#define RULES(r)                                \
	{                                       \
		(r), sizeof(r) / sizeof((r)[0]) \
	}

/* Argument @n is @value; of its bits in @mask. */
#define IS(n, value)                                   \
	{                                              \
		(n), SCMP_CMP_EQ, (uint64_t)(value), 0 \
	}
#define BITS(n, mask, value)                                                 \
	{                                                                    \
		(n), SCMP_CMP_MASKED_EQ, (uint64_t)(mask), (uint64_t)(value) \
	}

/* To open for reading, and make nothing: of O_TMPFILE and O_CREAT at least one bit counts. */
#define OPEN_BITS \
	(O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND | (O_TMPFILE & ~O_DIRECTORY))

/* fork(): no namespaces, no threads. */
#define FORK_BITS (~(uint64_t)(CSIGNAL | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID))

/* What every C program does. */
static const struct rule basics[] = {
	ANY(brk),
	ANY(clock_gettime), /* where there is no vDSO */
	ANY(close),
	ANY(exit),
	ANY(exit_group),
	ANY(futex),
	ANY(getpid),
	ANY(getrandom), /* malloc's */
	ANY(gettid),
	ANY(gettimeofday),
	ANY(madvise),
	WHEN(mmap, BITS(2, PROT_EXEC, 0)),
	WHEN(mprotect, BITS(2, PROT_EXEC, 0)),
	ANY(mremap),
	ANY(munmap),
	ANY(read),
	ANY(restart_syscall),
	ANY(rt_sigprocmask),
	ANY(rt_sigreturn),
	ANY(time),
	ANY(write),
	ANY(writev),
};

/* What an arbiter does: talk over sockets that it was given, and wait; and read settings of
 * the host's in /sys, as they are at the moment. */
static const struct rule arbiters[] = {
	ANY(accept4), /* status */
	ANY(epoll_create1),
	ANY(epoll_ctl),
	ANY(epoll_pwait),
	ANY(epoll_pwait2),
	ANY(epoll_wait),
	WHEN(fcntl, IS(1, F_GETFD)),
	WHEN(fcntl, IS(1, F_SETFD)),
	WHEN(fcntl, IS(1, F_GETFL)),
	WHEN(fcntl, IS(1, F_SETFL)),
	ANY(geteuid),
	ANY(getsockopt),
	WHEN(ioctl, IS(1, FIONREAD)),
	ANY(membarrier),
	WHEN(openat, BITS(2, OPEN_BITS, O_RDONLY)),
	ANY(poll), /* whether a client has hung up */
	ANY(ppoll),
	ANY(pread64),
	ANY(readv),
	ANY(recvfrom),
	ANY(recvmsg),
	ANY(sendmsg),
	ANY(sendto),
	ANY(shutdown),
};

/* What a keeper does beside. */
static const struct rule keepers[] = {
	/* memory */
	ANY(fallocate),
	WHEN(fchmod, IS(1, 0600)),
	ANY(ftruncate),
	WHEN(fcntl, IS(1, F_ADD_SEALS)),
	WHEN(fcntl, IS(1, F_GET_SEALS)),
	ANY(get_mempolicy),
	ANY(getrusage), /* how many faults a slice took: its page size */
	ANY(lseek),
	ANY(mbind),
	ANY(memfd_create),
	ANY(mincore),
	ANY(mlock), /* mlock2() without flags */
	ANY(mlock2),
	ANY(pwrite64),
	ANY(munlock),
	ANY(sched_yield), /* before what nobody waits for */
	/* files: budd.conf, names of users; to write: a trigger of pressure */
	WHEN(openat, IS(2, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)),
	ANY(fstat),
	ANY(fstatfs),
	ANY(getdents64),
	ANY(newfstatat),
	ANY(readlink),
	ANY(readlinkat),
	ANY(statfs),
	ANY(statx),
	ANY(sysinfo),
	WHEN(prlimit64, IS(2, 0)),
	/* sockets: to the service manager, to who knows users, between our processes */
	ANY(connect),
	WHEN(fcntl, IS(1, F_DUPFD_CLOEXEC)),
	ANY(getsockname),
	ANY(pidfd_open),
	ANY(pipe2),
	ANY(setsockopt),
	WHEN(socket, IS(0, AF_UNIX)),
	WHEN(socketpair, IS(0, AF_UNIX)),
	ANY(timerfd_create),
	ANY(timerfd_settime),
	/* arbiters: to start one, with a filter of its own, to end it */
	ANY(capset),
	ANY(capget),
	WHEN(clone, BITS(0, FORK_BITS, 0)),
	ANY(clock_nanosleep),
	ANY(getegid),
	ANY(getgid),
	ANY(getppid),
	ANY(getuid),
	WHEN(kill, IS(1, SIGKILL)),
	WHEN(prctl, IS(0, PR_SET_DUMPABLE)),
	WHEN(prctl, IS(0, PR_SET_NO_NEW_PRIVS)),
	WHEN(prctl, IS(0, PR_SET_SECCOMP)),
	ANY(rt_sigaction),
	ANY(seccomp),
	ANY(set_robust_list),
	ANY(wait4),
	/* our own sockets and pid file, at the end */
	ANY(flock),
	ANY(unlink),
	ANY(unlinkat),
};

/* syslog(3) opens its socket again when the other side was restarted. */
static const struct rule syslogs[] = {
	ANY(connect),
	WHEN2(socket, IS(0, AF_UNIX), IS(1, SOCK_DGRAM | SOCK_CLOEXEC)),
};

static const struct rules all[] = {
	RULES(basics),
	RULES(arbiters),
	RULES(keepers),
};
#define ALL    (sizeof(all) / sizeof(all[0]))
#define SHARED (ALL - 1)

/* The arbiter's are at the start of the keeper's, which its children inherit. */
static size_t
sets_of(enum sandbox who)
{
	return who == SANDBOX_KEEPER ? ALL : SHARED;
}

static int
add(scmp_filter_ctx filter, const struct rules *rules)
{
	int r = 0;

	for (size_t i = 0; i < rules->count && r == 0; i++)
		r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, rules->of[i].call,
		    rules->of[i].conditions, rules->of[i].when);
	return r;
}

/* An assertion that fails is to be seen as what it is. */
static int
add_abort(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
	    SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
}

/* Not of what a signal's handler may do, but nothing comes after it. */
static void
on_denied(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	log_err("sandbox",
	    "system call %d of this machine is none that the arbiter needs: it ends",
	    info->si_syscall);
	_exit(SANDBOX_EXIT);
}

static int
end_when_denied(void)
{
	struct sigaction action = { .sa_sigaction = on_denied, .sa_flags = SA_SIGINFO };

	return sigaction(SIGSYS, &action, NULL) == 0 ? 0 : -errno;
}

static int
load(enum sandbox who, bool syslog, scmp_filter_ctx filter)
{
	static const struct rules to_syslog = RULES(syslogs);
	int r = add_abort(filter);

	for (size_t i = 0; i < sets_of(who) && r == 0; i++)
		r = add(filter, &all[i]);
	if (r == 0 && syslog)
		r = add(filter, &to_syslog);
	if (r == 0)
		r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	return r == 0 ? seccomp_load(filter) : r;
}

int
sandbox_enter(enum sandbox who, bool syslog)
{
	uint32_t denied = who == SANDBOX_KEEPER ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_TRAP;
	scmp_filter_ctx filter;
	int r = 0;

	if (!sandbox_is_on()) {
		if (who == SANDBOX_KEEPER)
			log_warn("sandbox",
			    "built with sanitizers or --disable-sandbox: every system "
			    "call is allowed; not for use");
		return 0;
	}
	if (who == SANDBOX_ARBITER && (r = end_when_denied()) != 0)
		return r;
	if ((filter = seccomp_init(denied)) == NULL)
		return -ENOMEM;
	r = load(who, syslog, filter);
	seccomp_release(filter);
	return r;
}

bool
sandbox_is_on(void)
{
#if defined(WITHOUT_SANDBOX) || defined(WITH_SANITIZERS)
	return false;
#else
	return true;
#endif
}

static bool
has_before(size_t set, size_t i)
{
	int call = all[set].of[i].call;

	for (size_t s = 0; s <= set; s++)
		for (size_t j = 0; j < (s < set ? all[s].count : i); j++)
			if (all[s].of[j].call == call)
				return true;
	return false;
}

unsigned int
sandbox_calls(enum sandbox who)
{
	unsigned int n = 1; /* tgkill */

	for (size_t s = 0; s < sets_of(who); s++)
		for (size_t i = 0; i < all[s].count; i++)
			n += all[s].of[i].call >= 0 && !has_before(s, i);
	return n;
}
