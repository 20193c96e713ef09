/* SPDX-License-Identifier: ISC */

/*
 * A host that is short of something: each call that budd makes for a client fails once, the
 * first of its kind, the second, and so on until a whole life passes without; and some fail
 * until further notice. Each time the client has its answer, and not by its own deadline;
 * afterwards budd serves it as if nothing had been, holds what it held, and a client beside
 * it has kept its bytes and been served.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/client_process.h"
#include "tests/daemon.h"
#include "tests/faults.h"

#define CHUNK    (256 * KIB)
#define WALL     MIB
#define BUFS     (WALL / CHUNK)
#define NTH_MAX  400
#define IN_CI_MS 1500 /* that one kind of failure may take; a soak takes them all */

#define CONFIG_WITH(more)                                              \
	"[host]\ntick = 5ms\nrelease_period = 10ms\nidle = 5ms\n" more \
	"[pool default]\nbase = 256K\nadd = 256K\nwall = 1M\nwall_max = 1M\n"
#define CONFIG CONFIG_WITH("")

static struct daemon d;
static struct daemon_snapshot before;
static struct faults *faults;
static struct client neighbour;

/* --- Who lives beside it --- */

static void
keep_and_work(struct client *me, void *arg)
{
	struct bud_pool *pool = open_pool(&d, "neighbour");
	void *kept = bud_alloc(pool, CHUNK / 2, 0), *buf;
	uint64_t rounds = 0;

	(void)arg;
	must(kept != NULL);
	paint(kept, CHUNK / 2, 1);
	client_say(me, "at work");
	for (; !client_heard(me); rounds++) {
		buf = bud_alloc(pool, CHUNK / 2, 0);
		must(buf != NULL);
		paint(buf, CHUNK / 2, rounds);
		nap();
		must(painted(buf, CHUNK / 2, rounds));
		must(painted(kept, CHUNK / 2, 1));
		bud_free(pool, buf);
	}
	for (size_t i = 0; i < BUFS - 1; i++) /* and it can still grow */
		must(bud_alloc(pool, CHUNK, PATIENCE_MS) != NULL);
	bud_close(pool);
	must(rounds > 0);
}

/* --- A life --- */

/* What an answer may be when the host is short. */
static bool
is_clear(int error)
{
	switch (error) {
	case ENOMEM:
	case EAGAIN:
	case ENOBUFS:
	case EMFILE:
	case ENFILE:
	case ENOSPC:
	case EUSERS:
	case EPERM:
	case ECANCELED:
	case ENOTCONN:
	case ECONNREFUSED:
	case ECONNRESET:
	case ETIMEDOUT: /* in its time */
		return true;
	}
	return false;
}

static void
expect_answer(int error, int64_t since, const char *what)
{
	ck_assert_msg(error == 0 || is_clear(error), "%s: %s", what, strerror(error));
	ck_assert_msg(now_ms() - since < PATIENCE_MS / 2, "%s: no answer", what);
}

static int
try_open(struct bud_pool **poolp)
{
	struct bud_config config = {
		.size = sizeof(config), .socket = d.socket, .pool = "victim"
	};
	int64_t since = now_ms();
	int r = bud_open(poolp, &config);

	expect_answer(-r, since, "bud_open");
	return r;
}

/* Fills the pool to its wall, waits there in vain, and gives all back. Each buffer may take
 * @timeout_ms: a pool that cannot grow has its requests wait, for it could be able to later.
 * Return: how much of that failed */
