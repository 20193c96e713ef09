/* SPDX-License-Identifier: ISC */

/* The filters, from outside what they allow and from inside; and what a live budd is left
 * with: user, capabilities, no_new_privs, filters, and nobody who may look into it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/privileges.h"
#include "daemon/sandbox.h"
#include "tests/client_process.h"
#include "tests/daemon.h"
#include "tests/fork.h"

#define CONFIG "[pool default]\nbase = 256K\nadd = 256K\nwall = 1M\nwall_max = 1M\n"

/* --- A process in a filter --- */

#define NOT_DENIED 1
#define NO_FILTER  2

static void
enter(enum sandbox who)
{
	log_init(true);
	if (who == SANDBOX_ARBITER) { /* as it is in budd: within the keeper's */
		if (sandbox_enter(SANDBOX_KEEPER, false) != 0)
			_exit(NO_FILTER);
	}
	if (sandbox_enter(who, false) != 0)
		_exit(NO_FILTER);
}

/* Its wait status; EPERM is status 0, anything else that returns is NOT_DENIED. */
static int
status_of(enum sandbox who, long (*try)(void))
{
	int status = -1;
	pid_t pid = test_fork();

	if (pid == 0) {
		enter(who);
		_exit(try() == -1 && errno == EPERM ? 0 : NOT_DENIED);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status), "wait status %#x", (unsigned int)status);
	ck_assert_int_ne(WEXITSTATUS(status), NO_FILTER);
	return WEXITSTATUS(status);
}

/* --- What is denied --- */

static long
try_internet(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}

static long
try_netlink(void)
{
	return socket(AF_NETLINK, SOCK_RAW, 0);
}

static long
try_exec(void)
{
	return execl("/bin/true", "true", NULL);
}

static long
try_exec_at(void)
{
	return syscall(SYS_execveat, AT_FDCWD, "/bin/true", NULL, NULL, 0);
}

static long
try_trace(void)
{
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static long
try_read_other(void)
{
	return syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0);
}

static long
try_create(void)
{
	return open("/tmp/bud-never", O_WRONLY | O_CREAT | O_TRUNC, 0600);
}

static long
try_write_existing(void)
{
	return open("/dev/null", O_WRONLY);
}

static long
try_create_unnamed(void)
{
	return open("/tmp", O_TMPFILE | O_RDWR, 0600);
}

static long
try_truncate_reading(void)
{
	return open("/dev/null", O_RDONLY | O_TRUNC);
}

static long
try_signal(void)
{
	return kill(getppid(), SIGCONT);
}

static long
try_thread_signal(void)
{
	return syscall(SYS_tgkill, 1, 1, 0);
}

static long
try_code_mapping(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
		   ? -1
		   : 0;
}

static long
try_code_from_data(void)
{
	void *p = mmap(
	    NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

static long
try_namespace(void)
{
	return unshare(CLONE_NEWUSER);
}

static long
try_clone_namespace(void)
{
	return syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);
}

static long
try_mount(void)
{
	return mount("none", "/mnt", "tmpfs", 0, NULL);
}

static long
try_user(void)
{
	return setuid(0);
}

static long
try_mode(void)
{
	return fchmod(0, 04755);
}

static long
try_owner(void)
{
	return chown("/tmp", 0, 0);
}

static long
try_rename(void)
{
	return rename("/tmp/a", "/tmp/b");
}

static long
try_listen(void)
{
	return listen(0, 1);
}

static long
try_uring(void)
{
	return syscall(SYS_io_uring_setup, 1, NULL);
}

static long
try_bpf(void)
{
	return syscall(SYS_bpf, 0, NULL, 0);
}

static long
try_steal_descriptor(void)
{
	return syscall(SYS_pidfd_getfd, 0, 0, 0);
}

static long
try_limit(void)
{
	const struct rlimit none = { 0, 0 };

	return setrlimit(RLIMIT_NOFILE, &none);
}

static long
try_terminal(void)
{
	return ioctl(0, TIOCSTI, "x");
}

static long
try_fork(void)
{
	return syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
}

static long
try_local_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0);
}

