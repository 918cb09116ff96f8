#!/bin/sh
# Durable updates beside the floor. Argument: the build folder.
set -eu
exec "$1/bench_update" "${TMPDIR:-.}"
