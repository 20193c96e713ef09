#!/bin/bash
# SPDX-License-Identifier: ISC
#
# Debian's Prometheus scrapes two budds in two network namespaces, through budctl web, with
# the rules of etc/prometheus; an alert fires for the pool that waits at its wall, and for no
# other, and ends when the wall is raised. The rules have tests of their own (promtool).
#
# Without prometheus (scripts/install-deps unpacks Debian's) it checks what needs none, and skips
# aloud.
set -u
build=${BUD_BUILD:-$PWD} source=${BUD_SOURCE:-$PWD}
passed=0 failed=0 skipped=0
dir=$(mktemp -d)
pids= spaces=
PATH=$PATH:$source/build/prometheus/usr/bin

ok() { # WHAT COMMAND...
	local what=$1
	shift
	if "$@"; then
		passed=$((passed + 1)); echo "ok - $what"
	else
		failed=$((failed + 1)); echo "not ok - $what"
	fi
}

finish() {
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" -eq 0 ]
	exit
}

skip() { echo "skip: $1"; skipped=$((skipped + 1)); finish; }

# Whoever is started in the background is a command, not a function: $! is then its own pid.
end_all() {
	local p s
	for p in $pids; do kill "$p" 2>/dev/null; done
	for p in $pids; do wait "$p" 2>/dev/null; done
	for s in $spaces; do ip netns del "$s" 2>/dev/null; done
	rm -rf "$dir"
}
trap end_all EXIT
trap 'exit 1' HUP INT TERM

eventually() {
	local i
	for i in $(seq 600); do
		if "$@"; then return 0; fi
		sleep 0.1
	done
	return 1
}

rules=$source/etc/prometheus
is_json() { jq -e '.panels | length > 0' "$1" >/dev/null; }
ok "the dashboard is JSON, with panels" is_json "$source/etc/grafana/bud.json"
expressions() { jq -r '.panels[].targets[].expr' "$source/etc/grafana/bud.json"; grep '  expr:' "$rules/budd.rules.yml"; }
# What rules and dashboard ask for, and budd does not have. _bucket: of a histogram.
unknown() {
	curl -s -H 'Accept: text/plain' --unix-socket "$dir/status0" http://budd/metrics |
		sed -n 's/^# TYPE \([a-z_]*\) .*/\1/p' >"$dir/have"
	expressions | grep -Eo 'budd_[a-z_]+' | sed 's/_bucket$//' | sort -u | grep -vxFf "$dir/have"
}

# --- Two hosts, each with its budd; and a third that watches ---

serves() { "$build/budctl/budctl" -S "$dir/status$1" status >/dev/null 2>&1; }
start_budd() { # NUMBER
	printf '[host]\nwall = 64M\n[pool web]\nbase = 1M\nadd = 1M\nwall = 4M\n' >"$dir/budd.conf"
	"$build/budd" -d -f "$dir/budd.conf" -s "$dir/socket$1" -S "$dir/status$1" 2>>"$dir/log$1" &
	pids="$pids $!"
	eventually serves "$1"
}
ok "a budd serves" start_budd 0
ok "rules and dashboard ask for what there is" test -z "$(unknown)"
unknown | sed 's/^/#   not there: /'

if ! command -v promtool >/dev/null || ! command -v prometheus >/dev/null; then
	skip "prometheus was not found (scripts/install-deps), so its rules are not tried"
fi
ok "promtool finds the rules well-formed" promtool check rules "$rules/budd.rules.yml"
ok "promtool finds that they do what they are to" \
	sh -c "cd '$rules' && promtool test rules budd.rules.test.yml"
