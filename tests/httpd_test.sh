#!/bin/sh
# SPDX-License-Identifier: ISC
#
# bud-httpd, from outside. Needs curl, sh and coreutils.
#
#	httpd_test.sh [SERVER]		or SERVER in $BUD_HTTPD
#
# SERVER may be linked with libbud, and then needs a budd ($BUD_SOCKET says where), or
# with stub_bud.c. That there are few buffers is said in both languages: STUB_BUFFERS
# for the stub, --base, --add and --wall for budd. More options for SERVER: $BUD_HTTPD_ARGS.

LC_ALL=C
export LC_ALL
server=${1:-${BUD_HTTPD:-${BUD_BUILD:+$BUD_BUILD/tests/bud-httpd-stub}}}
if [ -z "$server" ]; then
	echo "usage: httpd_test.sh SERVER (or name it in \$BUD_HTTPD)" >&2
	exit 2
fi
if ! command -v curl >/dev/null; then
	echo "1..0 # SKIP curl was not found"
	exit 77
fi

tmp=$(mktemp -d) || exit 1
root=$tmp/root
pid=
clients=
number=0 passed=0 failed=0 skipped=0

end_all() {
	for p in $pid $clients; do
		kill "$p" 2>/dev/null
	done
	chmod -R u+rwx "$tmp"
	rm -rf "$tmp"
}
trap end_all EXIT
trap 'exit 1' HUP INT TERM

ok() {
	number=$((number + 1))
	passed=$((passed + 1))
	echo "ok $number - $1"
}

not_ok() {
	number=$((number + 1))
	failed=$((failed + 1))
	echo "not ok $number - $1"
	[ -z "${2:-}" ] || echo "#   $2"
}

skip() {
	number=$((number + 1))
	skipped=$((skipped + 1))
	echo "ok $number - $1 # SKIP $2"
}

# is WHAT GOT WANTED
is() {
	if [ "$2" = "$3" ]; then
		ok "$1"
	else
		not_ok "$1" "got '$2', wanted '$3'"
	fi
}

# one_of WHAT GOT WANTED...
one_of() {
	what=$1 got=$2
	shift 2
	for wanted in "$@"; do
		if [ "$got" = "$wanted" ]; then
			ok "$what"
			return
		fi
	done
	not_ok "$what" "got '$got', wanted one of: $*"
}

# until_true COMMAND...: for a minute at the longest
until_true() {
	tries=600
	until "$@"; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return 1
		sleep 0.1
	done
}

has_line() {
	grep -q 'serving' "$tmp/out" || ! kill -0 "$pid" 2>/dev/null
}

# start OPTION...: sets url and pid
start() {
	: >"$tmp/out" # now, not when the shell gets to it: the last server's line is there
	# shellcheck disable=SC2086 # several options
	"$server" --root "$root" --listen 127.0.0.1:0 ${BUD_HTTPD_ARGS:-} "$@" \
		>"$tmp/out" 2>"$tmp/err" &
	pid=$!
	until_true has_line
	url=$(sed -n 's/^bud-httpd: serving .* at \(http:[^ ]*\)\/ from pool .*/\1/p' \
		"$tmp/out")
	if [ -z "$url" ]; then
		echo "Bail out! $server does not start: $(cat "$tmp/err")"
		exit 1
	fi
	fds=$(count_fds)
}

# stop WHAT: the server must end well, and must not have complained
stop() {
	kill -TERM "$pid"
	wait "$pid"
	status=$?
	pid=
	is "$1: ends with status 0" "$status" 0
	is "$1: nothing on stderr" "$(head -c 2000 "$tmp/err")" ""
	is "$1: one line of totals" \
		"$(grep -c '^bud-httpd: [0-9]* requests, [0-9]* bytes, [0-9]* waits' "$tmp/out")" 1
}

count_fds() {
	find "/proc/$pid/fd" -mindepth 1 2>/dev/null | wc -l
}

fds_are_back() {
	[ "$(count_fds)" -le "$fds" ]
}

no_leak() {
	if until_true fds_are_back; then
		ok "$1: no descriptor has leaked"
	else
		not_ok "$1: no descriptor has leaked" "$(count_fds) now, $fds at first"
	fi
}

