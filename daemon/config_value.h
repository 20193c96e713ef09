/* SPDX-License-Identifier: ISC */

/* Values as people write them in budd.conf, and back. */
#ifndef DAEMON_CONFIG_VALUE_H
#define DAEMON_CONFIG_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#define CONFIG_KIB ((uint64_t)1 << 10)
#define CONFIG_MIB ((uint64_t)1 << 20)
#define CONFIG_PIB ((uint64_t)1 << 50)

#define CONFIG_US     ((int64_t)1000)
#define CONFIG_MS     (1000 * CONFIG_US)
#define CONFIG_SECOND (1000 * CONFIG_MS)
#define CONFIG_MINUTE (60 * CONFIG_SECOND)
#define CONFIG_HOUR   (60 * CONFIG_MINUTE)
#define CONFIG_DAY    (24 * CONFIG_HOUR)

/*
 * Each of these takes the whole @text or fails, and writes its result on success only.
 *
 * Return: 0; -EINVAL: it is none; -ERANGE: it does not fit into the result
 */

/** config_parse_size() - "64M": digits, then nothing or one of K, M, G, T, P, E, k, ... */
int config_parse_size(const char *text, uint64_t *bytesp);
/** config_parse_time() - "500ms": digits, then one of us, ms, s, min, h, d */
int config_parse_time(const char *text, int64_t *nsp);
/** config_parse_count() - "16": digits, at most 63 bits */
int config_parse_count(const char *text, uint64_t *countp);
/** config_parse_bool() - yes, true, on, 1; no, false, off, 0 */
int config_parse_bool(const char *text, bool *yesp);

/* A value as text. A struct, so that it can be made where it is printed. */
struct config_shown {
	char s[32];
};

/** config_show_size() - as a person would write it in the file: 1280K, not 1.25M */
struct config_shown config_show_size(uint64_t bytes);
/** config_show_time() - in the largest unit that tells it in a whole number */
struct config_shown config_show_time(uint64_t ns);
/** config_show_count() - in digits */
struct config_shown config_show_count(uint64_t count);

#endif
