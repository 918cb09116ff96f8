#!/bin/sh
# web.sh - softpm web: what it refuses, and its page in a browser (web/web.py); which is left out where there is no Chromium.
set -eu
folder=$(mktemp -d "${TMPDIR:-/tmp}/softpm-web.XXXXXX")
trap 'rm -rf "$folder"' EXIT
"${CC:-cc}" -O1 -g -I"$SOFTPM_SOURCE/containers" "$SOFTPM_SOURCE/tests/e2e/web/shop.c" -o "$folder/shop" "$SOFTPM_BUILD/libsoftpm.so" \
	-Wl,-rpath,"$SOFTPM_BUILD"
python3 "$SOFTPM_SOURCE/tests/e2e/web/web.py" "$folder"
