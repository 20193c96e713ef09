/* SPDX-License-Identifier: ISC */

/* budd.conf: defaults, limits from both sides, and what is said of each mistake. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/config.h"
#include "daemon/config_pack.h"
#include "daemon/config_value.h"

#define NITEMS(a) (sizeof(a) / sizeof((a)[0]))
#define KIB       ((uint64_t)1 << 10)
#define MIB       ((uint64_t)1 << 20)
#define GIB       ((uint64_t)1 << 30)
#define TIB       ((uint64_t)1 << 40)
#define MS        ((int64_t)1000000)
#define NAME_63   "a23456789b123456789c123456789d123456789e123456789f123456789g123"
#define NOBODY    65534 /* a user who owns nothing */

static struct config *config;
static char *said; /* the error lines */
static size_t said_len;

static void
tear_down(void)
{
	config_free(config);
	config = NULL;
	free(said);
	said = NULL;
}

static int
parse_both(const char *text, const char *dropin)
{
	const struct config_text texts[] = { { "budd.conf", text },
		{ "10.conf", dropin } };
	FILE *errors;
	int r;

	tear_down();
	errors = open_memstream(&said, &said_len);
	ck_assert_ptr_nonnull(errors);
	r = config_parse(&config, texts, dropin != NULL ? 2 : 1, errors);
	fclose(errors);
	return r;
}

static int
parse(const char *text)
{
	return parse_both(text, NULL);
}

static int
load(const char *path)
{
	FILE *errors;
	int r;

	tear_down();
	errors = open_memstream(&said, &said_len);
	ck_assert_ptr_nonnull(errors);
	r = config_load(&config, path, errors);
	fclose(errors);
	return r;
}

static void
accept(const char *text)
{
	ck_assert_msg(parse(text) == 0, "refused: %s%s", text, said);
}

static unsigned int
lines_said(void)
{
	unsigned int n = 0;
	const char *c;

	for (c = said; (c = strchr(c, '\n')) != NULL; c++)
		n++;
	return n;
}

/* One line, on that line of the file, with these words in it. */
static void
expect_line(unsigned int line, const char *const *words)
{
	char prefix[64];

	snprintf(prefix, sizeof(prefix), "budd.conf:%u: ", line);
	ck_assert_msg(lines_said() == 1, "not one line:\n%s", said);
	ck_assert_msg(
	    strncmp(said, prefix, strlen(prefix)) == 0, "no %s: %s", prefix, said);
	for (; *words != NULL; words++)
		ck_assert_msg(strstr(said, *words) != NULL, "no %s: %s", *words, said);
}

static const struct config_pool *
pool(const char *name)
{
	const struct config_pool *p = config_pool_find(config, name);

	ck_assert_str_eq(p->name, name);
	return p;
}

/* Sizes and times by themselves. */

static const struct {
	const char *text;
	int error;
	uint64_t bytes;
} sizes[] = {
	{ "0", 0, 0 },
	{ "1", 0, 1 },
	{ "4096", 0, 4096 },
	{ "256K", 0, 256 * KIB },
	{ "64M", 0, 64 * MIB },
	{ "64m", 0, 64 * MIB },
	{ "1G", 0, GIB },
	{ "2T", 0, 2 * TIB },
	{ "010K", 0, 10 * KIB }, /* decimal */
	{ "000", 0, 0 },
	{ "18446744073709551615", 0, UINT64_MAX },
	{ "18446744073709551616", -ERANGE, 0 },
	{ "15E", 0, 15ULL << 60 },
	{ "16E", -ERANGE, 0 },
	{ "99999999999999999999999999G", -ERANGE, 0 },
	{ "", -EINVAL, 0 },
	{ "M", -EINVAL, 0 },
	{ "64X", -EINVAL, 0 },
	{ "64MX", -EINVAL, 0 },
	{ "64MB", -EINVAL, 0 },
	{ "64MiB", -EINVAL, 0 },
	{ "64b", -EINVAL, 0 },
	{ "64 M", -EINVAL, 0 },
	{ " 64M", -EINVAL, 0 },
	{ "64M ", -EINVAL, 0 },
	{ "1.5G", -EINVAL, 0 },
	{ "0x10", -EINVAL, 0 },
	{ "-1", -EINVAL, 0 },
	{ "+1", -EINVAL, 0 },
};

START_TEST(a_size_is_digits_and_at_most_one_unit)
{
	uint64_t bytes = 77;

	ck_assert_msg(config_parse_size(sizes[_i].text, &bytes) == sizes[_i].error,
	    "'%s'", sizes[_i].text);
	ck_assert_uint_eq(bytes, sizes[_i].error == 0 ? sizes[_i].bytes : 77);
}
END_TEST

static const struct {
	const char *text;
	int error;
	int64_t ns;
} times[] = {
	{ "0s", 0, 0 },
	{ "1us", 0, 1000 },
	{ "500ms", 0, 500 * MS },
	{ "60s", 0, 60000 * MS },
	{ "5min", 0, 300000 * MS },
	{ "2h", 0, 7200000 * MS },
	{ "1d", 0, 86400000 * MS },
	{ "010ms", 0, 10 * MS },
	{ "106751d", 0, 106751 * (86400000 * MS) },
	{ "106752d", -ERANGE, 0 }, /* beyond 63 bits of ns */
	{ "9223372036854775808us", -ERANGE, 0 },
	{ "", -EINVAL, 0 },
	{ "500", -EINVAL, 0 }, /* of what? */
	{ "ms", -EINVAL, 0 },
	{ "5m", -EINVAL, 0 }, /* of what? */
	{ "5minutes", -EINVAL, 0 },
	{ "1h30min", -EINVAL, 0 },
	{ "5 s", -EINVAL, 0 },
	{ "-5s", -EINVAL, 0 },
	{ "1.5s", -EINVAL, 0 },
};

START_TEST(a_time_is_digits_and_a_unit)
{
	int64_t ns = 77;

	ck_assert_msg(config_parse_time(times[_i].text, &ns) == times[_i].error, "'%s'",
	    times[_i].text);
	ck_assert_int_eq(ns, times[_i].error == 0 ? times[_i].ns : 77);
}
END_TEST

static const struct {
	const char *text;
	int error;
	uint64_t count;
} counts[] = {
	{ "0", 0, 0 },
	{ "010", 0, 10 },
	{ "9223372036854775807", 0, INT64_MAX },
	{ "9223372036854775808", -ERANGE, 0 },
	{ "", -EINVAL, 0 },
	{ "-1", -EINVAL, 0 },
	{ "+1", -EINVAL, 0 },
	{ " 1", -EINVAL, 0 },
	{ "1K", -EINVAL, 0 },
};

START_TEST(a_count_is_digits)
{
	uint64_t count = 77;

	ck_assert_msg(config_parse_count(counts[_i].text, &count) == counts[_i].error,
	    "'%s'", counts[_i].text);
	ck_assert_uint_eq(count, counts[_i].error == 0 ? counts[_i].count : 77);
}
END_TEST

START_TEST(yes_has_four_words_and_so_has_no)
{
	static const char *const yes[] = { "yes", "true", "on", "1" };
	static const char *const no[] = { "no", "false", "off", "0" };
	static const char *const neither[] = { "", "Yes", "y", "2", "yes ", "01" };
	bool b;
	size_t i;

	for (i = 0; i < NITEMS(yes); i++) {
		b = false;
		ck_assert(config_parse_bool(yes[i], &b) == 0 && b);
		ck_assert(config_parse_bool(no[i], &b) == 0 && !b);
	}
	for (i = 0; i < NITEMS(neither); i++)
		ck_assert_msg(
		    config_parse_bool(neither[i], &b) == -EINVAL, "'%s'", neither[i]);
}
END_TEST

