#!/bin/sh
# ds_tree_rebuild.sh - a tree that is ordered by a function of the program goes on in a rebuilt program, where that function lies elsewhere; where
# it is gone, nothing is found until it is named anew.
set -eu

scratch=$(mktemp -d "${TMPDIR:-/tmp}/softpm-tree.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

cat >program.c <<'END'
#include <errno.h>
#include <softpm/tree.h>
#include <stdio.h>
#include <string.h>

struct person { const char *name; int born; };
#ifdef REBUILT
__attribute__((noinline, used)) int padding(int x) { return x * 12345 + 1; }
#endif
static int by_birth(const struct person *a, const struct person *b)
{
	return a->born != b->born ? (a->born < b->born ? -1 : 1) : strcmp(a->name, b->name);
}
#ifdef RENAMED
#define NAME(what) persons_##what
PTREE_WITH(persons, struct person, int, PMAP_PLAIN_VALUES, by_birth);
#else
#define NAME(what) people_##what
PTREE_WITH(people, struct person, int, PMAP_PLAIN_VALUES, by_birth);
#endif

enum { ALL = 3000 };

static struct person person(int i, char *name)
{
	sprintf(name, "p%d", i * 7919 % ALL);
	return (struct person){name, i % 100};
}
int main(int argc, char **argv)
{
	char name[16];
	void **root;
	int id;

	(void)argv;
	if (argc > 1) {
		id = pCAlloc(1, sizeof(*root), (void **)&root);
		*root = NAME(make)();
		for (int i = 0; i < ALL; i++) {
			struct person p = person(i, name);

			p.name = pStrdup(p.name);
			NAME(put)(*root, p, i);
		}
		return !pPointSync(id);
	}
	if (!pCRestore(1, (void **)&root))
		return fprintf(stderr, "%s\n", pErrorMsg()), 1;
	for (int again = 0; again < 2; again++) {
		int found = 0, added, why;

		for (int i = 0; i < ALL; i++) {
			int *there = NAME(get)(*root, person(i, name));

			found += there && *there == i;
		}
		errno = 0;
		added = !!NAME(put)(*root, (struct person){"new", 1000}, ALL);
		why = errno;
		printf("found %d, added %d (%s), whole %d\n", found, added, why == EINVAL ? "EINVAL" : "",
		       !ptree_check(*root, NULL, 0));
		if (!added)
			ptree_set_compare(*root, NAME(compare_));
	}
	return 0;
}
END

flags=
! grep -q '^SPM_SANITIZE:STRING=ON' "$SOFTPM_BUILD/CMakeCache.txt" || flags="-fsanitize=address,undefined"
build() { # NAME OPTIONS
	name=$1
	shift
	mkdir -p "$name"
	# shellcheck disable=SC2086 # a list of words
	${CC:-cc} -std=gnu17 -O1 $flags -I"$SOFTPM_SOURCE/ds/include" -I"$SOFTPM_SOURCE/containers" "$@" -o "$name/program" program.c \
		-L"$SOFTPM_BUILD" -lsoftpm-ds -lsoftpm -Wl,-rpath,"$SOFTPM_BUILD"
}
expect() { # WHO TEXT
	[ "$(cat out)" = "$2" ] || {
		echo "$1: expected:" "$2" "; it said:" "$(cat out)" >&2
		exit 1
	}
}
right="found 3000, added 1 (), whole 1"

build old
build moved -DREBUILT
build renamed -DREBUILT -DRENAMED
export SOFTPM_VOLUME="$scratch/tree.vol"
old/program save
old/program >out
expect "the same build" "$right
$right"
moved/program >out
expect "rebuilt" "$right
$right"
renamed/program >out 2>warnings
expect "rebuilt without the function" "found 0, added 0 (EINVAL), whole 0
$right"
echo "a tree finds its function in a rebuilt program, and nothing where it is gone"
