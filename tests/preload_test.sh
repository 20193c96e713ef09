#!/bin/bash
# SPDX-License-Identifier: ISC
#
# Unmodified programs under bud-run, with a budd of the test's own: a probe that checks itself,
# and whatever real programs are installed; these must do the same as without. In a build with
# sanitizers the library has the undefined one, which ends a program with SIGILL; the others
# would need a malloc() of their own.
set -u
LC_ALL=C
export LC_ALL
build=${BUD_BUILD:-$PWD}
library=$build/.libs/libbud-preload.so
passed=0 failed=0 skipped=0 sanitized=no
budd= children=

grep -q '^SANITIZE = .*sanitize' "$build/Makefile" && sanitized=yes
if [ ! -f "$library" ]; then
	echo "not ok - $library was not built"
	echo "0 passed, 1 failed"
	exit 1
fi

dir=$(mktemp -d) || exit 1
cd "$dir" || exit 1
end_all() {
	# shellcheck disable=SC2086 # several
	kill $children $budd 2>/dev/null
	wait
	cd /
	rm -rf "$dir"
}
trap end_all EXIT
trap 'exit 1' HUP INT TERM

ok() { # WHAT COMMAND...: the command holds
	local what=$1
	shift
	if "$@"; then
		passed=$((passed + 1)); echo "ok - $what"
	else
		failed=$((failed + 1)); echo "not ok - $what"
	fi
}

is() { # WHAT GOT WANTED
	ok "$1" test "$2" = "$3"
	[ "$2" = "$3" ] || printf '#   got    %.600s\n#   wanted %.600s\n' "$2" "$3"
}

same() { # WHAT FILE FILE
	ok "$1" cmp "$2" "$3"
}

eventually() { # COMMAND...: until it holds, 60 s at most
	local i
	for i in $(seq 600); do
		if "$@" >/dev/null 2>&1; then return 0; fi
		sleep 0.1
	done
	echo "#   never came true: $*"
	return 1
}

have() { # PROGRAM PACKAGE
	command -v "$1" >/dev/null && return 0
	echo "skip: $1 is not installed (Debian: apt install $2)"
	skipped=$((skipped + 1))
	return 1
}

run() { # OPTIONS... PROGRAM...
	"$build/bud-run" --library "$library" --socket "$dir/budd.sock" "$@"
}

# In the background; sets pid, which is the program's: bud-run becomes the program.
start() { # OUT ERR OPTIONS... PROGRAM...
	local out=$1 err=$2
	shift 2
	"$build/bud-run" --library "$library" --socket "$dir/budd.sock" "$@" <&0 >"$out" 2>"$err" 5>&- 6>&- &
	pid=$!
	children="$children $pid"
}

ctl() {
	"$build/budctl/budctl" -S "$dir/status.sock" "$@"
}

pool_bytes() { # NAME KEY: the sum over the pools of that name
	ctl status --json | jq "[.pools[] | select(.name == \"$1\") | .$2] | add // 0"
}

pools() { # NAME: how many
	ctl status --json | jq "[.pools[] | select(.name == \"$1\")] | length"
}

start_budd() {
	"$build/budd" -d -f budd.conf -s budd.sock -S status.sock >>budd.log 2>&1 5>&- 6>&- &
	budd=$!
	eventually ctl status
}

locked() { # KiB that budd holds locked: the process that does is its keeper
	sed -n 's/^VmLck:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$budd/status"
}

