# SPDX-License-Identifier: ISC
"""Settings of the host that a benchmark needs, put back in whatever way it ends."""
import fcntl
import os
import subprocess

SHMEM = "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
HUGE = "/proc/sys/vm/nr_hugepages"
HUGE_FREE = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"
# Waits until nobody has the other end of its standard input any more.
GUARD = 'trap "" INT TERM HUP; cat >/dev/null; while [ $# -gt 0 ]; do echo "$2" >"$1"; shift 2; done'


def _read(path):
    with open(path) as f:
        text = f.read().strip()
    return text.split("[")[1].split("]")[0] if "[" in text else text


def _write(path, value):
    with open(path, "w") as f:
        f.write(value)


class Settings:
    """with Settings() as s: s.thp(), s.huge(MiB): whether the host gives such pages"""

    def __enter__(self):
        self.lock = self.guard = None
        if os.getuid() != 0 or not os.access(HUGE, os.W_OK):
            return self
        self.lock = open(HUGE)
        fcntl.flock(self.lock, fcntl.LOCK_EX)  # as the test suites do
        before = [x for p in (SHMEM, HUGE) if os.access(p, os.W_OK) for x in (p, _read(p))]
        self.guard = subprocess.Popen(["sh", "-c", GUARD, "guard", *before],
                                      stdin=subprocess.PIPE, start_new_session=True)
        return self

    def __exit__(self, *_):
        if self.guard is not None:
            self.guard.stdin.close()
            self.guard.wait()
            self.lock.close()

    def thp(self):
        if self.guard is None or not os.access(SHMEM, os.W_OK):
            return False
        _write(SHMEM, "advise")
        return True

    def huge(self, mib):
        if self.guard is None or not os.access(HUGE_FREE, os.R_OK):
            return False
        _write(HUGE, str(mib // 2))
        return int(_read(HUGE_FREE)) >= mib // 2
