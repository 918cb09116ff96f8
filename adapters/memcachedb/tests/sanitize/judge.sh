#!/bin/sh
# judge.sh RACES LOG... - what ThreadSanitizer has written of a server under load: only of memcached's own races may it tell, those between two functions of
# memcached of which one is in RACES (or one there with * and any other). Says the others in full.
set -eu
races=$1
shift
cat "$@" | awk -v races="$races" '
BEGIN {
	while ((getline line <races) > 0)
		if (split(line, word, " ") && word[1] != "#")
			level[word[1]] = word[2] == "*" ? 2 : 1
}
/^WARNING: ThreadSanitizer/ { text = ""; stacks = known = ours = 0; reports++ }
{ text = text $0 "\n" }
# The first function of a stack which is not of the sanitizer itself.
/^    #0 / { stacks++; is_found = 0 }
/failed to restore the stack/ { stacks++ }
/^    #/ && stacks <= 2 && !is_found && !/libsanitizer/ {
	is_found = 1
	if (level[$2] > known)
		known = level[$2]
	ours += !/\/package\/source\//
}
/^SUMMARY: ThreadSanitizer/ {
	if (!known || (ours && known < 2)) {
		strange++
		print text
	}
}
END {
	printf "%d reports, %d of them not of races in memcached itself\n", reports, strange
	exit strange > 0
}'
