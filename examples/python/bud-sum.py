#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""Prints the SHA-256 of files, as sha256sum does, read through one pinned buffer.

usage: bud-sum.py FILE...        BUD_SOCKET=PATH: where budd is
"""

import hashlib
import sys

import bud

SIZE = 256 * 1024


def digest(path, view):
    h = hashlib.sha256()
    with open(path, "rb", buffering=0) as f:
        while n := f.readinto(view):
            h.update(view[:n])
    return h.hexdigest()


def main():
    with bud.Pool("bud-sum") as pool, pool.alloc(SIZE, timeout=10) as buffer:
        for path in sys.argv[1:]:
            print(f"{digest(path, buffer.view)}  {path}")


main()
