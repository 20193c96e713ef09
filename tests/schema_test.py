#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""What a living budd answers is what doc/status.schema.json says, and the other way round.

Every answer is validated against the definition whose title names it. In the end, a field of
the schema that no answer had fails as well, and so does a kind of event that never came.
Clients are tests/told_client.c.
"""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading

sys.dont_write_bytecode = True
from budd import BUILD, PATIENCE_S, SOURCE, Budd, UnixConnection, counts, ending
from budd import eventually, need, ok, skip

try:
    import jsonschema
    from prometheus_client import parser as text_parser
    from prometheus_client.openmetrics import parser as open_parser
except ImportError as e:
    skip(f"{e} (apt install python3-jsonschema python3-prometheus-client)")
    sys.exit(ending())

KIB, MIB = 1 << 10, 1 << 20
OTHER = 12345  # a uid that is nobody's
READERS_MAX = 32
BODY_MAX = 64 * KIB
# What makes an event of many bytes.
LONG_CHANGE = ("wall", "overtaken_max", "user_wall", "user_pools", "user_requests", "idle_ms")

CONFIG = """
[host]
wall = 16M
tick = 5ms
release_period = 1s
idle = 1h
unregister_timeout = 50ms
[pool default]
base = 256K
add = 256K
wall = 1M
wall_max = 2M
[pool ahead]
base = 512K
add = 256K
wall = 1M
headroom = 256K
[pool team]
base = 256K
add = 256K
wall = 1M
wall_total = 1M
[pool big]
base = 256K
add = 256K
wall = 16M
[status]
queued_event = 1ms
"""

POOR_CONFIG = """
[host]
wall = 4M
release_period = 1s
[pool default]
base = 256K
add = 256K
wall = 1M
"""

# --- The schema ---


class Schema:
    def __init__(self, path):
        with open(path, encoding="utf-8") as f:
            self.whole = json.load(f)
        self.defs = self.whole["$defs"]
        self.seen = set()
        self.wrong = []
        jsonschema.Draft202012Validator.check_schema(self.whole)

    def titled(self, title):
        for name, definition in self.defs.items():
            if title in definition.get("title", "").split(", "):
                return name
        return None

    def validator(self, schema):
        resolver = jsonschema.RefResolver.from_schema(self.whole)
        return jsonschema.Draft202012Validator(schema, resolver=resolver)

    def check(self, title, value):
        """Notes what is wrong with @value, and which fields it has."""
        name = self.titled(title)
        if name is None:
            self.wrong.append(f"no definition has the title {title}")
            return
        errors = list(self.validator(self.defs[name]).iter_errors(value))
        for e in errors:
            deep = jsonschema.exceptions.best_match([e])
            where = "/".join(str(p) for p in deep.absolute_path)
            self.wrong.append(f"{title}: {where}: {deep.message[:300]} in {str(value)[:200]}")
        if not errors:
            self.note(self.defs[name], value, name)

    def note(self, schema, value, path):
        """Walks @value along with the schema that it is valid by."""
        if "$ref" in schema:
            name = schema["$ref"].split("/")[-1]
            self.note(self.defs[name], value, name)
        for branch in schema.get("oneOf", []):
            if self.validator(branch).is_valid(value):
                self.note(branch, value, path)
        if isinstance(value, dict):
            for key, sub in schema.get("properties", {}).items():
                if key in value:
                    self.seen.add(f"{path}.{key}")
                    self.note(sub, value[key], f"{path}.{key}")
        if isinstance(value, list) and "items" in schema:
            for item in value:
                self.note(schema["items"], item, path + "[]")

    def fields(self):
        def walk(schema, path):
            for key, sub in schema.get("properties", {}).items():
                yield f"{path}.{key}"
                yield from walk(sub, f"{path}.{key}")
            if "items" in schema:
                yield from walk(schema["items"], path + "[]")

        for name, definition in self.defs.items():
            yield from walk(definition, name)

    def open_objects(self):
        """Objects to which anything could be added unnoticed."""

        def walk(schema, path):
            if schema.get("type") == "object" and "oneOf" not in schema:
                if schema.get("additionalProperties") is not False:
                    yield path
            for key, sub in schema.get("properties", {}).items():
                yield from walk(sub, f"{path}.{key}")
            if "items" in schema:
                yield from walk(schema["items"], path + "[]")

        for name, definition in self.defs.items():
            yield from walk(definition, name)

    def events(self):
        for name, definition in self.defs.items():
            if name.startswith("event_"):
                word = definition["properties"]["event"]
                yield from word.get("enum", [word.get("const")])


# --- budd, those who look at it, and its clients ---


class Listener(threading.Thread):
    """One who listens to events, until the stream ends."""

    def __init__(self, budd, query=""):
        super().__init__(daemon=True)
        self.events, self.told = [], threading.Condition()
        self.connection = UnixConnection(budd.status)
        self.connection.request("GET", "/v1/events" + query)
        self.answer = self.connection.getresponse()
        self.connection.sock.settimeout(None)  # there may be nothing to tell
        self.start()

    def run(self):
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            while line := self.answer.readline():
                with self.told:
                    self.events.append(json.loads(line))
                    self.told.notify_all()

    def heard(self, name, **what):
        return [
            e
            for e in self.events
            if e["event"] == name and all(e.get(k) == v for k, v in what.items())
        ]

    def await_event(self, name, **what):
        with self.told:
            came = self.told.wait_for(lambda: self.heard(name, **what), PATIENCE_S)
        need(f"event {name} {what or ''}".strip(), came, self.events[-5:])

    def end(self):
        with contextlib.suppress(OSError):
            self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.join()
        self.connection.close()


class Client:
    def __init__(self, budd, *arguments):
        program = BUILD + "/tests/.libs/told-client"
        if not os.path.exists(program):
            program = BUILD + "/tests/told-client"
        self.process = subprocess.Popen(
            [program, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env={**os.environ, "BUD_SOCKET": budd.socket, "LD_LIBRARY_PATH": BUILD + "/.libs"},
        )
        budd.clients.append(self)
        self.opened = self.process.stdout.readline().strip()

    def do(self, command):
        self.process.stdin.write(command + "\n")
        return self.process.stdout.readline().strip()

    def must(self, *commands):
        for c in commands:
            said = self.do(c)
            if said != "ok":
                need(f"a client does: {c}", False, said)

    def end(self):
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        self.process.kill()
        self.process.wait()


class Observer:
    """Asks, and has each answer checked."""

    def __init__(self, budd, schema):
        self.budd, self.schema, self.codes = budd, schema, set()

    def ask(self, method, path, body=None, code=200, headers=None):
        text = body if body is None or isinstance(body, str) else json.dumps(body)
        got, answer = self.budd.ask(method, path, text, headers)
        self.codes.add(got)
        title = method + " " + re.sub(r"pools/[^/?]*", "pools/ID", path)
        if got >= 400:
            title = "every answer with a code of 400 or more"
        if got != code:
            ok(f"{title} is answered {code}", False, f"{got}: {answer}")
        value = json.loads(answer)
        self.schema.check(title, value)
        return value

    def look(self):
        for path in ("/", "/v1/status", "/v1/host", "/v1/pools"):
            self.ask("GET", path)
        for pool in self.ask("GET", "/v1/pools")["pools"]:
            self.ask("GET", f"/v1/pools/{pool['id']}")
        self.metrics()

    def metrics(self):
        """Both texts are read by the parsers of Prometheus' own client library."""
        _, text = self.budd.ask("GET", "/metrics")
        families = {f.name for f in open_parser.text_string_to_metric_families(text)}
        _, text = self.budd.ask("GET", "/metrics", None, {"Accept": "text/plain"})
        if families != {f.name for f in text_parser.text_string_to_metric_families(text)}:
            self.schema.wrong.append("/metrics has other families as text than as OpenMetrics")

    def pool(self, name):
        """The pool of that name; the status may be a moment old, so this is not it."""
        for pool in self.ask("GET", "/v1/pools")["pools"]:
            if pool["name"] == name:
                return self.ask("GET", f"/v1/pools/{pool['id']}")
        return None


