#!/bin/sh
# migrate.sh - a program whose structs changed is built anew between save and restore, with migrations registered (pCMigrate). Each case: the old program fills a
# state and tags it; the new one is refused without migrations; is killed between migration and the first point; migrates, finds all values right, makes
# a point; restores that without any migration; has the tagged version as a view; the old one still has it, too.
set -eu
export LC_ALL=C

scratch=$(mktemp -d "${TMPDIR:-/tmp}/softpm-test-migrate.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
export SOFTPM_VOLUME="$scratch/volume"

# What the old and the new program have before them: declarations, and
#   old: fill(root), is_right(root)     new: migrations(), is_right(root)
cat >common.h <<'END_OF_COMMON'
#include <softpm.h>
#include <softpm/ds.h>
#include <softpm/types.h>

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define RIGHT(what)                                                                                                    \
	do {                                                                                                           \
		if (!(what))                                                                                           \
			printf("line %d: not %s\n", __LINE__, #what), wrong++;                                         \
	} while (0)
static int wrong;
END_OF_COMMON
cat >program.c <<'END_OF_PROGRAM'
#include <signal.h>
#include <unistd.h>

static void failed(const char *what)
{
	printf("%s: %d (%s): %s\n", what, errno, strerror(errno), pErrorMsg());
	exit(1);
}

#ifdef OLD
static void save(void)
{
	struct app *root;
	int id = pCAlloc(1, ROOT_BYTES, (void **)&root);
	struct cattr *attr;

	if (pPointSync(id) != 1)
		failed("save");
	attr = pCGetAttr(1);
	strcpy(attr->type, "struct app");
	if (pCSetAttr(id, attr))
		failed("type");
	pCAttrFree(attr);
	fill(id, root);
	is_right(root);
	if (pPointSync(id) != 2 || pCTag(id, "before", NULL))
		failed("save");
}
#else
static void save(void)
{
}
#endif

/* Main, which is open, has been migrated. The tagged version comes in all ways there are, moved if need be. */
static void ways(int id, struct app *root)
{
	struct app *first, *second;
	int one = pCOpenAt(1, "before", (void **)&first), two = pCOpenAt(1, "before", (void **)&second), third;

	if (one <= 0 || two <= 0)
		failed("views");
	is_right(first);
	is_right(second);
	pCFree(one);
	pCFree(two);
	if (pCSwitch(id, "before", (void **)&root))
		failed("switch");
	is_right(root);
	if (pCSwitch(id, "main", (void **)&root) || pBranch(1, "side", "before"))
		failed("switch back");
	is_right(root);
	two = pCOpenBranch(1, "side", (void **)&second);
	if (two <= 0)
		failed("branch");
	is_right(second);
	if (pCSwitch(two, "before", (void **)&second) != -1 || errno != EBUSY)
		failed("what was migrated is unsaved");
	if (pPointSync(two) <= 2)
		failed("point of a branch");
	third = pCClone(two, "third", (void **)&first);
	if (third <= 0)
		failed("clone");
	is_right(first);
	is_right(second);
	pCFree(two);
	is_right(first);
	pCFree(third);
	is_right(root);
}

#ifdef FAILING
#include <dlfcn.h>

/* Allocations of the library, from when the types were read (libdw may end the process if it gets no memory). */
static long fail_in = -1;
static _Bool is_armed;

static _Bool is_failing(void)
{
	if (!is_armed || fail_in <= 0 || --fail_in)
		return 0;
	errno = ENOMEM;
	return 1;
}

void dwfl_end(void *dwfl);
void dwfl_end(void *dwfl)
{
	((void (*)(void *))dlsym(RTLD_NEXT, "dwfl_end"))(dwfl);
	is_armed = 1;
}

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *malloc(size_t n)
{
	return is_failing() ? NULL : __libc_malloc(n);
}
void *calloc(size_t n, size_t size)
{
	return is_failing() ? NULL : __libc_calloc(n, size);
}
void *realloc(void *p, size_t n)
{
	return is_failing() ? NULL : __libc_realloc(p, n);
}

/* The 1st, 2nd, ... fails, until none does. */
static void failures(void)
{
	struct app *root;
	int refused = 0;

	for (long n = 1, left = 0; left == 0; n++) {
		fail_in = n;
		int id = pCRestore(1, (void **)&root);
		left = fail_in;
		is_armed = 0;
		if (id > 0) {
			is_right(root);
			pCFree(id);
		} else {
			RIGHT(errno == ENOMEM && strstr(pErrorMsg(), "memory"));
			refused++;
		}
	}
	fail_in = -1;
	printf("%d failures\n", refused);
}
#endif

int main(int argc, char **argv)
{
	const char *how = argv[argc - 1];
	struct app *root;
	int id;

	if (!strcmp(how, "save")) {
		save();
		return wrong || pVClose();
	}
#ifndef OLD
	if (strcmp(how, "plain"))
		migrations();
#endif
#ifdef FAILING
	failures();
#endif
	id = !strcmp(how, "view") ? pCOpenAt(1, "before", (void **)&root) : pCRestore(1, (void **)&root);
	if (id <= 0)
		failed("restore");
	is_right(root);
	if (!strcmp(how, "ways"))
		ways(id, root);
	if (!strcmp(how, "kill"))
		kill(getpid(), SIGKILL);
	if (!strcmp(how, "go")) {
		pFullTrace(id);
		if (pPointSync(id) != 3)
			failed("point");
		is_right(root);
		pCFree(id);
		id = pCRestore(1, (void **)&root);
		if (id <= 0)
			failed("restore again");
		is_right(root);
	}
	pCFree(id);
	puts(wrong ? "wrong" : "all right");
	return wrong || pVClose();
}
END_OF_PROGRAM

flags=
! grep -q '^SPM_SANITIZE:STRING=ON' "$SOFTPM_BUILD/CMakeCache.txt" || flags="-fsanitize=address,undefined"
fail() {
	echo "migrate: $*" >&2
	exit 1
}
build() { # NAME: from NAME.c, and program.c behind it
	cat common.h "$1.c" program.c >"all_$1.c"
	# shellcheck disable=SC2086 # lists of words
	${CC:-cc} -std=gnu17 $([ "$1" = new ] && echo "$debug" || echo -g) -O1 -Wall -Wno-unused -Wno-format-truncation -Wno-format-overflow $flags -I"$SOFTPM_SOURCE/containers" -I"$SOFTPM_SOURCE/ds/include" "-DROOT_BYTES=${root_bytes:-sizeof(struct app)}" \
		$([ "$1" = new ] || echo -DOLD) -Wl,--build-id -o "$1" "all_$1.c" -L"$SOFTPM_BUILD" -lsoftpm-ds -lsoftpm -Wl,-rpath,"$SOFTPM_BUILD"
}
# Standard input: the old program, a line "----", and the new one.
sources() {
	rm -f volume
	sed '/^----$/,$d' >old.c <all
	sed '1,/^----$/d' >new.c <all
	build old
	build new
	./old save >out 2>&1 || fail "$1: saving: $(cat out)"
}
cases=0
ways=ways
debug=-g
migrates() { # WHO
	cat >all
	sources "$1"
	./new plain >out 2>&1 && fail "$1: not refused: $(cat out)"
	grep -q "register a migration for .*(pCMigrate)" out || fail "$1: the message tells nothing of pCMigrate: $(cat out)"
	grep -qF "${refusal:-}" out || fail "$1: expected: $refusal; it said: $(cat out)"
	sh -c './new kill >out; :' 2>/dev/null
	[ ! -s out ] || fail "$1: before it is killed: $(cat out)"
	for how in go plain view $ways; do
		./new $how >out 2>&1 || fail "$1: $how: $(cat out)"
		grep -q "^all right$" out || fail "$1: $how: $(cat out)"
	done
	./old view >out 2>&1 || fail "$1: the old version, by the old program: $(cat out)"
	cases=$((cases + 1))
}
# The migration fails with this message; the old program has all as before.
refuses() { # WHO TEXT
	cat >all
	sources "$1"
	./new go >out 2>&1 && fail "$1: not refused: $(cat out)"
	grep -qF "$2" out || fail "$1: expected: $2; it said: $(cat out)"
	./old plain >out 2>&1 || fail "$1: the old program: $(cat out)"
	cases=$((cases + 1))
}

refusal="struct user: field age moved from offset 8 to 0"
migrates "fields in another order" <<'END'
struct user { long id; int age; struct user *next; };
struct app { struct user *users; long count; };
static void fill(int id, struct app *root) {
	root->count = 3;
	for (int i = 0; i < 3; i++) {
		struct user *u = pCalloc(1, sizeof(*u));
		*u = (struct user){1000 + i, 20 + i, root->users};
		root->users = u;
	}
}
static void is_right(struct app *root) {
	int n = 0;
	for (struct user *u = root->users; u; u = u->next, n++) RIGHT(u->id == 1002 - n && u->age == 22 - n);
	RIGHT(n == 3 && root->count == 3);
}
----
struct user { int age; struct user *next; long id; };
struct app { struct user *users; long count; };
static void migrations(void) { pCMigrate("struct user", NULL, NULL); }
static void is_right(struct app *root) {
	int n = 0;
	for (struct user *u = root->users; u; u = u->next, n++) RIGHT(u->id == 1002 - n && u->age == 22 - n);
	RIGHT(n == 3 && root->count == 3);
}
END

refusal="struct user: field shoe removed"
migrates "a field less, one in the midst, an array of structs" <<'END'
struct user { char name[12]; int shoe; long id; };
struct app { struct user *users, *last; long count; };
static void fill(int id, struct app *root) {
	root->count = 1000;
	root->users = pCalloc(1000, sizeof(struct user));
	root->last = &root->users[999];
	for (int i = 0; i < 1000; i++) {
		snprintf(root->users[i].name, 12, "user %d", i);
		root->users[i].shoe = 40, root->users[i].id = i;
	}
}
static void is_right(struct app *root) {
	for (int i = 0; i < 1000; i++) RIGHT(root->users[i].id == i);
	RIGHT(root->last == &root->users[999]);
}
----
struct user { char name[12]; double height, weight; long id; };
struct app { struct user *users, *last; long count; };
static void migrations(void) { pCMigrate("struct user", NULL, NULL); }
static void is_right(struct app *root) {
	char name[12];
	for (int i = 0; i < 1000; i++) {
		snprintf(name, 12, "user %d", i);
		RIGHT(root->users[i].id == i && root->users[i].height == 0 && root->users[i].weight == 0 && !strcmp(root->users[i].name, name));
	}
	RIGHT(root->last == &root->users[999]);
}
END

refusal="struct user: field age: was int, is long"
migrates "numbers" <<'END'
struct user { int age; short s; unsigned char c; long big, small; float f; double d; int whole; unsigned u; bool b; signed char neg; };
struct app { struct user *user; };
static void fill(int id, struct app *root) {
	root->user = pCalloc(1, sizeof(struct user));
	*root->user = (struct user){-5, -300, 200, -1, 127, 1.5f, 0.1, 1 << 30, 4000000000u, true, -7};
}
static void is_right(struct app *root) { RIGHT(root->user->age == -5 && root->user->d == 0.1); }
----
struct user { long age; int s; unsigned short c; short big; signed char small; double f; float d; double whole; long u; int b; double neg; };
struct app { struct user *user; };
static void migrations(void) { pCMigrate("struct user", NULL, NULL); }
static void is_right(struct app *root) {
	struct user *u = root->user;
	RIGHT(u->age == -5 && u->s == -300 && u->c == 200 && u->big == -1 && u->small == 127);
	RIGHT(u->f == 1.5 && u->d == 0.1f && u->whole == 1 << 30 && u->u == 4000000000 && u->b == 1 && u->neg == -7);
}
END

refuses "a number that does not fit" "field age: 40000 does not fit into short" <<'END'
struct user { long a; long age; };
struct app { struct user *user; };
static void fill(int id, struct app *root) { root->user = pCalloc(1, sizeof(struct user)); root->user->age = 40000; }
static void is_right(struct app *root) { RIGHT(root->user->age == 40000); }
----
struct user { long a; short age; };
struct app { struct user *user; };
static void migrations(void) { pCMigrate("struct user", NULL, NULL); }
static void is_right(struct app *root) { RIGHT(0); }
END

# A number: OLD VALUE NEW, what it says.
misfit() {
	refuses "$1 $2 to $3" "$4" <<END
enum tone { LOW = 1, MIDDLE = 2, HIGH = 3 };
struct user { long a; $1; };
struct app { struct user *user; };
static void fill(int id, struct app *root) { root->user = pCalloc(1, sizeof(struct user)); root->user->n = $2; }
static void is_right(struct app *root) { RIGHT(root->user->n == $2); }
----
enum tone { HIGH = 1, LOW = 3 };
struct user { $3; long a; };
struct app { struct user *user; };
static void migrations(void) { pCMigrate("struct user", NULL, NULL); pCMigrate("enum tone", NULL, NULL); }
static void is_right(struct app *root) { RIGHT(0); }
END
}
misfit "int n" -1 "unsigned n" "field n: -1 does not fit into unsigned int"
misfit "short n" 200 "signed char n" "field n: 200 does not fit into signed char"
misfit "double n" 2.5 "int n" "field n: 2.5 does not fit into int"
misfit "double n" 1e300 "float n" "does not fit into float"
misfit "double n" 1e19 "long n" "field n: 1e+19 does not fit into long"
misfit "long n" 9007199254740993 "double n" "field n: 9007199254740993 does not fit into double"
misfit "int n" 2 "bool n" "field n: 2 does not fit into _Bool"
misfit "int n" -5 "int n : 3" "field n: -5 does not fit into int : 3"
misfit "unsigned n : 5" 16 "unsigned n : 4" "field n: 16 does not fit into unsigned int : 4"
misfit "enum tone n" MIDDLE "enum tone n" "field n: enum tone has no MIDDLE any more"
misfit "enum tone n" 77 "enum tone n" "field n: 77 has no name in enum tone"

refusal="enum colour: GREEN was 1, is 2"
migrates "an enum" <<'END'
enum colour { RED, GREEN, BLUE };
struct user { enum colour hat, all[3]; long id; };
struct app { struct user *user; enum colour last; };
static void fill(int id, struct app *root) {
	root->user = pCalloc(1, sizeof(struct user));
	*root->user = (struct user){GREEN, {RED, GREEN, BLUE}, 7};
	root->last = BLUE;
}
static void is_right(struct app *root) { RIGHT(root->user->hat == GREEN && root->user->all[2] == BLUE); }
----
enum colour { BLACK, RED, GREEN, BLUE = -3 };
struct user { enum colour hat, all[3]; long id; };
struct app { struct user *user; enum colour last; };
static void migrations(void) { pCMigrate("enum colour", NULL, NULL); }
static void is_right(struct app *root) {
	struct user *u = root->user;
	RIGHT(u->hat == GREEN && u->all[0] == RED && u->all[1] == GREEN && u->all[2] == BLUE && u->id == 7 && root->last == BLUE);
}
END

refusal="was char[8], is char[40]"
migrates "arrays longer and shorter, text" <<'END'
struct user { char name[8], nick[32]; int mark[5]; short many[2]; };
struct app { struct user *user; };
static void fill(int id, struct app *root) {
	root->user = pCalloc(1, sizeof(struct user));
	*root->user = (struct user){"Ann", "little", {1, 2, 3, 4, 5}, {-6, 7}};
}
static void is_right(struct app *root) { RIGHT(!strcmp(root->user->nick, "little")); }
----
struct user { char name[40], nick[8]; long mark[3]; int many[4]; };
struct app { struct user *user; };
static void migrations(void) { pCMigrate("struct user", NULL, NULL); }
static void is_right(struct app *root) {
	struct user *u = root->user;
	RIGHT(!strcmp(u->name, "Ann") && !strcmp(u->nick, "little") && u->mark[0] == 1 && u->mark[2] == 3);
	RIGHT(u->many[0] == -6 && u->many[1] == 7 && u->many[2] == 0 && u->name[39] == 0);
}
END

refuses "a text that is cut" "a text of 9 characters does not fit into 8" <<'END'
struct user { char name[16]; };
struct app { struct user *user; };
static void fill(int id, struct app *root) { root->user = pCalloc(1, sizeof(struct user)); strcpy(root->user->name, "Elizabeth"); }
static void is_right(struct app *root) { RIGHT(!strcmp(root->user->name, "Elizabeth")); }
----
struct user { char name[8]; };
struct app { struct user *user; };
static void migrations(void) { pCMigrate("struct user", NULL, NULL); }
static void is_right(struct app *root) { RIGHT(0); }
END

refusal="; register a migration for struct place (pCMigrate)"
migrates "a struct within others, of which only it is registered" <<'END'
struct place { int x, y; };
struct user { char c; struct place at, was[4]; long id; struct place *where; };
struct app { struct user *user; struct place here; struct user *all; int *y; };
static void fill(int id, struct app *root) {
	root->user = pCalloc(1, sizeof(struct user));
	*root->user = (struct user){'c', {1, 2}, {{3, 4}, {5, 6}, {7, 8}, {9, 10}}, 11, &root->user->was[2]};
	root->here = (struct place){12, 13};
	root->all = root->user;
}
static void is_right(struct app *root) { RIGHT(root->user->where == &root->user->was[2]); }
----
struct place { long x, y; char *name; };
struct user { char c; struct place at, was[4]; long id; struct place *where; };
struct app { struct user *user; struct place here; struct user *all; int *y; };
static void migrations(void) { pCMigrate("struct place", NULL, NULL); }
static void is_right(struct app *root) {
	struct user *u = root->user;
	RIGHT(u->c == 'c' && u->at.x == 1 && u->at.y == 2 && u->was[0].x == 3 && u->was[3].y == 10 && u->id == 11);
	RIGHT(u->where == &u->was[2] && u->where->x == 7 && !u->where->name && root->here.x == 12 && root->here.y == 13 && root->all == u);
}
END

refusal="struct user: field b: was 3 bits, is 9 bits"
migrates "bit fields" <<'END'
struct user { unsigned a : 3, b : 3; int c : 5; long d : 40; int whole, e; };
struct app { struct user *user; };
static void fill(int id, struct app *root) {
	root->user = pCalloc(1, sizeof(struct user));
	*root->user = (struct user){5, 6, -9, -(1L << 38), 12, -1};
}
static void is_right(struct app *root) { RIGHT(root->user->c == -9 && root->user->d == -(1L << 38)); }
----
struct user { unsigned a : 4, b : 9; int e : 2; int c; unsigned whole : 4; long d : 39; };
struct app { struct user *user; };
static void migrations(void) { pCMigrate("struct user", NULL, NULL); }
static void is_right(struct app *root) {
	struct user *u = root->user;
	RIGHT(u->a == 5 && u->b == 6 && u->c == -9 && u->d == -(1L << 38) && u->whole == 12 && u->e == -1);
}
END

cat >lists.h <<'END'
#define LISTS                                                                                                          \
	struct user *u, *last = NULL;                                                                                  \
	int n = 0;                                                                                                     \
	struct user **before = &root->users.lh_first;                                                                  \
	LIST_FOREACH (u, &root->users, link) {                                                                         \
		RIGHT(u->id == 9999 - n && u->link.le_prev == before && u->any == u && u->tagged == ((uintptr_t)u | 1));   \
		before = &u->link.le_next;                                                                             \
		n++;                                                                                                   \
	}                                                                                                              \
	RIGHT(n == 10000);                                                                                             \
	TAILQ_FOREACH_REVERSE (u, &root->queue, queue, in_queue)                                                       \
		RIGHT(u->id == --n);                                                                                   \
	RIGHT(n == 0 && TAILQ_LAST(&root->queue, queue)->id == 9999);                                                  \
	for (u = root->ring; n < 10000; u = u->friend, n++)                                                            \
		RIGHT(u->id == 9999 - n);                                                                              \
	RIGHT(u == root->ring);
END
# The entry of the list is the first member, and comes behind another: &user and &user->link were the same.
refusal="struct user: field link moved from offset 0 to 8"
migrates "a list of 10,000, and cycles" <<'END'
LIST_HEAD(users, user);
TAILQ_HEAD(queue, user);
struct user { LIST_ENTRY(user) link; TAILQ_ENTRY(user) in_queue; struct user *friend; void *any; uintptr_t tagged; long id; };
struct app { struct users users; struct queue queue; struct user *ring; };
static void fill(int id, struct app *root) {
	struct user *last = NULL;
	TAILQ_INIT(&root->queue);
	for (int i = 0; i < 10000; i++) {
		struct user *u = pCalloc(1, sizeof(*u));
		u->id = i;
		LIST_INSERT_HEAD(&root->users, u, link);
		TAILQ_INSERT_TAIL(&root->queue, u, in_queue);
		u->friend = last ? last : u;
		u->any = u;
		u->tagged = (uintptr_t)u | 1;
		last = u;
	}
	TAILQ_FIRST(&root->queue)->friend = last;
	root->ring = last;
}
#include "lists.h"
static void is_right(struct app *root) { LISTS }
----
LIST_HEAD(users, user);
TAILQ_HEAD(queue, user);
struct user { long more; LIST_ENTRY(user) link; void *any; char name[100]; TAILQ_ENTRY(user) in_queue; uintptr_t tagged; long id; struct user *friend; };
struct app { struct users users; struct queue queue; struct user *ring; };
static void migrations(void) { pCMigrate("struct user", NULL, NULL); }
#include "lists.h"
static void is_right(struct app *root) { LISTS }
END

cat >all <<'END'
struct user { long id, age; };
struct app { struct user *user; };
static void fill(int id, struct app *root) { root->user = pCalloc(1, sizeof(struct user)); root->user->id = 7; }
static void is_right(struct app *root) { RIGHT(root->user->id == 7); }
----
struct user { long age, id; };
struct app { struct user *user; };
static void migrations(void) { pCMigrate("struct user", NULL, NULL); }
static void is_right(struct app *root) { RIGHT(root->user->id == 7); }
END
debug=-g0
sources "without debug information"
debug=-g
./new go >out 2>&1 && fail "migrated without debug information: $(cat out)"
grep -q "migrations are registered (pCMigrate), but what struct app is in this build can't be told" out ||
	fail "without debug information: $(cat out)"

# ---- by functions ----

refusal="struct user: field name removed"
migrates "a struct that is split, and a field renamed" <<'END'
struct user { char name[32]; double x, y; struct user *friend; long years; };
struct app { struct user *users, *best; };
static void fill(int id, struct app *root) {
	root->users = pCalloc(8, sizeof(struct user));
	for (int i = 0; i < 8; i++) {
		snprintf(root->users[i].name, 32, "Ann %d", i);
		root->users[i].x = i, root->users[i].y = -i, root->users[i].years = 30 + i, root->users[i].friend = &root->users[7 - i];
	}
	root->best = &root->users[3];
}
static void is_right(struct app *root) { RIGHT(root->users[3].x == 3 && root->best == &root->users[3]); }
----
struct about { char name[32]; struct user *friend; };
struct user { struct { double x, y; } *at; int age; struct about *about; };
struct app { struct user *users, *best; };
static int split(const struct ptype *was, const void *from, const struct ptype *is, void *to, void *arg) {
	struct user *u = to;
	const long *years = pMigrateField(was, from, "years", sizeof(*years));
	const char *name = pMigrateField(was, from, "name", 32);
	struct user *const *friend = pMigrateField(was, from, "friend", sizeof(*friend));
	u->at = pCalloc(1, sizeof(*u->at));
	u->about = pCalloc(1, sizeof(*u->about));
	u->at->x = *(const double *)pMigrateField(was, from, "x", sizeof(double));
	u->at->y = *(const double *)pMigrateField(was, from, "y", sizeof(double));
	u->age = (int)*years;
	memcpy(u->about->name, name, 32);
	u->about->friend = *friend;
	++*(int *)arg;
	RIGHT(!strcmp(was->name, "struct user") && !strcmp(is->name, "struct user") && was->bytes == 64);
	RIGHT(!pMigrateField(was, from, "years", 4) && !pMigrateField(was, from, "nothing", 8));
	if (*friend) /* they are as they were */
		RIGHT(!strncmp((const char *)*friend, "Ann ", 4));
	return 0;
}
static int times;
static void migrations(void) { pCMigrate("struct user", split, &times); }
static void is_right(struct app *root) {
	char name[32];
	for (int i = 0; i < 8; i++) {
		struct user *u = &root->users[i];
		snprintf(name, 32, "Ann %d", i);
		RIGHT(u->at->x == i && u->at->y == -i && u->age == 30 + i && !strcmp(u->about->name, name));
		RIGHT(u->about->friend == &root->users[7 - i]);
	}
	RIGHT(root->best == &root->users[3] && (times >= 8 || !times));
}
END

# Without memory.
if [ -z "$flags" ]; then
	sources "a struct that is split, again"
	flags=-DFAILING
	build new
	flags=
	./new plain2 >out 2>&1 || fail "without memory: $(cat out)"
	grep -q "^all right$" out || fail "without memory: $(cat out)"
	[ "$(sed -n 's/ failures$//p' out)" -gt 20 ] || fail "without memory: $(cat out)"
fi

refusal="struct app: field users removed"
migrates "a struct and the field that leads to it have other names" <<'END'
struct user { long id; struct user *next; };
struct app { long count; struct user *users; };
static void fill(int id, struct app *root) {
	for (int i = 0; i < 100; i++) {
		struct user *u = pCalloc(1, sizeof(*u));
		*u = (struct user){i, root->users};
		root->users = u;
	}
}
static void is_right(struct app *root) { RIGHT(root->users->id == 99); }
----
struct person { struct person *next; char *name; long id; };
struct app { struct person *people; };
static int rename_it(const struct ptype *was, const void *from, const struct ptype *is, void *to, void *arg) {
	((struct app *)to)->people = *(struct person *const *)pMigrateField(was, from, "users", 8);
	return 0;
}
static void migrations(void) {
	pCMigrate("struct app", rename_it, NULL);
	pCMigrate("struct person", NULL, NULL);
	pCMigrateRenamed("struct user", "struct person");
}
static void is_right(struct app *root) {
	int n = 100;
	for (struct person *p = root->people; p; p = p->next) RIGHT(p->id == --n && !p->name);
	RIGHT(n == 0);
}
END

refusal="struct user: field u: was union what, is"
migrates "what by name is an error, and the function does" <<'END'
union what { long number; char text[16]; };
struct user { int kind; union what u; long big; };
struct app { struct user users[2]; };
static void fill(int id, struct app *root) {
	root->users[0] = (struct user){1, {.number = 5}, 1L << 40};
	root->users[1] = (struct user){2, {.text = "five"}, 6};
}
static void is_right(struct app *root) { RIGHT(root->users[0].u.number == 5); }
----
struct user { int kind; struct { long number; char text[16]; } u; int big; };
struct app { struct user users[2]; };
static int mend(const struct ptype *was, const void *from, const struct ptype *is, void *to, void *arg) {
	struct user *u = to;
	if (u->kind == 1)
		u->u.number = *(const long *)pMigrateField(was, from, "u.number", 8);
	else
		memcpy(u->u.text, pMigrateField(was, from, "u.text", 16), 16);
	RIGHT(u->kind == 1 ? u->big == 0 : u->big == 6);
	return PMIGRATE_MENDED;
}
static void migrations(void) { pCMigrate("struct user", mend, NULL); }
static void is_right(struct app *root) {
	RIGHT(root->users[0].u.number == 5 && !strcmp(root->users[1].u.text, "five") && root->users[1].u.number == 0);
}
END

union='union what { long number; char text[16]; };
struct user { int kind; union what u; long id; };
struct app { struct user users[2]; };
static void fill(int id, struct app *root) { root->users[1] = (struct user){2, {.text = "five"}, 6}; }
static void is_right(struct app *root) { RIGHT(!strcmp(root->users[1].u.text, "five")); }
----
struct user { long id; struct { long number; char text[16]; } u; int kind; };
struct app { struct user users[2]; };'
refuses "a union that is none any more" "field users[1].u: was union what of 16 bytes, is struct of 24" <<END
$union
static void migrations(void) { pCMigrate("struct user", NULL, NULL); }
static void is_right(struct app *root) { RIGHT(0); }
END
refuses "a function that fails" "the program's function failed: Bad message" <<END
$union
static int fails(const struct ptype *was, const void *from, const struct ptype *is, void *to, void *arg) {
	return ((struct user *)to)->id == 6 ? EBADMSG : PMIGRATE_MENDED;
}
static void migrations(void) { pCMigrate("struct user", fails, NULL); }
static void is_right(struct app *root) { RIGHT(0); }
END

refusal="struct user: field u moved from offset 8 to 16"
migrates "a union of one layout, an anonymous one, and what only a union leads to" <<'END'
struct user { long id; union { struct user *next; long n; } u; union { int i; float f; }; short s; };
struct app { struct user *users; };
static void fill(int id, struct app *root) {
	for (int i = 0; i < 10; i++) {
		struct user *u = pCalloc(1, sizeof(*u));
		u->id = i, u->u.next = root->users, u->f = 1.5f, u->s = -1;
		root->users = u;
	}
}
static void is_right(struct app *root) { RIGHT(root->users->u.next->f == 1.5f); }
----
struct user { long more, id; union { struct user *next; long n; } u; int s; union { int i; float f; double d; }; };
struct app { struct user *users; };
static void migrations(void) { pCMigrate("struct user", NULL, NULL); }
static void is_right(struct app *root) {
	int n = 10;
	for (struct user *u = root->users; u; u = u->u.next) RIGHT(u->id == --n && u->f == 1.5f && u->s == -1);
	RIGHT(n == 0);
}
END

# ---- where objects lie ----

refusal="struct app grew from 48 to 1048 bytes, and its object at"
migrates "an array of structs that grew, pointers into it, a root that grew" <<'END'
struct item { long id; struct item *peer; };
struct app { struct item *items, **sorted, *middle; long *ids[3]; };
static void fill(int id, struct app *root) {
	root->items = pCalloc(100, sizeof(struct item));
	root->sorted = pCalloc(100, sizeof(struct item *));
	for (int i = 0; i < 100; i++) {
		root->items[i] = (struct item){i, &root->items[(i * 7) % 100]};
		root->sorted[i] = &root->items[99 - i];
	}
	root->middle = root->items + 50;
	root->ids[1] = &root->items[33].id;
}
static void is_right(struct app *root) { RIGHT(root->sorted[0] == &root->items[99]); }
----
struct item { long id; struct item *peer; double weight, height; };
struct app { struct item *items, **sorted, *middle; long *ids[3]; char name[1000]; };
static void migrations(void) { pCMigrate("struct item", NULL, NULL); pCMigrate("struct app", NULL, NULL); }
static void is_right(struct app *root) {
	for (int i = 0; i < 100; i++)
		RIGHT(root->items[i].id == i && root->items[i].peer == &root->items[(i * 7) % 100] && root->sorted[i] == &root->items[99 - i] && !root->items[i].weight);
	RIGHT(root->middle == root->items + 50 && root->ids[1] == &root->items[33].id && !root->ids[0] && !root->name[999]);
}
END

refusal="struct list: field n: was int, is long"
migrates "a flexible array, numbers behind pointers" <<'END'
struct item { short id; };
struct list { int n; struct item first[]; };
struct app { struct list *list; int *numbers; };
static void fill(int id, struct app *root) {
	root->list = pCalloc(1, sizeof(struct list) + 500 * sizeof(struct item));
	root->list->n = 500;
	root->numbers = pCalloc(100, sizeof(int));
	for (int i = 0; i < 500; i++) root->list->first[i].id = i;
	for (int i = 0; i < 100; i++) root->numbers[i] = -i;
}
static void is_right(struct app *root) { RIGHT(root->list->first[499].id == 499); }
----
struct item { long id; double more; };
struct list { long n, most; struct item first[]; };
struct app { struct list *list; long *numbers; };
static void migrations(void) { pCMigrate("struct list", NULL, NULL); pCMigrate("struct item", NULL, NULL); pCMigrate("struct app", NULL, NULL); }
static void is_right(struct app *root) {
	for (int i = 0; i < 500; i++) RIGHT(root->list->first[i].id == i);
	for (int i = 0; i < 100; i++) RIGHT(root->numbers[i] == -i);
	RIGHT(root->list->n == 500);
}
END
refuses "two types of one object" "another pointer leads to struct other there" <<'END'
struct user { long id; struct user *next; };
struct other { long id, more; struct user *user; };
struct app { struct user *user; struct other *other; };
static void fill(int id, struct app *root) { root->user = pCalloc(1, sizeof(struct other)); root->other = (void *)root->user; }
static void is_right(struct app *root) { RIGHT(root->user == (void *)root->other); }
----
struct user { long more, id; struct user *next; };
struct other { long id, more; struct user *user; };
struct app { struct user *user; struct other *other; };
static void migrations(void) { pCMigrate("struct user", NULL, NULL); }
static void is_right(struct app *root) { RIGHT(0); }
END

text='struct user { struct user *next; int n; };
struct app { struct user *user; };
static void fill(int id, struct app *root) {
	root->user = pCalloc(1, sizeof(struct user) + 40);
	strcpy((char *)(root->user + 1), TEXT);
}
static void is_right(struct app *root) { RIGHT(!strcmp((char *)(root->user + 1), TEXT)); }
----
struct user { long n; struct user *next; };
struct app { struct user *user; };
static void migrations(void) { pCMigrate("struct user", NULL, NULL); }
static void is_right(struct app *root) { RIGHT(0); }'
refuses "a text behind a struct" "what lies behind it is neither one more nor nothing" <<END
#define TEXT "a name, longer than a struct"
$text
END
refuses "something behind a struct" "something lies behind it that no type tells of" <<'END'
struct user { struct user *next; char c[100]; };
struct app { struct user *user; };
static void fill(int id, struct app *root) { root->user = pCalloc(1, 140); ((char *)root->user)[130] = 1; }
static void is_right(struct app *root) { }
----
struct user { char c[100]; struct user *next; };
struct app { struct user *user; };
static void migrations(void) { pCMigrate("struct user", NULL, NULL); }
static void is_right(struct app *root) { RIGHT(0); }
END
refuses "a pointer to a field that went" "leads to offset 8 of it, and what was there is no more" <<'END'
struct user { long id, age; };
struct app { struct user *user; long *age; };
static void fill(int id, struct app *root) { root->user = pCalloc(1, sizeof(struct user)); root->age = &root->user->age; }
static void is_right(struct app *root) { RIGHT(root->age == &root->user->age); }
----
struct user { long id; };
struct app { struct user *user; long *age; };
static void migrations(void) { pCMigrate("struct user", NULL, NULL); }
static void is_right(struct app *root) { RIGHT(0); }
END
refuses "one that is not registered" "register a migration for struct other (pCMigrate)" <<'END'
struct other { long a, b; };
struct user { long id, age; struct other *other; };
struct app { struct user *user; };
static void fill(int id, struct app *root) { root->user = pCalloc(1, sizeof(struct user)); root->user->other = pCalloc(1, sizeof(struct other)); }
static void is_right(struct app *root) { }
----
struct other { long b, a; };
struct user { long age, id; struct other *other; };
struct app { struct user *user; };
static void migrations(void) { pCMigrate("struct user", NULL, NULL); }
static void is_right(struct app *root) { RIGHT(0); }
END

# ---- hints ----

refusal="struct app: field age moved"
ways= # where a container is moved, pointers that are not aligned are not adjusted
migrates "an excluded pointer, a hint of a pointer that is not aligned" <<'END'
struct __attribute__((packed)) user { char c; struct user *odd; void *not_kept; long id; };
struct app { long age; struct user *user; struct user *plain; };
static void fill(int id, struct app *root) {
	struct user *u = root->user = pCalloc(1, sizeof(struct user));
	u->odd = pCalloc(1, sizeof(struct user));
	u->odd->id = 7;
	pHint(id, u, u->odd);
	struct app *more = (void *)root;
	more->plain = pCalloc(1, sizeof(struct user));
	pExclude(id, &root->plain);
}
static void is_right(struct app *root) { RIGHT(root->user->odd->id == 7); }
----
struct user { long id; char c; struct user *odd; void *not_kept; };
struct app { struct user *user; struct user *plain; long age; };
static void migrations(void) { pCMigrate("struct user", NULL, NULL); pCMigrate("struct app", NULL, NULL); }
static void is_right(struct app *root) {
	static int calls; /* the second comes without a restore before */
	RIGHT(root->user->odd->id == 7 && (calls++ == 1 || !root->plain));
	root->plain = root->user;
}
END

ways=ways

refusal="struct user: field next moved"
migrates "numbers that look like pointers" <<'END'
struct user { struct user *next; long number; uintptr_t word; };
struct app { struct user *users; long number; long as_it_was; };
static void fill(int id, struct app *root) {
	struct user *u = root->users = pCalloc(1, sizeof(*u));
	u->next = pCalloc(1, sizeof(*u));
	u->word = (uintptr_t)u->next;
	u->number = root->number = (long)u;
	root->as_it_was = (long)u ^ -1;
}
static void is_right(struct app *root) { RIGHT(root->number == ~root->as_it_was && root->users->number == root->number); }
----
struct user { char name[8]; struct user *next; uintptr_t word; long number; };
struct app { struct user *users; long number; long as_it_was; };
static void migrations(void) { pCMigrate("struct user", NULL, NULL); }
static void is_right(struct app *root) {
	RIGHT(root->number == ~root->as_it_was && root->users->number == root->number && root->users->word == (uintptr_t)root->users->next);
}
END

# ---- what the program told ----

refusal="struct item: field name moved from offset 0 to 8"
migrates "what void pointers lead to, and members of unions that the program told of" <<'END'
struct item { char name[16]; int n; };
struct value { char kind; union { struct item *item; long number; float real; void *other; } u; };
struct app { struct value values[4]; void *one, *told; };
static void fill(int id, struct app *root) {
	struct pcase cases[] = {{1, "item"}, {2, "number"}, {3, "real"}};
	struct item *item = pCalloc(1, sizeof(*item));
	if (pCSetFieldType(id, "struct app.one", "struct item") || pCSetUnion(id, "struct value.u", "kind", cases, 3)) puts(pErrorMsg());
	strcpy(item->name, "one");
	root->one = item;
	root->values[0].kind = 1, root->values[0].u.item = item;
	root->values[1].kind = 2, root->values[1].u.number = -7;
	root->values[2].kind = 3, root->values[2].u.real = 1.5f;
	root->told = item = pCalloc(1, sizeof(*item));
	strcpy(item->name, "told");
	if (pCSetType(id, item, "struct item")) puts(pErrorMsg());
}
static void is_right(struct app *root) { RIGHT(!strcmp(root->values[0].u.item->name, "one")); }
----
struct item { long more; char name[16]; long n; };
struct value { union { struct item *item; double real; int number; void *other; } u; int kind; };
struct app { struct value values[4]; void *one, *told; };
static void migrations(void) { pCMigrate("struct item", NULL, NULL); pCMigrate("struct value", NULL, NULL); }
static void is_right(struct app *root) {
	struct item *one = root->one, *told = root->told;
	RIGHT(root->values[0].kind == 1 && root->values[0].u.item == one && !strcmp(one->name, "one"));
	RIGHT(root->values[1].u.number == -7 && root->values[2].u.real == 1.5 && !strcmp(told->name, "told") && !told->more);
}
END

# ---- what is reached from within ----

refusal="struct user: field link moved"
migrates "lists of entries, whose owners are known" <<'END'
struct entry { struct entry *next, *prev; };
struct user { long id; struct entry link; };
struct app { struct entry users; struct user *all[100]; };
#define USER(e) ((struct user *)((char *)(e) - offsetof(struct user, link)))
static void fill(int id, struct app *root) {
	root->users.next = root->users.prev = &root->users;
	for (int i = 0; i < 100; i++) {
		struct user *u = root->all[99 - i] = pCalloc(1, sizeof(*u));
		u->id = i, u->link.next = root->users.next, u->link.prev = &root->users;
		u->link.next->prev = root->users.next = &u->link;
	}
}
static void is_right(struct app *root) { RIGHT(USER(root->users.next)->id == 99); }
----
struct entry { struct entry *next, *prev; };
struct user { char name[40]; long id; struct entry link; };
struct app { struct entry users; struct user *all[100]; };
#define USER(e) ((struct user *)((char *)(e) - offsetof(struct user, link)))
static void migrations(void) { pCMigrate("struct user", NULL, NULL); }
static void is_right(struct app *root) {
	int n = 100;
	for (struct entry *e = root->users.next, *prev = &root->users; e != &root->users; prev = e, e = e->next)
		RIGHT(USER(e)->id == --n && root->all[99 - n] == USER(e) && e->prev == prev);
	RIGHT(!n);
}
END
sed -e 's/root->all\[99 - i\] = pCalloc/root->all[0] = pCalloc/' all >some
refuses "a list of entries, some of whose owners nobody knows" "it may be part of struct user, but no pointer to one leads there" <some
refuses "what several structs begin with" "it may be part of struct circle, but no pointer to one leads there" <<'END'
struct shape { int kind; };
struct circle { struct shape shape; double r, x, y; };
struct app { struct shape *shapes[3]; struct circle *best; };
static void fill(int id, struct app *root) {
	for (int i = 0; i < 3; i++) root->shapes[i] = pCalloc(1, sizeof(struct circle));
	root->best = (struct circle *)root->shapes[1];
}
static void is_right(struct app *root) { }
----
struct shape { int kind; };
struct circle { struct shape shape; double x, y, r; };
struct app { struct shape *shapes[3]; struct circle *best; };
static void migrations(void) { pCMigrate("struct circle", NULL, NULL); }
static void is_right(struct app *root) { RIGHT(0); }
END
refusal="struct item: field n moved"
migrates "an array behind a header, in one piece of memory" <<'END'
struct item { char c; long n; };
struct slot { long key; struct item *item; };
struct table { long n; struct slot *slots; };
struct app { struct table *table; };
static void fill(int id, struct app *root) {
	struct table *t = root->table = pCalloc(1, sizeof(struct table) + 9 * sizeof(struct slot));
	t->n = 9, t->slots = (struct slot *)(t + 1);
	for (int i = 0; i < 9; i++) {
		t->slots[i].key = i;
		t->slots[i].item = pCalloc(1, sizeof(struct item));
		t->slots[i].item->n = i;
	}
}
static void is_right(struct app *root) { RIGHT(root->table->slots[8].item->n == 8); }
----
struct item { long n, more; char c; };
struct slot { long key; struct item *item; };
struct table { long n; struct slot *slots; };
struct app { struct table *table; };
static void migrations(void) { pCMigrate("struct item", NULL, NULL); }
static void is_right(struct app *root) { for (int i = 0; i < 9; i++) RIGHT(root->table->slots[i].key == i && root->table->slots[i].item->n == i); }
END
refuses "an array behind a header that changed" "another pointer leads to struct slot there" <<'END'
struct slot { long key; char *text; };
struct table { long n; struct slot *slots; };
struct app { struct table *table; };
static void fill(int id, struct app *root) {
	struct table *t = root->table = pCalloc(1, sizeof(struct table) + 9 * sizeof(struct slot));
	t->n = 9, t->slots = (struct slot *)(t + 1);
}
static void is_right(struct app *root) { }
----
struct slot { long key; char *text; };
struct table { struct slot *slots; long n; };
struct app { struct table *table; };
static void migrations(void) { pCMigrate("struct table", NULL, NULL); }
static void is_right(struct app *root) { RIGHT(0); }
END

# ---- what no type tells of ----

users() { # MIGRATIONS FILL CHECK, with the old program's u to be filled in
	cat <<END
struct link { struct link *next, *prev; };
struct user { int id; int age; char name[16]; struct link link; };
PHASH_OF(held, int64_t, struct user);
PHASH_OF(named, const char *, struct user *);
struct app { struct user *known; struct link head; void *any; uintptr_t number; int *age; struct held *held; struct named *named; };
static void fill(int id, struct app *root) {
	struct user *u;
	root->head.next = root->head.prev = &root->head;
	for (int i = 0; i < 5; i++) {
		u = pCalloc(1, sizeof(*u));
		u->id = i, u->age = 20 + i, sprintf(u->name, "user %d", i);
		$2
	}
}
static void is_right(struct app *root) {}
----
struct link { struct link *next, *prev; };
struct user { long id; char name[24]; struct link link; int age; };
PHASH_OF(held, int64_t, struct user);
PHASH_OF(named, const char *, struct user *);
struct app { struct user *known; struct link head; void *any; uintptr_t number; int *age; struct held *held; struct named *named; };
static void migrations(void) { pCMigrate("struct user", NULL, NULL); $1 }
static void is_user(const struct user *u) { RIGHT(u->id >= 0 && u->id < 5 && u->age == 20 + u->id && u->name[5] == '0' + u->id); }
static void is_right(struct app *root) { $3 }
END
}
listed='u->link = (struct link){root->head.next, &root->head}; root->head.next->prev = &u->link; root->head.next = &u->link;'
walked='int n = 0; for (struct link *l = root->head.next; l != &root->head; l = l->next, n++) is_user((void *)((char *)l - offsetof(struct user, link))); RIGHT(n == 5);'
none='pCMigrate("void", NULL, NULL);'
told='if (pCSetType(id, u, "struct user")) puts(pErrorMsg());'
ways=
refusal=
users "" "$listed" "" >case && refuses "entries within others" "it may be part of struct user" <case
users "" "$listed $told" "$walked" >case && migrates "entries within others, told of" <case
users "" "root->any = u;" "" >case && refuses "a void pointer" "to which any of struct app" <case
users "" "root->any = u; $told" "is_user(root->any);" >case && migrates "a void pointer to what is told of" <case
users "" "root->number = (uintptr_t)u;" "" >case && refuses "a number that leads to an object" "to which number of struct app" <case
users "" "root->age = &u->age;" "" >case && refuses "a pointer to a field" "to which age of struct app" <case
users "$none" "root->age = &u->age; if (!i) root->known = pCalloc(1, sizeof(*u));" "RIGHT(*root->age == 24 && !root->known->id);" >case && migrates "a pointer to a field of what the program says is none" <case
table='root->named = root->named ? root->named : named_make(); named_put(root->named, u->name, u);'
users "" "$table $told" "" >case && refuses "a table of pointers" "to which hash of struct named" <case
users "$none" "$table $told" 'is_user(*named_get(root->named, "user 3"));' >case && migrates "a table of pointers to what is told of" <case
table='root->held = root->held ? root->held : held_make(); held_put(root->held, i, *u);'
users "$none" "$table" "" >case && refuses "values within a table" "struct held holds struct user in its own pages" <case

refuses "an entry at the beginning" "it may be part of struct user" <<'END'
struct link { struct link *next; };
struct user { struct link link; int id, age; long more[2]; };
struct app { struct user *known; struct link *first; };
static void fill(int id, struct app *root) { struct user *u = pCalloc(1, sizeof(*u)); u->age = 7; root->first = &u->link; }
static void is_right(struct app *root) {}
----
struct link { struct link *next; };
struct user { struct link link; long id, age, more[2]; };
struct app { struct user *known; struct link *first; };
static void migrations(void) { pCMigrate("struct user", NULL, NULL); }
static void is_right(struct app *root) {}
END

refusal="struct user: field age moved from offset 4 to 0"
migrates "beside tables, vectors, lists and strings of other things" <<'END'
struct user { int id, age; };
PHASH_OF(words, const char *, long);
PTREE_OF(lines, int64_t, const char *);
PARRAY_OF(numbers, double);
PLIST_OF(texts, char *);
struct app { struct user *user; struct words *words; struct lines *lines; struct numbers numbers; struct texts *texts; struct pstring *string; };
static void fill(int id, struct app *root) {
	root->user = pMalloc(sizeof(*root->user));
	*root->user = (struct user){1, 2};
	root->words = words_make(), root->lines = lines_make(), root->texts = texts_make();
	numbers_init(&root->numbers);
	root->string = pstring_from("a string of its own, longer than all that changed");
	for (int i = 0; i < 3000; i++) {
		char text[60];
		sprintf(text, "a text that is longer than the struct: %d", i);
		words_put(root->words, text, i), lines_put(root->lines, i, pStrdup(text)), numbers_push(&root->numbers, i), texts_push(root->texts, pStrdup(text));
	}
}
static void is_right(struct app *root) { RIGHT(root->user->id == 1 && root->user->age == 2 && numbers_count(&root->numbers) == 3000); }
----
struct user { int age, id; };
PHASH_OF(words, const char *, long);
PTREE_OF(lines, int64_t, const char *);
PARRAY_OF(numbers, double);
PLIST_OF(texts, char *);
struct app { struct user *user; struct words *words; struct lines *lines; struct numbers numbers; struct texts *texts; struct pstring *string; };
static void migrations(void) { pCMigrate("struct user", NULL, NULL); }
static void is_right(struct app *root) {
	RIGHT(root->user->id == 1 && root->user->age == 2 && numbers_count(&root->numbers) == 3000 && *numbers_at(&root->numbers, 2999) == 2999);
	RIGHT(*words_get(root->words, "a text that is longer than the struct: 7") == 7 && !strcmp(*lines_get(root->lines, 8), "a text that is longer than the struct: 8"));
	RIGHT(!strcmp(texts_first(root->texts)->value, "a text that is longer than the struct: 0") && plist_count(&root->texts->list) == 3000);
}
END

echo "$cases changes of structs are migrated, or refused"
