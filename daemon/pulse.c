/* SPDX-License-Identifier: ISC */

/* The pulse. */
#include "daemon/pulse.h"

#include "daemon/systemd.h"

#define PERIOD_NS (10 * NS_PER_S) /* without a watchdog: of the status line */

void
pulse_init(struct pulse *p)
{
	int64_t watchdog_ns = (int64_t)systemd_watchdog_us() * 1000;

	*p = (struct pulse){ .on = systemd_is_there(),
		.period_ns = PERIOD_NS,
		.due = INSTANT_NEVER,
		.stuck = INSTANT_NEVER };
	if (watchdog_ns > 0) {
		p->period_ns = watchdog_ns / 4;
		p->patience_ns = watchdog_ns / 2;
	}
}

void
pulse_begin(struct pulse *p, struct instant now)
{
	p->due = p->on ? now : INSTANT_NEVER;
	p->stuck =
	    p->patience_ns > 0 ? instant_add(now, p->patience_ns) : INSTANT_NEVER;
}

bool
pulse_is_due(const struct pulse *p, struct instant now)
{
	return !instant_before(now, p->due);
}

void
pulse_asked(struct pulse *p)
{
	p->due = INSTANT_NEVER;
}

bool
pulse_is_out(const struct pulse *p)
{
	return p->on && p->due.ns == INSTANT_NEVER.ns;
}

void
pulse_answered(struct pulse *p, struct instant now, const char *line)
{
	p->due = instant_add(now, p->period_ns);
	if (p->patience_ns > 0)
		p->stuck = instant_add(p->due, p->patience_ns);
	systemd_say_status(line);
	systemd_say_alive();
	if (!p->ready)
		systemd_say_ready();
	p->ready = true;
}

bool
pulse_is_stuck(const struct pulse *p, struct instant now)
{
	return !instant_before(now, p->stuck);
}

int
pulse_wait_ms(const struct pulse *p, struct instant now)
{
	struct instant next = instant_before(p->due, p->stuck) ? p->due : p->stuck;

	if (next.ns == INSTANT_NEVER.ns)
		return -1;
	return (int)(instant_ms_since(next, now) + 1);
}
