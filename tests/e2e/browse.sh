#!/bin/sh
# browse.sh - what softpm(1) shows of what a version holds. tests/e2e/browse/zoo.c is built by each compiler there is, with and without
# optimization, and must give the same outputs, kept in tests/e2e/browse/*.txt (BROWSE_KEEP=1 writes them anew).
set -eu
export LC_ALL=C

scratch=$(mktemp -d "${TMPDIR:-/tmp}/softpm-browse.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
tool=$SOFTPM_BUILD/softpm
golden=$SOFTPM_SOURCE/tests/e2e/browse
unset SOFTPM_VOLUME
cd "$scratch"

fail() {
	echo "browse: $*" >&2
	exit 1
}
# A debug build's objects have a guard word behind them, so outputs are not what is kept; that there are any is seen nevertheless.
has_guards=
! grep -q '^SPM_DEBUG:BOOL=ON' "$SOFTPM_BUILD/CMakeCache.txt" || has_guards=yes
# build PROGRAM COMPILER OPTIONS...: and runs it
build() {
	program=$1
	compiler=$2
	shift 2
	flags=
	! grep -q '^SPM_SANITIZE:STRING=ON' "$SOFTPM_BUILD/CMakeCache.txt" || flags=-fsanitize=address,undefined
	# shellcheck disable=SC2086 # a list of words
	"$compiler" -std=gnu17 $flags "$@" -I"$SOFTPM_SOURCE/ds/include" -I"$SOFTPM_SOURCE/containers" -o "$program" \
		"$golden/$program.c" -L"$SOFTPM_BUILD" -lsoftpm-ds -lsoftpm -Wl,-rpath,"$SOFTPM_BUILD"
	rm -f zoo.vol
	SOFTPM_HEAP_START=100 SOFTPM_VOLUME=zoo.vol "./$program" 4
}
# same NAME ARGUMENTS...: what the tool says is what is kept
same() {
	name=$1
	shift
	timeout 60 "$tool" -v zoo.vol "$@" >out 2>err || true
	cat err >>out
	sed 's/0x6a8[0-9a-f]*/0x6a8.../g' out >plain
	[ ! -s err ] || ! grep -q Sanitizer err || { cat err; fail "$name: softpm $*"; }
	[ -z "$has_guards" ] || return 0
	[ -z "${BROWSE_KEEP:-}" ] || cp plain "$golden/$name.txt"
	diff "$golden/$name.txt" plain || fail "$name: softpm $* shows something else (>) than is kept (<)"
}
# json ARGUMENTS...: of the JSON v, the last one is true
json() {
	for condition in "$@"; do :; done
	n=$#
	while [ "$n" -gt 1 ]; do
		set -- "$@" "$1"
		shift
		n=$((n - 1))
	done
	shift
	timeout 60 "$tool" -v zoo.vol "$@" >out || fail "softpm $* failed"
	python3 -c 'import json, sys; v = json.load(open("out")); r = {x["path"]: x for x in v["rows"] if "path" in x}
sys.exit(not (eval(sys.argv[1])))' "$condition" || { head -c 3000 out; fail "not true of the JSON above: $condition"; }
}

untyped() {
	same untyped browse 1 -n 6 --depth 3
	same untyped-diff diff 1 2
	same untyped-map browse 1 --path 'root+4232' -n 3
	json browse 1 --json 'not v["is_whole"] and v["version"] == 1 and len(v["rows"]) > 50'
	json browse 1 --json --all 'v["is_whole"] and not v["rows_left_out"]'
}

typed() {
	same typed browse 1 --depth 5 -n 5
	same typed-list browse 1 --depth 3 --path 'root->users[1..]'
	same typed-paths browse 1 --path 'root->tree->left.right->key'
	same typed-array browse 1 --path 'root->scores[19998..]'
	same typed-key browse 1 --path 'root->prices[2980]'
	same typed-wrong browse 1 --path 'root->users->nmae'
	same typed-null browse 1 --path 'root->users[2].next->age'
	same typed-few browse 1 --path 'root->users[3]'
	for version in 1 2 3; do
		same "typed-diff-$version" diff $version $((version + 1))
	done
	same typed-diff-back diff 7 3 1
	same typed-diff-few diff 3 1 -n 2
	for pattern in 41 bob feed 0.1 BLUE -3 nothing; do
		same "typed-grep-$pattern" grep 1 -n 3 -- "$pattern"
	done
	same typed-map map --subtrees 7 1
	same typed-lint lint 1
	same typed-keeper lint 4 --path 'root->users[2]'
	found=$("$tool" -v zoo.vol bisect 1 4 -- sh -c '! "$0" grep "$SOFTPM_REF" dora >/dev/null' "$tool" | tail -1)
	[ "${found%:*:*:*}" = "main:3 is the first bad version" ] || fail "bisect found $found"
	found=$("$tool" -v zoo.vol bisect 1 4 --json -- sh -c 'case $SOFTPM_REF in *:3) exit 125; esac; ! grep -q 1e+100' | grep -c bad)
	[ "$found" = 1 ] || fail "bisect with a version that is skipped: $found"
	! "$tool" -v zoo.vol bisect 1 4 -- sh -c 'kill $$' >/dev/null 2>&1 || fail "bisect believed a killed command"
	! "$tool" -v zoo.vol bisect 4 1 -- true >/dev/null 2>&1 || fail "bisect took a good version behind the bad one"
	json browse 1 --json --all 'v["is_whole"] and r["root->flags"]["value"] == 5 and r["root->flags"]["bits"] == 3'
	json browse 1 --json 'r["root->users[1].name"]["value"] == "bob" and r["root->self"]["seen"] == "root"'
	json browse 1 --json 'r["root->many"]["value"][:3] == [0, 1, 4] and r["root->many"]["left"] == 900'
	json browse 1 --json 'r["root->weight"]["value"] == 0.1 and r["root->handler"]["value"] == "feed" and not v["is_whole"]'
	json browse 1 --json 'r["root->evil"]["value"] == "\x1b]0;evil\a<b>\t\"" and "hex" not in r["root->evil"]'
	json browse 1 --json 'r["root->raw"]["hex"] == "9b33316dff010002" and r["root->users[0].color"]["value"] == "NEGATIVE"'
	json browse 1 --json 'r["root->users[0].next"]["link"] and r["root->users"]["count"] == 3'
}

# What would take for ever if it were told again and again.
pool() {
	same pool-diff diff 8 1 2
	same pool-round browse 1 --path 'root->round' --depth 3
	same pool-grep grep 2 -- -2
	timeout 120 "$tool" -v zoo.vol browse 1 --all >out || fail "browse --all of a pool did not end"
	told=$(grep -c 'number: int' out) # and what there is room for behind the array
	[ "$told" -ge 40003 ] && [ "$told" -lt 40300 ] || fail "elements of arrays and pools are not told once: $told"
	timeout 120 "$tool" -v zoo.vol lint 1 >out || fail "lint of a pool did not end"
}

# What the program tells of its void pointers and unions.
told() {
	same told browse 1
	same told-paths browse 1 --path 'root->items[1].data->name'
	same told-field browse 1 --path 'root->table[1]'
	same told-union browse 1 --path 'root->value[3].u.item->data->price'
	same told-diff diff 1 2
	same told-diff-3 diff 2 3
	same told-grep grep 1 chair
	same told-grep-number grep 1 42
	same told-lint lint 3
	same told-keeper lint 1 --path 'root->items[2].data'
	json browse 1 --json 'r["root->items[1].data->name"]["value"] == "chair" and r["root->number.real"]["value"] == 0.5'
	json browse 1 --json '"root->number.whole" not in r and "root->value[1].u.text" not in r and r["root->bytes->width"]["value"] == 40'
}

# What will not survive.
lossy() {
	same lossy-lint lint 2
	same lossy-first lint 1
	same lossy browse 2 --depth 1
}

# Paths of what lies far from the root.
far() {
	same far-diff diff 9 1 2
	"$tool" -v zoo.vol diff --json 9 1 2 >out
	[ -n "$has_guards" ] || [ "$(grep -c '"is_guess": *true' out)" = 1 ] || fail "a type that is a guess is not said to be one: $(cat out)"
}

# An image shows what its version does.
image() { # CONTAINER REF PATTERN
	"$tool" -v zoo.vol image "$2" zoo.image >out && "$tool" image --check zoo.image >out || fail "no image: $(cat out)"
	for command in "browse --all" "browse --json" "grep $2 $3" lint map "map --subtrees"; do
		name=${command%% *}
		# shellcheck disable=SC2086 # a list of words
		"$tool" -v zoo.image $command | sed 's/, "time_ns": [0-9]*//' >image.out || true
		ref="$1 $2"
		[ "$name" != grep ] || ref=
		# shellcheck disable=SC2086
		"$tool" -v zoo.vol $command $ref | sed 's/, "time_ns": [0-9]*//' >volume.out || true
		[ -s volume.out ] && diff volume.out image.out || fail "softpm $command of an image shows something else (>) than of its version (<)"
	done
	! "$tool" -v zoo.image log 2>out && grep -q 'is an image' out || fail "log of an image: $(cat out)"
	! "$tool" -v zoo.image browse 77 2>out && grep -q 'and no other' out || fail "another version of an image: $(cat out)"
}

# A sanitizer's runtime is its compiler's own.
compilers='gcc clang'
! grep -q '^SPM_SANITIZE:STRING=ON' "$SOFTPM_BUILD/CMakeCache.txt" ||
	compilers=$(sed -n 's/^CMAKE_C_COMPILER:[A-Z]*=//p' "$SOFTPM_BUILD/CMakeCache.txt")
for compiler in $compilers; do
	command -v "$compiler" >/dev/null || continue
	for level in -O0 -O2; do
		build zoo "$compiler" -g "$level"
		untyped
		build zoo "$compiler" -g "$level" -DTYPED
		typed
		image 7 1 bob
		build pool "$compiler" -g "$level"
		pool
		build told "$compiler" -g "$level"
		told
		image 5 2 stool
		if [ -z "$has_guards" ]; then # behind these no other object begins
			build lossy "$compiler" -g "$level"
			lossy
		fi
		build far "$compiler" -g "$level"
		far
		echo "browse: $compiler $level: right"
	done
done
