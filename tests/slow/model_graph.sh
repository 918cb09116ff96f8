#!/bin/sh
# model_graph.sh - a hundred thousand histories: tests/e2e/model_graph.c.
set -eu
SOFTPM_MODEL_SEQUENCES=${SOFTPM_MODEL_SEQUENCES:-100000} exec "$SOFTPM_BUILD/model_graph"
