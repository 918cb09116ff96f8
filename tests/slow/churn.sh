#!/bin/sh
# churn.sh - a hundred thousand points over 100 MiB: tests/e2e/churn.c.
set -eu
SOFTPM_CHURN_POINTS=${SOFTPM_CHURN_POINTS:-100000} SOFTPM_CHURN_MIB=${SOFTPM_CHURN_MIB:-100} exec "$SOFTPM_BUILD/churn"
