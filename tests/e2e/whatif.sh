#!/bin/sh
# whatif.sh - eight futures of one simulation, each killed and gone on with, end as if nothing had been.
set -eu

scratch=$(mktemp -d "${TMPDIR:-/tmp}/softpm-whatif.XXXXXX")
running=
trap '[ -z "$running" ] || kill -9 $running 2>/dev/null || :; rm -rf "$scratch"' EXIT
export SOFTPM_VOLUME="$scratch/town.vol"
whatif="$SOFTPM_BUILD/whatif"
town='--people 4000 --days 120 --seed 7'

fail() {
	echo "whatif: $*" >&2
	exit 1
}

# Whoever wants a future to be killed waits until it has begun, and its process has been told.
wait_for_future() {
	for _ in $(seq 400); do
		! "$SOFTPM_BUILD/softpm" branch whatif 2>/dev/null | grep -q "$1" || ! grep -q "^  $1 .*process " "$scratch/out" || return 0
		sleep 0.05
	done
	fail "branch $1 was not made in 20 seconds"
}

# shellcheck disable=SC2086 # a list of words, here and below
"$whatif" $town --json -v "$scratch/calm.vol" >"$scratch/calm" || fail "the run that nobody disturbs fails"
[ "$(grep -c '"finished": true' "$scratch/calm")" = 8 ] || fail "not all eight futures came to their end"
[ "$(sed -n 's/.*"digest": "\(.*\)".*/\1/p' "$scratch/calm" | sort -u | wc -l)" = 8 ] || fail "two futures are the same"
sed -n 's/.*"future": "\([a-z-]*\)".*/\1/p' "$scratch/calm" >"$scratch/names"

# Each future is killed on its way, by its process.
"$whatif" $town --slow-ms 80 >"$scratch/out" 2>"$scratch/err" &
running=$!
while read -r name; do
	wait_for_future "$name"
done <"$scratch/names"
sleep 0.3
while read -r name; do
	kill -9 "$(sed -n "s/^  $name .*process //p" "$scratch/out")" || fail "$name was over before it was killed"
done <"$scratch/names"
! wait "$running" || fail "with eight killed futures the program says that all is well"
running=
[ "$(grep -c 'whatif --resume' "$scratch/err")" = 8 ] || { cat "$scratch/err"; fail "not all killed futures were told of"; }
"$SOFTPM_BUILD/softpm" check || fail "the volume is not whole after the kills"

# Each is gone on with, killed once more, and gone on with, all at once.
for run in first second; do
	while read -r name; do
		"$whatif" --resume "$name" --slow-ms 15 &
		running="$running $!"
	done <"$scratch/names"
	[ "$run" = second ] || { sleep 0.6; kill -9 $running 2>/dev/null || :; }
	for process in $running; do
		wait "$process" 2>/dev/null || [ "$run" = first ] || fail "a future can't be gone on with"
	done
	running=
done
"$whatif" --compare --json >"$scratch/killed" || fail "the futures that went on did not come to their end"
diff "$scratch/calm" "$scratch/killed" || fail "killed futures (>) ended otherwise than those that nobody disturbed (<)"

# The program and all its children are killed, at several moments; started again, it goes on with all.
rm "$SOFTPM_VOLUME"
for seconds in 0.3 0.8 0.8 1; do
	setsid "$whatif" $town --slow-ms 40 >/dev/null 2>&1 &
	running=$!
	while kill -0 "$running" && ! kill -0 "-$running" 2>/dev/null; do # setsid has not come so far
		sleep 0.01
	done
	sleep "$seconds"
	kill -9 "-$running" || fail "it was over before it was killed"
	wait "$running" 2>/dev/null || :
	running=
done
"$whatif" $town --json >"$scratch/again" || fail "after kills of everything it does not come to its end"
diff "$scratch/calm" "$scratch/again" || fail "after kills of everything (>) it ends otherwise than without (<)"
"$SOFTPM_BUILD/softpm" check || fail "the volume is not whole in the end"

"$whatif" --help | grep -q -- --resume || fail "--help does not tell of --resume"
[ "$("$whatif" --resume nobody 2>&1 | grep -c 'no such future\|no branch nobody')" = 1 ] || fail "an unknown future is not refused"
