#!/bin/sh
# typed.sh - typed structures need no casts, and take nothing of a wrong type: each statement marked "wrong" does not compile, by gcc and, if it is
# there, by clang, and the rest compiles as C17 without a warning; the headers are C++ as well.
set -eu
export LC_ALL=C

source=$(cd "$(dirname "$0")/../.." && pwd)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/softpm-typed.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
includes="-I$source/containers -I$source/ds/include"
warnings="-Wall -Wextra -Wshadow -Wconversion -Wpedantic -Werror"

fail() {
	echo "typed: $*" >&2
	exit 1
}

# Declarations, and what may be done with them.
cat >"$scratch/declarations.h" <<'END'
#include <softpm/ds.h>
struct place { double x, y; };
PARRAY_OF(numbers, long);
PARRAY_OF(places, struct place);
PNDARRAY_OF(grid, float);
PNDARRAY_OF(board, char);
END
cat >"$scratch/right.txt" <<'END'
struct numbers *a = numbers_make(); numbers_push(a, 1); long *p = numbers_at(a, 0); (void)p;
struct numbers_slice s = numbers_slice(numbers_make(), 0, 1); (void)numbers_slice_at(s, 0);
struct places *a = places_make(); places_push(a, (struct place){1, 2}); places_set(a, 0, *places_at(a, 0));
struct grid *g = grid_make(PINDEX(2, 3)); *grid_at(g, PINDEX(1, 1)) = 2; (void)grid_view_pick(grid_all(g), 0, 1);
END
cat >"$scratch/wrong.txt" <<'END'
struct places *a = numbers_make(); (void)a;
places_push(numbers_make(), (struct place){1, 2});
places_push(places_make(), 1);
numbers_push(numbers_make(), (struct place){1, 2});
numbers_push(numbers_make(), "text");
double *p = numbers_at(numbers_make(), 0); (void)p;
int i; numbers_pop(numbers_make(), &i);
places_at(numbers_slice(numbers_make(), 0, 1), 0);
places_slice_at(numbers_slice(numbers_make(), 0, 1), 0);
numbers_insert(numbers_make(), 0, (double[]){1}, 1);
struct board *b = grid_make(PINDEX(2, 3)); (void)b;
float *p = board_at(board_make(PINDEX(2, 3)), PINDEX(1, 1)); (void)p;
board_view_at(grid_all(grid_make(PINDEX(2, 3))), PINDEX(1, 1));
END

# compiles COMPILER STATEMENT
compiles() {
	printf '#include "declarations.h"\nint main(void)\n{\n\t%s\n\treturn 0;\n}\n' "$2" >"$scratch/case.c"
	# shellcheck disable=SC2086 # lists of words
	"$1" -std=c17 $3 $includes -fsyntax-only "$scratch/case.c" 2>"$scratch/log"
}
for cc in gcc clang; do
	command -v $cc >/dev/null || continue
	while read -r statement; do
		compiles $cc "$statement" "$warnings" || { cat "$scratch/log"; fail "$cc does not take: $statement"; }
	done <"$scratch/right.txt"
	while read -r statement; do
		! compiles $cc "$statement" "" || fail "$cc takes: $statement"
	done <"$scratch/wrong.txt"
	echo "typed: $cc: $(wc -l <"$scratch/right.txt") statements taken, $(wc -l <"$scratch/wrong.txt") refused"
done
if command -v g++ >/dev/null; then
	for header in "$source"/ds/include/softpm/*.h; do
		printf '#include <softpm/%s>\n' "$(basename "$header")" >"$scratch/case.cc"
		# shellcheck disable=SC2086
		g++ -std=c++17 $warnings $includes -fsyntax-only "$scratch/case.cc" || fail "$header is not C++"
	done
fi
