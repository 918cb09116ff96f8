#!/bin/sh
# ledger.sh - apps/ledger: killed again and again at random moments it ends where the uninterrupted run over the same commands does, bit by
# bit, and no answer was a lie; what happened since any older version can be gone through again on a branch.
set -eu
export LC_ALL=C

ledger=$SOFTPM_BUILD/ledger
scratch=$(mktemp -d "${TMPDIR:-/tmp}/softpm-ledger.XXXXXX")
running=
trap '[ -z "$running" ] || kill -9 "$running" 2>/dev/null || :; rm -rf "$scratch"' EXIT
cd "$scratch"
seed=${SOFTPM_SEED:-$(date +%N | sed 's/^0*//')}
echo "SOFTPM_SEED=$seed"
commands=${SOFTPM_COMMANDS:-60000}

fail() {
	echo "ledger: $*" >&2
	exit 1
}

"$ledger" --make-up "$commands" --seed "$seed" >commands
"$ledger" -v calm.vol --point-every 7000 <commands >calm.answers
"$ledger" -v calm.vol --dump >calm.dump
[ "$(wc -l <calm.answers)" = "$commands" ] || fail "$(wc -l <calm.answers) answers to $commands commands"

# As a client does it that comes back after a crash: it asks how far the ledger is, and goes on behind that. All answers it got must be
# those of the calm run, and it got none to a command that the ledger does not know.
random=$seed
kills=0
: >answers
while :; do
	count=$("$ledger" -v killed.vol --count 2>>log)
	answered=$(tail -n 1 answers | sed 's/ .*//')
	[ "$count" -ge "${answered:-0}" ] || fail "command $answered was answered, but $count are there"
	[ "$count" -lt "$commands" ] || break
	tail -n "+$((count + 1))" commands |
		"$ledger" -v killed.vol --batch $((random % 3000 + 200)) --point-every $((random % 6000 + 100)) >answers 2>>log &
	running=$!
	nap=$((random % 150 + 5 + kills * 3)) # milliseconds, longer and longer: a busy machine gets on, too
	sleep "$((nap / 1000)).$(printf %03d $((nap % 1000)))"
	if kill -9 "$running" 2>/dev/null; then
		kills=$((kills + 1))
	fi
	wait "$running" 2>/dev/null || :
	running=
	head -n -1 answers | awk 'NR == FNR { is[$1] = $0; next } is[$1] != $0' calm.answers - | grep . &&
		fail "an answer is another than that of the calm run"
	random=$(((random * 1103515245 + 12345) % 2147483648))
done
"$ledger" -v killed.vol --dump >killed.dump
cmp calm.dump killed.dump || fail "after $kills kills the state is another"
grep -q replayed log || fail "nothing was ever replayed"
"$SOFTPM_BUILD/softpm" -v killed.vol check


echo open ann | "$ledger" -v small.vol --point-every 1 >/dev/null
echo open bob | "$ledger" -v small.vol >/dev/null
"$SOFTPM_BUILD/softpm" -v small.vol stat --json ledger | tr -d ' ' | grep -q '"input_bytes":32' ||
	fail "softpm stat tells of other inputs than the one that no version has"

# The bug hunt.
"$ledger" -v calm.vol --replay-from 'main~2' --branch bug --watch a7 >watched
"$ledger" -v calm.vol --dump bug >bug.dump
cmp calm.dump bug.dump || fail "a replay from main~2 ends elsewhere"
grep -q 'replayed on branch bug' watched || fail "$(cat watched)"
[ "$(grep -c ' a7 ' watched)" -gt 1 ] || fail "no change of a7 was told"
"$ledger" -v calm.vol --dump >calm.again
cmp calm.dump calm.again || fail "the replay changed the ledger"
echo "$kills kills, $commands commands, $("$SOFTPM_BUILD/softpm" -v killed.vol log ledger | wc -l) versions; a7 changed $(grep -c ' a7 ' watched) times"
