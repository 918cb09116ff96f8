#!/bin/sh
# crash_commit.sh - a million power cuts: tests/crash/crash_commit.c.
set -eu
SOFTPM_CRASH_STATES=${SOFTPM_CRASH_STATES:-1000000} exec "$SOFTPM_BUILD/crash_commit"
