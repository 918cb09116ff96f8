#!/bin/sh
# matrix.sh BUILD_DIR [DATA_DIR] - servers at the corners of a matrix of loads: each system is filled once for a number of items and bytes of values, and
# then runs all mixes with all connections, the systems in turn: so rows of one load lie close in time. Markdown; $JSON: a file that gets a row of JSON
# for each figure, too.
# $CELLS ("KEYS:BYTES:THREADS..."; the first one whole, the others in the corners only), $CONNECTIONS ("1 8 32 128"), $MIXES ("GETS:DELETES...", percent),
# $SECONDS_EACH (2), $SYSTEMS (all), $MEMORY (2500, MiB). Filled without waiting for the disk; the server is started anew then if it has to wait.
# DATA_DIR (./bench-data) must not exist, must not be on tmpfs, and is removed at the end.
set -eu
build=${1:?usage: matrix.sh BUILD_DIR [DATA_DIR]}
data=${2:-./bench-data}
load=$build/bench/memcached/bench_memcached_load
cells=${CELLS:-100000:100:4 100000:100:1 100000:1000:4 2000:100000:4 5000000:100:4}
MEMORY=${MEMORY:-2500}
here=$(dirname "$0")
. "$here/../measure/shell.sh"
. "$here/servers.sh"
data_make
pids=
pid=
# shellcheck disable=SC2064,SC2086
trap 'kill $pids $pid 2>/dev/null || true; rm -rf "$data"' EXIT
folder=$(cd "$data" && pwd)

# SYSTEM CONNECTIONS GETS DELETES SECONDS FILL
drive() {
	redis=0
	[ "${1#redis}" = "$1" ] || redis=1
	"$load" port="$port" connections="$2" keys="$keys" bytes="$bytes" gets="$3" deletes="$4" seconds="$5" fill="$6" redis=$redis
}
# SYSTEM: until it answers; some read all that they have first.
await() {
	tries=0
	until drive "$1" 1 100 0 1 0 >/dev/null 2>&1; do
		tries=$((tries + 1))
		[ "$tries" -lt 300 ] || exit 1
		sleep 1
	done
}
# SYSTEM: until it takes a value.
answers() {
	tries=0
	until (keys=1 bytes=1 && drive "$1" 1 0 0 0 1) >/dev/null 2>&1; do
		tries=$((tries + 1))
		[ "$tries" -lt 300 ] || exit 1
		sleep 0.1
	done
}
fill() {
	mkdir "$folder/$1"
	case $1 in
	softpm-always) server_start softpm-off "$folder/$1" ;;
	bdb-*-always) server_start "${1%-always}-off" "$folder/$1" ;;
	redis-always) server_start redis-no "$folder/$1" ;;
	*) server_start "$1" "$folder/$1" ;;
	esac
	answers "$1"
	drive "$1" 32 0 0 0 1 >/dev/null
	[ "${1%-always}" != "$1" ] || return 0
	kill "$pid"
	wait "$pid" || true
	server_start "$1" "$folder/$1"
	await "$1"
}
# All of them, each with its own port and folder; those that are not driven have nothing to do.
cell_start() {
	pids=
	port=21211
	for system in $systems; do
		fill "$system"
		pids="$pids $pid"
		port=$((port + 1))
	done
}
cell_end() {
	for pid in $pids; do
		kill "$pid"
	done
	for pid in $pids; do
		wait "$pid" || true
	done
	for system in $systems; do
		rm -r "${folder:?}/$system"
	done
}
# SYSTEM CONNECTIONS GETS DELETES METRIC
figure() {
	value=$(awk -F '\t' -v m="$5" '$1 == m { print $2 }' "$data/told")
	[ -n "$value" ] || return 0
	[ -n "${JSON:-}" ] || return 0
	unit=us
	[ "$5" != operations ] || unit=operations/s
	printf '{"bench": "memcached", "system": "%s", "parameters": {"connections": %s, "gets": %s, "deletes": %s, "threads": %s, "keys": %s, "bytes": %s}, "metric": "%s", "value": %s, "unit": "%s"}\n' \
		"$1" "$2" "$3" "$4" "$THREADS" "$keys" "$bytes" "$5" "$value" "$unit" >>"$JSON"
}
# CONNECTIONS GETS DELETES
row_all() {
	port=21211
	line="| $keys | $bytes | $THREADS | $1 | $2/$((100 - $2 - $3))/$3 |"
	for system in $systems; do
		if drive "$system" "$1" "$2" "$3" "${SECONDS_EACH:-2}" 0 >"$data/told"; then
			for metric in operations "get median" "get 99%" "set median" "set 99%" "set 99.9%" "delete median"; do
				figure "$system" "$1" "$2" "$3" "$metric"
			done
			line="$line $(awk -F '\t' '$1 == "operations" { printf "%.0f", $2 }' "$data/told") |"
		else
			line="$line failed |"
		fi
		port=$((port + 1))
	done
	echo "$line"
}

echo "| items | bytes | threads | connections | get/set/delete, % | $(echo "$systems" | sed 's/ / | /g') |"
echo "| ---: | ---: | ---: | ---: | --- |$(for system in $systems; do printf ' ---: |'; done)"
mixes=${MIXES:-0:0 50:0 95:0 45:10}
connections=${CONNECTIONS:-1 8 32 128}
for cell in $cells; do
	keys=${cell%%:*}
	THREADS=${cell##*:}
	bytes=${cell#*:}
	bytes=${bytes%:*}
	cell_start
	for mix in $mixes; do
		for n in $connections; do
			row_all "$n" "${mix%:*}" "${mix#*:}"
		done
	done
	cell_end
	mixes=${MIXES:-0:0 95:0}
	connections=${CONNECTIONS:-1 32}
done
