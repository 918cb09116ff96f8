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
status 2 "$tool" show 7
status 2 "$tool" branch 7 name main too-many
status 2 "$tool" branch -d 7
status 2 "$tool" branch -d --json 7 name
status 2 "$tool" tag -d 7 name main
status 2 "$tool" log -d 7 main
status 2 "$tool" image
status 2 "$tool" image 7 main file more
status 2 "$tool" image --check main file
status 2 "$tool" info --check
status 0 "$tool" --version
status 0 "$tool" help
for command in info log show browse diff grep bisect lint map web branch switch tag stat check image export import prune rm; do
	has out "^  $command "
	"$tool" help "$command" | grep -q "^usage: softpm .*$command" || fail "help $command has no usage"
done
status 0 "$tool" log --help
has out '-n COUNT'

# It never makes a volume
for command in info log 'show 1 1' branch 'branch 1 new' 'switch 1 main' 'diff 1 1' map web 'image file' tag 'tag -d 1 v1' stat check export prune 'rm 1'; do
	# shellcheck disable=SC2086 # two words
	status 1 "$tool" -v missing.vol $command
	has err 'missing.vol'
	status 1 "$tool" -v 'file:missing.vol?wait=1' info
	status 1 "$tool" -v 'file:missing%3f%zz.vol' info
	has err 'missing?%zz.vol'
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

# A program that writes versions as its command line says
cc=$(sed -n 's/^CMAKE_C_COMPILER:[A-Z]*=//p' "$SOFTPM_BUILD/CMakeCache.txt")
flags=
! grep -q '^SPM_SANITIZE:STRING=ON' "$SOFTPM_BUILD/CMakeCache.txt" || flags=-fsanitize=address,undefined
# shellcheck disable=SC2086 # a list of words
"$cc" $flags -I"$SOFTPM_SOURCE/containers" "$SOFTPM_SOURCE/tests/e2e/tool/story.c" -o story -L"$SOFTPM_BUILD" -lsoftpm \
	-Wl,-rpath,"$SOFTPM_BUILD" || fail "story.c does not build"

# While a program writes: everything can be looked at, nothing deleted
mkfifo go ready
SOFTPM_VOLUME=live.vol ./story main . main <go >ready &
writer=$!
trap 'kill "$writer" 2>/dev/null || :; rm -rf "$scratch"' EXIT
exec 3>go 4<ready
read -r word <&4 || fail "story failed before anybody looked"
[ "$word" = ready ] || fail "story said '$word'"
status 0 "$tool" -v live.vol log 7
has out ' main 1$'
status 0 "$tool" -v live.vol check
status 1 "$tool" -v live.vol rm 7
has err "$writer"
exec 3>&-
wait "$writer" || fail "story failed beside the tool"
exec 4<&-
status 0 "$tool" -v live.vol log
has out ' main 2$'

# Branches and tags: three branches beside main, of which one comes from another
story="main main main/try try main/b main try b try/c c try main main main"
# shellcheck disable=SC2086
SOFTPM_VOLUME=story.vol ./story $story || fail "story failed"
# graph WIDTH: the lines of a log, so many columns, and behind them names and messages
graph() {
	sed -n "1d; s/^\(.\{$1\}\) .* B  \(.*\)/\1 \2/; p" out >graph
	diff - graph || fail "the graph (>) is not as expected (<)"
}

status 0 "$tool" -v story.vol branch
[ "$(wc -l <out)" = 5 ] || fail "not four branches"
has out '^\* main  *-  *11 '
has out '^  c  *try:5  *7 '
status 0 "$tool" -v story.vol tag
has out '^no tags$'
status 0 "$tool" -v story.vol branch 7 old 1
has out 'branch old .* begins with version main:1$'
status 0 "$tool" -v story.vol tag 7 v1 old
has out 'tag v1 .* names version main:1$'
status 0 "$tool" -v story.vol tag 7 v2 try~1
has out 'tag v2 .* names version try:5$'
status 0 "$tool" -v story.vol tag 7 newest
has out 'tag newest .* names version main:11$'
status 0 "$tool" -v story.vol tag
has out '^v2  *try:5 .*  try 4$'
status 0 "$tool" -v story.vol info
has out '>*MAGIC .* BRANCHES  TAGS$'
has out '^ *7 .* 5  *3$'

status 0 "$tool" -v story.vol log
graph 7 <<'END'
o       (*main, newest) main 6
o       main 5
o       main 4
| o     (try) try 5
| | o   (c) c 5
| | | o (b) b 3
| |/  |
| o   | (v2) try 4
o |   | main 3
| o   | try 3
|_|__/
|/
o       main 2
o       (old, v1) main 1
END
status 0 "$tool" -v story.vol log -n 4 7
[ "$(wc -l <out)" = 5 ] || fail "log -n 4 shows something else than four versions"
status 0 "$tool" -v story.vol log 7 c
graph 0 <<'END'
 (c) c 5
 (v2) try 4
 try 3
 main 2
 (old, v1) main 1