START_TEST(a_wall_in_mib_is_rounded_to_the_nearest)
{
	ck_assert_uint_eq(config_wall_mib(0), 0);
	ck_assert_uint_eq(config_wall_mib(MIB / 2 - 1), 0);
	ck_assert_uint_eq(config_wall_mib(MIB / 2), 1);
	ck_assert_uint_eq(config_wall_mib(64 * MIB), 64);
	ck_assert_uint_eq(config_wall_mib(64 * MIB + MIB / 2 - 1), 64);
	ck_assert_uint_eq(config_wall_mib(UINT64_MAX), (uint64_t)1 << 44);
}
END_TEST

/* Defaults. */

static void
expect_defaults(void)
{
	const struct config_host *h = &config->host;
	const struct config_pool *p = pool("default");

	ck_assert_uint_eq(h->wall, 0);
	ck_assert_int_eq(h->tick_ns, 500 * MS);
	ck_assert_int_eq(h->release_period_ns, 60000 * MS);
	ck_assert_int_eq(h->idle_ns, 300000 * MS);
	ck_assert_int_eq(h->hello_timeout_ns, 10000 * MS);
	ck_assert_int_eq(h->unregister_timeout_ns, 1000 * MS);
	ck_assert_uint_eq(h->clients_max, 1000);
	ck_assert_uint_eq(h->overtaken_max, 16);
	ck_assert_uint_eq(h->user_wall, 0);
	ck_assert_uint_eq(h->user_pools, 0);
	ck_assert_uint_eq(h->user_requests, 0);
	ck_assert(!h->pressure.on);
	ck_assert_str_eq(config->status_group, "");
	ck_assert_int_eq(config->queued_event_ns, 1000 * MS);
	ck_assert_str_eq(p->user, "");
	ck_assert_str_eq(p->group, "");
	ck_assert_uint_eq(p->wall, 64 * MIB);
	ck_assert_uint_eq(p->base, MIB);
	ck_assert_uint_eq(p->add, 4 * MIB);
	ck_assert_uint_eq(p->wall_max, GIB);
	ck_assert_uint_eq(p->headroom, 0);
	ck_assert_uint_eq(p->max_buffer, 64 * MIB);
	ck_assert_uint_eq(p->weight, 1);
	ck_assert_uint_eq(p->wall_total, 0);
	ck_assert_str_eq(p->policy, "fixed");
	ck_assert(p->check_idle);
	ck_assert_ptr_null(STAILQ_NEXT(STAILQ_FIRST(&config->pools), entry));
}

START_TEST(an_empty_file_means_the_defaults_and_says_nothing)
{
	static const char *const texts[] = { "", "\n", "# a\n; b\n\n \t\n", "[host]\n",
		"[pool default]", "\xef\xbb\xbf[host]\r\n[status]\r\n" };

	accept(texts[_i]);
	ck_assert_str_eq(said, "");
	expect_defaults();
}
END_TEST

/* In KiB: what follows from what is given. */
static const struct {
	const char *keys;
	uint64_t wall, base, add, wall_max, max_buffer;
} derived[] = {
	{ "wall=256K", 256, 256, 256, 4096, 256 },
	{ "wall=300K", 300, 256, 256, 4864, 300 },
	{ "wall=512K", 512, 512, 512, 8192, 512 },
	{ "wall=1023K", 1023, 768, 768, 16384, 1023 },
	{ "wall=1M", 1024, 1024, 1024, 16384, 1024 },
	{ "wall=10M", 10240, 1024, 1024, 163840, 10240 },
	{ "wall=20479K", 20479, 1024, 1024, 327680, 20479 },
	{ "wall=20M", 20480, 1024, 1280, 327680, 20480 },
	{ "wall=128G", 128 << 20, 1024, 8 << 20, (uint64_t)1 << 30, 128 << 20 },
	{ "base=1", 0, 0, 0, 0, 0 }, /* refused */
	{ "base=4K", 65536, 256, 4096, 1048576, 65536 },
	{ "base=256K", 65536, 256, 4096, 1048576, 65536 },
	{ "base=257K", 65536, 512, 4096, 1048576, 65536 },
	{ "base=64M", 65536, 65536, 4096, 1048576, 65536 },
	{ "add=2049K", 65536, 1024, 2304, 1048576, 65536 },
	{ "add=64M", 65536, 1024, 65536, 1048576, 65536 },
	{ "wall_max=64M", 65536, 1024, 4096, 65536, 65536 },
	{ "wall_max=67108865", 65536, 1024, 4096, 65792, 65536 },
	{ "max_buffer=4K", 65536, 1024, 4096, 1048576, 4 },
	{ "max_buffer=1G", 65536, 1024, 4096, 1048576, 1048576 },
	{ "heap=thp", 65536, 2048, 4096, 1048576, 65536 },
	{ "heap=huge", 65536, 2048, 4096, 65536, 65536 },
	{ "heap=thp\nwall=3M", 3072, 2048, 2048, 49152, 3072 },
	{ "base=4K\nadd=3M\nheap=thp\nwall_max=65M", 65536, 2048, 4096, 67584, 65536 },
	{ "[host]\nwall=32M", 32768, 1024, 2048, 32768, 32768 },
	{ "[host]\nwall=64M", 65536, 1024, 4096, 65536, 65536 },
	{ "[host]\nwall=100M", 65536, 1024, 4096, 102400, 65536 },
	{ "[host]\nwall=2G", 65536, 1024, 4096, 1048576, 65536 },
	{ "[host]\nwall=1M", 1024, 1024, 1024, 1024, 1024 },
};

START_TEST(what_is_not_given_follows_from_what_is)
{
	const struct config_pool *p;
	char text[128];
	int r;

	snprintf(text, sizeof(text), "[pool default]\n%s\n", derived[_i].keys);
	r = parse(text);
	ck_assert_msg((r == 0) == (derived[_i].wall != 0), "%s%s", text, said);
	if (r != 0)
		return;
	p = pool("default");
	ck_assert_uint_eq(p->wall, derived[_i].wall * KIB);
	ck_assert_uint_eq(p->base, derived[_i].base * KIB);
	ck_assert_uint_eq(p->add, derived[_i].add * KIB);
	ck_assert_uint_eq(p->wall_max, derived[_i].wall_max * KIB);
	ck_assert_uint_eq(p->max_buffer, derived[_i].max_buffer * KIB);
}
END_TEST

START_TEST(a_section_does_not_inherit_from_pool_default)
{
	accept("[pool default]\nwall=128M\nbase=8M\nweight=7\n[pool "
	       "a]\nadd=2M\nbase=2M\n");
	ck_assert_uint_eq(pool("a")->wall, 64 * MIB);
	ck_assert_uint_eq(pool("a")->base, 2 * MIB);
	ck_assert_uint_eq(pool("a")->weight, 1);
	ck_assert_uint_eq(pool("default")->weight, 7);
}
END_TEST

START_TEST(a_name_without_a_section_finds_default)
{
	accept("[pool a]\n[pool b]\n");
	ck_assert_str_eq(config_pool_find(config, "b")->name, "b");
	ck_assert_str_eq(config_pool_find(config, "c")->name, "default");
	ck_assert_str_eq(config_pool_find(config, "")->name, "default");
}
END_TEST

static const char every_key[] =
    "[host]\nwall=3G\ntick=1ms\nrelease_period=2s\nidle=3s\nhello_timeout=4s\n"
    "unregister_timeout=5s\n"
    "clients_max=5\nuser_clients=9\novertaken_max=6\nuser_wall=2G\nuser_pools=7\nuser_"
    "requests=8\n"
    "pressure=full 100ms/2s\n[status]\ngroup=root\n"
    "[pool x]\nuser=root\ngroup=root\nbase=2M\nadd=3M\nwall=8M\nwall_max=9M\n"
    "weight=8\nheap=page\nheadroom=7M\nmax_buffer=6M\n"
    "wall_total=1G\npolicy=growing\ncheck_idle=no\n";

