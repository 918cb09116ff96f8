#!/bin/sh
# shell.sh SQLITE3 FOLDER - unchanged programs: the shell, and python3's sqlite3 module with the library in FOLDER; a database goes to an
# ordinary file and back, by all of SQLite's ways, and is the same by .dump.
set -eu
sqlite=$1
folder=$2
softpm=${SOFTPM_BUILD:?}/softpm
scratch=$(cd "$(mktemp -d "${TMPDIR:-.}/softpm-test-XXXXXX")" && pwd)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM # or nothing is removed
cd "$scratch"

fail() {
	echo "sqlite: $*" >&2
	exit 1
}
is() {
	[ "$1" = "$2" ] || fail "$3: $1, not $2"
}
# A volume, or a file, as SQL.
dump() {
	"$sqlite" "$1" .dump
}
same() {
	dump "$1" >one.sql
	dump "$2" >two.sql
	[ "$(wc -l <one.sql)" -gt 200 ] || fail "$1 has no content"
	cmp -s one.sql two.sql || fail "$1 and $2 differ"
}

"$sqlite" plain.db "CREATE TABLE t(id INTEGER PRIMARY KEY, text); CREATE INDEX i ON t(text); CREATE VIEW v AS SELECT text FROM t;
	WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) INSERT INTO t SELECT i, hex(randomblob(50)) FROM n"
"$sqlite" 'file:a.vol?softpm=1' '.restore plain.db'
same plain.db 'file:a.vol?softpm=1'
"$sqlite" 'file:a.vol?softpm=1' '.backup back.db'
same plain.db back.db
"$sqlite" 'file:a.vol?softpm=1' "VACUUM INTO 'vacuum.db'"
same plain.db vacuum.db
"$sqlite" plain.db "VACUUM INTO 'file:b.vol?softpm=1'"
same plain.db 'file:b.vol?softpm=1'
dump plain.db | "$sqlite" 'file:c.vol?softpm=1'
same plain.db 'file:c.vol?softpm=1'
"$sqlite" plain.db "PRAGMA page_size = 1024; VACUUM"
"$sqlite" 'file:d.vol?softpm=1' '.restore plain.db' 'PRAGMA page_size' >size
is "$(cat size)" 1024 "the page size of what was restored"
same plain.db 'file:d.vol?softpm=1'
for size in 512 8192 65536; do
	"$sqlite" "file:d.vol?softpm=1" "PRAGMA page_size = $size; VACUUM; PRAGMA integrity_check" >check
	is "$(cat check)" ok "pages of $size bytes"
	same plain.db 'file:d.vol?softpm=1'
done

"$sqlite" plain.db 'PRAGMA journal_mode = WAL' >mode
is "$(cat mode)" wal "the journal of an ordinary file"
"$sqlite" 'file:d.vol?softpm=1' '.restore plain.db' 'INSERT INTO t(text) VALUES(1)' 'DELETE FROM t WHERE text = 1' \
	'PRAGMA locking_mode = EXCLUSIVE' 'PRAGMA journal_mode = WAL' >mode
is "$(tail -n 1 mode)" memory "the journal of what was restored from a file with WAL"
same plain.db 'file:d.vol?softpm=1'
[ ! -e d.vol-wal ] && [ ! -e d.vol-journal ] || fail "there is a journal beside a volume"

is "$(SQLITE_SOFTPM=1 "$sqlite" a.vol 'SELECT count(*) FROM t')" 1000 "rows by \$SQLITE_SOFTPM"
is "$(SQLITE_SOFTPM=1 "$sqlite" 'file:plain.db?softpm=0' 'SELECT count(*) FROM t')" 1000 "rows of a plain file beside \$SQLITE_SOFTPM"
"$sqlite" plain.db "ATTACH 'file:a.vol?softpm=1' AS a; BEGIN; INSERT INTO a.t VALUES(1001, 'x'); INSERT INTO main.t VALUES(1001, 'x'); COMMIT"
same plain.db 'file:a.vol?softpm=1'
is "$("$sqlite" 'file:a.vol?softpm=1' "ATTACH 'file:a.vol?softpm=1&at=~1' AS old; SELECT text FROM main.t EXCEPT SELECT text FROM old.t")" x \
	"what the last transaction added"
"$softpm" -v a.vol log 1 >log || fail "softpm log fails"
"$softpm" -v a.vol check >check || fail "softpm check finds damage: $(cat check)"
is "$("$sqlite" 'file:a.vol?softpm=1' 'SELECT max(version) FROM softpm_log')" "$(awk 'NR == 2 { print $1 }' log)" "the newest version"

