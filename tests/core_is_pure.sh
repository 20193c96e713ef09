#!/bin/sh
# SPDX-License-Identifier: ISC
#
# The core decides and does no I/O. This sees to it: an object of the core (audit, core, grow, heap_kind, hurry, policy,
# pool, queue, release, serve, share, squeeze, step, tally, user, and of proto ledger and messages) may need nothing from outside but
# the symbols below; no socket, no file, no clock, no libevent, no printing.
#
# usage: core_is_pure.sh OBJECT-OR-ARCHIVE...    (default: those of the build in $BUD_BUILD)
set -eu

# Memory, comparing, asserting; and what compilers, sanitizers and coverage bring along.
allowed='calloc free reallocarray malloc
memcpy memset memmove memcmp strlen strnlen strcmp strchr
abort __assert_fail __stack_chk_fail
_GLOBAL_OFFSET_TABLE_'
generated='^(__asan_|__ubsan_|__tsan_|__msan_|__sanitizer_|__gcov_|__llvm_|__profc_|_Unwind_|__popcountdi2$|__mem(cpy|set|move)_chk$)'

if [ $# -eq 0 ] && [ -n "${BUD_BUILD:-}" ]; then
	for name in daemon/audit daemon/caches daemon/core daemon/core_pool daemon/core_request daemon/grow daemon/heap_kind daemon/hurry daemon/live daemon/policy daemon/pool daemon/queue \
		daemon/registered daemon/release daemon/serve daemon/share daemon/squeeze daemon/step daemon/tally daemon/user proto/cache proto/ledger proto/ledger_chunk \
		proto/ledger_plan proto/ledger_take proto/messages; do
		set -- "$@" "$BUD_BUILD/$name.o"
	done
fi
if [ $# -eq 0 ]; then
	echo "usage: $0 OBJECT-OR-ARCHIVE...; or BUD_BUILD=DIR $0" >&2
	exit 2
fi
for f in "$@"; do
	if [ ! -r "$f" ]; then
		echo "$0: $f: no such object" >&2
		exit 2
	fi
done

nm=${NM:-nm}
# "U name" is needed from outside; what another of the objects defines is not outside.
defined=$($nm -g --defined-only "$@" | awk 'NF == 3 { print $3 }' | sort -u)
[ -n "$defined" ] || { echo "$0: nothing is defined in $*" >&2; exit 2; }

violations=$($nm -A -u "$@" | DEFINED="$defined" ALLOWED="$allowed" GENERATED="$generated" awk '
	BEGIN {
		n = split(ENVIRON["DEFINED"] " " ENVIRON["ALLOWED"], names)
		for (i = 1; i <= n; i++)
			fine[names[i]] = 1
	}
	{
		symbol = $NF
		sub(/@.*/, "", symbol)
		if (!(symbol in fine) && symbol !~ ENVIRON["GENERATED"]) {
			object = $1
			sub(/:$/, "", object)
			printf "  %s needs %s\n", object, symbol
		}
	}')

if [ -n "$violations" ]; then
	cat >&2 <<-END
	The core is not pure:
	$violations
	The core is given messages, answers and the time, and acts through struct core_ops
	(daemon/core.h) alone, so that the tests and the simulator run the very same code.
	Move the call into the shell, behind an operation. If it does no I/O, reads no clock
	and prints nothing, add it to the list in tests/core_is_pure.sh.
	END
	exit 1
fi
echo "the core is pure: $# objects need nothing from outside but memory and strings"
echo "1 passed, 0 failed, 0 skipped"
