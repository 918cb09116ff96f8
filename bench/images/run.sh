#!/bin/sh
# What opening an image costs. Argument: the build folder. Needs 200 MiB.
set -eu
exec "$1/bench_images" "${TMPDIR:-.}"