START_TEST(each_key_reaches_its_field)
{
	const struct config_pool *p;

	accept(every_key);
	ck_assert_str_eq(said, "");
	ck_assert_uint_eq(config->host.wall, 3 * GIB);
	ck_assert_int_eq(config->host.tick_ns, MS);
	ck_assert_int_eq(config->host.release_period_ns, 2000 * MS);
	ck_assert_int_eq(config->host.idle_ns, 3000 * MS);
	ck_assert_int_eq(config->host.hello_timeout_ns, 4000 * MS);
	ck_assert_int_eq(config->host.unregister_timeout_ns, 5000 * MS);
	ck_assert_uint_eq(config->host.clients_max, 5);
	ck_assert_uint_eq(config->host.user_clients, 9);
	ck_assert_uint_eq(config->host.overtaken_max, 6);
	ck_assert_uint_eq(config->host.user_wall, 2 * GIB);
	ck_assert_uint_eq(config->host.user_pools, 7);
	ck_assert_uint_eq(config->host.user_requests, 8);
	ck_assert(config->host.pressure.on && config->host.pressure.full);
	ck_assert_int_eq(config->host.pressure.stall_ns, 100 * MS);
	ck_assert_int_eq(config->host.pressure.window_ns, 2000 * MS);
	ck_assert_str_eq(config->status_group, "root");
	p = pool("x");
	ck_assert_str_eq(p->user, "root");
	ck_assert_str_eq(p->group, "root");
	ck_assert_uint_eq(p->base, 2 * MIB);
	ck_assert_uint_eq(p->add, 3 * MIB);
	ck_assert_uint_eq(p->wall, 8 * MIB);
	ck_assert_uint_eq(p->wall_max, 9 * MIB);
	ck_assert_uint_eq(p->weight, 8);
	ck_assert_uint_eq(p->headroom, 7 * MIB);
	ck_assert_uint_eq(p->max_buffer, 6 * MIB);
	ck_assert_uint_eq(p->wall_total, GIB);
	ck_assert_str_eq(p->policy, "growing");
	ck_assert(!p->check_idle);
}
END_TEST

START_TEST(blanks_comments_and_indentation_do_not_matter)
{
	accept("  [ pool\t a ]  ; one\n\tbase =\t2M ; two\r\n    add:2M\n"
	       "  # three\n [host] # four\n   tick=1s\n   idle=2s");
	ck_assert_uint_eq(pool("a")->base, 2 * MIB);
	ck_assert_uint_eq(pool("a")->add, 2 * MIB);
	ck_assert_int_eq(config->host.tick_ns, 1000 * MS);
	ck_assert_int_eq(config->host.idle_ns, 2000 * MS);
}
END_TEST

/* Values at their limits: accepted. */
static const char *const accepted[] = {
	"[host]\nwall=0",
	"[host]\nwall=1M",
	"[host]\nwall=1P",
	"[host]\ntick=1ms",
	"[host]\ntick=1h\nrelease_period=1h",
	"[host]\ntick=60s",
	"[host]\nrelease_period=500ms",
	"[host]\nrelease_period=365d",
	"[host]\nidle=1ms",
	"[host]\nidle=365d",
	"[host]\nhello_timeout=1ms",
	"[host]\nhello_timeout=1h",
	"[host]\nunregister_timeout=1ms",
	"[host]\nunregister_timeout=1h",
	"[host]\nclients_max=1",
	"[host]\nclients_max=10000",
	"[host]\novertaken_max=0",
	"[host]\novertaken_max=10000",
	"[host]\nwall=64M\n[pool a]\nwall=64M",
	"[host]\nuser_wall=0",
	"[host]\nuser_wall=1M",
	"[host]\nuser_wall=1P",
	"[host]\nwall=1G\nuser_wall=1G",
	"[host]\nwall=1G\nuser_wall=0",
	"[host]\nwall=0\nuser_wall=1P",
	"[host]\nuser_pools=0",
	"[host]\nuser_pools=10000",
	"[host]\nuser_requests=0",
	"[host]\nuser_requests=1000000",
	"[host]\npressure=off",
	"[host]\npressure=some 150ms/2s",
	"[host]\npressure=full \t 1us/500ms ; often",
	"[host]\npressure=some 500ms/500ms",
	"[host]\npressure=some 00000000000000000000000000150ms/2s", /* 31 bytes */
	"[host]\npressure=some 10s/10s",
	"[pool a]\npolicy=fixed",
	"[pool a]\npolicy=several",
	"[pool a]\ncheck_idle=off",
	"[pool a]\nwall_total=0",
	"[pool a]\nwall_total=256K\nbase=256K",
	"[pool a]\nwall_total=1M",
	"[pool a]\nwall_total=1P",
	"[host]\nwall=1G\n[pool a]\nwall_total=1G",
	"[pool a]\nweight=1",
	"[pool a]\nweight=1000",
	"[pool a]\nwall=1T",
	"[pool a]\nwall=1T\nwall_max=1T",
	"[pool a]\nheadroom=64M",
	"[pool a]\nmax_buffer=4K",
	"[pool a]\nuser=\ngroup=",
	"[pool " NAME_63 "]",
	"[pool \xc3\xa9t\xc3\xa9.-_:;,]",
	/* 1000 blocks: base 1M + 999 x 256K. */
	"[pool a]\nwall=1M\nadd=256K\nwall_max=256768K",
	"[pool a]\nwall=1M\nbase=1M\nadd=1M\nwall_max=1000M",
};

START_TEST(a_value_at_its_limit_is_accepted)
{
	accept(accepted[_i]);
}
END_TEST

