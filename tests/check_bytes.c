/* SPDX-License-Identifier: ISC */

/*
 * No client sees another's bytes: not through /proc, not through a descriptor that it kept
 * or was given, not in memory that was another's before. Processes of real users, and a
 * budd that runs as its own.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include "proto/ledger.h"
#include "proto/wire.h"
#include "tests/host_setting.h"
#include "tests/peers.h"
#include "tests/raw.h"

#define WALL   (6 * MIB)
#define BASE   (2 * MIB)
#define BUFFER (256 * KIB)
#define LEDGER (ledger_size((uint32_t)(WALL / CHUNK_SIZE)))
#define CONFIG                                                                    \
	"[host]\ntick = 5ms\nrelease_period = 10ms\nidle = 5ms\n"                 \
	"[pool whole]\nbase = 6M\nwall = 6M\nwall_max = 6M\n"                     \
	"[pool default]\nbase = 2M\nadd = 2M\nwall = 6M\nwall_max = 6M\n"         \
	"[pool thp]\nheap = thp\nbase = 2M\nadd = 2M\nwall = 6M\nwall_max = 6M\n" \
	"[pool huge]\nheap = huge\nbase = 2M\nadd = 2M\nwall = 6M\n"

static const struct peer ann = { "ann", PEER_ANN, PEER_ANN, 0, 0 };
static const struct peer bob = { "bob", PEER_BOB, PEER_BOB, 0, 0 };
static const struct peer budd = { "budd", PEER_BUDD, PEER_BUDD, 0, 0 };

static struct daemon d;
static struct daemon_snapshot before;
static bool may_set;

static void
begin(void)
{
	may_set = geteuid() == 0 && host_setting_begin();
}

static void
enter(void)
{
	peers_enter(&d, CONFIG, &before);
}

static void
leave(void)
{
	peers_leave(&d, &before);
}

/* --- Words --- */

#define ANNS  UINT64_C(0x616e6e616e6e616e)
#define BOBS  UINT64_C(0x626f62626f62626f)
#define HEIRS UINT64_C(0x6865697273686569)

static void
fill(void *at, size_t size, uint64_t word)
{
	for (uint64_t *p = at; size > 0; size -= sizeof(*p))
		*p++ = word;
}

static bool
all_are(const void *at, size_t size, uint64_t word)
{
	for (const uint64_t *p = at; size > 0; size -= sizeof(*p))
		if (*p++ != word)
			return false;
	return true;
}

static bool
one_is(const void *at, size_t size, uint64_t word)
{
	for (const uint64_t *p = at; size > 0; size -= sizeof(*p))
		if (*p++ == word)
			return true;
	return false;
}

/* A pool that was grown to its wall. */
struct owner {
	struct bud_pool *pool;
	void *bufs[WALL / BUFFER];
	size_t n;
};

/* All of what it gets is @was before, or new, as a block is that went meanwhile; and @word
 * after. */
static void
take_all(struct owner *o, uint64_t was, uint64_t word)
{
	void *buf;

	while (o->n < SIZEOF_ARRAY(o->bufs) &&
	       (buf = bud_alloc(o->pool, BUFFER, PATIENCE_MS)) != NULL) {
		must(all_are(buf, BUFFER, was) || all_are(buf, BUFFER, 0));
		fill(buf, BUFFER, word);
		o->bufs[o->n++] = buf;
	}
	must(o->n == SIZEOF_ARRAY(o->bufs));
}

static void
give_all(struct owner *o)
{
	while (o->n > 0)
		bud_free(o->pool, o->bufs[--o->n]);
}

/* Where libbud has mapped the ledger of our only pool. */
static void *
find_ledger(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];
	void *at = NULL;

	must(f != NULL);
	while (at == NULL && fgets(line, sizeof(line), f) != NULL)
		if (strstr(line, "memfd:bud-ledger") != NULL)
			must(sscanf(line, "%p", &at) == 1);
	fclose(f);
	must(at != NULL);
	return at;
}

/* --- By way of /proc, and of what else shows a process to others --- */

static void
must_be_denied(long r)
{
	must(r == -1 && (errno == EACCES || errno == EPERM));
}