static unsigned int
live_within(int timeout_ms)
{
	struct bud_pool *pool;
	unsigned int failed = 0;
	void *bufs[BUFS];
	int64_t since;

	if (try_open(&pool) != 0)
		return 1;
	for (size_t i = 0; i < BUFS; i++) {
		since = now_ms();
		bufs[i] = bud_alloc(pool, CHUNK, timeout_ms);
		expect_answer(bufs[i] != NULL ? 0 : errno, since, "bud_alloc");
		failed += bufs[i] == NULL;
		if (bufs[i] != NULL)
			paint(bufs[i], CHUNK, i);
	}
	if (failed == 0) {
		ck_assert_ptr_null(bud_alloc(pool, CHUNK, 2));
		ck_assert_msg(
		    is_clear(errno), "bud_alloc at the wall: %s", strerror(errno));
	}
	for (size_t i = 0; i < BUFS; i++) {
		ck_assert(bufs[i] == NULL || painted(bufs[i], CHUNK, i));
		bud_free(pool, bufs[i]);
	}
	bud_hint(pool, BUD_TRANSFER_END);
	bud_close(pool);
	return failed;
}

static unsigned int
live(void)
{
	return live_within(PATIENCE_MS);
}

/* --- The faults --- */

struct fault {
	const char *name;
	enum fault_call call;
	bool in_arbiter;
	int error;
};

static void
arm(const struct fault *f, uint32_t nth, bool for_good)
{
	faults->in_arbiter = f->in_arbiter;
	faults->error = f->error;
	faults->nth = nth;
	faults->for_good = for_good;
	atomic_store(&faults->seen, 0);
	atomic_store(&faults->fired, 0);
	atomic_store(&faults->call, f->call);
}

static unsigned int
disarm(void)
{
	atomic_store(&faults->call, FAULT_NONE);
	return atomic_load(&faults->fired);
}

/* Nothing fails any more, nothing is owed, and nothing was left. */
static void
expect_recovery(const struct fault *f, uint32_t nth)
{
	ck_assert_msg(
	    live() == 0, "after %s number %u: %s", f->name, nth, strerror(errno));
	daemon_expect_same(&d, &before);
}

