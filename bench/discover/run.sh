#!/bin/sh
# What discovery costs, and what types do to it. Arguments: the build folder, then those of bench_discover.
set -eu
build=${1:?usage: run.sh BUILD_DIR [LARGEST_MIB [LARGEST_CONTAINER_MIB [DATA]]]}
shift
"$build/bench_discover" "$@"
echo
exec "$build/bench_discover_typed"