static long
try_connect(void)
{
	return connect(0, NULL, 0);
}

static long
try_lock(void)
{
	return (long)syscall(SYS_mlock, NULL, 0);
}

static long
try_memfd(void)
{
	return memfd_create("x", 0);
}

static long
try_unlink(void)
{
	return unlink("/tmp/bud-never");
}

static long
try_kill(void)
{
	return kill(getppid(), 0);
}

static long
try_signal_handler(void)
{
	return signal(SIGSYS, SIG_IGN) == SIG_ERR ? -1 : 0;
}

static const struct denied {
	const char *name;
	long (*try)(void);
	bool to_arbiter_only;
} denied[] = {
	{ "socket(AF_INET)", try_internet, false },
	{ "socket(AF_NETLINK)", try_netlink, false },
	{ "execve", try_exec, false },
	{ "execveat", try_exec_at, false },
	{ "ptrace", try_trace, false },
	{ "process_vm_readv", try_read_other, false },
	{ "open, to create", try_create, false },
	{ "open, to write", try_write_existing, false },
	{ "open, O_TMPFILE", try_create_unnamed, false },
	{ "open, to truncate", try_truncate_reading, false },
	{ "kill", try_signal, false },
	{ "tgkill", try_thread_signal, false },
	{ "mmap(PROT_EXEC)", try_code_mapping, false },
	{ "mprotect(PROT_EXEC)", try_code_from_data, false },
	{ "unshare", try_namespace, false },
	{ "clone(CLONE_NEWUSER)", try_clone_namespace, false },
	{ "mount", try_mount, false },
	{ "setuid", try_user, false },
	{ "fchmod(04755)", try_mode, false },
	{ "chown", try_owner, false },
	{ "rename", try_rename, false },
	{ "listen", try_listen, false },
	{ "io_uring_setup", try_uring, false },
	{ "bpf", try_bpf, false },
	{ "pidfd_getfd", try_steal_descriptor, false },
	{ "setrlimit", try_limit, false },
	{ "ioctl(TIOCSTI)", try_terminal, false },
	{ "fork", try_fork, true },
	{ "socket(AF_UNIX)", try_local_socket, true },
	{ "connect", try_connect, true },
	{ "mlock", try_lock, true },
	{ "memfd_create", try_memfd, true },
	{ "unlink", try_unlink, true },
	{ "kill(0)", try_kill, true },
	{ "sigaction", try_signal_handler, true },
};
#define DENIED ((int)(sizeof(denied) / sizeof(denied[0])))

static bool
no_filters(void)
{
	return !sandbox_is_on() && skip("built without filters");
}

START_TEST(an_arbiter_that_tries_it_is_no_more)
{
	const struct denied *d = &denied[_i];

	if (no_filters())
		return;
	ck_assert_msg(status_of(SANDBOX_ARBITER, d->try) == SANDBOX_EXIT,
	    "the arbiter may %s", d->name);
}
END_TEST

START_TEST(a_keeper_that_tries_it_gets_eperm)
{
	const struct denied *d = &denied[_i];

	if (no_filters() || d->to_arbiter_only)
		return;
	ck_assert_msg(
	    status_of(SANDBOX_KEEPER, d->try) == 0, "the keeper may %s", d->name);
}
END_TEST

/* --- What is allowed --- */

#define MUST(cond)                                                     \
	do {                                                           \
		if (!(cond)) {                                         \
			log_errno("test", errno, "line %d", __LINE__); \
			_exit(NOT_DENIED);                             \
		}                                                      \
	} while (0)