static void
enter(void)
{
	static char path[64];
	int fd = memfd_create("faults", 0);

	ck_assert_int_ne(fd, -1);
	ck_assert_int_eq(ftruncate(fd, sizeof(*faults)), 0);
	faults = mmap(NULL, sizeof(*faults), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ck_assert_ptr_ne(faults, MAP_FAILED);
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
	setenv(FAULTS_ENV, path, 1);
	d.program = "tests/budd-faults";
	daemon_start(&d, CONFIG);
	d.may_restart = true;
	client_run(&neighbour, keep_and_work, NULL);
	client_wait(&neighbour, "at work");
	ck_assert_uint_eq(live(), 0);
	daemon_snapshot(&d, &before);
}

static void
leave(void)
{
	client_say(&neighbour, "end");
	client_join(&neighbour);
	daemon_stop(&d);
}

static const struct fault each[] = {
	{ "accept4: EMFILE", FAULT_ACCEPT, false, EMFILE },
	{ "accept4: EINTR", FAULT_ACCEPT, false, EINTR },
	{ "getsockopt: ENOBUFS", FAULT_GETSOCKOPT, false, ENOBUFS },
	{ "memfd_create: EMFILE", FAULT_MEMFD, false, EMFILE },
	{ "memfd_create: ENOMEM", FAULT_MEMFD, false, ENOMEM },
	{ "ftruncate: ENOSPC", FAULT_FTRUNCATE, false, ENOSPC },
	{ "fcntl: EPERM", FAULT_FCNTL, false, EPERM },
	{ "fchmod: EPERM", FAULT_FCHMOD, false, EPERM },
	{ "mmap: ENOMEM", FAULT_MMAP, false, ENOMEM },
	{ "madvise: ENOMEM", FAULT_MADVISE, false, ENOMEM },
	{ "mlock2: ENOMEM", FAULT_MLOCK, false, ENOMEM },
	{ "mlock2: EAGAIN", FAULT_MLOCK, false, EAGAIN },
	{ "poll: EINTR", FAULT_POLL, false, EINTR },
	{ "recvmsg: EINTR", FAULT_RECVMSG, false, EINTR },
	{ "recvmsg: EAGAIN", FAULT_RECVMSG, false, EAGAIN },
	{ "sendmsg: EINTR", FAULT_SENDMSG, false, EINTR },
	{ "sendmsg: EAGAIN", FAULT_SENDMSG, false, EAGAIN },
	{ "sendmsg: ENOBUFS", FAULT_SENDMSG, false, ENOBUFS },
	{ "arbiter's calloc: ENOMEM", FAULT_CALLOC, true, ENOMEM },
	{ "arbiter's mmap: ENOMEM", FAULT_MMAP, true, ENOMEM },
	{ "arbiter's descriptors: EMFILE", FAULT_DESCRIPTORS, true, EMFILE },
	{ "arbiter's recvmsg: EINTR", FAULT_RECVMSG, true, EINTR },
	{ "arbiter's recvmsg: EAGAIN", FAULT_RECVMSG, true, EAGAIN },
	{ "arbiter's sendmsg: EINTR", FAULT_SENDMSG, true, EINTR },
	{ "arbiter's sendmsg: EAGAIN", FAULT_SENDMSG, true, EAGAIN },
	{ "arbiter's sendmsg: ENOBUFS", FAULT_SENDMSG, true, ENOBUFS },
};

START_TEST(each_call_may_fail_once)
{
	const struct fault *f = &each[_i];
	int64_t until = now_ms() + IN_CI_MS + (soak_s() > 2 ? 100 * IN_CI_MS : 0);
	unsigned int refused = 0, failed = 0, fired = 1;
	uint32_t nth = 0;

	while (fired > 0 && nth < NTH_MAX && (nth == 0 || now_ms() < until)) {
		arm(f, ++nth, false);
		refused += live() != 0;
		fired = disarm();
		failed += fired;
		if (fired > 0)
			expect_recovery(f, nth);
	}
	ck_assert_uint_gt(failed, 0);
	printf("%s: %u failed, %u lives were refused something\n", f->name, failed,
	    refused);
}
END_TEST

static const struct fault lasting[] = {
	{ "mlock2: ENOMEM", FAULT_MLOCK, false, ENOMEM },
	{ "mlock2: EAGAIN", FAULT_MLOCK, false, EAGAIN },
	{ "mmap: ENOMEM", FAULT_MMAP, false, ENOMEM },
	{ "memfd_create: ENFILE", FAULT_MEMFD, false, ENFILE },
	{ "ftruncate: ENOSPC", FAULT_FTRUNCATE, false, ENOSPC },
	{ "arbiter's calloc: ENOMEM", FAULT_CALLOC, true, ENOMEM },
	{ "arbiter's mmap: ENOMEM", FAULT_MMAP, true, ENOMEM },
	{ "arbiter's descriptors: EMFILE", FAULT_DESCRIPTORS, true, EMFILE },
};

START_TEST(a_call_may_fail_for_good)
{
	const struct fault *f = &lasting[_i];

	for (uint32_t nth = 1; nth <= 3; nth++) {
		arm(f, nth, true);
		for (int i = 0; i < 3; i++)
			live_within(200);
		ck_assert_uint_gt(disarm(), 0);
		expect_recovery(f, nth);
	}
}
END_TEST

/* --- Pages that cannot be given back --- */

/* Bytes that there are of all pools. */
static uint64_t
bytes_of_memory(void)
{
	char dir[64], path[128], name[64];
	const struct dirent *e;
	uint64_t sum = 0;
	struct stat st;
	DIR *fds;

	snprintf(dir, sizeof(dir), "/proc/%d/fd", (int)d.keeper);
	ck_assert_ptr_nonnull(fds = opendir(dir));
	while ((e = readdir(fds)) != NULL) {
		ssize_t n;

		snprintf(path, sizeof(path), "%s/%.40s", dir, e->d_name);
		n = readlink(path, name, sizeof(name) - 1);
		name[n > 0 ? n : 0] = '\0';
		if (strncmp(name, "/memfd:bud-memory", 17) == 0 && stat(path, &st) == 0)
			sum += (uint64_t)st.st_blocks * 512;
	}
	closedir(fds);
	return sum;
}

/* They stay, and are not locked; they go when that works again, and not before. */
START_TEST(pages_that_could_not_be_given_back_go_later)
{
	static const struct fault f = { "fallocate: ENOMEM", FAULT_FALLOCATE, false,
		ENOMEM };
	uint64_t memory;
	struct bud_pool *pool;
	void *bufs[BUFS];

	if (geteuid() != 0 && skip("only root sees the memfds of budd's"))
		return;
	memory = bytes_of_memory();
	pool = open_pool(&d, "victim");
	for (size_t i = 0; i < BUFS; i++)
		ck_assert_ptr_nonnull(bufs[i] = bud_alloc(pool, CHUNK, PATIENCE_MS));
	ck_assert_uint_eq(bytes_of_memory(), memory + WALL);
	arm(&f, 1, true);
	for (size_t i = 0; i < BUFS; i++)
		bud_free(pool, bufs[i]);
	bud_hint(pool, BUD_TRANSFER_END);
	eventually(daemon_log_contains(&d, "cannot be given back"));
	eventually(daemon_locked(&d) < before.locked + WALL);
	ck_assert_uint_eq(bytes_of_memory(), memory + WALL);
	disarm();
	eventually(daemon_log_contains(&d, "given back are gone"));
	eventually(bytes_of_memory() < memory + WALL);
	bud_close(pool);
	daemon_expect_same(&d, &before);
}
END_TEST

/* --- An arbiter that cannot take over what there is --- */

/* What budd has to grow for. */
static void
ask_while_nobody_hears(struct client *me, void *arg)
{
	struct bud_pool *pool = open_pool(&d, "victim");
	void *buf = bud_alloc(pool, CHUNK, 0);

	(void)arg;
	must(buf != NULL);
	paint(buf, CHUNK, 7);
	client_say(me, "open");
	client_wait(me, "ask");
	must(bud_alloc(pool, CHUNK, 50) == NULL && errno == ETIMEDOUT);
	client_say(me, "not in time");
	must(bud_alloc(pool, CHUNK, PATIENCE_MS) != NULL);
	must(painted(buf, CHUNK, 7));
	bud_close(pool);
}

static void
die_while_nobody_looks(struct client *me, void *arg)
{
	(void)arg;
	must(bud_alloc(open_pool(&d, "victim"), CHUNK, 0) != NULL);
	client_say(me, "open");
	client_wait(me, "never");
}

/* They keep their memory, are served when there is room, and leave nothing if they end before
 * that. New ones are refused. */
START_TEST(pools_that_cannot_be_taken_over_are_taken_later)
{
	static const struct fault f = { "arbiter's descriptors: EMFILE",
		FAULT_DESCRIPTORS, true, EMFILE };
	struct client asks = { 0 }, dies = { 0 };
	struct bud_pool *pool;
	uint64_t locked;

	client_run(&asks, ask_while_nobody_hears, NULL);
	client_run(&dies, die_while_nobody_looks, NULL);
	client_wait(&asks, "open");
	client_wait(&dies, "open");
	locked = daemon_locked(&d);
	arm(&f, 1, true);
	ck_assert_int_eq(kill(daemon_arbiter(&d), SIGKILL), 0);
	eventually(daemon_log_contains(&d, "cannot be served; it stays locked"));
	ck_assert_int_eq(try_open(&pool), -EUSERS);
	client_say(&asks, "ask");
	client_wait(&asks, "not in time");
	ck_assert_uint_eq(daemon_locked(&d), locked);
	client_kill(&dies);
	eventually(geteuid() != 0 || daemon_locked(&d) < locked);
	disarm();
	client_join(&asks);
	eventually(daemon_log_contains(&d, "victim is served again"));
	expect_recovery(&f, 1);
}
END_TEST

/* Those of its beginning end the arbiter, and the next one begins; those of a pool, no pool. */
START_TEST(each_allocation_of_taking_over_may_fail_once)
{
	static const struct fault f = { "the next arbiter's calloc: ENOMEM",
		FAULT_CALLOC, true, ENOMEM };
	unsigned int fired = 1;
	uint32_t nth = 0;

	while (fired > 0 && nth < NTH_MAX) {
		pid_t arbiter = daemon_arbiter(&d);

		arm(&f, ++nth, false);
		ck_assert_int_eq(kill(arbiter, SIGKILL), 0);
		eventually(daemon_arbiter(&d) > 0 && daemon_arbiter(&d) != arbiter);
		daemon_expect_same(&d, &before);
		fired = disarm();
	}
	ck_assert_uint_gt(nth, 1);
	ck_assert_uint_eq(fired, 0);
	ck_assert_double_eq(daemon_figure(&d, "pools.0.id"), 1);
	eventually(live() == 0); /* so many deaths have it refuse for a second */
	printf("%s: %u failed\n", f.name, nth - 1);
}
END_TEST

/* --- An arbiter that may have no more descriptors --- */

static int
connect_to_status(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	struct timeval patience = { PATIENCE_MS / 1000, 0 };
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strlcpy(at.sun_path, d.status, sizeof(at.sun_path));
	ck_assert_int_eq(connect(sock, (struct sockaddr *)&at, sizeof(at)), 0);
	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return sock;
}

static void
expect_status(int sock)
{
	static const char get[] = "GET /v1/status HTTP/1.0\r\n\r\n";
	char answer[9] = "";

	ck_assert_int_eq(send(sock, get, sizeof(get) - 1, 0), sizeof(get) - 1);
	ck_assert_int_eq(recv(sock, answer, 8, MSG_WAITALL), 8);
	ck_assert_str_eq(answer, "HTTP/1.0");
	close(sock);
}

/* Of a processor, in hundredths of a second. */
static unsigned long
arbiter_time(void)
{
	unsigned long user = 0, system = 0;
	char path[32];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)daemon_arbiter(&d));
	ck_assert_ptr_nonnull(f = fopen(path, "re"));
	ck_assert_int_eq(
	    fscanf(f,
		"%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
		&user, &system),
	    2);
	fclose(f);
	return user + system;
}

