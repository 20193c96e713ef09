#!/bin/bash
# SPDX-License-Identifier: ISC
#
# budctl web: who may ask what, and what is passed on, seen by curl; and the page in a real
# browser, where there are chromium, node and its playwright-core (else that part skips
# aloud: a browser is too much to install for it).
#
# BUD_WEB_MODULES=DIR      where node finds playwright-core
# BUD_WEB_SCREENSHOTS=DIR  the browser leaves pictures of the page there
set -u
build=${BUD_BUILD:-$PWD} source=${BUD_SOURCE:-$PWD}
passed=0 failed=0 skipped=0
dir=$(mktemp -d)
budd= web= client= browser=

ok() { # WHAT COMMAND...
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

eventually() {
	local i
	for i in $(seq 600); do
		if "$@"; then return 0; fi
		sleep 0.05
	done
	return 1
}

end() { # PID
	[ -z "$1" ] || { kill "$1" && wait "$1"; } 2>/dev/null
}

cleanup() {
	end "$browser"
	end "$client"
	end "$web"
	end "$budd"
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

budctl() { "$build/budctl/budctl" -S "$dir/status" "$@"; }
serves() { budctl status >/dev/null 2>&1; }

start_budd() {
	"$build/budd" -d -f "$dir/budd.conf" -s "$dir/socket" -S "$dir/status" 2>>"$dir/budd.log" &
	budd=$!
	eventually serves
}

stop_budd() {
	end "$budd"
	budd=
}

# Names that mean to be markup; at its wall, and one more request.
start_client() {
	local hold=$build/tests/.libs/hold-client
	[ -x "$hold" ] || hold=$build/tests/hold-client
	cp "$hold" "$dir/<img>"
	BUD_SOCKET=$dir/socket LD_LIBRARY_PATH=$build/.libs "$dir/<img>" '<b>pool' 1048576 5 \
		>"$dir/client.log" 2>&1 &
	client=$!
}

listens() { url=$(head -n 1 "$dir/web.log" 2>/dev/null); [ -n "$url" ]; }
ask() { curl -s -m 20 "$@"; }
code() { ask -o /dev/null -w '%{http_code}' "$@"; }
header() { # NAME CURL-ARGUMENTS
	local name=$1
	shift
	ask -D - -o /dev/null "$@" | tr -d '\r' | sed -n "s/^$name: //Ip"
}

printf '[host]\nwall = 64M\n[pool default]\nbase = 1M\nadd = 1M\nwall = 4M\n' >"$dir/budd.conf"
ok "budd serves" start_budd

# --- What the command line may say ---

refused() { # STATUS WORD ARGUMENTS...
	local want=$1 word=$2 got
	shift 2
	timeout 20 "$build/budctl/budctl" -S "$dir/status" "$@" >"$dir/out" 2>&1
	got=$?
	is "budctl $*: exit status" "$got" "$want"
	ok "... with the reason" grep -q -e "$word" "$dir/out"
}
refused 2 "can be reached from other hosts" web --listen 0.0.0.0:0
refused 2 "can be reached from other hosts" web --listen '[::]:0'
refused 2 "ADDRESS:PORT" web --listen localhost
refused 2 "ADDRESS:PORT" web --listen 127.0.0.1:65536
refused 2 "ADDRESS:PORT" web --listen ::1:0
refused 2 "means nothing to" status --allow-remote

"$build/budctl/budctl" -S "$dir/status" web --listen 127.0.0.1:0 --host Node.Example >"$dir/web.log" 2>"$dir/web.err" &
web=$!
ok "it says where it listens" eventually listens
url=${url%/} port=${url##*:}
refused 1 "in use" web --listen "127.0.0.1:$port"

# --- Who may ask what ---

is "the page" "$(code "$url/")" 200
is "its type" "$(header content-type "$url/")" "text/html; charset=utf-8"
policy=$(header content-security-policy "$url/")
ok "its policy lets nothing in" grep -q "default-src 'none'" <<<"$policy"
ok "... and nobody frame it" grep -q "frame-ancestors 'none'" <<<"$policy"
ask -D "$dir/head" "$url/" >"$dir/page"
nonce=$(tr -d '\r' <"$dir/head" | sed -n "s/.*script-src 'nonce-\([0-9a-f]*\)'.*/\1/p")
is "its script and its style have the nonce" "$(grep -c "nonce=\"$nonce\"" "$dir/page")" 2
ok "another answer has another" test "$policy" != "$(header content-security-policy "$url/")"
is "the page asks nobody else" "$(grep -Eo '(src|href|url)[=(]"?[a-z]*:?//[^"]*' "$dir/page")" ""
is "no leave for other origins" "$(header access-control-allow-origin -H 'Origin: http://evil.example' "$url/v1/status")" ""
is "same-origin only" "$(header cross-origin-resource-policy "$url/v1/status")" same-origin

for path in /v1/status /v1/host /v1/pools; do
	is "$path" "$(code "$url$path")" 200
done
is "its type too" "$(header content-type "$url/v1/status")" application/json
is "what budd refuses" "$(code "$url/v1/pools/4000000000")" 404
ok "... with budd's reason" grep -q "no such pool" <(ask "$url/v1/pools/4000000000")
for path in /v1/release /v1/pools/ /v1/pools/1x /v1/pools/../status /../etc/passwd //v1/status /v1/statuss; do
	is "not passed on: $path" "$(code --path-as-is "$url$path") $(ask --path-as-is "$url$path")" \
		'404 {"error":"there is no such page"}'
done
for method in PATCH POST PUT DELETE OPTIONS; do
	is "$method" "$(code -X $method "$url/v1/host")" 405
done
is "a body" "$(code -X PATCH -d '{"wall": 1}' "$url/v1/host")" 413
for host in "127.0.0.1:$port" localhost "LOCALHOST:$port" "[::1]:$port" "$(uname -n)" node.example:1; do
	is "Host: $host" "$(code -H "Host: $host" "$url/v1/status")" 200
done
for host in evil.example "127.0.0.1.evil.example:$port" "localhost.evil.example" "[evil]" ":"; do
	is "Host: $host" "$(code -H "Host: $host" "$url/v1/status")" 403
done
is "no Host" "$(code -0 -H Host: "$url/v1/status")" 403
is "a long head" "$(code -H "X: $(head -c 9000 /dev/zero | tr '\0' x)" "$url/")" 400

# --- Many at once; the half-asked; a budd that is away ---

codes() {
	seq 40 | xargs -P 40 -I {} curl -s -m 30 -o /dev/null -w '%{http_code}\n' "$url/v1/status" |
		sort | uniq -c | tr -s ' '
}
is "forty at the same time" "$(codes)" " 40 200"
exec 8<>"/dev/tcp/127.0.0.1/$port"
printf 'GET /v1/status HTTP/1.1\r\nHost: localhost\r\n' >&8
is "one that does not finish holds nobody up" "$(code "$url/v1/status")" 200
exec 8>&-
before=$(ls "/proc/$web/fd" | wc -l)
stop_budd
is "budd is away" "$(code "$url/v1/status") $(ask "$url/v1/status")" '502 {"error":"budd does not answer"}'
ok "budd is back" start_budd
is "... and answers" "$(code "$url/v1/status")" 200
same_descriptors() { [ "$(ls "/proc/$web/fd" | wc -l)" -le "$before" ]; }
ok "no descriptor is left" eventually same_descriptors

# --- In a browser ---

chromium=$(command -v chromium || command -v chromium-browser)
export NODE_PATH=${BUD_WEB_MODULES:-}
if [ -z "$chromium" ] || ! command -v node >/dev/null; then
	echo "skip: chromium or node was not found, so the page is not seen in a browser"
	skipped=1
elif ! node -e 'require("playwright-core")' 2>/dev/null; then
	echo "skip: node has no playwright-core (npm install playwright-core; BUD_WEB_MODULES=DIR/node_modules)"
	skipped=1
else
	coproc BROWSER { timeout 300 node "$source/tests/web_browser.cjs" "$url/" "$chromium" \
		${BUD_WEB_SCREENSHOTS:+"$BUD_WEB_SCREENSHOTS"} 2>&1; }
	browser=$BROWSER_PID
	exec 7<&"${BROWSER[0]}" 9>&"${BROWSER[1]}"
	while read -r line <&7; do
		case $line in
		"please open") start_client ;;
		"please stop") stop_budd ;;
		"please start") end "$client"; client=; start_budd ;;
		"ok - "*) passed=$((passed + 1)) ;;
		"not ok - "*) failed=$((failed + 1)) ;;
		esac
		echo "$line"
		[ "${line#please}" = "$line" ] || echo done >&9
	done
	wait "$browser"
	is "the browser has seen all" $? 0
	browser=
fi

kill -TERM "$web"
wait "$web"
is "SIGTERM ends it" $? 0
is "it has complained of nothing" "$(cat "$dir/web.err")" ""
web=
[ "$failed" -eq 0 ] || tail -n 20 "$dir/budd.log"

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
