#!/bin/bash
# SPDX-License-Identifier: ISC
#
# Each probe that budd(8) lists is in the program, with its arguments, and no other; and a tracer
# finds them: gdb stops a living budd's arbiter at them and reads what they tell.
set -u
build=${BUD_BUILD:-$PWD} source=${BUD_SOURCE:-$PWD}
passed=0 failed=0 skipped=0

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

# --- A tracer ---

trace=
dir=$(mktemp -d) || exit 1
end_all() {
	# shellcheck disable=SC2046,SC2086 # several
	kill $(cat "$dir/budd.pid" 2>/dev/null) $trace 2>/dev/null
	wait
	rm -rf "$dir"
}
trap end_all EXIT
trap 'exit 1' HUP INT TERM

eventually() { # COMMAND...: until it holds, 60 s at most
	for _ in $(seq 600); do
		if "$@" >/dev/null 2>&1; then return 0; fi
		sleep 0.1
	done
	echo "# never came true: $*"
	return 1
}

# Blocks of 256 KiB: the first is there, two are grown, and the last has to wait at the wall.
be_traced() {
	printf '[pool default]\nbase = 256K\nadd = 256K\nwall = 768K\n' >"$dir/budd.conf"
	{
		echo 'set debuginfod enabled off'
		echo 'set follow-fork-mode child' # the arbiter; the keeper runs on by itself
		for probe in grow grant queue; do
			printf 'break -probe-stap budd:%s\ncommands\nsilent\n' $probe
			# shellcheck disable=SC2016 # they are of gdb
			printf 'printf "%s: %%lu %%lu\\n", $_probe_arg0, $_probe_arg1\n' $probe
			printf 'continue\nend\n'
		done
		echo run
	} >"$dir/script"
	gdb -q -nx -batch -x "$dir/script" --args "$program" -d -f "$dir/budd.conf" \
		-s "$dir/budd.sock" -S "$dir/status.sock" >"$dir/gdb.out" 2>&1 </dev/null &
	trace=$!
	eventually grep -q 'serving\|ptrace\|not permitted' "$dir/gdb.out"
	BUD_SOCKET=$dir/budd.sock "$build/tests/hold-client" default 262144 4 >/dev/null &
	trace="$trace $!"
}

skip=
command -v gdb >/dev/null || skip="gdb is not installed (Debian: apt install gdb)"
! grep -q '^SANITIZE = .*sanitize' "$build/Makefile" || skip="sanitizers do not bear a tracer"
if [ -z "$skip" ]; then
	be_traced
	! grep -qi 'ptrace.*not permitted' "$dir/gdb.out" || skip="nobody may be traced here"
fi
if [ -n "$skip" ]; then
	echo "skip: $skip; no probe was read by a tracer"
	skipped=1
else
	eventually grep -q '^queue: ' "$dir/gdb.out" || tail -n 20 "$dir/gdb.out"
	is "gdb stops at each, and reads pool and bytes" \
		"$(grep -a '^\(grow\|grant\|queue\): [0-9]' "$dir/gdb.out" | sort | uniq -c | xargs)" \
		"2 grant: 1 262144 2 grow: 1 262144 3 queue: 1 262144"
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