static void
open_all_of(pid_t pid)
{
	static const char *const files[] = { "mem", "maps", "smaps", "pagemap", "fd",
		"map_files", "environ", "exe", "cwd", "root" };
	static const int how[] = { O_RDONLY, O_RDWR };
	char path[64];

	for (size_t k = 0; k < SIZEOF_ARRAY(how); k++)
		for (int fd = 0; fd < 64; fd++) {
			snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
			must_be_denied(open(path, how[k]));
			snprintf(path, sizeof(path), "/proc/%d/task/%d/fd/%d", (int)pid,
			    (int)pid, fd);
			must_be_denied(open(path, how[k]));
		}
	for (size_t i = 0; i < SIZEOF_ARRAY(files); i++) {
		snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, files[i]);
		errno = 0;
		if (strcmp(files[i], "fd") == 0 || strcmp(files[i], "map_files") == 0)
			must_be_denied(opendir(path) != NULL ? 0 : -1);
		else if (strcmp(files[i], "maps") == 0 ||
			 strcmp(files[i], "smaps") == 0 ||
			 strcmp(files[i], "pagemap") == 0 ||
			 strcmp(files[i], "mem") == 0 ||
			 strcmp(files[i], "environ") == 0)
			must_be_denied(open(path, O_RDONLY));
		else
			must_be_denied(readlink(path, (char[8]){ 0 }, 8));
	}
}

static void
reach_into(pid_t pid)
{
	char here[8] = "";
	struct iovec local = { here, sizeof(here) };
	struct iovec remote = { (void *)(uintptr_t)0x10000, sizeof(here) };
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

	open_all_of(pid);
	must_be_denied(ptrace(PTRACE_SEIZE, pid, NULL, NULL));
	must_be_denied(process_vm_readv(pid, &local, 1, &remote, 1, 0));
	must_be_denied(process_vm_writev(pid, &local, 1, &remote, 1, 0));
	must(pidfd != -1);
	for (int fd = 0; fd < 64; fd++)
		must_be_denied(syscall(SYS_pidfd_getfd, pidfd, fd, 0));
	close(pidfd);
	must_be_denied(kill(pid, SIGUSR1));
}

struct victims {
	const struct peer *by;
	pid_t pids[3];
	size_t n;
};

static void
reach_into_all(struct client *me, void *arg)
{
	const struct victims *v = arg;

	(void)me;
	peer_become(v->by);
	for (size_t i = 0; i < v->n; i++)
		reach_into(v->pids[i]);
}

static void
hold_words(struct client *me, void *arg)
{
	struct owner o = { .pool = NULL };

	peer_become(arg);
	o.pool = open_pool(&d, NULL);
	take_all(&o, 0, ANNS);
	client_say(me, "holds");
	client_wait(me, "end");
	for (size_t i = 0; i < o.n; i++)
		must(all_are(o.bufs[i], BUFFER, ANNS));
	bud_close(o.pool);
}

START_TEST(another_user_reaches_into_neither_client_nor_budd)
{
	struct client owner, thief;
	struct victims v = { .by = &bob };

	if (!need_root())
		return;
	client_run(&owner, hold_words, (void *)(uintptr_t)&ann);
	client_wait(&owner, "holds");
	v.pids[v.n++] = d.keeper;
	v.pids[v.n++] = daemon_arbiter(&d);
	v.pids[v.n++] = owner.pid;
	client_run(&thief, reach_into_all, &v);
	client_join(&thief);
	client_say(&owner, "end");
	client_join(&owner);
}
END_TEST

/* budd's user may signal budd, as anybody may his own; but not see anything. */
static void
open_all_of_all(struct client *me, void *arg)
{
	const struct victims *v = arg;

	(void)me;
	peer_become(v->by);
	for (size_t i = 0; i < v->n; i++) {
		open_all_of(v->pids[i]);
		must_be_denied(ptrace(PTRACE_SEIZE, v->pids[i], NULL, NULL));
	}
}

START_TEST(budds_own_user_sees_nothing_of_budd)
{
	struct victims v = { .by = &budd, .pids = { d.keeper, daemon_arbiter(&d) } };
	struct client owner, thief;

	if (!need_root())
		return;
	v.n = 2;
	client_run(&owner, hold_words, (void *)(uintptr_t)&ann);
	client_wait(&owner, "holds");
	client_run(&thief, open_all_of_all, &v);
	client_join(&thief);
	client_say(&owner, "end");
	client_join(&owner);
}
END_TEST

