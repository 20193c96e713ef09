#!/bin/bash
# SPDX-License-Identifier: ISC
#
# The completions know each command, option and key that budctl --help tells, and nothing
# else; and what bash completes is looked at, command by command.
set -u
build=${BUD_BUILD:-$PWD} source=${BUD_SOURCE:-$PWD}
passed=0 failed=0 skipped=0
dir=$(mktemp -d)
# The terminals end with us, also when we are told to.
end_all() {
	for i in $(seq "${server:-0}"); do
		command tmux -L "budc$$.$i" kill-server 2>/dev/null
	done
	rm -rf "$dir"
}
trap end_all EXIT
trap 'exit 1' HUP INT TERM
PATH=$build/budctl:$PATH
help=$("$build/budctl/budctl" --help)

is() { # WHAT GOT WANTED
	if [ "$2" = "$3" ]; then
		passed=$((passed + 1)); echo "ok - $1"
	else
		failed=$((failed + 1)); echo "not ok - $1: got '$2', wanted '$3'"
	fi
}
sorted() { tr -s ' ,\n\t' '\n' | grep . | sort -u | tr '\n' ' '; }

commands=$(sed -n '/^commands:/,/^$/s/^  \([a-z]*\).*/\1/p' <<<"$help" | sorted)
options=$(sed -n '/^options:/,/^$/s/^  \(-[^ ,]*\(, --*[a-z-]*\)*\).*/\1/p' <<<"$help" | sorted)
keys=$(sed -n '/^keys of a pool/,/^They/p' <<<"$help" | grep -o '[a-z_]*=' | sorted)
options_of() { # COMMAND: those that its line of the help has
	sed -n "s/^  $1 //p" <<<"$help" | grep -o -- '--[a-z-]*' | sorted
}

# --- bash ---

# shellcheck disable=SC1091
. "$source/budctl/completion/bash/budctl"
complete_line() { # WORD...: the last one is completed
	COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
	_budctl 2>/dev/null
	printf '%s\n' "${COMPREPLY[@]}" | sorted
}
general='-S --socket -h --help -V --version'

is "bash: commands" "$(complete_line budctl '')" "$commands"
is "bash: general options" "$(complete_line budctl -)" "$(sorted <<<"$general")"
all=
for command in $commands; do
	wanted=$(options_of "$command")
	is "bash: options of $command" "$(complete_line budctl "$command" -)" \
		"$(sorted <<<"$wanted $general")"
	all="$all $wanted"
done
is "the help tells all options twice" "$(sorted <<<"$all $general")" "$options"
is "bash: keys of set" "$({ complete_line budctl set 7 ''; complete_line budctl set host ''; } |
	sorted)" "$keys"
is "bash: the host can be set" "$(complete_line budctl set ho)" "host "
is "bash: a beginning" "$(complete_line budctl ex)" "explain "
is "bash: orders of top" "$(complete_line budctl top --sort '')" \
	"$(sed -n 's/.*of top: \(.*\)/\1/p' <<<"$help" | sed 's/ or / /' | sorted)"
is "bash: no budd, no pools" "$(complete_line budctl -S /nonexistent show '')" ""

# Pools, of a budd.
"$build/budd" -d -f /dev/null -s "$dir/sock" -S "$dir/status" 2>"$dir/log" &
budd=$!
for _ in $(seq 600); do
	budctl -S "$dir/status" status >/dev/null 2>&1 && break
	sleep 0.1
done
BUD_SOCKET=$dir/sock "$build/tests/hold-client" media 4096 1 >"$dir/held" 2>&1 &
client=$!
for _ in $(seq 600); do
	[ -s "$dir/held" ] && break
	sleep 0.1
done
is "bash: pools" "$(complete_line budctl -S "$dir/status" explain '')" \
	"$(budctl -S "$dir/status" status --json | jq -r '.pools[] | .id, .name' | sorted)"
kill "$client" "$budd"
wait "$client" "$budd" 2>/dev/null

# --- zsh ---

# A server of its own for each line: one that is told to end takes a moment.
server=0
tmux() { command tmux -L "budc$$.$server" -f /dev/null "$@"; }
by_zsh() { # BEGINNING WANTED: what a user gets who types Tab
	local got= i
	server=$((server + 1))
	printf '%s\n' "PS1='> '" "fpath=('$source/budctl/completion/zsh' \$fpath)" \
		"autoload -U compinit && compinit -u -D" "PATH=$build/budctl:\$PATH" >"$dir/.zshrc"
	tmux new-session -d -x 80 -y 24 "ZDOTDIR='$dir' exec zsh -i"
	for ((i = 0; i < 200; i++)); do
		tmux capture-pane -p | grep -q '^>' && break
		sleep 0.1
	done
	tmux send-keys "$1" Tab
	for ((i = 0; i < 100; i++)); do
		got=$(tmux capture-pane -p | sed -n 's/^> //p' | sed 's/[ =]*$//')
		[ "$got" = "$2" ] && break
		sleep 0.1
	done
	is "zsh completes $1" "$got" "$2"
	tmux kill-server 2>/dev/null
}

zsh_file=$source/budctl/completion/zsh/_budctl
is "zsh: commands" "$(sed -n "s/^\t\t'\([a-z]*\):.*/\1/p" "$zsh_file" | sorted)" "$commands"
is "zsh: options" "$(grep -v '^#\|budctl \$socket' "$zsh_file" |
	grep -o -- "'--[a-z-]*\|{-., *--[a-z]*}" | tr "{}'," '    ' | sorted)" "$options"
is "zsh: keys" "$(sed -n '/^_budctl_keys/,/^}/p' "$zsh_file" | grep -o "'[a-z_]*\[" |
	tr -d "'" | tr '[' '=' | sorted)" "$keys"
if command -v zsh >/dev/null; then
	is "zsh: reads it" "$(zsh -n "$zsh_file" 2>&1)" ""
	if command -v tmux >/dev/null; then
		by_zsh "budctl exp" "budctl explain"
		by_zsh "budctl top --onc" "budctl top --once"
		by_zsh "budctl watch --rec" "budctl watch --reconnect"
		by_zsh "budctl top --sort wai" "budctl top --sort waiting"
		by_zsh "budctl set host user_r" "budctl set host user_requests"
	else
		echo "skip: tmux was not found: no line is completed in zsh"
		skipped=1
	fi
else
	echo "skip: zsh was not found: its file is read, and not run"
	skipped=1
fi

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