static const struct {
	const char *text;
	unsigned int line;
	const char *words[6];
} refused[] = {
	/* sections */
	{ "\n[hots]\ntick=1x\n", 2, { "unknown section [hots]", "[pool NAME]" } },
	{ "[]\n", 1, { "unknown section []" } },
	{ "[poolx]\n", 1, { "unknown section [poolx]" } },
	{ "[host]\n\n[host]\ntick=1s\n", 3, { "[host] is there twice", "line 1" } },
	{ "[status]\n[status]\n", 2, { "[status] is there twice", "line 1" } },
	{ "[pool a]\n[pool b]\n[pool  a]\n", 3,
	    { "[pool a] is there twice", "line 1" } },
	{ "[pool]\n", 1, { "[pool] needs a name" } },
	{ "[pool ]\n", 1, { "[pool] needs a name" } },
	{ "[pool a b]\n", 1, { "[pool a b]", "no space" } },
	{ "[pool a/b]\n", 1, { "[pool a/b]", "slash" } },
	{ "[pool a\x01z]\n", 1, { "[pool a?z]", "control character" } },
	{ "[pool a\x7fz]\n", 1, { "[pool a?z]", "control character" } },
	{ "[pool " NAME_63 "x]\n", 1, { "64 bytes", "at most 63" } },
	{ "[host\ntick=1s\n", 1, { "'[host'", "] is missing" } },
	{ "[host] tick=1s\n", 1, { "'[host] tick=1s'", "behind the bracket" } },
	/* lines and keys */
	{ "tick=1s\n[host]\n", 1, { "tick", "no section is above it" } },
	{ "[host]\n tick 1s\n", 2, { "'tick 1s' is no key = value" } },
	{ "[host]\ntick", 2, { "'tick' is no key = value" } },
	{ "[host]\ntick ; = 1s\n", 2, { "is no key = value" } },
	{ "[host]\n=1s\n", 2, { "unknown key ''", "wall, tick" } },
	{ "[host]\ntikc=1s\n", 2,
	    { "unknown key 'tikc' in [host]", "there are wall, tick" } },
	{ "[host]\nTick=1s\n", 2,
	    { "unknown key 'Tick' in [host]", "there are wall, tick" } },
	{ "[pool a]\nwal=1M\n", 2,
	    { "unknown key 'wal' in [pool]", "policy, check_idle" } },
	{ "[pool a]\nx=1M\n", 2, { "unknown key 'x'", "user, group, base, add" } },
	{ "[pool a]\ntick=1s\n", 2, { "unknown key 'tick'", "belongs in [host]" } },
	{ "[status]\nwall=1M\n", 2, { "unknown key 'wall'", "belongs in [host]" } },
	{ "[host]\ntick=1s\n\ntick=2s\n", 4, { "tick = 2s", "twice", "line 2" } },
	/* sizes, times, numbers */
	{ "[pool a]\nwall=64X\n", 2, { "wall = 64X is no size", "256K to 1T" } },
	{ "[pool a]\nwall=-64M\n", 2, { "wall = -64M is no size" } },
	{ "[pool a]\nwall=\n", 2, { "wall =  is no size" } },
	{ "[pool a]\nwall=64M # big\n", 2, { "is no size", "starts with ;" } },
	{ "[pool a]\nwall=99999999999G\n", 2, { "above the most, 1T" } },
	{ "[pool a]\nwall=255K\n", 2, { "wall = 255K is below the least, 256K" } },
	{ "[pool a]\nwall=1025G\n", 2, { "wall = 1025G is above the most, 1T" } },
	{ "[pool a]\nbase=0\n", 2, { "base = 0 is below the least, 4K" } },
	{ "[pool a]\nadd=255K\n", 2, { "add = 255K is below the least, 256K" } },
	{ "[pool a]\nadd=0\n", 2, { "add = 0 is below the least, 256K" } },
	{ "[pool a]\nmax_buffer=4095\n", 2,
	    { "max_buffer = 4095 is below the least" } },
	{ "[host]\nwall=1023K\n", 2, { "below the least, 1M", "or 0: budd finds" } },
	{ "[host]\nwall=1025T\n", 2, { "wall = 1025T is above the most, 1P" } },
	{ "[host]\ntick=500\n", 2, { "tick = 500 is no time", "1ms to 1h" } },
	{ "[host]\ntick=999us\n", 2, { "tick = 999us is below the least, 1ms" } },
	{ "[host]\ntick=61min\n", 2, { "tick = 61min is above the most, 1h" } },
	{ "[host]\nidle=366d\n", 2, { "idle = 366d is above the most, 365d" } },
	{ "[host]\nidle=0s\n", 2, { "idle = 0s is below the least, 1ms" } },
	{ "[host]\nhello_timeout=2h\n", 2, { "hello_timeout = 2h is above the most" } },
	{ "[host]\nidle=999999999999999999999s\n", 2, { "above the most, 365d" } },
	{ "[host]\nclients_max=many\n", 2,
	    { "clients_max = many is no whole number" } },
	{ "[host]\nclients_max=\n", 2, { "is no whole number", "1 to 10000" } },
	{ "[host]\nclients_max=-1\n", 2, { "clients_max = -1 is no whole number" } },
	{ "[host]\nclients_max=0\n", 2, { "is below the least, 1" } },
	{ "[host]\nclients_max=10001\n", 2, { "is above the most, 10000" } },
	{ "[host]\nclients_max=99999999999999999999\n", 2, { "above the most" } },
	{ "[host]\novertaken_max=10001\n", 2, { "above the most, 10000" } },
	{ "[pool a]\nweight=0\n", 2, { "weight = 0 is below the least, 1" } },
	{ "[pool a]\nweight=1001\n", 2, { "weight = 1001 is above the most, 1000" } },
	{ "[pool a]\nweight=1.5\n", 2, { "weight = 1.5 is no whole number" } },
	{ "[pool a]\nheap=swap\n", 2, { "heap = swap is no heap", "page, thp, huge" } },
	{ "[pool a]\nheap=\n", 2, { "is no heap", "page, thp, huge" } },
	{ "[pool a]\nwall=1M\nheap=thp\n", 2,
	    { "wall 1M is below a page of heap thp", "2M" } },
	{ "[host]\nwall=1M\n[pool a]\nheap=huge\n", 4,
	    { "below a page of heap huge" } },
	{ "[pool a]\nheap=thp\nwall=3M\nbase=3M\n", 4,
	    { "base 4M is above wall 3M", "base = 2M" } },
	{ "[host]\nuser_wall=1023K\n", 2,
	    { "user_wall = 1023K is below the least, 1M", "or 0: no limit" } },
	{ "[host]\nuser_wall=1025T\n", 2, { "above the most, 1P" } },
	{ "[host]\nuser_pools=10001\n", 2,
	    { "user_pools = 10001 is above the most, 10000" } },
	{ "[host]\nuser_requests=1000001\n", 2,
	    { "user_requests = 1000001 is above the most, 1000000" } },
	{ "[pool a]\nwall_total=255K\n", 2,
	    { "wall_total = 255K is below the least, 256K", "or 0: no limit" } },
	{ "[pool a]\nwall_total=1025T\n", 2, { "above the most, 1P" } },
	/* words */
	{ "[pool a]\npolicy=fix\n", 2,
	    { "policy = fix is no policy", "fixed, several, growing" } },
	{ "[pool a]\npolicy=\n", 2, { "is no policy" } },
	{ "[pool a]\npolicy=fixed # so\n", 2, { "is no policy", "starts with ;" } },
	{ "[pool a]\ncheck_idle=maybe\n", 2,
	    { "check_idle = maybe is neither yes nor no" } },
	{ "[host]\npressure=on\n", 2, { "pressure = on is no trigger", "write off" } },
	{ "[host]\npressure=\n", 2, { "is no trigger" } },
	{ "[host]\npressure=none 150ms/2s\n", 2, { "is no trigger" } },
	{ "[host]\npressure=some150ms/2s\n", 2, { "is no trigger" } },
	{ "[host]\npressure=some 150ms 2s\n", 2, { "is no trigger" } },
	{ "[host]\npressure=some 150ms/\n", 2, { "is no trigger" } },
	{ "[host]\npressure=some 150/2s\n", 2, { "is no trigger" } },
	{ "[host]\npressure=some 150ms/2s now\n", 2, { "is no trigger" } },
	{ "[host]\npressure=some -1ms/2s\n", 2, { "is no trigger" } },
	{ "[host]\npressure=some 000000000000000000000000000150ms/2s\n", 2,
	    { "is no trigger" } }, /* 32 bytes */
	{ "[host]\npressure=some 100ms/499ms\n", 2, { "window", "500ms to 10s" } },
	{ "[host]\npressure=some 100ms/10001ms\n", 2, { "window", "500ms to 10s" } },
	{ "[host]\npressure=some 501ms/500ms\n", 2,
	    { "the stall is to be above 0", "1us to 500ms" } },
	{ "[host]\npressure=some 0s/2s\n", 2, { "the stall is to be above 0" } },
	/* users and groups */
	{ "[pool a]\nuser=no-such-user\n", 2, { "unknown user", "no-such-user" } },
	{ "[pool a]\ngroup=no-such-group\n", 2, { "unknown group", "no-such-group" } },
	{ "[status]\ngroup=no-such-group\n", 2, { "unknown group" } },
	/* keys against each other */
	{ "[host]\ntick=2s\nrelease_period=1s\n", 3,
	    { "release_period 1s is below tick 2s", "write 2s or more" } },
	{ "[host]\ntick=61s\n", 2, { "release_period 1min is below tick 61s" } },
	{ "[host]\nrelease_period=499ms\n", 2, { "below tick 500ms" } },
	{ "[pool a]\nbase=2M\n\nwall=1M\n", 2,
	    { "base 2M is above wall 1M:", "base = 1M or less", "wall = 2M or more" } },
	{ "[pool a]\nbase=65M\n", 2, { "base 65M is above wall 64M (the default)" } },
	{ "[pool a]\nwall=700K\nbase=700K\n", 3,
	    { "base 768K is above wall 700K", "base = 512K or less" } },
	{ "[pool a]\nadd=65M\n", 2, { "add 65M is above wall 64M" } },
	{ "[pool a]\nwall=2M\nadd=3M\n", 3, { "add 3M is above wall 2M" } },
	{ "[pool a]\nwall_max=63M\n", 2,
	    { "wall_max 63M is below wall 64M (the default)",
		"wall_max = 64M or more" } },
	{ "[pool a]\nwall_max=1M\nwall=2M\n", 2, { "wall_max 1M is below wall 2M:" } },
	{ "[pool a]\nheadroom=67108865\n", 2,
	    { "headroom 67108865 is above wall 64M" } },
	{ "[pool a]\nmax_buffer=1025M\n", 2,
	    { "max_buffer 1025M is above wall_max 1G (the default)" } },
	{ "[pool a]\nwall_max=1G\nmax_buffer=2G\n", 3, { "above wall_max 1G:" } },
	{ "[host]\nwall=1G\n[pool a]\nwall=1025M\n", 4,
	    { "wall 1025M is above the host's wall 1G", "line 2" } },
	{ "[pool a]\nwall=1025M\n[host]\nwall=1G\n", 2,
	    { "host's wall 1G", "line 4" } },
	{ "[host]\nwall=2M\n[pool a]\nbase=3M\n", 4, { "base 3M is above wall 2M" } },
	{ "[host]\nwall=1G\nuser_wall=1025M\n", 3,
	    { "user_wall 1025M is above the host's wall 1G", "line 2" } },
	{ "[host]\nwall=1G\n[pool a]\nwall_total=1025M\n", 4,
	    { "wall_total 1025M is above the host's wall 1G", "line 2" } },
	{ "[pool a]\nwall_total=512K\n", 2,
	    { "base 1M (the default) is above wall_total 512K",
		"base = 512K or less" } },
	{ "[pool a]\nwall_total=2M\nbase=2097153\n", 3,
	    { "base 2304K is above wall_total 2M", "wall_total = 2304K or more" } },
	{ "[pool a]\nwall=1M\nadd=256K\nwall_max=257M\n", 3,
	    { "makes 1025 blocks at wall_max 257M,", "at most 1000", "add = 512K" } },
	{ "[pool a]\nwall=1M\nbase=1M\nadd=1M\nwall_max=1001M\n", 4,
	    { "makes 1001 blocks at wall_max 1001M" } },
	{ "[pool a]\nadd=256K\n", 2, { "blocks at wall_max 1G (the default)" } },
	{ "[pool a]\nwall=1M\nwall_max=2G\n", 3, { "add 1M makes 2048 blocks" } },
};

