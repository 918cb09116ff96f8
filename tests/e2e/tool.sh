#!/bin/sh
# tool.sh - softpm(1): it never makes a volume, tells what is there, finds damage, deletes, and answers by exit status.
set -eu
export LC_ALL=C

scratch=$(mktemp -d "${TMPDIR:-/tmp}/softpm-tool.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
tool=$SOFTPM_BUILD/softpm
unset SOFTPM_VOLUME
cd "$scratch"

fail() {
	echo "tool: $*" >&2
	exit 1
}
# status EXPECTED COMMAND...: runs it, its output in $scratch/out, its messages in $scratch/err
status() {
	expected=$1
	shift
	got=0
	"$@" >out 2>err || got=$?
	[ "$got" = "$expected" ] || { cat out err; fail "'$*' gave status $got instead of $expected"; }
}
has() {
	grep -q -- "$2" "$1" || { cat "$1"; fail "expected '$2' in the output above"; }
}
json() {
	python3 -c 'import json, sys; v = json.load(open("out")); sys.exit(not (eval(sys.argv[1])))' "$1" 2>err ||
		{ cat out err; fail "not true of the JSON above: $1"; }
}

# Usage
status 2 "$tool"
status 2 "$tool" nonsense
status 2 "$tool" --nonsense info
status 2 "$tool" rm
status 2 "$tool" log -n 0
status 2 "$tool" info -n 3
status 2 "$tool" info too many
status 0 "$tool" --version
status 0 "$tool" help
for command in info log stat check rm; do
	has out "^  $command "
	"$tool" help "$command" | grep -q "^usage: softpm .*$command" || fail "help $command has no usage"
done
status 0 "$tool" log --help
has out '-n COUNT'

# It never makes a volume
for command in info log stat check 'rm 1'; do
	# shellcheck disable=SC2086 # two words
	status 1 "$tool" -v missing.vol $command
	has err 'missing.vol'
	status 1 "$tool" -v 'file:missing.vol?wait=1' info
	status 1 "$tool" info
done
if [ -e missing.vol ] || [ -e softpm.vol ]; then
	fail "a volume was made"
fi
: >empty.vol
status 1 "$tool" -v empty.vol info
[ ! -s empty.vol ] || fail "an empty file became a volume"
echo "this is not a volume" >text.vol
status 1 "$tool" -v text.vol info
status 1 "$tool" -v . info

# A volume with one container
mkdir texts
echo "one two two" >texts/a
echo "three three three" >texts/b
"$SOFTPM_BUILD/wordindex" -v good.vol texts >/dev/null || fail "wordindex failed"
status 0 "$tool" -v good.vol info
has out 'wordindex'
status 0 env SOFTPM_VOLUME=good.vol "$tool" info
status 0 "$tool" -v good.vol log
has out 'a: 3 words'
has out 'b: 3 words'
status 0 "$tool" log -n 1 7001 -v file:good.vol
[ "$(wc -l <out)" = 2 ] || fail "log -n 1 shows more than one version"
status 0 "$tool" -v good.vol stat wordindex
has out 'pause, 99th'
status 0 "$tool" -v good.vol check
has out 'whole'
status 1 "$tool" -v good.vol log 5
has err "no container '5'"
status 1 "$tool" -v good.vol check nobody

# The same for programs
if command -v python3 >/dev/null; then
	status 0 "$tool" -v good.vol info --json
	json 'v["containers"][0]["magic"] == 7001 and v["containers"][0]["damage"] is None and v["bytes"] > 0 and len(v["uuid"]) == 36'
	status 0 "$tool" -v good.vol log --json 7001
	json 'v[0]["message"] == "b: 3 words" and v[0]["parent"] == v[1]["version"] and v[0]["time"].endswith("Z")'
	status 0 "$tool" -v good.vol stat --json
	json 'v["points"] >= 2 and v["pause_max_ns"] >= v["pause_median_ns"] > 0'
	status 0 "$tool" -v good.vol check --json
	json 'v[0]["is_whole"] and v[0]["newest_whole"] == 2 and v[0]["damage"] == []'
fi

# While a program writes: everything can be looked at, nothing deleted
"$SOFTPM_BUILD/wordindex" -v live.vol --slow-ms 1000 texts >/dev/null &
writer=$!
trap 'kill "$writer" 2>/dev/null || :; rm -rf "$scratch"' EXIT
sleep 1.5
status 0 "$tool" -v live.vol log 7001
has out 'a: 3 words'
status 0 "$tool" -v live.vol check
status 1 "$tool" -v live.vol rm 7001
has err "$writer"
wait "$writer" || fail "wordindex failed beside the tool"
status 0 "$tool" -v live.vol log
has out 'b: 3 words'

# Damage: the text of a word is overwritten wherever it stands
cp good.vol bad.vol
place=$(grep -abo three bad.vol | cut -d : -f 1 | tail -n 1)
[ -n "$place" ] || fail "the volume does not hold the word"
printf 'THREE' | dd of=bad.vol bs=1 seek="$place" conv=notrunc 2>/dev/null
status 1 "$tool" -v bad.vol check
has out 'damage'
if command -v python3 >/dev/null; then
	status 1 "$tool" -v bad.vol check --json
	json 'not v[0]["is_whole"] and v[0]["damage"]'
fi

# Progress: on a terminal only
status 0 "$tool" -v good.vol check
[ ! -s err ] || { cat err; fail "progress is shown although nobody looks"; }
if script -qec true /dev/null >/dev/null 2>&1; then # there are pseudo-terminals
	script -qec "'$tool' -v good.vol check" /dev/null >out
	has out 'checking: '
fi

# rm
status 1 "$tool" -v good.vol rm 7001 8
status 0 "$tool" -v good.vol log 7001
status 0 "$tool" -v good.vol rm wordindex
status 1 "$tool" -v good.vol log 7001
status 0 "$tool" -v good.vol info
has out 'no containers'
status 0 "$tool" -v good.vol check
echo "tool: right"