scrape() { curl -s -H 'Accept: text/plain' --unix-socket "$dir/status$1" http://budd/metrics; }
ok "promtool finds the metrics well-formed" promtool check metrics < <(scrape 0)

[ "$(id -u)" -eq 0 ] && command -v ip >/dev/null || skip "no network namespaces without root and ip (apt install iproute2)"
add_space() { ip netns add "$1" 2>/dev/null && spaces="$spaces $1" && ip -n "$1" link set lo up; }
watch=budw$$
add_space "$watch" || skip "no network namespace can be made here"
start_host() { # NUMBER
	local space=bud$1-$$
	add_space "$space" && ip link add "v$1-$$" netns "$watch" type veth peer name eth0 netns "$space" &&
		ip -n "$watch" addr add "10.77.$1.1/24" dev "v$1-$$" && ip -n "$watch" link set "v$1-$$" up &&
		ip -n "$space" addr add "10.77.$1.2/24" dev eth0 && ip -n "$space" link set eth0 up || return 1
	[ "$1" = 0 ] || start_budd "$1" || return 1
	ip netns exec "$space" "$build/budctl/budctl" -S "$dir/status$1" web --listen "10.77.$1.2:8765" \
		--allow-remote >"$dir/web$1.log" 2>&1 &
	pids="$pids $!"
}
ok "host 0" start_host 0
ok "host 1" start_host 1

# The rules as they are, but that they do not wait for minutes.
sed -E 's/^( +for:) .*/\1 1s/' "$rules/budd.rules.yml" >"$dir/rules.yml"
cat >"$dir/prometheus.yml" <<-EOF
	global: {scrape_interval: 1s, evaluation_interval: 1s}
	rule_files: [$dir/rules.yml]
	scrape_configs:
	  - job_name: budd
	    static_configs: [{targets: ["10.77.0.2:8765", "10.77.1.2:8765"]}]
EOF
ip netns exec "$watch" prometheus --config.file="$dir/prometheus.yml" --storage.tsdb.path="$dir/data" \
	--web.listen-address=127.0.0.1:9090 >"$dir/prometheus.log" 2>&1 &
pids="$pids $!"
ask() { ip netns exec "$watch" curl -s -m 5 -G http://127.0.0.1:9090/api/v1/query --data-urlencode "query=$1"; }
value() { ask "$1" | jq -r '[.data.result[].value[1]] | join(" ")' 2>/dev/null; }
value_is() { [ "$(value "$1")" = "$2" ]; }
alerts() {
	ip netns exec "$watch" curl -s -m 5 http://127.0.0.1:9090/api/v1/alerts |
		jq -r '[.data.alerts[] | select(.state == "firing") | .labels |
			"\(.alertname)@\(.instance)/\(.pool // "")"] | sort | join(" ")' 2>/dev/null
}
alerts_are() { [ "$(alerts)" = "$1" ]; }
ok "both are scraped" eventually value_is 'sum(up{job="budd"})' 2
ok "all is quiet" eventually alerts_are ""

hold=$build/tests/.libs/hold-client
[ -x "$hold" ] || hold=$build/tests/hold-client
BUD_SOCKET=$dir/socket1 LD_LIBRARY_PATH=$build/.libs "$hold" web 1048576 6 >"$dir/client.log" 2>&1 &
pids="$pids $!"
ok "a pool waits at its wall, and the alert fires for it alone" \
	eventually alerts_are "BuddPoolWaitsAtItsWall@10.77.1.2:8765/web"
ok "Prometheus knows its wall" eventually value_is 'budd_pool_wall_bytes{pool="web"}' 4194304
ok "promtool finds the metrics of a pool well-formed" promtool check metrics < <(scrape 1)
"$build/budctl/budctl" -S "$dir/status1" set web wall=8M >/dev/null
ok "the wall is raised, and the alert ends" eventually alerts_are ""
ok "the requests had to queue, and that was counted" \
	eventually sh -c "[ \"\$(ip netns exec $watch curl -s -G http://127.0.0.1:9090/api/v1/query --data-urlencode 'query=budd_pool_queued_total{pool=\"web\"} > bool 0' | jq -r '.data.result[0].value[1]')\" = 1 ]"
[ "$failed" -eq 0 ] || tail -n 5 "$dir"/*.log
finish
