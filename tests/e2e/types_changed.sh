#!/bin/sh
# types_changed.sh - a program whose structs changed is built anew between save and restore: what fits goes on, with new fields zero; what does not is
# refused by pCRestore, pCOpenBranch, pCOpenAt and pCSwitch, and the message names struct and field; the build before goes on as before.
set -eu
export LC_ALL=C

scratch=$(mktemp -d "${TMPDIR:-/tmp}/softpm-types.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
export SOFTPM_VOLUME="$scratch/volume"

# FILL: what the saving program does with `root`; LOOK: what the restoring one prints.
cat >program.c <<'END'
#include <softpm.h>
#include <softpm/look.h>

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef ROOT_BYTES
#define ROOT_BYTES sizeof(struct app)
#endif
#ifndef USERS
#define USERS 1
#endif

static void save(void)
{
	struct app *root;
	int id = pCAlloc(1, ROOT_BYTES, (void **)&root);
	struct cattr *attr;

	if (pPointSync(id) != 1)
		printf("save: %s\n", pErrorMsg());
	attr = pCGetAttr(1);
	strcpy(attr->type, "struct app");
	if (pCSetAttr(id, attr))
		printf("type: %s\n", pErrorMsg());
	pCAttrFree(attr);
	root->users = pCalloc(USERS, sizeof(struct user));
	root->count = 1;
	FILL;
	if (pPointSync(id) != 2 || pBranch(1, "side", NULL))
		printf("save: %s\n", pErrorMsg());
	root->count = 2;
	if (pPointSync(id) != 3)
		printf("save: %s\n", pErrorMsg());
}

/* Each reading of debug information begins with this. */
static unsigned readings;
void *dwfl_begin(const void *callbacks);
void *dwfl_begin(const void *callbacks)
{
	void *(*begin)(const void *callbacks) = (void *(*)(const void *))dlsym(RTLD_NEXT, "dwfl_begin");

	readings++;
	return begin(callbacks);
}

static void tell(const char *what, int is_done)
{
	if (is_done)
		printf("%s: fits\n", what);
	else
		printf("%s: %s%s\n", what, errno == EPROTOTYPE ? "" : "another error: ", pErrorMsg());
}

static inline void type_tell(void)
{
	struct cattr *attr = pCGetAttr(1);

	printf("type <%s>\n", attr->type);
	pCAttrFree(attr);
}

/* Version 1 has no types: from there others are switched to. */
static void ways(void)
{
	struct app *root;
	int id = pCOpenAt(1, "1", (void **)&root);

	tell("switch", id > 0 && !pCSwitch(id, "3", (void **)&root));
	tell("again", id > 0 && !pCSwitch(id, "1", (void **)&root) && !pCSwitch(id, "2", (void **)&root));
	pCFree(id);
	tell("branch", pCOpenBranch(1, "side", (void **)&root) > 0);
	tell("view", pCOpenAt(1, "3", (void **)&root) > 0);
}

static void go_on(void)
{
	struct app *root;
	int id = pCRestore(1, (void **)&root);

	tell("restore", id > 0);
	if (id <= 0)
		return;
	LOOK;
	root->count++;
	if (pPointSync(id) <= 3)
		printf("point: %s\n", pErrorMsg());
	printf("debug information was read %u times\n", readings);
}

static void image(void)
{
	void *root;

	tell("image", pCOpenImage("image", &root) > 0);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "save"))
		save();
	else if (argc > 1 && !strcmp(argv[1], "image"))
		image();
	else if (argc > 1)
		ways();
	else
		go_on();
	return pVClose();
}
END

flags=
! grep -q '^SPM_SANITIZE:STRING=ON' "$SOFTPM_BUILD/CMakeCache.txt" || flags="-fsanitize=address,undefined"
debug=-g
build() { # NAME DECLARATIONS
	echo "$2" >"$1.h"
	# shellcheck disable=SC2086 # lists of words
	${CC:-cc} -std=gnu17 -O1 $debug $flags -I"$SOFTPM_SOURCE/containers" -include "$1.h" "-DFILL=${fill:-}" "-DLOOK=${look:-}" \
		${define:-} -Wl,--build-id -o "$1" program.c -L"$SOFTPM_BUILD" -lsoftpm -Wl,-rpath,"$SOFTPM_BUILD"
}
fail() {
	echo "types_changed: $*" >&2
	exit 1
}
cases=0
# Saved by a program with the old declarations, restored by one with the new: it says this.
change() { # WHO TEXT OLD NEW
	rm -f volume
	build old "$3"
	build new "$4"
	./old save
	./new >out 2>&1
	grep -qF "$2" out || fail "$1: expected: $2; it said: $(cat out)"
	cases=$((cases + 1))
}
app='struct app { struct user *users; long count; };'
refused="restore: container 1 can't be used by this build of the program:"

