#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""libbud called from other languages: Python through ctypes, Rust through an extern block.

examples/python/bud.py and examples/rust/bud.rs are what is tried; both say how the memory of a
pool is seen there without a copy, and how errors look.
"""

import errno
import hashlib
import os
import resource
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
from budd import BUILD, PATIENCE_S, SOURCE, Budd, ending, eventually, need, ok, skip

LIBRARIES = BUILD + "/.libs"
PYTHON, RUST = SOURCE + "/examples/python", SOURCE + "/examples/rust"
CHUNK = 256 << 10
CONFIG = """
[host]
wall = 64M
tick = 5ms
[pool default]
base = 256K
add = 256K
wall = 1M
"""

with open(BUILD + "/config.status", encoding="utf-8") as f:
    if 'SANITIZE"]="-f' in f.read():
        skip("no python or rust with the sanitizer of this libbud is there")
        sys.exit(ending())
if LIBRARIES not in os.environ.get("LD_LIBRARY_PATH", ""):  # it is read at a program's start
    os.environ["LD_LIBRARY_PATH"] = LIBRARIES
    os.execv(sys.executable, [sys.executable, *sys.argv])
sys.path.insert(0, PYTHON)
import bud


def fails(error, call, *arguments, code=None, **more):
    """@call raises that error, with that errno."""
    try:
        call(*arguments, **more)
    except error as e:
        return code is None or e.errno == code
    return False


# --- Python ---


def memory_is_not_copied(pool):
    with pool.alloc(CHUNK) as buf:
        fd, offset = pool.locate(buf)
        buf.view[:] = os.urandom(CHUNK)
        ok(
            "python: what is written into the view is in the pool's memory",
            os.pread(fd, CHUNK, offset) == bytes(buf.view),
        )
        os.pwrite(fd, b"from elsewhere", offset)
        ok("python: ... and the other way round", bytes(buf.view[:14]) == b"from elsewhere")
        ok("python: the view is as long as asked for", len(pool.alloc(5000).view) == 5000)
        ok("python: ... and the buffer what it is rounded to", pool.usable_size(buf) == CHUNK)


def sockets_take_views(pool):
    one, other = socket.socketpair()
    with one, other, pool.alloc(4096) as a, pool.alloc(4096) as b:
        a.view[:] = b"7" * 4096
        one.sendall(a.view)
        n = other.recv_into(b.view)
        ok("python: sockets send from it and receive into it", b.view[:n] == a.view[:n] and n > 0)


def views_keep_their_buffer(pool):
    buf = pool.alloc(4096)
    part = buf.view[10:20]
    ok("python: a buffer in use is not given back", fails(BufferError, buf.free))
    ok("python: ... nor does its pool end", fails(BufferError, pool.close))
    buf.view[10:20] = b"0123456789"
    ok("python: ... but works on", part == b"0123456789")
    del part
    buf.free()
    buf.free()
    ok("python: when nobody uses it, it is", buf.view is None)


def errors_are_exceptions(pool, budd):
    bufs = pool.allocv(CHUNK, 4)
    ok("python: EAGAIN at the wall", fails(BlockingIOError, pool.alloc, CHUNK, timeout=0))
    begun = time.monotonic()
    ok("python: ETIMEDOUT after a while", fails(TimeoutError, pool.alloc, CHUNK, timeout=0.05))
    ok("python: ... not before", time.monotonic() - begun >= 0.05)
    ok("python: EMSGSIZE", fails(OSError, pool.alloc, 1 << 40, code=errno.EMSGSIZE))
    ok("python: EINVAL", fails(OSError, pool.alloc, 0, code=errno.EINVAL))
    ok("python: a stat tells what is used", pool.stat().used == 4 * CHUNK)
    for b in bufs:
        b.free()
    ok("python: free gives back", pool.stat().used == 0)
    ok("python: no budd", fails(FileNotFoundError, bud.Pool, socket=budd.dir + "/none"))
    ended = bud.Pool(socket=budd.socket)
    ended.close()
    ok("python: a pool that was closed", fails(ValueError, ended.alloc, 1))


def who_waits_is_served(pool):
    bufs, got = pool.allocv(CHUNK, 4), []
    thread = threading.Thread(target=lambda: got.append(pool.alloc(CHUNK, timeout=PATIENCE_S)))
    thread.start()
    ok("python: a thread waits", eventually(lambda: pool.stat().waiting == 1))
    bufs[0].free()
    thread.join()
    ok("python: ... and is served when another frees", got and len(got[0]) == CHUNK)
    for b in bufs + got:
        b.free()


def event_loops_are_told(pool):
    bufs, ended = pool.allocv(CHUNK, 4), []
    pool.request(CHUNK, lambda b, e: ended.append((b, e)))
    late = pool.request(CHUNK, lambda b, e: ended.append((b, e)))
    with selectors.DefaultSelector() as selector:
        selector.register(pool, selectors.EVENT_READ)
        bufs[0].free()
        while not ended and selector.select(PATIENCE_S):
            pool.dispatch()
    ok("python: a request is served from a selector", ended and len(ended[0][0]) == CHUNK)
    pool.cancel(late)
    eventually(lambda: pool.dispatch() > 0)
    ok("python: ... or cancelled", len(ended) == 2 and ended[1][1].errno == errno.ECANCELED)
    for b in bufs + [ended[0][0]]:
        b.free()


def growth_and_release_are_told(budd):
    told = {}
    with bud.Pool("watched", socket=budd.socket) as pool:
        pool.watch(bud.GROWN | bud.RELEASED, lambda e, n: told.update({e: told.get(e, 0) + n}))
        for b in pool.allocv(CHUNK, 1) + [pool.alloc(CHUNK) for _ in range(2)]:
            b.free()
        pool.hint(bud.TRANSFER_END)

        def both():
            pool.dispatch()
            return bud.GROWN in told and bud.RELEASED in told

        ok("python: growth and release are told", eventually(both))


def forked_child_has_no_pool(pool):
    child = os.fork()
    if child == 0:
        os._exit(not fails(OSError, pool.alloc, 4096, code=errno.EINVAL))
    ok("python: a forked child has no pool", os.waitpid(child, 0)[1] == 0)


def no_limit_is_needed(pool):
    """As root the limit means nothing, so it is lowered for what is nobody's process."""
    child = os.fork()
    if child == 0:
        if os.geteuid() == 0:
            os.setresgid(12345, 12345, 12345)
            os.setresuid(12345, 12345, 12345)
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
        with bud.Pool(socket=pool) as p, p.alloc(CHUNK) as b:
            b.view[:] = bytes(CHUNK)
            os._exit(p.stat().pinned < CHUNK)
    ok("python: a user without locked memory has pinned buffers", os.waitpid(child, 0)[1] == 0)


