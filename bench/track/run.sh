#!/bin/sh
# What finding the written pages costs. Argument: the build folder.
set -eu
exec "$1/bench_track"