/* Who connected to the status socket is not asked after all the time. */
static void
expect_rest(int ms)
{
	unsigned long since = arbiter_time();
	int64_t until = now_ms() + ms;

	while (now_ms() < until)
		nap();
	ck_assert_uint_lt(arbiter_time() - since, (unsigned long)ms / 20);
}

/* The session's, or those of its memory, are the first for which there is no room. */
START_TEST(an_arbiter_at_its_limit_of_descriptors_refuses_and_goes_on)
{
	pid_t arbiter = daemon_arbiter(&d);
	struct bud_pool *pools[16];
	struct rlimit limit, few;
	unsigned int n = 0;
	int r, status[12];

	if (prlimit(arbiter, RLIMIT_NOFILE, NULL, &limit) == -1 &&
	    skip("another process's limits may not be read"))
		return;
	few = (struct rlimit){ before.arbiter_fds + (unsigned int)_i, limit.rlim_max };
	ck_assert_int_eq(prlimit(arbiter, RLIMIT_NOFILE, &few, NULL), 0);
	while ((r = try_open(&pools[n])) == 0)
		ck_assert_uint_lt(++n, SIZEOF_ARRAY(pools));
	ck_assert_int_eq(r, -EUSERS);
	eventually(daemon_log_contains(&d, "no descriptors left"));
	/* They ask for nothing yet: else one after the other would be served where one has room. */
	for (size_t i = 0; i < SIZEOF_ARRAY(status); i++)
		status[i] = connect_to_status();
	eventually(daemon_log_contains(&d, "cannot accept a connection"));
	expect_rest(500);
	ck_assert_uint_gt(n, 0);
	for (size_t i = 0; i < BUFS; i++) /* and it serves those it has */
		ck_assert_ptr_nonnull(bud_alloc(pools[0], CHUNK, PATIENCE_MS));
	ck_assert_int_eq(prlimit(arbiter, RLIMIT_NOFILE, &limit, NULL), 0);
	for (size_t i = 0; i < SIZEOF_ARRAY(status); i++)
		expect_status(status[i]);
	while (n > 0)
		bud_close(pools[--n]);
	expect_recovery(&(struct fault){ .name = "descriptors of the arbiter" }, 1);
	ck_assert_int_eq(daemon_arbiter(&d), arbiter);
}
END_TEST

