#!/bin/sh
# wordindex.sh - the demo as a test: over the licenses, and over a folder with odd files.
set -eu

scratch=$(mktemp -d "${TMPDIR:-/tmp}/softpm-wordindex.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

sh "$SOFTPM_SOURCE/apps/wordindex/demo.sh"

mkdir -p "$scratch/texts/deep/er"
: >"$scratch/texts/empty"
printf 'no newline at the end' >"$scratch/texts/a file with blanks"
printf '\000zeros\000between\000\377letters' >"$scratch/texts/deep/binary"
printf '%s' 'Same same SAME' >"$scratch/texts/deep/er/z"
head -c 100000 /dev/urandom >"$scratch/texts/deep/random"
tr '\000-\377' 'x' <"$scratch/texts/deep/random" >"$scratch/texts/one-long-word"
i=0
while [ $i -lt 20 ]; do
	cp "$SOFTPM_SOURCE/README.md" "$scratch/texts/copy-$i"
	i=$((i + 1))
done
sh "$SOFTPM_SOURCE/apps/wordindex/demo.sh" "$scratch/texts"
