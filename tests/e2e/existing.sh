#!/bin/sh
# existing.sh - structures that know nothing of SoftPM are in containers as they are: the BSD macros with pMalloc, GLib's and C++'s own with
# libsoftpm-malloc. They come back in another process, alone, and two at once that were made at the same addresses.
set -eu
export LC_ALL=C

source=$(cd "$(dirname "$0")/../.." && pwd)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/softpm-existing.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
includes="-I$source/containers -I$source/ds/include"
libraries="-L$SOFTPM_BUILD -Wl,-rpath,$SOFTPM_BUILD"
malloc="-Wl,--no-as-needed -lsoftpm-malloc -Wl,--as-needed" # nothing in the program itself may call malloc

fail() {
	echo "existing: $*" >&2
	exit 1
}
says() {
	wanted=$1
	shift
	got=$("$@") || fail "$*: it failed"
	[ "$got" = "$wanted" ] || fail "$*: expected '$wanted', got '$got'"
}
# comes_back PROGRAM
comes_back() {
	export SOFTPM_VOLUME="$scratch/$1.vol" SOFTPM_HEAP_START=5
	for magic in 1 2 3; do
		says "" "$scratch/$1" keep $magic
	done
	unset SOFTPM_HEAP_START
	says "1 right" "$scratch/$1" back 1
	[ "$1" = cpp ] || says "2 right" "$scratch/$1" back 2 3
	echo "existing: $1: right"
}
# has HEADER PACKAGE FLAGS
has() {
	# shellcheck disable=SC2086 # a list of words
	echo "#include <$1>" | cc $3 -E - >/dev/null 2>&1 && return 0
	echo "existing: no $2, so this is not tested"
	return 1
}

flags="-g -Wall -Wextra -Werror"
sanitized=
! grep -q '^SPM_SANITIZE:STRING=ON' "$SOFTPM_BUILD/CMakeCache.txt" || sanitized=-fsanitize=address,undefined
# shellcheck disable=SC2046,SC2086 # lists of words
if has bsd/sys/queue.h libbsd-dev ""; then
	cc $flags $sanitized $includes "$source/tests/e2e/existing/bsd.c" -o "$scratch/bsd" $libraries -lsoftpm
	comes_back bsd
fi
[ -z "$sanitized" ] || exit 0 # a sanitizer has a malloc of its own
# shellcheck disable=SC2086
c++ $flags -std=c++17 $includes "$source/tests/e2e/existing/cpp.cc" -o "$scratch/cpp" $libraries $malloc -lsoftpm
comes_back cpp
# shellcheck disable=SC2046,SC2086
if has glib.h libglib2.0-dev "$(pkg-config --cflags glib-2.0 2>/dev/null || :)"; then
	cc $flags $includes $(pkg-config --cflags glib-2.0) "$source/tests/e2e/existing/glib.c" -o "$scratch/glib" $libraries \
		$malloc -lsoftpm $(pkg-config --libs glib-2.0)
	export G_SLICE=always-malloc
	comes_back glib
fi
