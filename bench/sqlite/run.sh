#!/bin/sh
# run.sh BUILD_DIR [DATA_DIR [ROUNDS [SECONDS [ROWS...]]]] - small transactions of SQLite on SoftPM, beside its own files and its databases
# in memory, all systems in turn in each round: medians a second, and the median over the rounds of the ratio to WAL with synchronous=FULL
# in the same round, as markdown; then where the time of one of SoftPM's goes, durable, one thread, as SoftPM counts it, in means of each round.
# All are one build of SQLite 3.40.1. DATA_DIR (./bench-data) must not exist, must not be on tmpfs, and is removed at the end.
set -eu
program=${1:?usage: run.sh BUILD_DIR [DATA_DIR [ROUNDS [SECONDS [ROWS...]]]]}/bench/sqlite/bench_sqlite_transactions
data=${2:-./bench-data}
rounds=${3:-5}
seconds=${4:-1}
[ $# -gt 4 ] && shift 4 || set -- 1000 10000 100000 1000000
everywhere="softpm-full wal-full journal-full softpm-normal wal-normal softpm-off wal-off"

if [ ! -x "$program" ]; then
	echo "no SQLite on SoftPM in this build" >&2
	exit 0
fi
. "$(dirname "$0")/../measure/shell.sh"
data_make

# ROWS THREADS: lines of rates to $data/rates-SYSTEM, one a round; of what it was asked for besides to $data/parts-ROWS-METRIC.
measure() {
	rm -f "$data"/rates-*
	round=0
	while [ "$round" -lt "$rounds" ]; do
		for system in $systems; do
			mkdir "$data/db"
			parts=0
			[ "$system $2" != "softpm-full 1" ] || parts=1
			"$program" "$data/db" "$system" rows="$1" threads="$2" seconds="$seconds" parts=$parts >"$data/told"
			awk '$1 == "transactions" { print $2 }' "$data/told" >>"$data/rates-$system"
			awk -F '\t' -v to="$data/parts-$1-" '$3 == "us" { print $2 >>(to $1) }' "$data/told"
			rm -r "$data/db"
		done
		round=$((round + 1))
	done
}

echo "| rows | threads | synchronous | system | transactions/s | to WAL/FULL |"
echo "| ---: | ---: | --- | --- | ---: | ---: |"
for rows in "$@"; do
	for threads in 1 4; do
		systems=$everywhere
		[ "$threads" != 1 ] || systems="$systems memory" # threads would have table locks there
		measure "$rows" "$threads"
		for system in $systems; do
			level=${system#*-}
			[ "$level" != memory ] || level=
			printf '| %s | %s | %s | %s | %.0f | %.2f |\n' "$rows" "$threads" "$(echo "$level" | tr a-z A-Z)" \
				"$(echo "${system%-*}" | sed 's/softpm/SoftPM/; s/wal/WAL/; s/journal/rollback journal/; s/memory/:memory:/')" \
				"$(median <"$data/rates-$system")" \
				"$(paste -d' ' "$data/rates-$system" "$data/rates-wal-full" | awk '{ print $1 / $2 }' | median)"
		done
	done
done

echo
echo "| rows | discovery, us | freeze, us | write, us | flush, us | the rest, us | median pause, us | processor, us |"
echo "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
for rows in "$@"; do
	printf '| %s |' "$rows"
	for part in discovery freeze write flush "the rest" "pause, median" processor; do
		printf ' %.1f |' "$(median <"$data/parts-$rows-$part")"
	done
	echo
done
