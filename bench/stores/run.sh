#!/bin/sh
# run.sh BUILD_DIR [DATA_DIR [ROUNDS [SECONDS]]] - durable updates of one 100-byte value among 100,000, all stores in turn in each
# round: medians and ratios to the floor, as markdown.
# What else runs on the machine costs a lone writer milliseconds a time: with other work on both cores the floor itself fell
# from 8,000 to 300 a second, while with 8 threads it stayed above 24,000 (so that was not the disk's rate). So each store's slice
# comes right after a slice of the floor with as many threads, and the ratio is the median over the rounds of these
# pairs. The floor against itself shows the error. Where the range of the pairs' floor is wide, measure again.
# DATA_DIR (./bench-data) must not exist, must not be on tmpfs, and is removed at the end. `cmake --build BUILD_DIR -t bench` first.
set -eu
build=${1:?usage: run.sh BUILD_DIR [DATA_DIR [ROUNDS [SECONDS]]]}
data=${2:-./bench-data}
rounds=${3:-5}
seconds=${4:-1}
floor_seconds=$(echo "$seconds" | awk '{ print $1 / 2 }')

. "$(dirname "$0")/../measure/shell.sh"
data_make

program_of() { find "$build" -type f -name "bench_store_$1" | head -n 1; }

# program, threads, variant, title
cat >"$data/list" <<'END'
floor 1 direct floor: 4 KiB overwritten, O_DIRECT + RWF_DSYNC
floor 1 fdatasync floor: 4 KiB overwritten, fdatasync
softpm 1 plain SoftPM
softpm 1 record SoftPM, pRecord
bdb 1 hash Berkeley DB, hash
bdb 1 btree Berkeley DB, btree
rocksdb 1 - RocksDB
sqlite 1 wal SQLite, WAL, FULL
lmdb 1 - LMDB
sqlite 1 journal SQLite, rollback journal
pmemobj 1 array libpmemobj on a file
tpl 1 - TPL, whole table
floor 8 direct floor, 8 threads: O_DIRECT + RWF_DSYNC
floor 8 fdatasync floor, 8 threads: fdatasync
softpm 8 plain SoftPM, 8 threads
softpm 8 record SoftPM, pRecord, 8 threads
bdb 8 hash Berkeley DB, hash, 8 threads
rocksdb 8 - RocksDB, 8 threads
END

round=1
while [ "$round" -le "$rounds" ]; do
	while read -r name threads variant title; do
		program=$(program_of "$name")
		[ -n "$program" ] || continue
		result=$data/result-$name-$threads-$variant
		floor=$("$(program_of floor)" "$data/floor-$threads-direct" "$floor_seconds" "$threads" direct </dev/null)
		if own=$("$program" "$data/$name-$threads-$variant" "$seconds" "$threads" "$variant" </dev/null); then
			echo "$own $floor" >>"$result"
		else
			echo "$title failed in round $round" >&2
		fi
	done <"$data/list"
	round=$((round + 1))
done

# A line of a result: updates/s, p50, p99 of the store, then of the floor just before it.
column() { cut -d' ' -f"$1" "$result" | median; }
ratio() { awk -v a="$1" -v b="$2" '{ print $a / $b }' "$result" | median; }
range() { cut -d' ' -f"$1" "$result" | sort -n | sed -n '1p;$p' | paste -sd: | sed 's/:/../'; }

echo "| store | updates/s | to the floor before it | p50, us | to the floor's p50 | p99, us | range of rounds | range of the floor before it |"
echo "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
while read -r name threads variant title; do
	result=$data/result-$name-$threads-$variant
	[ -s "$result" ] || continue
	printf '| %s | %.0f | %.2f | %.0f | %.2f | %.0f | %s | %s |\n' "$title" "$(column 1)" "$(ratio 1 4)" "$(column 2)" \
		"$(ratio 2 5)" "$(column 3)" "$(range 1)" "$(range 4)"
done <"$data/list"
