#!/bin/sh
# preload.sh LIBSOFTPM_MALLOC_SO - programs that know nothing of SoftPM run on its malloc and give the right answers.
# Programs that are not installed are skipped. Exits with the number of failures.
set -u
so=$(realpath "${1:?usage: preload.sh LIBSOFTPM_MALLOC_SO}")
[ -e "$so" ] || exit 2
work=$(mktemp -d)
failures=0
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
cd "$work" || exit 2

# expect NAME WANTED COMMAND...: the command, on our malloc, prints just that.
expect() {
	name=$1 wanted=$2
	shift 2
	got=$(LD_PRELOAD=$so timeout 120 "$@" 2>&1)
	status=$?
	if [ $status -eq 0 ] && [ "$got" = "$wanted" ]; then
		echo "ok    $name"
	else
		echo "FAIL  $name: status $status, printed '$(echo "$got" | tail -n 3)'"
		failures=$((failures + 1))
	fi
}

has() {
	command -v "$1" >/dev/null && return 0
	echo "skip  $1 (not installed)"
	return 1
}

expect "sort" "1 2 3" sh -c 'seq 100000 | sort -R | sort -n | head -n 3 | tr "\n" " " | sed "s/ $//"'

if has git; then
	expect "git" "300" sh -c '
		git init -q r && cd r && git config user.email a@b.c && git config user.name x &&
		for i in $(seq 300); do echo "line $i" >> f$((i % 17)); git add . && git commit -qm "c $i" || exit 1; done &&
		git gc -q && git fsck --no-progress --no-dangling && git rev-list --count HEAD'
fi
if has python3; then
	expect "python3" "333283335000 100" python3 -c '
import threading, json
d = {i: str(i) * 3 for i in range(200000)}
assert json.loads(json.dumps([d[i] for i in range(5000)]))[7] == "777"
out = []
def work(): out.append(len({(i, str(i)): [i] * 20 for i in range(2000)}))
t = [threading.Thread(target=work) for i in range(100)]
[x.start() for x in t]; [x.join() for x in t]
assert out == [2000] * 100
print(sum(i * i for i in range(10000)), len(out))'
fi
if has sqlite3; then
	expect "sqlite3" "100000|5000050000
ok" sqlite3 t.db "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT);
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
		INSERT INTO t SELECT i, hex(randomblob(20)) FROM n;
		CREATE INDEX x ON t(b); SELECT count(*), sum(a) FROM (SELECT a FROM t ORDER BY b);
		VACUUM; PRAGMA integrity_check;"
fi
if has redis-server && has redis-cli; then
	LD_PRELOAD=$so redis-server --port 0 --unixsocket "$work/sock" --save "" --dir "$work" >"$work/log" 2>&1 &
	server=$!
	for i in $(seq 100); do
		redis-cli -s "$work/sock" ping >/dev/null 2>&1 && break
		sleep 0.1
	done
	seq 20000 | sed 's/.*/SET key& value&\nRPUSH list &/' | redis-cli -s "$work/sock" >/dev/null
	expect "redis: values" "value4711" redis-cli -s "$work/sock" get key4711
	expect "redis: list" "20000" redis-cli -s "$work/sock" llen list
	expect "redis: fork and save" "OK" redis-cli -s "$work/sock" save
	redis-cli -s "$work/sock" bgsave >/dev/null
	for i in $(seq 300); do
		grep -q "Background saving terminated" "$work/log" && break
		sleep 0.1
	done
	expect "redis: alive after bgsave" "20001" redis-cli -s "$work/sock" dbsize
	if ! grep -q "Background saving terminated with success" "$work/log"; then
		echo "FAIL  redis: bgsave"
		failures=$((failures + 1))
	fi
	redis-cli -s "$work/sock" shutdown nosave >/dev/null 2>&1
	wait "$server" || { echo "FAIL  redis: exit status"; failures=$((failures + 1)); }
	server=
fi
exit $failures
