#!/bin/sh
# What history, branches and switching between versions cost. Argument: the build folder. Needs 11 GiB.
set -eu
"$1/bench_versions" "${TMPDIR:-.}"
exec "$1/bench_switch" "${TMPDIR:-.}"
