#!/bin/sh
# run.sh [--quick] BUILD_DIR [DATA_DIR [ROUNDS [SECONDS [CONNECTIONS... ]]]] - servers under the same load, all in turn in each round, as markdown: operations
# a second, medians, and the median over the rounds of the ratio to memcached, which keeps nothing; the time that a set takes.
# $KEYS (100000) of $BYTES (100), $THREADS (4), $GETS ("0 50 95", percent), of the rest $DELETES (0, percent of all), $SYSTEMS (all; memcached among them).
# $JSON: a file that gets a row of JSON for each figure, too. --quick: fewer connections, keys and mixes, unless they are named.
# Redis is Debian's, if it is there. DATA_DIR (./bench-data) must not exist, must not be on tmpfs, and is removed at the end.
set -eu
everything="1 8 32 128"
if [ "${1:-}" = --quick ]; then
	shift
	everything="1 32"
	KEYS=${KEYS:-10000} GETS=${GETS:-0 95}
fi
build=${1:?usage: run.sh [--quick] BUILD_DIR [DATA_DIR [ROUNDS [SECONDS [CONNECTIONS...]]]]}
data=${2:-./bench-data}
rounds=${3:-3}
seconds=${4:-2}
[ $# -gt 4 ] && shift 4 || set -- $everything
load=$build/bench/memcached/bench_memcached_load
port=21211
. "$(dirname "$0")/servers.sh"
. "$(dirname "$0")/../measure/shell.sh"
data_make
folder=$(cd "$data" && pwd)

# SYSTEM CONNECTIONS GETS
measure() {
	mkdir "$data/db"
	server_start "$1" "$folder/db"
	redis=0
	[ "${1#redis}" = "$1" ] || redis=1
	"$load" port=$port connections="$2" keys="${KEYS:-100000}" bytes="${BYTES:-100}" gets="$3" deletes="${DELETES:-0}" seconds="$seconds" redis=$redis >"$data/told" || {
		kill "$pid"
		exit 1
	}
	kill "$pid"
	wait "$pid" || true
	rm -r "$data/db"
	for metric in operations "set median" "set 99%" "set 99.9%"; do
		awk -F '\t' -v m="$metric" '$1 == m { print $2 }' "$data/told" >>"$data/$1-$metric"
	done
}

# SYSTEM CONNECTIONS GETS
rows_json() {
	for metric in operations "set median" "set 99%" "set 99.9%"; do
		[ -s "$data/$1-$metric" ] || continue
		unit=us
		[ "$metric" != operations ] || unit=operations/s
		printf '{"bench": "memcached", "system": "%s", "parameters": {"connections": %s, "gets": %s, "deletes": %s, "threads": %s, "keys": %s, "bytes": %s}, "metric": "%s", "value": %s, "unit": "%s"}\n' \
			"$1" "$2" "$3" "${DELETES:-0}" "${THREADS:-4}" "${KEYS:-100000}" "${BYTES:-100}" "$metric" \
			"$(median <"$data/$1-$metric")" "$unit"
	done >>"$JSON"
}

echo "| connections | gets | server | operations/s | to memcached | set median, us | set 99%, us | set 99.9%, us |"
echo "| ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |"
for connections in "$@"; do
	for gets in ${GETS:-0 50 95}; do
		round=0
		while [ "$round" -lt "$rounds" ]; do
			for system in $systems; do
				measure "$system" "$connections" "$gets"
			done
			round=$((round + 1))
		done
		for system in $systems; do
			[ -z "${JSON:-}" ] || rows_json "$system" "$connections" "$gets"
			printf '| %s | %s%% | %s | %.0f | %.2f | %.0f | %.0f | %.0f |\n' "$connections" "$gets" "$system" \
				"$(median <"$data/$system-operations")" \
				"$(paste -d' ' "$data/$system-operations" "$data/memcached-operations" | awk '{ print $1 / $2 }' | median)" \
				"$(median <"$data/$system-set median")" "$(median <"$data/$system-set 99%")" "$(median <"$data/$system-set 99.9%")"
		done
		rm -f "$data"/*-operations "$data"/*-set*
	done
done
