#!/bin/sh
# SPDX-License-Identifier: ISC
#
# The manuals are well-formed, and tell of what the programs have: each option, key, command
# and exported function stands in its page, and no page tells of one that there is not.
set -eu
build=${BUD_BUILD:-.} source=${BUD_SOURCE:-.}
man=$source/man
passed=0 failed=0 skipped=0
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

same() { # WHAT: $dir/program and $dir/page have the same lines
	sort -u "$dir/program" -o "$dir/program"
	sort -u "$dir/page" -o "$dir/page"
	if [ -s "$dir/program" ] && diff "$dir/program" "$dir/page" >"$dir/diff"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "failed: $1 (< the program's, > the page's)"
		cat "$dir/diff"
	fi
}

# What stands behind each .It of a list, one word a line: "Fl h , -help" is -h and --help.
items() { # MACRO PAGE
	sed -n "s/^\.It $1 //p" "$2" | tr -s ' ,' '\n'
}
options() { # PAGE
	sed -n 's/^\.It Fl //p' "$1" | sed -E 's/ Ar [^,]*//g; s/, Fl /, /g' | tr -s ' ,' '\n' |
		sed 's/^/-/'
}
options_of_help() { # COMMAND...
	"$@" 2>&1 | sed -n '/^ *-[-a-zA-Z]/p' | sed -E 's/^ *//; s/ [^-].*//' | tr -s ' ,' '\n' |
		grep '^-'
}

if command -v mandoc >/dev/null; then
	for page in "$man"/*.[1-8]; do
		if mandoc -T lint -W warning "$page" >"$dir/lint"; then
			passed=$((passed + 1))
		else
			failed=$((failed + 1))
			cat "$dir/lint"
		fi
	done
else
	echo "skip: mandoc was not found"
	skipped=1
fi

options_of_help "$build/budd" -h >"$dir/program"
options "$man/budd.8" | grep -v '^--' >"$dir/page"
same "options of budd"

options_of_help "$build/budctl/budctl" --help >"$dir/program"
options "$man/budctl.1" >"$dir/page"
same "options of budctl"

options_of_help "$build/bud-run" --help >"$dir/program"
options "$man/bud-run.1" >"$dir/page"
same "options of bud-run"

"$build/budctl/budctl" --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\).*/\1/p' |
	grep . >"$dir/program"
sed -n 's/^\.It Cm \([a-z]*\).*/\1/p' "$man/budctl.1" >"$dir/page"
same "commands of budctl"

"$build/budctl/budctl" --help | sed -n '/^exit status:/,$s/^  \([0-9]\) .*/\1/p' >"$dir/program"
sed -n 's/^\.It \([0-9]\)$/\1/p' "$man/budctl.1" >"$dir/page"
same "exit statuses of budctl"

"$build/budctl/budctl" --help | sed -n '/^keys of/,/^They/p' | tr -s ' ' '\n' |
	sed -n 's/=.*//p' >"$dir/program"
sed -n '/^\.It Cm set/,/^They mean/p' "$man/budctl.1" | grep -Ev '^(\.It|They)' |
	sed 's/^\.Cm //' | tr -s ' ,' '\n' | grep -Ex '[a-z_]+' |
	grep -Evx 'and|or|of|the|pool|host|those|are|keys|a' >"$dir/page"
same "keys of budctl set"

# The sample names each key with its default; that it is complete, check_config sees to.
for section in host pool status; do
	awk -v section="$section" '/^\[/ { here = index($1, "[" section) == 1 }
		here && /^#[a-z_]+ =/ { sub(/^#/, "", $1); print $1 }' \
		"$source/etc/budd.conf" >"$dir/program"
	awk -v section="$section" '/^\.Ss/ { here = index($2, "[" section) == 1 }
		here && /^\.It Cm/ { print $3 }' "$man/budd.conf.5" |
		grep -Evx 'fixed|several|growing|page|thp|huge' >"$dir/page"
	same "keys of [$section]"
done

# bud_inline_* is what bud-inline.h is made of; bud_alloc(3) tells of the header.
sed -n 's/^\t\(bud_[a-z_]*\);/\1/p' "$source"/client/libbud*.map |
	grep -v '^bud_inline_' >"$dir/program"
sed -n 's/^\.Nm \(bud_[a-z_]*\).*/\1/p' "$man"/bud_*.3 >"$dir/page"
same "functions of libbud"
cp "$dir/page" "$dir/program"
sed -n 's/^\.F[no] \(bud_[a-z_]*\).*/\1/p' "$man"/bud_*.3 | grep -v '_fn$' >"$dir/page"
same "synopses of libbud's functions"

# What is there under another name, and each reference to a page of ours.
sed -n 's/^\.Xr \(bud[a-z_.]*\|libbud\) \([1-8]\).*/\1.\2/p; s/^\.It Xr \(bud[a-z_]*\) 3.*/\1.3/p' \
	"$man"/*.[1-8] | sort -u >"$dir/page"
: >"$dir/program"
while read -r page; do
	if [ -f "$man/$page" ] ||
		grep -q "^\.Nm ${page%.3}\( ,\)*$" "$man"/bud_*.3; then
		echo "$page" >>"$dir/program"
	fi
done <"$dir/page"
same "pages that others refer to"

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
