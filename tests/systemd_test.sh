#!/bin/bash
# SPDX-License-Identifier: ISC
#
# budd under a real systemd: a container over a throw-away overlay of this machine's root, in
# which bud is installed. Restarted, killed, stopped dead and replaced under load, with 1 GiB
# in 100 pools; each time the client finds its buffers and goes on.
#
# Needs root, systemd-nspawn (Debian: systemd-container) and overlayfs; else it skips aloud.
# BUD_SYSTEMD_POOLS, BUD_SYSTEMD_MIB (of a pool's buffer, a power of two): how much to hold.
set -u
build=${BUD_BUILD:-$PWD}
pools=${BUD_SYSTEMD_POOLS:-100} mib=${BUD_SYSTEMD_MIB:-8}
# shellcheck source=tests/container.sh
. "${BUD_SOURCE:-$PWD}/tests/container.sh"

# In the order of a package's installation: files, users, directories, units.
install_bud() {
	make -s -C "$build" install DESTDIR="$root" >"$lab/install.log" 2>&1 || return 1
	mkdir -p "$root/opt"
	client=$build/tests/.libs/systemd-client
	[ -x "$client" ] || client=$build/tests/systemd-client
	cp "$client" "$root/opt/systemd-client"
	cp -L "$build"/.libs/libbud.so.0 "$root/opt/"
	config=$("$build/budd" -h | sed -n 's/.*-f FILE  .*\[\(.*\)\]/\1/p')
	budd=$(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$build/systemd/budd.service")
	mkdir -p "$root$(dirname "$config")"
	# Bases of 10.25 MiB: 100 of them are a GiB. The wall lets none grow by another `mib`.
	cat >"$root$config" <<-EOF
		[host]
		wall = 4G
		[pool default]
		base = $((mib * 41 / 32 * 1024 + mib * 41 % 32 * 32))K
		add = 1M
		wall = $((mib * 2))M
		wall_max = $((mib * 2))M
	EOF
	mkdir -p "$root/etc/systemd/system/budd.service.d"
	printf '[Service]\nWatchdogSec=3s\n' \
		>"$root/etc/systemd/system/budd.service.d/test.conf"
}

end_all() {
	[ -z "${CLIENT_PID:-}" ] || kill "$CLIENT_PID" 2>/dev/null
	[ "$failed" -eq 0 ] || [ -z "$leader" ] || tail -n 60 "$lab/journal" 2>/dev/null
	container_end
}

# --- What is seen of budd ---

property() { inside systemctl show -P "$1" budd.service; }
keeper() { property MainPID; }
locked_kib() { inside awk '/^VmLck/ { print $2 }' "/proc/$(keeper)/status"; }
descriptors() { inside sh -c "ls /proc/$(keeper)/fd | wc -l"; }
mappings() { inside grep -c memfd:bud "/proc/$(keeper)/maps"; }
stored() { property NFileDescriptorStore; }
# Pools whose names are whole: the client's are as long as names can be.
named() { inside curl -s --unix-socket /run/budd/status.sock http://x/v1/status | grep -o '"n\{63\}"' | wc -l; }
# ... and whose commands the status tells, though budd may not look at other users' processes.
called() { inside curl -s --unix-socket /run/budd/status.sock http://x/v1/status | grep -o '"command":[[:space:]]*"systemd-client"' | wc -l; }
is_active() { [ "$(property ActiveState)/$(property SubState)" = active/running ]; }
is_another() { is_active && [ "$(keeper)" != "$1" ]; }
# From leaving `active` to being so again, and the part of it since budd was started.
downtime() {
	local t
	t=$(inside systemctl show -p ActiveExitTimestampMonotonic -p ActiveEnterTimestampMonotonic \
		-p ExecMainStartTimestampMonotonic budd.service)
	awk -F= '{ t[$1] = $2 } END { printf "down for %d ms, %d of them from its start to ready",
		(t["ActiveEnterTimestampMonotonic"] - t["ActiveExitTimestampMonotonic"]) / 1000,
		(t["ActiveEnterTimestampMonotonic"] - t["ExecMainStartTimestampMonotonic"]) / 1000 }' <<<"$t"
}
journal() { inside journalctl -o cat --no-pager -u budd.service 2>/dev/null; }

holdings() { echo "locked $(locked_kib) KiB, $(stored) stored, $(mappings) mappings, $(descriptors) descriptors, $(named) names, $(called) commands"; }

ask() { # COMMAND: the client's answer
	local answer=silence
	echo "$1" >&"${CLIENT[1]}"
	read -r -t 120 answer <&"${CLIENT[0]}"
	echo "$answer"
}

# What must hold after budd has been replaced, in whatever way.
expect_taken_over() { # HOW OLD-KEEPER
	ok "$1: another keeper serves" eventually is_another "$2"
	echo "#   $1: $(downtime); $(journal | grep 'taken over' | tail -n 1)"
	is "$1: the client finds all its buffers, and is served" "$(ask check)" intact
	is "$1: budd holds what it held" "$(holdings)" "$before"
}

# --- Set up ---

[ "$(id -u)" -eq 0 ] || skip "not root"
command -v systemd-nspawn >/dev/null || skip "systemd-nspawn was not found (apt install systemd-container)"
grep -q fsanitize "$build/config.status" 2>/dev/null &&
	grep -q "SANITIZE\"\]=\"-f" "$build/config.status" && skip "a sanitizer does not work in the unit's sandbox"
grep -q 'WITH_SYSTEMD_TRUE"\]="#"' "$build/config.status" && skip "configured --without-systemd"
trap end_all EXIT
trap 'exit 1' HUP INT TERM
container_mount 2>/dev/null || skip "no overlay of / can be mounted here"
if ! install_bud; then
	cat "$lab/install.log"
	echo "0 passed, 1 failed, 0 skipped"
	exit 1
fi
if ! container_boot; then
	tail -n 20 "$lab/log"
	skip "no container can be booted here"
fi

# --- Installed, and idle ---

is "sysusers.d makes the user" "$(inside id -un budd 2>/dev/null)" budd
is "... and the group" "$(inside getent group budadm | cut -d: -f1)" budadm
is "tmpfiles.d makes the directory" "$(inside stat -c '%U %a' /run/budd)" "root 755"
inside systemctl start budd.socket budd-status.socket
is "clients may connect" "$(inside stat -c '%a' /run/budd/budd.sock)" 666
is "the status is the group's" "$(inside stat -c '%a %G' /run/budd/status.sock)" "660 budadm"
is "budd is not started for nothing" "$(property ActiveState)" inactive
score=$(inside systemd-analyze security --no-pager budd.service | sed -n 's/.*level for budd.service: \([0-9.]*\).*/\1/p')
echo "#   systemd-analyze security: $score"
ok "its exposure is 0.6 at the most" awk "BEGIN { exit !(\"$score\" != \"\" && $score <= 0.6) }"

# --- The first client ---

coproc CLIENT { inside env LD_LIBRARY_PATH=/opt /opt/systemd-client "$pools" "$mib"; }
line=silence
read -r -t 120 line <&"${CLIENT[0]}"
is "a connection starts budd" "$line" ready
ok "it is ready" eventually is_active
is "it runs as its user" "$(inside stat -c %U "/proc/$(keeper)")" budd
is "each pool is served" "$(ask check)" intact
is "each pool is in the store" "$(stored)" $((2 + 4 * (pools + 1)))
sleep 3.5 # more than a watchdog's time: and the status line is of now
is "the watchdog is content" "$(property NRestarts)" 0
status=$(property StatusText)
echo "#   $status"
ok "it tells how it is" grep -q "^$((pools + 1)) pools, .* pinned, 0 waiting" <<<"$status"
is "names are told at their longest" "$(named)" $((pools + 1))
is "whose they are is told" "$(called)" $((pools + 1))
before=$(holdings)
echo "#   $before"

# --- Replaced ---

old=$(keeper)
inside systemctl restart budd.service
expect_taken_over "systemctl restart" "$old"

old=$(keeper)
inside kill -KILL "$old"
expect_taken_over "SIGKILL" "$old"

old=$(keeper)
inside kill -STOP "$old"
expect_taken_over "the watchdog" "$old"
ok "the journal says so" eventually sh -c "$(declare -f inside); leader=$leader; inside journalctl -u budd.service --no-pager | grep -qi 'watchdog'"

old=$(keeper)
cp "$root$budd" "$root$budd.new" && mv "$root$budd.new" "$root$budd"
inside systemctl restart budd.service
expect_taken_over "another binary" "$old"
is "it is the new one" "$(inside stat -Lc %i "/proc/$(keeper)/exe")" "$(inside stat -c %i "$budd")"

old=$(keeper)
inside systemctl daemon-reexec
inside kill -KILL "$old"
expect_taken_over "after daemon-reexec" "$old"

old=$(keeper)
inside systemctl reload budd.service
is "a reload replaces nobody" "$(keeper) $(property ActiveState)" "$old active"
is "... and costs nothing" "$(ask check)" intact

# --- What does not survive ---

inside systemctl stop budd.socket budd-status.socket budd.service
is "after a stop, systemd 252 has let go of all" "$(stored)" 0
is "clients are told, and keep their buffers" "$(ask lost)" lost
inside systemctl start budd.socket
is "they open other pools" "$(ask reopen)" reopened

# --- A full store ---

is "all are stored" "$(stored)" $((2 + 4 * pools))
printf '[Service]\nFileDescriptorStoreMax=%u\nEnvironment=FDSTORE=%u\n' \
	$((2 + 4 * pools)) $((2 + 4 * pools)) >"$root/etc/systemd/system/budd.service.d/full.conf"
inside systemctl daemon-reload
inside systemctl restart budd.service
ok "one more pool is opened" sh -c "$(declare -f inside); leader=$leader; inside env LD_LIBRARY_PATH=/opt timeout 60 /opt/systemd-client 1 1 </dev/null | grep -q ready"
ok "that it is not stored is said" eventually sh -c "$(declare -f inside); leader=$leader; inside journalctl -u budd.service --no-pager | grep -q 'the store is full'"

# --- Another layout ---

old=$(keeper)
table=$(inside sh -c "ls -l /proc/$old/fd" | sed -n 's/.* \([0-9]*\) -> .memfd:bud-table.*/\1/p')
locked=$(locked_kib)
inside kill -STOP "$old"
inside sh -c "printf '\\377' | dd of=/proc/$old/fd/$table bs=1 seek=8 conv=notrunc 2>/dev/null"
inside kill -KILL "$old"
ok "a budd that cannot read the table serves" eventually is_another "$old"
ok "it says so" sh -c "$(declare -f inside); leader=$leader; inside journalctl -u budd.service --no-pager | grep -q 'of another layout'"
ok "all is locked" test "$(locked_kib)" -ge "$locked"
is "clients are told, and keep their buffers (2)" "$(ask lost)" lost
echo quit >&"${CLIENT[1]}"
nothing_is_stored() { [ "$(stored)" = 2 ]; }
ok "their processes end, and so do these pools" eventually nothing_is_stored

inside journalctl -o short-monotonic --no-pager -u budd.service >"$lab/journal" 2>/dev/null
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