START_TEST(an_error_names_line_value_limit_and_remedy)
{
	ck_assert_msg(parse(refused[_i].text) == -1, "accepted: %s", refused[_i].text);
	ck_assert_ptr_null(config);
	expect_line(refused[_i].line, refused[_i].words);
}
END_TEST

START_TEST(all_errors_of_a_file_are_told)
{
	static const char *const words[] = { "budd.conf:1: 'x'",
		"budd.conf:3: unknown key", "budd.conf:4: tick = 1x",
		"budd.conf:5: tick = 2s: tick is given twice",
		"budd.conf:6: unknown section", "budd.conf:9: base 2M",
		"budd.conf:11: 'y'" };
	size_t i;

	ck_assert_int_eq(
	    parse("x\n[host]\nfoo=1\ntick=1x\ntick=2s\n[foo]\nbar=1\n[pool a]\n"
		  "base=2M\nwall=1M\ny"),
	    -1);
	ck_assert_uint_eq(lines_said(), NITEMS(words));
	for (i = 0; i < NITEMS(words); i++)
		ck_assert_msg(
		    strstr(said, words[i]) != NULL, "no %s:\n%s", words[i], said);
}
END_TEST

START_TEST(a_bad_value_causes_no_errors_elsewhere)
{
	static const char *const texts[] = {
		"[pool a]\nwall=1x\nbase=128M\nadd=128M\nmax_buffer=2T\n#",
		"[host]\nwall=1x\n[pool a]\nwall=1T\nbase=2M\nadd=2M\n",
		"[pool a]\nwall=2M\nbase=1x\nadd=256K\nwall_max=1G\n",
		"[host]\nwall=1x\nuser_wall=1P\n[pool a]\nwall_total=1P\n",
		"[pool a]\nbase=1x\nwall_total=256K\n",
	};
	static const unsigned int errors[] = { 2, 1, 1, 1, 1 };

	ck_assert_int_eq(parse(texts[_i]), -1);
	ck_assert_msg(lines_said() == errors[_i], "%s", said);
}
END_TEST

START_TEST(wall_max_counts_its_blocks_after_rounding)
{
	accept("[pool a]\nwall=1M\nbase=1M\nadd=1M\nwall_max=1000M\n");
	accept(
	    "[pool a]\nwall=1M\nbase=1M\nadd=1M\nwall_max=1049362432\n"); /* 1000.75M */
	ck_assert_int_eq(
	    parse("[pool a]\nwall=1M\nbase=1M\nadd=1M\nwall_max=1049362433\n"),
	    -1); /* a byte more: 1001M */
}
END_TEST

START_TEST(the_remedy_for_too_many_blocks_is_enough_and_just)
{
	accept("[pool a]\nwall=1M\nadd=512K\nwall_max=257M\n");
	accept("[pool a]\nadd=1280K\n");
	ck_assert_int_eq(parse("[pool a]\nadd=256K\n"), -1);
	ck_assert_ptr_nonnull(strstr(said, "add = 1280K or more"));
	ck_assert_int_eq(parse("[pool a]\nadd=1M\n"), -1);
}
END_TEST

START_TEST(a_line_that_inih_would_cut_is_an_error)
{
	char text[512], value[256];
	static const char *const words[] = { "200 bytes, at most 199", NULL };

	memset(value, ' ', sizeof(value));
	value[200 - strlen("tick=1s")] =
	    '\0'; /* blanks in front of the unit's digits */
	snprintf(text, sizeof(text), "[host]\n\ntick=%s1s\n", value);
	ck_assert_int_eq(parse(text), -1);
	expect_line(3, words);
	value[199 - strlen("tick=1s")] = '\0';
	snprintf(text, sizeof(text), "[host]\n\ntick=%s1s\n", value);
	accept(text);
	ck_assert_int_eq(config->host.tick_ns, 1000 * MS);
}
END_TEST

START_TEST(a_comment_may_be_of_any_length)
{
	char text[2048];

	memset(text, 'x', sizeof(text));
	memcpy(text, "[host]\n# ", 9);
	strcpy(text + 1024, "\ntick=1s\n");
	accept(text);
	ck_assert_int_eq(config->host.tick_ns, 1000 * MS);
}
END_TEST

START_TEST(an_error_is_one_line_whatever_the_file_has_in_it)
{
	static const char *const words[] = { "no?pe", NULL };

	ck_assert_int_eq(parse("[pool a]\nuser=no\x1bpe\n"), -1);
	expect_line(2, words);
}
END_TEST

