#!/bin/sh
# crash_kill.sh - two thousand kills: tests/crash/crash_kill.c, crash_record.c.
set -eu
export SOFTPM_KILLS="${SOFTPM_KILLS:-2000}"
"$SOFTPM_BUILD/crash_kill"
"$SOFTPM_BUILD/crash_record"