/* Who may trace a process can take its descriptors; but to open them anew is for budd. */
static void
open_anew(struct client *me, void *arg)
{
	static const int how[] = { O_RDONLY, O_WRONLY, O_RDWR };
	pid_t pid = *(pid_t *)arg;
	char path[64], link[64];
	unsigned int memfds = 0;
	ssize_t n;

	(void)me;
	peer_become(&ann);
	for (int fd = 0; fd < 1024; fd++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pid, fd);
		n = readlink(path, link, sizeof(link) - 1);
		link[n > 0 ? n : 0] = '\0';
		if (strstr(link, "memfd:bud-") == NULL)
			continue;
		memfds++;
		for (size_t i = 0; i < SIZEOF_ARRAY(how); i++)
			must_be_denied(open(path, how[i]));
	}
	must(memfds == 2);
}

static void
hold_descriptors(struct client *me, void *arg)
{
	struct raw r;

	(void)arg;
	peer_become(&ann);
	raw_open(&r, &d, "default");
	client_say(me, "holds");
	client_wait(me, "end");
	raw_close(&r);
}

START_TEST(a_process_of_the_same_user_opens_nothing_anew)
{
	struct client owner, other;

	if (!need_root())
		return;
	client_run(&owner, hold_descriptors, NULL);
	client_wait(&owner, "holds");
	client_run(&other, open_anew, &owner.pid);
	client_join(&other);
	client_say(&owner, "end");
	client_join(&owner);
}
END_TEST

/* --- What a client may do to a descriptor --- */

static void
twist(int fd, off_t size)
{
	static const int seals[] = { F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW,
		F_SEAL_WRITE, 0x10 /* F_SEAL_FUTURE_WRITE */, 0x20 /* F_SEAL_EXEC */ };
	static const int modes[] = { FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE,
		FALLOC_FL_ZERO_RANGE, FALLOC_FL_KEEP_SIZE };

	for (size_t i = 0; i < SIZEOF_ARRAY(seals); i++)
		must(fcntl(fd, F_ADD_SEALS, seals[i]) == -1);
	must(ftruncate(fd, 0) == -1 && ftruncate(fd, size - 1) == -1);
	must(ftruncate(fd, size + 1) == -1);
	must(fallocate(fd, 0, 0, size + 1) == -1);
	must(pwrite(fd, "x", 1, size) == -1);
	for (size_t i = 0; i < SIZEOF_ARRAY(modes); i++)
		fallocate(fd, modes[i], 0, 4096); /* as the kernel has it */
	must_be_denied(fchmod(fd, 0666));
	must_be_denied(fchown(fd, PEER_ANN, (gid_t)-1));
	/* The open file is shared with budd: its flags and its place are, too. */
	must(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK | O_ASYNC) == 0 ||
	     errno == EINVAL);
	must(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK) == 0);
	must(lseek(fd, INT64_MAX / 2, SEEK_SET) != -1 || errno == EINVAL);
	must(lseek(fd, size, SEEK_SET) == size);
	fcntl(fd, F_SETLEASE, F_WRLCK);
	fcntl(fd, F_SETOWN, d.keeper);
	fcntl(fd, F_SETLK, &(struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET });
}

static void
twist_descriptors(struct client *me, void *arg)
{
	struct raw r;

	(void)arg;
	peer_become(&ann);
	raw_open(&r, &d, "default");
	twist(r.memory, (off_t)WALL);
	twist(r.ledger, (off_t)LEDGER);
	must(raw_alloc(&r, 1, 4 * MIB, -1) && raw_alloc(&r, 2, 2 * MIB, -1));
	raw_expect(&r, PROTO_GRANT, 1);
	raw_expect(&r, PROTO_GRANT, 2);
	client_say(me, "has grown");
	client_wait(me, "go on");
	must(raw_say(&r, PROTO_DONE, 1) && raw_say(&r, PROTO_DONE, 2));
	client_wait(me, "end");
	must(!raw_has_ended(&r));
	raw_close(&r);
}