get() {
	curl -s -m 120 --path-as-is "$@"
}

code() {
	get -o /dev/null -w '%{http_code}' "$@"
}

# header NAME: out of a head on stdin
header() {
	tr -d '\r' | sed -n "s/^$1: //p"
}

sum() {
	sha256sum | cut -d ' ' -f 1
}

# raw FORMAT: send what printf makes of it, show the answer. A silent end: half a second
# is for the server, who would be taken for gone otherwise.
raw() {
	# shellcheck disable=SC2059 # it is a format
	(printf "$1"; sleep 0.5) | curl -s -m 5 "telnet://${url#http://}" | tr -d '\r'
}

have_raw=false
curl -V | grep -q '^Protocols:.* telnet' && have_raw=true

mkdir -p "$root/dir" "$root/with-index" "$root/sub"
for size in 0 1 4095 4096 65536 262144 262145 5242880; do
	head -c $size /dev/urandom >"$root/$size"
done
truncate -s 64M "$root/large"
echo '<p>index</p>' >"$root/with-index/index.html"
echo 'body {}' >"$root/a.css"
echo 'a b' >"$root/a b.txt"
echo 'secret' >"$tmp/secret"
ln -s "$tmp/secret" "$root/absolute"
ln -s ../secret "$root/outside"
ln -s ../4096 "$root/sub/inside"
mkfifo "$root/fifo"
echo 'no' >"$root/unreadable"
chmod 0 "$root/unreadable"

start
is "the first line names pool and sizes" \
	"$(grep -c '" *, base [0-9]*[KM], add [0-9]*[KM], wall [0-9]*[KM]$' "$tmp/out")" 1

# Files
for size in 0 1 4095 4096 65536 262144 262145 5242880; do
	is "GET $size bytes" "$(get "$url/$size" | sum)" "$(sum <"$root/$size")"
done
get -I "$url/262145" >"$tmp/head"
is "HEAD has the length" "$(header Content-Length <"$tmp/head")" 262145
is "HEAD has no body" "$(get -o /dev/null -w '%{size_download}' -I "$url/262145")" 0
is "HEAD of what is not there is 404" "$(code -I "$url/nothing")" 404
is "the type goes by the extension" "$(get -I "$url/a.css" | header Content-Type)" \
	'text/css; charset=utf-8'
is "an unknown type is octets" "$(get -I "$url/1" | header Content-Type)" \
	application/octet-stream
is "%xx is decoded" "$(get "$url/a%20b.txt")" 'a b'
is "a query is ignored" "$(get "$url/a%20b.txt?x=../y")" 'a b'
is "a directory's index" "$(get "$url/with-index/")" '<p>index</p>'
is "a link that stays inside" "$(get "$url/sub/inside" | sum)" "$(sum <"$root/4096")"

# Ranges
range() {
	is "range $2 of $1 bytes" "$(get -r "$2" "$url/$1" | sum)" "$3"
	is "range $2 of $1 bytes: Content-Range" \
		"$(get -D - -o /dev/null -r "$2" "$url/$1" | header Content-Range)" "$4"
}
f=$root/5242880
range 5242880 0-99 "$(head -c 100 "$f" | sum)" "bytes 0-99/5242880"
range 5242880 1000000-1999999 "$(tail -c +1000001 "$f" | head -c 1000000 | sum)" \
	"bytes 1000000-1999999/5242880"
range 5242880 -777 "$(tail -c 777 "$f" | sum)" "bytes 5242103-5242879/5242880"
range 5242880 5242879- "$(tail -c 1 "$f" | sum)" "bytes 5242879-5242879/5242880"
range 4096 4000-99999 "$(tail -c 96 "$root/4096" | sum)" "bytes 4000-4095/4096"
range 4096 -99999 "$(sum <"$root/4096")" "bytes 0-4095/4096"
is "a range is 206" "$(code -r 0-0 "$url/4096")" 206
is "a range beyond the end is 416" "$(code -r 4096- "$url/4096")" 416
is "416 says how long the file is" \
	"$(get -D - -o /dev/null -r 4096- "$url/4096" | header Content-Range)" 'bytes */4096'