# What fits.
change "nothing" "restore: fits" "struct user { long id; int age; }; $app" "struct user { long id; int age; }; $app int other;"
grep -q "was read 1 times" out || fail "another build reads debug information: $(cat out)"
./new >out 2>&1
grep -q "was read 0 times" out || fail "the same build reads none: $(cat out)"
look='root->count++; pPointSync(id); if (pCSwitch(id, "2", (void **)&root) || pCSwitch(id, "main", (void **)&root)) puts(pErrorMsg())'
change "a switch" "was read 1 times" "struct user { long id; int age; }; $app" "struct user { long id; int age; }; $app int other;"
look=
change "a field in padding" "restore: fits" "struct user { long id; int age; }; $app" "struct user { long id; int age, more; }; $app"
change "a field in padding in the midst" "restore: fits" "struct user { char c; long id; }; $app" "struct user { char c; int more; long id; }; $app"
fill='root->users->height = 7'
# 136 bytes of 160, the last 8 of which a debug build has for itself.
old="struct user { char name[112]; long id, age, height; }; $app"
rm -f volume
build old "$old"
look='printf("%ld %ld\n", root->users->height, root->users->more); root->users->more = 9'
build new "struct user { char name[112]; long id, age, height, more; }; $app"
./old save
./new >out 2>&1
grep -q "^7 0$" out || fail "a field behind the end is zero: $(cat out)"
./new ways >out 2>&1
[ "$(grep -c ': fits$' out)" = 4 ] || fail "it fits however it comes: $(cat out)"
./new >out 2>&1
grep -q "^7 9$" out || fail "and then what it was set to: $(cat out)"
look=
./old >out 2>&1
grep -qF "$refused struct user: field more removed" out || fail "the build before can't use it then: $(cat out)"
user='long id; struct user *next; union { struct user **all; long n; }; long height, weight; char name[96]'
fill='struct user **all = pCalloc(8, sizeof(*all)), *at = root->users; at->all = all; for (int i = 0; i < 8; i++) at = at->next = all[i] = pCalloc(1, sizeof(*at))'
change "a list, and an array of pointers" "restore: fits" "struct user { $user; }; $app" "struct user { $user; long more; }; $app"
fill="$fill; all[7]->next = pCalloc(2, sizeof(*at))"
change "two at the end of the list" "may be an array of them" "struct user { $user; }; $app" "struct user { $user; long more; }; $app"
fill="$fill; all[7]->next = NULL; all[4] = pCalloc(2, sizeof(*at))"
change "two in the array" "may be an array of them" "struct user { $user; }; $app" "struct user { $user; long more; }; $app"
fill=
define=-DROOT_BYTES=64
change "a root with room" "restore: fits" "struct user { long id; }; struct app { struct user *users; long count; };" \
	"struct user { long id; }; struct app { struct user *users; long count; long more[6]; };"
define=
change "a type of another name" "restore: fits" "struct user { long id; }; $app" \
	"struct person { long id; }; struct app { struct person *users; long count; }; struct user { char c; };"
change "a value more" "restore: fits" "enum e { A, B }; struct user { enum e e; }; $app" "enum e { A, B, C }; struct user { enum e e; }; $app"
change "a pointer that was none of a kind" "restore: fits" "struct user { void *p; }; $app" "struct user { struct user *p; }; $app"
change "a member more of a union" "restore: fits" "struct user { union { int i; long l; }; }; $app" \
	"struct user { union { int i; long l; double d; }; }; $app"

# What does not.
change "a field in the midst" "$refused struct user: field email added at offset 8; struct user: field age moved from offset 8 to 16" \
	"struct user { long id; int age; }; $app" "struct user { long id; char *email; int age; }; $app"
grep -q "restore: another error" out && fail "another error"
./new ways >out 2>&1
for way in switch again branch view; do
	grep -q "^$way: container 1 can't be used by this build of the program: struct user: field email added at offset 8;" out ||
		fail "$way: $(cat out)"
done
SOFTPM_TYPES=unchecked ./new >out 2>&1
grep -q "restore: fits" out || fail "unchecked: $(cat out)"
./old ways >out 2>&1
[ "$(grep -c ': fits$' out)" = 4 ] || fail "the build before has all ways: $(cat out)"
change "a field that is longer" "$refused struct user: field name: was char[32], is char[64]" "struct user { char name[32]; }; $app" \
	"struct user { char name[64]; }; $app"
change "a field less" "$refused struct user: field age removed" "struct user { long id; int age; }; $app" "struct user { long id; }; $app"
change "a field of another type" "$refused struct user: field age: was int, is float" "struct user { long id; int age; }; $app" \
	"struct user { long id; float age; }; $app"
