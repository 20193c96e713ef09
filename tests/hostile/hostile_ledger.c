/* SPDX-License-Identifier: ISC */

/*
 * Ledgers that are scribbled on and memory that is punched, while budd allocates, closes
 * blocks and counts in them; and clients that are stopped in the midst of what they do
 * there. It hurts the pool of who does it, and no other.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/cache.h"
#include "tests/hostile/siege.h"

#define PUNCH (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

static void
enter(void)
{
	siege_begin(SIEGE_CONFIG);
}

/* --- Scribblers --- */

/* A client with its ledger, and what it asks of budd while it does there what it likes. */
struct scribbler {
	struct raw raw;
	struct ledger ledger;
	void *bytes;
	size_t size;
	uint64_t tag;
};

static void
scribbler_open(struct scribbler *s)
{
	*s = (struct scribbler){ 0 };
	raw_open(&s->raw, &siege.d, "scribbler");
	s->bytes = raw_map_ledger(&s->raw, &s->size);
	ledger_attach(&s->ledger, s->bytes,
	    (uint32_t)(s->raw.welcome.memory_size / CHUNK_SIZE), LEDGER_CACHES);
}

static void
scribbler_close(struct scribbler *s)
{
	munmap(s->bytes, s->size);
	raw_close(&s->raw);
}

/* Everything that makes budd look into the ledger; none of it is against the protocol. */
static void
ask_for_a_look(struct scribbler *s)
{
	uint64_t tag = ++s->tag;

	raw_alloc(&s->raw, tag, FRAME_SIZE << (tag % 9), (int32_t)(tag % 3) * 2);
	if (tag % 2 == 0)
		raw_say(&s->raw, PROTO_DONE, tag - 1);
	if (tag % 3 == 0)
		raw_say(&s->raw, PROTO_CANCEL, tag - 1);
	if (tag % 5 == 0)
		raw_say(&s->raw, PROTO_DOORBELL, 0);
	if (tag % 7 == 0)
		raw_say(&s->raw, PROTO_RESUMED, 0);
	ck_assert(!raw_has_ended(&s->raw));
}

typedef void scribble_fn(struct scribbler *s);

static void
write_random_bytes(struct scribbler *s)
{
	unsigned char *p = s->bytes;

	for (size_t i = 0; i < s->size; i++)
		p[i] = (unsigned char)random();
}

static void
write_a_few_bytes(struct scribbler *s)
{
	for (int i = 0; i < 64; i++)
		((unsigned char *)s->bytes)[(size_t)random() % s->size] =
		    (unsigned char)random();
}

static void
claim_all_free(struct scribbler *s)
{
	memset(s->bytes, 0xff, s->size);
}

static void
claim_nothing_free(struct scribbler *s)
{
	memset(s->bytes, 0, s->size);
}

/* The map alone: all of the memory is said to be free, beyond what is pinned, too. */
static void
free_what_there_is_not(struct scribbler *s)
{
	for (uint32_t c = 0; c < s->ledger.chunks; c++)
		atomic_store(&ledger_chunk(&s->ledger, c)->free, UINT64_MAX);
}

/* Back and forth, chunk by chunk, so that what budd closes changes in its hands. */
static void
flicker(struct scribbler *s)
{
	for (uint32_t c = 0; c < s->ledger.chunks; c++)
		atomic_store(&ledger_chunk(&s->ledger, c)->free,
		    atomic_load(&ledger_chunk(&s->ledger, c)->free) == 0 ? UINT64_MAX
									 : 0);
}

static void
stamp_the_future(struct scribbler *s)
{
	uint32_t tick = atomic_load(&s->ledger.header->tick);

	for (uint32_t c = 0; c < s->ledger.chunks; c++)
		atomic_store(&ledger_chunk(&s->ledger, c)->stamp,
		    tick + (random() % 2 == 0 ? INT32_MAX : 1u << random() % 32));
	atomic_store(&s->ledger.header->tick, UINT32_MAX);
}

static void
write_over_the_header(struct scribbler *s)
{
	unsigned char *p = (unsigned char *)s->ledger.header;

	for (size_t i = 0; i < sizeof(struct ledger_header); i++)
		p[i] = (unsigned char)random();
}

