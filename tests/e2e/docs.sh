#!/bin/sh
# docs.sh - the documentation holds together: links lead somewhere, the man page is well-formed and knows the tool's commands, the
# reference is made without a warning.
set -eu
export LC_ALL=C

source=$(cd "$(dirname "$0")/../.." && pwd)
scratch=$(mktemp -d "${TMPDIR:-/tmp}/softpm-docs.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
cd "$source"

fail() {
	echo "docs: $*" >&2
	exit 1
}

for page in README.md CHANGELOG.md docs/*.md; do
	grep -o ']([^)#:]*)' "$page" | tr -d '])(' | while read -r link; do
		[ -e "$(dirname "$page")/$link" ] || fail "$page leads to $link, which is not there"
	done
done

"$SOFTPM_BUILD/softpm" help | sed -n 's/^  \([a-z][a-z]*\) .*/\1/p' | sort -u >"$scratch/commands"
[ -s "$scratch/commands" ] || fail "softpm help names no command"
while read -r command; do
	grep -q "$command" docs/man/softpm.1 || fail "docs/man/softpm.1 does not tell of softpm $command"
done <"$scratch/commands"

if command -v groff >/dev/null; then
	groff -man -ww -Tutf8 docs/man/softpm.1 2>"$scratch/warnings" >/dev/null
	[ ! -s "$scratch/warnings" ] || { cat "$scratch/warnings"; fail "the man page has mistakes"; }
else
	echo "no groff: the man page is not checked"
fi

if command -v doxygen >/dev/null; then
	(cat Doxyfile && echo WARN_AS_ERROR=FAIL_ON_WARNINGS) |
		SOFTPM_VERSION=0 SOFTPM_DOCS="$scratch/pages" doxygen - >"$scratch/warnings" 2>&1 ||
		{ cat "$scratch/warnings"; fail "the reference has mistakes"; }
	for function in pPoint pCRestore pHint; do
		grep -rq "$function" "$scratch/pages/html/softpm_8h.html" || fail "the reference does not tell of $function"
	done
else
	echo "no doxygen: the reference is not checked"
fi
