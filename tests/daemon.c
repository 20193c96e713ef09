/* SPDX-License-Identifier: ISC */

/* A budd of the test's own. */
#include "tests/daemon.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/ledger.h"
#include "tests/fork.h"

#define ARGS_MAX 16
#define BUDD_FD  900 /* or higher */

/* Of this run; each budd gets a directory in it. */
static char base[] = "/tmp/bud-test.XXXXXX";

int64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void
nap(void)
{
	const struct timespec t = { .tv_nsec = 1000000 };

	nanosleep(&t, NULL);
}

bool
skip(const char *reason)
{
	printf("skip: %s\n", reason);
	fflush(stdout);
	return true;
}

bool
need_root(void)
{
	return geteuid() == 0 || !skip("not root");
}

double
soak_s(void)
{
	const char *text = getenv("BUD_SOAK");
	double s = text != NULL ? strtod(text, NULL) : 0;

	return s > 0 ? s : 2;
}

/* --- Files --- */

/* No ck_assert() here: daemon_suite() reads logs when no test is running. */
static char *
read_all(const char *path)
{
	FILE *f = fopen(path, "re");
	size_t size = 0, room = 65536;
	char *text = malloc(room);

	if (text == NULL)
		err(EXIT_FAILURE, NULL);
	while (f != NULL) {
		size_t n = fread(text + size, 1, room - size - 1, f);

		size += n;
		if (n == 0)
			break;
		if (size + 1 == room && (text = realloc(text, room *= 2)) == NULL)
			err(EXIT_FAILURE, NULL);
	}
	text[size] = '\0';
	if (f != NULL)
		fclose(f);
	return text;
}

bool
daemon_log_contains(const struct daemon *d, const char *text)
{
	char *log = read_all(d->log);
	bool found = strstr(log, text) != NULL;

	free(log);
	return found;
}