def budd_dies(budd, pool):
    with pool.alloc(CHUNK) as buf:
        buf.view[:5] = b"stays"
        was = budd.arbiter()
        os.kill(was, signal.SIGKILL)
        with pool.alloc(CHUNK, timeout=PATIENCE_S):
            ok("python: a buffer outlives the arbiter, and another comes from the next",
               buf.view[:5] == b"stays")


def budd_ends(budd):
    pool = bud.Pool(socket=budd.socket)
    buf = pool.alloc(CHUNK)
    budd.end()
    buf.view[:5] = b"stays"
    ok("python: a buffer outlives budd", buf.view[:5] == b"stays")
    more = fails(OSError, pool.alloc, CHUNK, timeout=0.05, code=errno.ENOTCONN)
    ok("python: but ENOTCONN for a new one", more)
    pool.close()


# --- Programs of both, with real work ---


def files(budd):
    """Of many sizes, around that of the buffer."""
    for size in (0, 1, 255, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 17):
        path = f"{budd.dir}/{size}"
        with open(path, "wb") as f:
            f.write(os.urandom(size))
        yield path


def run(budd, *command):
    return subprocess.run(
        command, env={**os.environ, "BUD_SOCKET": budd.socket}, capture_output=True, text=True,
        timeout=PATIENCE_S * 4, check=False,
    )


