/* SPDX-License-Identifier: ISC */

/* What bud-run tells the preloaded library, through the environment. */
#ifndef PRELOAD_SETTINGS_H
#define PRELOAD_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

/* bud-run writes sizes as plain numbers of bytes. The socket is libbud's BUD_SOCKET. */
#define SETTING_THRESHOLD "BUD_RUN_THRESHOLD"
#define SETTING_POOL      "BUD_RUN_POOL"
#define SETTING_BASE      "BUD_RUN_BASE"
#define SETTING_ADD       "BUD_RUN_ADD"
#define SETTING_WALL      "BUD_RUN_WALL"
#define SETTING_VERBOSE   "BUD_RUN_VERBOSE"

#define THRESHOLD_DEFAULT ((size_t)16 << 10)
#define THRESHOLD_MIN     ((size_t)4 << 10) /* a buffer is 4 KiB at least */

struct settings {
	size_t threshold; /* bytes from which a request goes to the pool */
	char pool[64];    /* what was asked for, or the program's name */
	size_t base;      /* as in struct bud_config */
	size_t add;
	size_t wall;
	bool verbose;
};

/** settings_read() - from the environment; what is no number counts as not given */
void settings_read(struct settings *s);
/** note() - a line on standard error, without memory of the heap; errno stays */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
