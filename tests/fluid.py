#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""The traces under the fixed rule as a fluid: demand without buffers that lie somewhere.

usage: fluid.py raw|buffers TRACE.csv.gz...

A second opinion on budsim's replays, which shares no code with it: the pool is a number of
blocks, a sixteenth of the peak each; it grows when the demand rises above them, and once a
minute the last block goes if neither it nor the one before it was needed for five minutes.
"""
import gzip
import math
import sys

STEP, PERIOD, IDLE, BLOCKS = 0.02, 60, 300, 16  # seconds; blocks in the wall


def demands(path, in_buffers):
    """(when, bytes) of everything that is taken or given back, as doc/simulator.md models it"""
    changes = []
    with gzip.open(path, "rt") as rows:
        web = "bytes" in next(rows)
        for row in rows:
            a, b, c = (int(x) for x in row.split(","))
            if web:
                at, hold, size = a / 40e3, min(60, max(0.2, b / 50e3)), min(b, 1 << 20)
            else:
                at, hold, size = a / 1e3, 0.2 + 0.02 * c, b * 4096
            if in_buffers:
                size = max(4096, 1 << (max(size, 1) - 1).bit_length())
            changes += [(at, size), (at + hold, -size)]
    return sorted(changes)


def peaks(changes):
    """the largest demand within each step of time"""
    out, held, i = [], 0, 0
    while i < len(changes):
        end, most = (len(out) + 1) * STEP, held
        while i < len(changes) and changes[i][0] < end:
            held += changes[i][1]
            most = max(most, held)
            i += 1
        out.append(most)
    return out


def replay(demand):
    block = max(demand) / BLOCKS
    blocks, area, grown, regrown, released = 1, 0, 0, 0, []
    needed_at, next_pass = [0.0] * (BLOCKS + 1), PERIOD
    for step, held in enumerate(demand):
        now, needed = step * STEP, max(1, math.ceil(held / block - 1e-9))
        while blocks < needed:
            blocks, grown = blocks + 1, grown + 1
            regrown += bool(released) and now - released[-1] < IDLE
        needed_at[:needed] = [now] * needed
        if now >= next_pass:
            next_pass += PERIOD
            if blocks > 1 and now - max(needed_at[blocks - 2 : blocks]) >= IDLE:
                blocks -= 1
                released.append(now)
        area += blocks
    return area / len(demand) / BLOCKS, grown, len(released), regrown


for path in sys.argv[2:]:
    demand = peaks(demands(path, sys.argv[1] == "buffers"))
    part, grown, released, regrown = replay(demand)
    print(
        "%s: peak %.1f MiB; pinned on average %.1f %% of it, %d growths, %d releases, "
        "%d regrowths within 5 min"
        % (path, max(demand) / 2**20, 100 * part, grown, released, regrown)
    )