static struct bud_inline_cache *
any_cache(struct scribbler *s)
{
	atomic_store(&s->ledger.header->caches_used, (uint32_t)random());
	return ledger_cache(&s->ledger, (unsigned long)random() % LEDGER_CACHES);
}

/* Full of what lies in use, in others, elsewhere, nowhere, or twice in it; all of which budd
 * counts as free, and takes out when it looks for memory. */
static void
cache_what_there_is_not(struct scribbler *s)
{
	struct bud_inline_cache *c = any_cache(s);
	uint32_t frames = s->ledger.chunks * CHUNK_FRAMES;

	for (unsigned int k = 0; k < BUD_INLINE_ORDERS; k++) {
		for (unsigned int i = 0; i < BUD_INLINE_SLOTS; i++)
			c->stack[k].frame[i] = (uint32_t)random() % (frames + 4)
					       << k % 2;
		c->stack[k].frame[0] = UINT32_MAX;
		c->stack[k].count = random() % 2 == 0 ? UINT32_MAX : BUD_INLINE_SLOTS;
		c->stack[k].capacity = (uint32_t)random();
	}
	c->stop = c->busy = 0;
}

/* Busy, claimed, seized or none of it, as it comes: budd can neither rely on nor wait for it. */
static void
claim_caches(struct scribbler *s)
{
	for (int i = 0; i < 8; i++) {
		struct bud_inline_cache *c = any_cache(s);

		c->stack[random() % BUD_INLINE_ORDERS].count = (uint32_t)random() % 8;
		__atomic_store_n(&c->busy, (uint32_t)random() % 2, __ATOMIC_SEQ_CST);
		__atomic_store_n(&c->stop, (uint32_t)random(), __ATOMIC_SEQ_CST);
	}
	atomic_store(&s->ledger.header->entered, (uint32_t)random());
	atomic_store(&s->ledger.header->left, (uint32_t)random());
}

/* Each buffer looks as if a budd had died while it took it from a cache. */
static void
leave_moves_unfinished(struct scribbler *s)
{
	for (uint32_t f = 0; f < s->ledger.chunks * CHUNK_FRAMES; f++)
		atomic_store(&s->ledger.order[f], LEDGER_MOVING);
	cache_what_there_is_not(s);
}

static scribble_fn *const ways[] = { write_random_bytes, write_a_few_bytes,
	claim_all_free, claim_nothing_free, free_what_there_is_not, flicker,
	stamp_the_future, write_over_the_header, cache_what_there_is_not, claim_caches,
	leave_moves_unfinished };

static unsigned int way; /* of this test; SIZEOF_ARRAY(ways): each in turn */

static void
scribble(struct client *me, void *arg)
{
	int64_t until = now_ms() + (int64_t)(soak_s() * 250);
	struct scribbler s;

	(void)me;
	srandom(*(unsigned int *)arg);
	scribbler_open(&s);
	for (unsigned int n = 0; now_ms() < until; n++) {
		ways[way < SIZEOF_ARRAY(ways) ? way : n % SIZEOF_ARRAY(ways)](&s);
		ask_for_a_look(&s);
	}
	scribbler_close(&s);
}

START_TEST(a_scribbled_ledger_hurts_its_pool_alone)
{
	struct client c[3];

	way = (unsigned int)_i;
	for (unsigned int i = 0; i < SIZEOF_ARRAY(c); i++)
		attack_begin(&c[i], scribble, &i);
	do /* counts in the ledgers, too */
		siege_served();
	while (siege_pools("scribbler") > 0);
	for (unsigned int i = 0; i < SIZEOF_ARRAY(c); i++)
		client_join(&c[i]);
}
END_TEST