static void
do_what_arbiters_do(int sock)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct iovec iov = { (char[]){ "x" }, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct ucred peer;
	socklen_t size = sizeof(peer);
	int epoll = epoll_create1(EPOLL_CLOEXEC), n;
	char *p = malloc(1 << 20);

	MUST(p != NULL && (p = realloc(p, 1 << 24)) != NULL);
	free(p);
	MUST(epoll != -1 && epoll_ctl(epoll, EPOLL_CTL_ADD, sock, &event) == 0);
	MUST(epoll_wait(epoll, &event, 1, 0) == 0);
	MUST(sendmsg(sock, &msg, MSG_NOSIGNAL) == 1);
	MUST(getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0);
	MUST(ioctl(sock, FIONREAD, &n) == 0);
	MUST(fcntl(sock, F_SETFL, fcntl(sock, F_GETFL) | O_NONBLOCK) == 0);
	MUST(recvmsg(sock, &msg, MSG_DONTWAIT) == -1 && errno == EAGAIN);
	MUST(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0) ==
	     0);
	MUST(syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0) == 0);
	MUST(open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY) != -1 ||
	     errno == ENOENT);
	MUST(shutdown(sock, SHUT_RDWR) == 0);
	close(epoll);
	log_info("test", "an arbiter's calls are allowed");
}

static void
do_what_keepers_do(int sock)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING), pair[2], status;
	unsigned char resident;
	struct stat st;
	pid_t pid;
	char *p;

	MUST(fd != -1 && ftruncate(fd, 4096) == 0 && fchmod(fd, 0600) == 0);
	MUST(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW) == 0 && fstat(fd, &st) == 0);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(p != MAP_FAILED && madvise(p, 4096, MADV_DONTFORK) == 0);
	MUST(sched_yield() == 0);
	MUST(mlock2(p, 4096, 0) == 0 && mincore(p, 4096, &resident) == 0);
	MUST(syscall(SYS_munlock, p, 4096) == 0);
	MUST(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0);
	MUST(pwrite(fd, "x", 1, 0) == 1);
	MUST(open("/proc/self/comm", O_RDONLY | O_CLOEXEC) != -1);
	MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	MUST((pid = fork()) != -1);
	if (pid == 0)
		for (;;)
			usleep(1000);
	MUST(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid);
	log_info("test", "a keeper's calls are allowed");
	do_what_arbiters_do(sock);
}

START_TEST(what_they_do_is_allowed)
{
	void (*const work[])(int sock) = {
		[SANDBOX_KEEPER] = do_what_keepers_do,
		[SANDBOX_ARBITER] = do_what_arbiters_do,
	};
	int pair[2], status = -1;
	pid_t pid;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	pid = test_fork();
	if (pid == 0) {
		enter((enum sandbox)_i);
		work[_i](pair[0]);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(status == 0, "wait status %#x", (unsigned int)status);
	close(pair[0]);
	close(pair[1]);
	if (_i == 0)
		printf("a keeper may make %u system calls, an arbiter %u\n",
		    sandbox_calls(SANDBOX_KEEPER), sandbox_calls(SANDBOX_ARBITER));
	ck_assert_uint_lt(
	    sandbox_calls(SANDBOX_ARBITER), sandbox_calls(SANDBOX_KEEPER));
}
END_TEST

/* So that an assertion that fails is seen as what it is. */
START_TEST(an_arbiter_may_abort)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		enter(SANDBOX_ARBITER);
		abort();
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT,
	    "wait status %#x", (unsigned int)status);
}
END_TEST

/* --- A live budd --- */

static uint64_t
status_field(pid_t pid, const char *field, int base)
{
	char path[32], line[256];
	size_t length = strlen(field);
	uint64_t value = UINT64_MAX;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, field, length) == 0 && line[length] == ':')
			value = strtoull(line + length + 1, NULL, base);
	fclose(f);
	return value;
}

#define LOCK_BIT (UINT64_C(1) << 14) /* CAP_IPC_LOCK */

