#!/bin/sh
# SPDX-License-Identifier: ISC
#
# The benchmarks work: built and run as short as can be, they print a figure for each test
# of bud, and nothing is left. What the figures are is not looked at.
set -eu
build=${BUD_BUILD:-.} source=${BUD_SOURCE:-.}
skip() {
	echo "skip: $*"
	echo "0 passed, 0 failed, 1 skipped"
	exit 0
}
command -v python3 >/dev/null || skip "python3 was not found"
! grep -q '^SANITIZE = -' "$build/Makefile" || skip "nobody measures with sanitizers"
log=$(mktemp)
trap 'rm -f "$log" "$log.out"' EXIT

passed=0 failed=0
check() { # WHAT COMMAND...
	what=$1
	shift
	if "$@" >"$log" 2>&1; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "failed: $what"
		tail -n 20 "$log"
	fi
}
check "make bench" env -u MAKEFLAGS -u MAKELEVEL make -s -C "$build" bench
check "bench/run" sh -c "'$source/bench/run' --quick --build '$build' >'$log.out'"
for table in pair burst row set touch call threads handed; do
	check "the table of $table" awk -v table="$table" '$2 == table { here = 1 }
		here && /^\| bud, by call / { found = $5 > 0 } /^$/ { here = 0 }
		END { exit !found }' "$log.out"
done
for figure in quiet pin end flood waiter-bud-us first-1M-with-headroom-us round-trip-bud-us page-4M connect-us \
	budd-KiB-a-client grants-per-s release-pass-us; do
	check "$figure" grep -Eq "^\| $figure +\| +[0-9.]+ \([0-9.]+\.\.[0-9.]+\)" "$log.out"
done
[ ! -x "$build/bench/copy" ] || check "the table of copy" \
	grep -Eq '^\| uring-pool-registered +\| +[0-9]+ \([0-9]+\.\.[0-9]+\) x[0-9.]+ \|' "$log.out"
check "the table of programs" grep -Eq '^\| python3, .* \([0-9.]+\.\.[0-9.]+\) +\| +x[0-9.]+ \|' "$log.out"
grep '^left out' "$log.out" || true
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
