#!/bin/sh
# suite.sh SERVER SOURCE LIST MODE [SELECTION] - memcached's own tests (SOURCE/t) on the server, each of its servers with a volume of its own.
# MODE: plain, bdb, or a value of softpm_sync. LIST: lines of FILE, FILE # why it is left out, or FILE # softpm: why it is left out unless MODE is plain.
# SELECTION: only the first so many that are not.
set -eu
server=$1
source=$2
list=$3
mode=$4
selection=${5:-1000}

work=$(mktemp -d "${TMPDIR:-.}/softpm-test-XXXXXX")
work=$(cd "$work" && pwd)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cp -r "$source/t" "$work/t"
${CC:-cc} -w -o "$work/timedrun" "$source/timedrun.c"
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
[ "$mode" = plain ] && left_out='# [^s]' || left_out='#'
for file in $(grep -v "$left_out" "$list" | sed 's/ .*//' | head -n "$selection"); do
	if timeout 300 perl -Ilib "t/$file" >out 2>&1 && ! grep -q '^not ok' out; then
		continue
	fi
	echo "$file failed ($mode):"
	grep -v '^ok' out | tail -n 20
	failed=$((failed + 1))
done
echo "$mode: $failed failed"
[ "$failed" = 0 ]
