/* SPDX-License-Identifier: ISC */

/* Figures as people read them. */
#include "budctl/human.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>

static struct human
number(uint64_t value, const char *unit)
{
	struct human h;

	snprintf(h.text, sizeof(h.text), "%" PRIu64 " %s", value, unit);
	return h;
}

struct human
human_size(uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB",
		"EiB" };
	double value = (double)bytes; /* divided by powers of 2 alone: stays exact */
	unsigned int u = 0;
	struct human h;

	for (; value >= 1023.95; value /= 1024) /* that would print as 1024.0 */
		u++;
	if (value == (double)(uint64_t)value)
		return number((uint64_t)value, units[u]);
	snprintf(h.text, sizeof(h.text), "%.1f %s", value, units[u]);
	return h;
}

static struct human
two(uint64_t seconds, uint64_t unit, const char *name, uint64_t part, const char *parts)
{
	uint64_t rest = seconds % unit / part;
	struct human h;

	if (rest == 0)
		return number(seconds / unit, name);
	snprintf(h.text, sizeof(h.text), "%" PRIu64 " %s %" PRIu64 " %s",
	    seconds / unit, name, rest, parts);
	return h;
}

struct human
human_seconds(double seconds)
{
	struct human h;
	uint64_t s;

	if (seconds > 0 && seconds < 10) {
		snprintf(h.text, sizeof(h.text), "%.3g s", seconds);
		return h;
	}
	s = seconds > 0 ? (uint64_t)(seconds + 0.5) : 0;
	if (s < 60)
		return number(s, "s");
	if (s < 3600)
		return two(s, 60, "min", 1, "s");
	if (s < 86400)
		return two(s, 3600, "h", 60, "min");
	return two(s, 86400, "d", 3600, "h");
}

struct human
human_percent(uint64_t part, uint64_t whole)
{
	double percent = whole > 0 ? 100.0 * (double)part / (double)whole : 0;
	struct human h = { "-" };

	if (whole == 0)
		return h;
	if (part > 0 && percent < 1)
		return (struct human){ "<1 %" };
	snprintf(h.text, sizeof(h.text), "%.0f %%", percent);
	return h;
}

struct human
human_user(uint64_t uid)
{
	const struct passwd *user = getpwuid((uid_t)uid);
	struct human h;

	if (user != NULL)
		snprintf(h.text, sizeof(h.text), "%s", user->pw_name);
	else
		snprintf(h.text, sizeof(h.text), "%" PRIu64, uid);
	return h;
}
