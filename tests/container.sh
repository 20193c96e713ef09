# SPDX-License-Identifier: ISC
# shellcheck shell=bash
#
# A real systemd in a container over a throw-away overlay of some root; for the scripts that
# source this. Needs root, systemd-nspawn (Debian: systemd-container) and overlayfs.
#
# container_mount [ROOT]   an overlay of ROOT (/) at $root, its files on a tmpfs below $lab
# container_boot           boots it
# inside COMMAND...        runs a command in it
# container_end            ends it and removes all that was made

passed=0 failed=0
lab= root= leader= supervisor= cgroups=

skip() {
	echo "skip: $1"
	echo "0 passed, 0 failed, 1 skipped"
	exit 0
}

ok() { # WHAT COMMAND...: the command holds
	local what=$1
	shift
	if "$@"; then
		passed=$((passed + 1)); echo "ok - $what"
	else
		failed=$((failed + 1)); echo "not ok - $what"
	fi
}

is() { # WHAT GOT WANTED
	ok "$1" test "$2" = "$3"
	[ "$2" = "$3" ] || echo "#   got '$2', wanted '$3'"
}

# Runs what follows until it holds, 30 s at most.
eventually() {
	local i
	for i in $(seq 300); do
		if "$@"; then return 0; fi
		sleep 0.1
	done
	return 1
}

# --- The container ---

inside() { nsenter -t "$leader" -m -u -i -n -p -C -- "$@"; }

hierarchies() {
	if [ -e /sys/fs/cgroup/cgroup.procs ]; then
		echo /sys/fs/cgroup
	else
		ls -d /sys/fs/cgroup/systemd /sys/fs/cgroup/unified 2>/dev/null
	fi
}

container_mount() {
	lab=$(mktemp -d)
	root=$lab/t/root
	mkdir "$lab/t"
	mount -t tmpfs -o size=1G,mode=755 bud-test "$lab/t" || return 1
	mkdir "$lab/t/upper" "$lab/t/work" "$root"
	mount -t overlay -o "lowerdir=${1:-/},upperdir=$lab/t/upper,workdir=$lab/t/work" \
		overlay "$root" || return 1
	: >"$root/etc/machine-id"
	cat >"$root/etc/systemd/system/lab.target" <<-EOF
		[Unit]
		Requires=basic.target
		After=basic.target
		AllowIsolate=yes
	EOF
}

enter_cgroups() {
	local h
	for h in $cgroups; do
		echo "$BASHPID" >"$h/cgroup.procs"
	done
}

container_boot() {
	local name h
	name=bud-test-$$
	for h in $(hierarchies); do
		mkdir "$h/$name" && cgroups="$cgroups $h/$name"
	done
	(
		enter_cgroups
		exec systemd-nspawn --quiet --directory="$root" --boot --console=pipe \
			--register=no --keep-unit --machine="$name" --private-network \
			--capability=CAP_IPC_LOCK --system-call-filter=@memlock \
			systemd.unit=lab.target
	) </dev/null >"$lab/log" 2>&1 &
	supervisor=$!
	eventually find_leader && eventually has_booted
}

# The container's first process, once it has become systemd.
find_leader() {
	local c
	for c in $(cat "/proc/$supervisor/task/$supervisor/children" 2>/dev/null); do
		if [ "$(awk '/^NSpid/ { print $NF }' "/proc/$c/status" 2>/dev/null)" = 1 ] &&
			[ "$(cat "/proc/$c/comm" 2>/dev/null)" = systemd ]; then
			leader=$c
			return 0
		fi
	done
	return 1
}

has_booted() {
	case $(inside systemctl is-system-running 2>/dev/null) in
	running | degraded) return 0 ;;
	esac
	return 1
}

gone() { [ ! -d "/proc/$1" ]; }

container_end() {
	local h
	if [ -n "$leader" ]; then
		inside systemctl poweroff >/dev/null 2>&1
		eventually gone "$leader" || kill -9 "$leader"
	fi
	if [ -n "$supervisor" ] && ! eventually gone "$supervisor"; then
		kill -9 "$supervisor"
	fi
	sleep 0.2
	for h in $cgroups; do
		find "$h" -depth -type d -exec rmdir {} + 2>/dev/null
	done
	rmdir "/run/systemd/nspawn/propagate/bud-test-$$" 2>/dev/null
	umount -l "$root" 2>/dev/null
	umount -l "$lab/t" 2>/dev/null
	rm -rf "$lab"
}
