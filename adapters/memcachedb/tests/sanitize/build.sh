#!/bin/sh
# build.sh SANITIZER PACKAGE - a build with SPM_SANITIZE=SANITIZER beside the one that is tested, and memcachedb's test `load` there, long. PACKAGE: the
# folder with memcached's source package.
set -eu
build=$SOFTPM_BUILD/sanitize-$1
package=$build/adapters/memcachedb/package
mkdir -p "$package"
cp "$2"/memcached_* "$package"
cmake -S "$SOFTPM_SOURCE" -B "$build" -G Ninja -DSPM_SANITIZE="$1" -DSPM_MEMCACHED=ON -DSPM_SQLITE=OFF -DSPM_FUZZ=OFF
cmake --build "$build" --target memcachedb_debug load_memcachedb
SOFTPM_LOAD_SECONDS=${SOFTPM_LOAD_SECONDS:-60} ctest --test-dir "$build" --output-on-failure --no-tests=error -R '^memcachedb/load$'