END
status 0 "$tool" -v story.vol log -n 1 7 'main~3'
has out ' main 3$'
[ "$(wc -l <out)" = 2 ] || fail "log -n 1 7 main~3 shows something else than one version"
status 1 "$tool" -v story.vol log 7 nonsense
has err 'no branch or tag nonsense; its branches are main, '

# The clock went back: still no version is below the one that it was made from
SOFTPM_VOLUME=clock.vol ./story main main/try main - try || fail "story failed"
status 0 "$tool" -v clock.vol log
graph 3 <<'END'
o   (*main) main 2
| o (try) try 2
|/
o   main 1
END
# A branch alone is higher than the one that it comes from, and does not stand on its column
SOFTPM_VOLUME=alone.vol ./story main main/try try try || fail "story failed"
status 0 "$tool" -v alone.vol log
graph 3 <<'END'
  o (try) try 3
  o try 2
 /
o   (*main) main 1
END

# Names and messages are whatever somebody put there: a terminal gets no sequence of control, JSON only UTF-8.
odd=$(printf 'odd\302\23331m\377\303\244')
SOFTPM_VOLUME=odd.vol ./story main "main/$odd" "$odd" || fail "story failed"
for command in "log" "branch" "show 7 $odd"; do
	status 0 "$tool" -v odd.vol $command
	has out 'odd??31m?'
done
if command -v python3 >/dev/null; then
	status 0 "$tool" -v odd.vol log --json
	python3 -c 'open("out", "rb").read().decode("utf-8")' 2>err || fail "JSON is no UTF-8"
	json 'v[0]["branches"][0].startswith("odd")'
fi

# A column is free again, to the left of that from which another branch comes: lines join to the left only
SOFTPM_VOLUME=left.vol ./story main main/a a a/b b a main main/c a c main || fail "story failed"
status 0 "$tool" -v left.vol log
graph 7 <<'END'
o       (*main) main 3
| o     (c) c 3
| | o   (a) a 4
|/  |
o   |   main 2
|   o   a 3
|   | o (b) b 3
|   |/
|   o   a 2
|__/
o       main 1
END

status 0 "$tool" -v story.vol show 7 v2
has out '^version  *try:5$'
has out '^parent  *3$'
has out '^names  *v2$'
has out '^message  *try 4$'
status 0 "$tool" -v story.vol show 7 @2037-01-01
has out '^names  *\*main, newest$'
status 1 "$tool" -v story.vol show 7 99
has err 'version 99'
status 1 "$tool" -v story.vol show 7 'main~x'
status 1 "$tool" -v story.vol show 8 main

status 1 "$tool" -v story.vol branch 7 try
has err 'has a branch try already'
status 1 "$tool" -v story.vol tag 7 try
status 1 "$tool" -v story.vol branch 7 v1
status 1 "$tool" -v story.vol branch 7 'no name'
status 1 "$tool" -v story.vol branch 7 12
status 1 "$tool" -v story.vol branch 7 new nonsense
status 1 "$tool" -v story.vol branch -d 7 main
status 1 "$tool" -v story.vol branch -d 7 try
has err 'branch'
status 1 "$tool" -v story.vol tag -d 7 try

if command -v python3 >/dev/null; then
	status 0 "$tool" -v story.vol log --json
	json '[x["version"] for x in v] == list(range(11, 0, -1)) and v[0]["branches"] == ["main"] and v[0]["tags"] == ["newest"]'
	json '[(x["branch"], x["parent"], x["tags"]) for x in v if x["version"] in (3, 5)] == [("try", 3, ["v2"]), ("try", 2, [])]'
	status 0 "$tool" -v story.vol log --json -n 2 7 c
	json '[x["version"] for x in v] == [7, 5]'
	status 0 "$tool" -v story.vol show --json 7 1
	json 'v["version"] == 1 and v["parent"] == 0 and v["branches"] == ["old"] and v["tags"] == ["v1"] and v["pages"] == 1'
	status 0 "$tool" -v story.vol branch --json
	json '[(b["name"], b["parent"], b["origin"], b["newest"], b["is_current"]) for b in v][:2] == [("main", None, 0, 11, True), ("try", "main", 2, 8, False)]'
	status 0 "$tool" -v story.vol branch --json 7 more v2
	json 'v["name"] == "more" and v["parent"] == "try" and v["origin"] == v["newest"] == 5 and v["damage"] is None'
	status 0 "$tool" -v story.vol branch -d 7 more
	status 0 "$tool" -v story.vol tag --json
	json '[(t["name"], t["branch"], t["version"], t["message"]) for t in v][1] == ("v2", "try", 5, "try 4")'
	status 0 "$tool" -v story.vol tag --json 7 more try
	json 'v["branch"] == "try" and v["version"] == 8 and v["tagged"].endswith("Z")'
	status 0 "$tool" -v story.vol tag -d 7 more
	status 0 "$tool" -v story.vol info --json
	json 'v["containers"][0]["branches"] == 5 and v["containers"][0]["tags"] == 3 and v["containers"][0]["branch"] == "main"'
