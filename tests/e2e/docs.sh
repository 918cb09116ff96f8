#!/bin/sh
# docs.sh - the documentation holds together: links lead somewhere, the tutorial's programs do what it says, the man page is well-formed
# and knows the tool's commands, the reference is made without a warning.
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

# The tutorial's programs are those with a command that builds them; what a line ./NAME alone is followed by is what it prints.
awk -v folder="$scratch" '
	/^```c$/ { file = folder "/program.c"; printf "" >file; inside = 1; next }
	/^```$/ { if (inside) close(file); inside = 0 }
	inside { print >file }
	/^    cc [a-z]*\.c / { name = $2; system("mv " file " " folder "/" name); sub("\\.c$", "", name); print name >(folder "/programs") }
	/^    / && shows { sub("^    ", ""); print >(folder "/" name ".expected"); next }
	{ shows = $0 == "    ./" name }
' docs/tutorial.md
flags='-g -Wall -Wextra -Werror'
! grep -q '^SPM_SANITIZE:STRING=ON' "$SOFTPM_BUILD/CMakeCache.txt" || flags="$flags -fsanitize=address,undefined"
while read -r name; do
	# shellcheck disable=SC2086 # a list of words
	"$(sed -n 's/^CMAKE_C_COMPILER:[A-Z]*=//p' "$SOFTPM_BUILD/CMakeCache.txt")" $flags -Icontainers -Ids/include "$scratch/$name.c" \
		-o "$scratch/$name" -L"$SOFTPM_BUILD" -lsoftpm-ds -lsoftpm -Wl,-rpath,"$SOFTPM_BUILD" || fail "the tutorial's $name.c does not build"
	SOFTPM_VOLUME="$scratch/$name.vol" "$scratch/$name" >"$scratch/$name.out" || fail "the tutorial's $name fails"
	[ ! -e "$scratch/$name.expected" ] || diff "$scratch/$name.expected" "$scratch/$name.out" ||
		fail "the tutorial's $name prints (>) something else than it says (<)"
done <"$scratch/programs"
[ "$(tr '\n' ' ' <"$scratch/programs")" = "counter travel sums stock players " ] || fail "not all programs of the tutorial were found"
[ "$(SOFTPM_VOLUME="$scratch/sums.vol" "$scratch/sums" 5 7 | tail -n 1)" = "2 numbers, 12 in all" ] &&
	[ "$(SOFTPM_VOLUME="$scratch/sums.vol" "$scratch/sums" 30)" = "3 numbers, 42 in all" ] || fail "the tutorial's sums adds up wrongly"
[ -s "$scratch/travel.expected" ] && [ -s "$scratch/players.expected" ] || fail "what the tutorial's travel and players print was not found"

# The chapter on bugs: its commands print what it says, but for the time.
sed -n '/^## 11[.]/,/^## 12[.]/s/^    //p' docs/tutorial.md | sed '1,/^.\/stock$/d' >"$scratch/told"
grep '^softpm ' "$scratch/told" | while read -r command; do
	echo "$command"
	SOFTPM_VOLUME="$scratch/stock.vol" PATH="$SOFTPM_BUILD:$PATH" sh -c "$command" || fail "the tutorial's '$command' fails"
done >"$scratch/shown"
sed -i 's/20[0-9-]* [0-9:.]*/TIME/' "$scratch/told" "$scratch/shown"
[ "$(grep -c '^softpm ' "$scratch/shown")" = 3 ] && diff "$scratch/told" "$scratch/shown" ||
	fail "the tutorial's commands print (>) something else than it says (<)"

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
