#!/bin/bash
# SPDX-License-Identifier: ISC
#
# The models of tests/models, searched to the end by spin: as they are, with store buffers as
# x86 has them and with weaker ones, they hold; and with each of their conditions taken away,
# one by one, they do not. A condition is a switch of the model, or of thread.pml if it includes
# that: "#ifndef NAME", "#define NAME 1".
#
# BUD_MODELS_OPS=N  calls that a thread makes (default: as the models say; more takes longer)
set -u
source=${BUD_SOURCE:-$PWD}
models=$source/tests/models
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# What spin makes is compiled fifty times, and runs for a blink: tcc's code is good enough.
cc=$(command -v tcc || command -v gcc)
if ! command -v spin >/dev/null || [ -z "$cc" ]; then
	echo "skip: spin, and a compiler for what it makes, are not installed"
	echo "0 passed, 0 failed, 1 skipped"
	exit 0
fi

# Prints "ok ..." or "not ok ...". EXPECT is holds or fails.
search() { # EXPECT MODEL SWITCH...
	local expect=$1 model=$2 work said
	shift 2
	work=$(mktemp -d -p "$dir")
	cd "$work" || exit 1
	said="$model${*:+ with $*}"
	if ! spin -a "$@" "$models/$model.pml" >spin.out 2>&1 || grep -q Error spin.out ||
		! "$cc" -w -DSAFETY -DMEMLIM=2000 -o pan pan.c 2>>spin.out; then
		sed 's/^/    /' spin.out
		echo "not ok - $said: no model came of it"
		return
	fi
	./pan -n -w18 -m5000 >pan.out 2>&1
	states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' pan.out)
	if grep -qE 'max search depth too small|Search not completed|out of memory' pan.out &&
		! grep -q 'errors: [1-9]' pan.out; then
		echo "not ok - $said: not searched to the end"
	elif [ "$expect" = holds ]; then
		if grep -q 'errors: 0$' pan.out && [ "${states:-0}" -gt 1000 ]; then
			echo "ok - $said holds: $states states"
		else
			grep -E 'pan:|errors:' pan.out | sed 's/^/    /'
			echo "not ok - $said does not hold"
		fi
	elif grep -q 'assertion violated' pan.out; then
		echo "ok - $said fails, as it must"
	else
		echo "not ok - $said must fail, and does not: is it a condition?"
	fi
}
export -f search
export cc dir models

conditions() { # MODEL
	local files=$models/$1.pml
	grep -q '^#include "thread.pml"' "$files" && files="$files $models/thread.pml"
	# shellcheck disable=SC2086 # two files
	sed -n '/^#ifndef/{N;s/^#ifndef \([A-Z_]*\)\n#define \1 1$/\1/p}' $files
}

# Needed only where stores may overtake each other.
is_weak() { # MODEL CONDITION
	grep -qE "^ \*	$2	.*\(with WEAK\)" "$models/$1.pml"
}

runs() {
	local model ops=${BUD_MODELS_OPS:+-DOPS=$BUD_MODELS_OPS}
	for model in take wake away block doubt; do
		echo "holds $model $ops"
		echo "holds $model $ops -DWEAK=1"
		for c in $(conditions "$model"); do
			is_weak "$model" "$c" && weak=-DWEAK=1 || weak=
			echo "fails $model -D$c=0 $weak"
		done
	done
}

runs | xargs -P 2 -I{} bash -c 'search {}' >"$dir/out"
sort -k3 "$dir/out"
passed=$(grep -c '^ok' "$dir/out")
failed=$(grep -c '^not ok' "$dir/out")
[ $((passed + failed)) -eq "$(runs | wc -l)" ] || failed=$((failed + 1))
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 40 ]
