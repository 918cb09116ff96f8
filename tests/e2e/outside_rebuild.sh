#!/bin/sh
# outside_rebuild.sh - a program is rebuilt between save and restore: what moved is found by its symbol, what was removed,
# is ambiguous, lies within a function or has no name becomes NULL with a warning. Uses lib/discover/outside.c, and what it needs, alone.
set -eu

scratch=$(mktemp -d "${TMPDIR:-/tmp}/softpm-outside.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"

cat >twin.c <<'END'
/* `twin` is a static function of this file too. */
static __attribute__((noinline, used)) int twin(int x) { return x - 7; }
int twin_call(int x) { return twin(x); }
static __attribute__((noinline, used)) int same(int x) { return x - 8; }
void *same_here(void) { return (void *)same; }
END
mkdir other
cat >other/twin.c <<'END'
/* Another file of that name, with another `same`: no symbol table tells them apart. */
static __attribute__((noinline, used)) int same(int x) { return x - 9; }
void *same_there(void) { return (void *)same; }
END
cat >prog.c <<'END'
#include "discover/outside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef REBUILT
static __attribute__((noinline, used)) int padding(int x) { return x * 12345 + 1; }
static char more_data[4096] = "more";
#endif
#if !defined(REBUILT) || !defined(REMOVED)
static __attribute__((noinline, used)) int callback(int x) { return x + 1; }
#define CALLBACK (void *)callback
#else
#define CALLBACK NULL
#endif
static __attribute__((noinline, used)) int twin(int x) { return x + 7; }
int twin_call(int x);
void *same_here(void);
void *same_there(void);
static int table[10] = {10, 11, 12, 13};

static uint64_t page[512];

static void note(size_t word, const char *sentence, void *arg)
{
	(void)arg;
	printf("word %zu: %s\n", word, sentence);
}
static void left(unsigned offset, uint64_t value, const char *what, void *arg)
{
	(void)value, (void)arg;
	printf("left %u: %s\n", offset, what);
}
static int save(struct outside *o)
{
	void *bytes;
	size_t n;
	void *pointer[] = {CALLBACK, (void *)twin, &table[3], (void *)"a literal", (void *)qsort,
	                   (char *)(void *)twin + 1, same_there()};
	FILE *f = fopen("state", "w");

	memcpy(page, pointer, sizeof(pointer));
	if (!spm_outside_encode(o, page, left, NULL) || spm_outside_save(o, &bytes, &n))
		return 1;
	fwrite(page, sizeof(page), 1, f);
	fwrite(bytes, n, 1, f);
	return fclose(f);
}
static int restore(struct outside *o)
{
	static char bytes[100000];
	FILE *f = fopen("state", "r");
	int (*f0)(int), (*f1)(int), *t;

	if (fread(page, sizeof(page), 1, f) != 1 || spm_outside_load(o, bytes, fread(bytes, 1, sizeof(bytes), f)))
		return 1;
	spm_outside_decode(o, page, 512, note, NULL);
	memcpy(&f0, &page[0], 8);
	memcpy(&f1, &page[1], 8);
	memcpy(&t, &page[2], 8);
	printf("callback %d twin %d table %d qsort %d\n", f0 ? f0(1) : -1, f1 ? f1(1) : -1, t ? *t : -1,
	       page[4] == (uint64_t)(uintptr_t)qsort);
	if (page[6] && page[6] != (uint64_t)(uintptr_t)same_there())
		printf("word 6: another function (%d)\n", page[6] == (uint64_t)(uintptr_t)same_here());
	return 0;
}
int main(int argc, char **argv)
{
	struct outside *o = spm_outside_new();

	(void)argc;
#ifdef REBUILT
	more_data[1] = (char)padding(twin_call(1));
#endif
	return strcmp(argv[1], "save") ? restore(o) : save(o);
}
END

build() { # NAME OPTIONS
	mkdir -p "$1"
	name=$1
	shift
	${CC:-cc} -std=gnu17 -O1 -D_GNU_SOURCE -I"$SOFTPM_SOURCE/lib" "$@" -o "$name/prog" prog.c twin.c other/twin.c \
		"$SOFTPM_SOURCE"/lib/discover/outside.c "$SOFTPM_SOURCE"/lib/discover/mapped.c \
		"$SOFTPM_SOURCE"/lib/discover/elfsym.c "$SOFTPM_SOURCE"/lib/heap/tables.c "$SOFTPM_SOURCE"/lib/base/base.c -lelf -lxxhash -lpthread
}
fail() {
	echo "$1; the program said:" >&2
	cat out >&2
	exit 1
}
expect() { # RESTORING-PROGRAM LINE
	grep -q -- "$2" out || fail "$1: expected \"$2\""
}

build_pair() { # SUFFIX OPTIONS
	suffix=$1
	shift
	build "old$suffix" "$@"
	build "moved$suffix" -DREBUILT "$@"
	build "removed$suffix" -DREBUILT -DREMOVED "$@"
	"old$suffix/prog" save

	"old$suffix/prog" restore >out
	expect "the same build$suffix" '^callback 2 twin 8 table 13 qsort 1$'
	[ "$(wc -l <out)" -eq 1 ] || fail "the same build$suffix: warned"

	"moved$suffix/prog" restore >out
	expect "rebuilt$suffix" '^callback 2 twin 8 table 13 qsort 1$'
	expect "rebuilt$suffix" '^word 3: pointer to prog+0x.* no symbol names the place'
	expect "rebuilt$suffix" '^word 5: pointer to twin of prog+0x1 is NULL now'
	expect "rebuilt$suffix" '^word 6: pointer to same of prog+0x0 is NULL now'
	[ "$(wc -l <out)" -eq 4 ] || fail "rebuilt$suffix: other warnings"

	"removed$suffix/prog" restore >out
	expect "rebuilt without it$suffix" '^callback -1 twin 8 table 13 qsort 1$'
	expect "rebuilt without it$suffix" '^word 0: pointer to callback of prog+0x0 is NULL now: .*without that symbol'

	strip -o stripped "moved$suffix/prog"
	mv stripped "moved$suffix/prog"
	"moved$suffix/prog" restore >out
	expect "rebuilt and stripped$suffix" '^callback -1 twin -1 table -1 qsort 1$'
}

build_pair "" -fPIE -pie
build_pair -fixed -fno-pie -no-pie
build_pair -anonymous -Wl,--build-id=none

# The program's file is replaced while it runs, or copied under another name: still the same build.
cp old/prog state-keeper
old/prog save
./state-keeper restore >out
expect "copied under another name" '^callback 2 twin 8 table 13 qsort 1$'
[ "$(wc -l <out)" -eq 1 ] || fail "copied under another name: warned"
echo "what a rebuilt program still has is found; the rest is NULL and named"
