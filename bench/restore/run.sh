#!/bin/sh
# How long restores take. Argument: the build folder.
set -eu
exec "$1/bench_restore" "${TMPDIR:-.}"
