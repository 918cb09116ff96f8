#!/bin/sh
# flip_volume.sh - every byte of a volume flipped, one at a time: tests/fault/flip_volume.c.
set -eu
SOFTPM_FLIP_STRIDE=${SOFTPM_FLIP_STRIDE:-1} exec "$SOFTPM_BUILD/flip_volume"
