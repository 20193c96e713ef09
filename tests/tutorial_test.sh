#!/bin/bash
# SPDX-License-Identifier: ISC
#
# Each command of doc/tutorial.md does what the page says: the blocks marked sh are run in
# one shell, in a directory with the files of its c blocks, with a budd of the test's own.
# What would change the machine (apt, adduser, systemctl) is checked and acted out: a name
# that apt gets must be a package of ours or one that install-deps installs.
set -u
build=${BUD_BUILD:-$PWD} source=${BUD_SOURCE:-$PWD}
page=$source/doc/tutorial.md
dir=$(mktemp -d)
budd= passed=0 failed=0 skipped=0

end_all() {
	[ -z "$budd" ] || { kill "$budd" && wait "$budd"; } 2>/dev/null
	rm -rf "$dir"
}
trap end_all EXIT
trap 'exit 1' HUP INT TERM

if grep -q "SANITIZE\"\]=\"-f" "$build/config.status"; then
	echo "skip: the page's client is built by hand, without the sanitizer of this libbud"
	echo "0 passed, 0 failed, 1 skipped"
	exit 0
fi

# --- The page, taken apart ---

awk -v dir="$dir" '/^```c / { file = dir "/" $2; next } /^```/ { file = ""; next }
	file { print >file }' "$page"
# A line before each command tells how far it came. Blocks with a here-document are one.
awk '/^```sh$/ { on = 1; next } /^```/ { on = 0; next }
	on { if (!here) { text = $0; gsub(/\047/, "\047\\\047\047", text); print "step \047" text "\047" } print }
	on && /<<.EOF/ { here = 1 } /^EOF$/ { here = 0 }' "$page" |
	sed -E '/^step/!{ s|/etc/|"$dir"/etc/|g; s|127.0.0.1:8765|127.0.0.1:$port|g; s|^sleep [0-9]+$|settle|; }' \
		>"$dir/commands"
wanted=$(grep -c '^step' "$dir/commands")

# --- What stands for the machine ---

cat >"$dir/machine" <<'EOF'
set -eu -m
slept=0
step() { echo "$1" >>"$dir/steps"; echo "\$ $1"; }
sudo() { "$@"; }
seen_by_a_terminal() { # COMMAND: as if typed, and then q
	: >"$dir/terminal"
	(wait_for grep -q 'h help' "$dir/terminal"; printf q) |
		TERM=xterm timeout 120 script -qefc "$1" /dev/null >"$dir/terminal"
}
budctl() {
	case "$*" in
	top) seen_by_a_terminal "'$build/budctl/budctl' -S '$dir/status' top" ;;
	*) "$build/budctl/budctl" -S "$dir/status" "$@" ;;
	esac
}
budd() { "$build/budd" -f "$dir/etc/budd.conf" "$@"; }
apt() {
	local verb=$1 name
	shift
	for name; do
		grep -q "^Package: $name\$" "$source/debian/control" ||
			grep -qw -e "$name" "$source/scripts/install-deps" ||
			{ echo "apt $verb: no package $name"; return 1; }
	done
}
adduser() { grep -q "^g $2 " "$source/systemd/sysusers.conf"; }
wait_for() { # COMMAND: until it holds, 60 s at most
	local i
	for i in $(seq 1200); do
		if "$@" >/dev/null 2>&1; then return 0; fi
		sleep 0.05
	done
	echo "never: $*"
	return 1
}
reloads() { grep -c 'the configuration was read again' "$dir/budd.log" || true; }
more_reloads_than() { [ "$(reloads)" -gt "$1" ]; }
systemctl() {
	local before
	[ "$*" = "reload budd" ] || return 1
	before=$(reloads)
	kill -HUP "$budd"
	wait_for more_reloads_than "$before"
}
figure_is() { [ "$("$build/budctl/budctl" -S "$dir/status" status --json | jq "$1")" = "$2" ]; }
# What the page sleeps for, by turn.
settle() {
	slept=$((slept + 1))
	case $slept in
	1) wait_for figure_is '.pools[0].used' 10485760 ;;
	2) wait_for figure_is '.host.waiting' 1 ;;
	3) wait_for grep -q '10 buffers' "$dir/first.log" ;;
	4) wait_for command curl -sf "http://127.0.0.1:$port/v1/host" ;;
	*) return 1 ;;
	esac
}
cc() { command gcc "$@"; }
pkg-config() { echo "-I$source/include -L$build/.libs -Wl,-rpath,$build/.libs -lbud"; }
EOF

# --- Run ---

ok() { # WHAT COMMAND...
	local what=$1
	shift
	if "$@"; then
		passed=$((passed + 1)); echo "ok - $what"
	else
		failed=$((failed + 1)); echo "not ok - $what"
	fi
}

mkdir -p "$dir/etc/budd.conf.d"
cp "$source/etc/budd.conf" "$dir/etc/budd.conf"
: >"$dir/steps"
"$build/budd" -d -f "$dir/etc/budd.conf" -s "$dir/socket" -S "$dir/status" 2>"$dir/budd.log" &
budd=$!
port=$((20000 + $$ % 10000))
for _ in $(seq 600); do
	"$build/budctl/budctl" -S "$dir/status" status >/dev/null 2>&1 && break
	sleep 0.05
done
export build source dir budd port BUD_SOCKET="$dir/socket" USER="${USER:-root}"
(cd "$dir" && timeout 300 bash -c '. ./machine; . ./commands') >"$dir/out" 2>&1 </dev/null
status=$?
cat "$dir/out"
ok "the page has commands" test "$wanted" -gt 20
ok "each was run, and succeeded" test "$status $(wc -l <"$dir/steps")" = "0 $wanted"
ok "the first client had its buffers" grep -qx "3 buffers" "$dir/out"
ok "one was seen to wait at its wall" \
	grep -Eq ' tutorial .* 4 MiB +4 MiB +4 MiB .* 1 +4 *$' "$dir/out"
ok "a frame of top shows its blocks" grep -q '^   3     4M   \[' "$dir/out"
ok "explain has the line that helps" grep -q '^    budctl set [0-9]* wall=5M$' "$dir/out"
ok "... and to go on when that was raised" grep -qx "10 buffers" "$dir/out"
skipped=$(grep -c '^skip: ' "$dir/out")
[ "$failed" -eq 0 ] || tail -n 10 "$dir/budd.log"

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