# --- What happens ---


def pools_grow_wait_and_shrink(budd, see, ear):
    c = Client(budd, "default")
    ear.await_event("opened")
    c.must("take 65536", "take 262144", "take 262144")
    ear.await_event("grown", reason="request")
    see.look()
    c.must("take 262144", "want 262144 600000")
    ear.await_event("queued")
    see.look()
    ok("a request waits", see.pool("default")["queue"]["length"] == 1)
    ok("a client is refused", c.do("take 262144") == "EAGAIN")
    ear.await_event("refused", error="EAGAIN")
    pool = see.pool("default")
    see.ask("PATCH", f"/v1/pools/{pool['id']}", {"wall": 2 * MIB, "weight": 3})
    ear.await_event("served")
    ear.await_event("changed")
    c.must("free")
    ok("blocks are released", see.ask("POST", "/v1/release", {"pool": pool["id"]})["blocks"] > 0)
    ear.await_event("released", reason="operator")
    see.ask("POST", "/v1/release")
    see.look()
    c.end()
    ear.await_event("closed")


def pools_grow_ahead(budd, see, ear):
    c = Client(budd, "ahead")
    # The mark may be set a moment after the pool is opened.
    def has_grown():
        c.must("take 262144", "take 262144", "free")
        return see.pool("ahead")["counters"]["grown"] > 0

    need("a pool grows before anybody has to wait", eventually(has_grown))
    ear.await_event("grown", reason="headroom")
    see.look()
    c.end()


