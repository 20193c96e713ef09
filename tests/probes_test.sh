#!/bin/bash
# SPDX-License-Identifier: ISC
#
# Each probe that budd(8) lists is in the program, with its arguments, and no other.
set -u
build=${BUD_BUILD:-$PWD} source=${BUD_SOURCE:-$PWD}
passed=0 failed=0

if ! grep -q 'HAVE_SYS_SDT_H=1\|HAVE_SYS_SDT_H 1' "$build"/config.log "$build"/config.h 2>/dev/null; then
	echo "skip: sys/sdt.h was not found when this was configured (systemtap-sdt-dev)"
	echo "0 passed, 0 failed, 1 skipped"
	exit 0
fi
is() { # WHAT GOT WANTED
	if [ "$2" = "$3" ]; then
		passed=$((passed + 1)); echo "ok - $1"
	else
		failed=$((failed + 1)); echo "not ok - $1: got '$2', wanted '$3'"
	fi
}

program=$build/budd
[ ! -f "$build/.libs/budd" ] || program=$build/.libs/budd
notes=$(readelf -n "$program" 2>/dev/null)
names() { # PROVIDER: its probes, each once
	awk -v provider="$1" '/Provider: / { here = $2 == provider } here && /Name: / { print $2 }' \
		<<<"$notes" | sort -u | tr '\n' ' '
}
is "budd has its probes" "$(names budd)" "grant grow queue release "
is "the manual lists them" \
	"$(sed -n '/^\.Ss Probes/,/^\.S[hs] [^P]/s/^\.It Cm \([a-z]*\).*/\1/p' "$source/man/budd.8" |
		sort | tr '\n' ' ')" "$(names budd)"
# "Arguments: 4@40(%rbp) 8@%rax -8@%rdx"
counts=$(awk '/Provider: / { here = $2 == "budd" } here && /Arguments: / { print NF - 1 }' <<<"$notes" |
	sort -u | tr '\n' ' ')
is "each has three arguments" "$counts" "3 "

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
