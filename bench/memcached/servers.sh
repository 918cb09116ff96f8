# servers.sh - sourced: the systems to compare, and how each is started. Takes $build, and $port when one is started; $THREADS (4), $MEMORY (4096, MiB),
# $SYSTEMS (all).
server=$build/adapters/memcachedb/memcachedb
systems="memcached softpm-always softpm-100ms bdb-hash-always bdb-btree-always bdb-hash-off bdb-btree-off"
! command -v redis-server >/dev/null || systems="$systems redis-always redis-everysec"
systems=${SYSTEMS:-$systems}

if [ ! -x "$load" ] || [ ! -x "$server" ]; then
	echo "no memcachedb in this build" >&2
	exit 0
fi

memcached_start() {
	"$server" -u "$(id -un)" -p "$port" -l 127.0.0.1 -U 0 -t "${THREADS:-4}" -m "${MEMORY:-4096}" "$@" &
}
# SYSTEM FOLDER. Its number is in $pid.
server_start() {
	case $1 in
	memcached) memcached_start ;;
	softpm-always) memcached_start -o "softpm=$2/cache.vol" ;;
	softpm-100ms) memcached_start -o "softpm=$2/cache.vol,softpm_sync=100" ;;
	softpm-off) memcached_start -o "softpm=$2/cache.vol,softpm_sync=off" ;;
	bdb-*)
		type=${1#bdb-}
		memcached_start -o "bdb=$2/bdb,bdb_type=${type%-*},bdb_sync=${type#*-}"
		;;
	redis-*)
		redis-server --port "$port" --bind 127.0.0.1 --dir "$2" --save '' --appendonly yes --appendfsync "${1#redis-}" \
			--loglevel warning >"$2/redis.log" &
		;;
	esac
	pid=$!
	sleep 0.5
}