def python_sums(budd, paths):
    said = run(budd, sys.executable, "-B", PYTHON + "/bud-sum.py", *paths)
    want = []
    for path in paths:
        with open(path, "rb") as f:
            want.append(f"{hashlib.sha256(f.read()).hexdigest()}  {path}")
    ok("python: bud-sum.py sums as sha256sum does", said.stdout.splitlines() == want, said.stderr)


def rust(budd, paths):
    rustc = shutil.which("rustc")
    if rustc is None:
        skip("rustc was not found (apt install rustc, 270 MB), so nothing is called from Rust")
        return
    for source in (SOURCE + "/tests/rust_client.rs", RUST + "/bud-sum.rs"):
        program = budd.dir + "/" + os.path.basename(source)[:-3]
        made = run(budd, rustc, "--edition", "2021", "-D", "warnings", "-L", LIBRARIES,
                   "-o", program, source)
        need(f"rust: {os.path.basename(source)} compiles", made.returncode == 0, made.stderr)
    said = run(budd, budd.dir + "/rust_client")
    lines = said.stdout.splitlines()
    for line in lines:
        ok(line.partition(" - ")[2], line.startswith("ok"))
    ok("rust: all was tried", said.returncode == 0 and len(lines) >= 25, said.stderr)
    said, want = run(budd, budd.dir + "/bud-sum", *paths), run(budd, "cksum", *paths)
    ok("rust: bud-sum sums as cksum does", said.stdout == want.stdout and said.stdout, said.stderr)


# --- C, as it is installed ---


def flags(*packages):
    found = subprocess.run(["pkg-config", "--cflags", "--libs", *packages], capture_output=True,
                           text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else None


def c_examples(budd, paths):
    """examples.mk, with what is built here in the place of what pkg-config knows of libbud."""
    ours = f"-I{SOURCE}/include -L{LIBRARIES}"
    uring = flags("liburing", "libbsd-overlay")
    if uring is None or not os.path.exists(LIBRARIES + "/libbud-uring.so"):
        skip("liburing is not there, so the examples are not built as they are installed")
        return
    made = run(budd, "make", "-s", "-C", budd.dir, "-f", SOURCE + "/examples/examples.mk",
               "CFLAGS=-O0 -Wall -Werror",
               f"HTTPD_FLAGS={ours} -lbud-event -lbud {flags('libevent', 'libbsd-overlay')}",
               f"COPY_FLAGS={ours} -lbud-uring -lbud {uring}")
    need("C: the examples compile without configure", made.returncode == 0, made.stderr)
    ok("C: ... bud-httpd is one", run(budd, budd.dir + "/bud-httpd", "--help").returncode == 0)
    copied = budd.dir + "/copied"
    said = run(budd, budd.dir + "/bud-copy", paths[-1], copied)
    ok("C: ... bud-copy copies", said.returncode == 0 and run(budd, "cmp", paths[-1], copied)
       .returncode == 0, said.stderr)


def main():
    budd = Budd(CONFIG)
    with bud.Pool(socket=budd.socket) as pool:
        ok("python: a pool has the limits of its section", pool.stat().wall == 4 * CHUNK)
        memory_is_not_copied(pool)
        sockets_take_views(pool)
        views_keep_their_buffer(pool)
    with bud.Pool(socket=budd.socket) as pool:
        errors_are_exceptions(pool, budd)
        who_waits_is_served(pool)
        event_loops_are_told(pool)
        forked_child_has_no_pool(pool)
    no_limit_is_needed(budd.socket)
    growth_and_release_are_told(budd)
    paths = list(files(budd))
    python_sums(budd, paths)
    rust(budd, paths)
    c_examples(budd, paths)
    with bud.Pool(socket=budd.socket) as pool:
        budd_dies(budd, pool)
    budd_ends(budd)


try:
    main()
finally:
    failed = ending()
sys.exit(failed)