is "a range too large for any number is 416" \
	"$(code -r 99999999999999999999999- "$url/4096")" 416
is "a range of an empty file is 416" "$(code -r 0- "$url/0")" 416
is "an empty suffix is 416" "$(code -H 'Range: bytes=-0' "$url/4096")" 416
is "several ranges get the whole" "$(code -r 0-1,5-6 "$url/4096")" 200
is "a range that ends before it begins is ignored" \
	"$(code -H 'Range: bytes=9-1' "$url/4096")" 200
is "a range in other units is ignored" "$(code -H 'Range: lines=1-2' "$url/4096")" 200
is "HEAD ignores ranges" "$(code -I -r 0-0 "$url/4096")" 200

# Dates
date=$(get -I "$url/4096" | header Last-Modified)
is "If-Modified-Since its date is 304" "$(code -H "If-Modified-Since: $date" "$url/4096")" 304
is "304 has no body" "$(get -H "If-Modified-Since: $date" "$url/4096" | wc -c)" 0
is "If-Modified-Since long ago is 200" \
	"$(code -H 'If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT' "$url/4096")" 200
is "If-Modified-Since nonsense is 200" \
	"$(code -H 'If-Modified-Since: yesterday' "$url/4096")" 200
is "If-None-Match makes the date not count" \
	"$(code -H 'If-None-Match: "x"' -H "If-Modified-Since: $date" "$url/4096")" 200
is "If-Range with its date" "$(code -r 0-0 -H "If-Range: $date" "$url/4096")" 206
is "If-Range with another is the whole" \
	"$(code -r 0-0 -H 'If-Range: Sun, 06 Nov 1994 08:49:37 GMT' "$url/4096")" 200

# What is not served
is "404" "$(code "$url/nothing")" 404
is "a file is no directory" "$(code "$url/4096/")" 404
is "a directory without an index is 403" "$(code "$url/dir")" 403
is "the root without an index is 403" "$(code "$url/")" 403
is "a FIFO is 403" "$(code "$url/fifo")" 403
if [ -r "$root/unreadable" ]; then
	skip "an unreadable file is 403" "this user ($(id -un)) may read every file"
else
	is "an unreadable file is 403" "$(code "$url/unreadable")" 403
fi
for path in ../secret sub/../../secret %2e%2e/secret %2e%2e%2fsecret /../secret \
	/%2e%2e//secret absolute outside "/$tmp/secret" .. sub/../..; do
	name=$(echo "$path" | sed "s|$tmp|DIR|")
	one_of "no way out: /$name" "$(code "$url/$path")" 403 404
done
is "/proc's links lead nowhere" "$(code "$url/../proc/self/root/etc/passwd")" 403
is "%xx is decoded once" "$(code "$url/%252e%252e/secret")" 404
is "a NUL is 400" "$(code "$url/4096%00.txt")" 400
is "half an escape is 400" "$(code "$url/4096%2")" 400
is "no escape at all is 400" "$(code "$url/%zz")" 400

# What is no request
is "POST is 405" "$(code -d x=y "$url/4096")" 405
is "405 says what is allowed" "$(get -D - -o /dev/null -d x=y "$url/4096" | header Allow)" \
	'GET, HEAD'
is "a large POST still reads its 405" "$(code --data-binary "@$root/5242880" \
	-H Expect: "$url/4096")" 405
is "DELETE is 405" "$(code -X DELETE "$url/4096")" 405
is "an unknown method is 501" "$(code -X BREW "$url/4096")" 501
is "a request line of four words is 400" "$(code -X 'GET /4096' "$url/4096")" 400
is "HTTP/1.1 without a host is 400" "$(code -H Host: "$url/4096")" 400
is "two lengths are 400" "$(code -H 'Content-Length: 0' -H 'Transfer-Encoding: chunked' \
	"$url/4096")" 400
is "a head of 9000 bytes is 431" \
	"$(code -H "X: $(head -c 9000 /dev/zero | tr '\0' x)" "$url/4096")" 431
