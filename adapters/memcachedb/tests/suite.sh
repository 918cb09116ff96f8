#!/bin/sh
# suite.sh SERVER SOURCE LIST MODE [SELECTION] - memcached's own tests (SOURCE/t) on the server, each of its servers with a volume of its own.
# MODE: plain, bdb, or a value of softpm_sync. LIST: lines of FILE, FILE # why it is left out, or FILE # STORE: why it is left out with that one, softpm or bdb. The file
# testapp is the program of that name.
# SELECTION: only the first so many that are not.
set -eu
server=$1
source=$2
list=$3
mode=$4
selection=${5:-1000}
adapter=$(cd "$(dirname "$0")/.." && pwd)
case $mode in
plain | bdb) store=$mode ;;
*) store=softpm ;;
esac

work=$(mktemp -d "${TMPDIR:-.}/softpm-test-XXXXXX")
work=$(cd "$work" && pwd)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cp -r "$source/t" "$work/t"
${CC:-cc} -w -o "$work/timedrun" "$source/timedrun.c"
(
	cd "$source"
	${CC:-cc} -w -DHAVE_CONFIG_H -I"$adapter" -o "$work/testapp" testapp.c util.c stats_prefix.c jenkins_hash.c murmur3_hash.c cache.c crc32c.c \
		-lssl -lcrypto -lpthread
)
ln -s "$source"/*.[ch] "$source/ChangeLog" "$work" 2>/dev/null || true

case $mode in
bdb) options="bdb=$work/\$\$.bdb,bdb_sync=off" ;;
*) options="softpm=$work/\$\$.vol,softpm_sync=$mode" ;;
esac
# Some servers are started with memory that lies elsewhere (-e, -L, ext_path), or only to print.
cat >"$work/memcached-debug" <<END
#!/bin/sh
case "$mode \$* " in
plain\ * | *\ -h\ * | *\ -V\ * | *\ -e\ * | *\ -L\ * | *ext_path*) exec "$server" "\$@" ;;
esac
rm -rf $work/\$\$.* # an earlier process with this number
exec "$server" "\$@" -o "$options"
END
chmod +x "$work/memcached-debug"

cd "$work"
failed=0
one() {
	case $1 in
	testapp) timeout 300 ./testapp ;;
	*) timeout 300 perl -Ilib "t/$1" ;;
	esac >out 2>&1
}
for file in $(grep -Ev "# $store:|# [^:]*\$" "$list" | sed 's/ .*//' | head -n "$selection"); do
	if one "$file" && ! grep -q '^not ok' out; then
		continue
	fi
	echo "$file failed ($mode):"
	grep -v '^ok' out | tail -n 20
	failed=$((failed + 1))
done
echo "$mode: $failed failed"
[ "$failed" = 0 ]