START_TEST(no_twist_of_a_descriptor_stops_growing_or_releasing)
{
	struct client c;

	if (!need_root())
		return;
	client_run(&c, twist_descriptors, NULL);
	client_wait(&c, "has grown");
	eventually(daemon_figure(&d, "pools.0.pinned") == WALL);
	client_say(&c, "go on");
	eventually(daemon_figure(&d, "pools.0.pinned") == BASE);
	client_say(&c, "end");
	client_join(&c);
}
END_TEST

/* --- Memory that was in use before --- */

static void
shrink_and_grow(struct client *me, void *arg)
{
	static char copy[WALL];
	struct owner o = { .pool = NULL };
	uint64_t offset;
	int fd, kept;

	(void)me;
	(void)arg;
	peer_become(&ann);
	o.pool = open_pool(&d, NULL);
	take_all(&o, 0, ANNS);
	must(bud_locate(o.pool, o.bufs[0], &fd, &offset) == 0);
	must((kept = dup(fd)) != -1);
	give_all(&o);
	while (stat_of(o.pool).pinned > BASE)
		nap();
	must(pread(kept, copy, WALL, 0) == (ssize_t)WALL);
	must(all_are(copy, BASE, ANNS)); /* it was never anybody else's */
	must(all_are(copy + BASE, WALL - BASE, 0));
	for (size_t i = 0; i < BASE / BUFFER; i++)
		must((o.bufs[i] = bud_alloc(o.pool, BUFFER, 0)) != NULL);
	o.n = BASE / BUFFER;
	take_all(&o, 0, ANNS);
	bud_close(o.pool);
	close(kept);
}

START_TEST(a_block_that_went_and_came_again_reads_as_zero)
{
	struct client c;

	if (!need_root())
		return;
	client_run(&c, shrink_and_grow, NULL);
	client_join(&c);
}
END_TEST

static void
write_and_stay(struct client *me, void *arg)
{
	struct owner o = { .pool = NULL };

	peer_become(&ann);
	o.pool = open_pool(&d, arg);
	take_all(&o, 0, ANNS);
	fill(find_ledger(), LEDGER, ANNS);
	client_say(me, "wrote");
	client_hear(me);
}

static void
search_all(struct client *me, void *arg)
{
	struct owner o = { .pool = NULL };

	(void)me;
	peer_become(&bob);
	o.pool = open_pool(&d, arg);
	take_all(&o, 0, BOBS);
	must(!one_is(find_ledger(), LEDGER, ANNS));
	bud_close(o.pool);
}

static const char *const heaps[] = { "default", "thp", "huge" };

/* Three pages of 2 MiB, which are all there are: whoever comes next has these very ones. */
static bool
has_heap(const char *heap)
{
	if (strcmp(heap, "huge") != 0)
		return true;
	if (!may_set || !host_setting_write(NR_HUGEPAGES, "3"))
		return !skip("heap huge: the settings of this host are not ours");
	return daemon_figure(&d, "host.large_pages.huge_free") == 3 ||
	       !skip("heap huge: this host can reserve no pages of 2 MiB");
}

START_TEST(what_a_dead_client_wrote_is_nowhere_in_the_next_ones_pool)
{
	char *heap = (char *)(uintptr_t)heaps[_i];
	struct client writer, reader;

	if (!need_root() || !has_heap(heap))
		return;
	for (int i = 0; i < 4; i++) {
		client_run(&writer, write_and_stay, heap);
		client_wait(&writer, "wrote");
		client_kill(&writer);
		eventually(daemon_locked(&d) == before.locked);
		client_run(&reader, search_all, heap);
		client_join(&reader);
		eventually(daemon_locked(&d) == before.locked);
	}
	if (strcmp(heap, "huge") == 0)
		host_setting_write(NR_HUGEPAGES, "0");
}
END_TEST

/* --- Descriptors that were kept, and passed on --- */

/* Ann gives all of her pool to bob, who outlives her. */
static void
pass_all_on(struct client *me, void *arg)
{
	const int *pair = arg;
	struct raw r;
	void *memory;

	peer_become(&ann);
	raw_open(&r, &d, "whole");
	memory = mmap(NULL, WALL, PROT_READ | PROT_WRITE, MAP_SHARED, r.memory, 0);
	must(memory != MAP_FAILED);
	fill(memory, WALL, ANNS);
	must(wire_send(pair[0], "x", 1, (int[]){ r.memory, r.ledger }, 2) == 0);
	client_say(me, "passed on");
	client_wait(me, "end");
}