free_port() {
	local port
	for port in $(seq $((20000 + RANDOM % 10000)) 30100); do
		(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
	done
}

listens() { # PORT
	(exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

printf '[host]\nwall = 1G\n[pool default]\nwall = 256M\nwall_max = 512M\n[pool small]\nwall = 16M\n' \
	>budd.conf

# --- budd is away, and comes ---

test_without_budd() {
	is "without budd, a program runs and nobody complains" \
		"$(run sh -c 'head -c 100000 /dev/zero | wc -c' 2>&1)" 100000
	run --verbose "$build/tests/preload-probe" nothing >/dev/null 2>err
	run --verbose "$build/tests/preload-probe" serve >/dev/null 2>err </dev/null
	is "asked for notes, it says so once" "$(grep -c 'no pool: .*libc serves' err)" 1
	run "$dir/none" 2>/dev/null
	is "a program that is not there: status 127" $? 127
	run --threshold=much true 2>/dev/null
	is "a threshold that is none: status 125" $? 125
	run --threshold=1 true 2>/dev/null
	is "a threshold below 4K: status 125" $? 125
	"$build/bud-run" --library "$dir/none" true 2>/dev/null
	is "no library: status 125" $? 125
}

ask() { # KIB: of the program at fds 5 and 6
	local line
	echo "$1" >&5
	read -r -t 60 line <&6
	echo "$line"
}

answers() { # KIB WANTED
	[ "$(ask "$1")" = "$2" ]
}

test_restarts() {
	mkfifo in out
	local pid
	exec 5<>in 6<>out # both ways, so that opening does not wait for the other end
	start out err "$build/tests/preload-probe" serve <in
	is "started before budd: libc serves" "$(ask 64)" "libc whole"
	start_budd
	ok "budd comes: the pool serves" eventually answers 64 "pinned whole"
	kill -KILL "$budd" && wait "$budd" 2>/dev/null
	is "budd is killed: what is there serves on" "$(ask 64)" "pinned whole"
	is "what it does not have is libc's" "$(ask 65536)" "libc whole"
	start_budd
	ok "another budd: a new pool serves" eventually answers 65536 "pinned whole"
	ok "and is seen there" test "$(pool_bytes preload-probe pinned)" -ge 67108864
	exec 5>&- 6<&-
	wait "$pid"
	is "all that time the program's blocks were whole, nothing was said" "$(cat err)" ""
}

# --- The probe ---

test_probe() {
	local t line
	for t in sizes alignment calloc realloc threads cancel fork snapshot fork_threads spawn \
		bad_free descriptors; do
		timeout 120 "$build/bud-run" -l "$library" -s "$dir/budd.sock" \
			"$build/tests/preload-probe" "$t" >out.probe 2>err.probe </dev/null
		count_probe "$t" $?
	done
	run --pool small "$build/tests/preload-probe" wall >out.probe 2>err.probe
	count_probe wall $?
}

# What it wishes for is what it gets, within its section.
test_wishes() {
	mkfifo wish.in wish.out
	local pid
	exec 5<>wish.in 6<>wish.out
	start wish.out wish.err --pool=wishes --base=512K --add=512K --wall 8M \
		"$build/tests/preload-probe" serve <wish.in
	is "a pool of wishes serves" "$(ask 64)" "pinned whole"
	is "its base is that of --base" "$(pool_bytes wishes base_size)" $((512 << 10))
	is "its blocks are those of --add" "$(pool_bytes wishes add_size)" $((512 << 10))
	is "its wall is that of --wall" "$(pool_bytes wishes wall)" $((8 << 20))
	exec 5>&- 6<&-
	wait "$pid"
}

count_probe() { # TEST STATUS
	sed "s/^\(ok\|not ok\) - /&$1: /" out.probe
	passed=$((passed + $(grep -c '^ok' out.probe)))
	failed=$((failed + $(grep -c '^not ok' out.probe)))
	[ "$2" = 0 ] || [ "$(grep -c '^not ok' out.probe)" -gt 0 ] ||
		{ failed=$((failed + 1)); echo "not ok - $1: ended with $2"; }
	[ "$2" = 0 ] || sed 's/^/#   /' err.probe
}

# --- Real programs ---

test_exec() {
	# A shell between them: the environment goes through; each program has its own pool.
	is "it survives exec" "$(run sh -c "exec env sh -c 'exec \"$build/tests/preload-probe\" sizes'" |
		grep -c '^ok')" 7
}

test_python() {
	have python3 python3 || return
	local python=/usr/bin/python3
	cat >work.py <<-'PY'
		import hashlib, os, sys, zlib, bz2, lzma, multiprocessing, array, subprocess, threading
		data = bytearray()
		for i in range(400):
		    data += hashlib.sha256(str(i).encode()).digest() * 1024
		print(hashlib.sha256(data).hexdigest())
		for m in (zlib, bz2):
		    packed = m.compress(bytes(data[:3000000]))
		    print(m.__name__, len(packed), m.decompress(packed) == data[:3000000])
		a = array.array('Q', range(500000)); a.extend(a); print(sum(a))
		def half(k): return hashlib.sha256(data[k::2]).hexdigest()
		with multiprocessing.get_context('fork').Pool(2) as pool:
		    print(pool.map(half, range(2)))
		r, w = os.pipe()
		pid = os.fork()
		if pid == 0:
		    os.write(w, hashlib.sha256(data).hexdigest().encode()); os._exit(0)
		data[:] = bytes(len(data))
		os.waitpid(pid, 0); print(os.read(r, 64))
		print(subprocess.run(['cat'], input=bytes(data[:5000000]), capture_output=True).stdout.count(0))
		def grow(): b = bytearray(); [b.extend(bytes(5000)) for _ in range(400)]; out.append(len(b))
		out = []; ts = [threading.Thread(target=grow) for _ in range(4)]
		[t.start() for t in ts]; [t.join() for t in ts]; print(out)
		sys.stdout.flush(); sys.stdin.readline()
	PY
	"$python" work.py >plain.out </dev/null
	mkfifo hold
	local pid
	exec 5<>hold
	start bud.out err --pool python "$python" work.py <hold
	ok "python3 ends its work" eventually grep -q '^\[2000000, ' bud.out
	ok "python3: its pool is in budctl, pinned" test "$(pool_bytes python pinned)" -gt 8000000
	ok "python3: and locked in budd" test "$(($(locked) * 1024))" -ge "$(pool_bytes python pinned)"
	exec 5>&-
	wait "$pid"
	same "python3: hashes, compression, processes and threads as without" plain.out bud.out
}

# Its own tests of what holds much memory; no notes, for some of them look at standard error.
test_python_itself() {
	have python3 python3 || return
	local python
	python=$(python3 -c 'import sys; print(sys.executable)')
	if ! "$python" -c 'import test.test_bytes' 2>err; then
		echo "skip: python3 has no tests of its own here (Debian: apt install libpython3-testsuite)"
		skipped=$((skipped + 1))
		return
	fi
	run --pool itself "$python" -m test test_zlib test_array test_bytes test_memoryview \
		>itself.out 2>&1 </dev/null
	is "python3: its own tests of zlib, array, bytes and memoryview" $? 0
	grep -q 'Result: SUCCESS' itself.out || tail -n 20 itself.out
}

test_sqlite() {
	have sqlite3 sqlite3 || return
	cat >work.sql <<-'SQL'
		pragma cache_size = -20000;
		create table t(id integer primary key, b blob, k text);
		with recursive c(x) as (select 1 union all select x + 1 from c where x < 100)
		  insert into t select x, zeroblob(200000 + x * 100), hex(x * x) from c;
		create index i on t(k);
		select count(*), sum(length(b)) from t;
		update t set b = cast(b || k as blob) where id % 3 = 0;
		select sum(length(b)), length(group_concat(k || hex(zeroblob(5000)))) from t;
		with recursive c(x) as (select 1 union all select x + 1 from c where x < 60000)
		  select sum(x), max(x) from (select x from c order by x % 1000, -x);
		vacuum;
		pragma integrity_check;
		.sha3sum
	SQL
	sqlite3 plain.db <work.sql >plain.out 2>&1
	run --verbose sqlite3 bud.db <work.sql >bud.out 2>err
	same "sqlite3: answers and checksum as without" plain.out bud.out
	ok "sqlite3: it used a pool" grep -q 'pool "sqlite3" is open' err
}

redis() { redis-cli -p "$port" "$@"; }

redis_serves() { # not while it loads
	redis ping | grep -q PONG
}

redis_saved() {
	redis info persistence | tr -d '\r' | grep -q '^rdb_bgsave_in_progress:0' &&
		redis info persistence | tr -d '\r' | grep -q '^rdb_last_bgsave_status:ok'
}

test_redis() {
	have redis-server redis-server && have redis-cli redis-tools || return
	local port pid before
	port=$(free_port)
	mkdir -p redis
	set -- redis-server --port "$port" --bind 127.0.0.1 --dir "$dir/redis" --save '' \
		--appendonly no --enable-debug-command yes --daemonize no
	start redis.log err --pool redis "$@"
	ok "redis-server starts" eventually redis_serves
	redis-benchmark -p "$port" -t set,get -d 40000 -r 500 -n 2000 -c 10 -q >/dev/null 2>&1
	ok "redis-server: redis-benchmark's values are pinned" \
		test "$(pool_bytes redis used)" -gt 15000000
	before=$(redis debug digest)
	redis bgsave >/dev/null
	# At once: the snapshot must not have it.
	redis-benchmark -p "$port" -t set -d 50000 -r 500 -n 1000 -c 10 -q >/dev/null 2>&1
	ok "redis-server: BGSAVE ends well in its child" eventually redis_saved
	ok "redis-server: meanwhile it has changed" test "$before" != "$(redis debug digest)"
	redis shutdown nosave 2>/dev/null
	wait "$pid"
	"$@" >>redis.log 2>&1 &
	pid=$! children="$children $!"
	eventually redis_serves
	is "redis-server: without bud-run, the snapshot is what was at the fork" \
		"$(redis debug digest)" "$before"
	redis shutdown nosave 2>/dev/null
	wait "$pid"
}

sum() { sha256sum | cut -d ' ' -f 1; }

test_nginx() {
	PATH=$PATH:/usr/sbin have nginx nginx-light && have curl curl || return
	local port pid i sums=
	port=$(free_port)
	chmod 755 "$dir"
	mkdir -p www logs
	head -c 3000000 /dev/urandom >www/file
	cat >nginx.conf <<-EOF
		daemon off; worker_processes 2; pid $dir/nginx.pid; error_log $dir/logs/error.log;
		events { worker_connections 64; }
		http {
		  access_log off; sendfile off; output_buffers 2 256k;
		  client_body_temp_path $dir/b; proxy_temp_path $dir/p; fastcgi_temp_path $dir/f;
		  uwsgi_temp_path $dir/u; scgi_temp_path $dir/s;
		  server {
		    listen 127.0.0.1:$port; root $dir/www;
		    location /proxy/ { proxy_pass http://127.0.0.1:$port/; proxy_buffers 8 64k;
		      proxy_buffer_size 64k; proxy_busy_buffers_size 128k; }
		  }
		}
	EOF
	PATH=$PATH:/usr/sbin
	start nginx.out err --pool nginx nginx -e "$dir/logs/error.log" -p "$dir" -c "$dir/nginx.conf"
	ok "nginx starts" eventually listens "$port"
	for i in 1 2 3 4; do
		curl -s "http://127.0.0.1:$port/file" | sum >"sum.$i" &
		curl -s "http://127.0.0.1:$port/proxy/file" | sum >"sum.p$i" &
		sums="$sums $!"
	done
	# shellcheck disable=SC2086
	wait $sums
	eventually test -s sum.p4
	is "nginx: files whole, of its workers and through its proxy" "$(cat sum.* | sort -u)" \
		"$(sum <www/file)"
	ok "nginx: a pool in a worker" test "$(pools nginx)" -ge 1
	kill -HUP "$pid" # other workers, forked from a master that has large blocks
	is "nginx: after a reload, too" "$(curl -s "http://127.0.0.1:$port/proxy/file" | sum)" \
		"$(sum <www/file)"
	kill -QUIT "$pid"
	wait "$pid"
	is "nginx: ends well" $? 0
	is "nginx: nothing in its log" "$(grep -cE 'emerg|alert|crit|signal (6|11)' logs/error.log)" 0
}

test_iperf() {
	have iperf3 iperf3 || return
	local port pid
	port=$(free_port)
	start iperf.log err --threshold 4K iperf3 -s -1 --forceflush -B 127.0.0.1 -p "$port"
	eventually grep -q 'Server listening' iperf.log
	run --threshold 4K iperf3 -c 127.0.0.1 -p "$port" -n 64M -P 2 --json >iperf.json 2>&1
	# What is under way when the sender ends is not counted by the receiver: several MiB a
	# stream, with malloc() as well.
	is "iperf3: all bytes are sent, and arrive" "$(jq '.end.sum_sent.bytes >= 67108864 and
		.end.sum_received.bytes > 33554432' iperf.json)" true
	wait "$pid"
}

test_fio() {
	have fio fio || return
	set -- --filename="$dir/fio.dat" --size=16M --bs=128k --rw=randrw --verify=crc32c \
		--verify_fatal=1 --ioengine=psync --randseed=7 --minimal
	run --pool fio --verbose fio --name=processes "$@" >fio.out 2>err
	is "fio: writes and verifies in a child" $? 0
	ok "fio: it used a pool" grep -q 'pool "fio" is open' err
	run --pool fio fio --name=threads --thread "$@" >fio.out 2>err
	is "fio: and in a thread" $? 0
}

nothing_pinned() {
	test "$(ctl status --json | jq '.host.pinned + (.pools | length)')" = 0
}

if [ $# -gt 0 ]; then # single tests, by name
	start_budd
	for t in "$@"; do "test_$t"; done
else
	test_without_budd
	test_restarts
	test_probe
	test_wishes
	test_exec
	test_sqlite
fi
if [ $# -eq 0 ] && [ $sanitized = yes ]; then
	echo "skip: the other real programs, which run in the build without sanitizers"
	skipped=$((skipped + 1))
elif [ $# -eq 0 ]; then
	test_python
	test_python_itself
	test_redis
	test_nginx
	test_iperf
	test_fio
fi
ok "afterwards nothing is pinned" eventually nothing_pinned

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