static void
expect_privileges(pid_t pid, uint64_t capabilities, bool may_bound)
{
	ck_assert_uint_eq(status_field(pid, "CapEff", 16), capabilities);
	ck_assert_uint_eq(status_field(pid, "CapPrm", 16), capabilities);
	ck_assert_uint_eq(status_field(pid, "CapInh", 16), 0);
	ck_assert_uint_eq(status_field(pid, "CapAmb", 16), 0);
	if (may_bound)
		ck_assert_uint_eq(status_field(pid, "CapBnd", 16), 0);
	ck_assert_uint_eq(status_field(pid, "NoNewPrivs", 10), 1);
	if (sandbox_is_on())
		ck_assert_uint_eq(status_field(pid, "Seccomp", 10), 2);
}

static void
expect_least_privileges(const struct daemon *d, uint64_t of_keeper)
{
	pid_t arbiter = daemon_arbiter(d);
	bool may_bound = geteuid() == 0;

	expect_privileges(d->keeper, of_keeper, may_bound);
	expect_privileges(arbiter, 0, may_bound);
	if (sandbox_is_on()) {
		uint64_t keepers = status_field(d->keeper, "Seccomp_filters", 10);

		ck_assert_uint_eq(
		    status_field(arbiter, "Seccomp_filters", 10), keepers + 1);
	}
}

START_TEST(budd_has_the_least_that_it_needs)
{
	struct daemon d = { 0 };

	if (!need_root())
		return;
	daemon_start(&d, CONFIG);
	expect_least_privileges(&d, LOCK_BIT);
	daemon_kill_arbiter(&d);
	expect_least_privileges(&d, LOCK_BIT);
	daemon_stop(&d);
}
END_TEST

START_TEST(an_ordinary_users_budd_has_nothing)
{
	struct daemon d = { .uid = NOBODY };
	pid_t arbiter;

	if (!need_root())
		return;
	daemon_start(&d, "[host]\nwall = 4M\n" CONFIG);
	arbiter = daemon_arbiter(&d);
	ck_assert_uint_eq(status_field(d.keeper, "CapEff", 16), 0);
	ck_assert_uint_eq(status_field(arbiter, "CapEff", 16), 0);
	ck_assert_uint_eq(status_field(arbiter, "NoNewPrivs", 10), 1);
	daemon_stop(&d);
}
END_TEST

static void
look_into(struct client *me, void *arg)
{
	const pid_t *pids = arg;
	char path[32];

	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "/proc/%d/mem", (int)pids[i]);
		must(open(path, O_RDONLY) == -1 && errno == EACCES);
		snprintf(path, sizeof(path), "/proc/%d/fd/0", (int)pids[i]);
		must(open(path, O_RDONLY) == -1 && errno == EACCES);
		must(ptrace(PTRACE_SEIZE, pids[i], NULL, NULL) == -1);
		must(errno == EPERM);
	}
	client_say(me, "nothing seen");
}

START_TEST(its_own_user_cannot_look_into_it)
{
	struct daemon d = { .uid = NOBODY };
	struct client c;
	pid_t pids[2];

	if (!need_root())
		return;
	daemon_start(&d, "[host]\nwall = 4M\n" CONFIG);
	pids[0] = d.keeper;
	pids[1] = daemon_arbiter(&d);
	client_run_as(&c, NOBODY, 0, look_into, pids);
	client_wait(&c, "nothing seen");
	client_join(&c);
	daemon_stop(&d);
}
END_TEST

/* --- The user budd --- */

#define BUDD_UID 64123

/* In the child that becomes budd, and nowhere else: the user exists. */
static void
make_user(void *arg)
{
	const char *passwd = arg;

	/* Its leak checker may not look into who has changed its user. */
	setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
	if (unshare(CLONE_NEWNS) == -1 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1 ||
	    mount(passwd, "/etc/passwd", NULL, MS_BIND, NULL) == -1)
		_exit(126);
}

static void
write_passwd(char *path)
{
	int fd = mkstemp(path);

	ck_assert_int_ne(fd, -1);
	ck_assert_int_gt(dprintf(fd,
			     "root:x:0:0::/root:/bin/sh\n"
			     "budd:x:%d:%d::/:/usr/sbin/nologin\n",
			     BUDD_UID, BUDD_UID),
	    0);
	ck_assert_int_eq(fchmod(fd, 0644), 0);
	close(fd);
}