change "a field within a field" "$refused struct user: field pos: field y moved from offset 4 to 8" \
	"struct user { struct { int x, y; } pos; }; $app" "struct user { struct { int x; long y; } pos; }; $app"
change "a value that is another" "$refused enum e: B was 1, is 2" "enum e { A, B }; struct user { enum e e; }; $app" \
	"enum e { A, C, B }; struct user { enum e e; }; $app"
change "bits" "$refused struct user: field b: was 3 bits, is 4 bits" "struct user { unsigned a : 3, b : 3; }; $app" \
	"struct user { unsigned a : 3, b : 4; }; $app"
change "what a pointer leads to" "$refused struct user: field p: was char *, is long *" "struct user { char *p; }; $app" \
	"struct user { long *p; }; $app"
change "a smaller struct" "$refused struct user: its size was 16, is 12" "struct user { long id; int age; }; $app" \
	"struct __attribute__((packed)) user { long id; int age; }; $app"
change "an object without room" "struct user grew from 32 to 64 bytes, and its object at 0x" "struct user { long id, age, height, weight; }; $app" \
	"struct user { long id, age, height, weight, more[4]; }; $app"
grep -q "has no room for more" out || fail "an object without room: $(cat out)"
define=-DUSERS=2
change "an array" "may be an array of them" "struct user { long id, age, height; }; $app" "struct user { long id, age, height, more; }; $app"
define=
change "a root without room" "struct app grew from 16 to 48 bytes, and its object at 0x" "struct user { long id; }; $app" \
	"struct user { long id; }; struct app { struct user *users; long count, more[4]; };"
define=-DROOT_BYTES=64 fill='((long *)root)[2] = 5'
change "a root with something behind it" "has something behind it" "struct user { long id; }; $app" \
	"struct user { long id; }; struct app { struct user *users; long count, more; };"
define='' fill='root->any = pCalloc(1, 16); if (pCSetType(id, root->any, "struct hid")) puts(pErrorMsg())'
held='struct user { long id; }; struct app { struct user *users; long count; void *any; };'
change "an object told of" "$refused struct hid: field a: was int, is long; struct hid: field b moved from offset 4 to 8" "struct hid { int a, b; } *used; $held" "struct hid { long a; int b; } *used; $held"
change "an object told of that is as it was" "restore: fits" "struct hid { int a, b; } *used; $held" "struct hid { int a, b; } *used; $held int other;"
change "an object told of that has no room" "struct hid grew from 16 to 80 bytes" "struct hid { long a, b; } *used; $held" \
	"struct hid { long a, b, c[8]; } *used; $held"
change "a type told of that went" "restore: fits" "struct hid { int a, b; } *used; $held" "struct hidden { int a, b; } *used; $held"
fill='root->any = pCalloc(1, 16); if (pCSetFieldType(id, "struct app.any", "struct hid")) puts(pErrorMsg())'
change "a field told of" "$refused struct hid: field a: was int, is long; struct hid: field b moved from offset 4 to 8" "struct hid { int a, b; } *used; $held" "struct hid { long a; int b; } *used; $held"
change "a field told of that is as it was" "restore: fits" "struct hid { int a, b; } *used; $held" "struct hid { int a, b; } *used; $held int other;"
define='' fill=''

# An image is opened by builds that it fits; nothing in it has room.
rm -f volume image
old="struct user { char name[112]; long id, age, height; }; $app"
build old "$old"
./old save
"$SOFTPM_BUILD/softpm" image 3 image >out
for new in "$old" "$old int other;" "struct user { char name[112]; long id, age, height, more; }; $app" "struct user { char name[112]; int id; long age, height; }; $app"; do
	build new "$new"
	./new image
	SOFTPM_TYPES=unchecked ./new image
done >out 2>&1
cat >expected <<END
image: fits
image: fits
image: fits
image: fits
image: image image can't be used by this build of the program: struct user has grown, and its objects have no room
image: fits
image: image image can't be used by this build of the program: struct user: field id: was long, is int
image: fits
END
diff expected out || fail "images by builds with other types"

# What can't be told.
rm -f volume
build old "struct user { long id; int age; }; $app"
debug=
look='type_tell()'
build new "struct user { int age; long id; }; $app"
debug=-g
build old "struct user { long id; int age; }; $app"
./old save
./old >out 2>&1
grep -q "^type <struct app>$" out || fail "the type is told: $(cat out)"
./new >out 2>&1
grep -q "restore: fits" out || fail "without debug information: $(cat out)"
grep -q "^type <>$" out || fail "then the type is not known: $(cat out)"
./old >out 2>&1
grep -q "^type <>$" out || fail "nor for who comes after: $(cat out)"
echo "$cases changes of structs are told, or fit"
