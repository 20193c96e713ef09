#!/bin/bash
# SPDX-License-Identifier: ISC
#
# budctl against a real budd: watch through the death of an arbiter and of budd, explain at a
# wall, and top on a terminal of tmux: keys, sizes, signals, what it leaves behind.
set -u
build=${BUD_BUILD:-$PWD}
dir=$(mktemp -d)
budctl=$build/budctl/budctl
budd= clients= passed=0 failed=0 skipped=0
# A server of its own for each terminal: one that is told to end takes a moment.
server=0
tmux() { command tmux -L "bud$$.$server" -f /dev/null "$@"; }

end_all() {
	tmux kill-server 2>/dev/null
	# shellcheck disable=SC2086
	kill $clients $budd 2>/dev/null
	wait
	rm -rf "$dir"
}
trap end_all EXIT
trap 'exit 1' HUP INT TERM

ok() { # WHAT COMMAND...
	local what=$1
	shift
	if "$@" >"$dir/said" 2>&1; then
		passed=$((passed + 1)); echo "ok - $what"
	else
		failed=$((failed + 1)); echo "not ok - $what"; tail -n 40 "$dir/said"
	fi
}
is() { # WHAT GOT WANTED
	ok "$1" test "$2" = "$3"
	[ "$2" = "$3" ] || echo "got '$2', wanted '$3'"
}
skip() { skipped=$((skipped + 1)); echo "skip: $1"; }
within() { # COMMAND: until it holds, 60 s at most
	local i
	for i in $(seq 600); do
		if "$@" >/dev/null 2>&1; then return 0; fi
		sleep 0.1
	done
	"$@"
}

printf '[host]\nwall = 200M\n[pool media]\nwall = 4M\nbase = 1M\nadd = 1M\n' >"$dir/budd.conf"
export LC_ALL=C BUD_SOCKET=$dir/sock BUD_STATUS_SOCKET=$dir/status
start_budd() {
	"$build/budd" -d -f "$dir/budd.conf" -s "$dir/sock" -S "$dir/status" 2>>"$dir/log" &
	budd=$!
	within "$budctl" status
}
hold() { # POOL SIZE COUNT: until it has SIZE x COUNT, or waits
	"$build/tests/hold-client" "$@" >"$dir/held" 2>&1 &
	clients="$clients $!"
}
figure_is() { test "$("$budctl" status --json | jq "$1")" = "$2"; }

# --- watch ---