fi

# A branch is damaged: the others are shown all the same
cp story.vol hurt.vol
printf X | dd of=hurt.vol bs=1 seek="$(grep -abo 'try 4' hurt.vol | cut -d : -f 1)" conv=notrunc 2>/dev/null
status 1 "$tool" -v hurt.vol check
has out 'damage: branch try: '
has out 'version 11 can still be restored'
status 1 "$tool" -v hurt.vol log
has err 'branch try: '
has out '(\*main, newest) main 6$'
has out '(b) b 3$'
status 0 "$tool" -v hurt.vol branch
has out '^  try .* is damaged'
# The head of branch old, both copies: it has lost its name
heads=$(grep -abo SPCHEAD1 story.vol | cut -d : -f 1)
cp story.vol hurt.vol
for place in $heads; do
	! dd if=story.vol bs=1 skip="$place" count=4096 2>/dev/null | grep -aq old ||
		printf X | dd of=hurt.vol bs=1 seek=$((place + 24)) conv=notrunc 2>/dev/null
done
status 1 "$tool" -v hurt.vol check
has out 'damage: the head of a branch'
status 0 "$tool" -v hurt.vol info
[ "$(grep -c '^ *7 ' out)" = 1 ] || fail "a container is listed twice"

status 0 "$tool" -v story.vol diff 7 main main
has out ' 0 pages changed, 0 added, 0 removed; 0 bytes'
status 0 "$tool" -v story.vol diff 7 1
has out 'from 1 to the newest version: [1-9].*; [1-9][0-9]* objects changed, 0 added, 0 removed'
status 0 "$tool" -v story.vol diff --objects 7 1
has out '^changed  0x6a[0-9a-f]*  16 B, [1-9] bytes differ$'
status 2 "$tool" info --objects
if command -v python3 >/dev/null; then
	status 0 "$tool" -v story.vol diff 7 1 --json
	json 'v["pages_changed"] > 0 and v["objects_changed"] > 0 and not v["objects_added"] and "objects" not in v'
	status 0 "$tool" -v story.vol diff 7 1 --json --objects
	json 'len(v["objects"]) == v["objects_changed"] and v["objects"][0]["change"] == "changed" and v["objects"][0]["bytes"] > 0'
fi
status 1 "$tool" -v story.vol diff 7 main nonsense
has err 'its branches are'
status 0 "$tool" -v story.vol switch 7 try
has out 'is on branch try$'
status 0 "$tool" -v story.vol branch
has out '^\* try '
status 1 "$tool" -v story.vol switch 7 v1
has err 'v1 is no branch'
status 1 "$tool" -v story.vol switch 7 nonsense
has err 'its branches are'
status 1 "$tool" -v story.vol branch -d 7 try
has err 'current'
status 0 "$tool" -v story.vol switch 7 main

status 0 "$tool" -v story.vol branch -d 7 c
has out 'branch c .* deleted'
status 1 "$tool" -v story.vol branch -d 7 try
has err 'tag v2 names a version of it'
status 0 "$tool" -v story.vol tag --delete 7 v2
has out 'tag v2 .* deleted'
status 0 "$tool" -v story.vol branch -d 7 try
status 0 "$tool" -v story.vol branch -d 7 b
status 0 "$tool" -v story.vol log
graph 0 <<'END'
 (*main, newest) main 6
 main 5
 main 4
 main 3
 main 2
 (old, v1) main 1
END
status 1 "$tool" -v story.vol show 7 8
status 0 "$tool" -v story.vol check

# Images
status 0 "$tool" -v story.vol image first.image
has out 'first.image: written; container 7, version main:11 '
status 0 "$tool" -v story.vol image v1 first.image
has out 'version main:1 '
status 0 "$tool" -v story.vol image 7 main~2 other.image
has out 'version main:9 '
status 0 "$tool" image --check first.image
has out 'first.image: whole; container 7, version main:1 '
status 1 "$tool" -v story.vol image nonsense first.image
status 1 "$tool" -v story.vol image story.vol
has err 'story.vol is there already, and no image'
status 1 "$tool" image --check story.vol
has out 'damage: story.vol is no image'
status 1 "$tool" image --check missing.image
has err 'missing.image'
printf X | dd of=other.image bs=1 seek=2097152 conv=notrunc 2>/dev/null
status 1 "$tool" image --check other.image
has out 'damage: other.image: the page at 0x6a'
has out 'other.image: damaged; container 7'
if command -v python3 >/dev/null; then
	status 0 "$tool" -v story.vol image --json main first.image
	json 'v["magic"] == 7 and v["version"] == 11 and v["branch"] == "main" and v["file"] == "first.image"'
	status 0 "$tool" image --check --json first.image
	json 'v["is_whole"] and v["damage"] == [] and v["version"] == 11'
	status 1 "$tool" image --json --check other.image
	json 'not v["is_whole"] and len(v["damage"]) == 1'
	status 1 "$tool" image --json --check story.vol
	json 'not v["is_whole"] and "magic" not in v'
fi

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
