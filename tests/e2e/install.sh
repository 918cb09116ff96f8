#!/bin/sh
# install.sh - what `cmake --install` gives is enough: README's program builds outside the tree by pkg-config (shared and static) and
# by find_package(SoftPM), as it is, with the structures' library and in C++, remembers what its first run was told, and the libraries show public symbols only.
set -eu
export LC_ALL=C

scratch=$(mktemp -d "${TMPDIR:-/tmp}/softpm-install.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
prefix=$scratch/prefix

fail() {
	echo "install: $*" >&2
	exit 1
}
# A sanitizer's runtime has to come with every program that uses a sanitized library.
flags=
! grep -q '^SPM_SANITIZE:STRING=ON' "$SOFTPM_BUILD/CMakeCache.txt" || flags=-fsanitize=address,undefined
cc=$(sed -n 's/^CMAKE_C_COMPILER:[A-Z]*=//p' "$SOFTPM_BUILD/CMakeCache.txt")
cxx=$(sed -n 's/^CMAKE_CXX_COMPILER:[A-Z]*=//p' "$SOFTPM_BUILD/CMakeCache.txt")

cmake --install "$SOFTPM_BUILD" --prefix "$prefix" >"$scratch/log" || fail "cmake --install failed"
lib=$(dirname "$(find "$prefix" -name libsoftpm.a)")
export PKG_CONFIG_PATH="$lib/pkgconfig"
for file in include/softpm.h include/softpm.hpp include/softpm/ds.h include/softpm/look.h bin/softpm share/man/man1/softpm.1; do
	[ -f "$prefix/$file" ] || fail "$file is missing"
done

sed -n '/^```c$/,/^```$/p' "$SOFTPM_SOURCE/README.md" | sed '/^```/d' >"$scratch/notes.c"
[ -s "$scratch/notes.c" ] || fail "README.md has no program"

# Builds are called by name; each must remember over two runs.
remembers() {
	volume=$scratch/$1.vol
	SOFTPM_VOLUME=$volume "$2" milk bread >"$scratch/first" || fail "$1: first run failed"
	SOFTPM_VOLUME=$volume "$2" eggs >"$scratch/second" || fail "$1: second run failed"
	[ "$(tr '\n' ' ' <"$scratch/second")" = "eggs bread milk " ] ||
		fail "$1: expected eggs bread milk, got: $(tr '\n' ' ' <"$scratch/second")"
	"$prefix/bin/softpm" -v "$volume" check >/dev/null || fail "$1: softpm check found damage"
	echo "install: $1: right"
}

# shellcheck disable=SC2046,SC2086 # lists of words
{
	"$cc" $flags "$scratch/notes.c" -o "$scratch/shared" $(pkg-config --cflags --libs softpm) -Wl,-rpath,"$lib" || fail "shared: does not build"
	"$cc" $flags "$scratch/notes.c" -o "$scratch/static" $(pkg-config --cflags softpm) "$lib/libsoftpm.a" \
		$(pkg-config --static --libs-only-l softpm | sed 's/-lsoftpm//') || fail "static: does not build"
}
readelf -d "$scratch/shared" | grep -q 'NEEDED.*libsoftpm\.so\.0' || fail "shared: the soname is not libsoftpm.so.0"
! readelf -d "$scratch/static" | grep -q 'NEEDED.*libsoftpm' || fail "static: it needs the shared library"
remembers shared "$scratch/shared"
remembers static "$scratch/static"

# The same program on the structures' library, and in C++.
cat >"$scratch/notes_ds.c" <<'END'
#include <errno.h>
#include <softpm/ds.h>
#include <stdio.h>

PARRAY_OF(notes, struct pstring *);
struct root { struct notes *notes; };

int main(int argc, char **argv)
{
	void *memory;
	int id = pCRestore(1, &memory);

	if (!id && errno == ENOENT)
		id = pCAlloc(1, sizeof(struct root), &memory);
	if (!id)
		return 1;
	struct root *root = memory;
	if (!root->notes && !(root->notes = notes_make()))
		return 1;
	for (int i = 1; i < argc; i++)
		if (!notes_push(root->notes, pstring_from(argv[i])))
			return 1;
	if (!pPointSync(id))
		return 1;
	for (size_t i = notes_count(root->notes); i--;)
		puts(pstring_c_str(*notes_at(root->notes, i)));
	return 0;
}
END
cat >"$scratch/notes.cc" <<'END'
#include <softpm.hpp>
#include <cstdio>

struct root {
	softpm::list<softpm::string> notes;
};

int main(int argc, char **argv)
{
	softpm::container<root> c(1);

	for (int i = 1; i < argc; i++)
		c->notes.emplace_front(argv[i]);
	c.point_sync();
	for (const auto &note : c->notes)
		std::puts(note.c_str());
}
END
# shellcheck disable=SC2046,SC2086 # lists of words
{
	"$cc" $flags -Wall -Wextra -Werror "$scratch/notes_ds.c" -o "$scratch/ds" $(pkg-config --cflags --libs softpm-ds) -Wl,-rpath,"$lib" ||
		fail "ds: does not build"
	"$cc" $flags "$scratch/notes_ds.c" -o "$scratch/ds_static" $(pkg-config --cflags softpm-ds) "$lib/libsoftpm-ds.a" "$lib/libsoftpm.a" \
		$(pkg-config --static --libs-only-l softpm-ds | sed 's/-lsoftpm\(-ds\)\?//g') || fail "ds static: does not build"
	"$cxx" $flags -std=c++17 -Wall -Wextra -Werror "$scratch/notes.cc" -o "$scratch/cpp" $(pkg-config --cflags --libs softpm) \
		-Wl,-rpath,"$lib" || fail "C++: does not build"
}
readelf -d "$scratch/ds" | grep -q 'NEEDED.*libsoftpm-ds\.so\.0' || fail "ds: the soname is not libsoftpm-ds.so.0"
remembers ds "$scratch/ds"
remembers ds-static "$scratch/ds_static"
remembers cpp "$scratch/cpp"

mkdir "$scratch/project"
cp "$scratch/notes.c" "$scratch/notes_ds.c" "$scratch/project/"
cat >"$scratch/project/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.25)
project(notes LANGUAGES C)
find_package(SoftPM 0.1 REQUIRED)
add_executable(package notes.c)
target_link_libraries(package SoftPM::softpm)
add_executable(package_static notes.c)
target_link_libraries(package_static SoftPM::softpm_static)
add_executable(package_ds notes_ds.c)
target_link_libraries(package_ds SoftPM::softpm-ds)
END
cmake -S "$scratch/project" -B "$scratch/project/build" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$cc" \
	-DCMAKE_C_FLAGS="$flags" >"$scratch/log" 2>&1 || { cat "$scratch/log"; fail "find_package(SoftPM) failed"; }
cmake --build "$scratch/project/build" >"$scratch/log" 2>&1 || { cat "$scratch/log"; fail "package: does not build"; }
remembers package "$scratch/project/build/package"
remembers package-static "$scratch/project/build/package_static"
remembers package-ds "$scratch/project/build/package_ds"

# Every function of the headers and nothing else, but for what libsoftpm-malloc needs, which has a version of its own.
sed -n 's/^SOFTPM_API.*[ *]\(p[A-Z][A-Za-z]*\)(.*/\1/p' "$prefix/include/softpm.h" "$prefix/include/softpm/look.h" | sort >"$scratch/header"
nm -D --defined-only "$lib/libsoftpm.so" | awk '$2 != "A" {print $3}' | grep -v '@@SOFTPM_PRIVATE$' |
	sed 's/@@SOFTPM_0$//' | sort >"$scratch/dynamic"
nm -g --defined-only "$lib/libsoftpm.a" | awk 'NF == 3 {print $3}' | sort >"$scratch/archive"
sed -n '/^static\|^typedef/d; s/^[a-z][a-z0-9_ ]*[ *]\(p[a-z]*_[a-z_]*\)(.*/\1/p' "$prefix"/include/softpm/*.h | sort >"$scratch/ds_header"
nm -D --defined-only "$lib/libsoftpm-ds.so" | sed -n 's/.* \(.*\)@@SOFTPM_DS_0$/\1/p' | grep -v '^SOFTPM_DS_0$' | sort >"$scratch/ds_dynamic"
for what in dynamic archive; do
	diff "$scratch/header" "$scratch/$what" || fail "the header's functions (<) differ from the $what symbols (>)"
done
diff "$scratch/ds_header" "$scratch/ds_dynamic" || fail "the functions of softpm/*.h (<) differ from libsoftpm-ds's symbols (>)"
echo "install: symbols: right"

# SQLite on SoftPM, if it was built: the shell finds the library that was installed with it, and that has SQLite's functions only.
shell=$prefix/bin/softpm-sqlite3
if [ -x "$shell" ]; then
	[ "$("$shell" "file:$scratch/sqlite.vol?softpm=1" 'CREATE TABLE t(a); INSERT INTO t VALUES(7); SELECT a FROM t')" = 7 ] ||
		fail "softpm-sqlite3 does not work"
	ldd "$shell" >"$scratch/libraries"
	for library in libsqlite3 libsoftpm; do
		grep -q "$library.*=> $prefix" "$scratch/libraries" || fail "softpm-sqlite3 takes another $library: $(cat "$scratch/libraries")"
	done
	sqlite=$(sed -n 's/.*libsqlite3.* => \([^ ]*\).*/\1/p' "$scratch/libraries")
	! nm -D --defined-only "$sqlite" | grep -v ' sqlite3[a-z0-9]*_' || fail "libsqlite3.so.0 has symbols that are not SQLite's"
	echo "install: sqlite: right"
fi