# The dot-command. A table that was made anew, one with a name that wants quotes, and one that only one version has.
"$sqlite" 'file:e.vol?softpm=1' "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b); INSERT INTO t VALUES(1, 'x', 1), (2, 'y', 2), (3, 'z', 3);
	CREATE TABLE \"a \"\"b\"(c, d); INSERT INTO \"a \"\"b\" VALUES(1, NULL); CREATE TABLE gone(e)" '.softpm tag before'
"$sqlite" 'file:e.vol?softpm=1' "UPDATE t SET a = 'Y' WHERE id = 2; DELETE FROM t WHERE id = 3; ALTER TABLE t DROP COLUMN b" \
	"INSERT INTO t VALUES(4, 'new'); DROP TABLE gone; UPDATE \"a \"\"b\" SET d = 2" '.softpm tag after'
"$sqlite" 'file:e.vol?softpm=1' "INSERT INTO t VALUES(5, 'five')" '.softpm diff before' >present.diff
"$sqlite" 'file:e.vol?softpm=1' '.softpm diff before after' >versions.diff
cat >expected.diff <<'END'
sqlite_schema|-|table|gone|gone|CREATE TABLE gone(e)
sqlite_schema|-|table|t|t|CREATE TABLE t(id INTEGER PRIMARY KEY, a, b)
sqlite_schema|+|table|t|t|CREATE TABLE t(id INTEGER PRIMARY KEY, a)
a "b|-|1|
a "b|+|1|2
t|-|2|y
t|+|2|Y
t|-|3|z
t|+|4|new
END
cmp -s expected.diff versions.diff || fail "the diff of two versions: $(cat versions.diff)"
is "$(comm -13 expected.diff present.diff 2>&1)" 't|+|5|five' "what the diff to what there is now has more"
is "$("$sqlite" 'file:e.vol?softpm=1' '.mode json' '.softpm diff after')" \
	'[{"table":"t","change":"+","id":5,"a":"five"}]' "the diff in the shell's mode"
is "$("$sqlite" 'file:e.vol?softpm=1' '.softpm diff after' '.softpm diff after' '.databases' | grep -c five)" 2 "diffs that leave nothing attached"
"$sqlite" 'file:e.vol?softpm=1' '.softpm branch try before' '.softpm switch try' 'INSERT INTO gone VALUES(7)' '.softpm branches' >branches
grep -q '^\*|try|' branches && grep -q '^|main|' branches || fail "the branches: $(cat branches)"
is "$("$sqlite" 'file:e.vol?softpm=1' '.softpm tags' | cut -d '|' -f 1 | sort | tr '\n' ' ')" 'after before ' "the tags"
is "$("$sqlite" 'file:e.vol?softpm=1' '.softpm log' | wc -l)" "$("$softpm" -v e.vol log 1 try --json | grep -c '"version"')" "the versions"
"$sqlite" 'file:e.vol?softpm=1' '.help softpm' | grep -q 'diff REF' || fail ".help softpm says nothing"
for wrong in '.softpm' '.softpm diff' '.softpm log 1 2' '.softpm tag' '.softpm diff nosuch' '.softpm switch nosuch' '.softpm diff before nosuch'; do
	! "$sqlite" 'file:e.vol?softpm=1' "$wrong" >out 2>why || fail "$wrong succeeds"
	[ -s why ] && [ ! -s out ] || fail "$wrong does not say why it fails"
done
! "$sqlite" plain.db '.softpm log' 2>why || fail "a plain file has versions"
grep -q 'no such database on SoftPM' why || fail "of a plain file: $(cat why)"
"$sqlite" 'file:odd %25&name.vol?softpm=2' 'CREATE TABLE t(a)' 'INSERT INTO t VALUES(1)' '.softpm diff ~1' >odd
is "$(cat odd)" 't|+|1' "the diff of a container with a number, on a path that wants escaping"

if command -v python3 >/dev/null && python3 -c 'import sqlite3' 2>/dev/null; then
	LD_LIBRARY_PATH=$folder python3 - <<-'END' || fail "python3 fails"
		import sqlite3
		db = sqlite3.connect("file:python.vol?softpm=1", uri=True)
		with db:
		    db.execute("CREATE TABLE t(a)")
		    db.executemany("INSERT INTO t VALUES(?)", ((i,) for i in range(100)))
		try:
		    with db:
		        db.execute("DELETE FROM t")
		        raise KeyError
		except KeyError:
		    pass
		assert db.execute("SELECT count(*) FROM t").fetchone() == (100,)
	END
	is "$("$sqlite" 'file:python.vol?softpm=1' 'SELECT sum(a) FROM t')" 4950 "what python3 wrote"
fi