START_TEST(a_file_of_garbage_is_not_answered_without_end)
{
	char text[2 * (CONFIG_ERRORS_MAX + 5) + 1];
	size_t i;

	for (i = 0; i < CONFIG_ERRORS_MAX + 5; i++)
		memcpy(text + 2 * i, "x\n", 3);
	ck_assert_int_eq(parse(text), -1);
	ck_assert_uint_eq(lines_said(), CONFIG_ERRORS_MAX + 1);
	ck_assert_ptr_nonnull(strstr(said, "budd.conf: and 5 more errors"));
	text[2 * CONFIG_ERRORS_MAX] = '\0';
	ck_assert_int_eq(parse(text), -1);
	ck_assert_uint_eq(lines_said(), CONFIG_ERRORS_MAX);
}
END_TEST

START_TEST(a_file_may_have_a_thousand_sections_and_no_more)
{
	static const char *const words[] = { "more than 1000 sections", NULL };
	char text[(CONFIG_SECTIONS_MAX + 2) * 16], *end = text;
	unsigned int i;

	for (i = 0; i < CONFIG_SECTIONS_MAX; i++)
		end += sprintf(end, "[pool p%u]\n", i);
	accept(text);
	sprintf(end, "[pool x]\n[pool y]\n");
	ck_assert_int_eq(parse(text), -1);
	expect_line(CONFIG_SECTIONS_MAX + 1, words);
}
END_TEST

/* Warnings. */

static const struct {
	const char *text;
	unsigned int line; /* 0: no warning */
	const char *words[3];
} warned[] = {
	{ "[pool a]\nwall=10M\nbase=1M\nadd=2M\n", 2,
	    { "warning: wall 10M leaves 1M unused (base 1M + 4 x add 2M)",
		"write base = 2M" } },
	{ "[pool a]\nwall=10M\nbase=2M\nadd=2M\n", 0, { NULL } },
	{ "[pool a]\nwall=9M\nbase=1M\nadd=2M\n", 0, { NULL } },
	{ "[pool a]\nadd=2M\n\n", 2, { "wall 64M leaves 1M unused" } },
	{ "[pool a]\nbase=4M\n\n", 0, { NULL } },
	{ "[pool a]\nwall=64M\n\n", 2, { "leaves 3M unused", "write base = 4M" } },
	{ "[pool a]\nweight=2\n", 0, { NULL } },
	{ "[pool a]\nwall=300K\n", 2, { "leaves 44K unused", "write wall = 256K" } },
	{ "[host]\nwall=1G\n[pool a]\nwall_max=2G\n", 4,
	    { "warning: wall_max 2G is above the host's wall 1G", "line 2" } },
	{ "[host]\nwall=1G\n[pool a]\nwall_max=1G\n", 0, { NULL } },
};

START_TEST(a_warning_does_not_refuse_the_file)
{
	accept(warned[_i].text);
	if (warned[_i].line == 0)
		ck_assert_str_eq(said, "");
	else
		expect_line(warned[_i].line, warned[_i].words);
}
END_TEST

/* Several texts. */

START_TEST(a_later_text_replaces_keys_one_by_one)
{
	ck_assert_int_eq(parse_both("[host]\ntick=2s\nidle=3s\n[pool a]\nweight=2\n",
			     "[pool a]\nbase=4M\n[host]\ntick=4s\n[pool b]\n"),
	    0);
	ck_assert_str_eq(said, "");
	ck_assert_int_eq(config->host.tick_ns, 4000 * MS);
	ck_assert_int_eq(config->host.idle_ns, 3000 * MS);
	ck_assert_uint_eq(pool("a")->weight, 2);
	ck_assert_uint_eq(pool("a")->base, 4 * MIB);
	ck_assert_uint_eq(pool("b")->weight, 1);
}
END_TEST

START_TEST(a_later_text_takes_a_restriction_away)
{
	ck_assert_int_eq(parse_both("[pool a]\nuser=root\n[host]\npressure=full "
				    "1s/2s\nuser_wall=1G",
			     "[host]\nuser_wall=0\npressure=off\n[pool a]\nuser=\n"),
	    0);
	ck_assert_str_eq(pool("a")->user, "");
	ck_assert(!config->host.pressure.on && !config->host.pressure.full);
	ck_assert_uint_eq(config->host.user_wall, 0);
}
END_TEST

START_TEST(texts_are_held_against_each_other_when_all_are_read)
{
	ck_assert_int_eq(parse_both("[pool a]\nwall=1G\nadd=16M\nbase=16M\n"
				    "[host]\nwall=2M\n",
			     "[host]\nwall=1G\n"),
	    0);
	ck_assert_str_eq(said, "");
}
END_TEST

static const struct {
	const char *text;
	const char *dropin;
	const char *said;
} both_refused[] = {
	{ "[host]\ntick=1s\n", "[host]\nidle=1s\n\nidle=2s\n",
	    "10.conf:4: idle = 2s: idle is given twice, on line 2 first" },
	{ "[host]\n", "[host]\n[host]\n", "10.conf:2: section [host] is there twice" },
	{ "[pool a]\n[pool a]\n", "[pool a]\n",
	    "budd.conf:2: section [pool a] is there twice" },
	{ "[host]\ntick=1x\n", "[host]\ntick=1s\n", "budd.conf:2: tick = 1x is no" },
	{ "[host]\ntick=1s\n", "\n[host]\ntick=1x\n", "10.conf:3: tick = 1x is no" },
	{ "[host]\n", "tick=1s\n", "10.conf:1: tick: no section is above it" },
	{ "[pool a]\nbase=2M\n", "[pool a]\nwall=1M\n",
	    "budd.conf:2: base 2M is above wall 1M" },
	{ "[pool a]\nwall=1M\n", "[pool a]\nbase=2M\n",
	    "10.conf:2: base 2M is above wall 1M" },
	{ "[host]\nwall=1G\n", "\n[pool a]\nwall=2G\n",
	    "10.conf:3: wall 2G is above the host's wall 1G: write 1G or less, or "
	    "raise "
	    "that one (budd.conf:2)" },
};

START_TEST(an_error_names_the_right_text)
{
	ck_assert_int_eq(
	    parse_both(both_refused[_i].text, both_refused[_i].dropin), -1);
	ck_assert_msg(lines_said() == 1 && strstr(said, both_refused[_i].said) == said,
	    "not %s: %s", both_refused[_i].said, said);
}
END_TEST

/* Files. */

static char dir[] = "/tmp/check_config.XXXXXX";

static void
write_file(const char *name, const void *text, size_t len)
{
	FILE *f = fopen(name, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(text, 1, len, f), len);
	ck_assert_int_eq(fclose(f), 0);
}

static void
enter_directory(void)
{
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	ck_assert_int_eq(chmod(".", 0755), 0);
}

static void
leave_directory(void)
{
	tear_down();
	ck_assert_int_eq(system("rm -rf budd.conf budd.conf.d"), 0);
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(rmdir(dir), 0);
	memcpy(dir + sizeof(dir) - 7, "XXXXXX", 6); /* CK_FORK=no: for the next */
}

START_TEST(a_file_is_loaded_and_named_in_its_errors)
{
	write_file("budd.conf", "[host]\ntick=2s\n", 15);
	ck_assert_int_eq(load("budd.conf"), 0);
	ck_assert_int_eq(config->host.tick_ns, 2000 * MS);
	write_file("budd.conf", "[host]\ntick=2x\n", 15);
	ck_assert_int_eq(load("budd.conf"), -1);
	ck_assert_ptr_eq(strstr(said, "budd.conf:2: tick = 2x"), said);
}
END_TEST

