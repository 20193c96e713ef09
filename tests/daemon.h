/* SPDX-License-Identifier: ISC */

/*
 * A budd of the test's own: the real binary, in a private directory, with sockets and a
 * log there. What the tests know of it comes from outside: /proc, the log, the status
 * socket. Nothing sleeps for a fixed time; whatever takes a while is asked for again until
 * it is so (eventually()).
 *
 * Failures are Check's. A test that fails leaves its directory (and Check kills its budd);
 * daemon_suite() prints the logs it finds.
 */
#ifndef TESTS_DAEMON_H
#define TESTS_DAEMON_H

#include <check.h>
#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define NOBODY          65534 /* a user who owns nothing */
#define PATIENCE_MS     30000 /* until what is to come counts as never coming */
#define STOP_MS         30000 /* that budd may take to end */
#define KIB             1024ul
#define MIB             (1024 * KIB)
#define SIZEOF_ARRAY(a) (sizeof(a) / sizeof((a)[0]))

struct daemon {
	/* What and as whom; set before daemon_start(). */
	const char *program; /* in the build's directory; NULL: budd */
	uid_t uid;           /* 0: as we are */
	uint64_t memlock;    /* RLIMIT_MEMLOCK, bytes; 0: as ours */
	void (*in_child)(
	    void *arg); /* called just before budd is, or NULL; see manager.c */
	void *in_child_arg;
	/* What came of it. */
	char dir[32];
	char config[64];
	char socket[64];
	char status[64];
	char pid[64];
	char log[64];
	pid_t keeper;     /* 0: not running */
	bool may_restart; /* an arbiter's death is the test's doing */
};

/** daemon_start() - start budd with this text as its budd.conf; it serves on return */
void daemon_start(struct daemon *d, const char *config);
/** daemon_stop() - SIGTERM: status 0 within STOP_MS, nothing left, and no word of a
 * sanitizer, of an assertion or of a dead arbiter in the log */
void daemon_stop(struct daemon *d);
/** daemon_prepare() - the directory and budd.conf only */
void daemon_prepare(struct daemon *d, const char *config);
/** daemon_launch() - budd in a directory that is there (again) */
void daemon_launch(struct daemon *d);
/** daemon_end() - the SIGTERM and its checks, but the directory stays */
void daemon_end(struct daemon *d);
/** daemon_remove() - the directory, in which nothing of budd's may be left */
void daemon_remove(struct daemon *d);
/** daemon_configure() - write budd.conf anew */
void daemon_configure(struct daemon *d, const char *config);
/** daemon_run() - run budd with these arguments, up to a NULL, until it ends
 * @out:	receives what it prints to stdout and stderr
 * Return: its exit status; -1 if a signal ended it, or STOP_MS passed */
int daemon_run(const struct daemon *d, char *out, size_t size, ...)
    __attribute__((sentinel));
/** daemon_suite() - run a suite; then print and remove what failed tests left
 * Return: main()'s exit status */
int daemon_suite(Suite *suite);

pid_t daemon_arbiter(const struct daemon *d);
/** daemon_kill_arbiter() - SIGKILL; returns once another one serves */
void daemon_kill_arbiter(struct daemon *d);
/** daemon_log_contains() - by now, in any of its lines */
bool daemon_log_contains(const struct daemon *d, const char *text);

/* The status. */

/** daemon_status() - GET /v1/status; the caller deletes it */
cJSON *daemon_status(const struct daemon *d);
/** daemon_figure() - one number of it: "host.pinned", "pools.0.counters.grants" */
double daemon_figure(const struct daemon *d, const char *path);

/* What budd holds. Where we may not look (we are not root) a count is 0. */
struct daemon_snapshot {
	unsigned int keeper_fds;
	unsigned int keeper_maps; /* of memfds of budd's */
	unsigned int arbiter_fds;
	unsigned int arbiter_maps;
	uint64_t locked; /* VmLck of keeper and arbiter, bytes */
};

uint64_t daemon_locked(const struct daemon *d);
void daemon_snapshot(const struct daemon *d, struct daemon_snapshot *s);
/** daemon_expect_same() - budd comes to hold what it held at @before */
void daemon_expect_same(const struct daemon *d, const struct daemon_snapshot *before);
/** pool_locked() - bytes that budd locks for a pool of @wall_max with @pinned */
uint64_t pool_locked(uint64_t wall_max, uint64_t pinned);

/* Of any process. */
unsigned int process_fds(pid_t pid);
unsigned int process_maps(pid_t pid, const char *word);
uint64_t process_locked(pid_t pid);

/* Time. */
int64_t now_ms(void);
void nap(void); /* a millisecond */

/** eventually() - @cond comes true, within PATIENCE_MS */
#define eventually(cond)                                                      \
	do {                                                                  \
		int64_t until_ = now_ms() + PATIENCE_MS;                      \
		while (!(cond)) {                                             \
			ck_assert_msg(now_ms() < until_, "never: %s", #cond); \
			nap();                                                \
		}                                                             \
	} while (0)

/** skip() - say aloud what is not tested; true, for use in a condition */
bool skip(const char *reason);
/** need_root() - false, aloud, if we are not root */
bool need_root(void);
/** soak_s() - BUD_SOAK, how long a stress lasts */
double soak_s(void);

#endif
