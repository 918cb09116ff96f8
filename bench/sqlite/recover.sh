#!/bin/sh
# recover.sh BUILD_DIR [DATA_DIR [ROUNDS [ROWS [TRANSACTIONS]]]] - how long after kill -9 in the midst of durable transactions until SQLite
# on SoftPM answers, beside its own files, all systems in turn in each round: medians in milliseconds from before the process that opens the
# database is started, as markdown. WAL is left as it is by its own checkpoints, and with all transactions in it since it was filled.
# DATA_DIR (./bench-data) must not exist, must not be on tmpfs, and is removed at the end.
set -eu
program=${1:?usage: recover.sh BUILD_DIR [DATA_DIR [ROUNDS [ROWS [TRANSACTIONS]]]]}/bench/sqlite/bench_sqlite_recover
data=${2:-./bench-data}
rounds=${3:-5}
rows=${4:-1000000}
transactions=${5:-20000}

if [ ! -x "$program" ]; then
	echo "no SQLite on SoftPM in this build" >&2
	exit 0
fi
. "$(dirname "$0")/../measure/shell.sh"
data_make

# system, whether a WAL is checkpointed, title
cat >"$data/list" <<'END'
softpm-full 1 SoftPM
wal-full 1 WAL
wal-full 0 WAL, not checkpointed
journal-full 1 rollback journal
END

round=0
while [ "$round" -lt "$rounds" ]; do
	for cold in 0 1; do
		while read -r system checkpoints title; do
			mkdir "$data/db"
			"$program" "$data/db" "$system" rows="$rows" transactions="$transactions" checkpoints="$checkpoints" cold="$cold" \
				</dev/null | while IFS="$(printf '\t')" read -r metric value unit; do
				[ "$unit" = "" ] || echo "$value" >>"$data/$system-$checkpoints-$cold-$metric"
			done
			rm -r "$data/db"
		done <"$data/list"
	done
	round=$((round + 1))
done

echo "| system | files | MiB at the crash | first row, ms | all $rows rows, ms |"
echo "| --- | --- | ---: | ---: | ---: |"
for cold in 0 1; do
	while read -r system checkpoints title; do
		got=$data/$system-$checkpoints-$cold
		printf '| %s | %s | %.0f | %.1f | %.0f |\n' "$title" "$([ $cold = 1 ] && echo "not in memory" || echo "as the crash left them")" \
			"$(median <"$got-files")" "$(median <"$got-first row")" "$(median <"$got-all rows")"
	done <"$data/list"
done