/* The next arbiter knows of a pool what records and ledgers say, and settles what is in doubt. */
START_TEST(a_scribbled_ledger_is_inherited)
{
	static const char *const own_doing[] = { "by signal 6", "by signal 7",
		"by signal 11", "ended with status", "does not answer" };
	struct client c[3];

	way = SIZEOF_ARRAY(ways);
	for (unsigned int i = 0; i < SIZEOF_ARRAY(c); i++)
		attack_begin(&c[i], scribble, &i);
	eventually(siege_pools("scribbler") == SIZEOF_ARRAY(c));
	do
		daemon_kill_arbiter(&siege.d);
	while (siege_pools("scribbler") > 0);
	for (unsigned int i = 0; i < SIZEOF_ARRAY(c); i++)
		client_join(&c[i]);
	siege.arbiter = daemon_arbiter(&siege.d);
	for (size_t i = 0; i < SIZEOF_ARRAY(own_doing); i++)
		ck_assert(!daemon_log_contains(&siege.d, own_doing[i]));
}
END_TEST

/* Without end: the pool never gives a block back, and that is all. */
START_TEST(a_stamp_of_the_future_keeps_no_block_of_others)
{
	double released = daemon_figure(&siege.d, "release.blocks_released");
	struct client c;

	way = 6;
	attack_begin(&c, scribble, &way);
	eventually(daemon_figure(&siege.d, "release.blocks_released") > released + 5);
	client_join(&c);
}
END_TEST

/* --- Holes --- */

static void
punch_and_truncate(struct client *me, void *arg)
{
	struct raw r;
	off_t size, ledger;

	(void)me;
	(void)arg;
	raw_open(&r, &siege.d, "holes");
	size = (off_t)r.welcome.memory_size;
	ledger = (off_t)ledger_size((uint32_t)((uint64_t)size / CHUNK_SIZE));
	for (uint64_t tag = 1; tag < 100; tag++) {
		must(fallocate(r.ledger, PUNCH, 0, ledger) == 0);
		must(fallocate(r.memory, PUNCH, 0, size) == 0);
		must(ftruncate(r.ledger, 0) == -1 && errno == EPERM);
		must(ftruncate(r.memory, 0) == -1 && errno == EPERM);
		must(ftruncate(r.memory, 2 * size) == -1 && errno == EPERM);
		must(fallocate(r.memory, 0, size, size) == -1 && errno == EPERM);
		must(fcntl(r.memory, F_ADD_SEALS, F_SEAL_WRITE) == -1);
		raw_alloc(&r, tag, CHUNK, (int32_t)(tag % 2));
		ck_assert(!raw_has_ended(&r));
	}
	raw_close(&r);
}

START_TEST(holes_in_memory_and_ledger_hurt_their_pool_alone)
{
	attack_together(3, punch_and_truncate);
}
END_TEST

/* The whole base is punched, half of it touched again; it is mapped throughout. */
static void
punch_and_touch(struct client *me, void *arg)
{
	struct raw r;
	char *p;

	(void)arg;
	raw_open(&r, &siege.d, "audited");
	p = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_SHARED, r.memory, 0);
	must(p != MAP_FAILED);
	must(fallocate(r.memory, PUNCH, 0, (off_t)CHUNK) == 0);
	memset(p, 1, CHUNK / 2);
	client_say(me, "punched");
	client_wait(me, "end");
	for (size_t i = 0; i < CHUNK / 2; i++)
		must(p[i] == 1); /* what was touched again is as it was */
	raw_close(&r);
}

/* A figure of the pool "audited", in which nothing else is done. */
static double
audit_figure(const char *key)
{
	cJSON *json = daemon_status(&siege.d);
	const cJSON *pool;
	double value = -1;

	cJSON_ArrayForEach (pool, cJSON_GetObjectItem(json, "pools")) {
		const cJSON *audit = cJSON_GetObjectItem(pool, "audit");

		if (strcmp(cJSON_GetStringValue(cJSON_GetObjectItem(pool, "name")),
			"audited") == 0)
			value = cJSON_GetNumberValue(cJSON_GetObjectItem(audit, key));
	}
	cJSON_Delete(json);
	return value;
}

