#!/bin/sh
# SPDX-License-Identifier: ISC
#
# Allocating makes no system call while the pool has room: a million pairs more change
# nothing in what strace counts.
set -eu
build=${BUD_BUILD:-.}
if ! command -v strace >/dev/null; then
	echo "skip: strace was not found"
	echo "0 passed, 0 failed, 1 skipped"
	exit 0
fi
dir=$(mktemp -d)
"$build/budd" -d -s "$dir/budd.sock" -S "$dir/status.sock" 2>"$dir/log" &
budd=$!
cleanup() {
	kill "$budd" 2>/dev/null || true
	wait "$budd" 2>/dev/null || true
	rm -rf "$dir"
}
trap cleanup EXIT
for _ in $(seq 100); do
	[ ! -S "$dir/status.sock" ] || break
	sleep 0.05
done

# A leak checker traces its process, which strace does already.
ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0
export ASAN_OPTIONS

# Not libtool's wrapper, a shell whose calls vary.
pair=$build/bench/.libs/pair
[ -x "$pair" ] || pair=$build/bench/pair

calls() { # PAIRS
	BUD_SOCKET=$dir/budd.sock LD_LIBRARY_PATH=$build/.libs strace -f -c -o "$dir/trace" \
		"$pair" -b -n "$1"
	awk '$NF == "total" { print ($3 ~ /^[0-9.]+$/ && NF >= 4) ? $4 : $3 }' "$dir/trace"
}
if ! calls 0 >"$dir/first" 2>"$dir/strace"; then
	echo "skip: strace does not work here: $(head -n 1 "$dir/strace")"
	echo "0 passed, 0 failed, 1 skipped"
	exit 0
fi
none=$(cat "$dir/first")
million=$(calls 1000000)
echo "system calls: $none without a pair, $million with a million of them"
# Opening takes two more where budd does not answer at once.
if [ -n "$none" ] && [ -n "$million" ] && [ "$million" -le $((none + 4)) ]; then
	echo "1 passed, 0 failed, 0 skipped"
else
	cat "$dir/trace"
	echo "0 passed, 1 failed, 0 skipped"
	exit 1
fi
