# SPDX-License-Identifier: ISC
"""A living budd, for suites that are written in Python; and how they count."""

import atexit
import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import tempfile
import time

BUILD = os.environ.get("BUD_BUILD", os.getcwd())
SOURCE = os.environ.get("BUD_SOURCE", os.getcwd())
PATIENCE_S = 30
os.umask(os.umask(0) & 0o022)  # other users are to read what we write

counts = {"passed": 0, "failed": 0, "skipped": 0}


def ok(what, holds, more=""):
    counts["passed" if holds else "failed"] += 1
    print(("ok - " if holds else "not ok - ") + what, flush=True)
    if not holds and more:
        print(f"#   {more}")


class Failed(Exception):
    """Of no use to go on: what comes would wait for what did not."""


def need(what, holds, more=""):
    ok(what, holds, more)
    if not holds:
        raise Failed(what)


def skip(what):
    counts["skipped"] += 1
    print("skip: " + what)


def ending():
    """The closing line; what the program exits with."""
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**counts))
    return counts["failed"] > 0


def eventually(holds):
    """What @holds returns, as soon as that is true."""
    end = time.monotonic() + PATIENCE_S
    while True:
        value = holds()
        if value or time.monotonic() > end:
            return value
        time.sleep(0.01)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("budd", timeout=PATIENCE_S)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Budd:
    """budd in a directory of its own; end() ends it, and those who were put into clients."""

    def __init__(self, config, **options):
        self.dir = tempfile.mkdtemp()
        os.chmod(self.dir, 0o777)
        self.socket, self.status = self.dir + "/socket", self.dir + "/status"
        self.config, self.log = self.dir + "/budd.conf", self.dir + "/log"
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(config)
        self.pressure = self.dir + "/pressure"
        os.mkfifo(self.pressure)
        os.chmod(self.pressure, 0o666)
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [BUILD + "/budd", "-d", "-f", self.config, "-s", self.socket, "-S", self.status],
                stderr=log,
                env={**os.environ, "MEMORY_PRESSURE_WATCH": self.pressure},
                **options,
            )
        atexit.register(self.process.kill)  # of no effect after end()
        self.clients = []
        if not eventually(self.serves):
            with open(self.log, encoding="utf-8") as log:
                need("budd starts", False, log.read())

    def serves(self):
        with contextlib.suppress(OSError):
            return self.ask("GET", "/")[0] == 200
        return False

    def ask(self, method, path, body=None, headers=None):
        connection = UnixConnection(self.status)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def arbiter(self):
        pid = self.process.pid
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            children = f.read().split()
        return int(children[0]) if children else None

    def end(self):
        for c in self.clients:
            c.end()
        self.process.terminate()
        status = self.process.wait(PATIENCE_S)
        with open(self.log, encoding="utf-8", errors="replace") as log:
            text = log.read()
        ok("budd ends well", status == 0 and "Sanitizer" not in text, text[-2000:])
        shutil.rmtree(self.dir)
