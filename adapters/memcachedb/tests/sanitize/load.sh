#!/bin/sh
# load.sh LOAD - load_memcachedb on a server with sanitizers, and what they tell of it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-.}/softpm-test-XXXXXX")
work=$(cd "$work" && pwd)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
export LSAN_OPTIONS="suppressions=$here/leaks,print_suppressions=0"
export TSAN_OPTIONS="log_path=$work/tsan history_size=7 second_deadlock_stack=1 exitcode=0 report_thread_leaks=0" # memcached ends with threads
export UBSAN_OPTIONS=print_stacktrace=1
TMPDIR=$work "$1"
touch "$work/tsan.none"
sh "$here/judge.sh" "$here/races" "$work"/tsan.*
