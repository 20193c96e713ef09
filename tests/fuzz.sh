#!/bin/bash
# SPDX-License-Identifier: ISC
#
# libFuzzer on all that budd reads of others: messages, configuration, the bodies of changes,
# what an arbiter says to the keeper,
# HTTP, and ledgers; with the address and undefined behaviour sanitizers, from the corpora
# in tests/corpus; two at a time. Ends with "N passed, N failed, N skipped".
#
# BUD_FUZZ=SECONDS  for each fuzzer (default 2; a minute is a good look, an hour a long one)
# BUD_FUZZ_KEEP=1   what is new and interesting goes into the corpus of the source
#
# usage: fuzz.sh [NAME...]	(default: channel config http ledger messages tune)
set -eu
top=${BUD_SOURCE:-$(cd "$(dirname "$0")/.." && pwd)}
seconds=${BUD_FUZZ:-2}
work=$(mktemp -d "${TMPDIR:-/tmp}/bud-fuzz.XXXXXX")
trap 'rm -rf "$work"' EXIT

if ! command -v clang >/dev/null ||
	! echo 'int LLVMFuzzerTestOneInput(void *p, unsigned long n); int LLVMFuzzerTestOneInput(void *p, unsigned long n) { return !p && !n; }' |
		clang -fsanitize=fuzzer,address -x c -o "$work/probe" - 2>/dev/null; then
	echo "skip: no clang with libFuzzer (Debian: apt install clang libclang-rt-14-dev)"
	echo "0 passed, 0 failed, 1 skipped"
	exit 0
fi

# All of budd but its processes, which fake_arbiter.c plays: first, so that the linker finds
# there what it looks for. It takes no more of the rest than a fuzzer needs.
budd() {
	echo tests/fake_arbiter.c
	(cd "$top" && ls daemon/*.c proto/*.c | grep -Ev '/(arbiter|keeper|main|systemd).c$')
}

libraries="libbsd-overlay libcjson inih libevent_core libevent_extra"
sanitize="-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all"

# Each source once, whoever needs it, and as many at a time as there are processors.
compile() { # SOURCE...
	# shellcheck disable=SC2016,SC2086
	printf '%s\n' "$@" | sort -u | top=$top work=$work \
		flags="$sanitize $(pkg-config --cflags $libraries)" xargs -P "$(nproc)" -I{} bash -c '
		source={} && cd "$top" && clang -std=gnu17 -D_GNU_SOURCE -DSYSCONFDIR="\"/etc\"" \
			-DPACKAGE_VERSION="\"fuzz\"" -I. -Iinclude -g -O1 $flags -c "$source" \
			-o "$work/$(tr / - <<<"${source%.c}").o"'
}

link() { # NAME
	# shellcheck disable=SC2086
	(cd "$work" && clang $sanitize "tests-fuzz_$1.o" budd.a -o "fuzz_$1" \
		$(pkg-config --libs $libraries) -lm)
}

# Prints what it has done, or what it has found.
fuzz() { # NAME
	local log=$work/$1.log found=$work/$1.corpus
	mkdir -p "$found" "$work/$1.crash"
	[ -z "${BUD_FUZZ_KEEP:-}" ] || found=$top/tests/corpus/$1
	if UBSAN_OPTIONS=print_stacktrace=1 "$work/fuzz_$1" -max_total_time="$seconds" \
		-max_len=4096 -timeout=300 -artifact_prefix="$work/$1.crash/" \
		"$found" "$top/tests/corpus/$1" >"$log" 2>&1; then
		echo "fuzz_$1: $(grep -E '^Done' "$log" | tail -n 1)" | tee "$work/$1.passed"
	else
		echo "fuzz_$1: found something"
		tail -n 40 "$log"
		find "$work/$1.crash" -type f -exec sh -c 'echo "input:"; base64 "$1"' _ {} \;
	fi
}

[ $# -gt 0 ] || set -- channel config http ledger messages tune
# shellcheck disable=SC2046
if ! compile $(budd) $(printf 'tests/fuzz_%s.c ' "$@") ||
	! (cd "$work" && ar rc budd.a $(budd | tr / - | sed 's/c$/o/')) ||
	! (for name in "$@"; do link "$name" || exit 1; done); then
	echo "the fuzzers do not build"
	echo "0 passed, $# failed, 0 skipped"
	exit 1
fi
export top work seconds
export -f fuzz
printf '%s\n' "$@" | xargs -P 2 -I{} bash -c 'fuzz {}'
passed=$(find "$work" -maxdepth 1 -name '*.passed' | wc -l)
failed=$(($# - passed))
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
