/* SPDX-License-Identifier: ISC */

/*
 * budd.conf: from text to values.
 *
 * In two steps. First line by line: each key is put into its section, or reported. Then
 * section by section: defaults are filled in that depend on other keys, and keys are
 * held against each other. A key whose value is bad is unknown in the second step, and
 * whatever depends on it is not judged, so that one mistake is one error.
 *
 * inih takes a line apart: key, separator, value, comment. What it is not asked:
 *  - sections: it cuts their names at 49 bytes, and does not tell where one starts;
 *  - where a line is: its handler gets no number in Debian's build, and only the first
 *    bad line of a file is told. So the reader below counts, and remembers whether the
 *    line that it handed out came back as a key;
 *  - continued lines: an indented key would silently become a part of the one above it.
 *    So lines are handed out without their indentation;
 *  - long lines: it would read the rest of one as a line of its own.
 */
#include "daemon/config.h"

#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <ini.h>
#include <inttypes.h>
#include <libutil.h>
#include <pwd.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

#include "proto/ledger.h"

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define PIB ((uint64_t)1 << 50)

#define US     ((int64_t)1000)
#define MS     (1000 * US)
#define SEC    (1000 * MS)
#define MINUTE (60 * SEC)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

#define POOL_SIZE_MAX  (CHUNKS_MAX * CHUNK_SIZE) /* what a ledger can tell of */
#define DEFAULT_WALL   (64 * MIB)
#define DEFAULT_BASE   (1 * MIB)
#define DEFAULT_ADD    (1 * MIB) /* the least */
#define WALL_MAX_WALLS 16u       /* wall_max, in walls */
#define WALL_ADDS      16u       /* a wall, in adds */

#define NITEMS(a)  (sizeof(a) / sizeof((a)[0]))
#define BLANKS     " \t\r\v\f"
#define QUOTED_MAX 60  /* bytes of a line that an error repeats */
#define LINE_BYTES 512 /* of an error: two values that inih reads, and our words */

struct parse;
struct section;

enum value_kind {
	VALUE_SIZE,
	VALUE_TIME,
	VALUE_COUNT
};

struct key {
	const char *name;
	int (*set)(
	    struct parse *p, struct section *s, const struct key *k, const char *value);
	size_t offset; /* of the value in struct section */
	uint64_t min;
	uint64_t max;
	const char *zero; /* what 0 means where it is below min; NULL: nothing */
};

enum section_kind {
	SECTION_HOST,
	SECTION_POOL,
	SECTION_STATUS,
	SECTIONS
};

enum host_key {
	HOST_WALL,
	HOST_TICK,
	HOST_RELEASE_PERIOD,
	HOST_IDLE,
	HOST_HELLO_TIMEOUT,
	HOST_CLIENTS_MAX,
	HOST_OVERTAKEN_MAX,
};

enum pool_key {
	POOL_USER,
	POOL_GROUP,
	POOL_BASE,
	POOL_ADD,
	POOL_WALL,
	POOL_WALL_MAX,
	POOL_WEIGHT,
	POOL_HEAP,
	POOL_HEADROOM,
	POOL_MAX_BUFFER,
	POOL_KEYS
};

#define KEYS_MAX POOL_KEYS /* no section has more */

/* A section of the file, or one that the file does not have (then its line is 0). */
struct section {
	STAILQ_ENTRY(section) entry;
	enum section_kind kind;
	unsigned int line;
	bool spare; /* a second one, or a bad name: its keys are checked, and dropped */
	unsigned int lines[KEYS_MAX]; /* where each key was given; 0: nowhere */
	bool bad[KEYS_MAX];           /* given or not, its value is not known */
	struct config_host host;
	struct config_pool pool;
	char status_group[64];
};

struct parse {
	const char *name; /* of the file */
	FILE *errors;
	unsigned int errors_count;
	const char *rest;  /* of the text */
	unsigned int line; /* the number of the line at hand */
	const char *text;  /* which starts here, without indentation */
	size_t len;        /* and has so many bytes, without trailing blanks */
	bool expects_key;  /* inih has the line, and has not made a key of it yet */
	bool any_section;
	unsigned int sections_count;
	struct section *section; /* NULL: before the first, or in an unknown one */
	STAILQ_HEAD(, section) sections;
};

/* Numbers as text. A struct, so that it can be made where it is printed. */
struct number_text {
	char s[32];
};

/* Reports. */

/* One line, whatever bytes the file has; and not without end for a file of garbage. */
static void
report_line(struct parse *p, unsigned int line, const char *text)
{
	char clean[LINE_BYTES];
	size_t i;

	strlcpy(clean, text, sizeof(clean));
	for (i = 0; clean[i] != '\0'; i++)
		if ((unsigned char)clean[i] < ' ' || clean[i] == 0x7f)
			clean[i] = '?';
	if (line == 0)
		fprintf(p->errors, "%s: %s\n", p->name, clean);
	else
		fprintf(p->errors, "%s:%u: %s\n", p->name, line, clean);
}

