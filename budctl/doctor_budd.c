/* SPDX-License-Identifier: ISC */

/* budd, its sockets, who may use them, and its clients. */
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "budctl/doctor.h"
#include "budctl/fields.h"
#include "budctl/human.h"

#define PATH_BYTES 512

static const cJSON *
part(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key);
}

/* --- Sockets --- */

static const char *
client_socket(void)
{
	const char *path = getenv("BUD_SOCKET");

	return path != NULL && path[0] != '\0' ? path : BUD_SOCKET_PATH;
}

/* 0, or the errno of connecting; a connection that says nothing costs budd nothing. */
static int
try_socket(const char *path, int type)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int sock, error = 0;

	if (strlcpy(a.sun_path, path, sizeof(a.sun_path)) >= sizeof(a.sun_path))
		return ENAMETOOLONG;
	if ((sock = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) == -1)
		return errno;
	if (connect(sock, (struct sockaddr *)&a, sizeof(a)) == -1)
		error = errno;
	close(sock);
	return error;
}

static void
find_socket(struct doctor *d, const char *what, const char *path, int type,
    const char *remedy_of_right)
{
	int error = try_socket(path, type);
	struct stat st;

	if (error == 0 && stat(path, &st) == 0)
		doctor_find(d, what, VERDICT_OK, NULL,
		    "%s takes connections, mode %04o", path, st.st_mode & 07777);
	else if (error == EACCES || error == EPERM)
		doctor_find(d, what, VERDICT_WARNING, remedy_of_right,
		    "%s: this user may not connect", path);
	else
		doctor_find(d, what, error == ENOENT ? VERDICT_WARNING : VERDICT_FAULT,
		    "systemctl start budd; or name the socket (-S, BUD_SOCKET)",
		    "%s: %s", path, strerror(error));
}

/* --- Users and groups --- */

static bool
is_member(const struct group *g)
{
	gid_t groups[256];
	int n = getgroups(256, groups);

	for (int i = 0; i < n; i++)
		if (groups[i] == g->gr_gid)
			return true;
	return getegid() == g->gr_gid;
}

static void
find_group(struct doctor *d)
{
	const struct group *g = getgrnam("budadm");

	if (g == NULL)
		doctor_find(d, "group budadm", VERDICT_WARNING,
		    "systemd-sysusers, or groupadd --system budadm",
		    "not there: only root may tune");
	else if (geteuid() == 0 || is_member(g))
		doctor_find(d, "group budadm", VERDICT_OK, NULL, "this user may tune");
	else
		doctor_find(d, "group budadm", VERDICT_WARNING,
		    "adduser USER budadm, and log in again",
		    "this user is no member: set and release are for others");
}

static void
find_user(struct doctor *d)
{
	if (getpwnam("budd") != NULL)
		doctor_find(
		    d, "user budd", VERDICT_OK, NULL, "budd has a user of its own");
	else
		doctor_find(d, "user budd", VERDICT_WARNING,
		    "systemd-sysusers, or useradd -r budd",
		    "not there: budd keeps the user that starts it");
}

/* --- budd itself --- */

static void
find_budd(struct doctor *d)
{
	const char *version = field_text(d->status, "version");
	uint64_t restarts = field_number(d->status, "restarts");

	if (d->status == NULL) {
		doctor_find(d, "budd", VERDICT_WARNING, "systemctl start budd",
		    "does not answer; its limits are not looked at");
		return;
	}
	doctor_find(d, "budd",
	    strcmp(version, PACKAGE_VERSION) == 0 ? VERDICT_OK : VERDICT_WARNING,
	    "restart budd: systemctl restart budd keeps all pools",
	    "version %s, pid %" PRIu64 ", up %s; budctl is %s", version,
	    field_number(d->status, "pid"),
	    human_seconds(field_real(d->status, "uptime_s")).text, PACKAGE_VERSION);
	if (restarts > 0)
		doctor_find(d, "arbiter", VERDICT_WARNING,
		    "journalctl -u budd tells why",
		    "another took over %" PRIu64
		    " times: it had died, or budd was restarted",
		    restarts);
}