if $have_raw; then
	is "a garbage line is 400" "$(raw 'garbage\r\n\r\n' | head -n 1)" \
		'HTTP/1.1 400 Bad Request'
	is "TLS is 400, at once" "$(raw '\026\003\001\002' | head -n 1)" \
		'HTTP/1.1 400 Bad Request'
	is "a NUL in the head is 400" \
		"$(raw 'GET /1 HTTP/1.1\r\nHost: x\r\nA: \000\r\n\r\n' | head -n 1)" \
		'HTTP/1.1 400 Bad Request'
	is "a space before the colon is 400" \
		"$(raw 'GET /1 HTTP/1.1\r\nHost : x\r\n\r\n' | head -n 1)" \
		'HTTP/1.1 400 Bad Request'
	is "HTTP/2.0 is 505" "$(raw 'GET / HTTP/2.0\r\n\r\n' | head -n 1)" \
		'HTTP/1.1 505 HTTP Version Not Supported'
	is "lines may end with a mere LF" \
		"$(raw 'GET /a.css HTTP/1.1\nHost: x\n\n' | tail -n 1)" 'body {}'
	is "the target may be a whole URL" \
		"$(raw 'GET http://x/a.css HTTP/1.1\r\nHost: x\r\n\r\n' | tail -n 1)" 'body {}'
	r='GET /a.css HTTP/1.1\r\nHost: x\r\n\r\n'
	is "pipelined requests are answered in order" \
		"$(raw "$r${r}HEAD /1 HTTP/1.1\r\nHost: x\r\n\r\n${r}GET /0 HTTP/1.0\r\n\r\n" |
			grep -cE '^HTTP/1.1 200 OK|^body')" 8
else
	skip "requests that curl cannot make" "this curl has no telnet"
fi

# Connections
is "a connection is used again" \
	"$(get -w '%{num_connects} ' -o /dev/null "$url/4096" -o /dev/null "$url/262145" \
		-o /dev/null "$url/nothing" -o /dev/null "$url/0" -o /dev/null "$url/1")" \
	'1 0 0 0 0 '
is "Connection: close is obeyed" \
	"$(get -D - -o /dev/null -H 'Connection: close' "$url/1" | header Connection)" close
is "HTTP/1.0 closes" "$(get -0 -D - -o /dev/null "$url/1" | header Connection)" close
no_leak "after all this"

# parallel COUNT SIZE: as many clients at once, each with a checksum
parallel() {
	clients=
	i=0
	while [ $i -lt "$1" ]; do
		get "$url/$2" | sum >"$tmp/sum.$i" &
		clients="$clients $!"
		i=$((i + 1))
	done
	for p in $clients; do
		wait "$p"
	done
	clients=
	cat "$tmp"/sum.* | sort | uniq -c | tr -s ' '
	rm -f "$tmp"/sum.*
}
is "50 clients at once" "$(parallel 50 5242880)" " 50 $(sum <"$root/5242880")"

for size in 5242880 large; do
	i=0
	while [ $i -lt 20 ]; do
		get "$url/$size" | head -c 100000 >/dev/null
		i=$((i + 1))
	done
	is "20 clients that left in the middle of $size: serves on" \
		"$(get "$url/262145" | sum)" "$(sum <"$root/262145")"
	no_leak "20 clients that left in the middle of $size"
done

# A file that shrinks: the client hangs at the first bytes while it does.
truncate -s 64M "$root/shrinks"
mkfifo "$tmp/pipe"
(get "$url/shrinks" >"$tmp/pipe"; echo $? >"$tmp/shrunk") &
clients=$!
{
	head -c 1000 >/dev/null
	truncate -s 1M "$root/shrinks"
	cat >/dev/null
} <"$tmp/pipe"
wait $clients
clients=
is "a file that shrinks ends the connection" "$(cat "$tmp/shrunk")" 18
no_leak "a file that shrinks"
stop "the first server"

