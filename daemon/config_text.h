/* SPDX-License-Identifier: ISC */

/* The text of budd.conf: lines that are titles of sections, keys, or nothing. */
#ifndef DAEMON_CONFIG_TEXT_H
#define DAEMON_CONFIG_TEXT_H

struct config_sections;
struct config_text;

/** config_text_read() - add its sections and keys to @all; what is wrong is told there */
void config_text_read(const struct config_text *text, struct config_sections *all);

#endif
