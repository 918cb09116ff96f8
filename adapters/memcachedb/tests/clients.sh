#!/bin/sh
# clients.sh SERVER - libmemcached's tools and pymemcache, before and after a kill.
set -eu
server=$1
work=$(mktemp -d "${TMPDIR:-.}/softpm-test-XXXXXX")
pid=
trap 'kill -9 $pid 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cd "$work"
MEMCACHED_PORT_FILENAME=$(pwd)/ports
export MEMCACHED_PORT_FILENAME
fail() {
	echo "$*" >&2
	exit 1
}
start() {
	rm -f ports
	"$server" -u "$(id -un)" -l 127.0.0.1 -p -1 -U 0 -o hashpower=13,softpm=cache.vol &
	pid=$!
	for _ in $(seq 500); do
		[ ! -s ports ] || break
		sleep 0.02
	done
	MEMCACHED_SERVERS=127.0.0.1:$(sed -n 's/^TCP INET: //p' ports)
	export MEMCACHED_SERVERS
}
kill_it() {
	kill -9 "$pid"
	wait "$pid" 2>/dev/null || true
}
python() {
	/usr/bin/python3 - "${MEMCACHED_SERVERS#*:}" "$1" <<'END'
import sys
from pymemcache.client.base import Client

client = Client(("127.0.0.1", int(sys.argv[1])))
if sys.argv[2] == "write":
    assert client.set("python", b"\0value\r\n", noreply=False)
    assert client.set("number", b"41", noreply=False) and client.incr("number", 1) == 42
    assert client.set_many({"many%d" % i: b"%d" % i for i in range(100)}, noreply=False) == []
else:
    assert client.get("python") == b"\0value\r\n"
    assert client.get("number") == b"42"
    assert client.get_many(["many%d" % i for i in range(100)]) == {"many%d" % i: b"%d" % i for i in range(100)}
    value, cas = client.gets("number")
    assert client.cas("number", b"7", cas, noreply=False)
END
}

start
echo "what libmemcached stored" >letter
echo "gone" >other
memccp letter other
memcrm other
python write
kill_it
start
[ "$(memccat letter)" = "what libmemcached stored" ] || fail "memccat: $(memccat letter)"
! memccat other >/dev/null 2>&1 || fail "memcrm was forgotten"
memctouch --expire=1000 letter || fail "memctouch"
memcping || fail "memcping"
python read
memcslap --concurrency=8 --execute-number=200 --test=set >slap 2>&1 || fail "memcslap: $(cat slap)"
kill_it
start
/usr/bin/python3 -c "
from pymemcache.client.base import Client
c = Client(('127.0.0.1', ${MEMCACHED_SERVERS#*:}))
assert c.get('number') == b'7'
assert int(c.stats()[b'curr_items']) > 102, c.stats()[b'curr_items']
"
# Items by key, with no server and beside one, and what changed between two versions.
/usr/bin/python3 -c "
import socket
from pymemcache.client.base import Client
c = Client(('127.0.0.1', ${MEMCACHED_SERVERS#*:}))
assert c.set_many({'grow%d' % i: b'x' for i in range(14000)}, noreply=False) == []  # the hashtable doubles
s = socket.create_connection(('127.0.0.1', ${MEMCACHED_SERVERS#*:}))
s.sendall(b'softpm tag before\\r\\n')
assert s.recv(100) == b'OK\\r\\n'
assert c.set('number', b'8', noreply=False) and c.delete('python', noreply=False) and c.set('new', b'a\tb', flags=5, noreply=False)
assert c.set('binary', b'\\0\\1', noreply=False) and c.set('large', b'y' * 900000, noreply=False)
"
browse() {
	"$SOFTPM_BUILD/softpm" -v cache.vol browse main --path "root->items$1"
}
[ "$(browse '["number"]')" = 'root->items["number"]: char[] = "8"' ] || fail "browse beside the server: $(browse '["number"]')"
kill_it
[ "$(browse '["grow13999"]')" = 'root->items["grow13999"]: char[] = "x"' ] || fail "browse: $(browse '["grow13999"]')"
! browse '["python"]' 2>/dev/null || fail "browse has what was deleted"
"$SOFTPM_BUILD/softpm" -v cache.vol browse main --path 'root->items' --depth 1 --all >all
[ "$(grep -c '\["grow[0-9]*"\]: char\[\] = "x"' all)" = 14000 ] || fail "browse does not have all items: $(wc -l <all)"
"$SOFTPM_BUILD/softpm" -v cache.vol diff memcached before main >changed
for line in 'root->items\["number"\]: "7" -> "8"' '- root->items\["python"\]' '+ root->items\["new"\]: char\[\] = "a\\tb"' '+ root->items\["binary"\]' \
	'+ root->items\["large"\]'; do
	grep -q -e "^$line" changed || fail "diff does not tell '$line': $(cat changed)"
done
! grep -q grow changed || fail "diff tells what did not change: $(cat changed)"
echo "all well"
