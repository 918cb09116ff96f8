"""suite.py - the benches that bench/run runs: their settings, and the systems of each.

A system whose title begins with "SoftPM" is ours; one that begins with "floor" bounds what others can do, and competes with none.
"""

import glob
import json
import os
import platform
import subprocess

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDER = "FOLDER"  # in an argv: the folder of this run


def is_ours(title):
    return title.startswith("SoftPM")


def is_bound(title):
    return title.startswith("floor")


class System:
    """base: where its folder is made, None: in that of --data. rows: what needs no program."""

    def __init__(self, title, *argv, rows=None, base=None, environment=None):
        self.title, self.argv, self.rows = title, [str(word) for word in argv], rows
        self.base, self.environment = base, environment or {}


class Setting:
    def __init__(self, parameters, systems):
        self.parameters, self.systems = parameters, systems


class Bench:
    """list_settings(build, is_quick) yields Settings; is_exact: once is enough; units: of the rows that are wanted, None: all."""

    def __init__(self, name, text, build, list_settings, is_exact=False, units=None):
        self.name, self.text, self.is_exact, self.units = name, text, is_exact, units
        self.settings = lambda is_quick: list(list_settings(build, is_quick))


class Table:
    """A folder of bench/ whose run.sh prints a table of its own."""

    def __init__(self, name, build):
        self.name, self.text = name, f"its own table (bench/{name}/run.sh)"
        self.argv = ["sh", os.path.join(SOURCE, "bench", name, "run.sh"), build]


# ---- Figures 5, 10 to 13 ----

STRUCTURES = ("array", "list", "tree", "hash")


def structure_systems(build, structure, names=("softpm", "ds", "tpl", "log"), **options):
    def system(title, name, variant):
        program = os.path.join(build, "bench", "structures", "bench_structures_" + name)
        return System(title, program, FOLDER, variant, structure, *(f"{name}={value}" for name, value in options.items()))

    systems = {"softpm": ("SoftPM", "softpm", "plain"), "ds": ("SoftPM ds", "ds", "ds"), "tpl": ("TPL", "tpl", "whole"),
               "log": ("TPL, log", "tpl", "log")}
    return [system(*systems[name]) for name in names]


