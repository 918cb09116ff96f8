#!/bin/sh
# bench.sh - bench/run: what it measures comes into the JSON as it is, also where SoftPM loses; systems that hold different data are not
# told; a program that fails is named. With systems that print figures known beforehand, then with those that are there, and small.
set -eu
export LC_ALL=C

source=$(cd "$(dirname "$0")/../.." && pwd)
if ! command -v python3 >/dev/null; then
	echo "no python3: bench/run is not tested"
	exit 0
fi
scratch=$(mktemp -d "$SOFTPM_BUILD/bench-test.XXXXXX") # durable, as the build folder is
trap 'rm -rf "$scratch"' EXIT

fail() {
	echo "bench: $*" >&2
	exit 1
}

# NAME, then what the program bench_structures_NAME of the build folder "known" does.
system() {
	printf '#!/bin/sh\n%s\n' "$2" >"$scratch/known/bench/structures/bench_structures_$1"
	chmod +x "$scratch/known/bench/structures/bench_structures_$1"
}
measure() {
	python3 "$source/bench/run" --quick --repetitions 3 --where elements=1000 --where batch=1 --data "$scratch/data" "$@"
}
# CONDITION in Python, of the rows and the function row(system, metric).
holds() {
	python3 - "$scratch/rows.json" "$1" <<-'END' || fail "this is not so: $1"
		import json, sys
		whole = json.load(open(sys.argv[1]))
		rows = whole["rows"]
		def row(system, metric, **parameters):
		    return next(r for r in rows if (r["system"], r["metric"]) == (system, metric) and parameters.items() <= r["parameters"].items())
		sys.exit(not eval(sys.argv[2]))
	END
}

mkdir -p "$scratch/known/bench/structures"
count="echo >>'$scratch/count'; n=\$(wc -l <'$scratch/count')"
system softpm "$count; printf 'create\t%d\tus\nadd\t5\tus\nrate\t50\tops/s\ndata\t1\n' \$n"
system tpl "[ \$2 = whole ] || exit 0; printf 'create\t100\tus\nadd\t4\tus\nrate\t100\tops/s\ndata\t1\n'"
measure --build "$scratch/known" --where structure=list --json "$scratch/rows.json" fig5 >"$scratch/table"
holds 'row("SoftPM", "create")["repetitions"] == 3'
holds '[row("SoftPM", "create")[k] for k in ("min", "median", "value", "max", "unit", "bench")] == [1, 2, 2, 3, "us", "fig5"]'
holds 'row("SoftPM", "create")["parameters"] == {"structure": "list", "elements": 1000, "batch": 1}'
holds 'row("SoftPM", "create")["ratio"] == 50 and row("SoftPM", "create")["best_other"] == "TPL"'
holds 'row("SoftPM", "add")["ratio"] == 0.8 and row("TPL", "add")["ratio"] == 1.25'
holds 'row("SoftPM", "rate")["ratio"] == 0.5'
grep -q '^| list | 1000 | 1 | add (us) | 5 | 4 | 0.80 |$' "$scratch/table" || fail "the table leaves out what SoftPM loses"
[ ! -e "$scratch/data" ] || fail "the data is left behind"
python3 "$source/bench/ratios" fig5 "$scratch/rows.json" >"$scratch/table"
grep -q '^| structure | elements | batch | create, us | add, us | rate, ops/s |$' "$scratch/table" &&
	grep -q '^| list | 1000 | 1 | 50.00 | 0.80 | 0.50 |$' "$scratch/table" || fail "the table of ratios is another"

system tpl "printf 'create\t100\tus\ndata\t2\n'"
! measure --build "$scratch/known" --where structure=list --json "$scratch/rows.json" fig5 >/dev/null 2>"$scratch/errors" ||
	fail "different data is no failure"
grep -q 'the systems hold different data: SoftPM; TPL, TPL, log' "$scratch/errors" || fail "it does not tell of different data"
holds 'rows == []'

system tpl "echo no room >&2; exit 1"
! measure --build "$scratch/known" --where structure=list --json "$scratch/rows.json" fig5 >/dev/null 2>"$scratch/errors" ||
	fail "a program that fails is no failure"
grep -q 'bench_structures_tpl .*: status 1: no room' "$scratch/errors" || fail "it does not tell why a program failed"
holds '{r["system"] for r in rows} == {"SoftPM"} and len(whole["faults"]) == 6'

if [ -x "$SOFTPM_BUILD/bench/structures/bench_structures_softpm" ]; then
	measure --build "$SOFTPM_BUILD" --json "$scratch/rows.json" fig5 >"$scratch/table" || fail "the real systems failed"
	holds 'len({r["parameters"]["structure"] for r in rows if r["system"] == "SoftPM" and r["metric"] == "restore"}) == 4'
	holds 'row("SoftPM", "modify, dirty", structure="array")["median"] == 1'
	holds 'all(row("SoftPM ds", "modify, dirty", structure=s)["median"] < 1.5 for s in ("array", "list", "tree", "hash"))'
	python3 "$source/bench/run" --data "$scratch/data" --json "$scratch/rows.json" table3 >"$scratch/table"
	holds 'all(row(s, "lines", structure="tree")["value"] > row("SoftPM", "lines", structure="tree")["value"] > 0 for s in ("TPL", "TPL, log"))'
else
	echo "no bench_structures_softpm: only systems that print known figures were run"
fi
