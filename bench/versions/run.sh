#!/bin/sh
# What history and branches cost. Argument: the build folder. Needs 11 GiB.
set -eu
exec "$1/bench_versions" "${TMPDIR:-.}"