def fig5(build, is_quick):
    for elements in (1000, 10000) if is_quick else (1000, 10000, 100000, 1000000):
        for batch, points in (1, 20), (elements // 100, 5), (elements, 1):
            for structure in STRUCTURES:
                yield Setting({"structure": structure, "elements": elements, "batch": batch},
                              structure_systems(build, structure, elements=elements, batch=batch, points=points))


def fig10(build, is_quick):
    """1,000 changes a point in an array of 64 MiB (quick: 6)."""
    elements = 100000 if is_quick else 1000000
    for locality in (0, 0.5, 0.9, 1) if is_quick else (0, 0.25, 0.5, 0.75, 0.9, 0.99, 1):
        for structure in ("array",) if is_quick else ("array", "list"):
            yield Setting({"structure": structure, "elements": elements, "locality": locality},
                          structure_systems(build, structure, elements=elements, batch=1000, points=5, locality=locality))


def fig11(build, is_quick):
    elements = 100000 if is_quick else 1000000
    for chunk in (4096, 65536, 1 << 20) if is_quick else tuple(4096 << i for i in range(9)):
        for locality in 0, 0.9, 1:
            yield Setting({"elements": elements, "locality": locality, "chunk": chunk},
                          structure_systems(build, "array", ("softpm",), elements=elements, batch=1000, points=5,
                                            locality=locality, chunk=chunk))


def fig12(build, is_quick):
    elements = 200000 if is_quick else 1000000  # in all
    for processes in 1, 2, 4, 8:
        for structure in ("array", "tree"):
            yield Setting({"structure": structure, "elements": elements, "processes": processes},
                          structure_systems(build, structure, elements=elements // processes, batch=10,
                                            points=20, processes=processes))


def fig13(build, is_quick):
    nodes = 100000 if is_quick else 8000000  # 500 MB

    def system(title, name, pointers):
        return System(title, os.path.join(build, "bench", "pointers", "bench_pointers_" + name), FOLDER, nodes, pointers)

    for pointers in 1, 2, 4, 6, 8:
        yield Setting({"nodes": nodes, "pointers": f"{pointers * 100 / 8:g}%"},
                      [system("SoftPM", "softpm", pointers), system("TPL", "tpl", pointers)])


# ---- stores of today ----

MANY = 1 << 40
# Title, program, variant; whether it can scan, and commit lazily; the most keys that it can be given in bearable time.
STORES = [
    ("SoftPM tree", "softpm", "tree", True, True, MANY),
    ("SoftPM hash", "softpm", "hash", False, True, MANY),
    ("SoftPM plain C hash", "softpm", "plain", False, True, MANY),
    ("LMDB", "lmdb", "-", True, True, MANY),
    ("Berkeley DB btree", "bdb", "btree", True, True, MANY),
    ("Berkeley DB hash", "bdb", "hash", False, True, MANY),
    ("RocksDB", "rocksdb", "-", True, True, MANY),
    ("SQLite WAL", "sqlite", "wal", True, True, MANY),
    ("libpmemobj btree", "pmemobj", "btree", False, False, 1000),
    ("libpmemobj hashmap_tx", "pmemobj", "hashmap_tx", False, False, 1000),
]
# The same as on persistent memory: cache lines are flushed, on tmpfs, which no power cut spares: a bound, not a competitor.
IN_MEMORY = [("floor: libpmemobj btree in tmpfs", "pmemobj", "btree", False, False, 1000000)]


def stores(build, what, keys, arguments, is_scanned=False, is_lazy=False):
    def system(title, name, variant, **place):
        program = os.path.join(build, "bench", "stores", "bench_store_" + name)
        return System(title, program, os.path.join(FOLDER, "store"), what, variant, f"keys={keys}", *arguments, **place)

    def can(can_scan, can_be_lazy, most):
        return (can_scan or not is_scanned) and (can_be_lazy or not is_lazy) and keys <= most

    return ([system(*store[:3]) for store in STORES if can(*store[3:])] +
            [system(*store[:3], base="/dev/shm", environment={"PMEM_IS_PMEM_FORCE": "1"}) for store in IN_MEMORY if can(*store[3:])])


def ycsb_settings(is_quick):
    """Keys, mix, whether zipfian, operations a commit (0: lazily)."""
    for keys in (10000,) if is_quick else (1000, 10000, 100000, 1000000, 10000000):
        for mix in "ABCDEF":
            for zipfian in (1,) if is_quick or mix not in "AC" or keys > 1000000 else (0, 1):
                for batch in {"A": (1, 100, 0), "C": (100,)}.get(mix, (100,) if is_quick else (100, 0)):
                    yield keys, mix, zipfian, batch


def ycsb(build, is_quick):
    for keys, mix, zipfian, batch in ycsb_settings(is_quick):
        # Long enough that what comes once, such as a file that grows, is not what is measured.
        operations = 2000000 if mix == "C" else {1: 20000, 100: 100000, 0: 1000000}[batch]
        if mix == "E":
            operations //= 10
        if is_quick:
            operations //= 10
        yield Setting({"mix": mix, "keys": keys, "distribution": "zipfian" if zipfian else "uniform",
                       "durable": {1: "each", 100: "each 100"}.get(batch, "later")},
                      stores(build, "mix=" + mix, keys, (f"operations={operations}", f"zipfian={zipfian}", f"batch={batch}"),
                             is_scanned=mix == "E", is_lazy=batch == 0))


def scan(build, is_quick):
    for keys in (10000,) if is_quick else (10000, 100000, 1000000):
        bound = System("floor: an array in memory", os.path.join(build, "bench", "stores", "bench_store_array"), os.path.join(FOLDER, "store"), "scan",
                       "-", f"keys={keys}")
        yield Setting({"keys": keys}, stores(build, "scan", keys, (), is_scanned=True, is_lazy=True) + [bound])


def recovery(build, is_quick):
    for mib in (10,) if is_quick else (10, 100, 1024, 8192):
        keys = (mib << 20) // 128
        yield Setting({"MiB": mib}, stores(build, "recover", keys, ()))


# ---- what changes cost SoftPM's structures ----


def cost(build, is_quick):
    for elements in (1000, 10000) if is_quick else (1000, 100000, 10000000):
        for structure in STRUCTURES:
            yield Setting({"structure": structure, "elements": elements},
                          structure_systems(build, structure, ("softpm", "ds"), elements=elements, batch=1, points=100))


# ---- Table 3 ----


def lines_between(source, mark):
    """Lines that are neither empty nor comments, between those that say "persist ... MARK ..." and "end"."""
    count, is_inside = 0, False
    with open(os.path.join(SOURCE, "bench", "structures", source), encoding="utf-8") as f:
        for line in f:
            text = line.strip()
            if text.startswith("/* persist "):
                is_inside = mark in text.split()
            elif text == "/* end */":
                is_inside = False
            elif is_inside and text and not text.startswith(("/*", "*", "//")):
                count += 1
    return count


def table3(_build, _is_quick):
    for structure in STRUCTURES:
        ours = lines_between("container.c", structure)
        plain = ours + lines_between("plain.c", structure)
        tpl = lines_between("tpl.c", structure)

        def counted(n):
            return [("lines", n, "lines")]

        yield Setting({"structure": structure},
                      [System("SoftPM", rows=counted(plain)), System("SoftPM ds", rows=counted(ours)), System("TPL", rows=counted(tpl)),
                       System("TPL, log", rows=counted(tpl + lines_between("tpl.c", "log")))])


def benches(build):
    tables = sorted(os.path.basename(os.path.dirname(path)) for path in glob.glob(os.path.join(SOURCE, "bench", "*", "run.sh")))
    return [
        Bench("fig5", "array, list, tree, hash table: durable after each batch of changes", build, fig5),
        Bench("table3", "lines of code that make a structure persistent", build, table3, is_exact=True),
        Bench("fig10", "locality: each change is, with this probability, next to the one before", build, fig10),
        Bench("fig11", "SoftPM's unit of writing (chunk_bytes), by locality", build, fig11),
        Bench("fig12", "processes at once, each with a structure of its own", build, fig12),
        Bench("fig13", "a list, by the part of its data that is pointers", build, fig13),
        Bench("ycsb", "mixes of operations on maps: A half updates, B 5%, C none, D 5% new keys, E scans, F read and update", build, ycsb),
        Bench("scan", "all values of a map, filled in no order, read in the order of their keys", build, scan),
        Bench("recovery", "after a kill: from the start of the program to the first answer, and until all was read", build, recovery),
        Bench("cost", "pages dirtied and bytes stored for one element changed, added, removed", build, cost, is_exact=True,
              units=("KiB", "pages")),
    ] + [Table(name, build) for name in tables]


# ---- tables ----


def words(parameters):
    return ", ".join(f"{name} {value}" for name, value in parameters.items())


def number(value):
    return f"{value:.4g}" if abs(value) < 10000 else f"{value:.0f}"


def ratio(row):
    return f"{row['ratio']:.2f}" if row and row["ratio"] is not None else "-"


def is_better(unit, a, b):
    return a > b if unit.endswith("/s") else a < b


def times_better(unit, a, b):
    """How many times a is better than b; None if that can't be told."""
    over, under = (a, b) if unit.endswith("/s") else (b, a)
    return over / under if under else None


def read(paths):
    """The rows of files that bench/run wrote; the first one's machine."""
    files = []
    for path in paths:
        with open(path, encoding="utf-8") as f:
            files.append(json.load(f))
    return files[0]["machine"], [row for file in files for row in file["rows"]]


def table(rows):
    """Markdown: a line for each setting and metric, a column for each system, and SoftPM's ratio to the best of the others."""
    titles = list(dict.fromkeys(row["system"] for row in rows))
    names = list(dict.fromkeys(name for row in rows for name in row["parameters"]))
    cells = {}
    for row in rows:
        key = tuple(row["parameters"].get(name, "") for name in names) + (row["metric"], row["unit"])
        cells.setdefault(key, {})[row["system"]] = row
    ours = [title for title in titles if is_ours(title)]
    head = names + ["metric"] + titles + [f"{title}: ratio" for title in ours]
    yield "| " + " | ".join(head) + " |"
    yield "| " + " | ".join(["---"] * (len(names) + 1) + ["---:"] * (len(head) - len(names) - 1)) + " |"
    for key, cell in cells.items():
        values = [number(cell[title]["value"]) if title in cell else "-" for title in titles]
        ratios = [ratio(cell.get(title)) for title in ours]
        yield "| " + " | ".join([str(word) for word in key[:-2]] + [f"{key[-2]} ({key[-1]})"] + values + ratios) + " |"


# ---- the machine ----


def file_system(path):
    return subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True, check=True).stdout.strip()


def line_of(path, name):
    with open(path, encoding="utf-8") as f:
        return next((line.split(":", 1)[1].strip() for line in f if line.startswith(name)), "?")


def machine(folder):
    return {"system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "processor": line_of("/proc/cpuinfo", "model name"), "processors": os.cpu_count(),
            "memory": line_of("/proc/meminfo", "MemTotal"), "file_system": file_system(folder)}
