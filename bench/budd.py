# SPDX-License-Identifier: ISC
"""A budd of the benchmarks' own, with a configuration and sockets in a directory of its own."""
import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time

CONFIG = """[host]
wall = 12G
clients_max = 2000
[pool default]
wall = 1G
[pool sized]
base = 256M
wall = 1G
[pool large]
wall = 2G
[pool page]
wall = 1G
[pool thp]
heap = thp
wall = 1G
[pool huge]
heap = huge
wall = 66M
[pool ready]
wall = 1G
headroom = 4M
"""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("budd")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def _figure(path, key):
    with open(path) as lines:
        for line in lines:
            if line.startswith(key):
                return int(line.split()[1])
    return 0


class Budd:
    """with Budd(build) as b: b.environment() tells clients where it is"""

    def __init__(self, build):
        self.program = os.path.join(build, "budd")

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="bud-bench.")
        config = self._path("budd.conf")
        with open(config, "w") as f:
            f.write(CONFIG)
        self.log = open(self._path("log"), "w+")
        self.process = subprocess.Popen(
            [self.program, "-d", "-f", config, "-s", self._path("sock"), "-S",
             self._path("status")], stderr=self.log)
        for _ in range(100):
            try:
                self.status()
                return self
            except OSError:
                time.sleep(0.05)
        log = self._said()
        self.__exit__()
        raise SystemExit(f"budd did not start:\n{log}")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.dir)

    def _path(self, name):
        return os.path.join(self.dir, name)

    def _said(self):
        self.log.seek(0)
        return self.log.read()

    def environment(self, **more):
        return dict(os.environ, BUD_SOCKET=self._path("sock"),
                    BUD_STATUS_SOCKET=self._path("status"), **more)

    def status(self):
        c = _Connection(self._path("status"))
        try:
            c.request("GET", "/v1/status")
            return json.load(c.getresponse())
        finally:
            c.close()

    def release(self):
        """a release pass over all pools, which the operator asks for"""
        c = _Connection(self._path("status"))
        try:
            c.request("POST", "/v1/release", "{}")
            return json.load(c.getresponse())
        finally:
            c.close()

    def arbiter_ns(self):
        """that the arbiter has run, so far"""
        with open(f"/proc/{self.pids()[1]}/schedstat") as f:
            return int(f.read().split()[0])

    def pids(self):
        """keeper and arbiter"""
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        with open(children) as f:
            return [self.process.pid] + [int(x) for x in f.read().split()]

    def own_kib(self):
        """memory that is budd's own and not a pool's: private pages of both processes"""
        return sum(_figure(f"/proc/{p}/smaps_rollup", "Private_Dirty:") for p in self.pids())

    def wakeups(self):
        """how often one of the two went to sleep, so far"""
        return sum(_figure(f"/proc/{p}/status", "voluntary_ctxt_switches:")
                   for p in self.pids())

    def cpu_seconds(self):
        ticks = 0
        for p in self.pids():
            with open(f"/proc/{p}/stat") as f:
                fields = f.read().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")
