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
PARRAY_OF(texts, const char *);
int by_text(const char *const *x, const char *const *y, void *arg);
int by_text_wrong(const char **x, const char **y, void *arg);
PNDARRAY_OF(grid, float);
PNDARRAY_OF(board, char);
PLIST_OF(jobs, struct place);
PLIST_OF(marks, int);
PHASH_OF(ages, const char *, int);
PHASH_PLAIN_OF(towns, struct place, struct place);
PHASH_SET_OF(ids, uint64_t);
PTREE_OF(prices, int64_t, double);
PTREE_OF(words, const char *, long);
PTREE_SET_OF(grades, double);
static inline int by_x(const struct place *a, const struct place *b) { return (a->x > b->x) - (a->x < b->x); }
static inline int by_x_there(struct place *const *a, struct place *const *b) { return by_x(*a, *b); }
PTREE_WITH(ordered, struct place, int, PMAP_PLAIN_KEYS | PMAP_DUPLICATES, by_x);
PHASH_WITH(links, int64_t, struct ids *, PMAP_PLAIN_KEYS);
END
cat >"$scratch/right.txt" <<'END'
struct numbers *a = numbers_make(); numbers_push(a, 1); long *p = numbers_at(a, 0); (void)p;
struct numbers_slice s = numbers_slice(numbers_make(), 0, 1); (void)numbers_slice_at(s, 0);
struct places *a = places_make(); places_push(a, (struct place){1, 2}); places_set(a, 0, *places_at(a, 0));
struct texts *a = texts_make(); texts_push(a, "text"); texts_sort(a, by_text, NULL); const char *const key = "x"; texts_search(a, &key, by_text, NULL, NULL);
struct grid *g = grid_make(PINDEX(2, 3)); *grid_at(g, PINDEX(1, 1)) = 2; (void)grid_view_pick(grid_all(g), 0, 1);
struct jobs *l = jobs_make(); struct jobs_node *n = jobs_push(l, (struct place){1, 2}); n->value.x = 3; jobs_move(l, NULL, l, jobs_first(l)); jobs_remove(l, n);
struct marks *l = marks_make(); for (struct marks_node *n = marks_first(l); n; n = marks_next(n)) marks_insert(l, n, n->value + 1);
struct ages *t = ages_make(); ages_put(t, "Ann", 37); int *age = ages_get(t, "Ann"); ++*ages_at(t, "Bob"); (void)age;
struct ages *t = ages_make(); struct ages_iter it; for (ages_start(&it, t); ages_next(&it);) ages_remove(t, it.key, it.value);
struct towns *t = towns_make(); struct place p = {1, 2}; towns_put(t, p, p); (void)towns_has(t, (struct place){1, 2});
struct prices *t = prices_make(); prices_put(t, 1, 2.5); double *p = prices_get(t, 1); ++*prices_at(t, 2); (void)p;
struct words *t = words_make(); struct words_cursor c; for (bool on = words_floor(t, "b", &c); on; on = words_prev(&c)) { const char *k = words_key(&c); (void)k; }
struct grades *t = grades_make(); if (grades_add(t, 0.5)) grades_remove(t, 0.5); return (int)grades_rank(t, 1);
struct ordered *t = ordered_make(); struct place p = {1, 2}; ordered_add(t, p, 3); int i; ordered_remove(t, p, &i);
struct ids *t = ids_make(); if (ids_add(t, 1)) ids_remove(t, 1); return (int)ids_count(t);
struct links *t = links_make(); links_put(t, 1, ids_make()); ids_free(*links_get(t, 1));
PHASH_OF(longs, int64_t, int);
PTREE_WITH(rightly, struct place, int, 0, by_x);
PTREE_WITH(by_what_is_there, struct place *, int, 0, by_x_there);
END
cat >"$scratch/wrong.txt" <<'END'
struct jobs *l = marks_make(); (void)l;
jobs_push(jobs_make(), 7);
marks_remove(jobs_make(), jobs_first(jobs_make()));
jobs_insert(jobs_make(), marks_first(marks_make()), (struct place){1, 2});
jobs_splice(jobs_make(), NULL, marks_make());
double *x = &marks_first(marks_make())->value; (void)x;
struct ages *t = ids_make(); (void)t;
ages_put(ages_make(), 7, 37);
ages_put(ages_make(), "Ann", "Bob");
double *age = ages_get(ages_make(), "Ann"); (void)age;
struct ids_iter it; ages_start(&it, ages_make());
struct ids_iter it; char *key = it.key; (void)key;
ids_add(ids_make(), "Ann");
links_put(links_make(), 1, ages_make());
PHASH_OF(shorts, short, int);
PHASH_OF(addresses, struct place *, int);
PHASH_SET_OF(addresses, void *);
PTREE_OF(addresses, struct place *, int);
struct prices *t = words_make(); (void)t;
prices_put(prices_make(), "Ann", 2.5);
words_put(words_make(), 7, 37);
int *i = prices_get(prices_make(), 1); (void)i;
struct words_cursor c; prices_first(prices_make(), &c);
struct prices_cursor c; prices_first(prices_make(), &c); char *k = prices_key(&c); (void)k;
PTREE_OF(floats, float, int);
PTREE_WITH(wrongly, struct place, int, 0, strcmp);
struct places *a = numbers_make(); (void)a;
places_push(numbers_make(), (struct place){1, 2});
places_push(places_make(), 1);
(*texts_at(texts_make(), 0))[0] = 1;
texts_sort(texts_make(), by_text_wrong, NULL);
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

# compiles COMPILER STATEMENT WARNINGS; a type is declared at file level
compiles() {
	case $2 in
	P[A-Z]*) printf '#include "declarations.h"\n%s\n' "$2" ;;
	*) printf '#include "declarations.h"\nint main(void)\n{\n\t%s\n\treturn 0;\n}\n' "$2" ;;
	esac >"$scratch/case.c"
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
