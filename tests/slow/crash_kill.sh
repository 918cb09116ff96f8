#!/bin/sh
# crash_kill.sh - two thousand kills: tests/crash/crash_kill.c.
set -eu
SOFTPM_KILLS=${SOFTPM_KILLS:-2000} exec "$SOFTPM_BUILD/crash_kill"