static void
find_pools(struct doctor *d)
{
	const cJSON *host = part(d->status, "host"), *pool;
	uint64_t foreign = field_number(host, "foreign"), unlocked = 0, failed = 0;
	char command[64];

	if (foreign > 0)
		doctor_find(d, "old pools", VERDICT_WARNING, "restart their processes",
		    "%" PRIu64 " pools of a budd with another layout: they cannot grow",
		    foreign);
	cJSON_ArrayForEach (pool, part(d->status, "pools")) {
		unlocked += field_number(part(pool, "audit"), "unlocked");
		failed += field_number(part(pool, "audit"), "failed");
		snprintf(command, sizeof(command), "budctl explain %" PRIu64,
		    field_number(pool, "id"));
		if (field_number(part(pool, "queue"), "oldest_ms") >= 1000)
			doctor_find(d, "waiting", VERDICT_WARNING, command,
			    "pool %" PRIu64 " '%s' waits since %s",
			    field_number(pool, "id"), field_text(pool, "name"),
			    human_seconds(
				field_real(part(pool, "queue"), "oldest_ms") / 1000)
				.text);
	}
	if (d->status != NULL)
		doctor_find(d, "audit",
		    failed > 0     ? VERDICT_FAULT
		    : unlocked > 0 ? VERDICT_WARNING
				   : VERDICT_OK,
		    "a client punches holes into its memory: budctl show POOL --json "
		    "has "
		    "the pool's audit",
		    "pages that were found unlocked: %" PRIu64
		    ", slices that could not be locked again: %" PRIu64,
		    unlocked, failed);
}

/* --- libbud in the clients --- */

#define VERSIONS_MAX 8u

struct versions {
	struct {
		char name[64]; /* of the file */
		unsigned int count;
		bool deleted;
	} one[VERSIONS_MAX];
	unsigned int count;
	unsigned int
	    unknown; /* clients that may not be looked into, or link it statically */
};

static void
count_version(struct versions *v, const char *name, bool deleted)
{
	unsigned int i;

	for (i = 0; i < v->count; i++)
		if (strcmp(v->one[i].name, name) == 0 && v->one[i].deleted == deleted)
			break;
	if (i == VERSIONS_MAX) {
		v->unknown++;
		return;
	}
	if (i == v->count) {
		v->count++;
		snprintf(v->one[i].name, sizeof(v->one[i].name), "%s", name);
		v->one[i].deleted = deleted;
	}
	v->one[i].count++;
}

/* Lines of /proc/PID/maps end in a path, and in " (deleted)" where an upgrade replaced it. */
static bool
look_into(struct versions *v, uint64_t pid)
{
	char path[64], line[PATH_BYTES * 2];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%" PRIu64 "/maps", pid);
	if ((f = fopen(path, "re")) == NULL)
		return false;
	while (!found && fgets(line, sizeof(line), f) != NULL) {
		char *name = strrchr(line, '/'), *end = strstr(line, " (deleted)");

		if (name == NULL || (strncmp(name, "/libbud.so", 10) != 0 &&
					strncmp(name, "/libbud-preload.so", 18) != 0))
			continue;
		found = true;
		name[strcspn(name, " \n")] = '\0';
		count_version(v, name + 1, end != NULL);
	}
	fclose(f);
	return found;
}

static void
find_libraries(struct doctor *d)
{
	struct versions v = { .count = 0 };
	const cJSON *pool;

	cJSON_ArrayForEach (pool, part(d->status, "pools"))
		v.unknown += !look_into(&v, field_number(pool, "pid"));
	for (unsigned int i = 0; i < v.count; i++)
		doctor_find(d, "libbud",
		    v.one[i].deleted ? VERDICT_WARNING : VERDICT_OK,
		    "restart these clients: they run a library that was replaced since",
		    "%s%s: pools %u", v.one[i].name,
		    v.one[i].deleted ? ", which was replaced," : "", v.one[i].count);
	if (v.unknown > 0)
		doctor_find(d, "libbud", VERDICT_OK, NULL,
		    "pools whose process may not be looked into, or has no libbud.so: "
		    "%u",
		    v.unknown);
}

void
doctor_budd(struct doctor *d)
{
	find_budd(d);
	find_socket(d, "status socket", d->options->socket, SOCK_STREAM,
	    "ask for the group budadm, or that of [status] in budd.conf");
	find_socket(d, "client socket", client_socket(), SOCK_SEQPACKET,
	    "SocketMode= of budd.socket lets clients in");
	find_user(d);
	find_group(d);
	find_pools(d);
	find_libraries(d);
}
