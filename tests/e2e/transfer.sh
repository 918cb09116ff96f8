#!/bin/sh
# transfer.sh - softpm export and import as people use them: by pipe and by file, into a volume on "another machine", where another build
# of the program, laid out differently, goes on with the state: its function pointers and tables are those of that build. And what
# they refuse.
set -eu
export LC_ALL=C

scratch=$(mktemp -d "${TMPDIR:-/tmp}/softpm-transfer.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
tool=$SOFTPM_BUILD/softpm
unset SOFTPM_VOLUME
cd "$scratch"

fail() {
	echo "transfer: $*" >&2
	exit 1
}
# status EXPECTED COMMAND...: runs it, its output in out, its messages in err
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

cat >prog.c <<'END'
/* A list of operations on a number: function pointers, static ones too, and pointers to tables, in memory that persists. */
#include <errno.h>
#include <softpm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef OTHER /* everything lies elsewhere */
static __attribute__((noinline, used)) long padding(long x) { return x * 12345 + 1; }
static char more_data[40000] = "more";
#endif
struct kind { const char *name; long by; };
static __attribute__((noinline, used)) long add(long x, long y) { return x + y; }
#ifdef OTHER
static const char *const build = "other";
static __attribute__((noinline, used)) long more(long x) { return padding(x) - more_data[7]; }
#else
static const char *const build = "first";
#endif
__attribute__((noinline)) long times(long x, long y) { return x * y; }
static struct kind kinds[3] = {{"three", 3}, {"five", 5}, {"seven", 7}};

struct step { struct step *next; long (*fn)(long, long); struct kind *kind; };
enum { TABLE_BYTES = 512 << 10 };
struct root { struct step *first; long *table; };

/* All of the table is of this step: what a version has of it goes with the version. */
static void step_add(struct root *r, unsigned i)
{
	struct step *s = pMalloc(sizeof(*s));

	*s = (struct step){r->first, i % 2 ? add : times, &kinds[i % 3]};
	r->first = s;
	for (unsigned k = 0; k < TABLE_BYTES / sizeof(*r->table); k++)
		r->table[k] = i + 1;
}
static int must(int64_t ok) { if (!ok) { fprintf(stderr, "%s\n", pErrorMsg()); exit(1); } return (int)ok; }

/* prog MAGIC STEPS [wait]: makes or restores, adds steps one point each, prints what they make of 1; ends not before its input does */
int main(int argc, char **argv)
{
	int magic = atoi(argv[1]), steps = argc > 2 ? atoi(argv[2]) : 0, id;
	struct root *r;
	long x = 1;
	unsigned n = 0;

#ifdef OTHER
	if (argc > 100)
		printf("%ld\n", more(argc));
#endif
	id = pCRestore(magic, (void **)&r);
	if (!id && errno == ENOENT)
		id = must(pCAlloc(magic, sizeof(*r), (void **)&r));
	must(id);
	if (!r->table)
		r->table = pMallocNoPtr(TABLE_BYTES);
	for (struct step *s = r->first; s; s = s->next)
		n++;
	while (steps-- > 0) {
		char message[30];

		step_add(r, n++);
		snprintf(message, sizeof(message), "step %u", n);
		must(pPointMsg(id, message));
	}
	for (struct step *s = r->first; s; s = s->next) {
		if (!s->fn || !s->kind)
			return fprintf(stderr, "a pointer was lost\n"), 1;
		x = s->fn(x, s->kind->by) % 1000003;
	}
	for (unsigned k = 0; k < TABLE_BYTES / sizeof(*r->table); k++)
		if (r->table[k] != n)
			return fprintf(stderr, "the table is not of the last step\n"), 1;
	printf("%u steps make %ld, the last by %s\n", n, x, r->first->kind->name);
	fprintf(stderr, "%s build, add at %p\n", build, (void *)add);
	must(!pSync(id));
	fflush(stdout);
	while (argc > 3 && getchar() != EOF)
		;
	return pVClose() ? 1 : 0;
}
END
cc=$(sed -n 's/^CMAKE_C_COMPILER:[A-Z]*=//p' "$SOFTPM_BUILD/CMakeCache.txt")
flags="-g -I$SOFTPM_SOURCE/containers"
! grep -q '^SPM_SANITIZE:STRING=ON' "$SOFTPM_BUILD/CMakeCache.txt" || flags="$flags -fsanitize=address,undefined"
libs="-L$SOFTPM_BUILD -lsoftpm -Wl,-rpath,$SOFTPM_BUILD"
mkdir first other
# shellcheck disable=SC2086 # lists of words
{
	"$cc" $flags -O1 prog.c -o first/prog $libs || fail "prog.c does not build"
	"$cc" $flags -O2 -DOTHER prog.c -o other/prog $libs || fail "prog.c does not build"
}

# The program makes a history; by pipe it goes to another volume, and the other build goes on there, more than once (ASLR).
SOFTPM_VOLUME=a.vol first/prog 7 12 >first.out || fail "prog failed"
"$tool" -v a.vol tag 7 half 6 >out
"$tool" -v a.vol export --all 2>said | sh -c "'$tool' -v b.vol import" >out || fail "export into import failed"
has said '^12 versions exported, the newest main:12: '
has out '^container 7: 12 versions imported; the last is main:12$'
for run in 1 2 3; do
	SOFTPM_VOLUME=b.vol other/prog 7 >other.out 2>err || { cat err; fail "the other build could not go on (run $run)"; }
	has err '^other build'
	diff first.out other.out || fail "another build (>) made something else of the state than the first (<)"
done
status 0 "$tool" -v b.vol log
has out '(half) step 6$'
"$tool" -v a.vol log >a.log
"$tool" -v b.vol log >b.log
diff a.log b.log || fail "the histories differ"
status 0 "$tool" -v b.vol check

# Each side goes on a bit, and the increment goes to who is behind only.
SOFTPM_VOLUME=a.vol first/prog 7 3 >first.out 2>err
status 0 "$tool" -v a.vol export --since 12 -o inc.sp
has err '^1 version exported, the newest main:15: '
[ ! -e inc.sp.part ] || fail "export left its part file"
status 0 "$tool" -v a.vol export --all --since 12 -o all-inc.sp
has err '^3 versions exported'
cp b.vol c.vol
status 0 "$tool" -v b.vol import inc.sp
has out '^container 7: 1 version imported; the last is main:15$'
status 0 "$tool" -v b.vol import inc.sp
has out '0 versions imported, 1 was there already'
SOFTPM_VOLUME=b.vol other/prog 7 >other.out 2>err
diff first.out other.out || fail "after an increment the other build (>) made something else of it"
status 0 "$tool" -v c.vol import all-inc.sp
has out '3 versions imported'
SOFTPM_VOLUME=c.vol other/prog 7 1 >out 2>err
SOFTPM_VOLUME=a.vol first/prog 7 1 >out 2>err
status 0 "$tool" -v a.vol export --since 15 -o more.sp
status 1 "$tool" -v c.vol import more.sp
has err 'what follows it here is different'
status 0 "$tool" -v c.vol import --branch theirs more.sp
has out 'the last is theirs:16$'
SOFTPM_VOLUME=d.vol first/prog 8 1 >out 2>err
status 1 "$tool" -v d.vol import more.sp
has err 'no version 15 such as the one'

# One version: a container of its own, a branch, another number.
status 0 "$tool" -v a.vol export -o half.sp 7 half
status 0 "$tool" -v d.vol import half.sp
status 1 "$tool" -v d.vol import more.sp
status 0 "$tool" -v a.vol export -o now.sp 7
status 1 "$tool" -v d.vol import now.sp
has err 'name another one'
status 0 "$tool" -v d.vol import --branch now now.sp
status 0 "$tool" -v d.vol import --as 0x20 now.sp
has out '^container 32: 1 version imported'
SOFTPM_VOLUME=d.vol other/prog 32 2 >out 2>err || fail "what came as another number can't be gone on with"
has out '^18 steps'
status 0 "$tool" -v d.vol check

# Nothing is taken for whole that is not, and nothing is made of it.
head -c 300 now.sp >short.sp
status 1 "$tool" -v e.vol import short.sp
has err 'cut off'
has err 'after 300 bytes'
echo "this is no stream" >text
status 1 "$tool" -v f.vol import text
has err 'does not begin as one'
[ ! -e f.vol ] || fail "a volume was made for what is no stream"
status 1 "$tool" -v f.vol import missing.sp
has err 'missing.sp'
if status 0 "$tool" -v a.vol export --all -o full.sp && [ -e /dev/full ]; then
	status 1 "$tool" -v a.vol export --all -o /dev/full
	has err 'No space left'
fi
status 1 "$tool" -v a.vol export -o nowhere/x.sp
status 1 "$tool" -v a.vol export -o x.sp 7 nonsense
status 1 "$tool" -v a.vol export -o a.vol
has err 'no stream: remove it'
status 0 "$tool" -v a.vol check
: >x.sp
status 0 "$tool" -v a.vol export -o x.sp
status 0 "$tool" -v a.vol export -o x.sp
rm x.sp
[ ! -e x.sp ] && [ ! -e x.sp.part ] || fail "a failed export left a file"
if script -qec true /dev/null >/dev/null 2>&1; then # there are pseudo-terminals
	got=0
	script -qec "'$tool' -v a.vol export" /dev/null >out 2>&1 || got=$?
	[ "$got" = 1 ] || fail "export to a terminal gave status $got"
	has out 'no text for a terminal'
fi

# Usage
status 2 "$tool" -v a.vol export --json
status 2 "$tool" -v a.vol export --all 7 main
status 2 "$tool" -v a.vol export --as 3
status 2 "$tool" -v a.vol import --all half.sp
status 2 "$tool" -v a.vol import --as x half.sp
status 2 "$tool" -v a.vol log --since 1
status 2 "$tool" -v a.vol info -o x
status 2 "$tool" -v a.vol prune --keep x
status 2 "$tool" -v a.vol prune -n 3 7

# The same for programs
if command -v python3 >/dev/null; then
	json() {
		python3 -c 'import json, sys; v = json.load(open("out")); sys.exit(not (eval(sys.argv[1])))' "$1" 2>err ||
			{ cat out err; fail "not true of the JSON above: $1"; }
	}
	status 0 "$tool" -v a.vol export --json --all -o full.sp
	json 'v["magic"] == 7 and v["versions"] == 16 and v["version"] == 16 and v["branch"] == "main" and v["bytes"] > 500'
	status 0 "$tool" -v g.vol import --json full.sp
	json 'v["versions"] == 16 and v["present"] == 0 and v["pages"] >= 16'
	status 0 "$tool" -v g.vol import --json full.sp
	json 'v["versions"] == 0 and v["present"] == 16'
	status 0 "$tool" -v g.vol prune --json -n --keep 2
	json 'v == [{"branch": "main", "versions": 13, "bytes": v[0]["bytes"], "returned_bytes": 0, "skipped": None}]'
	json 'v[0]["bytes"] >= 13 * (512 << 10)'
	cp out dry.out
	status 0 "$tool" -v g.vol prune --json --keep 2
	json 'v == [dict(json.load(open("dry.out"))[0], returned_bytes=v[0]["returned_bytes"])]'
fi

# Pruning: a look changes nothing; tags and what is read stay; who writes is left alone.
status 0 "$tool" -v full.vol import full.sp
status 0 "$tool" -v full.vol prune
has out '^branch main: 0 versions dropped, 0 B free$'
status 0 "$tool" -v full.vol prune -n --keep 4
has out '^branch main: 11 versions would be dropped, .* would be free$'
would=$(sed 's/.*dropped, \(.*\) would be free$/\1/' out)
status 0 "$tool" -v full.vol log
[ "$(wc -l <out)" = 17 ] || fail "prune -n dropped something"
status 0 "$tool" -v full.vol prune --keep 4 7
has out "^branch main: 11 versions dropped, $would free"
status 0 "$tool" -v full.vol log
[ "$(wc -l <out)" = 6 ] || fail "not four versions and a tagged one were left"
has out '(half)'
status 0 "$tool" -v full.vol check
bytes=$(stat -c %s full.vol)
SOFTPM_VOLUME=full.vol other/prog 7 9 >out 2>err || fail "what is left after prune can't be gone on with"
has out '^25 steps'
[ "$(stat -c %s full.vol)" = "$bytes" ] || fail "nine versions did not fit where eleven were"
status 0 "$tool" -v full.vol prune --dry-run --keep-seconds 1
mkfifo go started
SOFTPM_VOLUME=live.vol first/prog 7 3 wait <go >started 2>/dev/null &
writer=$!
trap 'kill "$writer" 2>/dev/null || :; rm -rf "$scratch"' EXIT
exec 3>go 4<started
read -r word rest <&4 || fail "prog failed before anybody looked"
[ "$word" = 3 ] || fail "prog said '$word $rest'"
status 1 "$tool" -v live.vol prune --keep 1
has err "process $writer"
status 0 "$tool" -v live.vol export -o live.sp
exec 3>&-
wait "$writer" || fail "prog failed beside the tool"
exec 4<&-
status 0 "$tool" -v live2.vol import live.sp
echo "transfer: right"