"$budctl" watch --reconnect --json >"$dir/waits" 2>"$dir/waits.err" &
waiter=$!
clients="$clients $waiter"
within grep -q "waiting for budd" "$dir/waits.err"
start_budd
ok "watch waits for a budd that comes later" within grep -q '"event":"hello"' "$dir/waits"
is "... and its lines are JSON" "$(jq -r .event "$dir/waits" | head -n 1)" hello
"$budctl" watch >"$dir/watch" 2>"$dir/watch.err" &
watcher=$!
within grep -q ' hello ' "$dir/watch"
hold media 1048576 8
client=${clients##* }
ok "a pool is seen to open" within grep -q " opened   pool .* 'media'" "$dir/watch"
ok "... to grow" within grep -q " grown  .* 4 MiB (request)" "$dir/watch"
ok "... and to wait" within grep -q " queued .* a request for 1 MiB waits" "$dir/watch"
kill "$(pgrep -P "$budd" | head -n 1)" # the arbiter
ok "watch outlives an arbiter" within grep -q ' restart ' "$dir/watch"

# --- explain ---

within figure_is .host.waiting 1
"$budctl" explain media >"$dir/explain"
ok "explain tells of the wall" grep -q "'media': it is at its own wall" "$dir/explain"
command=$(sed -n 's/^    budctl \(set .*wall=.*\)/\1/p' "$dir/explain")
is "... and of a line to type" "${command##* }" wall=5M
# shellcheck disable=SC2086
ok "... which is taken" "$budctl" $command
ok "... and lets the request in" within figure_is '.pools[0].used' 5242880
"$budctl" explain media --json >"$dir/explain.json"
is "explain says the same as JSON" "$(jq -r .why "$dir/explain.json")" wall
kill "$client"
ok "the end of a client is seen" within grep -q " closed   pool .* 5 MiB used" "$dir/watch"

# --- top ---

hold media 1048576 8
hold proxy 65536 40
within figure_is .host.waiting 1
"$budctl" top --once >"$dir/once"
is "a frame has a line for each pool" "$(grep -c '^ *[0-9]* \(media\|proxy\) ' "$dir/once")" 2
is "... the one that waits first" "$(sed -n '5s/^ *[0-9]* *\([a-z]*\) .*/\1/p' "$dir/once")" media
ok "... and the map of its blocks" grep -q '^   0     1M b \[#*@*\]$' "$dir/once"
"$budctl" top --once --sort name proxy >"$dir/once"
ok "another pool is chosen by its name" grep -q "^pool [0-9]* 'proxy'" "$dir/once"
COLUMNS=50 "$budctl" top --once >"$dir/once"
is "a frame keeps to its width" "$(awk 'length > 50' "$dir/once" | wc -l)" 0
"$budctl" top </dev/null >"$dir/out" 2>&1
is "no terminal is one line and code 1" "$? $(cat "$dir/out")" \
	"1 budctl: top needs a terminal; try budctl top --once"

shown() { tmux capture-pane -p; }
sees() { shown | grep -q -- "$1"; }
lacks() { ! sees "$1"; }
if command -v tmux >/dev/null; then
	# Like a user's shell: what top leaves behind is written down after it.
	printf '%s\n' "trap : INT; stty -a >'$dir/before'; '$budctl' top; echo \$? >'$dir/code'" \
		"stty -a >'$dir/after'; echo BACK; exec sleep 1000" >"$dir/shell"
	start_top() { # VARIABLE...
		rm -f "$dir/code" "$dir/after"
		tmux kill-server 2>/dev/null
		server=$((server + 1))
		tmux new-session -d -x 80 -y 24 "env $* sh '$dir/shell'"
	}
	restored() { within test -s "$dir/after" && cmp "$dir/before" "$dir/after"; }
	start_top
	ok "top shows the pools at 80x24" within sees '^ *[0-9]* media ' 
	ok "... bars" sees 'proxy .* \[#'
	ok "... blocks" sees '^   0     1M b \['
	ok "... and the keys" sees '^q quit '
	tmux send-keys j
	ok "the next pool is chosen" within sees "^pool [0-9]* 'proxy'"
	tmux send-keys Up
	ok "... and the one before" within sees "^pool [0-9]* 'media'"
	tmux send-keys s
	ok "another order" within sees 'by pinned'
	tmux send-keys r
	ok "... the other way round" within sees 'by pinned reversed'
	tmux send-keys h
	ok "help" within sees 'The keys\|Keys:'
	tmux send-keys x
	ok "... and back" within sees '^q quit '
	for size in "40 10" "20 4" "3 2" "1 1" "200 50" "80 24"; do
		tmux resize-window -x "${size% *}" -y "${size#* }"
		sleep 0.2
	done
	ok "sizes from 1x1 to 200x50 do not harm it" within sees '^q quit .*help$'
	hold late 4096 1
	ok "a new pool comes by itself" within sees ' late '
	kill "$budd" && wait "$budd" 2>/dev/null
	ok "a budd that ends is told of" within sees 'budd does not answer'
	start_budd
	ok "... and found again" within lacks 'budd does not answer'
	tmux send-keys q
	ok "q ends it" within grep -qx 0 "$dir/code"
	ok "... and the terminal is as before" restored
	ok "... its screen, too" within sees '^BACK'
	start_top
	within sees '^q quit '
	kill "$(pgrep -f "^$budctl top" | head -n 1)"
	ok "SIGTERM ends it as a signal does" within grep -qx 143 "$dir/code"
	ok "... and the terminal is as before" restored
	start_top
	within sees '^q quit '
	tmux send-keys C-c
	ok "so does SIGINT" within grep -qx 130 "$dir/code"
	ok "... and the terminal is as before" restored
	start_top TERM=dumb
	ok "a dumb terminal is one line" within sees 'top cannot place text on this terminal'
	tmux kill-server 2>/dev/null
else
	skip "tmux was not found"
fi
if command -v script >/dev/null; then
	colour="$(printf '\033')\[\([0-9;]*;\)*3[0-7]m"
	draw() { # VARIABLE...: one frame at least, and then q
		rm -f "$dir/drawn"
		{ within grep -q 'h help' "$dir/drawn"; printf q; } |
			env "$@" timeout 60 script -qfec "'$budctl' top" "$dir/drawn" >/dev/null
		grep -q 'h help' "$dir/drawn"
	}
	coloured() { draw "$@" && grep -q "$colour" "$dir/drawn"; }
	not_coloured() { draw "$@" && ! grep -q "$colour" "$dir/drawn"; }
	hold media 1048576 8
	within figure_is .host.waiting 1
	ok "a terminal that can has colours" coloured TERM=xterm
	ok "... unless NO_COLOR is set" not_coloured TERM=xterm NO_COLOR=1
	ok "... one that cannot has none" not_coloured TERM=vt100
else
	skip "script was not found"
fi

# --- The end ---

kill "$budd"
wait "$watcher"
is "watch ends with budd" "$?" 3
ok "... and says so" grep -q "budd has gone from" "$dir/watch.err"
ok "... but not with --reconnect" kill "$waiter"
[ "$failed" -eq 0 ] || tail -n 20 "$dir/log"

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
