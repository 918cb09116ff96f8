#!/bin/sh
# model_graph.sh - half a million histories: tests/e2e/model_graph.c.
set -eu
SOFTPM_MODEL_SEQUENCES=${SOFTPM_MODEL_SEQUENCES:-500000} exec "$SOFTPM_BUILD/model_graph"