/* Not even one; and what the configuration says is there once there is room. */
START_TEST(a_reload_that_finds_no_descriptor_is_taken_later)
{
	pid_t arbiter = daemon_arbiter(&d);
	struct rlimit limit, none;

	if (prlimit(arbiter, RLIMIT_NOFILE, NULL, &limit) == -1 &&
	    skip("another process's limits may not be read"))
		return;
	ck_assert_double_ne(daemon_figure(&d, "host.overtaken_max"), 9);
	none = (struct rlimit){ 3, limit.rlim_max };
	ck_assert_int_eq(prlimit(arbiter, RLIMIT_NOFILE, &none, NULL), 0);
	daemon_configure(&d, CONFIG_WITH("overtaken_max = 9\n"));
	ck_assert_int_eq(kill(d.keeper, SIGHUP), 0);
	eventually(daemon_log_contains(&d, "the new configuration is not taken yet"));
	ck_assert_int_eq(prlimit(arbiter, RLIMIT_NOFILE, &limit, NULL), 0);
	eventually(daemon_figure(&d, "host.overtaken_max") == 9);
	ck_assert_int_eq(daemon_arbiter(&d), arbiter);
	expect_recovery(&(struct fault){ .name = "a reload without descriptors" }, 1);
}
END_TEST

/* --- No arbiter can be started --- */

