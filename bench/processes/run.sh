#!/bin/sh
# Several processes on one volume. Argument: the build folder.
set -eu
exec "$1/bench_processes" "${TMPDIR:-.}"
