#!/bin/bash
# SPDX-License-Identifier: ISC
#
# The Debian packages: built from the tarball of `make dist`, without errors of lintian's,
# installed with apt into a clean Debian under a real systemd, used, upgraded with clients
# in it, and purged.
#
# It builds everything once more and makes a Debian of its own, which takes minutes: so it
# runs on request only.
#
# BUD_TEST_PACKAGES=1    run it
# BUD_TEST_DEBS=DIR      these packages, built before, instead of building them
# BUD_TEST_ROOT=DIR      this clean Debian 12 (of mmdebstrap, with systemd) instead of a new
#                        one; it is not changed
set -u
build=${BUD_BUILD:-$PWD}
# shellcheck source=tests/container.sh
. "${BUD_SOURCE:-$PWD}/tests/container.sh"
work=

die() { # WHAT LOG
	tail -n 30 "$2"
	echo "not ok - $1"
	echo "$passed passed, $((failed + 1)) failed, 0 skipped"
	exit 1
}

end_all() {
	[ -z "${CLIENT_PID:-}" ] || kill "$CLIENT_PID" 2>/dev/null
	[ "$failed" -eq 0 ] || [ -z "$leader" ] ||
		inside journalctl -o short-monotonic --no-pager -u budd.service | tail -n 30
	container_end
	[ -z "$work" ] || rm -rf "$work"
}

build_packages() {
	make -s -C "$build" dist && mkdir "$work/source" &&
		tar -xJf "$build"/bud-*.tar.xz -C "$work/source" --strip-components=1 &&
		rm -f "$build"/bud-*.tar.xz || return 1
	# Level 4: a symbol more or less than debian/libbud0.symbols has is an error.
	(cd "$work/source" && DPKG_GENSYMBOLS_CHECK_LEVEL=4 \
		DEB_BUILD_OPTIONS="parallel=$(nproc) noautodbgsym" dpkg-buildpackage -us -uc -b)
}

make_clean_root() {
	mmdebstrap --variant=minbase --include=systemd,systemd-sysv,init-system-helpers \
		bookworm "$work/debian"
}