# Few buffers, many clients. Sockets on one host take a piece at once, so that a buffer
# would hardly ever be out; a millisecond's linger makes them wait for each other.
STUB_BUFFERS=2
export STUB_BUFFERS
start --base 256K --add 256K --wall 512K --linger-ms 1
is "two buffers, 30 clients" "$(parallel 30 5242880)" " 30 $(sum <"$root/5242880")"
i=0
while [ $i -lt 20 ]; do
	get "$url/large" | head -c 100000 >/dev/null &
	clients="$clients $!"
	i=$((i + 1))
done
for p in $clients; do
	wait "$p"
done
clients=
is "two buffers, 20 clients that left: serves on" "$(get "$url/262145" | sum)" \
	"$(sum <"$root/262145")"
no_leak "two buffers"
stop "two buffers"
is "two buffers: somebody waited" "$(grep -c ' 0 waits' "$tmp/out")" 0

# The linger keeps both buffers after their clients have what they asked for; it is long enough
# for curl to be started three times on a busy machine.
start --base 256K --add 256K --wall 512K --linger-ms 3000 --wait-timeout 300
get -o /dev/null "$url/262144"
get -o /dev/null "$url/262144"
get -D "$tmp/head" -o /dev/null "$url/262144"
is "no buffer in time is 503" "$(head -n 1 "$tmp/head" | tr -d '\r')" \
	'HTTP/1.1 503 Service Unavailable'
is "503 says when to try again" "$(header Retry-After <"$tmp/head")" 1
is "meanwhile it serves what needs no buffer" "$(code -I "$url/262144")" 200
no_leak "503"
is "then there are buffers again" "$(get "$url/262144" | sum)" "$(sum <"$root/262144")"
stop "503"

start --base 256K --add 256K --wall 512K --linger-ms 2000
get -o /dev/null "$url/262144"
get -o /dev/null "$url/262144"
get -m 0.3 -o /dev/null "$url/262144"
is "a client that leaves while it waits" $? 28
is "the next one gets its buffer" "$(get "$url/262144" | sum)" "$(sum <"$root/262144")"
no_leak "a client that leaves while it waits"
get -o /dev/null "$url/262144"
get -o /dev/null "$url/262144"
get -v "$url/262144" >"$tmp/late" 2>"$tmp/late.trace" &
clients=$!
until_true grep -q '^> GET' "$tmp/late.trace"
sleep 0.2 # for the server, which reads it
kill -TERM "$pid"
wait $clients
clients=
is "a reply under way is finished after SIGTERM" "$(sum <"$tmp/late")" \
	"$(sum <"$root/262144")"
stop "a reply under way" 2>/dev/null

# A client that takes nothing loses its buffer.
start --base 256K --add 256K --wall 512K --idle-timeout 500
mkfifo "$tmp/stalled"
get "$url/large" >"$tmp/stalled" &
clients=$!
exec 3<"$tmp/stalled"
head -c 1000 <&3 >/dev/null
no_leak "a client that takes nothing"
exec 3<&-
wait $clients
clients=
stop "a client that takes nothing"

# A pool that holds no large buffers: the stub's alone says so.
STUB_BUFFER_MAX=16384
export STUB_BUFFER_MAX
start
is "small buffers do too" "$(get "$url/262145" | sum)" "$(sum <"$root/262145")"
stop "small buffers"

# What is wrong at the start
"$server" --root "$root" --socket "$tmp/none" >"$tmp/out" 2>"$tmp/err"
is "without budd: status 1" $? 1
is "without budd: one line that says how to start it" \
	"$(grep -c "no budd at $tmp/none: start one (budd -d -s" "$tmp/err"), $(wc -l <"$tmp/err")" \
	'1, 1'
"$server" --root "$tmp/none" >"$tmp/out" 2>"$tmp/err"
is "without a directory: status 1" $? 1
for option in --listen=127.0.0.1 --wall=much --wait-timeout=-2 --linger-ms=x --nothing; do
	"$server" "$option" >"$tmp/out" 2>"$tmp/err"
	is "$option is an error of usage" $? 2
done
is "--help lists the defaults" "$("$server" --help | grep -c 'default: 127.0.0.1:8080')" 1
is "-V" "$("$server" -V | grep -c '^bud-httpd [0-9]')" 1

echo "1..$number"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