static void
use_pool(struct client *me, void *arg)
{
	const struct daemon *d = arg;
	struct bud_config config = { .size = sizeof(config), .socket = d->socket };
	struct bud_pool *pool;
	void *p, *q;

	must(bud_open(&pool, &config) == 0);
	must((p = bud_alloc(pool, 256 * KIB, PATIENCE_MS)) != NULL);
	must((q = bud_alloc(pool, 256 * KIB, PATIENCE_MS)) != NULL);
	bud_free(pool, p);
	bud_free(pool, q);
	client_say(me, "used");
	client_hear(me);
	bud_close(pool);
}

static void
reload(const struct daemon *d)
{
	ck_assert_int_eq(kill(d->keeper, SIGHUP), 0);
	eventually(daemon_log_contains(d, "the configuration was read again"));
}

START_TEST(root_becomes_budd_and_serves)
{
	char passwd[] = "/tmp/bud-passwd-XXXXXX";
	struct daemon d = { .in_child = make_user, .in_child_arg = passwd };
	struct client c;

	if (!need_root())
		return;
	write_passwd(passwd);
	daemon_prepare(&d, CONFIG);
	ck_assert_int_eq(chown(d.dir, BUDD_UID, (gid_t)-1), 0);
	daemon_launch(&d);
	ck_assert_uint_eq(status_field(d.keeper, "Uid", 10), BUDD_UID);
	ck_assert_uint_eq(status_field(d.keeper, "Gid", 10), BUDD_UID);
	ck_assert_uint_eq(status_field(daemon_arbiter(&d), "Uid", 10), BUDD_UID);
	expect_least_privileges(&d, LOCK_BIT);
	client_run(&c, use_pool, &d);
	client_wait(&c, "used");
	reload(&d);
	daemon_kill_arbiter(&d);
	client_say(&c, "end");
	client_join(&c);
	daemon_stop(&d);
	unlink(passwd);
}
END_TEST

/* What root made in a directory of root's, budd cannot remove; the next one replaces it. */
START_TEST(in_a_directory_of_roots_its_sockets_stay_and_are_replaced)
{
	char passwd[] = "/tmp/bud-passwd-XXXXXX";
	struct daemon d = { .in_child = make_user, .in_child_arg = passwd };

	if (!need_root())
		return;
	write_passwd(passwd);
	daemon_prepare(&d, CONFIG);
	ck_assert_int_eq(chown(d.dir, 0, (gid_t)-1), 0);
	for (int i = 0; i < 2; i++) {
		daemon_launch(&d);
		daemon_end(&d);
		ck_assert_int_eq(access(d.socket, F_OK), 0);
	}
	eventually(daemon_log_contains(&d, "removed, nobody listened there any more"));
	unlink(d.socket);
	unlink(d.status);
	unlink(d.pid);
	daemon_remove(&d);
	unlink(passwd);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("sandbox");
	TCase *filters = tcase_create("filters"), *live = tcase_create("live");

	tcase_add_loop_test(filters, an_arbiter_that_tries_it_is_no_more, 0, DENIED);
	tcase_add_loop_test(filters, a_keeper_that_tries_it_gets_eperm, 0, DENIED);
	tcase_add_loop_test(filters, what_they_do_is_allowed, 0, 2);
	tcase_add_test(filters, an_arbiter_may_abort);
	suite_add_tcase(suite, filters);
	tcase_set_timeout(live, 60);
	tcase_add_test(live, budd_has_the_least_that_it_needs);
	tcase_add_test(live, an_ordinary_users_budd_has_nothing);
	tcase_add_test(live, its_own_user_cannot_look_into_it);
	tcase_add_test(live, root_becomes_budd_and_serves);
	tcase_add_test(live, in_a_directory_of_roots_its_sockets_stay_and_are_replaced);
	suite_add_tcase(suite, live);
	return daemon_suite(suite);
}
