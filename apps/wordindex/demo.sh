#!/bin/sh
# demo.sh [FOLDER] - what `make demo` shows: a program whose data are plain C structures is killed again and again, goes on each
# time where it was, and has the right answer in the end.
set -eu
export LC_ALL=C

folder=${1:-/usr/share/common-licenses}
build=$(cd "${SOFTPM_BUILD:-build}" && pwd)
kills=4
scratch=$(mktemp -d "${TMPDIR:-/tmp}/softpm-demo.XXXXXX")
export SOFTPM_VOLUME="$scratch/demo.vol"
running=
trap '[ -z "$running" ] || kill -9 "$running" 2>/dev/null || :; rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

bold='' plain='' red='' green=''
if [ -t 1 ]; then
	bold=$(printf '\033[1m') plain=$(printf '\033[0m') red=$(printf '\033[31m') green=$(printf '\033[32m')
fi
say() {
	printf '\n%s%s%s\n' "$bold" "$*" "$plain"
}

# Starts the program, and kills it after so many seconds, wherever it is.
run_and_kill() {
	"$build/wordindex" --slow-ms 150 "$folder" &
	running=$!
	sleep "$1"
	if kill -9 "$running" 2>/dev/null; then
		wait "$running" 2>/dev/null || :
		printf '   %s<- SIGKILL%s\n' "$red" "$plain"
	else
		wait "$running"
	fi
	running=
}

say "wordindex counts the words of all files below $folder."
echo "Its index is a hash table of plain C structures. After each file it calls pPoint. Nothing else is saved."

i=1
for seconds in 0.55 0.4 0.65 0.5; do
	say "Run $i of $((kills + 1)): killed after $seconds seconds"
	run_and_kill "$seconds"
	i=$((i + 1))
done
say "Run $i of $((kills + 1)): to the end"
"$build/wordindex" --slow-ms 40 "$folder"

# The words of one file, one a line.
words() {
	tr -cs 'A-Za-z' '\n' <"$folder/$1" | tr 'A-Z' 'a-z' | grep -v '^$' || :
}
say "Is it right? The same by coreutils: tr | sort | uniq -c"
"$build/wordindex" --counts >"$scratch/counts"
"$build/wordindex" --postings | sort >"$scratch/postings"
(cd "$folder" && find . -type f | cut -c 3- | sort) >"$scratch/files"
while IFS= read -r file; do
	words "$file"
done <"$scratch/files" | sort | uniq -c >"$scratch/counts.true"
tab=$(printf '\t')
while IFS= read -r file; do
	words "$file" | sort | uniq -c | while read -r count word; do
		printf '%s%s%s%s%s\n' "$file" "$tab" "$word" "$tab" "$count"
	done
done <"$scratch/files" | sort >"$scratch/postings.true"
sort -rn "$scratch/counts" | head -n 5
echo "    ..."
for what in counts postings; do
	if cmp "$scratch/$what" "$scratch/$what.true"; then
		printf '%s%s%s: %s lines, the same\n' "$green" "$what" "$plain" "$(wc -l <"$scratch/$what")"
	else
		printf '%s%s: DIFFERENT%s\n' "$red" "$what" "$plain"
		exit 1
	fi
done

say "softpm log: each file is one version"
"$build/softpm" log wordindex -n 20
say "softpm check"
"$build/softpm" check