static void report(struct parse *p, unsigned int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void warning(struct parse *p, unsigned int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void
report(struct parse *p, unsigned int line, const char *fmt, ...)
{
	char text[LINE_BYTES];
	va_list ap;

	if (++p->errors_count > CONFIG_ERRORS_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	report_line(p, line, text);
}

static void
warning(struct parse *p, unsigned int line, const char *fmt, ...)
{
	char text[LINE_BYTES] = "warning: ";
	size_t len = strlen(text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + len, sizeof(text) - len, fmt, ap);
	va_end(ap);
	report_line(p, line, text);
}

/* Values. */

int
config_parse_size(const char *text, uint64_t *bytesp)
{
	size_t digits = strspn(text, "0123456789");
	uint64_t bytes;

	/* expand_number() also takes signs, blanks, 0x10, and what follows a unit. */
	if (digits == 0 || (text[digits] != '\0' && text[digits + 1] != '\0'))
		return -EINVAL;
	if (text[digits] != '\0' && strchr("KkMmGgTtPpEe", text[digits]) == NULL)
		return -EINVAL;
	while (text[0] == '0' && digits > 1) /* or it would be octal */
		text++, digits--;
	errno = 0; /* digits beyond 64 bits are told in errno alone */
	if (expand_number(text, &bytes) == -1 || errno == ERANGE)
		return -ERANGE;
	*bytesp = bytes;
	return 0;
}

static const struct {
	const char *name;
	int64_t ns;
} time_units[] = {
	{ "d", DAY },
	{ "h", HOUR },
	{ "min", MINUTE },
	{ "s", SEC },
	{ "ms", MS },
	{ "us", US },
};

int
config_parse_time(const char *text, int64_t *nsp)
{
	size_t digits = strspn(text, "0123456789");
	size_t unit = 0;
	int64_t ns;

	while (unit < NITEMS(time_units) &&
	       strcmp(text + digits, time_units[unit].name) != 0)
		unit++;
	if (digits == 0 || unit == NITEMS(time_units))
		return -EINVAL;
	errno = 0;
	ns = strtoll(text, NULL, 10);
	if (errno == ERANGE || __builtin_mul_overflow(ns, time_units[unit].ns, &ns))
		return -ERANGE;
	*nsp = ns;
	return 0;
}

/* The way a person would write it in the file: 1280K, not 1.25M. */
static struct number_text
size_text(uint64_t bytes)
{
	static const char units[] = " KMGTPE";
	struct number_text t;
	size_t unit = 0;

	while (bytes != 0 && bytes % KIB == 0 && units[unit + 1] != '\0')
		bytes /= KIB, unit++;
	snprintf(t.s, sizeof(t.s), "%" PRIu64 "%.*s", bytes, unit > 0, &units[unit]);
	return t;
}

static struct number_text
time_text(int64_t ns)
{
	struct number_text t;
	size_t unit = 0;

	while (unit < NITEMS(time_units) - 1 && ns % time_units[unit].ns != 0)
		unit++;
	snprintf(t.s, sizeof(t.s), "%" PRId64 "%s", ns / time_units[unit].ns,
	    time_units[unit].name);
	return t;
}

static struct number_text
value_text(enum value_kind kind, uint64_t value)
{
	struct number_text t;

	if (kind == VALUE_SIZE)
		return size_text(value);
	if (kind == VALUE_TIME)
		return time_text((int64_t)value);
	snprintf(t.s, sizeof(t.s), "%" PRIu64, value);
	return t;
}

uint64_t
config_wall_mib(uint64_t wall_bytes)
{
	return wall_bytes / MIB + (wall_bytes % MIB >= MIB / 2);
}

static uint64_t
chunks_down(uint64_t bytes)
{
	return bytes - bytes % CHUNK_SIZE;
}

/* @bytes is far from the end of 64 bits: the table of keys limits each size. */
static uint64_t
chunks_up(uint64_t bytes)
{
	return chunks_down(bytes + CHUNK_SIZE - 1);
}

/* Keys: one value each. */

static void *
place(struct section *s, const struct key *k)
{
	return (char *)s + k->offset;
}

/* Is it in the key's range? @r is what the parser said of @value. */
static int
check_value(struct parse *p, const struct key *k, enum value_kind kind,
    const char *value, int r, uint64_t number)
{
	struct number_text min = value_text(kind, k->min);
	struct number_text max = value_text(kind, k->max);

	if (r == 0 && number == 0 && k->zero != NULL)
		return 0;
	if (r == 0 && number < k->min) {
		report(p, p->line, "%s = %s is below the least, %s: write %s to %s%s%s",
		    k->name, value, min.s, min.s, max.s,
		    k->zero != NULL ? ", or 0: " : "", k->zero != NULL ? k->zero : "");
		return -1;
	}
	if (r == -ERANGE || (r == 0 && number > k->max)) {
		report(p, p->line, "%s = %s is above the most, %s: write %s to %s",
		    k->name, value, max.s, min.s, max.s);
		return -1;
	}
	return r;
}

/* Many files take a # behind a value for a comment; inih does not. */
static const char *
comment_hint(const char *value)
{
	return strchr(value, '#') != NULL ? " (a comment behind a value starts with ;)"
					  : "";
}

static int
set_size(struct parse *p, struct section *s, const struct key *k, const char *value)
{
	uint64_t bytes = 0;
	int r = config_parse_size(value, &bytes);

	if (r == -EINVAL)
		report(p, p->line,
		    "%s = %s is no size: write it like 64M, from %s to %s%s", k->name,
		    value, size_text(k->min).s, size_text(k->max).s,
		    comment_hint(value));
	if (check_value(p, k, VALUE_SIZE, value, r, bytes) != 0)
		return -1;
	*(uint64_t *)place(s, k) = bytes;
	return 0;
}

static int
set_time(struct parse *p, struct section *s, const struct key *k, const char *value)
{
	int64_t ns = 0;
	int r = config_parse_time(value, &ns);

	if (r == -EINVAL)
		report(p, p->line,
		    "%s = %s is no time (us, ms, s, min, h, d): write %s to %s%s",
		    k->name, value, time_text((int64_t)k->min).s,
		    time_text((int64_t)k->max).s, comment_hint(value));
	if (check_value(p, k, VALUE_TIME, value, r, (uint64_t)ns) != 0)
		return -1;
	*(int64_t *)place(s, k) = ns;
	return 0;
}

static int
parse_count(const char *text, uint64_t *countp)
{
	const char *why;

	if (*text == '\0' || text[strspn(text, "0123456789")] != '\0')
		return -EINVAL;
	*countp = (uint64_t)strtonum(text, 0, LLONG_MAX, &why);
	return why == NULL ? 0 : -ERANGE;
}

static int
set_count(struct parse *p, struct section *s, const struct key *k, const char *value)
{
	uint64_t count = 0;
	int r = parse_count(value, &count);

	if (r == -EINVAL)
		report(p, p->line,
		    "%s = %s is no whole number: write %" PRIu64 " to %" PRIu64 "%s",
		    k->name, value, k->min, k->max, comment_hint(value));
	if (check_value(p, k, VALUE_COUNT, value, r, count) != 0)
		return -1;
	*(uint32_t *)place(s, k) = (uint32_t)count;
	return 0;
}

/* Not found, or not looked up? For the first, systems say this and that. */
static const char *
lookup_error(int error)
{
	if (error == EIO || error == EMFILE || error == ENFILE || error == ENOMEM)
		return strerror(error);
	return "the system knows no such name";
}

static int
set_name(struct parse *p, struct section *s, const struct key *k, const char *value,
    const char *error)
{
	if (error == NULL && strlen(value) > k->max)
		error = "the name is longer than 63 bytes";
	if (error != NULL) {
		report(p, p->line,
		    "unknown %s: %s = %s: %s: create it, or correct the name%s",
		    k->name, k->name, value, error, comment_hint(value));
		return -1;
	}
	strlcpy(place(s, k), value, k->max + 1);
	return 0;
}

/* An empty name is the default: no restriction. */
static int
set_user(struct parse *p, struct section *s, const struct key *k, const char *value)
{
	const char *error = NULL;

	errno = 0;
	if (*value != '\0' && getpwnam(value) == NULL)
		error = lookup_error(errno);
	return set_name(p, s, k, value, error);
}

static int
set_group(struct parse *p, struct section *s, const struct key *k, const char *value)
{
	const char *error = NULL;

	errno = 0;
	if (*value != '\0' && getgrnam(value) == NULL)
		error = lookup_error(errno);
	return set_name(p, s, k, value, error);
}

static int
set_heap(struct parse *p, struct section *s, const struct key *k, const char *value)
{
	(void)s;
	if (strcmp(value, "page") == 0)
		return 0;
	report(p, p->line, "%s = %s: only page is accepted so far: write %s = page",
	    k->name, value, k->name);
	return -1;
}

#define AT(field)   offsetof(struct section, field)
#define NAME_BYTES  (sizeof(((struct config_pool *)NULL)->user) - 1)
#define YEAR        (365 * DAY)
#define OVERTAKEN   10000u
#define WEIGHT_MOST 1000u

static const struct key host_keys[] = {
	[HOST_WALL] = { "wall", set_size, AT(host.wall), MIB, PIB,
	    "budd finds it out" },
	[HOST_TICK] = { "tick", set_time, AT(host.tick_ns), MS, HOUR, NULL },
	[HOST_RELEASE_PERIOD] = { "release_period", set_time,
	    AT(host.release_period_ns), MS, YEAR, NULL },
	[HOST_IDLE] = { "idle", set_time, AT(host.idle_ns), MS, YEAR, NULL },
	[HOST_HELLO_TIMEOUT] = { "hello_timeout", set_time, AT(host.hello_timeout_ns),
	    MS, HOUR, NULL },
	[HOST_CLIENTS_MAX] = { "clients_max", set_count, AT(host.clients_max), 1,
	    CONFIG_CLIENTS_MAX, NULL },
	[HOST_OVERTAKEN_MAX] = { "overtaken_max", set_count, AT(host.overtaken_max), 0,
	    OVERTAKEN, NULL },
};

static const struct key pool_keys[] = {
	[POOL_USER] = { "user", set_user, AT(pool.user), 0, NAME_BYTES, NULL },
	[POOL_GROUP] = { "group", set_group, AT(pool.group), 0, NAME_BYTES, NULL },
	[POOL_BASE] = { "base", set_size, AT(pool.base), FRAME_SIZE, POOL_SIZE_MAX,
	    NULL },
	[POOL_ADD] = { "add", set_size, AT(pool.add), CHUNK_SIZE, POOL_SIZE_MAX, NULL },
	[POOL_WALL] = { "wall", set_size, AT(pool.wall), CHUNK_SIZE, POOL_SIZE_MAX,
	    NULL },
	[POOL_WALL_MAX] = { "wall_max", set_size, AT(pool.wall_max), CHUNK_SIZE,
	    POOL_SIZE_MAX, NULL },
	[POOL_WEIGHT] = { "weight", set_count, AT(pool.weight), 1, WEIGHT_MOST, NULL },
	[POOL_HEAP] = { "heap", set_heap, 0, 0, 0, NULL },
	[POOL_HEADROOM] = { "headroom", set_size, AT(pool.headroom), 0, POOL_SIZE_MAX,
	    NULL },
	[POOL_MAX_BUFFER] = { "max_buffer", set_size, AT(pool.max_buffer), FRAME_SIZE,
	    POOL_SIZE_MAX, NULL },
};

static const struct key status_keys[] = {
	{ "group", set_group, AT(status_group), 0, NAME_BYTES, NULL },
};

static const struct {
	const char *name;
	const struct key *keys;
	size_t keys_count;
} kinds[SECTIONS] = {
	[SECTION_HOST] = { "host", host_keys, NITEMS(host_keys) },
	[SECTION_POOL] = { "pool", pool_keys, NITEMS(pool_keys) },
	[SECTION_STATUS] = { "status", status_keys, NITEMS(status_keys) },
};
static_assert(NITEMS(host_keys) <= KEYS_MAX && NITEMS(status_keys) <= KEYS_MAX,
    "struct section has room for each key");

/* The index of a key in its table, or the number of keys there. */
static size_t
key_find(enum section_kind kind, const char *name)
{
	size_t i = 0;

	while (
	    i < kinds[kind].keys_count && strcmp(kinds[kind].keys[i].name, name) != 0)
		i++;
	return i;
}

/* Edit distance, row by row; @b is one of ours, and short. */
static size_t
distance(const char *a, const char *b)
{
	size_t row[32], len = strlen(b), i, j, diagonal, above;

	assert(len < NITEMS(row));
	for (j = 0; j <= len; j++)
		row[j] = j;
	for (i = 1; a[i - 1] != '\0'; i++) {
		diagonal = row[0];
		row[0] = i;
		for (j = 1; j <= len; j++) {
			above = row[j];
			row[j] = MIN(MIN(above, row[j - 1]) + 1,
			    diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[len];
}

/* The key that was meant, presumably; NULL if none is near. */
static const char *
key_near(enum section_kind kind, const char *name)
{
	const char *near = NULL;
	size_t best = SIZE_MAX, i, d;

	for (i = 0; i < kinds[kind].keys_count; i++) {
		const char *known = kinds[kind].keys[i].name;

		d = distance(name, known);
		if (d < best && d <= (strlen(known) < 4 ? 1 : 2)) {
			best = d;
			near = known;
		}
	}
	return near;
}

/* "wall, tick, ...": of a section. */
static void
keys_list(enum section_kind kind, char *list, size_t size)
{
	size_t i;

	list[0] = '\0';
	for (i = 0; i < kinds[kind].keys_count; i++) {
		strlcat(list, i > 0 ? ", " : "", size);
		strlcat(list, kinds[kind].keys[i].name, size);
	}
}

static void
report_unknown_key(struct parse *p, enum section_kind kind, const char *name)
{
	const char *near = key_near(kind, name);
	char list[160];
	unsigned int k;

	if (near != NULL) {
		report(p, p->line, "unknown key '%s' in [%s]: did you mean %s?", name,
		    kinds[kind].name, near);
		return;
	}
	for (k = 0; k < SECTIONS; k++) {
		if (key_find(k, name) == kinds[k].keys_count)
			continue;
		report(p, p->line, "unknown key '%s' in [%s]: it belongs in [%s]", name,
		    kinds[kind].name, kinds[k].name);
		return;
	}
	keys_list(kind, list, sizeof(list));
	report(p, p->line, "unknown key '%s' in [%s]: there are %s", name,
	    kinds[kind].name, list);
}

/* inih's handler. What it returns is for inih's own count of errors, which we do not
 * ask. */
static int
on_key(void *arg, const char *inih_section, const char *name, const char *value)
{
	struct parse *p = arg;
	struct section *s = p->section;
	size_t i;

	(void)inih_section;
	p->expects_key = false;
	if (s == NULL) {
		if (!p->any_section)
			report(p, p->line,
			    "%s: no section is above it: write [host] or [pool NAME]",
			    name);
		return 1;
	}
	i = key_find(s->kind, name);
	if (i == kinds[s->kind].keys_count) {
		report_unknown_key(p, s->kind, name);
	} else if (s->lines[i] != 0) {
		report(p, p->line,
		    "%s = %s: %s is given twice, on line %u first: delete one", name,
		    value, name, s->lines[i]);
	} else {
		s->lines[i] = p->line;
		s->bad[i] = kinds[s->kind].keys[i].set(
				p, s, &kinds[s->kind].keys[i], value) != 0;
	}
	return 1;
}

/* Sections. */

static struct section *
section_find(struct parse *p, enum section_kind kind, const char *name)
{
	struct section *s;

	STAILQ_FOREACH (s, &p->sections, entry)
		if (!s->spare && s->kind == kind && strcmp(s->pool.name, name) == 0)
			return s;
	return NULL;
}

/* @line 0: one that the file does not have. NULL: out of memory. */
static struct section *
section_add(
    struct parse *p, enum section_kind kind, const char *name, unsigned int line)
{
	struct section *s = calloc(1, sizeof(*s));

	if (s == NULL) {
		report(p, line, "out of memory");
		return NULL;
	}
	s->kind = kind;
	s->line = line;
	s->host = (struct config_host){
		.tick_ns = 500 * MS,
		.release_period_ns = 60 * SEC,
		.idle_ns = 5 * MINUTE,
		.hello_timeout_ns = 10 * SEC,
		.clients_max = 1000,
		.overtaken_max = 16,
	};
	s->pool.weight = 1;
	strlcpy(s->pool.name, name, sizeof(s->pool.name));
	STAILQ_INSERT_TAIL(&p->sections, s, entry);
	return s;
}

/* The same rule as a HELLO's: names go into logs, JSON and terminals. */
static bool
pool_name_ok(struct parse *p, const char *name)
{
	const unsigned char *c = (const unsigned char *)name;

	if (*name == '\0') {
		report(p, p->line,
		    "[pool] needs a name: write [pool NAME], for example [pool %s]",
		    CONFIG_DEFAULT_POOL);
		return false;
	}
	if (strlen(name) >= PROTO_NAME_SIZE) {
		report(p, p->line,
		    "[pool %.*s...]: a name of %zu bytes, at most %u fit: shorten it",
		    QUOTED_MAX, name, strlen(name), PROTO_NAME_SIZE - 1);
		return false;
	}
	while (*c > ' ' && *c != 0x7f && *c != '/')
		c++;
	if (*c == '\0')
		return true;
	report(p, p->line,
	    "[pool %s]: no space, slash or control character may be in a name: use -",
	    name);
	return false;
}

/* Keys that follow go into it. */
static void
section_start(struct parse *p, enum section_kind kind, const char *name, bool named)
{
	const struct section *first = section_find(p, kind, name);

	if (++p->sections_count > CONFIG_SECTIONS_MAX) {
		if (p->sections_count == CONFIG_SECTIONS_MAX + 1)
			report(p, p->line, "more than %u sections: delete some",
			    CONFIG_SECTIONS_MAX);
		return;
	}
	if (named && first != NULL)
		report(p, p->line,
		    "section [%s%s%s] is there twice, on line %u first: make them one",
		    kinds[kind].name, *name != '\0' ? " " : "", name, first->line);
	p->section = section_add(p, kind, name, p->line);
	if (p->section != NULL)
		p->section->spare = !named || first != NULL;
}

/* What stood between the brackets. */
static void
section_open(struct parse *p, const char *title)
{
	size_t word = strcspn(title, BLANKS);

	if (strcmp(title, "host") == 0) {
		section_start(p, SECTION_HOST, "", true);
	} else if (strcmp(title, "status") == 0) {
		section_start(p, SECTION_STATUS, "", true);
	} else if (word == strlen("pool") && memcmp(title, "pool", word) == 0) {
		title += word + strspn(title + word, BLANKS);
		section_start(p, SECTION_POOL, title, pool_name_ok(p, title));
	} else {
		report(p, p->line,
		    "unknown section [%.*s]: there are [host], [pool NAME], [status]",
		    QUOTED_MAX, title);
	}
}

/* Lines. */

/* Bytes of @text without its trailing blanks. */
static size_t
trimmed(const char *text, size_t len)
{
	while (len > 0 && strchr(BLANKS, text[len - 1]) != NULL)
		len--;
	return len;
}

/* The line at hand starts with [. */
static void
read_header(struct parse *p)
{
	const char *end = memchr(p->text, ']', p->len);
	const char *start, *behind;
	char *title;

	p->section = NULL;
	p->any_section = true;
	if (end == NULL) {
		report(p, p->line,
		    "'%.*s': the ] is missing: write it like [host] or [pool NAME]",
		    (int)MIN(p->len, QUOTED_MAX), p->text);
		return;
	}
	behind = end + 1 + strspn(end + 1, BLANKS);
	if (behind < p->text + p->len && *behind != ';' && *behind != '#') {
		report(p, p->line,
		    "'%.*s': text behind the bracket: put it on a line of its own",
		    (int)MIN(p->len, QUOTED_MAX), p->text);
		return;
	}
	start = p->text + 1 + strspn(p->text + 1, BLANKS);
	title = strndup(start, trimmed(start, (size_t)(end - start)));
	if (title == NULL)
		report(p, p->line, "out of memory");
	else
		section_open(p, title);
	free(title);
}

/* inih took the last line, and it was no key. */
static void
settle_line(struct parse *p)
{
	if (p->expects_key)
		report(p, p->line,
		    "'%.*s' is no key = value: comment it out with #, or complete it",
		    (int)MIN(p->len, QUOTED_MAX), p->text);
	p->expects_key = false;
}

static void
next_line(struct parse *p)
{
	size_t len = strcspn(p->rest, "\n");
	size_t indent = strspn(p->rest, BLANKS);

	p->line++;
	p->text = p->rest + indent;
	p->len = trimmed(p->text, len - indent);
	p->rest += len + (p->rest[len] == '\n');
}

/* inih's reader: only lines that may be keys get through; the others are empty. */
static char *
read_line(char *line, int size, void *arg)
{
	struct parse *p = arg;

	settle_line(p);
	if (*p->rest == '\0')
		return NULL;
	next_line(p);
	line[0] = '\0';
	if (p->len == 0 || *p->text == '#' || *p->text == ';') {
		return line;
	} else if (*p->text == '[') {
		read_header(p);
	} else if (p->len >= (size_t)size) {
		report(p, p->line,
		    "'%.*s...' has %zu bytes, at most %d are read: shorten the line",
		    QUOTED_MAX, p->text, p->len, size - 1);
	} else {
		memcpy(line, p->text, p->len);
		line[p->len] = '\0';
		p->expects_key = true;
	}
	return line;
}

/* Keys against each other. */

static bool
given(const struct section *s, unsigned int key)
{
	return s->lines[key] != 0;
}

/* The line of the first of these keys that the file gives, else the section's. */
static unsigned int
line_of(const struct section *s, unsigned int a, unsigned int b, unsigned int c)
{
	if (given(s, a))
		return s->lines[a];
	if (given(s, b))
		return s->lines[b];
	return given(s, c) ? s->lines[c] : s->line;
}

static void
host_check(struct parse *p, const struct section *s)
{
	const struct config_host *h = &s->host;

	if (s->bad[HOST_TICK] || s->bad[HOST_RELEASE_PERIOD] ||
	    h->release_period_ns >= h->tick_ns)
		return;
	report(p, line_of(s, HOST_RELEASE_PERIOD, HOST_TICK, HOST_TICK),
	    "release_period %s is below tick %s: write %s or more, or a shorter tick",
	    time_text(h->release_period_ns).s, time_text(h->tick_ns).s,
	    time_text(h->tick_ns).s);
}

/* Sizes that the file does not give; base and add in whole chunks. */
static void
pool_derive(struct section *s, const struct config_host *host)
{
	struct config_pool *c = &s->pool;
	uint64_t host_wall = host->wall != 0 ? host->wall : POOL_SIZE_MAX;
	uint64_t wall_chunks;

	if (!given(s, POOL_WALL))
		c->wall = MIN(DEFAULT_WALL, host_wall);
	wall_chunks = chunks_down(c->wall);
	if (!given(s, POOL_BASE))
		c->base = MIN(DEFAULT_BASE, wall_chunks);
	if (!given(s, POOL_ADD))
		c->add = MIN(
		    MAX(chunks_down(c->wall / WALL_ADDS), DEFAULT_ADD), wall_chunks);
	if (!given(s, POOL_WALL_MAX))
		c->wall_max = MAX(c->wall,
		    MIN(MIN(WALL_MAX_WALLS * c->wall, host_wall), POOL_SIZE_MAX));
	if (!given(s, POOL_MAX_BUFFER))
		c->max_buffer = c->wall;
	c->base = chunks_up(c->base);
	c->add = chunks_up(c->add);
}

/* What was derived from an unknown value is unknown. */
static void
pool_derive_bad(struct section *s, const struct section *host)
{
	bool *bad = s->bad;

	bad[POOL_WALL] |= !given(s, POOL_WALL) && host->bad[HOST_WALL];
	bad[POOL_BASE] |= !given(s, POOL_BASE) && bad[POOL_WALL];
	bad[POOL_ADD] |= !given(s, POOL_ADD) && bad[POOL_WALL];
	bad[POOL_WALL_MAX] |=
	    !given(s, POOL_WALL_MAX) && (bad[POOL_WALL] || host->bad[HOST_WALL]);
	bad[POOL_MAX_BUFFER] |= !given(s, POOL_MAX_BUFFER) && bad[POOL_WALL];
}

static const char *
default_hint(const struct section *s, enum pool_key key)
{
	return given(s, key) ? "" : " (the default)";
}

/* @low is to be no more than @high; @low's line is at fault, if it has one. */
static void
pool_check_order(struct parse *p, const struct section *s, enum pool_key low,
    uint64_t low_size, enum pool_key high, uint64_t high_size)
{
	uint64_t most = high_size;

	if (s->bad[low] || s->bad[high] || low_size <= high_size)
		return;
	if (low == POOL_BASE || low == POOL_ADD)
		most = chunks_down(most);
	report(p, line_of(s, low, high, high),
	    "%s %s%s is above %s %s%s: write %s = %s or less, or %s = %s or more",
	    pool_keys[low].name, size_text(low_size).s, default_hint(s, low),
	    pool_keys[high].name, size_text(high_size).s, default_hint(s, high),
	    pool_keys[low].name, size_text(most).s, pool_keys[high].name,
	    size_text(low_size).s);
}

/* The other way round: wall_max, not the wall, is at fault. */
static void
pool_check_wall_max(struct parse *p, const struct section *s)
{
	const struct config_pool *c = &s->pool;

	if (s->bad[POOL_WALL] || s->bad[POOL_WALL_MAX] || c->wall_max >= c->wall)
		return;
	report(p, line_of(s, POOL_WALL_MAX, POOL_WALL, POOL_WALL),
	    "wall_max %s is below wall %s%s: write wall_max = %s or more",
	    size_text(c->wall_max).s, size_text(c->wall).s, default_hint(s, POOL_WALL),
	    size_text(c->wall).s);
}

static void
pool_check_host(struct parse *p, const struct section *s, const struct section *host)
{
	const struct config_pool *c = &s->pool;
	uint64_t wall = host->host.wall;

	if (wall == 0 || host->bad[HOST_WALL])
		return;
	if (!s->bad[POOL_WALL] && c->wall > wall)
		report(p, s->lines[POOL_WALL],
		    "wall %s is above the host's wall %s: write %s or less, or raise "
		    "that one (line %u)",
		    size_text(c->wall).s, size_text(wall).s, size_text(wall).s,
		    host->lines[HOST_WALL]);
	else if (!s->bad[POOL_WALL_MAX] && c->wall_max > wall)
		warning(p, s->lines[POOL_WALL_MAX],
		    "wall_max %s is above the host's wall %s, which holds: write %s, "
		    "or raise that one (line %u)",
		    size_text(c->wall_max).s, size_text(wall).s, size_text(wall).s,
		    host->lines[HOST_WALL]);
}

static uint64_t
pool_blocks(const struct config_pool *c)
{
	return 1 + (c->wall_max - c->base) / c->add;
}

/* Each block costs table entries in both processes, also while it is not there. */
static void
pool_check_blocks(struct parse *p, const struct section *s)
{
	const struct config_pool *c = &s->pool;
	uint64_t add;

	if (s->bad[POOL_BASE] || s->bad[POOL_ADD] || s->bad[POOL_WALL_MAX] ||
	    c->wall_max < c->base || pool_blocks(c) <= CONFIG_BLOCKS_MAX)
		return;
	add = chunks_down((c->wall_max - c->base) / CONFIG_BLOCKS_MAX) + CHUNK_SIZE;
	report(p, line_of(s, POOL_ADD, POOL_WALL_MAX, POOL_WALL),
	    "add %s makes %" PRIu64 " blocks at wall_max %s%s, at most %u are allowed: "
	    "write add = %s or more, or a lower wall_max",
	    size_text(c->add).s, pool_blocks(c), size_text(c->wall_max).s,
	    default_hint(s, POOL_WALL_MAX), CONFIG_BLOCKS_MAX, size_text(add).s);
}

/* Only where the section gives one of the three: a default is nobody's to correct. */
static void
pool_warn_rest(struct parse *p, const struct section *s)
{
	const struct config_pool *c = &s->pool;
	uint64_t adds = (c->wall - c->base) / c->add;
	uint64_t rest = (c->wall - c->base) % c->add;
	bool chunks = rest >= CHUNK_SIZE; /* else no block can have them */

	if (rest == 0 ||
	    !(given(s, POOL_WALL) || given(s, POOL_ADD) || given(s, POOL_BASE)))
		return;
	warning(p, line_of(s, POOL_WALL, POOL_ADD, POOL_BASE),
	    "wall %s leaves %s unused (base %s + %" PRIu64 " x add %s): write %s = %s",
	    size_text(c->wall).s, size_text(rest).s, size_text(c->base).s, adds,
	    size_text(c->add).s, chunks ? "base" : "wall",
	    size_text(chunks ? c->base + chunks_down(rest) : c->wall - rest).s);
}

/* What config.h promises of a pool. */
static bool
pool_ok(const struct config_pool *c)
{
	return c->base >= CHUNK_SIZE && c->base % CHUNK_SIZE == 0 &&
	       c->add >= CHUNK_SIZE && c->add % CHUNK_SIZE == 0 &&
	       c->wall_max % CHUNK_SIZE == 0 && c->wall_max <= POOL_SIZE_MAX &&
	       c->base <= c->wall && c->add <= c->wall && c->wall <= c->wall_max &&
	       c->headroom <= c->wall && c->max_buffer >= FRAME_SIZE &&
	       c->max_buffer <= c->wall_max && c->weight >= 1 &&
	       c->weight <= WEIGHT_MOST && pool_blocks(c) <= CONFIG_BLOCKS_MAX;
}

static void
pool_check(struct parse *p, struct section *s, const struct section *host)
{
	struct config_pool *c = &s->pool;
	unsigned int errors = p->errors_count;

	pool_derive(s, &host->host);
	pool_derive_bad(s, host);
	pool_check_order(p, s, POOL_BASE, c->base, POOL_WALL, c->wall);
	pool_check_order(p, s, POOL_ADD, c->add, POOL_WALL, c->wall);
	pool_check_order(p, s, POOL_HEADROOM, c->headroom, POOL_WALL, c->wall);
	pool_check_wall_max(p, s);
	if (given(s, POOL_MAX_BUFFER)) /* else it is the wall, which was checked */
		pool_check_order(
		    p, s, POOL_MAX_BUFFER, c->max_buffer, POOL_WALL_MAX, c->wall_max);
	pool_check_host(p, s, host);
	/* Not before: errors name it as given. */
	c->wall_max = chunks_up(c->wall_max);
	pool_check_blocks(p, s);
	if (p->errors_count == errors && !s->bad[POOL_WALL] && !s->bad[POOL_ADD] &&
	    !s->bad[POOL_BASE])
		pool_warn_rest(p, s);
}

/* The file as a whole. */

static struct section *
section_need(struct parse *p, enum section_kind kind, const char *name)
{
	struct section *s = section_find(p, kind, name);

	return s != NULL ? s : section_add(p, kind, name, 0);
}

/* Second step; then "host", "status" and "pool default" are there, or an error. */
static void
check_sections(struct parse *p)
{
	struct section *host = section_need(p, SECTION_HOST, "");
	struct section *status = section_need(p, SECTION_STATUS, "");
	struct section *pool = section_need(p, SECTION_POOL, CONFIG_DEFAULT_POOL);
	struct section *s;

	if (host == NULL || status == NULL || pool == NULL)
		return;
	host_check(p, host);
	STAILQ_FOREACH (s, &p->sections, entry)
		if (s->kind == SECTION_POOL && !s->spare)
			pool_check(p, s, host);
}

/* Returns false when out of memory; @c can be freed then too. */
static bool
config_fill(struct config *c, struct parse *p)
{
	struct config_pool *pool;
	struct section *s;

	STAILQ_FOREACH (s, &p->sections, entry) {
		if (s->kind == SECTION_HOST)
			c->host = s->host;
		else if (s->kind == SECTION_STATUS)
			strlcpy(
			    c->status_group, s->status_group, sizeof(c->status_group));
		if (s->kind != SECTION_POOL)
			continue;
		assert(!s->spare && pool_ok(&s->pool));
		pool = malloc(sizeof(*pool));
		if (pool == NULL)
			return false;
		*pool = s->pool;
		STAILQ_INSERT_TAIL(&c->pools, pool, entry);
	}
	return true;
}

static struct config *
config_create(struct parse *p)
{
	struct config *c = calloc(1, sizeof(*c));

	if (c != NULL)
		STAILQ_INIT(&c->pools);
	if (c == NULL || !config_fill(c, p)) {
		report(p, 0, "out of memory");
		config_free(c);
		return NULL;
	}
	return c;
}

static void
parse_free(struct parse *p)
{
	struct section *s;

	while ((s = STAILQ_FIRST(&p->sections)) != NULL) {
		STAILQ_REMOVE_HEAD(&p->sections, entry);
		free(s);
	}
}

static void
report_more(struct parse *p)
{
	char text[64];

	if (p->errors_count <= CONFIG_ERRORS_MAX)
		return;
	snprintf(text, sizeof(text), "and %u more errors: correct these first",
	    p->errors_count - CONFIG_ERRORS_MAX);
	report_line(p, 0, text);
}

int
config_parse(struct config **configp, const char *name, const char *text, FILE *errors)
{
	struct parse p = { .name = name, .errors = errors, .rest = text };
	struct config *c = NULL;

	STAILQ_INIT(&p.sections);
	if (strncmp(text, "\xef\xbb\xbf", 3) == 0) /* what some editors put first */
		p.rest += 3;
	/* -2, out of memory, is possible where inih was built for the heap. Numbers of
	 * lines are its view of errors that we have told already. */
	if (ini_parse_stream(read_line, &p, on_key, &p) < 0)
		report(&p, 0, "out of memory");
	check_sections(&p);
	report_more(&p);
	if (p.errors_count == 0)
		c = config_create(&p);
	parse_free(&p);
	if (c == NULL)
		return -1;
	*configp = c;
	return 0;
}

void
config_free(struct config *c)
{
	struct config_pool *pool;

	if (c == NULL)
		return;
	while ((pool = STAILQ_FIRST(&c->pools)) != NULL) {
		STAILQ_REMOVE_HEAD(&c->pools, entry);
		free(pool);
	}
	free(c);
}

const struct config_pool *
config_pool_find(const struct config *c, const char *name)
{
	const struct config_pool *pool, *fallback = NULL;

	STAILQ_FOREACH (pool, &c->pools, entry) {
		if (strcmp(pool->name, name) == 0)
			return pool;
		if (strcmp(pool->name, CONFIG_DEFAULT_POOL) == 0)
			fallback = pool;
	}
	assert(fallback != NULL);
	return fallback;
}

/* What fread() left in @text: is it the text of a file? */
static int
check_text(const char *path, const char *text, size_t len, FILE *errors)
{
	struct parse p = { .name = path, .errors = errors };
	const char *nul = memchr(text, '\0', len);
	const char *c;

	if (len > CONFIG_FILE_MAX) {
		report(&p, 0, "larger than %s: name a budd.conf",
		    size_text(CONFIG_FILE_MAX).s);
		return -1;
	}
	if (nul == NULL)
		return 0;
	for (p.line = 1, c = text; c < nul; c++)
		p.line += *c == '\n';
	report(&p, p.line, "a NUL byte: this is no text; name a budd.conf");
	return -1;
}

static int
load_stream(struct config **configp, const char *path, FILE *f, FILE *errors)
{
	struct parse p = { .name = path, .errors = errors };
	char *text = malloc(CONFIG_FILE_MAX + 2);
	size_t len;
	int r;

	if (text == NULL) {
		report(&p, 0, "out of memory");
		return -1;
	}
	len = fread(text, 1, CONFIG_FILE_MAX + 1, f);
	text[len] = '\0';
	if (ferror(f)) {
		report(&p, 0, "cannot be read: %s", strerror(errno));
		r = -1;
	} else {
		r = check_text(path, text, len, errors);
	}
	if (r == 0)
		r = config_parse(configp, path, text, errors);
	free(text);
	return r;
}

int
config_load(struct config **configp, const char *path, FILE *errors)
{
	const char *name = path != NULL ? path : CONFIG_PATH;
	struct parse p = { .name = name, .errors = errors };
	FILE *f = fopen(name, "re");
	int r;

	if (f == NULL && errno == ENOENT && path == NULL)
		return config_parse(configp, name, "", errors);
	if (f == NULL) {
		report(&p, 0, "cannot be opened: %s", strerror(errno));
		return -1;
	}
	r = load_stream(configp, name, f, errors);
	fclose(f);
	return r;
}
