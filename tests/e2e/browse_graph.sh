#!/bin/sh
# browse_graph.sh - random graphs of objects (tests/e2e/browse/graph.c): what the program finds walking them, and what softpm browse --json tells
# of their versions, agree. GRAPH_SEED: a number to begin with; GRAPHS: how many (6).
set -eu
export LC_ALL=C

command -v python3 >/dev/null || exit 0
scratch=$(mktemp -d "${TMPDIR:-/tmp}/softpm-graph.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
folder=$SOFTPM_SOURCE/tests/e2e/browse
unset SOFTPM_VOLUME
cd "$scratch"

flags=
! grep -q '^SPM_SANITIZE:STRING=ON' "$SOFTPM_BUILD/CMakeCache.txt" || flags=-fsanitize=address,undefined
cc=$(sed -n 's/^CMAKE_C_COMPILER:[A-Z]*=//p' "$SOFTPM_BUILD/CMakeCache.txt")
# shellcheck disable=SC2086 # a list of words
for kind in typed untyped; do
	[ $kind = typed ] && define=-DTYPED || define=
	"$cc" -std=gnu17 -g -O1 $flags $define -I"$SOFTPM_SOURCE/containers" -o $kind "$folder/graph.c" -L"$SOFTPM_BUILD" -lsoftpm \
		-Wl,-rpath,"$SOFTPM_BUILD"
done
# A debug build's objects have a guard word behind them.
guards=
! grep -q '^SPM_DEBUG:BOOL=ON' "$SOFTPM_BUILD/CMakeCache.txt" || guards=guards
seed=${GRAPH_SEED:-$(date +%s)}
echo "GRAPH_SEED=$seed"
for i in $(seq "${GRAPHS:-6}"); do
	nodes=$((i * i * 20))
	rm -f typed.vol untyped.vol
	SOFTPM_VOLUME=typed.vol ./typed $((seed + i)) $nodes >program
	timeout 120 "$SOFTPM_BUILD/softpm" -v typed.vol browse --json --all >browse
	python3 "$folder/compare.py" program browse $guards
	# Without types: every object that the program came by is told.
	SOFTPM_VOLUME=untyped.vol ./untyped $((seed + i)) $nodes | sed -n 's/.* "\(0x6a[0-9a-f]*\)"$/\1/p' | sort -u >objects
	timeout 120 "$SOFTPM_BUILD/softpm" -v untyped.vol browse --json --all | sed -n 's/.*"to": "\(0x6a[0-9a-f]*\)".*/\1/p' | sort -u >told
	comm -23 objects told >missing
	[ ! -s missing ] || { head missing; echo "browse_graph: these objects are not told without types" >&2; exit 1; }
done
