#!/bin/sh
# What a persistence point costs the program. Argument: the build folder.
set -eu
exec "$1/bench_points" "${TMPDIR:-.}"