def registered_blocks_are_asked_for(budd, see, ear):
    c = Client(budd, "default")
    c.must("register obey", "take 262144", "take 262144", "take 262144", "free")
    pool = see.pool("default")
    see.ask("POST", "/v1/release", {"pool": pool["id"]})
    ear.await_event("asked")
    ok("it is given up", eventually(lambda: see.pool("default")["counters"]["released"] > 0))
    c.must("take 262144", "take 262144", "take 262144", "register hold", "free")
    see.ask("POST", "/v1/release", {"pool": pool["id"]})
    ear.await_event("kept")
    see.look()
    c.end()


def memory_is_punched(budd, see, ear):
    c = Client(budd, "default")
    c.must("take 65536", "punch 16384")
    ear.await_event("audit", pages=4)
    see.look()
    c.end()


def clients_misbehave(budd, see, ear):
    c = Client(budd, "default")
    c.must("take 65536", "garbage")
    ear.await_event("dropped")
    ok("it is deaf", eventually(lambda: see.pool("default")["state"] == "deaf"))
    see.look()
    see.ask("PATCH", "/v1/host", {"user_pools": 1})
    ok("another pool is denied", Client(budd, "default").opened != "ok")
    ear.await_event("denied")
    see.ask("PATCH", "/v1/host", {"user_pools": 0})
    c.end()


def the_host_is_short(budd, see, ear):
    team = Client(budd, "team")
    see.look()
    team.end()
    rich, poor = Client(budd, "big"), Client(budd, "big")
    while rich.do("take 262144") == "ok":
        pass
    poor.must("take 262144", "want 1048576")
    ear.await_event("queued", waits_for="host")
    ear.await_event("pressure", reason="share")
    see.look()
    with open(budd.pressure, "w", encoding="ascii") as f:
        f.write("x")
    ear.await_event("pressure", reason="host")
    rich.must("free")
    ear.await_event("released", reason="others")
    poor.end()
    rich.end()


def operators_err(budd, see):
    c = Client(budd, "default")
    pool = f"/v1/pools/{see.pool('default')['id']}"
    for method, path, body, code in (
        ("GET", "/v1/pools/x", None, 400),
        ("GET", "/v1/pools/4294967295", None, 404),
        ("GET", "/nowhere", None, 404),
        ("POST", "/v1/host", None, 405),
        ("PATCH", "/v1/host", "[]", 400),
        ("PATCH", "/v1/host", {"wall": 1 << 50}, 400),
        ("PATCH", pool, {"wall": "much"}, 400),
        ("PATCH", pool, {"wall": 1 << 40}, 400),
        ("PATCH", pool, {"colour": 1}, 400),
        ("POST", "/v1/release", {"pool": 4294967295}, 404),
    ):
        see.ask(method, path, body, code)
    status, _ = budd.ask("PATCH", "/v1/host", " " * (BODY_MAX + 1))
    ok("a body of more than 64 KiB is too large", status == 413)
    c.end()


def others_change_nothing(see):
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setresgid(OTHER, OTHER, OTHER)
        os.setresuid(OTHER, OTHER, OTHER)
        before = len(see.schema.wrong)
        see.ask("PATCH", "/v1/host", {"user_pools": 1}, 403)
        os._exit(len(see.schema.wrong) != before or counts["failed"] > 0)
    ok("another user may change nothing, and is told so", os.waitpid(child, 0)[1] == 0)