START_TEST(what_was_punched_is_locked_again_and_told)
{
	const double pages = CHUNK / FRAME_SIZE;
	struct client c;
	double passes;

	attack_begin(&c, punch_and_touch, NULL);
	client_wait(&c, "punched");
	eventually(audit_figure("holes") + audit_figure("unlocked") >= pages);
	/* An audit may have come in the midst of the touching; not twice. */
	ck_assert_double_le(
	    audit_figure("holes") + audit_figure("unlocked"), 1.5 * pages);
	ck_assert_double_ge(audit_figure("holes"), pages / 2);
	passes = audit_figure("passes");
	eventually(audit_figure("passes") > passes + 1); /* which find no more */
	ck_assert_double_le(
	    audit_figure("holes") + audit_figure("unlocked"), 1.5 * pages);
	ck_assert_double_eq(audit_figure("failed"), 0);
	eventually(daemon_log_contains(&siege.d, "were not locked any more"));
	client_say(&c, "end");
	client_join(&c);
}
END_TEST

/* What the kernel offers to get rid of a page of one's own mapping; the lock is budd's. */
static void
wear_down(struct client *me, void *arg)
{
	static const int advice[] = { MADV_DONTNEED, MADV_COLD, MADV_PAGEOUT, MADV_FREE,
		MADV_NOHUGEPAGE, MADV_DONTFORK };
	struct raw r;
	char *p, *q;

	(void)arg;
	raw_open(&r, &siege.d, "audited");
	for (unsigned int i = 0; i < 200; i++) {
		p = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_SHARED, r.memory, 0);
		must(p != MAP_FAILED);
		memset(p, 1, CHUNK);
		must(mlock2(p, CHUNK, 0) == 0 || errno == ENOMEM || errno == EPERM);
		must(syscall(SYS_munlock, p, CHUNK) == 0);
		for (size_t k = 0; k < SIZEOF_ARRAY(advice); k++)
			madvise(p, CHUNK, advice[k]);
		posix_fadvise(r.memory, 0, (off_t)CHUNK, POSIX_FADV_DONTNEED);
		must(mprotect(p, CHUNK, PROT_NONE) == 0);
		q = mremap(p, CHUNK, CHUNK / 2, 0);
		must(q != MAP_FAILED && munmap(q, CHUNK / 2) == 0);
		munlockall();
	}
	client_say(me, "worn");
	client_wait(me, "end");
	raw_close(&r);
}

START_TEST(what_a_client_does_to_its_own_mapping_unlocks_nothing)
{
	struct client c;
	double passes;

	attack_begin(&c, wear_down, NULL);
	client_wait(&c, "worn");
	passes = audit_figure("passes");
	eventually(audit_figure("passes") > passes + 1);
	ck_assert_double_eq(audit_figure("holes") + audit_figure("unlocked"), 0);
	client_say(&c, "end");
	client_join(&c);
}
END_TEST

/* --- Clients that are stopped --- */

/* Everybody in the pool waits for this one's turn, which it never takes. */
static void
stop_at_its_turn(struct client *me, void *arg)
{
	struct raw r;

	(void)arg;
	raw_open(&r, &siege.d, "stopped");
	ck_assert(raw_alloc(&r, 1, WALL, -1));
	ck_assert(raw_alloc(&r, 2, FRAME_SIZE, -1));
	raw_expect(&r, PROTO_GRANT, 1);
	client_say(me, "granted");
	raise(SIGSTOP);
}

START_TEST(who_is_stopped_at_its_turn_holds_nobody_up)
{
	struct client c[4];

	for (size_t i = 0; i < SIZEOF_ARRAY(c); i++)
		attack_begin(&c[i], stop_at_its_turn, NULL);
	for (size_t i = 0; i < SIZEOF_ARRAY(c); i++)
		client_wait(&c[i], "granted");
	siege_served();
	ck_assert_uint_eq(siege_pools("stopped"), SIZEOF_ARRAY(c));
	for (size_t i = 0; i < SIZEOF_ARRAY(c); i++)
		client_kill(&c[i]);
	eventually(siege_pools("stopped") == 0);
}
END_TEST

