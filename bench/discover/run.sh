#!/bin/sh
# What discovery costs. Arguments: the build folder, then those of bench_discover.
set -eu
build=${1:?usage: run.sh BUILD_DIR [LARGEST_MIB [LARGEST_CONTAINER_MIB [DATA]]]}
shift
exec "$build/bench_discover" "$@"