# What apt needs without a network: the container has none.
fetch_dependencies() {
	cp -L /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null
	mkdir "$root/debs" && cp "$debs"/*.deb "$root/debs/" &&
		chroot "$root" sh -c 'apt-get -q update && apt-get -q -y install --download-only \
			--no-install-recommends /debs/*.deb'
}

apt() {
	inside env DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get -q -y \
		--no-install-recommends "$@" >>"$lab/apt.log" 2>&1
}

deb() { # PACKAGE...: their files, as the container names them
	local p
	for p; do
		(cd "$root" && echo debs/"$p"_*.deb | sed 's|^|/|')
	done
}

# But for what apt, dpkg and systemd keep for themselves.
files() {
	inside find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /tmp \
		-o -path /var/cache -o -path /var/log -o -path /var/lib/dpkg \
		-o -path /var/lib/apt -o -path /var/tmp -o -path /var/lib/systemd/catalog \
		-o -path /debs -o -path /opt \) -prune -o -print |
		grep -Ev '^/etc/(passwd|group|shadow|gshadow|subuid|subgid)-$|^/etc/\.pwd\.lock$|^/etc/ld\.so\.cache$|random-seed$|^/var/lib/systemd/timers'
}

property() { inside systemctl show -P "$1" "${2:-budd.service}"; }
enabled() { inside systemctl is-enabled budd.service budd.socket budd-status.socket 2>/dev/null | tr '\n' ' '; }
sockets() { inside stat -c %i /run/budd/budd.sock /run/budd/status.sock | tr '\n' ' '; }
is_another() { [ "$(property ActiveState)" = active ] && [ "$(property MainPID)" != "$1" ]; }
figure() { inside budctl status --json | jq -r "$1"; }
serves() { [ -n "$(figure .version 2>/dev/null)" ]; }
wall_is() { [ "$(figure .host.wall)" = "$1" ]; }

ask() { # COMMAND: the client's answer
	local answer=silence
	echo "$1" >&"${CLIENT[1]}"
	read -r -t 120 answer <&"${CLIENT[0]}"
	echo "$answer"
}

# --- Set up ---

[ -n "${BUD_TEST_PACKAGES:-}" ] ||
	skip "building packages and a clean Debian takes minutes; BUD_TEST_PACKAGES=1 runs it"
[ "$(id -u)" -eq 0 ] || skip "not root"
for tool in dpkg-buildpackage:dpkg-dev dh:debhelper lintian:lintian mmdebstrap:mmdebstrap \
	systemd-nspawn:systemd-container jq:jq; do
	command -v "${tool%:*}" >/dev/null || skip "${tool%:*} was not found (apt install ${tool#*:})"
done
trap end_all EXIT
trap 'exit 1' HUP INT TERM
work=$(mktemp -d)
debs=${BUD_TEST_DEBS:-$work}

begun=$SECONDS
if [ -z "${BUD_TEST_DEBS:-}" ]; then
	build_packages >"$work/build.log" 2>&1 || die "the packages are built" "$work/build.log"
	echo "#   built in $((SECONDS - begun)) s"
fi
is "there are five packages" "$(cd "$debs" && ls ./*.deb | sed 's|./||; s|_.*||' | grep -v dbgsym | tr '\n' ' ')" \
	"bud-run budctl budd libbud-dev libbud0 "
lintian --fail-on error "$debs"/*.deb >"$work/lintian" 2>&1
is "lintian finds no error" $? 0
sed 's/^/#   /' "$work/lintian"

begun=$SECONDS
debian=${BUD_TEST_ROOT:-$work/debian}
[ -n "${BUD_TEST_ROOT:-}" ] || make_clean_root >"$work/debian.log" 2>&1 ||
	die "a clean Debian is made" "$work/debian.log"
container_mount "$debian" || skip "no overlay can be mounted here"
fetch_dependencies >"$work/fetch.log" 2>&1 || die "apt finds what the packages depend on" "$work/fetch.log"
mkdir -p "$root/opt"
client=$build/tests/.libs/systemd-client
[ -x "$client" ] || client=$build/tests/systemd-client
cp "$client" "$root/opt/systemd-client"
if ! container_boot; then
	tail -n 20 "$lab/log"
	skip "no container can be booted here"
fi
echo "#   a clean Debian made and booted in $((SECONDS - begun)) s"

# --- Installed ---
# shellcheck disable=SC2046

before=$(files)
begun=$SECONDS
ok "apt installs them" apt install $(deb budd budctl libbud0 bud-run) ||
	die "so nothing else can be seen" "$lab/apt.log"
echo "#   installed in $((SECONDS - begun)) s"
ok "budd serves" eventually serves
is "it runs as its user" "$(inside stat -c %U "/proc/$(property MainPID)")" budd
is "it starts at boot" "$(enabled)" "enabled enabled enabled "
is "clients may connect" "$(inside stat -c %a /run/budd/budd.sock)" 666
is "the status is the group's" "$(inside stat -c '%a %G' /run/budd/status.sock)" "660 budadm"
is "the sample is the configuration, and has no error" "$(inside budd -t >/dev/null 2>&1; echo $?)" 0
is "there is a place for drop-ins" "$(inside stat -c '%F %a' /etc/budd.conf.d)" "directory 755"

# --- Used ---

coproc CLIENT { inside setpriv --reuid=nobody --regid=nogroup --clear-groups /opt/systemd-client 2 32; }
line=silence
read -r -t 120 line <&"${CLIENT[0]}"
is "a client of another user has its pools" "$line" ready
is "... and is served" "$(ask check)" intact
inside budctl status >"$work/status" 2>&1
is "budctl shows them" "$(grep -c ' nobody .* systemd-client ' "$work/status")" 3
sed 's/^/#   /' "$work/status"
ok "bud-run runs a program" inside bud-run dd if=/dev/zero of=/dev/null bs=1M count=8 status=none
inside useradd -M watcher
is "a stranger may not look" "$(inside setpriv --reuid=watcher --regid=watcher --clear-groups budctl status 2>&1 >/dev/null; echo " $?")" \
	"budctl: cannot reach budd at /run/budd/status.sock: Permission denied; it is for root and the group budadm: adduser NAME budadm, and log in again
 3"
inside usermod -aG budadm watcher
is "a member of budadm may" "$(inside setpriv --reuid=watcher --regid=watcher --init-groups budctl set host overtaken_max=17 >/dev/null 2>&1; echo $?)" 0
printf '[host]\nwall = 768M\n' | inside sh -c 'cat >/etc/budd.conf.d/50-site.conf'
inside systemctl reload budd
ok "a drop-in is read at reload" eventually wall_is $((768 << 20))

# --- Upgraded ---

old=$(property MainPID) was=$(sockets) stored=$(property NFileDescriptorStore)
ok "apt upgrades them" apt install --reinstall $(deb budd libbud0)
ok "another budd serves" eventually is_another "$old"
is "the sockets are the same" "$(sockets)" "$was"
is "the client finds all its buffers, and is served" "$(ask check)" intact
is "as many descriptors are stored" "$(property NFileDescriptorStore)" "$stored"
is "the drop-in is still there" "$(figure .host.wall)" $((768 << 20))

# --- Removed ---

ok "apt removes them" apt remove budd
is "budd is gone" "$(inside systemctl is-active budd.service budd.socket budd-status.socket | sort -u)" inactive
is "the client keeps its buffers" "$(ask lost)" lost
echo quit >&"${CLIENT[1]}"
is "the configuration stays" "$(inside ls -d /etc/budd.conf /etc/budd.conf.d/50-site.conf 2>&1 | tr '\n' ' ')" \
	"/etc/budd.conf /etc/budd.conf.d/50-site.conf "
ok "apt purges them" apt purge budd budctl libbud0 bud-run
ok "... and what they needed" apt autoremove --purge
inside userdel watcher 2>/dev/null
after=$(files)
is "nothing is left" "$(diff <(echo "$before") <(echo "$after") | grep '^[<>]')" ""
is "not in /run either" "$(inside ls -d /run/budd 2>/dev/null)" ""
is "but for the user, by policy" "$(inside id -un budd)" budd
[ "$failed" -eq 0 ] || tail -n 40 "$lab/apt.log"

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
