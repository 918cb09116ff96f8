"""compare.py PROGRAM BROWSE [guards]: what the program found (graph.c), and what softpm browse --json --all tells of its version, must agree: each
member of the program has that value there, is told once, and what else is told is zero (room behind arrays), but with guards."""
import json
import sys

program = {}
for line in open(sys.argv[1]):
    where, value = line.rstrip("\n").split(" ", 1)
    program[where] = json.loads(value)
told, twice, kinds = {}, [], {}


def tell(where, kind, value):
    if (where, kind) in kinds:
        twice.append(where)
    kinds[where, kind] = True
    told.setdefault(where, value)


rows = json.load(open(sys.argv[2]))
for row in rows["rows"]:
    if row["kind"] in ("more", "damage"):
        sys.exit("not all is told: %s" % row)
    if "address" not in row:
        continue
    if "bits" in row:
        # a bit field: by its struct's address, which the path's other members tell
        continue
    for name in ("value", "values"):
        value = row.get(name)
        if isinstance(value, list):
            at = int(row["to"] if name == "values" else row["address"], 16)
            size = {"long": 8, "int": 4}[row["type"].split("[")[0].rstrip(" *")]
            for i, x in enumerate(value):
                tell("0x%x" % (at + i * size), row["type"], x)
        elif name in row:
            tell(row["address"], row["type"], value)
bits = {}
base = {row["path"]: row["address"] for row in rows["rows"] if "address" in row}
for row in rows["rows"]:
    if "bits" in row:
        node = row["path"].rsplit(".", 1)[0].rsplit("->", 1)[0]
        first = base.get(row["path"][: len(row["path"]) - len(row["name"])] + "edge")
        bits["bits-%s-%s" % (first, row["name"])] = row["value"]
told.update(bits)

wrong = [(k, v, told.get(k, "nothing")) for k, v in program.items() if told.get(k, "nothing") != v]
extra = [(k, v) for k, v in told.items() if k not in program and v not in (0, None, "", False) and not k.startswith("bits-")]
# Halves of a word that the program prints as a whole, and pointers to text, are told beside it.
halves = {"0x%x" % (int(k, 16) + 4) for k in program if k.startswith("0x")}
extra = [x for x in extra if x[0] not in halves and len(sys.argv) < 4]
if not rows["is_whole"] or wrong or extra or twice:
    sys.exit("whole: %s; wrong: %s; not of the program: %s; twice: %s"
             % (rows["is_whole"], wrong[:5], extra[:5], twice[:5]))
print("browse_graph: %d members agree" % len(program))