static const struct fault starting[] = {
	{ "fork: EAGAIN", FAULT_FORK, false, EAGAIN },
	{ "socketpair: EMFILE", FAULT_SOCKETPAIR, false, EMFILE },
};

START_TEST(an_arbiter_that_cannot_be_started_is_tried_again)
{
	const struct fault *f = &starting[_i];
	pid_t arbiter = daemon_arbiter(&d);

	arm(f, 1, true);
	ck_assert_int_eq(kill(arbiter, SIGKILL), 0);
	eventually(atomic_load(&faults->fired) >= 2);
	disarm();
	eventually(daemon_arbiter(&d) > 0);
	expect_recovery(f, 1);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("faults");
	TCase *t = tcase_create("faults");

	tcase_set_timeout(t, 60 + 60 * soak_s());
	tcase_add_checked_fixture(t, enter, leave);
	tcase_add_loop_test(t, each_call_may_fail_once, 0, SIZEOF_ARRAY(each));
	tcase_add_loop_test(t, a_call_may_fail_for_good, 0, SIZEOF_ARRAY(lasting));
	tcase_add_test(t, pages_that_could_not_be_given_back_go_later);
	tcase_add_test(t, pools_that_cannot_be_taken_over_are_taken_later);
	tcase_add_test(t, each_allocation_of_taking_over_may_fail_once);
	tcase_add_loop_test(
	    t, an_arbiter_at_its_limit_of_descriptors_refuses_and_goes_on, 3, 9);
	tcase_add_test(t, a_reload_that_finds_no_descriptor_is_taken_later);
	tcase_add_loop_test(t, an_arbiter_that_cannot_be_started_is_tried_again, 0,
	    SIZEOF_ARRAY(starting));
	suite_add_tcase(suite, t);
	return daemon_suite(suite);
}