START_TEST(a_missing_file_is_an_error_if_it_was_named)
{
	ck_assert_int_eq(load("none.conf"), -1);
	ck_assert_str_eq(
	    said, "none.conf: cannot be opened: No such file or directory\n");
}
END_TEST

START_TEST(a_missing_file_is_the_defaults_if_it_was_not_named)
{
	if (access(CONFIG_PATH, F_OK) == 0) {
		fprintf(stderr, "not tested: there is a %s\n", CONFIG_PATH);
		return;
	}
	ck_assert_int_eq(load(NULL), 0);
	ck_assert_str_eq(said, "");
	expect_defaults();
}
END_TEST

START_TEST(a_directory_is_no_file)
{
	ck_assert_int_eq(load("."), -1);
	ck_assert_str_eq(said, ".: cannot be read: Is a directory\n");
}
END_TEST

START_TEST(an_unreadable_file_is_an_error)
{
	bool root = geteuid() == 0;
	int r;

	write_file("budd.conf", "[host]\n", 7);
	ck_assert_int_eq(chmod("budd.conf", 0), 0);
	ck_assert(!root || seteuid(NOBODY) == 0);
	r = load("budd.conf");
	ck_assert(!root || seteuid(0) == 0);
	ck_assert_int_eq(r, -1);
	ck_assert_str_eq(said, "budd.conf: cannot be opened: Permission denied\n");
}
END_TEST

START_TEST(a_file_with_a_nul_byte_is_an_error)
{
	static const char *const words[] = { "NUL byte", NULL };

	write_file("budd.conf", "[host]\ntick\0=2s\n", 16);
	ck_assert_int_eq(load("budd.conf"), -1);
	expect_line(2, words);
}
END_TEST

START_TEST(a_file_has_at_most_a_mebibyte)
{
	char *text = malloc(CONFIG_FILE_MAX + 1);

	ck_assert_ptr_nonnull(text);
	memset(text, '\n', CONFIG_FILE_MAX + 1);
	write_file("budd.conf", text, CONFIG_FILE_MAX);
	ck_assert_int_eq(load("budd.conf"), 0);
	write_file("budd.conf", text, CONFIG_FILE_MAX + 1);
	ck_assert_int_eq(load("budd.conf"), -1);
	ck_assert_ptr_nonnull(strstr(said, "budd.conf: larger than 1M"));
	free(text);
}
END_TEST

static void
write_text(const char *name, const char *text)
{
	write_file(name, text, strlen(text));
}

static void
write_dropins(void)
{
	write_text("budd.conf", "[host]\ntick=1s\nidle=1s\nhello_timeout=1s\n");
	ck_assert_int_eq(mkdir("budd.conf.d", 0755), 0);
	write_text("budd.conf.d/20.conf", "[host]\ntick=20s\nidle=20s\n");
	write_text("budd.conf.d/100.conf", "[host]\ntick=10s\n");
}

START_TEST(dropins_are_read_behind_the_file_in_the_order_of_their_names)
{
	write_dropins();
	write_text("budd.conf.d/Z.conf", "[host]\nclients_max=7\n");
	write_text("budd.conf.d/a.conf", "[host]\nclients_max=8\n");
	ck_assert_int_eq(load("budd.conf"), 0);
	ck_assert_str_eq(said, "");
	ck_assert_int_eq(config->host.tick_ns, 20000 * MS);
	ck_assert_int_eq(config->host.idle_ns, 20000 * MS);
	ck_assert_int_eq(config->host.hello_timeout_ns, 1000 * MS);
	ck_assert_uint_eq(config->host.clients_max, 8); /* bytes, not the locale */
}
END_TEST

START_TEST(what_is_no_dropin_by_its_name_is_ignored)
{
	static const char *const names[] = { "budd.conf.d/.hidden.conf",
		"budd.conf.d/.conf", "budd.conf.d/30.conf~", "budd.conf.d/30.conf.bak",
		"budd.conf.d/README", "budd.conf.d/30conf", "budd.conf.d/conf" };

	write_dropins();
	for (size_t i = 0; i < NITEMS(names); i++)
		write_text(names[i], "no config\n");
	ck_assert_int_eq(load("budd.conf"), 0);
	ck_assert_str_eq(said, "");
}
END_TEST

START_TEST(a_dropin_directory_may_be_empty)
{
	write_text("budd.conf", "[host]\ntick=1s\n");
	ck_assert_int_eq(mkdir("budd.conf.d", 0755), 0);
	ck_assert_int_eq(load("budd.conf"), 0);
	ck_assert_int_eq(config->host.tick_ns, 1000 * MS);
}
END_TEST

START_TEST(dropins_do_not_replace_a_missing_file_that_was_named)
{
	write_dropins();
	ck_assert_int_eq(unlink("budd.conf"), 0);
	ck_assert_int_eq(load("budd.conf"), -1);
	ck_assert_str_eq(
	    said, "budd.conf: cannot be opened: No such file or directory\n");
}
END_TEST

START_TEST(an_error_in_a_dropin_names_it)
{
	write_dropins();
	write_text("budd.conf.d/20.conf", "\n[host]\ntick=2x\n");
	ck_assert_int_eq(load("budd.conf"), -1);
	ck_assert_ptr_eq(strstr(said, "budd.conf.d/20.conf:3: tick = 2x"), said);
	ck_assert_uint_eq(lines_said(), 1);
}
END_TEST

START_TEST(a_dropin_that_is_a_directory_is_an_error)
{
	write_dropins();
	ck_assert_int_eq(mkdir("budd.conf.d/30.conf", 0755), 0);
	ck_assert_int_eq(load("budd.conf"), -1);
	ck_assert_str_eq(said, "budd.conf.d/30.conf: cannot be read: Is a directory\n");
}
END_TEST

START_TEST(a_dropin_that_points_nowhere_is_an_error)
{
	write_dropins();
	ck_assert_int_eq(symlink("nowhere", "budd.conf.d/30.conf"), 0);
	ck_assert_int_eq(load("budd.conf"), -1);
	ck_assert_str_eq(
	    said, "budd.conf.d/30.conf: cannot be opened: No such file or directory\n");
}
END_TEST

START_TEST(a_dropin_directory_that_is_a_file_is_an_error)
{
	write_text("budd.conf", "");
	write_text("budd.conf.d", "");
	ck_assert_int_eq(load("budd.conf"), -1);
	ck_assert_str_eq(said, "budd.conf.d: cannot be opened: Not a directory\n");
}
END_TEST

static void
expect_unreadable(const char *path)
{
	bool root = geteuid() == 0;
	char line[128];
	int r;

	write_dropins();
	ck_assert_int_eq(chmod(path, 0), 0);
	ck_assert(!root || seteuid(NOBODY) == 0);
	r = load("budd.conf");
	ck_assert(!root || seteuid(0) == 0);
	ck_assert_int_eq(chmod(path, 0755), 0);
	ck_assert_int_eq(r, -1);
	snprintf(line, sizeof(line), "%s: cannot be opened: Permission denied\n", path);
	ck_assert_str_eq(said, line);
}

START_TEST(an_unreadable_dropin_is_an_error)
{
	expect_unreadable("budd.conf.d/20.conf");
}
END_TEST

START_TEST(an_unreadable_dropin_directory_is_an_error)
{
	expect_unreadable("budd.conf.d");
}
END_TEST

/* The sample. */

