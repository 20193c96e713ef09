/* SPDX-License-Identifier: ISC */

/* Clients of several users. */
#include "tests/peers.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define GROUPS_MAX 1024

void
peer_become(const struct peer *p)
{
	gid_t groups[GROUPS_MAX];
	size_t n = 0;

	must(p->before < GROUPS_MAX);
	for (; n < p->before; n++)
		groups[n] = (gid_t)(30000 + n);
	if (p->group != 0)
		groups[n++] = p->group;
	must(setgroups(n, groups) == 0);
	must(setresgid(p->gid, p->gid, p->gid) == 0);
	must(setresuid(p->uid, p->uid, p->uid) == 0);
	must(prctl(PR_SET_DUMPABLE, 1) == 0); /* as who logged in is */
}

/* --- budd --- */

static char passwd[40];
static char group[40];

static void
write_file(char *path, size_t size, const char *text)
{
	int fd;

	snprintf(path, size, "/tmp/bud-names-XXXXXX");
	ck_assert_int_ne(fd = mkstemp(path), -1);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	ck_assert_int_eq(fchmod(fd, 0644), 0);
	close(fd);
}

static void
write_names(void)
{
	char text[512];

	snprintf(text, sizeof(text),
	    "root:x:0:0::/root:/bin/sh\n"
	    "budd:x:%d:%d::/:/usr/sbin/nologin\n"
	    "ann:x:%d:%d::/:/usr/sbin/nologin\n",
	    PEER_BUDD, PEER_BUDD, PEER_ANN, PEER_ANN);
	write_file(passwd, sizeof(passwd), text);
	snprintf(text, sizeof(text),
	    "root:x:0:\nbudd:x:%d:\nfriends:x:%d:\nwatchers:x:%d:\nbudadm:x:%d:\n",
	    PEER_BUDD, PEER_FRIENDS, PEER_WATCHERS, PEER_BUDADM);
	write_file(group, sizeof(group), text);
}

/* In the child that becomes budd, and nowhere else. */
static void
know_names(void *arg)
{
	(void)arg;
	/* Its leak checker may not look into who has changed its user. */
	setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
	if (unshare(CLONE_NEWNS) == -1 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1 ||
	    mount(passwd, "/etc/passwd", NULL, MS_BIND, NULL) == -1 ||
	    mount(group, "/etc/group", NULL, MS_BIND, NULL) == -1)
		_exit(126);
}

void
peers_start(struct daemon *d, const char *config)
{
	*d = (struct daemon){ .in_child = know_names };
	write_names();
	daemon_prepare(d, config);
	ck_assert_int_eq(chown(d->dir, PEER_BUDD, PEER_BUDD), 0);
	daemon_launch(d);
}

void
peers_stop(struct daemon *d)
{
	daemon_stop(d);
	unlink(passwd);
	unlink(group);
}

void
peers_enter(struct daemon *d, const char *config, struct daemon_snapshot *before)
{
	if (geteuid() != 0)
		return;
	peers_start(d, config);
	daemon_snapshot(d, before);
}

void
peers_leave(struct daemon *d, const struct daemon_snapshot *before)
{
	if (geteuid() != 0)
		return;
	daemon_expect_same(d, before);
	peers_stop(d);
}