/* Through libbud, so that it can be stopped between any two of its instructions. */
static void
allocate_for_ever(struct client *me, void *arg)
{
	struct bud_pool *pool = open_pool(&siege.d, "stopped");
	void *bufs[8];

	(void)arg;
	client_say(me, "at work");
	for (uint64_t n = 0;; n++) {
		for (size_t i = 0; i < SIZEOF_ARRAY(bufs); i++) {
			bufs[i] = bud_alloc(pool, 4096u << (n + i) % 7, 0);
			if (bufs[i] != NULL)
				paint(bufs[i], 4096, n + i);
		}
		for (size_t i = 0; i < SIZEOF_ARRAY(bufs); i++) {
			must(bufs[i] == NULL || painted(bufs[i], 4096, n + i));
			bud_free(pool, bufs[i]);
		}
	}
}

START_TEST(who_is_stopped_at_any_instant_goes_on_or_dies)
{
	int64_t until = now_ms() + (int64_t)(soak_s() * 500);
	struct client c;

	while (now_ms() < until) {
		attack_begin(&c, allocate_for_ever, NULL);
		client_wait(&c, "at work");
		for (int i = 0; i < 10; i++) {
			nap();
			ck_assert_int_eq(kill(c.pid, SIGSTOP), 0);
			nap();
			ck_assert_int_eq(kill(c.pid, SIGCONT), 0);
		}
		ck_assert_int_eq(kill(c.pid, SIGSTOP), 0);
		client_kill(&c);
	}
	eventually(siege_pools("stopped") == 0);
}
END_TEST

/* --- bud_free() --- */

static char stranger[8192] __attribute__((aligned(4096)));

static void
free_what_is_not_ours(struct client *me, void *arg)
{
	struct bud_pool *pool = open_pool(&siege.d, "free");
	char *buf = bud_alloc(pool, 16384, 0), *victim = buf;
	struct bud_stat stat = { .size = sizeof(stat) };

	must(buf != NULL && dup2(me->out, STDERR_FILENO) != -1);
	switch (*(int *)arg) {
	case 0:
		victim = stranger;
		break;
	case 1:
		bud_free(pool, buf);
		break;
	case 2:
		victim += 4096;
		break;
	case 3:
		victim += 1;
		break;
	}
	client_say(me, "%p", (void *)victim);
	bud_free(pool, victim);
	/* What was cached twice is found when the cache empties, as it does for this one. */
	must(bud_stat(pool, &stat) == 0);
	(void)bud_alloc(pool, stat.base, 0);
}

START_TEST(a_bad_free_aborts_and_names_the_pointer)
{
	static const char *const why[] = { "not in this pool", "free already",
		"no buffer of this pool starts there", "middle of a buffer" };
	char pointer[64];
	const char *line;
	struct client c;
	int status;

	attack_begin(&c, free_what_is_not_ours, &_i);
	strlcpy(pointer, client_hear(&c), sizeof(pointer));
	line = client_hear(&c);
	ck_assert_msg(strstr(line, pointer) != NULL && strstr(line, why[_i]) != NULL,
	    "no %s, %s: %s", pointer, why[_i], line);
	status = client_wait_status(&c);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("hostile ledger");
	TCase *t = tcase_create("hostile ledger");

	tcase_set_timeout(t, 60 + soak_s());
	tcase_add_checked_fixture(t, enter, siege_end);
	tcase_add_loop_test(
	    t, a_scribbled_ledger_hurts_its_pool_alone, 0, SIZEOF_ARRAY(ways) + 1);
	tcase_add_test(t, a_scribbled_ledger_is_inherited);
	tcase_add_test(t, a_stamp_of_the_future_keeps_no_block_of_others);
	tcase_add_test(t, holes_in_memory_and_ledger_hurt_their_pool_alone);
	tcase_add_test(t, what_was_punched_is_locked_again_and_told);
	tcase_add_test(t, what_a_client_does_to_its_own_mapping_unlocks_nothing);
	tcase_add_test(t, who_is_stopped_at_its_turn_holds_nobody_up);
	tcase_add_test(t, who_is_stopped_at_any_instant_goes_on_or_dies);
	tcase_add_loop_test(t, a_bad_free_aborts_and_names_the_pointer, 0, 4);
	suite_add_tcase(suite, t);
	return daemon_suite(suite);
}
