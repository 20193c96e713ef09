# SPDX-License-Identifier: ISC
"""Real programs, with malloc() and under bud-run. Each workload yields (name, figure, unit);
the larger the better. Quick: as short as can be."""
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time

WALL = "256M"


class Missing(Exception):
    pass


def need(*programs):
    path = os.environ["PATH"] + ":/usr/sbin"
    for p in programs:
        if shutil.which(p, path=path) is None:
            raise Missing(p)
    return [shutil.which(p, path=path) for p in programs]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


def run(command, **more):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=300, **more)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} ended with {done.returncode}: {done.stdout[-500:]}")
    return done.stdout


@contextlib.contextmanager
def server(command, port):
    """a server of ours, until it listens, and no longer than it is needed"""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        else:
            raise SystemExit(f"{command[0]} does not listen")
        yield
    finally:
        process.terminate()
        process.wait()


def redis(prefix, directory, quick):
    serve, ask = need("redis-server", "redis-benchmark")
    port = free_port()
    with server(prefix + [serve, "--port", port, "--bind", "127.0.0.1", "--dir", directory,
                          "--save", "", "--appendonly", "no"], port):
        out = run([ask, "-p", port, "-t", "set,get", "-d", "65536", "-r", "1000", "-n",
                   "500" if quick else "20000",
                   "-c", "10", "--csv"])
    for name in ("SET", "GET"):
        yield (f"redis-server, {name} of 64 KiB",
               float(re.search(f'^"{name}","([0-9.]+)"', out, re.M)[1]), "requests/s")


def iperf3(prefix, directory, quick):
    (iperf,) = need("iperf3")
    port = free_port()
    with server(prefix + [iperf, "-s", "-B", "127.0.0.1", "-p", port], port):
        out = json.loads(run(prefix + [iperf, "-c", "127.0.0.1", "-p", port, "-t",
                                       "1" if quick else "2", "-P", "2", "--json"]))
    yield "iperf3, two streams", out["end"]["sum_received"]["bits_per_second"] / 8e6, "MB/s"


def fio(prefix, directory, quick):
    (program,) = need("fio")
    out = run(prefix + [program, "--name=x", f"--filename={directory}/fio.dat", "--size=64M",
                        "--bs=128k", "--rw=randrw", "--ioengine=psync", "--thread",
                        f"--loops={1 if quick else 8}", "--output-format=json"])
    job = json.loads(out[out.index("{"):])["jobs"][0]
    yield ("fio, 128 KiB at random, page cache",
           (job["read"]["bw_bytes"] + job["write"]["bw_bytes"]) / 1e6, "MB/s")


SQL = """pragma cache_size = -20000;
create table t(id integer primary key, b blob, k text);
with recursive c(x) as (select 1 union all select x + 1 from c where x < 100)
  insert into t select x, zeroblob(200000 + x * 100), hex(x * x) from c;
update t set b = cast(b || k as blob) where id % 3 = 0;
select sum(length(b)), length(group_concat(k || hex(zeroblob(5000)))) from t;
vacuum;
"""


def sqlite3(prefix, directory, quick):
    (program,) = need("sqlite3")
    start, times = time.monotonic(), 1 if quick else 5
    for _ in range(times):
        run(prefix + [program, ":memory:"], input=SQL)
    yield "sqlite3, blobs in memory", times / (time.monotonic() - start), "runs/s"


PYTHON = """import time
start, n = time.monotonic(), 0
while time.monotonic() - start < 1:
    parts = [bytes(50000 + 1000 * i) for i in range(64)]
    n += len(b"".join(parts).replace(b"\\0\\0", b"x")) > 0
print(n / (time.monotonic() - start))
"""


def python3(prefix, directory, quick):
    yield ("python3, 64 byte strings joined",
           float(run(prefix + [sys.executable, "-c", PYTHON])), "1/s")


NGINX = """daemon off; worker_processes 1; pid {0}/pid; error_log {0}/error.log;
events {{ worker_connections 256; }}
http {{ access_log off; sendfile off; output_buffers 2 256k;
  client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f;
  uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;
  server {{ listen 127.0.0.1:{1}; root {0}; }} }}
"""


def nginx(prefix, directory, quick):
    program, wrk = need("nginx", "wrk")
    port = free_port()
    os.chmod(directory, 0o755)
    with open(f"{directory}/file", "wb") as f:
        f.write(os.urandom(1 << 20))
    with open(f"{directory}/nginx.conf", "w") as f:
        f.write(NGINX.format(directory, port))
    with server(prefix + [program, "-e", f"{directory}/error.log", "-p", directory, "-c",
                          f"{directory}/nginx.conf"], port):
        out = run([wrk, "-t", "1", "-c", "8", "-d", "1s" if quick else "2s", f"http://127.0.0.1:{port}/file"])
    yield ("nginx, files of 1 MiB without sendfile",
           float(re.search(r"Requests/sec:\s*([0-9.]+)", out)[1]), "requests/s")


WORKLOADS = (redis, nginx, iperf3, fio, sqlite3, python3)


def prefixes(build, budd):
    """what is put before a program's name"""
    yield "malloc", []
    yield "bud-run", [os.path.join(build, "bud-run"), "--library",
                      os.path.join(build, ".libs", "libbud-preload.so"), "--socket",
                      budd.environment()["BUD_SOCKET"], "--wall", WALL]


def figures(build, budd, quick):
    """(how, name, figure, unit) of each workload once, with malloc and with bud-run"""
    for workload in WORKLOADS:
        try:
            for how, prefix in prefixes(build, budd):
                for name, figure, unit in workload(prefix, budd.dir, quick):
                    yield how, name, figure, unit
        except Missing as e:
            yield None, workload.__name__, str(e), ""