def listeners_are_many(budd, see):
    ears = [Listener(budd) for _ in range(READERS_MAX - 1)]  # one listens already
    see.ask("GET", "/v1/events", None, 429)
    ok("there are as many listeners as there may be", 429 in see.codes)
    for e in ears:
        e.end()
    ok("... and their places are free again", eventually(lambda: readers_are_few(budd)))


def readers_are_few(budd):
    e = Listener(budd)
    e.end()
    return e.answer.status == 200


def listener_is_slow(budd, see):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(PATIENCE_S)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(budd.status)
    sock.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
    connection = UnixConnection(budd.status)
    change = {k: see.ask("GET", "/v1/host")[k] for k in LONG_CHANGE}
    for _ in range(1500):
        connection.request("PATCH", "/v1/host", json.dumps(change))
        connection.getresponse().read()
    connection.close()
    lost = []
    with sock.makefile("rb") as f:
        while not lost and (line := f.readline()):
            if line.startswith(b"{"):
                event = json.loads(line)
                lost += [event] if event["event"] == "lost" else []
    sock.close()
    ok("who reads too slowly is told what it lost", lost)
    return lost


def arbiter_dies(budd, see):
    c = Client(budd, "default")
    c.must("take 262144", "take 262144")
    was = budd.arbiter()
    os.kill(was, signal.SIGKILL)
    ok("another arbiter serves", eventually(lambda: budd.arbiter() not in (was, None)))
    ok("... and answers", eventually(budd.serves))
    ear = Listener(budd, "?samples=1")
    ear.await_event("restart", restarts=1)
    c.must("take 65536")
    see.look()
    ear.await_event("sample")
    c.end()
    ear.end()
    return ear.events


# --- All of it ---


def main_budd(schema):
    budd = Budd(CONFIG)
    see = Observer(budd, schema)
    ear = Listener(budd)
    ear.await_event("hello")
    see.look()
    pools_grow_wait_and_shrink(budd, see, ear)
    pools_grow_ahead(budd, see, ear)
    registered_blocks_are_asked_for(budd, see, ear)
    memory_is_punched(budd, see, ear)
    clients_misbehave(budd, see, ear)
    the_host_is_short(budd, see, ear)
    operators_err(budd, see)
    budd.process.send_signal(signal.SIGHUP)
    ear.await_event("reloaded")
    listeners_are_many(budd, see)
    if os.geteuid() == 0:
        others_change_nothing(see)
    else:
        skip("only root can become another user, who may change nothing")
    ear.end()
    heard = ear.events + listener_is_slow(budd, see) + arbiter_dies(budd, see)
    see.look()
    budd.end()
    ok("errors of many kinds", see.codes >= {200, 400, 404, 405, 429}, see.codes)
    return heard


def poor_budd(schema):
    """One that cannot lock again what a client punched; the kernel denies it to a mere user."""
    budd = Budd(POOR_CONFIG, user=OTHER, group=OTHER, extra_groups=[])
    see, ear = Observer(budd, schema), Listener(budd)
    c = Client(budd, "default")
    c.must("take 65536")
    subprocess.run(
        ["prlimit", "--pid", str(budd.process.pid), "--memlock=0:0"],
        user=OTHER, group=OTHER, check=True,
    )
    c.must("punch 16384")
    with ear.told:
        came = ear.told.wait_for(
            lambda: any("error" in e for e in ear.heard("audit")), PATIENCE_S
        )
    ok("what cannot be locked again is told", came)
    see.look()
    ear.end()
    budd.end()
    return ear.events


def main():
    schema = Schema(SOURCE + "/doc/status.schema.json")
    ok("every object of the schema is closed", not list(schema.open_objects()),
       list(schema.open_objects()))
    heard = main_budd(schema)
    root = os.geteuid() == 0
    if root:
        heard += poor_budd(schema)
    else:
        skip("only root can take budd's right to lock, so no audit fails")
    for event in heard:
        schema.check("a line of GET /v1/events", event)
    ok("every answer is as the schema says", not schema.wrong, "\n#   ".join(schema.wrong[:20]))
    unseen = sorted(set(schema.fields()) - schema.seen - (set() if root else {"event_audit.error"}))
    ok(f"each of its {len(list(schema.fields()))} fields was in some answer", not unseen,
       " ".join(unseen))
    names = {e["event"] for e in heard}
    ok("each kind of event came", names == set(schema.events()),
       names ^ set(schema.events()))


try:
    main()
finally:
    failed = ending()
sys.exit(failed)
