/* SPDX-License-Identifier: ISC */

/* Figures as people read them. By value, so that they stand among printf()'s arguments. */
#ifndef BUDCTL_HUMAN_H
#define BUDCTL_HUMAN_H

#include <stdint.h>

struct human {
	char text[40];
};

/** human_size() - "256 KiB", "1 MiB"; "1.3 GiB" where that is rounded, "1.0" too */
struct human human_size(uint64_t bytes);
/** human_seconds() - "0 s", "0.25 s", "45 s", "3 min 20 s", "2 h 5 min", "3 d 4 h" */
struct human human_seconds(double seconds);
/** human_percent() - "0 %", "<1 %", "37 %"; "-" of nothing */
struct human human_percent(uint64_t part, uint64_t whole);
/** human_user() - a user's name, or the number of one without */
struct human human_user(uint64_t uid);

#endif
