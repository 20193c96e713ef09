#!/bin/sh
# SPDX-License-Identifier: ISC
#
# bud-copy with a real budd: files, compared by their checksums, and a peer that receives.
set -eu
build=${BUD_BUILD:-.}
skip() {
	echo "skip: $*"
	echo "0 passed, 0 failed, 1 skipped"
	exit 0
}
[ -x "$build/bud-copy" ] || skip "bud-copy is not built (liburing-dev)"
dir=$(mktemp -d)
budd=
end() {
	[ -z "$budd" ] || kill "$budd" 2>/dev/null || true
	rm -rf "$dir"
}
trap end EXIT
trap 'exit 1' HUP INT TERM

passed=0 failed=0 skipped=0
result() { # WHAT STATUS
	if [ "$2" -eq 0 ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "failed: $1"
		tail -n 5 "$dir/err" "$dir/budd.log" 2>/dev/null || true
	fi
}
check() { # WHAT COMMAND...; what the one before said to stderr is in $dir/said
	what=$1
	shift
	[ ! -e "$dir/err" ] || mv "$dir/err" "$dir/said"
	if "$@" >"$dir/out" 2>"$dir/err"; then result "$what" 0; else result "$what" 1; fi
}
copy() {
	"$build/bud-copy" -s "$dir/budd.sock" "$@"
}
copies() { # FILE OPTION...
	file=$1
	shift
	copy "$@" "$file" "$dir/target" && cmp "$file" "$dir/target"
}

printf '%s\n' '[pool default]' 'wall = 8M' 'wall_max = 8M' \
	'[pool small]' 'base = 256K' 'add = 256K' 'wall = 512K' 'wall_max = 512K' >"$dir/budd.conf"
"$build/budd" -d -f "$dir/budd.conf" -s "$dir/budd.sock" -S "$dir/status.sock" \
	2>"$dir/budd.log" &
budd=$!
tries=200
until [ -S "$dir/budd.sock" ] && grep -q serving "$dir/budd.log"; do
	tries=$((tries - 1))
	[ $tries -gt 0 ] && kill -0 "$budd" || { cat "$dir/budd.log"; exit 1; }
	sleep 0.05
done

head -c 10000001 /dev/urandom >"$dir/odd"      # no multiple of anything
head -c 4194304 /dev/urandom >"$dir/even"
head -c 1 /dev/urandom >"$dir/byte"
: >"$dir/empty"
if ! copy "$dir/even" "$dir/target" 2>"$dir/err" && grep -q 'no io_uring' "$dir/err"; then
	skip "$(cat "$dir/err")"
fi
for file in odd even byte empty; do
	check "a file: $file" copies "$dir/$file"
done
check "in small pieces, many at a time" copies "$dir/even" -b 4096 -d 64
check "in large ones" copies "$dir/odd" -b 1048576 -d 2
check "through a pool that holds two of eight pieces" copies "$dir/odd" -p small
copy "$dir/odd" "$dir/target" 2>"$dir/err"
check "the figures are told" grep -Eq '^10000001 bytes in .* operations on registered' "$dir/said"
copy -q "$dir/odd" "$dir/target" 2>"$dir/err"
check "but not with -q" test ! -s "$dir/said"

if command -v python3 >/dev/null; then
	cat >"$dir/peer.py" <<'PEER'
import hashlib, socket, sys
s = socket.create_server(("127.0.0.1", 0))
with open(sys.argv[1], "w") as f:
    print(s.getsockname()[1], file=f, flush=True)
s.settimeout(60)
c, _ = s.accept()
h = hashlib.sha256()
while data := c.recv(1 << 16):
    h.update(data)
print(h.hexdigest())
PEER
	for pool in default small; do
		rm -f "$dir/port"
		python3 "$dir/peer.py" "$dir/port" >"$dir/sum" &
		peer=$!
		until [ -s "$dir/port" ]; do sleep 0.05; done
		check "to a socket, pool $pool" copy -p "$pool" "$dir/odd" "tcp:127.0.0.1:$(cat "$dir/port")"
		wait "$peer" || true
		check "... arrives as it is" test "$(cat "$dir/sum")" = "$(sha256sum <"$dir/odd" | cut -d' ' -f1)"
	done
else
	echo "skip: python3 was not found"
	skipped=1
fi

# What a user without the capability is told; the copy is right all the same.
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
	chmod 755 "$dir"
	chmod 644 "$dir/odd"
	mkdir -m 777 "$dir/theirs"
	limited() {
		(ulimit -l 256 && setpriv --reuid 65534 --regid 65534 --clear-groups \
			--bounding-set -ipc_lock --inh-caps -ipc_lock "$build/bud-copy" \
			-s "$dir/budd.sock" "$dir/odd" "$dir/theirs/target")
	}
	if (ulimit -l 256 && setpriv --reuid 65534 --regid 65534 --clear-groups \
		test -x "$build/bud-copy"); then
		check "within a memlock limit" limited
		check "... which is told, with the remedy" grep -q 'ulimit -l 8192' "$dir/said"
		check "... and all arrives" cmp "$dir/odd" "$dir/theirs/target"
	else
		echo "skip: another user cannot reach the build directory"
		skipped=$((skipped + 1))
	fi
else
	echo "skip: only root can become another user"
	skipped=$((skipped + 1))
fi

check "what is no regular file is refused" sh -c "! '$build/bud-copy' -s '$dir/budd.sock' /dev/zero '$dir/x'"
check "... and said" grep -q 'not a regular file' "$dir/said"
same_file() { # TO
	cp "$dir/even" "$dir/one" && ! copy "$dir/one" "$1" && cmp "$dir/even" "$dir/one"
}
check "a file is not copied onto itself" same_file "$dir/one"
check "... and said" grep -q 'are the same file' "$dir/said"
ln "$dir/one" "$dir/link"
check "... nor onto a link to itself" same_file "$dir/link"
check "what is no regular file is no target" sh -c "! '$build/bud-copy' -s '$dir/budd.sock' '$dir/even' /dev/full"
check "... and said" grep -q 'not a regular file' "$dir/said"
check "--help is no error" sh -c "'$build/bud-copy' --help | grep -q '^usage: '"
check "nor is --version" sh -c "'$build/bud-copy' --version | grep -q '^bud-copy [0-9]'"
check "a bad option is refused" sh -c "! '$build/bud-copy' -b 5000 a b"
kill "$budd"
wait "$budd" || true
budd=
check "without budd it says so" sh -c "! '$build/bud-copy' -s '$dir/budd.sock' '$dir/odd' '$dir/x'"
check "... and what to look at" grep -q 'is budd running' "$dir/said"
spares() { ! copy "$dir/odd" "$dir/one" && cmp "$dir/even" "$dir/one"; }
check "... and spares what it was to replace" spares
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