void
daemon_configure(struct daemon *d, const char *config)
{
	FILE *f = fopen(d->config, "we");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(config, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

/* Who is to remove what budd leaves: where its own user exists, root becomes that. */
static uid_t
owner_of(const struct daemon *d)
{
	const struct passwd *pw =
	    d->uid == 0 && geteuid() == 0 ? getpwnam("budd") : NULL;

	return pw != NULL ? pw->pw_uid : d->uid;
}

void
daemon_prepare(struct daemon *d, const char *config)
{
	snprintf(d->dir, sizeof(d->dir), "%s/XXXXXX", base);
	ck_assert_ptr_nonnull(mkdtemp(d->dir));
	ck_assert_int_eq(chmod(d->dir, 0755), 0);
	snprintf(d->config, sizeof(d->config), "%s/budd.conf", d->dir);
	snprintf(d->socket, sizeof(d->socket), "%s/budd.sock", d->dir);
	snprintf(d->status, sizeof(d->status), "%s/status.sock", d->dir);
	snprintf(d->pid, sizeof(d->pid), "%s/budd.pid", d->dir);
	snprintf(d->log, sizeof(d->log), "%s/log", d->dir);
	daemon_configure(d, config);
	if (owner_of(d) != 0)
		ck_assert_int_eq(chown(d->dir, owner_of(d), (gid_t)-1), 0);
}

void
daemon_remove(struct daemon *d)
{
	unlink(d->config);
	unlink(d->log);
	ck_assert_msg(
	    rmdir(d->dir) == 0, "%s: budd left something: %s", d->dir, strerror(errno));
	memset(d, 0, sizeof(*d));
}

static void
print_leftover(const char *dir)
{
	static const char *const names[] = { "budd.conf", "log", "budd.sock",
		"status.sock", "budd.pid" };
	char path[600];
	char *text;

	for (size_t i = 0; i < SIZEOF_ARRAY(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		if (i < 2) {
			text = read_all(path);
			printf("--- %s\n%s", path, text);
			free(text);
		}
		unlink(path);
	}
	rmdir(dir);
}

/* What a service manager told whoever has started us is not for our budds. */
static void
forget_the_manager(void)
{
	static const char *const names[] = { "NOTIFY_SOCKET", "WATCHDOG_USEC",
		"WATCHDOG_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "FDSTORE",
		"JOURNAL_STREAM", "MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE" };

	for (size_t i = 0; i < SIZEOF_ARRAY(names); i++)
		unsetenv(names[i]);
}

int
daemon_suite(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	const struct dirent *e;
	char path[512];
	int failed;
	DIR *dir;

	forget_the_manager();
	umask(umask(0) & 022); /* other users are to read what we write */
	if (mkdtemp(base) == NULL || chmod(base, 0755) == -1)
		err(EXIT_FAILURE, "%s", base);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);

	dir = opendir(base);
	while (dir != NULL && (e = readdir(dir)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", base, e->d_name);
		print_leftover(path);
	}
	if (dir != NULL)
		closedir(dir);
	rmdir(base);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* --- Starting --- */

/* Opened before a user who may not walk to it is taken on. */
static int
open_budd(const struct daemon *d)
{
	const char *dir = getenv("BUD_BUILD");
	const char *program = d->program != NULL ? d->program : "budd";
	char path[512];
	int fd, high;

	snprintf(path, sizeof(path), "%s/%s", dir != NULL ? dir : ".", program);
	fd = open(path, O_PATH | O_CLOEXEC);
	ck_assert_msg(
	    fd != -1, "%s: %s (BUD_BUILD names its directory)", path, strerror(errno));
	high = fcntl(fd, F_DUPFD_CLOEXEC, BUDD_FD); /* out of in_child()'s way */
	ck_assert_int_ne(high, -1);
	close(fd);
	return high;
}

static void
become(const struct daemon *d)
{
	struct rlimit limit = { d->memlock, d->memlock };

	if (d->memlock != 0 && setrlimit(RLIMIT_MEMLOCK, &limit) == -1)
		_exit(127);
	if (d->uid == 0)
		return;
	/* Its leak checker may not look into a process that is not dumpable. */
	setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
	if (setgid(d->uid) == -1 || setuid(d->uid) == -1)
		_exit(127);
}

static pid_t
spawn(const struct daemon *d, char *const *argv, int out)
{
	int budd = open_budd(d);
	pid_t pid = test_fork();

	if (pid == 0) {
		dup2(out, STDOUT_FILENO);
		dup2(out, STDERR_FILENO);
		if (d->in_child != NULL)
			d->in_child(d->in_child_arg);
		become(d);
		fexecve(budd, argv, environ);
		dprintf(STDERR_FILENO, "exec: %s\n", strerror(errno));
		_exit(127);
	}
	close(budd);
	return pid;
}

static bool
has_ended(pid_t pid, int *statusp)
{
	return waitpid(pid, statusp, WNOHANG) == pid;
}

static int
connect_status(const struct daemon *d)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ne(fd, -1);
	strcpy(a.sun_path, d->status);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
		return fd;
	close(fd);
	return -1;
}

void
daemon_launch(struct daemon *d)
{
	char *argv[] = { (char[]){ "budd" }, (char[]){ "-d" }, (char[]){ "-f" },
		d->config, (char[]){ "-s" }, d->socket, (char[]){ "-S" }, d->status,
		NULL };
	int log = open(d->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	int64_t until = now_ms() + PATIENCE_MS;
	int fd, status;

	ck_assert_int_ne(log, -1);
	d->keeper = spawn(d, argv, log);
	close(log);
	while ((fd = connect_status(d)) == -1) {
		ck_assert_msg(!has_ended(d->keeper, &status) && now_ms() < until,
		    "budd does not start: see its log");
		nap();
	}
	close(fd);
	cJSON_Delete(daemon_status(d)); /* the arbiter answers: it serves */
}

void
daemon_start(struct daemon *d, const char *config)
{
	daemon_prepare(d, config);
	daemon_launch(d);
}

int
daemon_run(const struct daemon *d, char *out, size_t size, ...)
{
	char *argv[ARGS_MAX] = { (char[]){ "budd" } };
	int pipes[2], status = -1;
	size_t n = 0, argc = 1;
	int64_t until = now_ms() + STOP_MS;
	va_list ap;
	ssize_t got;
	pid_t pid;

	va_start(ap, size);
	while (argc + 1 < ARGS_MAX && (argv[argc] = va_arg(ap, char *)) != NULL)
		argc++;
	va_end(ap);
	ck_assert_int_eq(pipe2(pipes, O_CLOEXEC), 0);
	pid = spawn(d, argv, pipes[1]);
	close(pipes[1]);
	for (;;) {
		struct pollfd p = { .fd = pipes[0], .events = POLLIN };

		if (now_ms() >= until || poll(&p, 1, STOP_MS) != 1)
			kill(pid, SIGKILL);
		got = read(pipes[0], out + n, size - n - 1);
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	out[n] = '\0';
	close(pipes[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* --- Stopping --- */

static void
expect_clean_log(const struct daemon *d)
{
	static const char *const bad[] = { "Sanitizer", "runtime error", "ssertion",
		"makes no sense", "does not take a message" };

	for (size_t i = 0; i < SIZEOF_ARRAY(bad); i++)
		ck_assert_msg(
		    !daemon_log_contains(d, bad[i]), "the log says \"%s\"", bad[i]);
	if (!d->may_restart)
		ck_assert_msg(
		    !daemon_log_contains(d, "the arbiter (pid"), "an arbiter died");
}

void
daemon_end(struct daemon *d)
{
	int64_t until = now_ms() + STOP_MS;
	int status;

	ck_assert_int_eq(kill(d->keeper, SIGTERM), 0);
	while (!has_ended(d->keeper, &status)) {
		ck_assert_msg(now_ms() < until, "budd does not end");
		nap();
	}
	d->keeper = 0;
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0,
	    "budd ended with wait status %#x", (unsigned int)status);
	expect_clean_log(d);
}

void
daemon_stop(struct daemon *d)
{
	daemon_end(d);
	daemon_remove(d);
}

/* --- The arbiter --- */

static pid_t
parent_of(pid_t pid)
{
	char path[32], line[512] = "";
	const char *after;
	int parent = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if ((f = fopen(path, "re")) == NULL)
		return 0;
	if (fgets(line, sizeof(line), f) != NULL &&
	    (after = strrchr(line, ')')) != NULL)
		sscanf(after, ") %*c %d", &parent);
	fclose(f);
	return parent;
}

pid_t
daemon_arbiter(const struct daemon *d)
{
	DIR *proc = opendir("/proc");
	const struct dirent *e;
	pid_t found = 0;

	ck_assert_ptr_nonnull(proc);
	while (found == 0 && (e = readdir(proc)) != NULL) {
		pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);

		if (pid > 0 && parent_of(pid) == d->keeper)
			found = pid;
	}
	closedir(proc);
	return found;
}

void
daemon_kill_arbiter(struct daemon *d)
{
	double restarts = daemon_figure(d, "restarts");
	pid_t arbiter = daemon_arbiter(d);

	ck_assert_int_gt(arbiter, 0);
	d->may_restart = true;
	ck_assert_int_eq(kill(arbiter, SIGKILL), 0);
	eventually(daemon_figure(d, "restarts") > restarts);
}

/* --- The status --- */

static char *
receive_all(int fd)
{
	size_t size = 0, room = 65536;
	char *text = malloc(room);
	ssize_t n;

	ck_assert_ptr_nonnull(text);
	while ((n = read(fd, text + size, room - size - 1)) > 0) {
		size += (size_t)n;
		if (size + 1 == room)
			ck_assert_ptr_nonnull(text = realloc(text, room *= 2));
	}
	text[size] = '\0';
	return text;
}

/* NULL: the arbiter died with our question. */
static cJSON *
ask_status(const struct daemon *d)
{
	static const char request[] =
	    "GET /v1/status HTTP/1.1\r\nHost: bud\r\nConnection: close\r\n\r\n";
	const struct timeval longest = { .tv_sec = PATIENCE_MS / 1000 };
	int fd = connect_status(d);
	const char *body;
	char *text;
	cJSON *json;

	ck_assert_msg(fd != -1, "%s: %s", d->status, strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &longest, sizeof(longest));
	if (send(fd, request, strlen(request), MSG_NOSIGNAL) !=
	    (ssize_t)strlen(request)) {
		close(fd);
		return NULL;
	}
	text = receive_all(fd);
	close(fd);
	body = strstr(text, "\r\n\r\n");
	json = body != NULL ? cJSON_Parse(body + 4) : NULL;
	free(text);
	return json;
}

cJSON *
daemon_status(const struct daemon *d)
{
	cJSON *json;

	eventually((json = ask_status(d)) != NULL);
	return json;
}

double
daemon_figure(const struct daemon *d, const char *path)
{
	cJSON *json = daemon_status(d), *at = json;
	char word[64];
	double value;
	size_t n;

	for (const char *p = path; *p != '\0' && at != NULL;
	     p += p[n] == '.' ? n + 1 : n) {
		n = strcspn(p, ".");
		snprintf(word, sizeof(word), "%.*s", (int)n, p);
		at = cJSON_IsArray(at) ? cJSON_GetArrayItem(at, atoi(word))
				       : cJSON_GetObjectItem(at, word);
	}
	value = cJSON_IsNumber(at) ? at->valuedouble : -1;
	cJSON_Delete(json);
	return value;
}

/* --- What a process holds --- */

unsigned int
process_fds(pid_t pid)
{
	char path[32];
	unsigned int n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	if ((dir = opendir(path)) == NULL)
		return 0;
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

unsigned int
process_maps(pid_t pid, const char *word)
{
	char path[32], line[512];
	unsigned int n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	if ((f = fopen(path, "re")) == NULL)
		return 0;
	while (fgets(line, sizeof(line), f) != NULL)
		n += strstr(line, word) != NULL;
	fclose(f);
	return n;
}

uint64_t
process_locked(pid_t pid)
{
	char path[32], line[256];
	uint64_t kib = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if ((f = fopen(path, "re")) == NULL)
		return 0;
	while (fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "VmLck: %" SCNu64, &kib) == 1)
			break;
	fclose(f);
	return kib * 1024;
}

uint64_t
daemon_locked(const struct daemon *d)
{
	return process_locked(d->keeper);
}

static void
look(const struct daemon *d, struct daemon_snapshot *s)
{
	pid_t arbiter = daemon_arbiter(d);

	/* It closes a status connection when the next one comes: leave one each time. */
	cJSON_Delete(daemon_status(d));
	*s = (struct daemon_snapshot){
		.keeper_fds = process_fds(d->keeper),
		.keeper_maps = process_maps(d->keeper, "memfd:bud"),
		.arbiter_fds = process_fds(arbiter),
		.arbiter_maps = process_maps(arbiter, "memfd:bud"),
		.locked = process_locked(d->keeper) + process_locked(arbiter),
	};
}

static bool
same(const struct daemon_snapshot *a, const struct daemon_snapshot *b)
{
	return a->keeper_fds == b->keeper_fds && a->keeper_maps == b->keeper_maps &&
	       a->arbiter_fds == b->arbiter_fds && a->arbiter_maps == b->arbiter_maps &&
	       a->locked == b->locked;
}

/* One that holds for a while: what was closed may be on its way out. */
void
daemon_snapshot(const struct daemon *d, struct daemon_snapshot *s)
{
	struct daemon_snapshot now;
	unsigned int times = 0;

	for (look(d, s); times < 10; nap()) {
		look(d, &now);
		times = same(s, &now) ? times + 1 : 0;
		*s = now;
	}
}

void
daemon_expect_same(const struct daemon *d, const struct daemon_snapshot *before)
{
	int64_t until = now_ms() + PATIENCE_MS;
	struct daemon_snapshot now;

	for (look(d, &now); !same(before, &now); look(d, &now)) {
		ck_assert_msg(now_ms() < until,
		    "budd holds more than before: keeper %u for %u descriptors, %u for "
		    "%u mappings; arbiter %u for %u, %u for %u; locked %" PRIu64
		    " for %" PRIu64 " bytes",
		    now.keeper_fds, before->keeper_fds, now.keeper_maps,
		    before->keeper_maps, now.arbiter_fds, before->arbiter_fds,
		    now.arbiter_maps, before->arbiter_maps, now.locked, before->locked);
		nap();
	}
}

uint64_t
pool_locked(uint64_t wall_max, uint64_t pinned)
{
	return pinned + ledger_resident((uint32_t)(wall_max / CHUNK_SIZE),
			    (uint32_t)(pinned / CHUNK_SIZE));
}