static void
inherit(struct client *me, void *arg)
{
	const int *pair = arg;
	char *memory, *ledger, path[32], x;
	int fds[2];
	size_t n;

	peer_become(&bob);
	must(wire_recv(pair[1], &x, 1, &n, fds, 2) == 0);
	memory = mmap(NULL, WALL, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
	ledger = mmap(NULL, LEDGER, PROT_READ | PROT_WRITE, MAP_SHARED, fds[1], 0);
	must(memory != MAP_FAILED && ledger != MAP_FAILED);
	must(all_are(memory, WALL, ANNS)); /* she gave it to us */
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[i]);
		must_be_denied(open(path, O_RDWR));
		must_be_denied(open(path, O_RDONLY));
	}
	client_say(me, "has it");
	client_wait(me, "look");
	must(all_are(memory, WALL, 0)); /* it went when her pool did */
	must(all_are(ledger, LEDGER, 0));
	fill(memory, WALL, HEIRS);
	fill(ledger, LEDGER, HEIRS);
	client_say(me, "sees nothing");
	client_wait(me, "look");
	must(all_are(memory, WALL, HEIRS) && all_are(ledger, LEDGER, HEIRS));
	client_say(me, "sees nothing");
}

static void
come_next(struct client *me, void *arg)
{
	struct owner o = { .pool = NULL };

	(void)arg;
	peer_become(&(struct peer){ "carol", NOBODY, NOBODY, 0, 0 });
	o.pool = open_pool(&d, NULL);
	take_all(&o, 0, BOBS);
	client_say(me, "holds");
	client_wait(me, "again");
	for (size_t i = 0; i < o.n; i++)
		must(all_are(o.bufs[i], BUFFER, BOBS));
	give_all(&o);
	take_all(&o, BOBS, ANNS);
	client_say(me, "holds");
	client_wait(me, "end");
	bud_close(o.pool);
}

START_TEST(a_descriptor_that_was_passed_on_shows_nothing_of_the_next_pool)
{
	struct client giver, heir, next;
	int pair[2];

	if (!need_root())
		return;
	ck_assert_int_eq(
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	client_run(&giver, pass_all_on, pair);
	client_wait(&giver, "passed on");
	client_run(&heir, inherit, pair);
	client_wait(&heir, "has it");
	client_say(&giver, "end");
	client_join(&giver);
	/* Budd's part in it is over, though bob has it all mapped. */
	eventually(daemon_locked(&d) == before.locked);
	client_run(&next, come_next, NULL);
	client_wait(&next, "holds");
	ck_assert_uint_eq(daemon_locked(&d) - before.locked, pool_locked(WALL, WALL));
	client_say(&heir, "look");
	client_wait(&heir, "sees nothing");
	client_say(&next, "again");
	client_wait(&next, "holds");
	client_say(&heir, "look");
	client_wait(&heir, "sees nothing");
	client_say(&next, "end");
	client_join(&next);
	client_join(&heir);
	close(pair[0]);
	close(pair[1]);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("bytes");
	TCase *t = tcase_create("bytes");

	tcase_set_timeout(t, 60);
	tcase_add_unchecked_fixture(t, begin, host_setting_end);
	tcase_add_checked_fixture(t, enter, leave);
	tcase_add_test(t, another_user_reaches_into_neither_client_nor_budd);
	tcase_add_test(t, budds_own_user_sees_nothing_of_budd);
	tcase_add_test(t, a_process_of_the_same_user_opens_nothing_anew);
	tcase_add_test(t, no_twist_of_a_descriptor_stops_growing_or_releasing);
	tcase_add_test(t, a_block_that_went_and_came_again_reads_as_zero);
	tcase_add_loop_test(t,
	    what_a_dead_client_wrote_is_nowhere_in_the_next_ones_pool, 0,
	    SIZEOF_ARRAY(heaps));
	tcase_add_test(
	    t, a_descriptor_that_was_passed_on_shows_nothing_of_the_next_pool);
	suite_add_tcase(suite, t);
	return daemon_suite(suite);
}