static char *
read_sample(void)
{
	const char *srcdir = getenv("srcdir");
	char path[1024], *text = calloc(1, 65536);
	FILE *f;

	snprintf(path, sizeof(path), "%s/etc/budd.conf", srcdir != NULL ? srcdir : ".");
	f = fopen(path, "r");
	ck_assert_msg(f != NULL, "%s: %s: set srcdir", path, strerror(errno));
	ck_assert_ptr_nonnull(text);
	ck_assert_uint_lt(fread(text, 1, 65535, f), 65535);
	fclose(f);
	return text;
}

START_TEST(the_sample_is_the_defaults)
{
	char *text = read_sample();

	accept(text);
	ck_assert_str_eq(said, "");
	expect_defaults();
	free(text);
}
END_TEST

/* "#key = value" becomes a key; prose has a space behind its #. */
static unsigned int
uncomment(char *text)
{
	unsigned int keys = 0;
	char *line = text;

	for (; line != NULL; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (line[0] != '#' || line[1] < 'a' || line[1] > 'z')
			continue;
		*line = ' ';
		keys++;
	}
	return keys;
}

START_TEST(the_sample_gives_every_key_with_its_default)
{
	char *text = read_sample();

	ck_assert_uint_eq(uncomment(text), 13 + 13 + 2);
	accept(text);
	expect_defaults();
	free(text);
}
END_TEST

START_TEST(nothing_is_nothing_to_free)
{
	config_free(NULL);
}
END_TEST

/* --- Handed on --- */

START_TEST(another_process_gets_the_same)
{
	struct config *other;
	int fd;

	ck_assert_int_eq(
	    parse("[host]\nwall=1G\n[status]\ngroup=daemon\n"
		  "[pool x]\nuser=daemon\nwall=8M\n[pool y]\ngroup=root\n"),
	    0);
	fd = config_pack(config);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, "x", 1), -1);
	ck_assert_int_eq(config_unpack(fd, &other), 0);
	close(fd);
	ck_assert_uint_eq(other->host.wall, 1024 * 1024 * 1024);
	ck_assert_str_eq(other->status_group, "daemon");
	ck_assert_uint_eq(other->status_gid, 1);
	ck_assert_str_eq(config_pool_find(other, "x")->name, "x");
	ck_assert_uint_eq(config_pool_find(other, "x")->uid, 1);
	ck_assert_uint_eq(config_pool_find(other, "x")->gid, CONFIG_NO_ID);
	ck_assert_uint_eq(config_pool_find(other, "y")->gid, 0);
	ck_assert_str_eq(config_pool_find(other, "z")->name, "default");
	config_free(other);
}
END_TEST

START_TEST(what_is_no_configuration_is_not_taken)
{
	struct config *other;
	int fd = memfd_create("test", MFD_CLOEXEC);

	ck_assert_int_eq(write(fd, "x", 1), 1);
	ck_assert_int_eq(config_unpack(fd, &other), -EPROTO);
	ck_assert_int_lt(config_unpack(-1, &other), 0);
	close(fd);
}
END_TEST

static TCase *
values_case(void)
{
	TCase *t = tcase_create("values");

	tcase_add_loop_test(
	    t, a_size_is_digits_and_at_most_one_unit, 0, (int)NITEMS(sizes));
	tcase_add_loop_test(t, a_time_is_digits_and_a_unit, 0, (int)NITEMS(times));
	tcase_add_loop_test(t, a_count_is_digits, 0, (int)NITEMS(counts));
	tcase_add_test(t, yes_has_four_words_and_so_has_no);
	tcase_add_test(t, a_wall_in_mib_is_rounded_to_the_nearest);
	return t;
}

static TCase *
texts_case(void)
{
	TCase *t = tcase_create("texts");

	tcase_add_checked_fixture(t, NULL, tear_down);
	tcase_add_test(t, another_process_gets_the_same);
	tcase_add_test(t, what_is_no_configuration_is_not_taken);
	tcase_add_loop_test(t, an_empty_file_means_the_defaults_and_says_nothing, 0, 6);
	tcase_add_loop_test(
	    t, what_is_not_given_follows_from_what_is, 0, (int)NITEMS(derived));
	tcase_add_test(t, a_section_does_not_inherit_from_pool_default);
	tcase_add_test(t, a_name_without_a_section_finds_default);
	tcase_add_test(t, each_key_reaches_its_field);
	tcase_add_test(t, blanks_comments_and_indentation_do_not_matter);
	tcase_add_loop_test(
	    t, a_value_at_its_limit_is_accepted, 0, (int)NITEMS(accepted));
	tcase_add_loop_test(
	    t, an_error_names_line_value_limit_and_remedy, 0, (int)NITEMS(refused));
	tcase_add_test(t, all_errors_of_a_file_are_told);
	tcase_add_loop_test(t, a_bad_value_causes_no_errors_elsewhere, 0, 5);
	tcase_add_test(t, wall_max_counts_its_blocks_after_rounding);
	tcase_add_test(t, the_remedy_for_too_many_blocks_is_enough_and_just);
	tcase_add_test(t, a_line_that_inih_would_cut_is_an_error);
	tcase_add_test(t, a_comment_may_be_of_any_length);
	tcase_add_test(t, an_error_is_one_line_whatever_the_file_has_in_it);
	tcase_add_test(t, a_file_of_garbage_is_not_answered_without_end);
	tcase_add_test(t, a_file_may_have_a_thousand_sections_and_no_more);
	tcase_add_loop_test(
	    t, a_warning_does_not_refuse_the_file, 0, (int)NITEMS(warned));
	tcase_add_test(t, a_later_text_replaces_keys_one_by_one);
	tcase_add_test(t, a_later_text_takes_a_restriction_away);
	tcase_add_test(t, texts_are_held_against_each_other_when_all_are_read);
	tcase_add_loop_test(
	    t, an_error_names_the_right_text, 0, (int)NITEMS(both_refused));
	tcase_add_test(t, the_sample_is_the_defaults);
	tcase_add_test(t, the_sample_gives_every_key_with_its_default);
	tcase_add_test(t, nothing_is_nothing_to_free);
	return t;
}

static TCase *
files_case(void)
{
	TCase *t = tcase_create("files");

	tcase_add_checked_fixture(t, enter_directory, leave_directory);
	tcase_add_test(t, a_file_is_loaded_and_named_in_its_errors);
	tcase_add_test(t, a_missing_file_is_an_error_if_it_was_named);
	tcase_add_test(t, a_missing_file_is_the_defaults_if_it_was_not_named);
	tcase_add_test(t, a_directory_is_no_file);
	tcase_add_test(t, an_unreadable_file_is_an_error);
	tcase_add_test(t, a_file_with_a_nul_byte_is_an_error);
	tcase_add_test(t, a_file_has_at_most_a_mebibyte);
	tcase_add_test(t, dropins_are_read_behind_the_file_in_the_order_of_their_names);
	tcase_add_test(t, what_is_no_dropin_by_its_name_is_ignored);
	tcase_add_test(t, a_dropin_directory_may_be_empty);
	tcase_add_test(t, dropins_do_not_replace_a_missing_file_that_was_named);
	tcase_add_test(t, an_error_in_a_dropin_names_it);
	tcase_add_test(t, a_dropin_that_is_a_directory_is_an_error);
	tcase_add_test(t, a_dropin_that_points_nowhere_is_an_error);
	tcase_add_test(t, a_dropin_directory_that_is_a_file_is_an_error);
	tcase_add_test(t, an_unreadable_dropin_is_an_error);
	tcase_add_test(t, an_unreadable_dropin_directory_is_an_error);
	return t;
}

int
main(void)
{
	Suite *s = suite_create("config");
	SRunner *r = srunner_create(s);
	int failed;

	umask(umask(0) & 022); /* nobody is to read what we write */
	suite_add_tcase(s, values_case());
	suite_add_tcase(s, texts_case());
	suite_add_tcase(s, files_case());
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
