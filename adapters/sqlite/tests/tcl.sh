#!/bin/sh
# tcl.sh TESTFIXTURE SOURCE LIST [N] - SQLite's own tests, those of LIST (a name a line, # a comment; with N about so many, spread evenly), with their main
# database on SoftPM. Each must run to its end without an error.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
testfixture=$1
source=$2
list=$3
scratch=$(mktemp -d "${TMPDIR:-.}/softpm-test-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM # or nothing is removed

sed 's/[[:space:]]*#.*//; /^$/d' "$list" >"$scratch/list"
all=$(wc -l <"$scratch/list")
every=$((all / ${4:-$all}))
awk -v every="$every" 'NR % every == 0' "$scratch/list" >"$scratch/chosen"
bad=0
while read -r name; do
	mkdir "$scratch/$name"
	(cd "$scratch/$name" && timeout 300 "$testfixture" "$here/tcl/run.tcl" softpm "$source/test/$name.test") \
		>"$scratch/$name.out" 2>&1 </dev/null || true
	rm -rf "${scratch:?}/$name"
	if ! grep -q '^0 errors out of [1-9]' "$scratch/$name.out"; then
		echo "$name:" && grep -a '^! \|rror' "$scratch/$name.out" | head -20
		bad=$((bad + 1))
	fi
done <"$scratch/chosen"
echo "$(wc -l <"$scratch/chosen") of SQLite's test files, $bad of them with errors"
[ "$bad" = 0 ]
