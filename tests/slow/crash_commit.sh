#!/bin/sh
# crash_commit.sh - a million power cuts: tests/crash/crash_commit.c, crash_log.c.
set -eu
export SOFTPM_CRASH_STATES="${SOFTPM_CRASH_STATES:-1000000}"
"$SOFTPM_BUILD/crash_commit"
"$SOFTPM_BUILD/crash_log"
