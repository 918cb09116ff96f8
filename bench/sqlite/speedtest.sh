#!/bin/sh
# speedtest.sh BUILD_DIR [DATA_DIR [ROUNDS [SIZE]]] - SQLite's own speedtest1 (--size 100) on SoftPM, beside its own files and a database in memory, all
# in turn in each round: medians in seconds, and the medians of the ratios to the database in memory, as markdown.
# DATA_DIR (./bench-data) must not exist, must not be on tmpfs, and is removed at the end.
set -eu
program=${1:?usage: speedtest.sh BUILD_DIR [DATA_DIR [ROUNDS [SIZE]]]}/bench/sqlite/bench_sqlite_speedtest1
data=${2:-./bench-data}
rounds=${3:-5}
size=${4:-100}

if [ ! -x "$program" ]; then
	echo "no SQLite on SoftPM in this build" >&2
	exit 0
fi
. "$(dirname "$0")/../measure/shell.sh"
data_make

seconds() { sed -n 's/.*TOTAL[. ]*\([0-9.]*\)s.*/\1/p'; }
run() {
	case $1 in
	memory) "$program" --memdb --size "$size" :memory: ;;
	softpm-later) SQLITE_SOFTPM=1 "$program" --nosync --size "$size" "$data/db" ;;
	softpm-full) SQLITE_SOFTPM=1 "$program" --size "$size" "$data/db" ;;
	wal-full) "$program" --journal wal --size "$size" "$data/db" ;;
	journal-full) "$program" --size "$size" "$data/db" ;;
	journal-off) "$program" --nosync --size "$size" "$data/db" ;;
	esac | seconds >>"$data/$1"
	rm -f "$data/db"*
}
systems="memory softpm-later journal-off softpm-full wal-full journal-full"
round=0
while [ "$round" -lt "$rounds" ]; do
	for system in $systems; do
		run "$system"
	done
	round=$((round + 1))
done
echo "| system | seconds | to :memory: |"
echo "| --- | ---: | ---: |"
for system in $systems; do
	printf '| %s | %.2f | %.2f |\n' "$(echo "$system" | sed 's/memory/:memory:/; s/softpm-later/SoftPM, OFF/; s/softpm-full/SoftPM, FULL/; s/wal-full/WAL, FULL/
		s/journal-full/rollback journal, FULL/; s/journal-off/rollback journal, OFF/')" "$(median <"$data/$system")" \
		"$(paste -d' ' "$data/$system" "$data/memory" | awk '{ print $1 / $2 }' | median)"
done
